"""Markups of measures in the scene: a folder a side, points that a user may move, and what was moved.

Moved points are known by attributes of their node alone, so they are saved, undone and copied with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from HipICMSCLib.gui.scene.views import centre_views_on
from HipICMSCLib.measures.frame import LANDMARKS, Frame
from HipICMSCLib.measures.measure import Mark
from HipICMSCLib.measures.skeleton import Followed, MovedPoints, Point

_ROLE = "HipICMSC.mark."
_MOVED, _AUTOMATIC = "HipICMSC.Moved", "HipICMSC.AutomaticPoints"
_CLASSES = {
    "Fiducial": "vtkMRMLMarkupsFiducialNode",
    "Line": "vtkMRMLMarkupsLineNode",
    "Angle": "vtkMRMLMarkupsAngleNode",
    "ClosedCurve": "vtkMRMLMarkupsClosedCurveNode",
    "Plane": "vtkMRMLMarkupsPlaneNode",
}
_SIDES = {"R": "right", "L": "left"}
#: Of the points of a mark, what moving each means; all other points, and all other marks, are locked.
_MEANING: dict[str, dict[int, str]] = {
    "HeadCentre": {0: "head_centre"},
    "HeadRadius": {1: "head_radius"},
    "LCEA": {2: "rim"},
    "LCEA_AP": {2: "rim"},
    "ACEA": {2: "rim"},
    "AV_central": {0: "rim", 1: "rim"},
    "AV_cranial": {0: "rim", 1: "rim"},
    "Rim": {number: "rim" for number in range(24)},
    "Roof": {0: "roof_medial", 1: "rim"},
    "AI": {1: "roof_medial", 2: "rim"},
    "NeckAxis": {1: "neck_base"},
    **{f"Alpha_{hour}": {2: "exit"} for hour in ("1200", "0100", "0130", "0200", "0300")},
    "ShaftAxis": {0: "shaft_upper", 1: "shaft_lower"},
}
#: The landmarks of the pelvis's frame, in the order of `LANDMARKS`, and its plane: of both sides.
FRAME_LANDMARKS, _FRAME_PLANE = "PelvicLandmarks", "PelvicFrame"
_EDITABLE, _DERIVED = (1.0, 0.85, 0.1), (0.65, 0.65, 0.65)


def marks_of(table_node) -> dict[str, Any]:
    """The markups nodes of a table's measures by name, e.g. ``"R_LCEA"``."""
    roles: list[str] = []
    table_node.GetNodeReferenceRoles(roles)
    nodes = {role.removeprefix(_ROLE): table_node.GetNodeReference(role) for role in roles if role.startswith(_ROLE)}
    return {name: node for name, node in nodes.items() if node is not None}


def mark_steps(table_node, documents: dict[str, dict[str, Any]]) -> list[Callable[[], None]]:
    """What is to be done one after the other until the scene has these markups: one a step, for Slicer draws each.

    Args:
        documents: by name, as in .mrk.json files; see results/morphometry_markups.py.
    """

    def remove() -> None:
        for name, node in marks_of(table_node).items():
            # What a user has moved stays, also where its measure is refused now.
            if name not in documents and not _moved(node):
                table_node.GetScene().RemoveNode(node)

    def show(name: str) -> Callable[[], None]:
        def step() -> None:
            if table_node.GetScene() is not None:
                _show_mark(table_node, name, documents[name]["markups"][0])

        return step

    return [lambda: table_node.GetScene() and remove(), *map(show, documents)]


def moved_points(table_node) -> dict[str, MovedPoints]:
    """What the user has moved, by side; a side where nothing was moved is left out."""
    found: dict[str, dict[str, Any]] = {}
    for name, node in marks_of(table_node).items():
        for number in _moved(node) if name != FRAME_LANDMARKS else []:
            point = _point_lps(node, number)
            of_side = found.setdefault(_SIDES[name[0]], {"rim_points": [], "exits": {}})
            meaning = _MEANING[name[2:]][number]
            if meaning == "rim":
                of_side["rim_points"].append(point)
            elif meaning == "exit":
                of_side["exits"][name[2:]] = point
            elif meaning == "head_radius":
                # From the line's own start: a centre that is being dragged takes the line with it only afterwards.
                of_side["head_radius"] = float(np.linalg.norm(np.subtract(point, _point_lps(node, 0))))
            else:
                of_side[meaning] = point
    return {side: MovedPoints(**(parts | {"rim_points": tuple(parts["rim_points"])})) for side, parts in found.items()}


def moved_landmarks(table_node) -> dict[str, Point]:
    """The landmarks of the pelvis's frame by name, LPS, if the user has moved any; else none."""
    node = marks_of(table_node).get(FRAME_LANDMARKS)
    if node is None or not _moved(node):
        return {}
    return {name: _point_lps(node, number) for number, name in enumerate(LANDMARKS)}


def show_frame(table_node, frame: Frame) -> None:
    """Put the plane of the pelvis's frame where its landmarks are."""
    node = marks_of(table_node).get(_FRAME_PLANE)
    if node is not None:
        _place_plane(node, np.mean(list(frame.landmarks.values()), axis=0), frame.axes[1], None)


def note_moved(node, name: str) -> bool:
    """Remember which points of a mark are not where they were put; whether there are any."""
    automatic = json.loads(node.GetAttribute(_AUTOMATIC) or "[]")
    movable = _movable(name)
    moved = set(_moved(node))
    for number, point in enumerate(automatic[: node.GetNumberOfControlPoints()]):
        if number in movable and number not in moved:
            off = np.subtract(node.GetNthControlPointPosition(number), point)
            if np.abs(off).max() > 1e-3:
                moved.add(number)
    if moved:
        node.SetAttribute(_MOVED, json.dumps(sorted(moved)))
    return bool(moved)


def follow_in_marks(table_node, side: str, followed: Followed, dragged=None) -> None:
    """Put points where the moved ones lead them; those of the node that is being dragged stay under the mouse."""
    nodes = marks_of(table_node)
    for value in followed.values.values():
        for mark in value.marks:
            node = nodes.get(f"{side[0].upper()}_{mark.name}")
            if node is not None and node is not dragged:
                _place(node, mark)


def reset_marks(table_node) -> None:
    """All points back to where they were found."""
    for node in marks_of(table_node).values():
        if not _moved(node):
            continue
        node.RemoveAttribute(_MOVED)
        for number, point in enumerate(json.loads(node.GetAttribute(_AUTOMATIC) or "[]")):
            node.SetNthControlPointPosition(number, *point)


def show_marks(table_node, names: tuple[str, ...], everything: bool) -> None:
    """Show these markups, or all, in slice and 3D views."""
    for name, node in marks_of(table_node).items():
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetVisibility(everything or name in names)


def jump_to(table_node, names: tuple[str, ...], side: str) -> bool:
    """Centre the views on the place of a measure, or on the head centre where it has none; whether there was one."""
    nodes = marks_of(table_node)
    for name in (*names, f"{side[0].upper()}_HeadCentre"):
        node = nodes.get(name)
        if node is None:
            continue
        points = [_point_ras(node, number) for number in range(node.GetNumberOfControlPoints())]
        # An angle's place is where its last arm ends: at the edge, or where the surface leaves the sphere.
        point = points[-1] if node.IsA("vtkMRMLMarkupsAngleNode") else np.mean(points, axis=0)
        centre_views_on(tuple(float(value) for value in point))
        return True
    return False


def side_folder(table_node, side: str) -> int:
    """The folder of a side in the subject hierarchy, beside the table; made where there is none."""
    scene = table_node.GetScene()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    for name, node in marks_of(table_node).items():
        item = hierarchy.GetItemByDataNode(node)
        if item and _SIDES.get(name[0]) == side and name[1] == "_":
            parent = hierarchy.GetItemParent(item)
            if hierarchy.GetItemLevel(parent) == "Folder" and hierarchy.GetItemAttribute(parent, _ROLE + side):
                return parent
    item = hierarchy.GetItemByDataNode(table_node)
    beside = hierarchy.GetItemParent(item) if item else hierarchy.GetSceneItemID()
    name = _("{table}, right hip") if side == "right" else _("{table}, left hip")
    folder = hierarchy.CreateFolderItem(beside, name.format(table=table_node.GetName()))
    hierarchy.SetItemAttribute(folder, _ROLE + side, "1")
    return folder


def put_into_folder(table_node, node, side: str) -> None:
    """Into the folder of a side."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(table_node.GetScene())
    hierarchy.CreateItem(side_folder(table_node, side), node)


@contextmanager
def points_at_rest(nodes) -> Iterator[None]:
    """Tell of changed points once, when all are changed."""
    states = [(node, node.StartModify()) for node in nodes]
    try:
        yield
    finally:
        for node, state in states:
            node.EndModify(state)


def _show_mark(table_node, name: str, markup: dict[str, Any]) -> None:
    node = marks_of(table_node).get(name)
    if node is None:
        node = table_node.GetScene().AddNewNodeByClass(_CLASSES[markup["type"]], name)
        node.SetUndoEnabled(True)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetVisibility(False)
        table_node.SetNodeReferenceID(_ROLE + name, node.GetID())
        # Measures are of the segmentation as displayed, and move with it.
        node.SetAndObserveTransformNodeID(_transform_of(table_node))
        if name[1] == "_":
            put_into_folder(table_node, node, _SIDES[name[0]])
        _set_looks(node, display, name)
    positions = [point["position"] for point in markup["controlPoints"]]
    if markup["type"] == "Plane":
        _place_plane(node, positions[0], markup["normal"], markup["size"])
    else:
        labels = [point["label"] for point in markup["controlPoints"]]
        _place_points(node, positions, labels)
    _lock(node, name)
    if not _moved(node):
        points = [node.GetNthControlPointPosition(number) for number in range(node.GetNumberOfControlPoints())]
        node.SetAttribute(_AUTOMATIC, json.dumps(points))


def _set_looks(node, display, name: str) -> None:
    color = _EDITABLE if _movable(name) else _DERIVED
    display.SetColor(*color)
    display.SetSelectedColor(*color)
    display.SetGlyphScale(1.5)
    display.SetTextScale(2.5)
    display.SetPointLabelsVisibility(node.IsA("vtkMRMLMarkupsFiducialNode"))
    display.SetPropertiesLabelVisibility(not node.IsA("vtkMRMLMarkupsFiducialNode"))


def _lock(node, name: str) -> None:
    movable = _movable(name)
    node.SetFixedNumberOfControlPoints(True)
    node.SetLocked(not movable)
    for number in range(node.GetNumberOfControlPoints()):
        node.SetNthControlPointLocked(number, number not in movable)


def _movable(name: str) -> set[int]:
    """Which points of a mark a user may move."""
    return set(range(len(LANDMARKS))) if name == FRAME_LANDMARKS else set(_MEANING.get(name[2:], {}))


def _place(node, mark: Mark) -> None:
    if mark.kind == "plane":
        _place_plane(node, mark.points[0], mark.points[1] - mark.points[0], None)
    else:
        _place_points(node, mark.points, None)


def _place_points(node, positions_lps, labels: list[str] | None) -> None:
    with points_at_rest([node]):
        node.SetFixedNumberOfControlPoints(False)
        while node.GetNumberOfControlPoints() > len(positions_lps):
            node.RemoveNthControlPoint(node.GetNumberOfControlPoints() - 1)
        for number, (x, y, z) in enumerate(positions_lps):
            if number == node.GetNumberOfControlPoints():
                node.AddControlPointWorld((-x, -y, z))
            elif np.abs(np.subtract(_point_lps(node, number), (x, y, z))).max() > 1e-4:
                node.SetNthControlPointPositionWorld(number, (-x, -y, z))
            if labels is not None:
                node.SetNthControlPointLabel(number, labels[number])
        node.SetFixedNumberOfControlPoints(True)


def _place_plane(node, origin, normal, size) -> None:
    node.SetPlaneType(node.PlaneTypePointNormal)
    if size is not None:
        node.SetSizeMode(node.SizeModeAbsolute)
        node.SetSizeWorld((size[0], size[1]))
    node.SetOriginWorld((-origin[0], -origin[1], origin[2]))
    node.SetNormalWorld((-normal[0], -normal[1], normal[2]))


def _transform_of(table_node) -> str | None:
    measured = table_node.GetNodeReference("HipICMSC.measured")
    return None if measured is None else measured.GetTransformNodeID()


def _moved(node) -> list[int]:
    try:
        return list(json.loads(node.GetAttribute(_MOVED) or "[]"))
    except (ValueError, TypeError):
        return []


def _point_ras(node, number: int) -> np.ndarray:
    return np.array(node.GetNthControlPointPositionWorld(number))


def _point_lps(node, number: int) -> tuple[float, float, float]:
    x, y, z = node.GetNthControlPointPositionWorld(number)
    return (-x, -y, z)
