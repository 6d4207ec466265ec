"""`hipicmsc info`: what lies there and how it would be read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_info_command(commands: Any) -> None:
    """Add it to the subparsers of ``hipicmsc``."""
    info = commands.add_parser("info", help="say what a file or folder holds and how it would be read")
    info.add_argument("input", type=Path, help="a volume, or a DICOM file or folder")
    info.add_argument("--series", help="as for segment")
    info.set_defaults(run=_info)


def _info(chosen: argparse.Namespace) -> int:
    from HipICMSCLib.batch.info import lines_about

    lines, sound = lines_about(chosen.input, chosen.series)
    print("\n".join(lines))
    return 0 if sound else 2
