"""Where a user wants a file; nothing that is there is replaced unasked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

#: What one of our systems refuses in a file's name; a volume that came from DICOM may be called "5: T1/T2".
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
#: Windows takes these for devices, whatever follows the dot.
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|(COM|LPT)[0-9¹²³]) *(\.|$)", re.IGNORECASE)


def file_to_save(parent, title: str, name: str, kinds: Mapping[str, str], folder: Path | None = None) -> Path | None:
    """Ask for a file with one of these endings; the first is added where the user gave none of them. None where there
    is to be no file.

    Args:
        parent: the widget that asks.
        name: what is proposed, without the ending; it may be a node's, which need not be possible for a file.
        kinds: what such files are called, by their ending.
        folder: which is proposed; None is the user's home.
    """
    ending = next(iter(kinds))
    proposed = str((folder or Path.home()) / f"{_possible(name)}{ending}")
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


def _possible(name: str) -> str:
    """``name`` as all our systems let a file be called."""
    possible = _FORBIDDEN.sub("_", name).strip(". ")
    return f"_{possible}" if not possible or _DEVICE.match(possible) else possible
