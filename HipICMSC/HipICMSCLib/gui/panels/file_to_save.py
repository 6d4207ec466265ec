"""Where a user wants a file; nothing that is there is replaced unasked."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _


def file_to_save(parent, title: str, name: str, kind: str, ending: str) -> Path | None:
    """Ask for a file with this ending, which is added where the user left it out; None where there is to be none.

    Args:
        parent: the widget that asks.
        name: what is proposed, without the ending; it goes into the user's home unless they choose otherwise.
        kind: what such files are called.
    """
    chosen = qt.QFileDialog.getSaveFileName(parent, title, str(Path.home() / f"{name}{ending}"), f"{kind} (*{ending})")
    if not chosen:
        return None
    path = Path(chosen)
    if not path.name.lower().endswith(ending):
        path = path.with_name(path.name + ending)
        # The dialogue asked about the name without its ending.
        question = _("There is a file {name} already. Replace it?").format(name=path.name)
        if path.exists() and not slicer.util.confirmOkCancelDisplay(question):
            return None
    return path
