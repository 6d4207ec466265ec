"""Keeps a corrected segmentation as a case: whole or not at all, under a number that no other case ever had."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.anatomy.segments import SEGMENTS, Segment, check_values
from HipICMSCLib.cases.corrected_case import (
    ABOUT,
    FORMAT,
    IMAGE,
    LABEL,
    AboutCase,
    CorrectedCase,
    CorrectedSegment,
    Model,
    cases_in,
    folder_name,
    number_in,
    read_about,
    read_case,
    sha256_of,
)
from HipICMSCLib.cases.source_list import add_to_list, numbers_given, source_list
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_writable, move_into_place, storage_error, write_text
from HipICMSCLib.common.images import write_image
from HipICMSCLib.common.settings import to_json
from HipICMSCLib.common.version import VERSION
from HipICMSCLib.preprocessing.geometry import Grid, difference, within_voxels_of
from HipICMSCLib.preprocessing.image_check import check_volume

#: What was being written so long ago was given up.
_LEFT_OVER_SECONDS = 24 * 3600


def keep_case(
    folder: Path,
    image: sitk.Image,
    labels: sitk.Image,
    made_by: Mapping[str, str],
    original_labels: sitk.Image | None,
    completed: Collection[str],
    source: str = "",
    overwrite: bool = False,
    of_unknown_origin: Collection[str] = (),
) -> CorrectedCase:
    """Write an MRI and its corrected labels into a case folder of ``folder``, and note down whose they are.

    Killed at any moment, it leaves a case or none, and all other cases as they were. What is in the folder names
    nobody: voxels, geometry and what :class:`AboutCase` has. ``source`` goes into the user's own list alone.

    Args:
        folder: of the cases; it is made if it is not there.
        labels: on voxels of ``image``, in any order of axes, with the values of `anatomy.segments.SEGMENTS`.
        made_by: provenance of the result, of which ``ModelName`` and ``ModelSha256`` are written down.
        original_labels: as ``labels``, before anybody changed them; None where they are not known.
        completed: ``segment_id`` of what the user said is right.
        source: what the user calls the MRI.
        overwrite: whether the same MRI, if it is a case already, may be replaced by this one. The new case has a
            number of its own, and the old one is removed after the new one is whole.
        of_unknown_origin: ``segment_id`` of what ``original_labels`` does not know.

    Raises:
        HipError: ``case_exists`` where the MRI is a case already; ``wrong_geometry``, ``bad_labels``, ``no_bone``,
            ``list_inside``; ``in_use`` where another program holds its files; a kind of `image_check.check_volume` or
            `files.replacing`.
    """
    folder = Path(folder)
    check_volume(image, "The MRI")
    label = _on_grid(image, labels, "segmentation")
    original = None if original_labels is None else _on_grid(image, original_labels, "model's result")
    if not label.any() and not completed:
        raise HipError("no_bone", "There is no bone in the segmentation, and none is marked as completed.")
    segments = _compared(label, original, set(completed), set(of_unknown_origin), image.GetSpacing())

    _make_folder(folder)
    digest = _digest_of_voxels(sitk.DICOMOrient(image, "LPS"))
    # As stored: what older versions wrote.
    same = _cases_of(folder, (digest, _digest_of_voxels(image)))
    if same and not overwrite:
        raise HipError(
            "case_exists",
            f"This MRI is kept already, as case {same[-1][0]} in {folder}; choose another folder, or replace that "
            "case.",
        )
    unfinished = _reserve(folder)
    number = number_in(unfinished.name)
    case = folder / folder_name(number)
    try:
        model = Model(made_by.get("ModelName", ""), made_by.get("ModelSha256", ""))
        _write(unfinished, number, image, label, model, segments, digest)
        add_to_list(number, folder, source)
        _put_in_place(unfinished, case)
    except OSError as error:
        raise storage_error(error, unfinished) from error
    finally:
        _empty(unfinished)
    for old, replaced in same:
        _remove(replaced, f"The MRI is kept as case {number}, but case {old}, which it replaces,")
    return read_case(case)


def _on_grid(image: sitk.Image, labels: sitk.Image, name: str) -> np.ndarray:
    """uint8 (z, y, x) on the voxels of the MRI."""
    moved = within_voxels_of(image, labels)
    if moved is None:
        raise HipError(
            "wrong_geometry",
            f"The {name} {difference(image, labels)} compared with the MRI; give the MRI that it was made of.",
        )
    voxels = sitk.GetArrayFromImage(moved)
    check_values(voxels, f"The {name}")
    return voxels.astype(np.uint8)


def _compared(
    label: np.ndarray,
    original: np.ndarray | None,
    completed: set[str],
    of_unknown_origin: set[str],
    spacing: tuple[float, ...],
) -> tuple[CorrectedSegment, ...]:
    def of(segment: Segment) -> CorrectedSegment:
        now = label == segment.value
        if original is None or segment.segment_id in of_unknown_origin:
            changed_ml = dice = None
        else:
            before = original == segment.value
            changed_ml = round(float(np.count_nonzero(now ^ before) * np.prod(spacing)) / 1000, 3)
            both = np.count_nonzero(now) + np.count_nonzero(before)
            dice = round(2 * np.count_nonzero(now & before) / both, 5) if both else 1.0
        state = "as_made" if changed_ml == 0 else "edited"
        return CorrectedSegment(
            segment.segment_id, "completed" if segment.segment_id in completed else state, changed_ml, dice
        )

    return tuple(of(segment) for segment in SEGMENTS)


def _make_folder(folder: Path) -> None:
    if source_list().resolve().is_relative_to(folder.resolve()):
        raise HipError(
            "list_inside",
            f"{folder} holds your own list of cases, {source_list()}, which tells whose they are; choose another one.",
        )
    if folder.exists() and not folder.is_dir():
        raise HipError("no_folder", f"{folder} is a file, but cases need a folder.")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from error
    check_writable(folder / "case")
    for left in folder.glob(".case-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_OVER_SECONDS:
                _empty(left)


def _digest_of_voxels(image: sitk.Image) -> str:
    """Whatever type they are stored in."""
    voxels = np.ascontiguousarray(sitk.GetArrayViewFromImage(image), "<f4")
    digest = hashlib.sha256(repr(voxels.shape).encode())
    digest.update(voxels)
    return digest.hexdigest()


def _cases_of(folder: Path, digests: Collection[str]) -> list[tuple[int, Path]]:
    """The cases of an MRI by any of its digests; what cannot be read is none."""
    same = []
    for path in cases_in(folder):
        with contextlib.suppress(HipError):
            about = read_about(path)
            if about.voxels_sha256 in digests:
                same.append((about.case, path))
    return same


def _reserve(folder: Path) -> Path:
    """A hidden folder whose name has a new number. It is made by one process alone, and what is left of one that was
    killed, or of a case that was replaced, keeps the number from being given again."""
    while True:
        taken = {number_in(path.name) or 0 for path in folder.iterdir()} | numbers_given(folder)
        number = max(taken, default=0) + 1
        unfinished = folder / f".{folder_name(number)}"
        try:
            unfinished.mkdir()
        except FileExistsError:  # another process was quicker
            continue
        except OSError as error:
            raise storage_error(error, unfinished) from error
        return unfinished


def _write(
    unfinished: Path,
    number: int,
    image: sitk.Image,
    label: np.ndarray,
    model: Model,
    segments: tuple[CorrectedSegment, ...],
    digest: str,
) -> None:
    """The three files, case.json last."""
    grid = Grid.of(image)
    # New images of bare voxels: those at hand may have fields that name the patient.
    write_image(grid.image(sitk.GetArrayFromImage(image)), unfinished / IMAGE)
    write_image(grid.image(label), unfinished / LABEL)
    files = {name: sha256_of(unfinished / name) for name in (IMAGE, LABEL)}
    about = AboutCase(FORMAT, number, f"HipICMSC {VERSION}", model, segments, digest, files)
    write_text(unfinished / ABOUT, json.dumps(to_json(about), indent=2) + "\n")


def _put_in_place(unfinished: Path, case: Path) -> None:
    try:
        move_into_place(unfinished, case)
    except PermissionError as error:
        check_writable(case)  # it may be the folder that takes no cases
        sentence = (
            f"The new case in {case.parent} was not kept, for another program, such as a virus scanner, holds its "
            "files; try again in a moment."
        )
        raise HipError("in_use", sentence, str(error)) from error


def _empty(unfinished: Path) -> None:
    """Give up what is being written; its number stays taken."""
    if unfinished.is_dir():
        for path in unfinished.iterdir():
            with contextlib.suppress(OSError):
                path.unlink()


def _remove(case: Path, what: str) -> None:
    """It is no case any more at once, and then is deleted."""
    hidden = case.with_name(f".{case.name}")
    try:
        move_into_place(case, hidden)
        shutil.rmtree(hidden)
    except OSError as error:
        left = hidden if hidden.exists() else case
        held = isinstance(error, PermissionError)
        why = ", for it is open in another program, or somebody else's; close it and" if held else ";"
        raise HipError("not_removed", f"{what} could not be deleted{why} delete {left}.", str(error)) from error
