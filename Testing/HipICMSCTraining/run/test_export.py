"""From a run to a package: each kind of weights and each way to segment, reproducing what the run's networks say."""

from __future__ import annotations

import json

import pytest
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import to_json
from HipICMSCLib.models.package import read_package
from HipICMSCLib.networks.paper_segmenter import Segmenter
from HipICMSCLib.networks.translator import Translator
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.data.batches import SliceStack
from HipICMSCTrainingLib.data.slice_cache import cached_volume
from HipICMSCTrainingLib.run.description import RunDescription
from HipICMSCTrainingLib.run.export import About, export_package
from tiny_training import tiny_settings
from torch import Tensor, nn

SETTINGS = tiny_settings()
ROUTES = {"F_t": ("F_t",), "F_s(G_ts)": ("G_ts", "F_s"), "F_s": ("F_s",)}


@pytest.fixture(scope="module")
def x_t(finished_run) -> Tensor:
    """The real MR slices on which an export measures batch statistics; so few that they are a single batch."""
    cases = RunDescription.read(finished_run).dataset.of("MR", "train")
    stack = SliceStack([cached_volume(case, SETTINGS, finished_run.cache) for case in cases])
    return stack.images(stack.evenly(SETTINGS.validation_slices))


def own_network(run, weights: str, name: str) -> nn.Module:
    """A network of the run as the run itself saved it."""
    if weights == "selected":
        state = run.checkpoints.selected()[name]
    else:
        state = run.checkpoints.last()["average" if weights == "average" else "networks"][name]
    network = Translator(SETTINGS.translator) if name.startswith("G") else Segmenter(SETTINGS.segmenter)
    network.load_state_dict(state)
    return network.eval()


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("weights", ["selected", "average", "last"])
def test_a_package_says_what_the_networks_of_the_run_say(finished_run, tmp_path, x_t, weights, route):
    file = tmp_path / "m.hipmodel"
    manifest = export_package(finished_run, file, weights, route)
    package = read_package(file)
    assert json.dumps(to_json(package.manifest)) == json.dumps(to_json(manifest))
    assert manifest.route == ROUTES[route]
    assert (manifest.crop, manifest.intensity, manifest.segmenter) == (
        SETTINGS.crop, SETTINGS.intensity, SETTINGS.segmenter
    )  # fmt: skip
    assert (manifest.translator is None) == ("G_ts" not in ROUTES[route])
    networks = [own_network(finished_run, weights, name) for name in ROUTES[route]]
    if route == "F_t" and weights != "selected":  # the selected weights were re-estimated when they were scored
        measured = networks[0].encoder[0](x_t)
        networks[0].encoder[1].running_mean.copy_(measured.mean((0, 2, 3)).detach())
        assert torch.allclose(package.weights["F_t/encoder.1.running_mean"], measured.mean((0, 2, 3)), atol=1e-5)
        last = own_network(finished_run, weights, "F_t")
        assert not torch.allclose(last.encoder[1].running_mean, measured.mean((0, 2, 3)), atol=1e-4)
        for norm in last.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = 1.0  # one batch in training leaves its own statistics and nothing else
        with torch.no_grad():
            last.train()(x_t)
            torch.testing.assert_close(package.network()(x_t), last.eval()(x_t), rtol=1e-4, atol=1e-5)
        return
    with torch.no_grad():
        expected = nn.Sequential(*networks)(x_t)
        torch.testing.assert_close(package.network()(x_t), expected, rtol=0, atol=0)
    assert expected.shape == (len(x_t), 3, 24, 32)


def test_the_best_way_and_the_selected_weights_are_the_default(finished_run, tmp_path):
    manifest = export_package(finished_run, tmp_path / "hip-1.hipmodel")
    about = json.loads((finished_run.checkpoints.folder / "selected.json").read_text())
    assert (manifest.name, manifest.route) == ("hip-1", ("F_t",))
    assert (manifest.training["weights"], manifest.training["step"]) == ("selected", about["step"])
    assert manifest.training["label_free_scores"] == about["scores"]


def test_package_and_card_tell_where_the_weights_come_from(finished_run, tmp_path):
    about = About(licence="CC BY 4.0", citations=("Somebody 2021.",), data="Two phantoms.", limits="Never use it.")
    file = tmp_path / "m.hipmodel"
    export_package(finished_run, file, "last", about=about)
    package = read_package(file)
    training = package.manifest.training
    assert (training["method"], training["step"], training["ct_volumes"], training["mr_volumes"]) == ("icmsc", 12, 1, 1)
    assert training["settings"]["segmenter"]["width"] == 8
    last = [line["scores"] for line in finished_run.metrics() if line.get("weights") == "last"][-1]
    assert training["label_free_scores"] == last
    for words in ("CC BY 4.0", "Somebody 2021.", "Two phantoms.", "Never use it.", "Research use only", "32 × 16 × 24"):
        assert words in package.card


def test_a_way_that_the_method_does_not_have(finished_run, tmp_path):
    with pytest.raises(HipError, match=r"F_t, F_s\(G_ts\), F_s") as caught:
        export_package(finished_run, tmp_path / "m.hipmodel", route="F_x")
    assert caught.value.kind == "unknown_route"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("weights", ["selected", "average", "last"])
def test_a_run_without_a_checkpoint(tiny_data, tmp_path, weights):
    run = tiny_data.start(tmp_path / "run")
    with pytest.raises(HipError) as caught:
        export_package(run, tmp_path / "m.hipmodel", weights)
    assert caught.value.kind == "no_checkpoint"
    assert not (tmp_path / "m.hipmodel").exists()


def test_the_command_prints_the_hash_of_what_it_wrote(finished_run, tmp_path, capsys):
    file, about = tmp_path / "m.hipmodel", tmp_path / "about.json"
    about.write_text(json.dumps({"licence": "CC0", "citations": ["A."]}))
    assert main(["export", str(finished_run.path), "-o", str(file), "--about", str(about), "--weights", "average"]) == 0
    package = read_package(file)
    assert package.sha256 in capsys.readouterr().out
    assert package.manifest.licence == "CC0"


@pytest.mark.parametrize("content", ["not JSON", '{"colour": 1}'])
def test_the_command_refuses_an_about_that_it_does_not_understand(finished_run, tmp_path, capsys, content):
    (tmp_path / "about.json").write_text(content)
    arguments = ["export", str(finished_run.path), "-o", str(tmp_path / "m.hipmodel")]
    assert main([*arguments, "--about", str(tmp_path / "about.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "m.hipmodel").exists()
