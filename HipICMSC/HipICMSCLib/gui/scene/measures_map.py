"""The coverage of a femoral head as a coloured model: its sphere, with what the socket covers in another colour."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from scipy.spatial import ConvexHull
from slicer.i18n import tr as _
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

from HipICMSCLib.gui.scene.measures_marks import put_into_folder
from HipICMSCLib.gui.scene.mrml import parent_to_world
from HipICMSCLib.measures.coverage import DIRECTIONS
from HipICMSCLib.measures.side import mirrored

_ROLE, _COLORS = "HipICMSC.coverage.", "HipICMSC.coverageColors"
_SCALARS = "Covered"
#: Outside the head's surface, so that it is seen.
_OUTSIDE_MM = 0.5
# Light against dark, yellow against blue: no colour blindness takes both.
_UNCOVERED, _COVERED = (0.98, 0.83, 0.45), (0.13, 0.38, 0.68)


def coverage_model(table_node, side: str):
    """The vtkMRMLModelNode of a side, or None."""
    return table_node.GetNodeReference(_ROLE + side)


def show_coverage(table_node, side: str, coverage: dict[str, Any]) -> None:
    """Bring the coverage of a side into the scene, hidden until it is asked for; nothing is left where it is not known.

    Args:
        coverage: as the worker says it, see worker/measuring.py.
    """
    scene = table_node.GetScene()
    node = coverage_model(table_node, side)
    if not coverage["covered"]:
        if node is not None:
            scene.RemoveNode(node)
        return
    if node is None:
        name = _("R_CoverageMap") if side == "right" else _("L_CoverageMap")
        node = scene.AddNewNodeByClass("vtkMRMLModelNode", name)
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetVisibility(False)
        measured = table_node.GetNodeReference("HipICMSC.measured")
        node.SetAndObserveTransformNodeID(measured and measured.GetTransformNodeID())
        table_node.SetNodeReferenceID(_ROLE + side, node.GetID())
        put_into_folder(table_node, node, side)
    node.SetAndObservePolyData(_sphere(node, side, coverage))
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_colors(table_node).GetID())
    display.SetActiveScalarName(_SCALARS)
    display.SetScalarRangeFlag(display.UseManualScalarRange)
    display.SetScalarRange(0, 1)
    display.SetScalarVisibility(True)


def is_coverage_shown(table_node) -> bool:
    """Whether the map of a side is seen."""
    nodes = [coverage_model(table_node, side) for side in ("right", "left")]
    return any(node is not None and node.GetDisplayNode().GetVisibility() for node in nodes)


def set_coverage_shown(table_node, shown: bool) -> None:
    """Show or hide the maps of both sides."""
    for side in ("right", "left"):
        node = coverage_model(table_node, side)
        if node is not None:
            node.GetDisplayNode().SetVisibility(shown)


@functools.cache
def _triangles() -> np.ndarray:
    """(n, 3) indices into `DIRECTIONS`, of the sphere that they make; counter-clockwise seen from outside."""
    corners = ConvexHull(DIRECTIONS).simplices
    a, b, c = (DIRECTIONS[corners[:, number]] for number in range(3))
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), a) < 0
    corners[inward] = corners[inward][:, ::-1]
    return corners


def _sphere(node, side: str, coverage: dict[str, Any]) -> vtkPolyData:
    lps = mirrored(DIRECTIONS, side)
    points = (np.array(coverage["centre"]) + (coverage["radius"] + _OUTSIDE_MM) * lps) * (-1, -1, 1)
    # A right hip's coordinates are RAS, a left one's are its mirror image.
    corners = _triangles() if side == "right" else _triangles()[:, ::-1]
    offsets = numpy_to_vtkIdTypeArray(np.arange(0, corners.size + 1, 3, np.int64), deep=True)
    triangles = vtkCellArray()
    triangles.SetData(offsets, numpy_to_vtkIdTypeArray(np.ascontiguousarray(corners, np.int64).ravel(), deep=True))
    covered = numpy_to_vtk(np.array([digit == "1" for digit in coverage["covered"]], np.uint8), deep=True)
    covered.SetName(_SCALARS)
    made = vtkPoints()
    made.SetData(numpy_to_vtk(_in_parent(node, points), deep=True))
    sphere = vtkPolyData()
    sphere.SetPoints(made)
    sphere.SetPolys(triangles)
    sphere.GetPointData().SetScalars(covered)
    return sphere


def _in_parent(node, points_ras: np.ndarray) -> np.ndarray:
    """World points in the coordinates of a node that may be under a transform."""
    from_world = np.linalg.inv(parent_to_world(node))
    return points_ras @ from_world[:3, :3].T + from_world[:3, 3]


def _colors(table_node):
    node = table_node.GetNodeReference(_COLORS)
    if node is None:
        node = table_node.GetScene().CreateNodeByClass("vtkMRMLColorTableNode")
        node.UnRegister(None)
        node.SetName(_("Coverage"))
        node.SetTypeToUser()
        node.SetNumberOfColors(2)
        node.SetColor(0, _("not covered"), *_UNCOVERED, 1.0)
        node.SetColor(1, _("covered"), *_COVERED, 1.0)
        node = table_node.GetScene().AddNode(node)
        table_node.SetNodeReferenceID(_COLORS, node.GetID())
    return node
