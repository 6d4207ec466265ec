"""The markups of measures are nodes in a real scene: same points, same angle, and they survive being saved."""

from __future__ import annotations

import json

import numpy as np
import pytest
from HipICMSCLib.measures.morphometry import measure
from HipICMSCLib.results.morphometry_markups import write_markups
from HipICMSCTrainingLib.phantom.hip_labels import Sampling, hip_labels
from HipICMSCTrainingLib.phantom.hip_shapes import HipShapes

NODES = {
    "R_HeadCentre": "vtkMRMLMarkupsFiducialNode",
    "R_LCEA": "vtkMRMLMarkupsAngleNode",
    "R_Rim": "vtkMRMLMarkupsClosedCurveNode",
    "R_RimPlane": "vtkMRMLMarkupsPlaneNode",
    "R_AV_central": "vtkMRMLMarkupsLineNode",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    box = {"low": (-150, -60, -60), "high": (-30, 60, 50), "spacing": (1.2, 1.2, 1.2)}
    result = measure(hip_labels({"right": HipShapes(depth=-4.0, fossa_step=45.0)}, Sampling(**box)), repeats=0)
    folder = tmp_path_factory.mktemp("marks")
    write_markups(result, folder)
    return folder, {row.definition.id: row for row in result.rows}


def load(slicer_app, path, kind):
    node = slicer_app.scene.AddNewNodeByClass(kind)
    storage = slicer_app.scene.AddNode(node.CreateDefaultStorageNode())
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    node.SetAndObserveStorageNodeID(storage.GetID())
    return node, storage


@pytest.mark.parametrize("name", NODES)
def test_every_kind_loads_with_its_points_and_comes_back_from_a_file(slicer_app, written, tmp_path, name):
    folder, rows = written
    node, storage = load(slicer_app, folder / f"{name}.mrk.json", NODES[name])
    mark = next(m for row in rows.values() for m in row.marks if f"R_{m.name}" == name)
    count = 1 if mark.kind == "plane" else len(mark.points)
    assert node.GetNumberOfControlPoints() == count
    for number in range(count):
        ras = np.array(node.GetNthControlPointPositionWorld(number))
        assert np.allclose(ras * [-1, -1, 1], mark.points[number], atol=1e-4)
    if mark.kind == "plane":
        assert np.allclose(np.array(node.GetNormalWorld()) * [-1, -1, 1], mark.points[1] - mark.points[0], atol=1e-4)
    storage.SetFileName(str(tmp_path / "again.mrk.json"))
    assert storage.WriteData(node) == 1
    again, _ = load(slicer_app, tmp_path / "again.mrk.json", NODES[name])
    assert again.GetNumberOfControlPoints() == count
    assert np.allclose(again.GetNthControlPointPositionWorld(0), node.GetNthControlPointPositionWorld(0), atol=1e-4)


def test_the_angle_that_slicer_shows_is_the_measure(slicer_app, written):
    folder, rows = written
    node, _ = load(slicer_app, folder / "R_LCEA.mrk.json", NODES["R_LCEA"])
    assert node.GetAngleDegrees() == pytest.approx(rows["LCEA"].value, abs=0.05)
    assert node.GetFixedNumberOfControlPoints()


def test_all_markups_come_back_from_a_saved_scene_as_they_were(slicer_app, written, tmp_path):
    """A surgeon saves the scene (.mrb): names, points, which may be moved, and the angle that is shown."""
    folder, _ = written
    before = {}
    for path in sorted(folder.glob("*.mrk.json")):
        kind = json.loads(path.read_text(encoding="utf-8"))["markups"][0]["type"]
        node, _ = load(slicer_app, path, f"vtkMRMLMarkups{kind}Node")
        node.SetName(f"saved {path.name}")
        before[node.GetName()] = state(node)
    assert len(before) > 15
    assert slicer_app.io_manager.write_scene(tmp_path / "measures.mrb")
    for name in before:
        slicer_app.scene.RemoveNode(slicer_app.scene.GetFirstNodeByName(name))
    assert slicer_app.io_manager.load_scene(tmp_path / "measures.mrb")
    for name, was in before.items():
        now = state(slicer_app.scene.GetFirstNodeByName(name))
        assert now[:3] == was[:3], name
        assert np.allclose(now[3], was[3], atol=1e-3), name


def state(node):
    points = [node.GetNthControlPointPositionWorld(n) for n in range(node.GetNumberOfControlPoints())]
    if node.IsA("vtkMRMLMarkupsAngleNode"):
        points.append((node.GetAngleDegrees(), 0.0, 0.0))
    return node.GetClassName(), node.GetLocked(), node.GetFixedNumberOfControlPoints(), np.array(points)
