"""From an MRI to the bones of its hips: every step in its order, the same for Slicer, command line and evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.anatomy.bones import separate_sides
from HipICMSCLib.anatomy.doubts import Notice
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads, find_femoral_heads
from HipICMSCLib.anatomy.heads_of_bones import LEAST_APART_MM, heads_of_bones
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.progress import Progress
from HipICMSCLib.models.package import ModelPackage, read_package
from HipICMSCLib.networks.devices import choose_device, device_name
from HipICMSCLib.networks.doubt import Doubt, disagreement, slices_through_bone, unsure_of_bone
from HipICMSCLib.networks.inference import Precision, SliceInference
from HipICMSCLib.networks.steadied import steadied
from HipICMSCLib.preprocessing.crop import prepare
from HipICMSCLib.preprocessing.geometry import PLANES, from_coronal_slices
from HipICMSCLib.preprocessing.image_check import check_volume, no_mri
from HipICMSCLib.preprocessing.mapping_back import classes_and_confidence
from HipICMSCLib.preprocessing.slabs import Plane, acquisition_plane, prepare_slices

#: Stage names in their order, with the share of the whole time that each takes on a CPU.
STAGES = {"finding the hips": 0.1, "preparing": 0.05, "segmenting": 0.65, "mapping back": 0.1, "separating bones": 0.1}

Quality = Literal["standard", "high"]


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
        doubt: how far all this is to be doubted, by the network itself.
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
    doubt: Doubt
    device: str
    precision: str


@dataclass(frozen=True)
class _Found:
    """What the network found, on the input's grid; ``slices`` is how many it read."""

    classes: sitk.Image
    confidence: sitk.Image
    heads: FemoralHeads
    slices: int
    doubt: Doubt


class HipSegmenter:
    """A model, loaded once and used for many volumes."""

    def __init__(
        self,
        package: ModelPackage | Path,
        device: str = "auto",
        precision: Precision | None = None,
        quality: Quality = "standard",
    ) -> None:
        """
        Args:
            package: a model package or its file.
            device: auto, cpu, cuda or mps.
            precision: None takes the device's fast one as long as that changes no more than 0.1 % of the pixels.
            quality: high averages over mirror images and, where voxels are even, over planes; a model that reads a crop
                has no other quality than standard.

        Raises:
            HipError: for a bad package or device.
        """
        self.package = package if isinstance(package, ModelPackage) else read_package(package)
        self.quality = quality
        self.inference = SliceInference(
            self.package.network(), choose_device(device), precision, self.package.neighbours
        )

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
            HipError: for an image that cannot be segmented (see image_check), ``labels_given``, ``ct_given``,
                ``no_hip``, ``bad_points``, ``cancelled``, ``out_of_memory``.
        """
        watch = _Stopwatch(progress, cancelled)
        check_volume(image, "The image")
        judged = no_mri(image)
        if judged is not None:
            raise judged
        if heads is not None:
            _check_points(heads, image)
        self.inference.forget_volume()
        read = self._read_crop if self.package.manifest.crop else self._read_slices
        found = read(image, heads, watch)
        with watch.stage("separating bones"):
            bones = separate_sides(found.classes, found.heads, found.confidence)
        if self.package.manifest.slab and not any(bones.volumes_ml.values()):
            raise HipError("no_hip", "No hip bone and no femur was found; check that the image is an MRI of a hip.")
        return Result(
            labels=bones.labels,
            classes=found.classes,
            confidence=found.confidence,
            heads=found.heads,
            volumes_ml=bones.volumes_ml,
            notices=bones.notices,
            fallbacks=tuple(self.inference.fallbacks),
            seconds=watch.seconds,
            slices=found.slices,
            doubt=found.doubt,
            device=self.device_name,
            precision=self.inference.precision.name,
        )

    def _read_crop(self, image: sitk.Image, heads: FemoralHeads | None, watch: _Stopwatch) -> _Found:
        """The paper's way: coronal slices of a crop about the femoral heads."""
        manifest = self.package.manifest
        with watch.stage("finding the hips"):
            heads = heads or find_femoral_heads(image)
        with watch.stage("preparing"):
            prepared = prepare(image, heads, "MR", manifest.crop, manifest.intensity)
        with watch.stage("segmenting"):
            foreground = self.inference.foreground(prepared.slices, watch.within, watch.cancelled)
            doubt = self._doubt(prepared.slices, foreground, watch)
        with watch.stage("mapping back"):
            volumes = [from_coronal_slices(probabilities, prepared.grid) for probabilities in foreground]
            classes, confidence = classes_and_confidence([volumes], image)
        return _Found(classes, confidence, heads, len(prepared.slices), doubt)

    def _read_slices(self, image: sitk.Image, heads: FemoralHeads | None, watch: _Stopwatch) -> _Found:
        """A slab U-Net's way: all slices of the volume, in the plane in which they were acquired."""
        manifest = self.package.manifest
        with watch.stage("preparing"):
            slices = [
                prepare_slices(image, plane, "MR", manifest.slab, manifest.intensity, manifest.slab_unet.multiple)
                for plane in self._planes(image)
            ]
        readings, doubts, read = [], [], 0
        with watch.stage("segmenting"):
            for number, prepared in enumerate(slices):
                # In sagittal slices a mirror image would be that of a patient who faces the other way.
                mirrored = self.quality == "high" and prepared.plane != "sagittal"
                within = partial(_part, watch.within, number / len(slices), 1 / len(slices))
                foreground = self.inference.foreground(prepared.slices, within, watch.cancelled, mirrored)
                doubts.append(self._doubt(prepared.slices, foreground, watch, prepared.plane, mirrored))
                readings.append([prepared.grid.image(probabilities) for probabilities in steadied(foreground)])
                read += len(prepared.slices)
        with watch.stage("mapping back"):
            classes, confidence = classes_and_confidence(readings, image)
        with watch.stage("finding the hips"):
            heads = heads or heads_of_bones(classes)
        return _Found(classes, confidence, heads, read, _greatest(doubts))

    def _doubt(
        self,
        slices: np.ndarray,
        foreground: np.ndarray,
        watch: _Stopwatch,
        plane: Plane = "coronal",
        averaged: bool = False,
    ) -> Doubt:
        """
        Args:
            averaged: whether ``foreground`` is the mean of the slices as they are and of their mirror images.
        """
        unsure, numbers = unsure_of_bone(foreground), slices_through_bone(foreground)
        if plane == "sagittal":
            return Doubt(unsure, None)
        if not numbers:
            return Doubt(unsure, 0.0)
        mirrored, straight = self.inference.in_the_mirror(slices, numbers, watch.cancelled), foreground[:, numbers]
        return Doubt(unsure, disagreement(2 * straight - mirrored if averaged else straight, mirrored))

    def _planes(self, image: sitk.Image) -> tuple[Plane, ...]:
        """In which planes to read an image: as acquired; one of even voxels in all planes where that is asked for."""
        acquired = acquisition_plane(image)
        if acquired:
            return (acquired,)
        return PLANES if self.quality == "high" else ("coronal",)


def _part(progress: Callable[[float], None], start: float, length: float, share: float) -> None:
    """Tell a part's share as that of the whole."""
    progress(start + length * share)


def _greatest(doubts: list[Doubt]) -> Doubt:
    """That of several readings."""
    mirrored = [doubt.mirrored for doubt in doubts if doubt.mirrored is not None]
    return Doubt(max(doubt.unsure for doubt in doubts), max(mirrored, default=None))


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
    if len(points) < 2:
        return
    apart = float(np.linalg.norm(np.subtract(points["right"], points["left"])))
    if apart < LEAST_APART_MM:
        raise HipError(
            "bad_points", f"The femoral heads' centres lie {apart:.0f} mm apart; give one in each hip, or only one."
        )
    if points["right"][0] >= points["left"][0]:
        raise HipError(
            "bad_points", "The right femoral head's centre lies to the left of the left one's; exchange the points."
        )


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
