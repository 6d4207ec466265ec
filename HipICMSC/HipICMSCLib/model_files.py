"""Where model packages are found. Without torch, because Slicer's own process lists them."""

from __future__ import annotations

import os
from pathlib import Path

from HipICMSCLib.errors import HipError

ENDING = ".hipmodel"
DEFAULT_MODEL = "hip-t1-mri"

#: Where packages that ship are found: in the module's Resources, or in the library when it was installed as a wheel.
_SHIPPED = (Path(__file__).parents[1] / "Resources" / "Models", Path(__file__).parent / "Models")


def shipped_models() -> list[Path]:
    """The packages that come with the extension, by name."""
    return sorted(path for folder in _SHIPPED if folder.is_dir() for path in folder.glob(f"*{ENDING}"))


def find_model(name_or_path: str) -> Path:
    """A package by its file, or one that ships by its name without the ending.

    Raises:
        HipError: ``unknown_model``, naming those that ship.
    """
    if os.sep in name_or_path or name_or_path.endswith(ENDING):
        return Path(name_or_path)
    shipped = {path.stem: path for path in shipped_models()}
    if name_or_path not in shipped:
        names = ", ".join(shipped) or "none"
        raise HipError("unknown_model", f"There is no model {name_or_path}; those that ship are: {names}.")
    return shipped[name_or_path]
