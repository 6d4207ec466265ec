"""A folder of synthetic subjects: labelled CT, unlabelled MR of other subjects, and the MR's truth apart."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import storage_error, write_text
from HipICMSCLib.common.images import write_image

from HipICMSCTrainingLib.phantom.subject import (
    CT_SPACING_MM,
    MRI_IN_PLANE_MM,
    MRI_SLICE_MM,
    PhantomSubject,
    make_ct,
    make_mri,
)


@dataclass(frozen=True)
class Resolution:
    """Voxel sizes of a dataset in mm; CT: left-right, front-back, head-foot."""

    ct_mm: tuple[float, float, float] = CT_SPACING_MM
    mri_in_plane_mm: float = MRI_IN_PLANE_MM
    mri_slice_mm: float = MRI_SLICE_MM


FULL = Resolution()
SMOKE = Resolution(ct_mm=(2.5, 5.0, 2.5), mri_in_plane_mm=2.5, mri_slice_mm=5.0)  # about a second a volume


def write_dataset(
    folder: Path,
    subjects: int,
    seed: int,
    *,
    resolution: Resolution = FULL,
    fat_suppressed: bool = False,
    mri_population: str = "mri",
) -> None:
    """Write ``subjects`` CTs and as many MRs of other people; the folder appears whole or not at all.

    Files: ``ct/ct00.nii.gz`` and ``ct/ct00_label.nii.gz``, ``mri/mri00.nii.gz``, ``mri_truth/mri00_label.nii.gz``, and
    ``subjects.json`` with each one's femoral head centres (LPS, mm) and shape.

    Args:
        folder: must not exist or be empty.
        mri_population: whose shapes the MRs show; "ct" gives both domains the same anatomy distribution.

    Raises:
        HipError: ``folder_in_use`` when there is something in the folder, ``no_subjects`` for a number below 1,
            ``bad_setting`` for a seed below 0,
            ``disk_full``, ``read_only`` or ``no_folder`` when it cannot be written.
    """
    folder = Path(folder).absolute()
    if folder == Path.cwd():  # which a whole one takes the place of
        raise HipError("folder_in_use", "A phantom dataset needs a folder of its own; name a new one within this one.")
    if subjects < 1:
        raise HipError("no_subjects", f"A phantom dataset needs at least one subject, not {subjects}.")
    if seed < 0:
        raise HipError("bad_setting", f"The seed of a phantom dataset is a number from 0, not {seed}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HipError("folder_in_use", f"The folder {folder} is not empty; choose a new one for the phantom dataset.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = folder.with_name(f".{uuid.uuid4().hex[:8]}-{folder.name}")
        beside.mkdir()
    except OSError as error:
        raise storage_error(error, folder) from error
    try:
        _fill(beside, subjects, seed, resolution, fat_suppressed, mri_population)
        if folder.exists():
            folder.rmdir()
        os.replace(beside, folder)
    except OSError as error:
        raise storage_error(error, folder) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _fill(
    folder: Path, subjects: int, seed: int, resolution: Resolution, fat_suppressed: bool, mri_population: str
) -> None:
    for name in ("ct", "mri", "mri_truth"):
        (folder / name).mkdir()
    known = {}
    for number in range(subjects):
        ct = make_ct(seed, number, spacing_mm=resolution.ct_mm)
        known[f"ct{number:02d}"] = _facts(ct)
        _write(ct.image, folder / "ct" / f"ct{number:02d}.nii.gz")
        _write(ct.label, folder / "ct" / f"ct{number:02d}_label.nii.gz")

        mri = make_mri(
            seed,
            number,
            in_plane_mm=resolution.mri_in_plane_mm,
            slice_mm=resolution.mri_slice_mm,
            fat_suppressed=fat_suppressed,
            population=mri_population,
        )
        known[f"mri{number:02d}"] = _facts(mri)
        _write(mri.image, folder / "mri" / f"mri{number:02d}.nii.gz")
        _write(mri.label, folder / "mri_truth" / f"mri{number:02d}_label.nii.gz")
    write_text(folder / "subjects.json", json.dumps({"seed": seed, "subjects": known}, indent=1))


def _facts(subject: PhantomSubject) -> dict:
    return {"head_right": subject.head_right, "head_left": subject.head_left, "shape": asdict(subject.shape)}


def _write(image: sitk.Image, path: Path) -> None:
    write_image(image, path)
