"""What a scene remembers of the review of a result: its doubtful places, which were looked at, and its confidence map.

Everything is kept in nodes, so that it is saved with the scene and moves with the result.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import slicer

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import from_json, to_json
from HipICMSCLib.gui.scene.mrml import image_of
from HipICMSCLib.gui.scene.result import put_beside
from HipICMSCLib.gui.scene.views import centre_views_on
from HipICMSCLib.preprocessing.geometry import same_geometry

_PLACES = "HipICMSC.DoubtfulPlaces"
_DOUBT = "HipICMSC.Doubt"
_MAP, _MAP_OF = "HipICMSC.confidenceMap", "HipICMSC.confidenceMapOf"
#: In a slice composite node that shows a map: what it showed before.
_FOREGROUND_BEFORE = "HipICMSC.foregroundBefore"
_OPACITY_BEFORE = "HipICMSC.OpacityBefore"

#: From yellow, where two classes are even, to red: the brightness falls all the way, so colour blindness takes nothing.
_COLORS = "vtkMRMLColorTableNodeWarm1"
_WINDOW_PERCENT = (50, 100)
#: What is surer, and what the network did not see, is left uncoloured so that the MRI can be read.
_COLORED_PERCENT = (1, 95)
_OPACITY = 0.5


@dataclass(frozen=True)
class ReviewPlace:
    """A place to look at.

    Attributes:
        point_ras: RAS mm as displayed now.
        doubt: mean doubt of the network around it, 0 to 1.
        bone: the nearest bone's short name; empty where no bone was found.
        visited: whether somebody went there.
    """

    point_ras: tuple[float, float, float]
    doubt: float
    bone: str
    visited: bool


@dataclass(frozen=True)
class _Memory:
    """As it is written into the segmentation node; here the points are RAS mm in that node's own coordinates."""

    places: tuple[ReviewPlace, ...] = ()
    current: int | None = None


def store_places(segmentation_node, places: Sequence[dict[str, Any]]) -> None:
    """Keep the places of a new result, none of them visited.

    Args:
        places: worst first, each with ``point_lps`` (LPS mm as displayed), ``doubt`` and ``bone``; see review.Place.
    """
    remembered = []
    for place in places:
        x, y, z = place["point_lps"]
        point = [0.0, 0.0, 0.0]
        segmentation_node.TransformPointFromWorld((-x, -y, z), point)
        remembered.append(ReviewPlace(tuple(point), place["doubt"], place["bone"], False))
    _write(segmentation_node, _Memory(tuple(remembered)))


def store_doubt(segmentation_node, share: float | None) -> None:
    """Keep how much of the bones of a new result is doubtful, 0 to 1."""
    segmentation_node.SetAttribute(_DOUBT, None if share is None else f"{share:.3f}")


def doubt_of(segmentation_node) -> float | None:
    """What :func:`store_doubt` kept; None where nothing is known."""
    try:
        return float(segmentation_node.GetAttribute(_DOUBT) or "")
    except ValueError:
        return None


class Review:
    """Goes through the places of a segmentation node; all it knows is in the node."""

    def __init__(self, segmentation_node) -> None:
        self._node = segmentation_node

    @property
    def places(self) -> list[ReviewPlace]:
        """Worst first; none where the node has none or they cannot be read."""
        return [self._displayed(place) for place in _read(self._node).places]

    @property
    def current(self) -> int | None:
        """Where the reader went last."""
        return _read(self._node).current

    @property
    def visited_count(self) -> int:
        return sum(place.visited for place in _read(self._node).places)

    @property
    def upcoming(self) -> int | None:
        """Where :meth:`next` goes: the next place that was not visited, or the next one if all were."""
        memory = _read(self._node)
        count = len(memory.places)
        if not count:
            return None
        start = 0 if memory.current is None else memory.current + 1
        order = [(start + i) % count for i in range(count)]
        return next((i for i in order if not memory.places[i].visited), order[0])

    def next(self) -> None:
        if self.upcoming is not None:
            self.go_to(self.upcoming)

    def back(self) -> None:
        """To the place before, if there is one."""
        if self.current:
            self.go_to(self.current - 1)

    def go_to(self, index: int) -> None:
        """Centre the views on a place and remember that it was visited."""
        memory = _read(self._node)
        places = list(memory.places)
        places[index] = replace(places[index], visited=True)
        _write(self._node, _Memory(tuple(places), index))
        centre_views_on(self._displayed(places[index]).point_ras)

    def _displayed(self, place: ReviewPlace) -> ReviewPlace:
        point = [0.0, 0.0, 0.0]
        self._node.TransformPointToWorld(place.point_ras, point)
        return replace(place, point_ras=tuple(point))


def read_confidence_map(path: Path, volume_node) -> sitk.Image:
    """The confidence map of a result: uint8, in per cent on the grid of the volume as `mrml.image_of` gives it.

    Raises:
        HipError: ``unreadable`` or ``wrong_geometry``.
    """
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise HipError("unreadable", "The confidence map of the result could not be read.", str(error)) from error
    if not same_geometry(image, image_of(volume_node)):
        raise HipError(
            "wrong_geometry", "The volume was moved or changed while it was being segmented; segment it again."
        )
    return image


def add_confidence_map(image: sitk.Image, volume_node, segmentation_node):
    """Bring the confidence map of a result into the scene, in place of an older one.

    Args:
        image: as :func:`read_confidence_map` gives it.

    Returns:
        The vtkMRMLScalarVolumeNode, in the voxel grid of the volume and under its transform. It is hidden from lists
        of volumes, for it is no MRI, and not shown yet.
    """
    forget_confidence_map(segmentation_node)
    scene = volume_node.GetScene()
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(f"{volume_node.GetName()} confidence")
    # Before it is in the scene: no selector may choose it.
    node.HideFromEditorsOn()
    node.CopyOrientation(volume_node)
    node = scene.AddNode(node)
    node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_COLORS)
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*_WINDOW_PERCENT)
    display.SetThreshold(*_COLORED_PERCENT)
    display.ApplyThresholdOn()
    put_beside(node, volume_node)
    segmentation_node.SetNodeReferenceID(_MAP, node.GetID())
    node.SetNodeReferenceID(_MAP_OF, segmentation_node.GetID())
    return node


def confidence_map_of(segmentation_node):
    """The confidence map of a result, or None; a scene that is saved as single files comes back without its voxels."""
    node = _map_of(segmentation_node)
    return node if node is not None and node.GetImageData() is not None else None


def _map_of(segmentation_node):
    """The map of a segmentation, which a copy of that refers to, too, without owning it; older maps do not say whose
    they are."""
    node = segmentation_node.GetNodeReference(_MAP)
    if node is None or node.GetNodeReferenceID(_MAP_OF) not in (None, segmentation_node.GetID()):
        return None
    return node


def forget_confidence_map(segmentation_node) -> None:
    """Remove the map of a segmentation, if it has one; the views show again what they showed before it."""
    node = _map_of(segmentation_node)
    if node is None:
        return
    if is_confidence_map_shown(segmentation_node):
        _restore_foreground()
    for companion in (node.GetDisplayNode(), node.GetStorageNode(), node):
        if companion is not None:
            node.GetScene().RemoveNode(companion)


def is_confidence_map_shown(segmentation_node) -> bool:
    """Whether any slice view shows it."""
    node = _map_of(segmentation_node)
    return node is not None and any(view.GetForegroundVolumeID() == node.GetID() for view in _composites())


def show_confidence_map(segmentation_node, shown: bool) -> None:
    """Lay the map over what the slice views show, or take it away and show again what was there before."""
    _restore_foreground()
    node = confidence_map_of(segmentation_node)
    if not shown or node is None:
        return
    for view in _composites():
        view.SetNodeReferenceID(_FOREGROUND_BEFORE, view.GetForegroundVolumeID())
        view.SetNodeReferenceID(_MAP, node.GetID())
        view.SetAttribute(_OPACITY_BEFORE, repr(view.GetForegroundOpacity()))
        view.SetForegroundVolumeID(node.GetID())
        view.SetForegroundOpacity(_OPACITY)


def _restore_foreground() -> None:
    """In every view that shows a map of ours; one in which the user has chosen something else since is left alone."""
    for view in _composites():
        opacity = view.GetAttribute(_OPACITY_BEFORE)
        if opacity is None:
            continue
        if view.GetForegroundVolumeID() == view.GetNodeReferenceID(_MAP):
            view.SetForegroundVolumeID(view.GetNodeReferenceID(_FOREGROUND_BEFORE))
            view.SetForegroundOpacity(float(opacity))
        view.RemoveAttribute(_OPACITY_BEFORE)
        view.SetNodeReferenceID(_FOREGROUND_BEFORE, None)
        view.SetNodeReferenceID(_MAP, None)


def _composites() -> list:
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


def _read(segmentation_node) -> _Memory:
    """Nothing where there is nothing or where it was damaged: a review can be done without."""
    try:
        memory = from_json(_Memory, json.loads(segmentation_node.GetAttribute(_PLACES) or "{}"))
    except (HipError, ValueError, TypeError):
        return _Memory()
    if memory.current is not None and not 0 <= memory.current < len(memory.places):
        return replace(memory, current=None)
    return memory


def _write(segmentation_node, memory: _Memory) -> None:
    segmentation_node.SetAttribute(_PLACES, json.dumps(to_json(memory)))
