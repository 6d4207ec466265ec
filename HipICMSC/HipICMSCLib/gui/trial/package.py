"""A package of Python's that nobody else has, to see an installation through without a network."""

from __future__ import annotations

import zipfile
from pathlib import Path

NAME, VERSION = "hipicmsc-trial", "1.0"
#: What it brings.
MODULE = "hipicmsc_trial.py"

_ABOUT = f"{MODULE.removesuffix('.py')}-{VERSION}.dist-info"
_FILES = {
    MODULE: "",
    f"{_ABOUT}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n",
    f"{_ABOUT}/WHEEL": "Wheel-Version: 1.0\nGenerator: HipICMSC\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}


def write_package(folder: Path) -> None:
    """Write its wheel, which pip finds there."""
    record = "".join(f"{name},,\n" for name in (*_FILES, f"{_ABOUT}/RECORD"))
    with zipfile.ZipFile(folder / f"{MODULE.removesuffix('.py')}-{VERSION}-py3-none-any.whl", "w") as wheel:
        for name, text in (_FILES | {f"{_ABOUT}/RECORD": record}).items():
            wheel.writestr(name, text)
