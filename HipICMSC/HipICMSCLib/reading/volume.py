"""Reads a volume and refuses, in one sentence, what cannot be segmented or trained on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.common import nifti
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.reading import metaimage, nrrd
from HipICMSCLib.reading.dicom import is_dicom, read_frames, read_series
from HipICMSCLib.reading.header_check import LARGEST_DISAGREEMENT_MM, check_size, not_oriented, not_scalar, refused

SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.05, 20.0
SMALLEST_EXTENT_MM = 40.0

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


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; False also for what no system takes for a name."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def read_volume(path: Path) -> sitk.Image:
    """Read an intensity volume: NRRD, NIfTI, MetaImage, a DICOM file of many slices, or a folder with one DICOM series.

    The file may come from a stranger: no more memory is taken than its voxels need that are really there, and no file
    is read that lies elsewhere.

    Returns:
        A 3-D scalar image with LPS geometry, checked by :func:`check_volume`.

    Raises:
        HipError: ``missing_file``, ``unreadable``, ``too_large``, ``several_series``, or a kind of
            :func:`check_volume`.
    """
    path = Path(path)
    if not exists(path):
        raise HipError("missing_file", f"There is no file {path}.")
    # SimpleITK takes text alone, and ends the process where a name is none.
    if str(path).encode("utf-8", "replace").decode("utf-8") != str(path):
        raise refused(path, "its name, or that of its folder, is no text; rename it")
    try:
        with _without_warnings():
            image = read_series(path) if path.is_dir() else _read_file(path)
    except MemoryError as error:
        raise _too_little_memory(path, str(error)) from error
    except (RuntimeError, OSError) as error:
        raise _unreadable(path, str(error)) from error
    check_volume(image, str(path))
    return image


def check_volume(image: sitk.Image, name: str) -> None:
    """Refuse images that are not one finite 3-D scalar volume of plausible size.

    Raises:
        HipError: ``not_3d``, ``not_scalar``, ``bad_geometry``, ``too_small``, ``not_finite`` or ``constant``.
    """
    if image.GetDimension() != 3 or 1 in image.GetSize():
        raise _not_3d(name, image.GetSize())
    if image.GetNumberOfComponentsPerPixel() != 1 or "complex" in image.GetPixelIDTypeAsString():
        raise not_scalar(name)
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
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
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
    # A pipe or a device never ends.
    if not path.is_file():
        raise refused(path, "it is no file")
    ending = path.name.lower()
    reader = sitk.ImageFileReader()
    if ending.endswith(nifti.ENDINGS):
        _check_nifti(path)
        reader.SetImageIO("NiftiImageIO")
    elif ending.endswith(nrrd.ENDINGS):
        nrrd.check(path)
        reader.SetImageIO("NrrdImageIO")
    elif ending.endswith(metaimage.ENDINGS):
        metaimage.check(path)
        reader.SetImageIO("MetaImageIO")
    elif is_dicom(path):
        return read_frames(path)
    else:
        raise refused(path, "it is neither NIfTI, NRRD, MetaImage nor DICOM")
    reader.SetFileName(str(path))
    _check_declared(path, reader)
    image = reader.Execute()
    if nifti.is_nifti(path):
        _check_nifti_place(path, image)
    return image


def _check_declared(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuse what is too large, before memory is reserved for it."""
    reader.ReadImageInformation()
    pixel = sitk.Image([1, 1], reader.GetPixelID(), reader.GetNumberOfComponents())
    check_size(path, reader.GetSize(), pixel.GetSizeOfPixelComponent() * reader.GetNumberOfComponents())


def _check_nifti(path: Path) -> None:
    """Refuse what the reader would make up."""
    header = nifti.read_header(path)
    if header is None:
        raise refused(path, "it is no NIfTI file, or the file is cut off or damaged")
    wrong = nifti.what_is_wrong(header)
    if wrong:
        raise refused(path, wrong)
    check_size(path, header.size, header.bits // 8)
    if header.kind in nifti.OTHER_TYPES:
        raise not_scalar(path)
    if len(header.size) < 3:
        raise _not_3d(str(path), header.size)
    if not all(step > 0 for step in header.spacing):
        raise _bad_spacing(str(path), header.spacing)
    if not header.transforms or not np.isfinite(header.transforms).all():
        raise not_oriented(path)
    if not nifti.is_whole(path):
        raise refused(path, "the file is cut off or damaged")
    if not nifti.is_finite(path):
        raise _not_finite(str(path))


def _check_nifti_place(path: Path, image: sitk.Image) -> None:
    """Refuse a volume that was read to lie elsewhere than its header says: two of the header's fields contradict each
    other, and the reader took something of both."""
    if image.GetDimension() != 3:
        return
    index = np.array([(*corner, 1.0) for corner in np.ndindex(2, 2, 2)]) * (*np.array(image.GetSize()) - 1.0, 1.0)
    read = [image.TransformContinuousIndexToPhysicalPoint(corner[:3].tolist()) for corner in index]
    for transform in nifti.read_header(path).transforms:
        if np.abs((index @ transform.T)[:, :3] - read).max() <= LARGEST_DISAGREEMENT_MM:
            return
    raise HipError(
        "bad_geometry", f"{path} says two things about where its voxels lie; export it again from its source."
    )


def _too_little_memory(path: Path, detail: str) -> HipError:
    return HipError(
        "out_of_memory", f"This computer has too little memory for {path}; close other programs and try again.", detail
    )


def _unreadable(path: Path, detail: str) -> HipError:
    if "Failed to allocate memory" in detail or "bad_alloc" in detail:
        return _too_little_memory(path, detail)
    if "Zero-valued spacing" in detail:
        return HipError("bad_geometry", f"{path} has a voxel spacing of 0 mm; correct it first.", detail)
    if "orthonormal direction cosines" in detail:
        return _oblique_axes(str(path))
    return refused(path, "the file is damaged or of another kind", detail)


def _not_3d(name: str, size: Iterable[int]) -> HipError:
    return HipError("not_3d", f"{name} is not a 3-D volume; its size is {_times(size)}.")


def _bad_spacing(name: str, spacing: Iterable[float]) -> HipError:
    return HipError(
        "bad_geometry", f"{name} has a voxel spacing of {_times(spacing)} mm, which cannot be right; correct it first."
    )


def _not_finite(name: str) -> HipError:
    return HipError("not_finite", f"{name} contains voxels that are not numbers (NaN or infinite).")


def _oblique_axes(name: str) -> HipError:
    return HipError("bad_geometry", f"{name} has axes that are not at right angles (gantry tilt?); resample it first.")


def _times(numbers: object) -> str:
    return " × ".join(f"{number:g}" for number in numbers)
