"""Which image can be segmented or trained on, wherever it comes from, and in which sentence another is refused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.common.errors import HipError

SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.05, 20.0
SMALLEST_EXTENT_MM = 40.0

#: Voxels along an axis by which CT is told from MRI, and label maps from either.
MODALITY_SAMPLES = 128
LARGEST_LABEL = 255


def check_volume(image: sitk.Image, name: str) -> None:
    """Refuse images that are not one finite 3-D scalar volume of plausible size.

    Raises:
        HipError: ``not_3d``, ``not_scalar``, ``bad_geometry``, ``too_small``, ``not_finite`` or ``constant``.
    """
    if image.GetDimension() != 3 or 1 in image.GetSize():
        raise not_3d(name, image.GetSize())
    if "complex" in image.GetPixelIDTypeAsString():
        raise complex_numbers(name)
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise not_scalar(name)
    spacing = np.array(image.GetSpacing())
    geometry = np.concatenate([spacing, image.GetOrigin(), image.GetDirection()])
    if not np.isfinite(geometry).all() or (spacing < SMALLEST_SPACING_MM).any() or (spacing > LARGEST_SPACING_MM).any():
        raise bad_spacing(name, spacing)
    axes = np.array(image.GetDirection()).reshape(3, 3)
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3):
        raise oblique_axes(name)
    extent = spacing * image.GetSize()
    if (extent < SMALLEST_EXTENT_MM).any():
        raise HipError(
            "too_small",
            f"{name} measures only {times(np.round(extent))} mm, which cannot hold a hip joint; choose one that does.",
        )
    voxels = sitk.GetArrayViewFromImage(image)
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        raise HipError(
            "not_finite",
            f"{name} contains voxels that are not numbers (NaN or infinite) amid others; export it again from its "
            "source, or put a number in their place.",
        )
    if voxels.min() == voxels.max():
        raise HipError("constant", f"{name} is empty: every voxel has the value {voxels.flat[0]:g}; choose another.")


def zero_where_unmeasured(image: sitk.Image) -> tuple[sitk.Image, list[str]]:
    """0 in the place of NaN and infinity in regions that reach the border, as resampling leaves them; amid an image
    they stay, for :func:`check_volume` to refuse.

    Returns:
        The image, and a sentence about what was changed.
    """
    if image.GetDimension() != 3 or "float" not in image.GetPixelIDTypeAsString():
        return image, []
    voxels = sitk.GetArrayFromImage(image)
    unknown = ~np.isfinite(voxels)
    if not unknown.any() or unknown.all():
        return image, []
    regions = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(unknown.astype(np.uint8))))
    faces = [np.unique(np.take(regions, end, axis=axis)) for axis in range(3) for end in (0, -1)]
    if not set(np.unique(regions)) <= set(np.concatenate(faces)) | {0}:
        return image, []
    voxels[unknown] = 0
    measured = sitk.GetImageFromArray(voxels)
    measured.CopyInformation(image)
    sentence = f"{100 * unknown.mean():.2g} % of the voxels, at the border, are no numbers (NaN, infinite), read as 0."
    return measured, [sentence]


def no_mri(image: sitk.Image) -> HipError | None:
    """What an image looks like that the models cannot segment: ``ct_given`` or ``labels_given``; None for an MRI."""
    if looks_like_ct(image):
        return HipError("ct_given", "This looks like a CT, but the model segments MRI; choose an MRI.")
    if looks_like_label_map(image):
        return HipError("labels_given", "This looks like a label map, not like an MRI; choose the MRI it belongs to.")
    return None


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


def looks_like_label_map(image: sitk.Image) -> bool:
    """Whether no value is above 255 and nearly each voxel has the very value of the next: of those that are not the
    lowest one, 0.99 and more in 11 label maps, and 0.1 at most in 11 MRIs."""
    voxels = sitk.GetArrayViewFromImage(image)
    if voxels.max() > LARGEST_LABEL:
        return False
    voxels = np.moveaxis(voxels, np.argmax(voxels.shape), -1)
    voxels = voxels[tuple(slice(None, None, max(1, size // MODALITY_SAMPLES)) for size in voxels.shape[:2])]
    here, following = voxels[..., :-1], voxels[..., 1:]
    inside = (here != voxels.min()) & (following != voxels.min())
    return bool(inside.any() and (here == following)[inside].mean() > 0.9)


def not_scalar(path: Path | str) -> HipError:
    return HipError("not_scalar", f"{path} has colours or several channels; a volume with one value a voxel is needed.")


def complex_numbers(path: Path | str) -> HipError:
    return HipError("not_scalar", f"{path} holds complex numbers; save their magnitude.")


def not_3d(path: Path | str, size: Iterable[int]) -> HipError:
    return HipError(
        "not_3d", f"{path} is not a 3-D volume; its size is {times(size)}. Save one volume of it, with all its slices."
    )


def bad_spacing(path: Path | str, spacing: Iterable[float]) -> HipError:
    return HipError(
        "bad_geometry", f"{path} has a voxel spacing of {times(spacing)} mm, which cannot be right; correct it first."
    )


def oblique_axes(path: Path | str) -> HipError:
    return HipError("bad_geometry", f"{path} has axes that are not at right angles (gantry tilt?); resample it first.")


def times(numbers: Iterable[float]) -> str:
    return " × ".join(f"{number:g}" for number in numbers)
