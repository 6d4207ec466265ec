"""What `hipicmsc` says of a run, asks of it and makes of it: status, pause, stop, export."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_may_write
from HipICMSCLib.common.terminal import duration

from HipICMSCTrainingLib.run.folder import RunFolder


def add_watching_commands(commands: Any) -> None:
    """Add to the subparsers of ``hipicmsc`` what one asks of a run while it is trained."""
    for name, function, text in (
        ("status", _status, "say how a run goes"),
        ("pause", _pause, "let the process of a run wait; resume wakes it"),
        ("stop", _stop, "let a run save itself and end; resume continues it later"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("folder", type=Path, metavar="RUN")
        command.set_defaults(run=function)


def add_export_command(commands: Any) -> None:
    """Add it to the subparsers of ``hipicmsc``."""
    export = commands.add_parser("export", help="write a model package from a run")
    export.add_argument("folder", type=Path, metavar="RUN")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.hipmodel")
    export.add_argument("--weights", default="selected", choices=("selected", "average", "last"))
    export.add_argument("--route", help="how to segment: F_t, F_s(G_ts), F_s…; by default the method's best way")
    export.add_argument(
        "--about", type=Path, metavar="FILE.json", help="licence, citations, data and limits for the card"
    )
    export.add_argument("--overwrite", action="store_true", help="replace a package that is there")
    export.set_defaults(run=_export)


def _export(chosen: argparse.Namespace) -> None:
    from HipICMSCLib.common.foreign_files import read_object
    from HipICMSCLib.common.settings import from_json
    from HipICMSCLib.models.package import read_package

    from HipICMSCTrainingLib.run.export import About, export_package

    check_may_write(chosen.output, chosen.overwrite)
    about = About()
    if chosen.about:
        try:
            about = from_json(About, read_object(chosen.about))
        except (OSError, ValueError) as error:
            raise HipError("bad_about", f"{chosen.about} cannot be read as JSON.", str(error)) from error
    export_package(RunFolder(chosen.folder), chosen.output, chosen.weights, chosen.route, about)
    print(f"{chosen.output}: SHA-256 {read_package(chosen.output).sha256}")


def _pause(chosen: argparse.Namespace) -> None:
    _request(chosen, "PAUSE", "It will wait after the step at hand.")


def _stop(chosen: argparse.Namespace) -> None:
    _request(chosen, "STOP", "It will save itself and end after the step at hand.")


def _request(chosen: argparse.Namespace, what: str, sentence: str) -> None:
    folder = RunFolder(chosen.folder)
    folder.description()
    if not folder.in_use():
        raise HipError("not_running", f"No process is training in {chosen.folder}.")
    folder.request(what)
    print(sentence)


def _status(chosen: argparse.Namespace) -> None:
    folder = RunFolder(chosen.folder)
    status = folder.status()
    for line in [line for line in folder.metrics() if "scores" in line][-2:]:
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in line["scores"].items())
        print(f"step {line['step']}, {line['weights']} weights: {numbers}")
    # The clock may have been set back since.
    age = max(0.0, time.time() - status.heartbeat)
    print(f"step {status.step} of {status.total_steps}, phase {status.phase}, last sign of life {duration(age)} ago")
    left = f", {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
    print(f"{status.state}{left}. {status.sentence}".strip())
