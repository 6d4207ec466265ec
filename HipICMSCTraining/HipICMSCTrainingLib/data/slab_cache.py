"""Each volume prepared once for slabs and kept in the run folder: a CT as an anatomy, an MRI as its own slices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.common.files import replacing
from HipICMSCLib.preprocessing.slabs import Plane, acquisition_plane, prepare_slices, slice_grid
from safetensors.numpy import load_file, save

from HipICMSCTrainingLib.data.corrections import digest_of, read_corrections
from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.slice_cache import fingerprint, naming, read_case
from HipICMSCTrainingLib.settings.training import TrainingSettings
from HipICMSCTrainingLib.simulation.anatomy import COARSE_MM, FINE_MM, Anatomy, Femur, anatomy_of

#: By their number in a file.
_PLANES = ("sagittal", "coronal", "axial")
#: What is in a file, with the number of its dimensions and its type.
_OF_ANATOMY = {
    "hu": (3, np.int16), "hip": (3, np.int8), "femur": (3, np.int8), "hip_coarse": (3, np.float32),
    "bone_voxels": (2, np.int16), "heads": (2, np.float64), "femora_coarse": (4, np.float32),
}  # fmt: skip
_OF_SLICES = {"slices": (3, np.float16), "covered": (3, np.bool_), "step_mm": (1, np.float32), "plane": (1, np.uint8)}

#: Beside the slices of a corrected MRI.
_OF_CORRECTIONS = {"classes": (3, np.uint8), "weights": (3, np.float16)}

Arrays = dict[str, np.ndarray]


def cached_anatomy(case: Case, settings: TrainingSettings, folder: Path) -> Anatomy:
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

    kept = _kept(anatomy_file(case, settings, folder), _OF_ANATOMY, make)
    femora = tuple(Femur(head, far) for head, far in zip(kept["heads"], kept["femora_coarse"], strict=True))
    return Anatomy(kept["hu"], kept["hip"], kept["femur"], kept["hip_coarse"], femora, kept["bone_voxels"])


def anatomy_file(case: Case, settings: TrainingSettings, folder: Path) -> Path:
    """Where :func:`cached_anatomy` keeps a case."""
    return folder / f"{fingerprint(case, 'anatomy')}.safetensors"


def cached_slices(case: Case, settings: TrainingSettings, folder: Path) -> Arrays:
    """All slices of an MRI as acquired (a volume of even voxels as coronal ones).

    Returns:
        ``slices`` (slice, row, column) float16 in [-1, 1]; ``covered`` bool; ``step_mm`` and ``plane``, a number each.

    Raises:
        HipError: whatever is wrong with the image, naming the case.
    """

    def make() -> Arrays:
        image: sitk.Image = read_case(case)[0]
        plane = plane_to_read(image)
        prepared = prepare_slices(image, plane, "MR", settings.slab, settings.intensity)
        return {
            "slices": prepared.slices.astype(np.float16),
            "covered": prepared.covered,
            "step_mm": np.array([prepared.grid.spacing[2]], np.float32),
            "plane": np.array([_PLANES.index(plane)], np.uint8),
        }

    return _kept(slices_file(case, settings, folder), _OF_SLICES, make)


def cached_corrections(case: Case, settings: TrainingSettings, folder: Path) -> Arrays:
    """What a corrected MRI teaches on the slices that :func:`cached_slices` gives of it, together with these.

    Returns:
        Besides: ``classes`` (slice, row, column) uint8; ``weights`` float16, 0 to 1, how much a pixel counts.

    Raises:
        HipError: as :func:`read_corrections`, and whatever is wrong with the image, naming the case.
    """
    with naming(case):  # each time, so that a case that was moved or changed is told of
        name = fingerprint(case, "corrections", digest_of(case), settings.slab)
    slices = cached_slices(case, settings, folder)

    def make() -> Arrays:
        with naming(case):
            corrections = read_corrections(case)
        grid = slice_grid(corrections.classes, plane_to_read(corrections.classes), settings.slab)
        images = {"classes": corrections.classes, "weights": corrections.weights}
        arrays = {
            name: sitk.GetArrayFromImage(grid.resample(image, sitk.sitkNearestNeighbor, 0))
            for name, image in images.items()
        }
        # Pixels that pad a slice show nothing.
        return {"classes": arrays["classes"], "weights": (arrays["weights"] * slices["covered"]).astype(np.float16)}

    return slices | _kept(folder / f"{name}.safetensors", _OF_CORRECTIONS, make)


def plane_to_read(image: sitk.Image) -> Plane:
    """The plane in which an MRI was acquired; coronal where its voxels are even."""
    return acquisition_plane(image) or "coronal"


def slices_file(case: Case, settings: TrainingSettings, folder: Path) -> Path:
    """Where :func:`cached_slices` keeps a case."""
    return folder / f"{fingerprint(case, 'slices', settings.slab, settings.intensity)}.safetensors"


def plane_of(arrays: Arrays) -> str:
    """The plane of what :func:`cached_slices` gives."""
    return _PLANES[int(arrays["plane"][0])]


def _kept(file: Path, expected: dict[str, tuple[int, type]], make: Callable[[], Arrays]) -> Arrays:
    """What a file holds; made and written where there is none, or where it is not what would be written there."""
    if file.is_file():
        try:
            arrays = load_file(file)
        except Exception:  # safetensors has kinds of its own
            arrays = {}
        kinds = {name: (array.ndim, array.dtype.type) for name, array in arrays.items()}
        if kinds == expected and _fit_together(arrays):
            return arrays
    # safetensors writes the memory as it lies, so a transposed view must be laid out first.
    arrays = {name: np.ascontiguousarray(array) for name, array in make().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as beside:
        beside.write_bytes(save(arrays))
    return arrays


def _fit_together(arrays: Arrays) -> bool:
    """Whether the shapes and numbers of a file's arrays are those of one volume."""
    if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
        return False
    if "slices" in arrays:
        shapes = arrays["step_mm"].shape == arrays["plane"].shape == (1,)
        same = arrays["slices"].shape == arrays["covered"].shape
        return bool(shapes and same and arrays["slices"].size and arrays["plane"][0] < len(_PLANES))
    if "classes" in arrays:
        return bool(arrays["classes"].shape == arrays["weights"].shape and arrays["classes"].size)
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
