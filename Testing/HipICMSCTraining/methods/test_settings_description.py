"""The description from which a panel builds its form names everything that can be set, and says what it means."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

import pytest
from HipICMSCLib.common.settings import from_json, replaced, to_json
from HipICMSCLib.networks.paper_segmenter import SegmenterSettings
from HipICMSCLib.networks.translator import TranslatorSettings
from HipICMSCLib.preprocessing.geometry import CropSettings
from HipICMSCLib.preprocessing.intensity import IntensitySettings
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.methods import description as settings_description
from HipICMSCTrainingLib.methods import registry
from HipICMSCTrainingLib.methods.description import attribute_docs, description_of_settings
from HipICMSCTrainingLib.methods.icmsc import Icmsc, IcmscSettings
from HipICMSCTrainingLib.settings.augmentation import AugmentationSettings
from HipICMSCTrainingLib.settings.training import PRESETS, TrainingSettings

SETTINGS = (
    TrainingSettings,
    CropSettings,
    IntensitySettings,
    AugmentationSettings,
    SegmenterSettings,
    TranslatorSettings,
    *(method.Settings for method in registry.METHODS.values()),
)
KINDS = {"int": int, "float": float, "bool": bool, "text": str, "choice": str, "numbers": list}


@pytest.fixture(scope="module")
def described() -> dict:
    """As a panel reads it."""
    return json.loads(json.dumps(description_of_settings()))


def all_fields(described: dict) -> list[dict]:
    return described["settings"] + [field for method in described["methods"].values() for field in method["settings"]]


@pytest.mark.parametrize("cls", SETTINGS)
def test_the_docstring_says_what_every_setting_means(cls):
    docs = attribute_docs(cls)
    wanted = [f.name for f in dataclasses.fields(cls) if not dataclasses.is_dataclass(getattr(cls(), f.name))]
    assert sorted(docs) == sorted(wanted)
    assert all(text.endswith(".") and len(text) > 15 for text in docs.values())


def test_every_setting_that_can_be_set_is_described_once(described):
    names = [field["name"] for field in described["settings"]]
    assert len(set(names)) == len(names)
    assert {name.partition(".")[0] for name in names} == {f.name for f in dataclasses.fields(TrainingSettings)}
    assert {"segmenter.width", "crop.size", "batch_size", "start_from"} <= set(names)
    assert "segmenter" not in names
    own = [field["name"] for field in described["methods"]["icmsc"]["settings"]]
    assert own == [f.name for f in dataclasses.fields(IcmscSettings)]


def test_every_default_is_of_its_type_and_can_be_set_as_it_is(described):
    for field in all_fields(described):
        default = field["default"]
        if default is None:
            assert field["optional"]
        else:
            assert isinstance(default, KINDS[field["type"]])
        if field["type"] == "choice":
            assert default in field["choices"]
        else:
            assert field["choices"] == []
        assert field["help"]
    for field in described["settings"]:
        assert replaced(TrainingSettings(), field["name"], field["default"]) == TrainingSettings()


def test_types_of_settings_that_a_form_must_tell_apart(described):
    by_name = {field["name"]: field for field in all_fields(described)}
    kinds = {
        "seed": "int", "ema_decay": "float", "recompute": "bool", "device": "text", "precision": "choice",
        "crop.size": "numbers", "segmenter.dilations": "numbers", "steps_per_epoch": "int", "contrast_prior": "choice",
    }  # fmt: skip
    assert {name: by_name[name]["type"] for name in kinds} == kinds
    assert {name for name, field in by_name.items() if field["optional"]} == {"steps_per_epoch", "start_from"}
    assert by_name["precision"]["choices"] == ["fp32", "bf16"]


def test_presets_come_whole_and_become_the_same_settings_again(described):
    assert list(described["presets"]) == list(PRESETS)
    for name, values in described["presets"].items():
        assert from_json(TrainingSettings, values) == PRESETS[name]
    assert json.dumps(described["presets"]["smoke"]) == json.dumps(to_json(PRESETS["smoke"]))


def test_every_method_has_a_title_a_sentence_and_its_ways_to_segment(described):
    assert list(described["methods"]) == list(registry.METHODS)
    titles = [about["title"] for about in described["methods"].values()]
    assert len(set(titles)) == len(titles)
    for name, about in described["methods"].items():
        assert 3 < len(about["title"]) < 100
        assert about["help"].endswith(".") and len(about["help"]) > 30
        assert about["routes"]
        assert about["reads_mr_labels"] == (name == "target_model")


def test_what_is_said_of_icmsc(described):
    icmsc = described["methods"]["icmsc"]
    assert icmsc["title"] == "ICMSC: intra- and cross-modality semantic consistency"
    assert icmsc["help"].startswith("Stage 1 trains translation alone;")
    assert icmsc["help"].endswith(".")
    assert icmsc["routes"] == ["F_t", "F_s(G_ts)", "F_s"]


def test_devices_are_those_that_are_here(described):
    assert described["devices"][0] == "auto"
    assert "cpu" in described["devices"]


def test_a_new_method_with_a_new_setting_appears_by_itself(monkeypatch):
    @dataclass(frozen=True)
    class OtherSettings(IcmscSettings):
        """As before.

        Attributes:
            strictness, patience: how strict it is
                and how ``patient``.
        """

        strictness: Literal["low", "high"] = "low"
        patience: float | None = None

    class Other(Icmsc):
        """Does it another way. And more."""

        Settings = OtherSettings

    monkeypatch.setitem(registry.METHODS, "other", Other)
    other = settings_description.description_of_settings()["methods"]["other"]
    assert other["help"] == "Does it another way."
    assert other["settings"][-2:] == [
        {
            "name": "strictness",
            "type": "choice",
            "choices": ["low", "high"],
            "optional": False,
            "default": "low",
            "help": "how strict it is and how patient.",
        },
        {
            "name": "patience",
            "type": "float",
            "choices": [],
            "optional": True,
            "default": None,
            "help": "how strict it is and how patient.",
        },
    ]


def test_the_command_prints_it_as_one_json_object(capsys, described):
    assert main(["describe"]) == 0
    assert json.loads(capsys.readouterr().out) == described
