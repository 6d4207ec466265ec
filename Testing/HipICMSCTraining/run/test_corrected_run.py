"""A training with corrected MRIs: from the model before, through a kill, to one that is compared with the old one."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from corrected_phantoms import corrected_phantom
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.models.package import read_package
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.data.cases_of_folders import dataset_from_folders
from HipICMSCTrainingLib.data.dataset import Dataset
from HipICMSCTrainingLib.evaluation import compare as compare_module
from HipICMSCTrainingLib.evaluation.compare import ComparedBone, compare_models
from HipICMSCTrainingLib.evaluation.metrics import MaskScores
from HipICMSCTrainingLib.methods.icmsc import IcmscSettings
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.run import estimate as estimate_module
from HipICMSCTrainingLib.run.alarms import alarms
from HipICMSCTrainingLib.run.description import RunDescription, start_run
from HipICMSCTrainingLib.run.estimate import estimate
from HipICMSCTrainingLib.run.export import export_package
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.method import RunMethod
from HipICMSCTrainingLib.run.previews import SLICES
from HipICMSCTrainingLib.run.trainer import Trainer
from HipICMSCTrainingLib.settings.stages import SIMULATION, TOGETHER
from HipICMSCTrainingLib.settings.training import TrainingSettings
from killed_training import CHECKPOINT, Moment, train_and_kill
from PIL import Image
from tiny_training import ASSIGNMENTS, POOL, SLAB_ASSIGNMENTS, TinyData, set_arguments, tiny_settings

pytestmark = pytest.mark.usefixtures("one_thread")

ONLY_SIMULATION = {"stage1_epochs": 0, "stage2_epochs": 0, "self_training_epochs": 0}


@pytest.fixture(scope="module")
def start(finished_slab_run, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("start") / "start.hipmodel"
    export_package(finished_slab_run, file)
    return file


@pytest.fixture(scope="module")
def cases(tiny_data, tmp_path_factory) -> Path:
    """Two corrected MRIs, of which one is to be held out."""
    folder = tmp_path_factory.mktemp("corrected") / "cases"
    for number in (0, 1):
        corrected_phantom(tiny_data.folder, number, folder)
    return folder


@pytest.fixture(scope="module")
def data(slab_data, cases) -> TinyData:
    """The CTs of the others beside the corrected MRIs alone."""
    return replace(slab_data, dataset=dataset_from_folders(slab_data.folder / "ct", None, 0, corrected=cases))


def settings(start: Path, **changes) -> TrainingSettings:
    return tiny_settings(SLAB_ASSIGNMENTS, start_from=str(start), **ONLY_SIMULATION | changes)


def arguments(data: TinyData, cases: Path, start: Path) -> list[str]:
    given = ["--ct", str(data.folder / "ct"), "--corrected", str(cases), "--start-from", str(start)]
    return [
        *given,
        *set_arguments(SLAB_ASSIGNMENTS | ONLY_SIMULATION, simulation_epochs=2, corrections_towards_start=0.25),
    ]


@pytest.fixture(scope="module")
def finished(data, cases, start, tmp_path_factory) -> RunFolder:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    run = RunFolder(tmp_path_factory.mktemp("finished") / "run")
    data.lend_cache(run.path)
    assert main(["train", str(run.path), *arguments(data, cases, start)]) == 0
    torch.set_num_threads(before)
    return run


@pytest.fixture(scope="module")
def new(finished, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("new") / "new.hipmodel"
    export_package(finished, file)
    return file


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="inotify tells when a file is begun")
def test_it_is_killed_and_resumed_and_ends_in_the_same_weights(data, cases, start, finished, tmp_path):
    run = RunFolder(tmp_path / "run")
    data.lend_cache(run.path)
    moments = [Moment(0.0, CHECKPOINT, 1), Moment(0.001, CHECKPOINT, 1)]
    outcome = train_and_kill(run, ["train", str(run.path), *arguments(data, cases, start)], moments, finished)
    assert outcome.losses == []
    assert outcome.starts == 3


def test_simulated_slabs_and_corrected_ones_both_teach(finished):
    lines = [line["losses"] for line in finished.metrics() if "losses" in line]
    assert lines and all(line.keys() == {"simulated", "corrections"} for line in lines)
    assert all(np.isfinite(list(line.values())).all() for line in lines)
    # No score that knows no correction goes back to an earlier epoch.
    assert finished.checkpoints.selection()["step"] == finished.status().total_steps == 8


def test_what_is_kept_lies_a_quarter_of_the_way_back_to_the_start(finished, start):
    selection, state = finished.checkpoints.selection(), finished.checkpoints.last()
    learned = state["average" if selection["weights"] == "average" else "networks"]["F_t"]
    before = read_package(start).network()[0].state_dict()
    kept = finished.checkpoints.selected()["F_t"]
    assert max((learned[name] - before[name]).abs().max() for name in kept) > 1e-3
    for name, weights in kept.items():
        assert torch.allclose(weights, 0.75 * learned[name] + 0.25 * before[name], atol=1e-6), name


@pytest.mark.parametrize("weights", ["average", "last"])
def test_what_is_exported_unselected_is_what_was_scored(finished, start, tmp_path, weights):
    """Not what was learned before it went back a quarter of the way, whose scores nobody knows."""
    export_package(finished, tmp_path / "new.hipmodel", weights)
    exported = read_package(tmp_path / "new.hipmodel").network()[0].state_dict()
    learned = finished.checkpoints.last()["average" if weights == "average" else "networks"]["F_t"]
    before = read_package(start).network()[0].state_dict()
    for name, values in exported.items():
        if values.is_floating_point() and "running" not in name:
            assert torch.allclose(values, 0.75 * learned[name] + 0.25 * before[name], atol=1e-6), name


def test_the_preview_shows_corrected_mris_too(finished, finished_slab_run):
    sheet = Image.open(finished.previews_of()[-1])
    # Above: MR and the corrected one twice, in three rows, with outlines and plain.
    assert sheet.width // 2 == 3 * (256 + 2) and sheet.height > 2 * SLICES * 256
    of_simulation = next(path for path in finished_slab_run.previews_of() if path.stem.endswith("04"))
    assert Image.open(of_simulation).width < sheet.width


def test_the_package_says_what_it_was_corrected_with_and_names_nobody(finished, new, cases):
    training = read_package(new).manifest.training
    known = [json.loads(path.read_bytes())["voxels_sha256"] for path in sorted(cases.glob("*/case.json"))]
    assert len(training["corrected"]) == 1 and training["corrected"][0] in known
    assert "1 of them as a person corrected them" in read_package(new).card
    assert str(cases) not in json.dumps(training)


@pytest.mark.slow
def test_a_check_says_which_cases_another_model_made(data, cases, start, new, tmp_path, capsys):
    one_ct = tmp_path / "ct"
    one_ct.mkdir()
    for file in (data.folder / "ct").glob("ct00*"):
        shutil.copy(file, one_ct)
    given = ["check", "--ct", str(one_ct), "--preset", "slabs", "--corrected"]
    main([*given, str(cases), "--start-from", str(start)])  # which finds other things, too, in phantoms so coarse
    said = capsys.readouterr().out
    # One of the two is held out, and teaches nothing.
    assert "Of 1 corrected MRIs, 1 was made by another model (start) than the one that the training starts from" in said
    assert "Start from the model that made them" in said
    # What made them, what was trained further from that, and what they have taught already, are all at home.
    for number in (0, 1):
        corrected_phantom(data.folder, number, tmp_path / "own", sha256=read_package(start).sha256)
    for folder, model in ((tmp_path / "own", start), (tmp_path / "own", new), (cases, new)):
        main([*given, str(folder), "--start-from", str(model)])
        assert "made by another model" not in capsys.readouterr().out


@pytest.mark.slow
def test_an_estimate_times_steps_with_corrections(data, tiny_data, start, monkeypatch):
    monkeypatch.setattr(estimate_module, "TIMED_SECONDS", 0.0)
    seen = []
    step = estimate_module._TimedTrainer.do_step
    monkeypatch.setattr(estimate_module._TimedTrainer, "do_step", lambda self: seen.append(step(self)) or seen[-1])
    for chosen, cache, stage in (
        (settings(start), data.cache, "simulation"),
        (tiny_settings(stage1_epochs=0, stage2_epochs=1), tiny_data.cache, "stage 2"),
    ):
        described = RunDescription("icmsc", chosen, IcmscSettings(image_pool=POOL), data.dataset)
        told = estimate(described, cache)
        assert told.volumes == 4 and told.steps[stage] == 4
        assert seen and all("corrections" in losses for losses in seen)
        seen.clear()


def test_what_learns_nothing_from_corrections_refuses_them(data, start, tmp_path):
    slabs = tiny_settings(SLAB_ASSIGNMENTS, simulation_epochs=0, stage2_epochs=0, self_training_epochs=0)
    for name, chosen, words in (
        ("adda", tiny_settings(), "This method learns nothing from corrected MRIs; choose the method icmsc"),
        ("icmsc", slabs, "none of these has an epoch; set simulation_epochs"),
    ):
        with pytest.raises(HipError, match=words) as refused:
            start_run(tmp_path / "run", RunDescription(name, chosen, METHODS[name].Settings(), data.dataset))
        assert refused.value.kind == "bad_setting" and not (tmp_path / "run").exists()


@pytest.mark.parametrize("assignments", [ASSIGNMENTS, SLAB_ASSIGNMENTS], ids=["crop", "slabs"])
def test_beside_the_papers_losses_they_teach_in_stage_2(data, tiny_data, finished_run, cases, assignments, tmp_path):
    """From the command line, on the crop of the paper too, whose sheet shows them, and whose model says so."""
    lender = tiny_data if assignments is ASSIGNMENTS else data
    run = RunFolder(tmp_path / "run")
    lender.lend_cache(run.path)
    stages = {"stage1_epochs": 1, "stage2_epochs": 1}
    if assignments is SLAB_ASSIGNMENTS:
        stages |= {"simulation_epochs": 0, "self_training_epochs": 0}
    given = ["--ct", str(data.folder / "ct"), "--corrected", str(cases)]
    assert main(["train", str(run.path), *given, *set_arguments(assignments | stages)]) == 0
    last = [line for line in run.metrics() if "losses" in line][-1]
    assert last["stage"] == TOGETHER and {"corrections", "imsc_t", "cmsc_t", "cmsc_s"} <= last["losses"].keys()
    assert np.isfinite(list(last["losses"].values())).all()
    assert len(export_package(run, tmp_path / "taught.hipmodel").training["corrected"]) == 1
    if assignments is ASSIGNMENTS:
        # Beside MR, CT-like and back to MR, the corrected one as a person drew it and as it is segmented now.
        sheets = [Image.open(of.previews_of()[-1]).width for of in (finished_run, run)]
        assert sheets[0] * 5 == sheets[1] * 3


@pytest.mark.slow
def test_a_case_that_was_moved_meanwhile_is_said_and_the_run_goes_on_where_it_is_again(data, start, cases, tmp_path):
    mine = shutil.copytree(cases, tmp_path / "cases")
    dataset = dataset_from_folders(data.folder / "ct", None, 0, corrected=mine)
    run = start_run(tmp_path / "run", RunDescription("icmsc", settings(start), IcmscSettings(image_pool=POOL), dataset))
    run.request("STOP")
    assert Trainer(run).train().state == "paused"
    moved = mine.rename(tmp_path / "moved")
    with pytest.raises(HipError, match="it was moved, renamed or deleted"):
        Trainer(run).train()
    assert str(tmp_path) not in run.status().sentence
    assert main(["resume", str(run.path), "--ct", str(data.folder / "ct"), "--corrected", str(moved)]) == 0
    assert run.status().state == "finished"
    # Corrected once more, it is another case: the run has not read this one.
    case = json.loads((moved / "case-001" / "case.json").read_bytes())
    assert case["case"] == 1


def test_forgetting_is_an_alarm():
    def scored(step: int, dice: float) -> dict:
        return {
            "step": step,
            "stage": SIMULATION,
            "weights": "average",
            "scores": {"dice_simulated": dice, "selection": 0},
        }

    losses = {"step": 20, "stage": SIMULATION, "losses": {"simulated": 0.5, "corrections": 0.5}, "learning_rates": {}}
    from HipICMSCTrainingLib.run.status import Status

    status = Status("running", "simulation", "", 300, 300, 1.0, 0.0, 1, 0.0)
    method = RunMethod("icmsc", {})
    kinds = [alarm.kind for alarm in alarms([losses, scored(100, 0.9), scored(200, 0.8)], status, method)]
    assert kinds == ["forgetting"]
    assert alarms([losses, scored(100, 0.9), scored(200, 0.88)], status, method) == ()
    other = losses | {"losses": {"simulated": 0.5}}
    assert alarms([other, scored(100, 0.9), scored(200, 0.8)], status, method) == ()


def test_the_share_of_corrections_is_no_phase_of_a_training(finished):
    assert RunMethod.of(finished).phases == {}


# Old and new side by side.


class Drawing:
    """Stands for a model whose results are known: bones where the truth has them, moved by so many voxels."""

    def __init__(self, package, moved: dict[str, int], truths: Path) -> None:
        self.package, self.moved, self.truths = package, moved[package.manifest.name], truths

    def segment(self, image: sitk.Image, heads=None):
        for label in self.truths.glob("*/label.nii.gz"):
            truth = sitk.ReadImage(str(label))
            same = sitk.ReadImage(str(label.with_name("mri.nii.gz")))
            if np.array_equal(sitk.GetArrayFromImage(same), sitk.GetArrayFromImage(image)):
                labels = sitk.GetImageFromArray(np.roll(sitk.GetArrayFromImage(truth), self.moved, axis=1))
                labels.CopyInformation(truth)
                return type("Result", (), {"labels": labels})
        raise HipError("no_hip", "No hip was found.")


@pytest.fixture
def drawing(monkeypatch, cases):
    """Lets the models draw the truth moved by so many voxels, by their names."""
    moved: dict[str, int] = {}
    monkeypatch.setattr(compare_module, "HipSegmenter", lambda package: Drawing(package, moved, cases))
    return moved


def test_a_case_in_training_never_measures(start, new, cases, drawing):
    drawing |= {"start": 1, "new": 0}
    compared = compare_models(start, new, [cases])
    assert compared.cases == 1 and len(compared.trained_on) == 1
    assert {bone.case for bone in compared.bones}.isdisjoint(compared.trained_on)
    assert len(compared.bones) == 4 and compared.worse == ()
    assert [bone.new.dice for bone in compared.bones] == [1.0] * 4
    trained_on = cases / compared.trained_on[0]
    with pytest.raises(HipError, match="keep further cases out of the training"):
        compare_models(start, new, [trained_on])


def test_worse_where_the_old_one_was_good_is_said_in_red_with_pictures(start, new, cases, drawing, tmp_path, capsys):
    drawing |= {"start": 0, "new": 1}
    page = tmp_path / "page.html"
    assert main(["compare", str(start), str(new), "--cases", str(cases), "-o", str(page)]) == 0
    said = capsys.readouterr().out
    assert "On 1 corrected MRI that no training has seen, mean Dice is 100.0 % with start" in said
    first = said.splitlines()[0]
    assert first.startswith("The new model is worse where the old one was good: ") and "right hip bone" in first
    assert "One MRI says little of others. Leave-one-out" in said
    text = page.read_text(encoding="utf-8")
    assert "#b42318" in text and text.index('<p class="worse">The new') < text.index("On 1 corrected") < text.index(
        "<td>"
    )
    assert text.count('<tr class="worse">') == text.count("<td>worse</td>") == 4
    assert "The new model, new, beside the old one, start" in text
    assert text.count("data:image/png;base64,") == 9 and "http" not in text
    # What is there is not replaced without a word.
    assert main(["compare", str(start), str(new), "--cases", str(cases), "-o", str(page)]) == 2


def test_a_small_loss_or_a_poor_old_result_is_not_called_worse():
    def bone(old: float, new: float, own: bool = False) -> ComparedBone:
        return ComparedBone("a", "left femur", own, *(MaskScores(dice, 1.0, 1.0, 1.0, 1.0) for dice in (old, new)))

    assert bone(0.95, 0.92).is_worse and bone(0.95, 0.0).is_worse
    assert not bone(0.95, 0.94).is_worse and not bone(0.8, 0.5).is_worse
    # What the old model drew itself and nobody changed favours it.
    assert not bone(1.0, 0.96, own=True).is_worse and bone(1.0, 0.94, own=True).is_worse


def test_the_real_engine_compares_and_a_broken_case_is_said(start, new, cases, tmp_path, capsys):
    mine = shutil.copytree(cases, tmp_path / "cases")
    (mine / "case-003").mkdir()
    code = main(["compare", str(start), str(new), "--cases", str(mine), "--progress"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    told = lines[-1]["compared"]
    assert told["cases"] == 1 and "no whole case" in told["failed"]["case-003"]
    results = HipSegmenter(new).package.manifest.name
    assert told["new"] == results == "new"


# Leave-one-out.


@pytest.fixture(scope="module")
def taught_by_two(data, slab_data, cases, start, tmp_path_factory) -> RunFolder:
    """A run that learned from both cases; an MRI without labels is for its scores."""
    other = replace(slab_data.dataset.of("MR", "val")[0], name="other", patient="other")
    mris = [replace(case, role="train") for case in data.dataset.cases if case.corrected]
    dataset = Dataset((*(case for case in data.dataset.cases if case.modality == "CT"), other, *mris))
    chosen = settings(start, simulation_epochs=1)
    folder = tmp_path_factory.mktemp("taught") / "mine"
    data.lend_cache(folder)
    run = start_run(folder, RunDescription("icmsc", chosen, IcmscSettings(image_pool=POOL), dataset))
    assert Trainer(run).train().state == "finished"
    return run


def test_leave_one_out_measures_each_case_with_a_model_that_never_saw_it(taught_by_two, cases, tmp_path, capsys):
    command = ["leave-one-out", str(taught_by_two.path), "-o", str(tmp_path / "page.html"), "--progress"]
    models = [taught_by_two.path / "leave_one_out" / name / "model.hipmodel" for name in ("1", "2")]
    # Stopped in the midst of the second training, it goes on there.
    RunFolder(models[1].parent).path.mkdir(parents=True)
    RunFolder(models[1].parent).request("STOP")
    assert main(command) == 2
    assert "Leave-one-out was stopped; the same command goes on." in capsys.readouterr().err
    assert models[0].exists() and not models[1].exists() and not (tmp_path / "page.html").exists()
    first = models[0].stat().st_mtime_ns
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])["compared"]
    assert models[0].stat().st_mtime_ns == first
    digests = {path.parent.name: json.loads(path.read_bytes())["voxels_sha256"] for path in cases.glob("*/case.json")}
    names = [case.name for case in RunDescription.read(taught_by_two).dataset.corrected("train")]
    assert sorted(names) == ["case-001", "case-002"]
    for model, left_out in zip(models, names, strict=True):
        learned_from = read_package(model).manifest.training["corrected"]
        assert learned_from == [digest for name, digest in digests.items() if name != left_out]
    assert told["cases"] == 2 and {bone["case"] for bone in told["bones"]} == set(digests) and told["leave_one_out"]
    assert (told["old"], told["new"]) == ("start", "mine")
    assert "each without the MRI that it is measured on (leave-one-out)" in told["verdict"]
    assert "mine itself learned from all of these MRIs" in told["notes"][0]
    assert "leave-one-out" in (tmp_path / "page.html").read_text(encoding="utf-8")
    # The run itself is as it was.
    assert taught_by_two.status().state == "finished"


def test_of_one_corrected_patient_none_can_be_left_out(finished, capsys):
    assert main(["leave-one-out", str(finished.path)]) == 2
    assert "learned from corrected MRIs of 1 patients; leave-one-out needs two" in capsys.readouterr().err
