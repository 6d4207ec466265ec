"""A real training for the panels to look at: phantoms, networks and steps as small as in tiny_training, in a process
of its own, once a session."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_TESTING = Path(__file__).parents[1]
_PROGRAM = """
import shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tiny_training import set_arguments
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.phantom.dataset import Resolution, write_dataset
folder = Path(sys.argv[1])
coarse = Resolution(ct_mm=(4.0, 5.0, 4.0), mri_in_plane_mm=4.0, mri_slice_mm=6.0)
write_dataset(folder / "data", subjects=2, seed=3, resolution=coarse)
# A labelled MRI to measure on: the first one once more.
(folder / "test").mkdir()
for part, name in (("mri", "mri00.nii.gz"), ("mri_truth", "mri00_label.nii.gz")):
    shutil.copy(folder / "data" / part / name, folder / "test" / name.replace("mri00", "labelled"))
data = ["--ct", str(folder / "data" / "ct"), "--mri", str(folder / "data" / "mri"), "--test-mri", str(folder / "test")]
sys.exit(main(["train", str(folder / "runs" / "first"), *data, *set_arguments(steps_per_epoch=8)]))
"""


@functools.cache
def trained_run() -> Path:
    """The folder of a finished run: 8 steps of stage 1 and 16 of stage 2. Tests only read it."""
    folder = Path(tempfile.mkdtemp(prefix="training-run-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    log = folder / "runs" / "first" / "train.log"
    command = [sys.executable, "-c", _PROGRAM, str(folder), str(_TESTING)]
    # With networks so small, threads only wait for each other.
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, env=one_thread, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    log.write_text(done.stdout)
    return log.parent
