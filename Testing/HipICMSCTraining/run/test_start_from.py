"""Fine-tuning: a training whose networks start as those of a model package, once, and says so ever after."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import replaced
from HipICMSCLib.models.package import ModelPackage, read_package, write_package
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.methods.adda import AddaSettings
from HipICMSCTrainingLib.methods.cycada import CycadaSettings
from HipICMSCTrainingLib.methods.icmsc import Icmsc
from HipICMSCTrainingLib.run import watchers
from HipICMSCTrainingLib.run.description import RunDescription, start_run
from HipICMSCTrainingLib.run.export import export_package
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.starting_weights import check_fits, corrected_before, with_settings_of
from HipICMSCTrainingLib.run.trainer import Trainer
from HipICMSCTrainingLib.settings.training import PRESETS, TrainingSettings
from tiny_training import at_step, differences, set_arguments, tiny_settings

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def talkative(monkeypatch):
    monkeypatch.setattr(watchers, "HEARTBEAT_SECONDS", 0.0)


@pytest.fixture(scope="module")
def models(finished_run, tmp_path_factory) -> dict[str, Path]:
    """Packages of the finished run: the usual one, and one that translates first."""
    folder = tmp_path_factory.mktemp("models")
    for name, route in (("usual", "F_t"), ("translating", "F_s(G_ts)")):
        export_package(finished_run, folder / f"{name}.hipmodel", route=route)
    return {path.stem: path for path in folder.iterdir()}


def stopped_at_once(run: RunFolder) -> dict:
    """The checkpoint before the first step."""
    run.request("STOP")
    assert Trainer(run).train().step == 0
    return run.checkpoints.last()


def of_package(package: ModelPackage, network: str) -> dict[str, torch.Tensor]:
    prefix = f"{network}/"
    return {name[len(prefix) :]: value for name, value in package.weights.items() if name.startswith(prefix)}


def by_chance(tiny_data, folder: Path) -> dict:
    return stopped_at_once(tiny_data.start(folder))["networks"]


@pytest.mark.parametrize(("model", "started"), [("usual", {"F_t"}), ("translating", {"G_ts", "F_s"})])
def test_the_networks_of_the_package_start_from_its_weights_and_the_others_from_chance(
    tiny_data, tmp_path, models, model, started
):
    state = stopped_at_once(tiny_data.start(tmp_path / "run", start_from=str(models[model])))
    package, chance = read_package(models[model]), by_chance(tiny_data, tmp_path / "chance")
    for name, network in state["networks"].items():
        expected = of_package(package, name) if name in started else chance[name]
        assert differences(dict(expected), dict(network)) == []
    for name in started:
        assert differences(dict(chance[name]), dict(state["networks"][name])) != []
        assert differences(dict(state["networks"][name]), dict(state["average"][name])) == []


def test_corrected_mris_that_taught_any_model_before_never_measure_one_that_started_from_it(
    tiny_data, tmp_path, models
):
    """Of three generations, the first of which learned from a corrected MRI."""
    package = read_package(models["usual"])
    taught = replace(package.manifest, training=package.manifest.training | {"corrected": ["aa"]})
    networks = {"F_t": of_package(package, "F_t")}
    write_package(tmp_path / "taught.hipmodel", taught, networks, "# Taught")
    start = tmp_path / "taught.hipmodel"
    for generation in ("child", "grandchild"):
        run = tiny_data.start(tmp_path / generation, start_from=str(start))
        Trainer(run).train()
        start = tmp_path / f"{generation}.hipmodel"
        export_package(run, start)
        assert corrected_before(read_package(start)) == {"aa"}
        assert read_package(start).manifest.training["corrected"] == []  # its own, of which the card tells


def test_run_and_card_say_what_it_started_from(tiny_data, tmp_path, models):
    run = tiny_data.start(tmp_path / "run", start_from=str(models["usual"]))
    sha256 = read_package(models["usual"]).sha256
    assert run.description()["started_from"] == {"name": "usual", "sha256": sha256, "corrected": []}
    assert run.description()["settings"]["start_from"] == str(models["usual"])
    Trainer(run).train()
    export_package(run, tmp_path / "next.hipmodel")
    package = read_package(tmp_path / "next.hipmodel")
    assert package.manifest.training["started_from"] == {"name": "usual", "sha256": sha256, "corrected": []}
    assert f"Started from the weights of usual (SHA-256 {sha256})" in package.card


def test_a_run_from_chance_says_nothing_of_a_start(finished_run, models):
    assert finished_run.description()["started_from"] is None
    assert "Started from" not in read_package(models["usual"]).card


def test_a_resumed_training_goes_on_from_its_checkpoint_even_without_the_package(tiny_data, tmp_path, models):
    file = tmp_path / "start.hipmodel"
    shutil.copy(models["usual"], file)
    unbroken = tiny_data.start(tmp_path / "unbroken", start_from=str(file))
    Trainer(unbroken).train()
    run = tiny_data.start(tmp_path / "run", start_from=str(file))
    Trainer(run, at_step(6, lambda: run.request("STOP"))).train()
    file.unlink()
    assert Trainer(run).train().state == "finished"
    assert differences(unbroken.checkpoints.last(), run.checkpoints.last()) == []


def test_another_package_in_its_place_is_noticed_before_the_first_step(tiny_data, tmp_path, models):
    file = tmp_path / "start.hipmodel"
    shutil.copy(models["usual"], file)
    run = tiny_data.start(tmp_path / "run", start_from=str(file))
    shutil.copy(models["translating"], file)
    with pytest.raises(HipError, match=r"start\.hipmodel is not the one") as caught:
        Trainer(run).train()
    assert caught.value.kind == "changed_start"
    assert run.status().kind == "changed_start"


@pytest.mark.parametrize("own", [AddaSettings(), AddaSettings(pretraining_share=0.0), CycadaSettings()])
def test_what_a_method_would_overwrite_is_no_start_for_it(tiny_data, tmp_path, models, own):
    """ADDA and CyCADA make F_t from F_s, so that a package of F_t alone would be lost without a word."""
    run = tiny_data.start(tmp_path / "run", own, start_from=str(models["usual"]))
    with pytest.raises(HipError, match="Start from a model that has F_s") as refused:
        Trainer(run).train()
    assert refused.value.kind == run.status().kind == "start_does_not_fit"


def test_cycada_starts_from_a_package_that_has_F_s(tiny_data, tmp_path, models):
    run = tiny_data.start(
        tmp_path / "run", CycadaSettings(pretraining_share=0.0), start_from=str(models["translating"])
    )
    state, package = stopped_at_once(run), read_package(models["translating"])
    for name in ("G_ts", "F_s"):
        assert differences(of_package(package, name), dict(state["networks"][name])) == []


# What the package and the run must share.


def test_all_that_must_be_shared_is_taken_from_the_package(models):
    package = read_package(models["usual"])
    settings = with_settings_of(package, TrainingSettings())
    check_fits(package, settings)
    assert (settings.crop, settings.segmenter) == (tiny_settings().crop, tiny_settings().segmenter)
    assert settings.translator == TrainingSettings().translator  # a package that translates nothing says nothing of it
    assert settings.stage1_epochs == TrainingSettings().stage1_epochs
    translating = with_settings_of(read_package(models["translating"]), TrainingSettings())
    assert translating.translator == tiny_settings().translator


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("segmenter.width", 16, "segmenter.width 8 (here 16)"),
        ("segmenter.norm", "group", "--set segmenter.norm=batch"),
        ("crop.size", [64, 16, 24], "--set crop.size=[32,16,24]"),
        ("intensity.ct_window_hu", [-100, 900], "intensity.ct_window_hu [-200.0,1000.0] (here [-100.0,900.0])"),
    ],
)
def test_what_does_not_fit_is_one_sentence_with_the_settings_to_take(tiny_data, tmp_path, models, name, value, words):
    settings = replaced(tiny_settings(start_from=str(models["usual"])), name, value)
    with pytest.raises(HipError) as caught:
        start_run(
            tmp_path / "run",
            RunDescription("icmsc", settings, Icmsc.Settings(), tiny_data.dataset),
        )
    assert caught.value.kind == "start_does_not_fit"
    assert words in caught.value.sentence
    assert caught.value.sentence.endswith(".")
    assert not (tmp_path / "run").exists()


def test_a_preset_that_fits_is_named(models):
    package = read_package(models["usual"])
    manifest = replace(package.manifest, crop=PRESETS["smoke"].crop, segmenter=PRESETS["smoke"].segmenter)
    with pytest.raises(HipError, match="take its settings with --preset smoke or --set"):
        check_fits(replace(package, manifest=manifest), PRESETS["paper"])


def test_a_translator_of_another_width_does_not_fit_either(models):
    settings = replace(tiny_settings(), translator=replace(tiny_settings().translator, blocks=3))
    check_fits(read_package(models["usual"]), settings)
    with pytest.raises(HipError, match=r"translator\.blocks 2 \(here 3\)"):
        check_fits(read_package(models["translating"]), settings)


# On the command line.


def trained(capsys, *arguments: object) -> tuple[int, str]:
    code = main(["train", *map(str, arguments)])
    return code, capsys.readouterr().err


def unset(*names: str) -> list[str]:
    """The tiny settings but for those that a package of the tiny run knows."""
    arguments = set_arguments()
    pairs = list(zip(arguments[::2], arguments[1::2], strict=True))
    return [part for pair in pairs if not pair[1].startswith(names) for part in pair]


def test_the_command_takes_architecture_and_crop_from_the_package(tiny_data, tmp_path, models, capsys, monkeypatch):
    run = RunFolder(tmp_path / "run")
    tiny_data.lend_cache(run.path)
    monkeypatch.chdir(models["usual"].parent)
    arguments = [*tiny_data.arguments, *unset("crop", "segmenter"), "--start-from", "usual.hipmodel"]
    code, err = trained(capsys, run.path, *arguments)
    assert (code, run.status().state) == (0, "finished"), err
    settings = RunDescription.read(run).settings
    assert (settings.segmenter, settings.crop) == (tiny_settings().segmenter, tiny_settings().crop)
    assert settings.start_from == str(models["usual"].resolve())  # also found from another folder


def test_what_the_user_insists_on_is_not_overruled_but_refused(tiny_data, tmp_path, models, capsys):
    arguments = [*tiny_data.arguments, "--set", "segmenter.width=16", "--start-from", models["usual"]]
    code, err = trained(capsys, tmp_path / "run", *arguments)
    assert code == 2
    assert "segmenter.width 8 (here 16)" in err
    assert "crop" not in err
    assert not (tmp_path / "run").exists()


def test_a_model_that_is_not_there(tiny_data, tmp_path, capsys):
    for model in ("nowhere.hipmodel", "no-such-model"):
        code, err = trained(capsys, tmp_path / "run", *tiny_data.arguments, "--start-from", model)
        assert (code, err.count("\n")) == (2, 1)
        assert model in err
    assert not (tmp_path / "run").exists()


# Another run as the pattern.


def test_a_duplicate_has_the_settings_and_cases_of_the_first_run_but_for_what_was_changed(
    finished_run, tmp_path, capsys
):
    to = tmp_path / "copy"
    shutil.copytree(finished_run.cache, to / "cache")
    changes = {"stage2_epochs": 0, "image_pool": 3, "adam_betas_translation": [0.4, 0.9], "segmenter.norm": "group"}
    assignments = [part for name, value in changes.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    code, err = trained(capsys, to, "--like", finished_run.path, *assignments)
    assert code == 0, err
    first, second = finished_run.description(), RunFolder(to).description()
    assert second["dataset"] == first["dataset"]
    expected = json.loads(json.dumps(first["settings"]))
    expected |= {"stage2_epochs": 0, "adam_betas_translation": [0.4, 0.9]}
    expected["segmenter"]["norm"] = "group"
    assert second["settings"] == expected
    assert second["method_settings"] == first["method_settings"] | {"image_pool": 3}
    assert RunFolder(to).status().state == "finished"


@pytest.mark.slow
def test_data_that_are_given_win_over_those_of_the_other_run(finished_run, tiny_data, tmp_path, capsys):
    moved = tmp_path / "data"
    shutil.copytree(tiny_data.folder, moved)
    folders = ["--ct", moved / "ct", "--mri", moved / "mri"]
    code, err = trained(
        capsys,
        tmp_path / "run",
        "--like",
        finished_run.path,
        *folders,
        "--set",
        "stage2_epochs=0",
        "--set",
        "steps_per_epoch=1",
    )
    assert code == 0, err
    images = [case["image"] for case in RunFolder(tmp_path / "run").description()["dataset"]["cases"]]
    assert all(image.startswith(str(moved)) for image in images)


@pytest.mark.parametrize(
    ("arguments", "words"), [(["--preset", "smoke"], "not both"), (["--set", "colour=1"], "no setting colour")]
)
def test_likenesses_that_cannot_be_meant(finished_run, tmp_path, capsys, arguments, words):
    code, err = trained(capsys, tmp_path / "run", "--like", finished_run.path, *arguments)
    assert code == 2
    assert words in err
    code, err = trained(capsys, tmp_path / "run", "--like", tmp_path / "nowhere")
    assert (code, err) == (2, f"hipicmsc: {tmp_path / 'nowhere'} holds no run.\n")
    assert not (tmp_path / "run").exists()
