"""The `hipicmsc` command."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from HipICMSCLib.cli import add_commands as add_engine_commands
from HipICMSCLib.errors import HipError
from HipICMSCLib.terminal import ProgressLine, duration


def main(arguments: list[str] | None = None) -> int:
    """Run one command; a user's mistake is one sentence on stderr and exit code 2, an interruption 130."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        return chosen.run(chosen) or 0
    except HipError as error:
        print(f"hipicmsc: {error.sentence}", file=sys.stderr)
        if chosen.verbose and error.detail:
            print(error.detail, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hipicmsc: interrupted.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hipicmsc",
        description="Segments the bones of the hip joint on MRI and trains the networks for it. For research use only.",
    )
    parser.add_argument("--verbose", action="store_true", help="show the technical background of errors")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    add_engine_commands(commands)
    train = commands.add_parser("train", help="train on labelled CT and unlabelled MRI")
    train.add_argument("folder", type=Path, metavar="RUN", help="a new folder for everything the run writes")
    train.add_argument("--ct", type=Path, help="folder with X.nii.gz and X_label.nii.gz (1 hip bone, 2 proximal femur)")
    train.add_argument("--mri", type=Path, help="folder with unlabelled MRIs")
    train.add_argument("--dataset", type=Path, help="dataset.json instead of two folders")
    train.add_argument("--preset", default="paper", help="paper, cpu-small or smoke")
    train.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting, e.g. batch_size=2"
    )
    train.add_argument("--method", default="icmsc")
    train.set_defaults(run=_train)

    export = commands.add_parser("export", help="write a model package from a run")
    export.add_argument("folder", type=Path, metavar="RUN")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.hipmodel")
    export.add_argument("--weights", default="selected", choices=("selected", "average", "last"))
    export.add_argument("--route", help="how to segment: F_t (default), or F_s(G_ts) or F_s for comparison")
    export.add_argument(
        "--about", type=Path, metavar="FILE.json", help="licence, citations, data and limits for the card"
    )
    export.set_defaults(run=_export)

    evaluate = commands.add_parser("evaluate", help="measure results against truth")
    evaluate.add_argument("--prediction", type=Path, required=True, help="a segmentation, or a folder of them")
    evaluate.add_argument("--truth", type=Path, required=True, help="a label map, or a folder of them")
    evaluate.add_argument("--roi-mm", type=float, help="count the hip bone only this near to a femoral head's centre")
    evaluate.add_argument("-o", "--output", type=Path, help="write all numbers as JSON")
    evaluate.set_defaults(run=_evaluate)

    phantom = commands.add_parser("phantom", help="make synthetic CT and MRI of hips, with truth")
    phantom.add_argument("folder", type=Path, metavar="OUT")
    phantom.add_argument("--subjects", type=int, default=4, help="of each modality")
    phantom.add_argument("--seed", type=int, default=0)
    phantom.set_defaults(run=_phantom)

    for name, function, text in (
        ("resume", _resume, "go on with a paused, stopped, lost or failed run"),
        ("pause", _pause, "let the process of a run wait; resume wakes it"),
        ("stop", _stop, "let a run save itself and end; resume continues it later"),
        ("status", _status, "say how a run goes"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("folder", type=Path, metavar="RUN")
        command.set_defaults(run=function)
    return parser


def _train(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.trainer import RunDescription, find_method, start_run
    from HipICMSCTrainingLib.training_settings import PRESETS

    if chosen.preset not in PRESETS:
        raise HipError("unknown_preset", f"There is no preset {chosen.preset}; there are {', '.join(PRESETS)}.")
    settings, own = PRESETS[chosen.preset], find_method(chosen.method).Settings()
    for assignment in chosen.set:
        settings, own = _assigned(settings, own, assignment)
    description = RunDescription(chosen.method, settings, own, _dataset(chosen, settings.seed))
    _work_on(start_run(chosen.folder, description))


def _dataset(chosen: argparse.Namespace, seed: int):
    from HipICMSCTrainingLib.dataset import dataset_from_file, dataset_from_folders

    if chosen.dataset is not None:
        return dataset_from_file(chosen.dataset)
    if chosen.ct is None or chosen.mri is None:
        raise HipError("no_data", "Name the data: --ct and --mri, or --dataset.")
    return dataset_from_folders(chosen.ct, chosen.mri, seed)


def _assigned(settings, own, assignment: str):
    """``name=value`` set in the shared settings or, if it is not one of them, in the method's."""
    from dataclasses import fields

    from HipICMSCLib.settings import replaced

    name, equals, text = assignment.partition("=")
    if not equals:
        raise HipError("bad_setting", f"--set needs NAME=VALUE, not {assignment}.")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if name.split(".")[0] in {field.name for field in fields(own)}:
        return settings, replaced(own, name, value)
    return replaced(settings, name, value), own


def _resume(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.distribution import Distribution
    from HipICMSCTrainingLib.run_folder import RunFolder

    folder = RunFolder(chosen.folder)
    folder.description()
    distribution = Distribution()
    if distribution.agree(distribution.is_main and _wakes(folder)):
        print("The waiting process goes on.")
        return
    _work_on(folder)


def _wakes(folder) -> bool:
    """Take back what was asked of the run; true if a process was waiting for that."""
    in_use = folder.in_use()
    if in_use and not folder.requested("PAUSE"):
        raise HipError("run_in_use", f"{folder.path} is being trained already.")
    folder.withdraw("PAUSE")
    if not in_use:
        folder.withdraw("STOP")
    return in_use


def _work_on(folder) -> None:
    from HipICMSCTrainingLib.trainer import Trainer

    line = ProgressLine()

    def show(status) -> None:
        share = status.step / status.total_steps if status.total_steps else 0.0
        line.show(share, f"{status.phase} {status.step}/{status.total_steps} {status.sentence}", status.seconds_left)

    try:
        status = Trainer(folder, show).train()
    finally:
        line.close()
    print(f"{status.state}: {status.sentence}")


def _pause(chosen: argparse.Namespace) -> None:
    _request(chosen, "PAUSE", "It will wait after the step at hand.")


def _stop(chosen: argparse.Namespace) -> None:
    _request(chosen, "STOP", "It will save itself and end after the step at hand.")


def _request(chosen: argparse.Namespace, what: str, sentence: str) -> None:
    from HipICMSCTrainingLib.run_folder import RunFolder

    folder = RunFolder(chosen.folder)
    folder.description()
    if not folder.in_use():
        raise HipError("not_running", f"No process is training in {chosen.folder}.")
    folder.request(what)
    print(sentence)


def _export(chosen: argparse.Namespace) -> None:
    from HipICMSCLib.model_package import read_package
    from HipICMSCLib.settings import from_json

    from HipICMSCTrainingLib.export import About, export_package
    from HipICMSCTrainingLib.run_folder import RunFolder

    about = About()
    if chosen.about:
        try:
            about = from_json(About, json.loads(chosen.about.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise HipError("bad_about", f"{chosen.about} cannot be read as JSON.", str(error)) from error
    export_package(RunFolder(chosen.folder), chosen.output, chosen.weights, chosen.route, about)
    print(f"{chosen.output}: SHA-256 {read_package(chosen.output).sha256}")


def _evaluate(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.evaluation import run_evaluate

    print(run_evaluate(chosen.prediction, chosen.truth, chosen.roi_mm, chosen.output))


def _phantom(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.phantom import write_dataset

    write_dataset(chosen.folder, chosen.subjects, chosen.seed)
    print(f"{chosen.folder}: {chosen.subjects} CTs with labels, {chosen.subjects} MRIs and their truth; all synthetic.")


def _status(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.run_folder import RunFolder

    folder = RunFolder(chosen.folder)
    status = folder.status()
    for line in [line for line in folder.metrics() if "scores" in line][-2:]:
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in line["scores"].items())
        print(f"step {line['step']}, {line['weights']} weights: {numbers}")
    age = time.time() - status.heartbeat
    print(f"step {status.step} of {status.total_steps}, phase {status.phase}, last sign of life {duration(age)} ago")
    left = f", {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
    print(f"{status.state}{left}. {status.sentence}".strip())


if __name__ == "__main__":
    sys.exit(main())
