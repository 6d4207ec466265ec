"""What a user chooses becomes arguments that mean just that, and a run becomes the choices that it was made with."""

from __future__ import annotations

import json

import pytest
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import to_json
from HipICMSCTrainingLib.cli import _parser, _run_description
from HipICMSCTrainingLib.data.dataset_file import write_dataset_file
from HipICMSCTrainingLib.methods.description import description_of_settings
from HipICMSCTrainingLib.settings.choices import Choices, Description, choices_of_run, settings_of_model
from HipICMSCTrainingLib.settings.training import PRESETS


@pytest.fixture(scope="module")
def description() -> Description:
    """As it comes through the pipe from `hipicmsc describe`."""
    return Description.from_json(json.loads(json.dumps(description_of_settings())))


@pytest.fixture
def run_of(tiny_data, tmp_path):
    """The run.json that the command makes of arguments."""

    def made(arguments: list[str]) -> dict:
        dataset = tmp_path / "dataset.json"
        write_dataset_file(tiny_data.dataset, dataset)
        chosen = _parser().parse_args(["train", str(tmp_path / "run"), "--dataset", str(dataset), *arguments])
        return json.loads(json.dumps(_run_description(chosen).to_json()))

    return made


CHANGES = {
    "seed": 3,
    "precision": "bf16",
    "steps_per_epoch": 7,
    "crop.size": [64, 32, 48],
    "learning_rate_translation": 1e-05,
    "recompute": True,
    "segmenter.width": 8,
    "contrast_prior": "t1",
    "imsc_s": False,
}


@pytest.mark.parametrize("preset", list(PRESETS))
def test_what_was_chosen_is_what_is_trained(description, run_of, preset):
    run = run_of(Choices(preset=preset, changes=CHANGES).arguments(description, {}))
    expected = to_json(PRESETS[preset])
    for name, value in CHANGES.items():
        part, _, last = name.rpartition(".")
        home = run["method_settings"] if name in run["method_settings"] else expected
        (home[part] if part else home)[last] = value
    assert run["settings"] == json.loads(json.dumps(expected))
    assert (run["method_settings"]["contrast_prior"], run["method_settings"]["imsc_s"]) == ("t1", False)


def test_only_what_deviates_from_the_preset_is_set(description):
    same = {"seed": 0, "segmenter.width": 24, "precision": "bf16", "imsc_s": True}
    assert Choices(changes=same).arguments(description, {}) == ["--method", "icmsc", "--preset", "cpu-small"]
    arguments = Choices(preset="paper", changes=same | {"of_a_newer_version": 1}).arguments(description, {})
    assert arguments[4:] == ["--set", "precision=bf16", "--set", "segmenter.width=24"]


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_run_becomes_its_nearest_preset_and_what_deviates_from_it(description, run_of, preset):
    made = Choices(preset=preset, changes=CHANGES | {"seed": 5})
    again = choices_of_run(run_of(made.arguments(description, {})), description)
    assert again.preset == preset
    assert again.arguments(description, {}) == made.arguments(description, {})


def test_a_run_that_was_fine_tuned_becomes_choices_that_fine_tune(description, run_of):
    from HipICMSCLib.models.archive import read_archive
    from HipICMSCLib.models.chosen import find_model

    of_model = settings_of_model(read_archive(find_model("hip-t1-mri")).manifest)
    made = Choices(start_from="hip-t1-mri", changes={"seed": 2, "segmenter.width": 99})
    run = run_of(made.arguments(description, of_model))
    again = choices_of_run(run, description)
    assert again.start_from == "hip-t1-mri"
    assert run_of(again.arguments(description, of_model))["settings"] == run["settings"]
    assert run["settings"]["segmenter"]["width"] == of_model["segmenter.width"] != 99


@pytest.mark.parametrize("run", [{}, {"method": "icmsc"}, {"method": "icmsc", "settings": 3}])
def test_a_run_that_does_not_say_its_settings(description, run):
    with pytest.raises(HipError) as caught:
        choices_of_run(run, description)
    assert caught.value.kind == "damaged_run"


def test_a_run_of_another_version(description):
    with pytest.raises(HipError) as caught:
        choices_of_run({"method": "magic", "settings": {}}, description)
    assert caught.value.kind == "unknown_method" and "magic" in caught.value.sentence


def test_choices_are_kept_as_text_and_text_that_is_none_means_the_usual_ones():
    choices = Choices("icmsc", "paper", "mine", "näme", {"crop.size": [1, 2, 3], "steps_per_epoch": None})
    assert Choices.from_text(choices.to_text()) == choices
    for text in ("", "{", "[]", '{"colour": 1}', '{"changes": []}', '{"run_name": null}'):
        assert Choices.from_text(text) == Choices()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("learning_rate_translation", " 2e-4 ", 2e-4),
        ("learning_rate_translation", "1", 1.0),
        ("crop.size", "300 160,240", [300, 160, 240]),
        ("crop.spacing_mm", "1, 1.5, 2", [1.0, 1.5, 2.0]),
        ("start_from", "", None),
    ],
)
def test_what_is_typed_is_read(description, name, text, value):
    (about,) = (field for field in description.settings if field.name == name)
    assert about.value_of(text) == value
    assert about.value_of(about.text_of(value)) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("learning_rate_translation", "fast"),
        ("learning_rate_translation", ""),
        ("learning_rate_translation", "nan"),
        ("learning_rate_translation", "0,5"),
        ("crop.size", "1.5, 2, 3"),
        ("crop.size", ""),
        ("crop.spacing_mm", "1, x, 2"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence_with_the_settings_name(description, name, text):
    (about,) = (field for field in description.settings if field.name == name)
    with pytest.raises(HipError) as caught:
        about.value_of(text)
    assert name in caught.value.sentence and caught.value.sentence.endswith(".")


def test_every_value_is_shown_so_that_it_is_read_again(description):
    for preset in description.presets:
        for about in description.fields("icmsc"):
            value = description.values("icmsc", preset)[about.name]
            if about.type in ("float", "numbers"):
                assert about.value_of(about.text_of(value)) == value
