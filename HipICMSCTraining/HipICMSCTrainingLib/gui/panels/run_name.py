"""The name of the next run, which is that of its folder."""

from __future__ import annotations

from pathlib import Path

from HipICMSCLib.common.errors import HipError
from slicer.i18n import tr as _

from HipICMSCTrainingLib.gui.running.training_process import free_name, reason_against_folder
from HipICMSCTrainingLib.settings.choices import Choices

#: Some file system has no place for them in a name.
_FORBIDDEN = '/\\:*?"<>|'


def suggested_name(folder: Path, choices: Choices) -> str:
    """A name that is free in the folder of the runs."""
    return free_name(folder, f"{choices.method}-{choices.preset}")


def run_path(folder: Path, choices: Choices) -> Path:
    """The folder for the next run; its name is suggested where none was given.

    Raises:
        HipError: ``bad_name`` or ``folder_in_use``.
    """
    name = choices.run_name.strip()
    if not name:
        return folder / suggested_name(folder, choices)
    if name[0] == "." or name[-1] == "." or any(sign in name for sign in _FORBIDDEN):
        raise HipError(
            "bad_name",
            _("A name can neither begin nor end with a dot, nor contain any of {signs}").format(
                signs=" ".join(_FORBIDDEN)
            ),
        )
    reason = reason_against_folder(folder / name)
    if reason:
        raise HipError("folder_in_use", reason)
    return folder / name
