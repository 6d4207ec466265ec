"""A case: an MRI, the labels that a person corrected, and how they came about, in a folder that names nobody."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.foreign_files import open_file, read_object
from HipICMSCLib.common.foreign_text import harmless_values
from HipICMSCLib.common.settings import from_json
from HipICMSCLib.reading.volume import found

IMAGE, LABEL, ABOUT = "mri.nii.gz", "label.nii.gz", "case.json"
#: Of case.json; another one is refused.
FORMAT = 1
#: The grids of the two files may differ by what the digits of their headers leave.
_SAME_PLACE_MM = 1e-3
_BLOCK = 1 << 20


@dataclass(frozen=True)
class CorrectedSegment:
    """What a person did to a bone.

    Attributes:
        name: ``segment_id`` of `anatomy.segments.SEGMENTS`.
        state: ``completed`` where the user said that it is right, changed or not; ``edited`` where it differs from the
            model's result, or may do so because that is not known; ``as_made`` where it is the model's, unseen.
        changed_ml: voxels that differ from the model's result; None where that is not known.
        dice: of the label and the model's result, 1 where both are empty; None where that is not known.
    """

    name: str
    state: Literal["completed", "edited", "as_made"]
    changed_ml: float | None
    dice: float | None


@dataclass(frozen=True)
class CorrectedCase:
    """A case folder that is whole.

    Attributes:
        number: of the case, from 1; it is in the folder's name, too.
        model, model_sha256: name and hash of the package that made the result; empty where nobody knows.
        segments: one for each of `anatomy.segments.SEGMENTS`, in their order.
    """

    folder: Path
    number: int
    model: str
    model_sha256: str
    segments: tuple[CorrectedSegment, ...]

    @property
    def image(self) -> Path:
        """The MRI, voxels and geometry alone."""
        return self.folder / IMAGE

    @property
    def label(self) -> Path:
        """uint8 on the grid of :attr:`image`, with the values of `anatomy.segments.SEGMENTS`."""
        return self.folder / LABEL


@dataclass(frozen=True)
class Model:
    """Which package made a result."""

    name: str
    sha256: str


@dataclass(frozen=True)
class AboutCase:
    """case.json.

    Attributes:
        case: the number.
        software: what wrote it.
        voxels_sha256: of the MRI's voxels along the patient's axes (LPS), by which the same MRI is known again however
            it is stored; older versions took them as stored.
        files: SHA-256 of the other files by their names.
    """

    format: int
    case: int
    software: str
    model: Model
    segments: tuple[CorrectedSegment, ...]
    voxels_sha256: str
    files: dict[str, str]


def folder_name(number: int) -> str:
    """What the folder of a case is called."""
    return f"case-{number:03d}"


def cases_in(folder: Path) -> list[Path]:
    """The case folders in ``folder`` by their numbers, also those that cannot be read; none that is being written.

    Raises:
        HipError: ``no_folder`` or ``unreadable``.
    """
    if not folder.is_dir():
        raise HipError("no_folder", f"There is no folder {folder}.")
    try:
        found_there = [path for path in folder.iterdir() if path.name.startswith("case-") and path.is_dir()]
    except OSError as error:
        raise HipError("unreadable", f"The folder {folder} cannot be read: {error.strerror}.", str(error)) from error
    return sorted(found_there, key=lambda path: (number_in(path.name) or 0, path.name))


def number_in(name: str) -> int | None:
    """The number in the name of a case folder or, hidden, of one that is being written; None in any other name."""
    match = re.match(r"\.?case-(\d{1,9})(?!\d)", name)
    return int(match[1]) if match else None


def read_case(folder: Path) -> CorrectedCase:
    """A case, after all of it was found to be as it was written.

    Raises:
        HipError: ``bad_case`` for a folder that is none, was moved, half copied or changed, or is of another version.
    """
    folder = Path(folder)
    about = read_about(folder)
    for name in (IMAGE, LABEL):
        try:
            digest = sha256_of(folder / name)
        except FileNotFoundError as error:
            raise _bad(f"The case {folder} is not whole: {name} is missing; copy the folder again.") from error
        except OSError as error:
            raise _bad(f"{folder / name} cannot be read: {error.strerror or error}.", str(error)) from error
        if digest != about.files[name]:
            raise _bad(
                f"{folder / name} is not as it was written: it was changed or half copied; copy the folder again, or "
                "keep the corrected segmentation as a case once more."
            )
    _check_grids(folder)
    return CorrectedCase(folder, about.case, about.model.name, about.model.sha256, about.segments)


def read_about(folder: Path) -> AboutCase:
    """What case.json says, without a look at the voxels.

    Raises:
        HipError: as :func:`read_case`.
    """
    if not folder.is_dir():
        raise _bad(f"There is no case folder {folder}; it was moved, renamed or deleted.")
    try:
        values = harmless_values(read_object(folder / ABOUT))
    except FileNotFoundError as error:
        raise _bad(
            f"{folder} is no whole case: it has no {ABOUT}, which is written last; copy the folder again, or delete it."
        ) from error
    except (OSError, ValueError) as error:
        raise _bad(f"{folder / ABOUT} cannot be read; copy the folder again.", str(error)) from error
    if values.get("format") != FORMAT:
        raise _bad(f"The case {folder} was written by another version of HipICMSC; use that one.")
    about = _checked(folder, values)
    if folder.resolve().name != folder_name(about.case):
        raise _bad(
            f"The folder {folder} holds case {about.case}, not what its name says; call it {folder_name(about.case)} "
            "again, or delete it where it is a copy."
        )
    return about


def _checked(folder: Path, values: dict[str, Any]) -> AboutCase:
    try:
        about = from_json(AboutCase, values)
    except HipError as error:
        raise _bad(f"{folder / ABOUT} is damaged; copy the folder again.", error.sentence) from error
    names = tuple(segment.name for segment in about.segments)
    if names != tuple(segment.segment_id for segment in SEGMENTS) or about.files.keys() != {IMAGE, LABEL}:
        raise _bad(f"{folder / ABOUT} does not say what a case has; copy the folder again.")
    return about


def _check_grids(folder: Path) -> None:
    try:
        with found(folder / IMAGE) as image, found(folder / LABEL) as label:
            same = image.size == label.size and np.allclose(image.to_lps, label.to_lps, rtol=0, atol=_SAME_PLACE_MM)
    except HipError as error:
        raise _bad(error.sentence, error.detail) from error
    if not same:
        raise _bad(f"The label of the case {folder} does not lie on the voxels of its MRI; keep the case once more.")


def sha256_of(path: Path) -> str:
    """Of a file that may be anybody's.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open_file(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _bad(sentence: str, detail: str = "") -> HipError:
    return HipError("bad_case", sentence, detail)
