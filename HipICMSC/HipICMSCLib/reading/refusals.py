"""The policy of reading: what is refused before memory is spent or a made-up value taken, and in which sentence."""

from __future__ import annotations

import contextlib
import math
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.networks.memory import free_bytes

#: More than a CT of the whole body has: 512 × 512 × 2048.
MOST_VOXELS = 2**29
#: No header of text is longer.
LONGEST_HEADER_BYTES = 1 << 20


def refused(path: Path | str, reason: str, detail: str = "", remedy: str = "copy or export it again") -> HipError:
    """The error for a file that is no image to rely on.

    Args:
        reason: goes on with "the file …" or "its header …".
        remedy: what the user can do.
    """
    return HipError("unreadable", f"{path} cannot be read as an image: {reason}; {remedy}.", detail)


def cut_off(path: Path | str, detail: str) -> HipError:
    return refused(path, "the file is cut off or damaged", detail)


@contextlib.contextmanager
def in_a_sentence(path: Path | str) -> Iterator[None]:
    """What libraries raise while a file or folder is read becomes an error with a sentence.

    Raises:
        HipError: ``out_of_memory`` or ``unreadable``.
    """
    try:
        # What libraries would print is either an error, which is raised below in one sentence, or of no use.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except MemoryError as error:
        raise HipError(
            "out_of_memory",
            f"This computer has too little memory for {path}; close other programs and try again.",
            str(error),
        ) from error
    except (EOFError, zlib.error) as error:
        raise cut_off(path, str(error)) from error
    except (RuntimeError, OSError) as error:
        raise refused(path, "the file is damaged or of another kind", str(error)) from error


def not_oriented(path: Path | str) -> HipError:
    """The error for a file that leaves open where the patient's right and left are."""
    return HipError(
        "bad_geometry",
        f"{path} does not say how its voxels lie in the patient, so that left and right cannot be told apart; export "
        "it again with its orientation.",
    )


def check_size(path: Path | str, size: Sequence[int], voxel_bytes: int) -> None:
    """Refuse a size that no volume of a pelvis has, or that this computer has no memory for.

    Args:
        size: voxels along each axis.
        voxel_bytes: what a voxel takes.

    Raises:
        HipError: ``unreadable`` or ``too_large``.
    """
    shown = " × ".join(map(str, size))
    if any(count < 1 for count in size):
        raise refused(path, f"its header declares {shown} voxels")
    voxels = math.prod(size)
    if voxels > MOST_VOXELS:
        raise HipError("too_large", f"{path} declares {shown} voxels, more than any volume of a pelvis has; crop it.")
    free = free_bytes()
    if free is not None and voxels * voxel_bytes > free // 2:
        raise HipError(
            "too_large",
            f"{path} declares {shown} voxels, which need {2 * voxels * voxel_bytes / 2**30:.1f} GB of memory, but only "
            f"{free / 2**30:.1f} GB are free; close other programs or crop the volume.",
        )
