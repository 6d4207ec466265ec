"""The training loop: however it is interrupted, a resumed training ends in the very weights of an unbroken one."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.data.dataset import Dataset
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.icmsc import Icmsc
from HipICMSCTrainingLib.run import selection as selection_module
from HipICMSCTrainingLib.run import trainer as trainer_module
from HipICMSCTrainingLib.run import watchers
from HipICMSCTrainingLib.run.description import RunDescription
from HipICMSCTrainingLib.run.export import export_package
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.lessons import read_lessons, write_lessons
from HipICMSCTrainingLib.run.selection import Selection
from HipICMSCTrainingLib.run.trainer import Trainer
from packages import write_slab_package
from tiny_training import at_step, differences, tiny_dataset

STAGE_1_STEPS, STEPS, SLAB_STEPS = 4, 12, 16

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def talkative(monkeypatch):
    """The run reports after every step, so that a test can interfere at a certain one."""
    monkeypatch.setattr(watchers, "HEARTBEAT_SECONDS", 0.0)


@pytest.fixture
def run(tiny_data, tmp_path) -> RunFolder:
    return tiny_data.start(tmp_path / "run")


@pytest.fixture
def new_and_unbroken(reads, request, tmp_path) -> tuple[RunFolder, RunFolder]:
    """A run that has done nothing yet, and one like it that nothing interrupted; on crops, or on slabs in four stages.

    Its tests are parametrized by ``reads``.
    """
    data, unbroken = {"crop": ("tiny_data", "finished_run"), "slabs": ("slab_data", "finished_slab_run")}[reads]
    return request.getfixturevalue(data).start(tmp_path / "run"), request.getfixturevalue(unbroken)


def selected(run: RunFolder) -> tuple[dict, dict]:
    return run.checkpoints.selected(), json.loads((run.checkpoints.folder / "selected.json").read_text())


def assert_same_outcome(run: RunFolder, unbroken: RunFolder) -> None:
    """Networks, averages, optimisers, image pools, best score and the selected weights, bit for bit."""
    assert run.checkpoints.last()["step"] == unbroken.status().total_steps
    assert differences(unbroken.checkpoints.last(), run.checkpoints.last()) == []
    assert differences(selected(unbroken), selected(run)) == []


def step_of_scores(run: RunFolder) -> list[tuple[int, str]]:
    return [(line["step"], line["weights"]) for line in run.metrics() if "scores" in line]


def test_each_epoch_is_scored_once(finished_run, finished_slab_run):
    for run, epochs in ((finished_run, (4, 8, 12)), (finished_slab_run, (4, 8, 12, 16))):
        assert step_of_scores(run) == [(step, which) for step in epochs for which in ("last", "average")]


#: (what is read, a step, the stage that it is in): in the middle of each stage.
IN_EACH_STAGE = [
    ("crop", 2, "stage 1"),
    ("crop", 6, "stage 2"),
    ("slabs", 2, "simulation"),
    ("slabs", 6, "stage 1"),
    ("slabs", 10, "stage 2"),
    ("slabs", 14, "self-training"),
]

#: Of the ways to be interrupted, stopping is tried in each of them; the others in two, and in all by `make test-all`.
MIDDLES = [
    stage if stage[2] in ("stage 2", "self-training") else pytest.param(*stage, marks=pytest.mark.slow)
    for stage in IN_EACH_STAGE[1:]
]


def test_the_checkpoint_holds_all_that_moves(finished_run):
    state = finished_run.checkpoints.last()
    assert set(state["networks"]) == {"G_st", "G_ts", "F_s", "F_t", "D_s", "D_t"}
    assert set(state["average"]) == {"G_st", "G_ts", "F_s", "F_t"}
    assert set(state["optimizers"]) == {"G", "F", "D"}
    assert all(optimizer["state"] for optimizer in state["optimizers"].values())
    assert [len(state["extra"][name]) for name in ("s", "t")] == [2, 2]
    assert state["step"] == STEPS


@pytest.mark.parametrize(("reads", "step", "stage"), [*IN_EACH_STAGE, ("slabs", 12, "self-training")])
def test_stopped_and_resumed(new_and_unbroken, step, stage):
    run, finished_run = new_and_unbroken
    stopped = Trainer(run, at_step(step, lambda: run.request("STOP"))).train()
    assert (stopped.state, stopped.step) == ("paused", step)
    assert run.checkpoints.last()["step"] == step
    assert not run.requested("STOP")
    phases = []
    assert Trainer(run, lambda status: phases.append((status.step, status.phase))).train().state == "finished"
    assert (step, stage) in phases
    assert_same_outcome(run, finished_run)
    assert step_of_scores(run) == step_of_scores(finished_run)


def test_self_training_begins_with_the_best_weights_so_far(slab_data, tmp_path, monkeypatch):
    run = slab_data.start(tmp_path / "run")
    Trainer(run, at_step(12, lambda: run.request("STOP"))).train()
    # As if an earlier stage had been better than the last one.
    trained = RunDescription.read(run)
    method = Icmsc(trained.settings, trained.method_settings, torch.device("cpu"), Distribution())
    networks = {name: method.networks[name] for name in method.deployable}
    run.checkpoints.save_selected(networks, run.checkpoints.selection())
    better = run.checkpoints.selected()["F_t"]
    began_with = []

    class Watched(Icmsc):
        def train_step(self, batch, moment, random):
            began_with.append({name: value.clone() for name, value in self.networks["F_t"].state_dict().items()})
            return super().train_step(batch, moment, random)

    monkeypatch.setattr(trainer_module, "find_method", lambda name: Watched)
    Trainer(run).train()
    assert differences(better, began_with[0]) == []


def test_self_training_begins_with_moments_of_no_other_weights(finished_slab_run):
    """Its best weights may be of any earlier step; what Adam remembers in the end is of its own four steps."""
    optimizers = finished_slab_run.checkpoints.last()["optimizers"]
    assert {int(moments["step"]) for moments in optimizers["F"]["state"].values()} == {4}


@pytest.mark.parametrize(("reads", "step", "stage"), MIDDLES)
def test_interrupted_from_the_keyboard_and_resumed(new_and_unbroken, step, stage):
    run, finished_run = new_and_unbroken

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(run, at_step(step, interrupt)).train()
    status = run.status()
    assert status.state == "paused"
    checkpoint = run.checkpoints.last()
    if stage == "simulation":  # its only epoch was not at its end
        assert checkpoint is None
    else:
        assert "resume" in status.sentence
        assert checkpoint["step"] == 4 * (step // 4)  # of the last epoch's end
    Trainer(run).train()
    assert_same_outcome(run, finished_run)
    assert step_of_scores(run) == step_of_scores(finished_run)


@pytest.mark.parametrize(("reads", "step", "stage"), MIDDLES)
def test_paused_it_waits_and_goes_on_in_the_same_process(new_and_unbroken, step, stage):
    run, finished_run = new_and_unbroken
    seen = []

    def report(status) -> None:
        seen.append((status.state, status.phase, status.step))
        if status.step == step and ("paused", "waiting", step) not in seen:
            run.request("PAUSE")
        elif status.state == "paused":
            assert run.checkpoints.last()["step"] == step  # saved before it waits
            assert run.status().state == "paused"
            run.withdraw("PAUSE")

    assert Trainer(run, report).train().state == "finished"
    pause = seen.index(("paused", "waiting", step))
    assert seen[pause + 1] == ("running", stage, step)
    assert_same_outcome(run, finished_run)


def test_a_pause_can_end_in_a_stop(run):
    def report(status) -> None:
        if status.state == "paused" and status.phase == "waiting":
            run.request("STOP")

    run.request("PAUSE")
    status = Trainer(run, report).train()
    assert (status.state, status.phase, status.step) == ("paused", "stopped", 0)
    assert not run.requested("PAUSE")
    assert run.checkpoints.last()["step"] == 0


def test_metrics_of_a_run_that_died_before_its_first_checkpoint_are_forgotten(run, finished_run):
    run.append_metrics({"step": 2, "losses": {}})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 3, "los')
    Trainer(run).train()
    steps = [line["step"] for line in run.metrics()]
    assert steps == [line["step"] for line in finished_run.metrics()]


def test_each_step_is_reported_once_after_a_resume(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "METRICS_EVERY", 1)
    run = tiny_data.start(tmp_path / "run")

    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(run, at_step(7, die)).train()
    assert [line["step"] for line in run.metrics() if "losses" in line] == [1, 2, 3, 4, 5, 6, 7]
    Trainer(run).train()
    assert [line["step"] for line in run.metrics() if "losses" in line] == list(range(1, STEPS + 1))
    by_stage = [set(line["losses"]) for line in run.metrics() if "losses" in line]
    assert "supervised" not in by_stage[STAGE_1_STEPS - 1]
    assert "supervised" in by_stage[STAGE_1_STEPS]


def test_weights_are_selected_only_once_the_segmenters_have_learned(run):
    found = {}

    def report(status) -> None:
        found[status.step] = run.checkpoints.selected_file.exists()

    Trainer(run, report).train()
    assert not any(found[step] for step in range(STAGE_1_STEPS + 1))
    assert found[STEPS]
    _, about = selected(run)
    assert about["step"] > STAGE_1_STEPS
    scored = [line["scores"]["selection"] for line in run.metrics() if "scores" in line and line["step"] > 4]
    assert about["scores"]["selection"] == max(scored)


def test_on_slabs_every_stage_but_translation_is_scored_on_simulated_mri_and_may_be_selected(finished_slab_run):
    lines = finished_slab_run.metrics()
    scored = [(line["step"], line["stage"], set(line["scores"])) for line in lines if "scores" in line]
    assert [(step, stage) for step, stage, _ in scored[::2]] == [(4, 0), (8, 1), (12, 2), (16, 3)]
    assert all({"dice_simulated", "agreement_of_views", "selection"} <= names for _, _, names in scored)
    about = json.loads((finished_slab_run.checkpoints.folder / "selected.json").read_text())
    candidates = [line["scores"]["selection"] for line in lines if "scores" in line and line["stage"] != 1]
    assert about["scores"]["selection"] == max(candidates)
    assert about["step"] != 8


def test_on_slabs_the_checkpoint_holds_all_networks_and_the_selection_no_discriminator(finished_slab_run):
    state = finished_slab_run.checkpoints.last()
    assert set(state["networks"]) == {"G_st", "G_ts", "F_s", "F_t", "D_s", "D_t"}
    assert set(state["average"]) == set(finished_slab_run.checkpoints.selected()) == {"G_st", "G_ts", "F_s", "F_t"}
    assert state["step"] == SLAB_STEPS


def test_a_run_of_the_version_with_a_mean_teacher_is_read_and_exported(finished_slab_run, tmp_path):
    shutil.copytree(finished_slab_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("cache"))
    run = RunFolder(tmp_path / "run")
    described = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    described["method_settings"]["teacher_decay"] = 0.997
    (run.path / "run.json").write_text(json.dumps(described), encoding="utf-8")
    assert RunDescription.read(run) == RunDescription.read(finished_slab_run)
    assert export_package(run, tmp_path / "a.hipmodel").name
    described["method_settings"]["teacher_decoy"] = 0.997
    (run.path / "run.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(HipError, match="no setting teacher_decoy"):
        RunDescription.read(run)


@pytest.mark.parametrize("left", ["simulation_epochs", "stage1_epochs", "stage2_epochs", "self_training_epochs"])
def test_each_stage_can_be_all_there_is(slab_data, tmp_path, left):
    epochs = dict.fromkeys(("simulation_epochs", "stage1_epochs", "stage2_epochs", "self_training_epochs"), 0)
    run = slab_data.start(tmp_path / "run", **epochs | {left: 1, "steps_per_epoch": 2})
    status = Trainer(run).train()
    assert (status.state, status.step) == ("finished", 2)
    assert (run.checkpoints.selected() is None) == (left == "stage1_epochs")


def test_lessons_of_other_teachers_that_a_run_begins_with_are_what_it_learns_from(slab_data, tmp_path):
    only = dict.fromkeys(("simulation_epochs", "stage1_epochs", "stage2_epochs"), 0)
    run = slab_data.start(tmp_path / "run", **only, self_training_epochs=1, steps_per_epoch=2)
    write_slab_package(tmp_path / "teacher.hipmodel", slab=RunDescription.read(run).settings.slab)
    cases, lessons = RunDescription.read(run).dataset.of("MR", "train"), run.checkpoints.lessons_file
    write_lessons(lessons, [tmp_path / "teacher.hipmodel"], cases, "cpu", False, lambda sentence: None)
    before, trainer = lessons.read_bytes(), Trainer(run)
    assert trainer.train().state == "finished"
    assert lessons.read_bytes() == before
    shapes = [volume["slices"].shape for volume in trainer.data.batches.volumes]
    for learned, kept in zip(trainer.data.batches.lessons, read_lessons(lessons, cases, shapes), strict=True):
        assert kept.any()
        np.testing.assert_array_equal(learned, kept)


def test_a_stop_while_mris_are_read_ends_the_training_and_resume_goes_on(slab_data, tmp_path):
    only = dict.fromkeys(("simulation_epochs", "stage1_epochs", "stage2_epochs"), 0)
    run = slab_data.start(tmp_path / "run", **only, self_training_epochs=1, steps_per_epoch=2)

    def stop(status) -> None:
        if status.sentence.startswith("Segmenting 1 of"):
            run.request("STOP")

    status = Trainer(run, stop).train()
    assert (status.state, status.step) == ("paused", 0)
    assert not run.checkpoints.lessons_file.exists()
    assert Trainer(run).train().state == "finished"


@pytest.mark.parametrize(("sign", "last_scored"), [(-1, 0), (1, 2)], ids=["falling", "rising"])
def test_killed_in_the_first_epoch_of_self_training_it_begins_with_the_same_again(
    slab_data, tmp_path, monkeypatch, sign, last_scored
):
    """Once it was scored as it began and the scores fall then, once when it had kept what it learned as the best."""
    alone = dict.fromkeys(("simulation_epochs", "stage1_epochs", "stage2_epochs"), 0)
    alone |= {"self_training_epochs": 2, "steps_per_epoch": 2}
    choose_from, score = Selection.choose_from, Trainer.score

    def choose_by_step(self, candidates, ways, step, *rest):
        monkeypatch.setattr(selection_module, "label_free_scores", lambda *those: {"selection": float(sign * step)})
        choose_from(self, candidates, ways, step, *rest)

    def score_and_die(self, moment):
        score(self, moment)
        if self.pace.step == last_scored:
            raise KeyboardInterrupt

    monkeypatch.setattr(Selection, "choose_from", choose_by_step)
    unbroken, run = (slab_data.start(tmp_path / name, **alone) for name in ("unbroken", "killed"))
    Trainer(unbroken).train()
    monkeypatch.setattr(Trainer, "score", score_and_die)
    with pytest.raises(KeyboardInterrupt):
        Trainer(run).train()
    monkeypatch.setattr(Trainer, "score", score)
    Trainer(run).train()
    assert_same_outcome(run, unbroken)
    assert step_of_scores(run) == step_of_scores(unbroken)


def test_translation_alone_selects_nothing(tiny_data, tmp_path):
    run = tiny_data.start(tmp_path / "run", stage2_epochs=0)
    assert Trainer(run).train().step == STAGE_1_STEPS
    assert run.checkpoints.selected() is None


def test_a_finished_run_shows_pictures_and_how_it_went(finished_run):
    from skimage.io import imread

    status = finished_run.status()
    assert (status.state, status.step, status.total_steps) == ("finished", STEPS, STEPS)
    previews = sorted(path.name for path in finished_run.previews.iterdir())
    assert previews == ["step_0000004.png", "step_0000008.png", "step_0000012.png"]
    picture = imread(finished_run.previews / previews[-1])
    # Two halves of three rows below their words: three panels with outlines and beside them the same without, each
    # eight times the slice's size and two pixels apart.
    assert picture.shape == (2 * (31 + 3 * (8 * 24 + 2)), 2 * 3 * (8 * 32 + 2), 3)
    assert picture.std() > 5


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(tiny_data, tmp_path):
    # Steps of this size leave the numbers of float32 at once; every step is saved.
    run = tiny_data.start(tmp_path / "run", learning_rate_translation=1e30, checkpoint_minutes=0.0)
    with pytest.raises(HipError) as caught:
        Trainer(run).train()
    assert caught.value.kind == "not_finite_loss"
    status = run.status()
    assert (status.state, status.sentence) == ("failed", caught.value.sentence)
    assert 1 <= run.checkpoints.last()["step"] < status.step
    assert f"The checkpoint of step {run.checkpoints.last()['step']} is kept" in status.sentence


def test_other_failures_are_written_down_too(run):
    def fail() -> None:
        raise RuntimeError("the machine caught fire")

    with pytest.raises(RuntimeError):
        Trainer(run, at_step(2, fail)).train()
    assert run.status().state == "failed"
    assert "caught fire" in run.status().sentence
    assert not run.in_use()


def test_a_damaged_checkpoint_is_one_clear_sentence(run, finished_run):
    shutil.copy(finished_run.checkpoints.last_file, run.checkpoints.last_file)
    with open(run.checkpoints.last_file, "r+b") as file:
        file.truncate(10_000)
    with pytest.raises(HipError) as caught:
        Trainer(run).train()
    assert caught.value.kind == "damaged_checkpoint"
    assert run.status().sentence == caught.value.sentence


def test_a_run_in_use_is_refused_and_left_alone(run):
    with run.locked(), pytest.raises(HipError) as caught:
        Trainer(RunFolder(run.path)).train()
    assert caught.value.kind == "run_in_use"
    assert not (run.path / "status.json").exists()


def test_data_that_went_away_are_named(tiny_data, tmp_path):
    moved = tmp_path / "data"
    shutil.copytree(tiny_data.folder, moved)
    run = replace(tiny_data, folder=moved, dataset=tiny_dataset(moved)).start(tmp_path / "run")
    shutil.rmtree(moved / "mri")
    with pytest.raises(HipError) as caught:
        Trainer(run).train()
    assert caught.value.kind == "missing_file"
    assert run.status().state == "failed"


def test_averages_and_weights_differ_and_are_finite(finished_run):
    state = finished_run.checkpoints.last()
    for name, average in state["average"].items():
        pairs = [(value, state["networks"][name][key]) for key, value in average.items() if value.is_floating_point()]
        assert all(torch.isfinite(a).all() and torch.isfinite(b).all() for a, b in pairs)
        assert any(not torch.equal(a, b) for a, b in pairs)
    assert math.isfinite(state["best_score"])


def test_everything_that_is_wrong_with_the_data_is_said_at_once(tiny_data, tmp_path):
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no image")
    ct, mr = (next(c for c in tiny_data.dataset.cases if c.modality == modality) for modality in ("CT", "MR"))
    cases = tuple(replace(c, image=str(broken)) if c in (ct, mr) else c for c in tiny_data.dataset.cases)
    run = replace(tiny_data, dataset=Dataset(cases)).start(tmp_path / "run")
    with pytest.raises(HipError, match="read") as refused:
        Trainer(run).train()
    assert refused.value.kind == "unreadable"
    assert f"Case {ct.name}:" in refused.value.sentence
    assert f"Case {mr.name}:" in refused.value.sentence
    assert run.status().state == "failed"


def test_a_step_that_finds_no_memory_is_a_sentence_with_what_to_change(tiny_data, tmp_path, monkeypatch):
    def greedy(self, batch, moment, random):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Icmsc, "train_step", greedy)
    run = tiny_data.start(tmp_path / "run")
    with pytest.raises(HipError) as error:
        Trainer(run).train()
    status = run.status()
    assert (error.value.kind, status.state, status.kind) == ("out_of_memory", "failed", "out_of_memory")
    assert "recompute" in status.sentence and "DefaultCPUAllocator" in error.value.detail
