"""Each volume prepared once for slabs and kept in the run folder: a CT as an anatomy, an MRI as its own slices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.preprocessing.geometry import Grid
from HipICMSCLib.preprocessing.slabs import Plane, SlabSettings, acquisition_plane, prepare_slices, slice_grid

from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.kept_arrays import Arrays, kept_arrays
from HipICMSCTrainingLib.data.slice_cache import fingerprint, read_case
from HipICMSCTrainingLib.settings.training import TrainingSettings
from HipICMSCTrainingLib.simulation.anatomy import COARSE_MM, FINE_MM, Anatomy, Femur, anatomy_of

#: By their number in a file.
_PLANES = ("sagittal", "coronal", "axial")
#: What is in a file, with the number of its dimensions and its type.
#: To be changed with what `anatomy_of` makes of a CT, so that nothing of an earlier version is used.
_WORD_OF_ANATOMY = "anatomy"
_OF_ANATOMY = {
    "hu": (3, np.int16), "hip": (3, np.int8), "femur": (3, np.int8), "hip_coarse": (3, np.float32),
    "bone_voxels": (2, np.int16), "heads": (2, np.float64), "femora_coarse": (4, np.float32),
}  # fmt: skip
_OF_SLICES = {"slices": (3, np.float16), "covered": (3, np.bool_), "step_mm": (1, np.float32), "plane": (1, np.uint8)}


def cached_anatomy(case: Case, folder: Path) -> Anatomy:
    """A labelled CT, made ready now or read from ``folder`` where its files are still the same.

    Raises:
        HipError: whatever is wrong with the image or its label map, naming the case.
    """

    def make() -> Arrays:
        anatomy = anatomy_of(*read_case(case))
        return {
            "hu": anatomy.hu,
            "hip": anatomy.hip,
            "femur": anatomy.femur,
            "hip_coarse": anatomy.hip_coarse,
            "bone_voxels": anatomy.bone_voxels,
            "heads": np.array([femur.head for femur in anatomy.femora]).reshape(-1, 3),
            "femora_coarse": np.array([femur.distance for femur in anatomy.femora], np.float32).reshape(
                -1, *anatomy.hip_coarse.shape
            ),
        }

    kept = kept_arrays(anatomy_file(case, folder), _OF_ANATOMY, _is_anatomy, make)
    femora = tuple(Femur(head, far) for head, far in zip(kept["heads"], kept["femora_coarse"], strict=True))
    return Anatomy(kept["hu"], kept["hip"], kept["femur"], kept["hip_coarse"], femora, kept["bone_voxels"])


def anatomy_file(case: Case, folder: Path) -> Path:
    """Where :func:`cached_anatomy` keeps a case."""
    return folder / f"{fingerprint(case, _WORD_OF_ANATOMY)}.safetensors"


def cached_slices(case: Case, settings: TrainingSettings, folder: Path) -> Arrays:
    """All slices of an MRI as acquired (a volume of even voxels as coronal ones), without the padding of a setting,
    which is air: it stands where the slices end (:func:`padded_size`), as whoever cuts a slab of them has it.

    Returns:
        ``slices`` (slice, row, column) float16 in [-1, 1]; ``covered`` bool; ``step_mm`` and ``plane``, a number each.

    Raises:
        HipError: whatever is wrong with the image, naming the case.
    """

    def make() -> Arrays:
        image: sitk.Image = read_case(case)[0]
        plane = plane_to_read(image)
        prepared = prepare_slices(image, plane, "MR", settings.slab, settings.intensity)
        columns, rows, _ = own_grid(image, plane, settings.slab).size
        return {
            "slices": prepared.slices[:, :rows, :columns].astype(np.float16),
            "covered": prepared.covered[:, :rows, :columns],
            "step_mm": np.array([prepared.grid.spacing[2]], np.float32),
            "plane": np.array([_PLANES.index(plane)], np.uint8),
        }

    return kept_arrays(slices_file(case, settings, folder), _OF_SLICES, _are_slices, make)


def own_grid(image: sitk.Image, plane: Plane, slab: SlabSettings) -> Grid:
    """Of what :func:`cached_slices` keeps of an MRI."""
    return slice_grid(image, plane, replace(slab, least_pixels=1))


def padded_size(volume: Arrays, slab: SlabSettings) -> tuple[int, int]:
    """Rows and columns that a network reads of what :func:`cached_slices` gives."""
    rows, columns = (max(pixels, slab.least_pixels) for pixels in volume["slices"].shape[1:])
    return rows, columns


def plane_to_read(image: sitk.Image) -> Plane:
    """The plane in which an MRI was acquired; coronal where its voxels are even."""
    return acquisition_plane(image) or "coronal"


def slices_file(case: Case, settings: TrainingSettings, folder: Path) -> Path:
    """Where :func:`cached_slices` keeps a case."""
    return folder / f"{fingerprint(case, 'slices', settings.slab, settings.intensity)}.safetensors"


def plane_of(arrays: Arrays) -> str:
    """The plane of what :func:`cached_slices` gives."""
    return _PLANES[int(arrays["plane"][0])]


def _is_anatomy(arrays: Arrays) -> bool:
    """Whether the shapes and numbers of a file's arrays are those of one CT."""
    shape = arrays["hu"].shape
    coarse = tuple(-(-voxels // round(COARSE_MM / FINE_MM)) for voxels in shape)
    femora = len(arrays["heads"])
    voxels = arrays["bone_voxels"]
    return bool(
        arrays["hip"].shape == arrays["femur"].shape == shape
        and min(shape) > 1
        and arrays["hip_coarse"].shape == coarse
        and arrays["heads"].shape == (femora, 3)
        and arrays["femora_coarse"].shape == (femora, *coarse)
        and voxels.shape[1] == 3
        and ((voxels >= 0) & (voxels < shape)).all()
    )


def _are_slices(arrays: Arrays) -> bool:
    """The same of one MRI."""
    numbers = arrays["step_mm"].shape == arrays["plane"].shape == (1,)
    same = arrays["slices"].shape == arrays["covered"].shape
    return bool(numbers and same and arrays["slices"].size and arrays["plane"][0] < len(_PLANES))
