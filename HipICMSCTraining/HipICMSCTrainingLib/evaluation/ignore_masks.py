"""Which masks leave voxels of a volume out of its scores."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.volume_names import volume_files, volume_stem

#: A mask of this name beside a truth is used without being asked for.
IGNORE_SUFFIX = "_ignore"
#: Asked for in place of a mask where not even that one is wanted.
NO_MASK = "none"


def masks_of(volumes: Collection[str], beside: Path, asked: Sequence[str] | None = None) -> dict[str, list[Path]]:
    """
    Args:
        volumes: their names.
        beside: the folder of the truth.
        asked: each a file for all volumes, a folder of files whose names begin with a volume's, a suffix of files
            beside the truth (``_cortex`` for ``X_cortex.nii.gz``) or ``none``. None: ``X_ignore`` where there is one.

    Returns:
        Files by the name of the volume; none for a volume that has none.

    Raises:
        HipError: ``missing_file`` for what is asked for and is not there; ``unmatched`` for a folder with several masks
            of one volume.
    """
    masks: dict[str, list[Path]] = {name: [] for name in volumes}
    for one in [IGNORE_SUFFIX] if asked is None else asked:
        found = {} if one == NO_MASK else _found(volumes, beside, one)
        if not found and asked is not None and one != NO_MASK:
            raise HipError(
                "missing_file",
                f"--ignore {one} names no mask: it is neither a file, nor a folder with a file whose name begins with "
                f"a volume's, nor a suffix such as {IGNORE_SUFFIX} of a file in {beside}.",
            )
        for name, mask in found.items():
            masks[name].append(mask)
    return masks


def _found(volumes: Collection[str], beside: Path, asked: str) -> dict[str, Path]:
    path = Path(asked)
    if path.is_file():
        return dict.fromkeys(volumes, path)
    if path.is_dir():
        return _by_beginning(volumes, path)
    by_stem = {volume_stem(file): file for file in volume_files(beside)} if asked.startswith("_") else {}
    return {name: by_stem[name + asked] for name in volumes if name + asked in by_stem}


def _by_beginning(volumes: Collection[str], folder: Path) -> dict[str, Path]:
    """Of two volumes of which one's name begins with the other's, the longer name counts."""
    found: dict[str, Path] = {}
    for file in volume_files(folder):
        stem = volume_stem(file)
        name = max((name for name in volumes if stem == name or stem.startswith(f"{name}_")), key=len, default=None)
        if name in found:
            raise HipError(
                "unmatched",
                f"Both {found[name]} and {file} could be the mask of {name}; put the masks into a folder of their own.",
            )
        if name is not None:
            found[name] = file
    return found
