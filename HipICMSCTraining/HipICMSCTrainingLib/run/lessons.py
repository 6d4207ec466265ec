"""What F_t learns from in self-training: a reading of whole MRIs, its own or of several models, less what the clean-up
takes away.

The clean-up knows what no pixel does: that a bone is one piece, at a joint. So a stray teaches F_t what is no bone.
What is as bright as muscle on T1 teaches nothing where it was called bone: it may be muscle, and may be red marrow.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.doubts import Notice
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import replacing
from HipICMSCLib.common.voxels import box_of, reach_along
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.models.chosen import ENDING
from HipICMSCLib.networks.steadied import steadied
from HipICMSCLib.preprocessing.geometry import Grid
from HipICMSCLib.preprocessing.slabs import prepare_slices, slice_grid
from safetensors.numpy import load_file, save

from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.slab_cache import plane_to_read
from HipICMSCTrainingLib.data.slice_cache import read_case
from HipICMSCTrainingLib.run.export import export_package
from HipICMSCTrainingLib.run.files import damaged_checkpoint
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.muscle import muscle_called_bone
from HipICMSCTrainingLib.settings.training import TrainingSettings

#: Bone may go on so far beyond what was found.
AROUND_MM = 6.0
#: A result with one of these doubts may lack bone, so it does not tell where there is none.
_LACKING = {"bone_missing", "one_hip", "sides_differ", "sides_uncertain", "volume_implausible"}
_BONES = 2
#: A probability from which on something was called bone, and one that teaches neither bone nor its absence.
_CALLED = _UNSURE = 0.5


def write_own_lessons(
    folder: RunFolder, cases: Sequence[Case], settings: TrainingSettings, t1_weighted: bool, say: Callable[[str], None]
) -> None:
    """As :func:`write_lessons` of the selected weights of a run, for that run.

    Raises:
        HipError: as for an export and :func:`write_lessons`.
    """
    with tempfile.TemporaryDirectory() as beside:
        package = Path(beside) / f"selected{ENDING}"
        export_package(folder, package)
        write_lessons(folder.checkpoints.lessons_file, [package], cases, settings.device, t1_weighted, say)


def write_lessons(
    file: Path,
    packages: Sequence[Path],
    cases: Sequence[Case],
    device: str,
    t1_weighted: bool,
    say: Callable[[str], None],
) -> None:
    """Read MRIs and keep how probable each bone is where, in the mean of all that read.

    What one alone takes for bone is then sure to none, so that a student does not learn a single model's mistakes.

    Args:
        packages: models of slabs, of the same pixels and intensities.
        t1_weighted: whether the MRIs are, so that their brightness tells of muscle (:mod:`..run.muscle`).
        say: called with a sentence before each MRI.

    Raises:
        HipError: ``teachers_differ``; as for loading a model, for reading a case and for segmenting it.
    """
    segmenters = [HipSegmenter(package, device) for package in packages]
    read_as = [(each.package.manifest.slab, each.package.manifest.intensity) for each in segmenters]
    if any(one != read_as[0] or one[0] is None for one in read_as):
        raise HipError(
            "teachers_differ",
            "These models do not read MRIs alike, so they cannot teach together; take models of slabs with the same "
            "pixels and intensities.",
        )
    lessons = {}
    for number, case in enumerate(cases, start=1):
        say(f"Segmenting {number} of {len(cases)} MRIs, from which F_t then learns.")
        image = read_case(case)[0]
        lesson = sum(lesson_of(each, image) for each in segmenters) / len(segmenters)
        if t1_weighted and (lesson > _CALLED).any():
            read = prepare_slices(image, plane_to_read(image), "MR", *read_as[0])
            # Padding would count among what is dark.
            inside = box_of(read.covered)
            try:
                for bone in lesson[(slice(None), *inside)]:
                    muscle = muscle_called_bone((read.slices[inside] + 1) / 2, bone > _CALLED)
                    bone[muscle] = _UNSURE
            except ValueError:
                say(f"The brightness of MRI {number} tells no muscle from marrow, so nothing is taken back there.")
        lessons[case.name] = packed(lesson)
    with replacing(file) as beside:
        beside.write_bytes(save(lessons))


def lesson_of(segmenter: HipSegmenter, image: sitk.Image) -> np.ndarray:
    """
    Args:
        segmenter: with a model of slabs.
        image: an MRI, whose slices are read in the mirror, too, and each with its neighbours.

    Returns:
        Probability of hip bone and femur, float32 (2, slice, row, column) of the slices that a training reads; 0 where
        bone is not plausible.

    Raises:
        HipError: as for segmenting.
    """
    plane, read_as = plane_to_read(image), segmenter.package.manifest
    grid = slice_grid(image, plane, read_as.slab)
    try:
        result = segmenter.segment(image)
        plausible = plausible_bone(result.labels, result.notices, grid)
    except HipError as error:
        if error.kind != "no_hip":
            raise
        plausible = np.ones(grid.size[::-1], bool)
    read = prepare_slices(image, plane, "MR", read_as.slab, read_as.intensity, read_as.slab_unet.multiple)
    # In sagittal slices a mirror image would be that of a patient who faces the other way.
    in_the_mirror_too = plane != "sagittal"
    bones = segmenter.inference.foreground(read.slices, lambda share: None, lambda: False, in_the_mirror_too)
    _, rows, columns = plausible.shape
    return steadied(bones)[..., :rows, :columns] * plausible


def plausible_bone(labels: sitk.Image, notices: Sequence[Notice], grid: Grid) -> np.ndarray:
    """
    Args:
        labels, notices: of a result; bone is whatever is not 0.

    Returns:
        bool, (slice, row, column) of ``grid``: within :data:`AROUND_MM` of the bones, or in the next slice; everywhere,
        where some may lack.
    """
    if any(notice.kind in _LACKING for notice in notices):
        return np.ones(grid.size[::-1], bool)
    bones = grid.resample(labels, sitk.sitkNearestNeighbor, 0) > 0
    bones.SetSpacing((np.array(grid.spacing) / reach_along(grid.spacing, AROUND_MM)).tolist())
    distance = sitk.SignedMaurerDistanceMap(bones, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return sitk.GetArrayFromImage(distance) <= 1


def packed(bones: np.ndarray) -> np.ndarray:
    """Probabilities in 255 steps; most of an MRI is no bone, so little is left."""
    return np.frombuffer(zlib.compress(np.round(255 * bones).astype(np.uint8).tobytes(), level=1), np.uint8)


def read_lessons(file: Path, cases: Sequence[Case], shapes: Sequence[tuple[int, int, int]]) -> list[np.ndarray]:
    """What :func:`write_lessons` kept, case by case: uint8 (2, slice, row, column), 255 for a probability of 1.

    Args:
        shapes: (slices, rows, columns) of the cases.

    Raises:
        HipError: ``damaged_checkpoint``.
    """
    try:
        kept = load_file(file)
        return [_unpacked(kept[case.name], (_BONES, *shape)) for case, shape in zip(cases, shapes, strict=True)]
    except Exception as error:  # safetensors and zlib raise their own kinds
        raise damaged_checkpoint(file, repr(error)) from error


def _unpacked(packed_bones: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    # No more than there should be: a few bytes may claim to hold gigabytes.
    bones = zlib.decompressobj().decompress(packed_bones.tobytes(), int(np.prod(shape)) + 1)
    return np.frombuffer(bones, np.uint8).reshape(shape)
