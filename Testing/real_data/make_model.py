"""`make model`: trains the model that ships, from the working set to the package. `make_model.py DATA RUN`

The run may be interrupted at any time, also by a kill; the same command goes on. Where there is no run yet, it begins
with what an earlier machine left in checkpoints/, if anything. With --limit it stops after so many hours, and leaves
such a checkpoint. --skip-icmsc and --skip-self-training leave stages out, for the ablation; with --teachers several
models read the MRIs from which F_t learns in self-training, not F_t alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from dataclasses import replace
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import from_json
from HipICMSCTrainingLib.data.dataset_file import dataset_from_file
from HipICMSCTrainingLib.methods.icmsc import IcmscSettings
from HipICMSCTrainingLib.run.description import RunDescription, start_run
from HipICMSCTrainingLib.run.export import About, export_package
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.lessons import write_lessons
from HipICMSCTrainingLib.run.trainer import Trainer
from HipICMSCTrainingLib.settings.stages import SIMULATION
from HipICMSCTrainingLib.settings.training import PRESETS, TrainingSettings
from make_dataset import write_dataset

HERE = Path(__file__).parent
NAME = "hip-mri"
PACKAGE = HERE.parents[1] / "HipICMSC" / "Resources" / "Models" / f"{NAME}.hipmodel"
#: At most one file: F_t after so many steps of simulation, for a machine that has nothing of the run.
CHECKPOINTS = HERE / "checkpoints"
SEED = 1
#: A guess of the T1 contrast keeps the translators from turning it upside down, as most of the MRIs are T1-weighted.
METHOD = IcmscSettings(contrast_prior="t1")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--limit", type=float, metavar="HOURS")
    parser.add_argument("--skip-icmsc", action="store_true")
    parser.add_argument("--skip-self-training", action="store_true")
    parser.add_argument("--teachers", type=Path, nargs="+", metavar="MODEL")
    chosen = parser.parse_args()
    try:
        run = make_run(chosen.data, chosen.run, settings(chosen.skip_icmsc, chosen.skip_self_training))
        if chosen.teachers and not run.checkpoints.lessons_file.exists():
            made = RunDescription.read(run)
            cases = made.dataset.of("MR", "train")
            t1_weighted = made.method_settings.contrast_prior == "t1"
            write_lessons(
                run.checkpoints.lessons_file, chosen.teachers, cases, made.settings.device, t1_weighted, print
            )
        if chosen.limit is not None:
            timer = threading.Timer(3600 * chosen.limit, run.request, ["STOP"])
            timer.daemon = True
            timer.start()
        status = Trainer(
            run, lambda now: print(f"{now.phase}: step {now.step} of {now.total_steps}", flush=True)
        ).train()
        if status.state == "finished":
            export_package(run, PACKAGE, "selected", about=about())
            print(f"{PACKAGE} is the model of this run; remove {CHECKPOINTS} when it ships.")
        else:
            print(f"Stopped at step {status.step}; `make model` goes on. {leave_checkpoint(run)}")
    except HipError as error:
        print(f"make_model: {error.sentence}", file=sys.stderr)
        return 2
    return 0


def make_run(data: Path, folder: Path, settings: TrainingSettings) -> RunFolder:
    """The run of earlier calls, or a new one."""
    run = RunFolder(folder)
    if (folder / "run.json").exists():
        return run
    folder.parent.mkdir(parents=True, exist_ok=True)
    listed = folder.with_name(f"{folder.name}-dataset.json")
    write_dataset(data, listed)
    return start_run(folder, RunDescription("icmsc", settings, METHOD, dataset_from_file(listed)))


def settings(skip_icmsc: bool = False, skip_self_training: bool = False) -> TrainingSettings:
    """The preset, less the simulation that a checkpoint has behind it, and less what is left out."""
    chosen = replace(PRESETS["slabs"], seed=SEED)
    if skip_icmsc:
        chosen = replace(chosen, stage1_epochs=0, stage2_epochs=0)
    if skip_self_training:
        chosen = replace(chosen, self_training_epochs=0)
    left = next(CHECKPOINTS.glob("*.hipmodel"), None)
    if left is None:
        return chosen
    epochs = chosen.simulation_epochs - steps_of(left) // chosen.steps_per_epoch
    return replace(chosen, simulation_epochs=max(0, epochs), start_from=str(left.resolve()))


def steps_of(checkpoint: Path) -> int:
    """Steps of simulation that a file of checkpoints/ has behind it, in all of its runs."""
    return int(checkpoint.stem.rpartition("-")[2])


def leave_checkpoint(run: RunFolder) -> str:
    """Put F_t into checkpoints/ while it learns from simulation; later, only the run itself can go on."""
    made_with, state = RunDescription.read(run).settings, run.checkpoints.last()
    of_run = made_with.steps_per_epoch * made_with.epochs[SIMULATION]
    if state is None or state["step"] > of_run:
        return f"To go on elsewhere, take {run.path} along."
    before = steps_of(Path(made_with.start_from)) if made_with.start_from else 0
    steps = before + state["step"]
    CHECKPOINTS.mkdir(exist_ok=True)
    earlier, file = list(CHECKPOINTS.glob("*.hipmodel")), CHECKPOINTS / f"simulation-{steps}.hipmodel"
    export_package(run, file, "average", about=about())
    for old in set(earlier) - {file}:
        old.unlink()
    return f"{file} is what another machine begins with."


def about() -> About:
    """What the card of the model says of its data."""
    return from_json(About, json.loads((HERE / "about.json").read_text(encoding="utf-8")))


if __name__ == "__main__":
    sys.exit(main())
