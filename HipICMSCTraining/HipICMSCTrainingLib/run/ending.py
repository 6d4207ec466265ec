"""Why a training ended, in one sentence for a person."""

from __future__ import annotations

from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import storage_error
from HipICMSCLib.networks.inference import is_out_of_memory


def in_one_sentence(error: BaseException, log: Path) -> HipError | None:
    """What ended a training, for a person; None for what nobody foresaw."""
    if isinstance(error, HipError):
        return error
    if is_out_of_memory(error):
        return _out_of_memory(error)
    if isinstance(error, OSError):
        # All files of a run say so themselves; what is left is what the process prints.
        full = storage_error(error, log)
        return full if full.kind == "disk_full" else None
    return None


def _out_of_memory(error: BaseException) -> HipError:
    return HipError(
        "out_of_memory",
        "The memory did not suffice for a training step. Close other programs and resume, or duplicate the run with "
        "recompute on, a smaller batch_size or a narrower network.",
        str(error),
    )
