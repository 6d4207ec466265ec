"""Where a user wants a file; nothing that is there is replaced unasked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _


def file_to_save(parent, title: str, name: str, kinds: Mapping[str, str], folder: Path | None = None) -> Path | None:
    """Ask for a file with one of these endings; the first is added where the user gave none of them. None where there
    is to be no file.

    Args:
        parent: the widget that asks.
        name: what is proposed, without the ending.
        kinds: what such files are called, by their ending.
        folder: which is proposed; None is the user's home.
    """
    ending = next(iter(kinds))
    proposed = str((folder or Path.home()) / f"{name}{ending}")
    filters = ";;".join(f"{kind} (*{ending})" for ending, kind in kinds.items())
    chosen = qt.QFileDialog.getSaveFileName(parent, title, proposed, filters)
    if not chosen:
        return None
    path = Path(chosen)
    if not path.name.lower().endswith(tuple(kinds)):
        path = path.with_name(path.name + ending)
        # The dialogue asked about the name without its ending.
        question = _("There is a file {name} already. Replace it?").format(name=path.name)
        if path.exists() and not slicer.util.confirmOkCancelDisplay(question):
            return None
    return path
