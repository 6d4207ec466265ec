"""Reads a volume and refuses, in one sentence, what cannot be segmented or trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from HipICMSCLib import nifti
from HipICMSCLib.errors import HipError

SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.05, 20.0
SMALLEST_EXTENT_MM = 40.0
#: Distances between the slices of a DICOM series may differ by this share (positions are rounded).
LARGEST_UNEVENNESS = 0.1

#: Voxels along each axis by which CT is told from MRI.
MODALITY_SAMPLES = 128

#: Endings of the files that are picked up from a folder.
VOLUME_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")


def volume_stem(path: Path) -> str:
    """The file's name without its ending, ``.nii.gz`` counting as one."""
    name = path.name
    ending = next((ending for ending in VOLUME_ENDINGS if name.lower().endswith(ending)), path.suffix)
    return name[: len(name) - len(ending)] if ending else name


def volume_files(folder: Path) -> list[Path]:
    """The volumes in ``folder``, sorted by name; hidden files are half-written ones of ours or of somebody else."""
    return sorted(
        path for path in folder.iterdir() if path.name.lower().endswith(VOLUME_ENDINGS) and path.name[0] != "."
    )


def read_volume(path: Path) -> sitk.Image:
    """Read an intensity volume: NRRD, NIfTI, MetaImage, or a folder that holds one DICOM series.

    Returns:
        A 3-D scalar image with LPS geometry, checked by :func:`check_volume`.

    Raises:
        HipError: ``missing_file``, ``unreadable``, ``several_series``, or a kind of :func:`check_volume`.
    """
    path = Path(path)
    if not path.exists():
        raise HipError("missing_file", f"There is no file {path}.")
    image = _read_dicom_series(path) if path.is_dir() else _read_file(path)
    check_volume(image, str(path))
    return image


def check_volume(image: sitk.Image, name: str) -> None:
    """Refuse images that are not one finite 3-D scalar volume of plausible size.

    Raises:
        HipError: ``not_3d``, ``not_scalar``, ``bad_geometry``, ``too_small``, ``not_finite`` or ``constant``.
    """
    if image.GetDimension() != 3 or 1 in image.GetSize():
        raise HipError("not_3d", f"{name} is not a 3-D volume; its size is {_times(image.GetSize())}.")
    if image.GetNumberOfComponentsPerPixel() != 1 or "complex" in image.GetPixelIDTypeAsString():
        raise HipError(
            "not_scalar", f"{name} has colours or several channels; a volume with one value a voxel is needed."
        )
    spacing = np.array(image.GetSpacing())
    geometry = np.concatenate([spacing, image.GetOrigin(), image.GetDirection()])
    if not np.isfinite(geometry).all() or (spacing < SMALLEST_SPACING_MM).any() or (spacing > LARGEST_SPACING_MM).any():
        raise _bad_spacing(name, spacing)
    axes = np.array(image.GetDirection()).reshape(3, 3)
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3):
        raise _oblique_axes(name)
    extent = spacing * image.GetSize()
    if (extent < SMALLEST_EXTENT_MM).any():
        raise HipError(
            "too_small", f"{name} measures only {_times(np.round(extent))} mm, which cannot hold a hip joint."
        )
    voxels = sitk.GetArrayViewFromImage(image)
    if not np.isfinite(voxels).all():
        raise _not_finite(name)
    if voxels.min() == voxels.max():
        raise HipError("constant", f"{name} is empty: every voxel has the value {voxels.flat[0]:g}.")


def looks_like_ct(image: sitk.Image) -> bool:
    """Whether intensities are Hounsfield units: air near -1000 and fat below 0 fill much of any body CT, while an MRI
    has no values far below zero. Also if 1024 was added to them, as files without a sign have it."""
    voxels = sitk.GetArrayViewFromImage(image)
    # Some millions of voxels, spread evenly, tell as much as all.
    voxels = voxels[tuple(slice(None, None, max(1, size // MODALITY_SAMPLES)) for size in voxels.shape)]
    if voxels.min() >= 0:
        # Of what is not air, 0.89 and more lay this near to water in 23 CTs, and 0.04 at most in MRIs.
        body = voxels[voxels > 200]
        near_water = (body > 1024 - 200) & (body < 1024 + 200)
        return bool((voxels < 150).mean() > 0.02 and body.size and near_water.mean() > 0.8)
    return bool((voxels < -150).mean() > 0.02 and (np.abs(voxels) < 200).mean() > 0.05)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """What ITK would print is either an error, which is raised below in one sentence, or of no use to the reader."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _read_file(path: Path) -> sitk.Image:
    try:
        if nifti.is_nifti(path):
            _check_nifti(path)
        with _without_warnings():
            return sitk.ReadImage(str(path))
    except (RuntimeError, OSError) as error:
        raise _unreadable(path, str(error)) from error


def _check_nifti(path: Path) -> None:
    """Refuse what the reader would make up."""
    header = nifti.read_header(path)
    if header and not all(np.abs(header.spacing) > 0):
        raise _bad_spacing(str(path), header.spacing)
    if not nifti.is_whole(path):
        raise _unreadable(path, "the file is cut off or damaged")
    if not nifti.is_finite(path):
        raise _not_finite(str(path))


def _unreadable(path: Path, detail: str) -> HipError:
    if "Zero-valued spacing" in detail:
        return HipError("bad_geometry", f"{path} has a voxel spacing of 0 mm; correct it first.", detail)
    if "orthonormal direction cosines" in detail:
        return _oblique_axes(str(path))
    return HipError("unreadable", f"{path} cannot be read as an image; it is damaged or of another kind.", detail)


def _bad_spacing(name: str, spacing: Iterable[float]) -> HipError:
    return HipError(
        "bad_geometry", f"{name} has a voxel spacing of {_times(spacing)} mm, which cannot be right; correct it first."
    )


def _not_finite(name: str) -> HipError:
    return HipError("not_finite", f"{name} contains voxels that are not numbers (NaN or infinite).")


def _oblique_axes(name: str) -> HipError:
    return HipError("bad_geometry", f"{name} has axes that are not at right angles (gantry tilt?); resample it first.")


def _read_dicom_series(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    with _without_warnings():
        series = reader.GetGDCMSeriesIDs(str(folder))
    if not series:
        raise HipError("unreadable", f"The folder {folder} holds no DICOM series.")
    if len(series) > 1:
        raise HipError(
            "several_series",
            f"The folder {folder} holds {len(series)} DICOM series; put the one to segment into a folder of its own.",
        )
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series[0]))
    reader.MetaDataDictionaryArrayUpdateOn()
    try:
        with _without_warnings():
            image = reader.Execute()
    except RuntimeError as error:
        raise HipError("unreadable", f"The DICOM series in {folder} cannot be read.", str(error)) from error
    _check_evenly_spaced(reader, image, folder)
    return image


def _check_evenly_spaced(reader: sitk.ImageSeriesReader, image: sitk.Image, folder: Path) -> None:
    """A series that lacks a slice is read as if the others lay further apart."""
    tag, count = "0020|0032", image.GetSize()[2]
    if count < 3 or not all(reader.HasMetaDataKey(number, tag) for number in range(count)):
        return
    positions = np.array([[float(x) for x in reader.GetMetaData(number, tag).split("\\")] for number in range(count)])
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    if np.abs(steps - np.median(steps)).max() > LARGEST_UNEVENNESS * np.median(steps):
        raise HipError(
            "bad_geometry",
            f"The slices of the DICOM series in {folder} are not evenly spaced; one of them may be missing.",
            f"steps of {steps.min():g} to {steps.max():g} mm",
        )


def _times(numbers: object) -> str:
    return " × ".join(f"{number:g}" for number in numbers)
