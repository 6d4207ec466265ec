"""The examples for Slurm do what they say, with a scontrol that only writes down what it is asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import SimpleITK as sitk
from ball_hips import ball_image
from HipICMSCTrainingLib.run.folder import RunFolder
from patience import PATIENCE
from tiny_training import set_arguments

EXAMPLES = Path(__file__).resolve().parents[2] / "Resources/Slurm"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Slurm is for Linux")


@pytest.fixture
def slurm(tmp_path) -> dict[str, str]:
    """What a job finds around it."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "asked"}\n')
    (tools / "scontrol").chmod(0o755)
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "2", "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_training_whose_time_is_up_saves_itself_queues_again_and_goes_on(tiny_data, tmp_path, slurm):
    run = RunFolder(tmp_path / "run")
    tiny_data.lend_cache(run.path)
    more = [*tiny_data.arguments, *set_arguments(steps_per_epoch=100_000)]
    command = ["bash", EXAMPLES / "train.sbatch", run.path, *more]
    done = 0
    for job in (1, 2):
        process = subprocess.Popen(list(map(str, command)), env=slurm)
        while not any(line["step"] > done for line in run.metrics()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert (tmp_path / "asked").read_text() == job * "requeue 7\n"
        before, done = done, run.checkpoints.last()["step"]
        assert run.status().state == "paused" and run.status().step == done > before


@pytest.mark.slow
def test_an_array_of_two_segments_a_folder_and_a_second_call_does_what_is_left(ball_model, tmp_path, slurm):
    volumes, out = tmp_path / "volumes", tmp_path / "out"
    volumes.mkdir()
    for name in "abc":
        sitk.WriteImage(ball_image(spacing=(4.0, 4.0, 5.0)), str(volumes / f"{name}.nrrd"))
    # The example takes the model that ships.
    text = (
        (EXAMPLES / "segment.sbatch")
        .read_text()
        .replace("exec hipicmsc segment", f"exec hipicmsc segment --model {ball_model}")
    )
    script = tmp_path / "segment.sbatch"
    script.write_text(text)
    for job, (task, segmented) in enumerate((("1", "2 of 2"), ("2", "1 of 1"), ("2", "0 of 1"))):
        about = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_JOB_ID": str(job)}
        answer = subprocess.run(
            ["bash", str(script), str(volumes), str(out)], env=slurm | about, capture_output=True, text=True, check=True
        )
        assert f"{segmented} volumes segmented." in answer.stdout
    assert len([*out.glob("*.seg.nrrd")]) == 3 and len([*out.glob("summary-*.csv")]) == 3
