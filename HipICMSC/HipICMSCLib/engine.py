"""From an MRI to the bones of its hips: every step in its order, the same for Slicer, command line and evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.anatomy.bones import Notice, separate_sides
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads, find_femoral_heads
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models.package import ModelPackage, read_package
from HipICMSCLib.networks.devices import choose_device, device_name
from HipICMSCLib.networks.inference import Precision, SliceInference
from HipICMSCLib.preprocessing.crop import prepare
from HipICMSCLib.preprocessing.geometry import Grid, from_coronal_slices
from HipICMSCLib.reading.volume import check_volume, looks_like_ct

#: Stage names in their order, with the share of the whole time that each takes on a CPU.
STAGES = {"finding the hips": 0.1, "preparing": 0.05, "segmenting": 0.65, "mapping back": 0.1, "separating bones": 0.1}

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Result:
    """What was found; every image lies exactly on the input's grid.

    Attributes:
        labels: uint8, values of `anatomy.segments.SEGMENTS` (1 right hip bone … 4 left femur), after clean-up.
        classes: uint8, the network's raw result: 0 background, 1 hip bone, 2 femur.
        confidence: float32, probability of the raw result's class; 0 outside the region that the network saw.
        heads: femoral head centres, LPS mm.
        volumes_ml: by segment value.
        notices: what the user should know, each a kind and a sentence.
        fallbacks: where the computation had to deviate from its plan, as sentences.
        seconds: by stage.
        slices: how many the network read.
    """

    labels: sitk.Image
    classes: sitk.Image
    confidence: sitk.Image
    heads: FemoralHeads
    volumes_ml: dict[int, float]
    notices: tuple[Notice, ...]
    fallbacks: tuple[str, ...]
    seconds: dict[str, float]
    slices: int
    device: str
    precision: str


class HipSegmenter:
    """A model, loaded once and used for many volumes."""

    def __init__(self, package: ModelPackage | Path, device: str = "auto", precision: Precision | None = None) -> None:
        """
        Args:
            package: a model package or its file.
            device: auto, cpu, cuda or mps.
            precision: None takes the device's fast one as long as that changes no more than 0.1 % of the pixels.

        Raises:
            HipError: for a bad package or device.
        """
        self.package = package if isinstance(package, ModelPackage) else read_package(package)
        self.inference = SliceInference(self.package.network(), choose_device(device), precision)

    @property
    def device_name(self) -> str:
        """What computes now, as a user would call it; a fallback may have changed it."""
        return device_name(self.inference.device)

    def segment(
        self,
        image: sitk.Image,
        heads: FemoralHeads | None = None,
        progress: Progress = lambda stage, share: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Result:
        """Segment one volume.

        Args:
            image: MRI of one or both hips, any orientation and spacing.
            heads: femoral head centres where they are known (LPS mm); otherwise they are looked for.
            progress: called with the stage's name and the share of the whole that is done, 0 to 1.
            cancelled: asked often; once it is true the call ends with the error ``cancelled``.

        Raises:
            HipError: for an image that cannot be segmented (see volume_input), ``ct_given``, ``no_hip``,
                ``bad_points``, ``cancelled``, ``out_of_memory``.
        """
        watch = _Stopwatch(progress, cancelled)
        manifest = self.package.manifest
        with watch.stage("finding the hips"):
            check_volume(image, "The image")
            if looks_like_ct(image):
                raise HipError("ct_given", "This looks like a CT, but the model segments MRI; choose an MRI.")
            if heads is None:
                heads = find_femoral_heads(image)
            else:
                _check_points(heads, image)
        with watch.stage("preparing"):
            prepared = prepare(image, heads, "MR", manifest.crop, manifest.intensity)
        with watch.stage("segmenting"):
            foreground = self.inference.foreground(prepared.slices, watch.within, cancelled)
        with watch.stage("mapping back"):
            classes, confidence = _onto_input(foreground, prepared.grid, image)
        with watch.stage("separating bones"):
            bones = separate_sides(classes, heads)
        return Result(
            labels=bones.labels,
            classes=classes,
            confidence=confidence,
            heads=heads,
            volumes_ml=bones.volumes_ml,
            notices=bones.notices,
            fallbacks=tuple(self.inference.fallbacks),
            seconds=watch.seconds,
            slices=len(prepared.slices),
            device=self.device_name,
            precision=self.inference.precision.name,
        )


def _check_points(heads: FemoralHeads, image: sitk.Image) -> None:
    """Refuse given femoral head centres that cannot be meant, such as points in another coordinate system."""
    points = {side: point for side, point in (("right", heads.right), ("left", heads.left)) if point is not None}
    if not points:
        raise HipError("bad_points", "At least one femoral head centre is needed.")
    for side, point in points.items():
        index = np.array(image.TransformPhysicalPointToContinuousIndex(point))
        if (index < -0.5).any() or (index > np.array(image.GetSize()) - 0.5).any():
            raise HipError(
                "bad_points", f"The {side} femoral head's centre lies outside the image; check the point (LPS, mm)."
            )
    if len(points) == 2 and points["right"][0] >= points["left"][0]:
        raise HipError(
            "bad_points", "The right femoral head's centre lies to the left of the left one's; exchange the points."
        )


def _onto_input(foreground: np.ndarray, grid: Grid, image: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """Classes and confidence on the input's voxels.

    Probabilities, not labels, are interpolated, so that outlines keep their place between the network's pixels. Only
    the part of the input within the crop is computed.
    """
    corner, size = _overlap(grid, image)
    part = sitk.RegionOfInterest(image, size, corner)
    target = Grid.of(part)
    probabilities = []
    for class_probabilities in foreground:
        volume = from_coronal_slices(class_probabilities, grid)
        probabilities.append(sitk.GetArrayFromImage(target.resample(volume, sitk.sitkLinear, 0.0)))
    inside = sitk.GetArrayFromImage(target.resample(grid.image(_ones(grid)), sitk.sitkNearestNeighbor, 0)) > 0
    stacked = np.stack([1.0 - sum(probabilities), *probabilities])
    classes = stacked.argmax(0).astype(np.uint8)
    confidence = np.where(inside, stacked.max(0), 0.0).astype(np.float32)
    return _pasted(classes, image, corner), _pasted(confidence, image, corner)


def _ones(grid: Grid) -> np.ndarray:
    return np.ones(grid.size[::-1], np.uint8)


def _overlap(grid: Grid, image: sitk.Image) -> tuple[list[int], list[int]]:
    """The smallest box of input voxels that holds all of the crop: first index and size."""
    crop = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    crop.SetSpacing(grid.spacing)
    crop.SetOrigin(grid.origin)
    crop.SetDirection(grid.direction)
    corners = np.array(
        [
            image.TransformPhysicalPointToContinuousIndex(
                crop.TransformContinuousIndexToPhysicalPoint(
                    [c * n - 0.5 for c, n in zip(corner, grid.size, strict=True)]
                )
            )
            for corner in np.ndindex(2, 2, 2)
        ]
    )
    last = np.array(image.GetSize()) - 1
    first = np.clip(np.floor(corners.min(axis=0)), 0, last).astype(int)
    final = np.clip(np.ceil(corners.max(axis=0)), 0, last).astype(int)
    return first.tolist(), (final - first + 1).tolist()


def _pasted(part: np.ndarray, image: sitk.Image, corner: list[int]) -> sitk.Image:
    """``part`` in an otherwise empty volume on the grid of ``image``."""
    whole = np.zeros(image.GetSize()[::-1], part.dtype)
    x, y, z = corner
    depth, height, width = part.shape
    whole[z : z + depth, y : y + height, x : x + width] = part
    return Grid.of(image).image(whole)


class _Stopwatch:
    """Times each stage and tells how far the whole is."""

    def __init__(self, progress: Progress, cancelled: Callable[[], bool]) -> None:
        self.progress, self.cancelled = progress, cancelled
        self.seconds: dict[str, float] = {}
        self._name = ""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        if self.cancelled():
            raise HipError("cancelled", "The segmentation was cancelled; nothing was changed.")
        self._name = name
        self.within(0.0)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started
        self.within(1.0)

    def within(self, share: float) -> None:
        """``share`` of the running stage is done."""
        before = sum(STAGES[name] for name in self.seconds if name != self._name)
        self.progress(self._name, before + share * STAGES[self._name])
