"""The `hipicmsc` command."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from HipICMSCLib.errors import HipError


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
    from HipICMSCTrainingLib.run_folder import RunFolder

    folder = RunFolder(chosen.folder)
    folder.description()
    if folder.in_use():
        if not folder.requested("PAUSE"):
            raise HipError("run_in_use", f"{chosen.folder} is being trained already.")
        folder.withdraw("PAUSE")
        print("The waiting process goes on.")
        return
    folder.withdraw("PAUSE")
    folder.withdraw("STOP")
    _work_on(folder)


def _work_on(folder) -> None:
    from HipICMSCTrainingLib.trainer import Trainer

    status = Trainer(folder, _show).train()
    print(f"\n{status.state}: {status.sentence}")


def _show(status) -> None:
    """One line that is rewritten, with the time left."""
    share = status.step / status.total_steps if status.total_steps else 0.0
    left = "" if status.seconds_left is None else f"  {_duration(status.seconds_left)} left"
    bar = "#" * round(30 * share)
    line = f"[{bar:<30}] {status.phase} {status.step}/{status.total_steps}{left} {status.sentence}"
    print(f"\r{line:<118.118}", end="", flush=True)


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


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


def _status(chosen: argparse.Namespace) -> None:
    from HipICMSCTrainingLib.run_folder import RunFolder

    folder = RunFolder(chosen.folder)
    status = folder.status()
    for line in [line for line in folder.metrics() if "scores" in line][-2:]:
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in line["scores"].items())
        print(f"step {line['step']}, {line['weights']} weights: {numbers}")
    age = time.time() - status.heartbeat
    print(f"step {status.step} of {status.total_steps}, phase {status.phase}, last sign of life {_duration(age)} ago")
    left = f", {_duration(status.seconds_left)} left" if status.seconds_left is not None else ""
    print(f"{status.state}{left}. {status.sentence}".strip())


if __name__ == "__main__":
    sys.exit(main())
