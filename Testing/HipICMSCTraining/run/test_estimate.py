"""An estimate before a training: from real steps, near to what the training then takes, and without a trace."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.data.dataset import Dataset
from HipICMSCTrainingLib.data.slice_cache import cached_volume
from HipICMSCTrainingLib.methods.icmsc import IcmscSettings
from HipICMSCTrainingLib.run import estimate as estimate_module
from HipICMSCTrainingLib.run import watchers
from HipICMSCTrainingLib.run.description import RunDescription
from HipICMSCTrainingLib.run.estimate import Estimate, estimate
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.trainer import Trainer
from patience import PATIENCE
from tiny_training import POOL, TinyData, child, command, set_arguments, tiny_settings

STEPS_OF_AN_EPOCH = 30

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """The folder for temporary files, of these tests and of their child processes."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(estimate_module, "TIMED_SECONDS", 0.0)


def tiny_description(data: TinyData, **changes) -> RunDescription:
    return RunDescription("icmsc", tiny_settings(**changes), IcmscSettings(image_pool=POOL), data.dataset)


def files_below(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def told(tiny_data, tmp_path_factory) -> Iterator[tuple[list[dict], Path, str]]:
    """What a process of its own prints, line by line, the folder it had for temporary files, and its errors."""
    folder = tmp_path_factory.mktemp("temporary")
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    arguments = command(
        "estimate", *tiny_data.arguments, *set_arguments(steps_per_epoch=STEPS_OF_AN_EPOCH), "--progress"
    )
    out, err = child(arguments).communicate(timeout=PATIENCE)
    os.environ.pop("TMPDIR") if before is None else os.environ.update(TMPDIR=before)
    yield [json.loads(line) for line in out.splitlines()], folder, err


def test_a_process_tells_how_far_it_is_and_then_the_estimate(told):
    lines, _, err = told
    assert err == ""
    shares = [line["progress"] for line in lines[:-1]]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert all(line["text"].endswith(".") for line in lines[:-1])
    assert list(lines[-1]) == ["estimate"]


def test_it_counts_what_there_is(told, tiny_data):
    values = told[0][-1]["estimate"]
    assert (values["volumes"], values["device"]) == (4, "cpu")
    assert values["steps_per_epoch"] == 30
    assert values["steps"] == {"stage 1": 30, "stage 2": 60}
    lengths = {"CT": 0, "MR": 0}
    for case in tiny_data.dataset.cases:
        if case.role == "train":
            volume = cached_volume(case, tiny_settings(), tiny_data.cache)
            lengths[case.modality] += len(volume["slices"])
    assert values["slices"] == lengths


def test_times_add_up(told):
    values = told[0][-1]["estimate"]
    each = values["seconds_per_step"]
    assert each["stage 1"] > 0 and each["stage 2"] > 0
    assert values["seconds"]["stage 1"] == pytest.approx(30 * each["stage 1"])
    assert values["seconds"]["stage 2"] == pytest.approx(60 * each["stage 2"])
    assert values["seconds"]["preprocessing"] > 0
    assert values["total_seconds"] == pytest.approx(sum(values["seconds"].values()))


def test_memory_and_disk_are_those_of_such_a_run(told, tiny_data, finished_run):
    values = told[0][-1]["estimate"]
    assert 100e6 < values["memory_bytes"] < 4e9
    assert values["device_memory_bytes"] is None
    disk = values["disk_bytes"]
    kept = finished_run.checkpoints
    size = 2 * kept.last_file.stat().st_size + kept.selected_file.stat().st_size
    assert disk["checkpoints"] == pytest.approx(size, rel=0.02)
    assert disk["preprocessed slices"] == sum(path.stat().st_size for path in tiny_data.cache.iterdir())
    previews = sum(path.stat().st_size for path in finished_run.previews_of())
    # What is said to be needed suffices, and is not far off; previews are little beside all else.
    assert previews <= disk["previews"] <= 4 * previews
    assert values["total_disk_bytes"] == sum(disk.values())


def test_nothing_is_left_behind(told, tiny_data):
    # PyTorch makes a folder of its own there, as it does in every training.
    assert [path.name for path in told[1].iterdir() if not path.name.startswith("torch")] == []


@pytest.mark.slow
def test_a_training_takes_about_as_long_as_was_said(told, tiny_data, tmp_path):
    """Other processes of this machine may slow either down, hence so wide a margin."""
    run = RunFolder(tmp_path / "run")
    started = time.monotonic()
    process = child(command("train", run.path, *tiny_data.arguments, *set_arguments(steps_per_epoch=STEPS_OF_AN_EPOCH)))
    assert process.communicate(timeout=PATIENCE) and process.returncode == 0
    took = time.monotonic() - started
    said = told[0][-1]["estimate"]["total_seconds"]
    print(f"said {said:.1f} s, took {took:.1f} s, ratio {said / took:.2f}")
    assert 0.2 < said / took < 3


def test_a_given_cache_is_used_and_left_as_it_is(tiny_data, temporary):
    before = files_below(tiny_data.folder) | files_below(tiny_data.cache)
    with_cache = estimate(tiny_description(tiny_data), tiny_data.cache)
    without = estimate(tiny_description(tiny_data))
    assert files_below(tiny_data.folder) | files_below(tiny_data.cache) == before
    assert list(temporary.iterdir()) == []
    assert with_cache.seconds["preprocessing"] < without.seconds["preprocessing"]
    for part in ("checkpoints", "preprocessed slices"):
        assert with_cache.disk_bytes[part] == without.disk_bytes[part]
    assert with_cache.slices == without.slices


def test_only_volumes_that_the_cache_lacks_are_counted_for_preprocessing(tiny_data, temporary, tmp_path):
    """Ten more CTs that nobody has preprocessed: one of them is timed and the others are counted."""
    one = next(case for case in tiny_data.dataset.cases if (case.modality, case.role) == ("CT", "train"))
    more = []
    for number in range(10):
        image = tmp_path / f"more{number}.nii.gz"
        os.link(one.image, image)
        more.append(replace(one, name=f"more{number}", patient=f"more{number}", image=str(image)))
    description = replace(tiny_description(tiny_data), dataset=Dataset((*tiny_data.dataset.cases, *more)))
    few, many = (estimate(d, tiny_data.cache) for d in (tiny_description(tiny_data), description))
    assert many.volumes == 14
    # By geometry alone, as if the hips lay in the middle.
    assert many.slices["CT"] == pytest.approx(11 * few.slices["CT"], rel=0.15)
    assert many.disk_bytes["preprocessed slices"] > 2 * few.disk_bytes["preprocessed slices"]
    assert many.seconds["preprocessing"] > 3 * few.seconds["preprocessing"]


def test_stages_without_epochs_cost_nothing(tiny_data, temporary):
    result = estimate(tiny_description(tiny_data, stage1_epochs=0), tiny_data.cache)
    assert list(result.seconds_per_step) == ["stage 2"]
    assert result.steps == {"stage 1": 0, "stage 2": 8}
    only_translation = estimate(tiny_description(tiny_data, stage2_epochs=0), tiny_data.cache)
    assert list(only_translation.seconds_per_step) == ["stage 1"]
    assert only_translation.disk_bytes["checkpoints"] < result.disk_bytes["checkpoints"]


def test_it_touches_no_run_that_is_going_on(tiny_data, temporary, tmp_path, monkeypatch):
    monkeypatch.setattr(watchers, "HEARTBEAT_SECONDS", 0.0)
    run = tiny_data.start(tmp_path / "run")
    half = run.cache / ".0123abcd-half.safetensors"  # the run's process is writing it

    def meanwhile(status) -> None:
        if status.step == 5 and status.state == "running":
            half.touch()
            before = files_below(run.path)
            state = torch.get_rng_state()
            estimate(tiny_description(tiny_data), run.cache)
            assert files_below(run.path) == before
            torch.set_rng_state(state)

    assert Trainer(run, meanwhile).train().state == "finished"


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_what_a_killed_estimate_leaves_is_removed_by_the_next(tiny_data, temporary, how):
    process = child(command("estimate", *tiny_data.arguments, *set_arguments(), "--progress"))
    for line in process.stdout:
        if "Timing steps of stage 2" in line:
            break
    left = list(temporary.glob("hipicmsc-estimate-*"))
    assert len(left) == 1
    somebody_elses = temporary / "hipicmsc-estimate-foreign"
    somebody_elses.mkdir()
    process.send_signal(how)
    process.communicate(timeout=PATIENCE)
    assert left[0].exists() == (how == signal.SIGKILL)
    estimate(tiny_description(tiny_data), tiny_data.cache)
    assert not left[0].exists()
    assert somebody_elses.exists()


def test_an_estimate_that_is_going_on_is_not_removed_by_another(tiny_data, temporary):
    going_on = temporary / "hipicmsc-estimate-other"
    going_on.mkdir()
    with RunFolder(going_on).locked():
        estimate(tiny_description(tiny_data), tiny_data.cache)
        assert going_on.exists()


def test_what_is_wrong_with_a_volume_is_said_and_nothing_is_left(tiny_data, temporary, tmp_path):
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no image")
    cases = tuple(
        replace(case, image=str(broken)) if case.modality == "MR" else case for case in tiny_data.dataset.cases
    )
    with pytest.raises(HipError, match="broken") as caught:
        estimate(replace(tiny_description(tiny_data), dataset=Dataset(cases)))
    assert caught.value.kind == "unreadable"
    assert list(temporary.iterdir()) == []


def test_too_little_memory_is_one_sentence_that_names_settings(tiny_data, temporary, monkeypatch):
    def fail(self) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Trainer, "do_step", fail)
    with pytest.raises(HipError, match="batch_size") as caught:
        estimate(tiny_description(tiny_data), tiny_data.cache)
    assert caught.value.kind == "out_of_memory"
    assert list(temporary.iterdir()) == []


def test_a_table_and_a_json_object(tiny_data, temporary, capsys):
    arguments = ["estimate", *tiny_data.arguments, *set_arguments(), "--cache", str(tiny_data.cache)]
    assert main([*arguments, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values.pop("total_seconds") > 0
    assert values.pop("total_disk_bytes") > 0
    assert values["steps"] == {"stage 1": 4, "stage 2": 8}
    table = Estimate(**values).table()
    for words in ("4 volumes", "stage 1", "4 steps of", "together", "memory", "disk"):
        assert words in table


def test_arguments_are_those_of_train(tmp_path, capsys, finished_run, temporary):
    assert main(["estimate"]) == 2
    assert "--ct and --mri" in capsys.readouterr().err
    like = ["estimate", "--like", str(finished_run.path), "--cache", str(finished_run.cache), "--json"]
    assert main([*like, "--set", "stage1_epochs=7"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == {"stage 1": 28, "stage 2": 8}
