"""Volumes leave Slicer and results come back to the very voxels the user sees, whatever the volume's geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.errors import HipError
from HipICMSCLib.segmentation_file import write_segmentation
from HipICMSCLib.segments import SEGMENTS

c, s = np.cos(0.4), np.sin(0.4)
TURN = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
DIRECTIONS = {
    "axial": np.eye(3),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "flipped": np.diag([-1.0, -1.0, 1.0]),
    "left-handed": np.diag([1.0, 1.0, -1.0]),
    "oblique": TURN @ np.array([[0, 0, -1.0], [s, c, 0], [c, -s, 0]]),
}
SHAPE = (8, 9, 11)  # z, y, x
SPACING = np.array([0.9, 1.1, 5.2])
ORIGIN = np.array([-30.5, 12.25, 99.0])


@pytest.fixture
def mrml(slicer_app):
    """The module under test; the scene is as before afterwards."""
    from HipICMSCLib.gui import mrml

    scene = slicer_app.scene
    before = {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
    yield mrml
    for node in [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]:
        if node.GetID() not in before:
            scene.RemoveNode(node)


def volume_node(scene, direction: np.ndarray):
    """A volume of a ramp whose axes, in RAS, are the columns of ``direction``."""
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hip MRI")
    slicer.util.updateVolumeFromArray(node, np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = direction * SPACING, ORIGIN
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return node


def put_under(node, matrix: np.ndarray):
    import slicer

    transform = node.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def rigid() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = TURN @ DIRECTIONS["coronal"] @ TURN
    matrix[:3, 3] = (15.0, -40.0, 7.5)
    return matrix


def displayed(node, index: tuple[int, int, int]) -> np.ndarray:
    """Where Slicer shows a voxel: RAS mm, by VTK alone."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    matrix, to_world = vtkMatrix4x4(), vtkGeneralTransform()
    node.GetIJKToRASMatrix(matrix)
    if node.GetParentTransformNode():
        node.GetParentTransformNode().GetTransformToWorld(to_world)
    return np.array(to_world.TransformPoint(matrix.MultiplyPoint((*index, 1))[:3]))


@pytest.mark.parametrize("transformed", [False, True], ids=["untransformed", "transformed"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_engine_gets_the_volume_as_it_is_displayed(mrml, slicer_app, direction, transformed):
    node = volume_node(slicer_app.scene, DIRECTIONS[direction])
    if transformed:
        put_under(node, rigid())
    image = mrml.image_of(node)
    assert image.GetSpacing() == pytest.approx(SPACING)
    for index in ((0, 0, 0), (10, 0, 0), (0, 8, 0), (0, 0, 7), (3, 5, 2)):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        assert lps * (-1, -1, 1) == pytest.approx(displayed(node, index), abs=1e-6)
        assert image[index] == index[0] + 11 * (index[1] + 9 * index[2])


def written_result(mrml, node, folder: Path, empty: bool = False) -> Path:
    """A result on the volume's grid: each bone a block of two voxels of its own."""
    array = np.zeros(SHAPE, np.uint8)
    for value in () if empty else (1, 2, 3, 4):
        array[value, value : value + 2, 2 * value] = value
    labels = sitk.GetImageFromArray(array)
    labels.CopyInformation(mrml.image_of(node))
    path = folder / "result.seg.nrrd"
    write_segmentation(labels, path, {"ModelName": "m"})
    return path


def shown_voxels(node, segment_id: str) -> np.ndarray:
    """Centres (n, 3) of a segment's voxels where Slicer shows them, RAS mm."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonMath import vtkMatrix4x4
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    segment = node.GetSegmentation().GetSegment(segment_id)
    labelmap = segment.GetRepresentation("Binary labelmap")
    matrix, to_world = vtkMatrix4x4(), vtkGeneralTransform()
    labelmap.GetImageToWorldMatrix(matrix)
    if node.GetParentTransformNode():
        node.GetParentTransformNode().GetTransformToWorld(to_world)
    array = vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(labelmap.GetDimensions()[::-1])
    indices = np.argwhere(array == segment.GetLabelValue())[:, ::-1] + labelmap.GetExtent()[::2]
    return np.array([to_world.TransformPoint(matrix.MultiplyPoint((*map(float, i), 1.0))[:3]) for i in indices])


def assert_on_the_volume(result, node) -> None:
    for segment in SEGMENTS:
        v = segment.value
        expected = [displayed(node, (2 * v, y, v)) for y in (v, v + 1)]
        assert shown_voxels(result, segment.segment_id) == pytest.approx(np.array(expected), abs=1e-3)


@pytest.mark.parametrize("transformed", [False, True], ids=["untransformed", "transformed"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_result_lies_on_the_volume_and_follows_it(mrml, slicer_app, tmp_path, direction, transformed):
    node = volume_node(slicer_app.scene, DIRECTIONS[direction])
    transform = put_under(node, rigid()) if transformed else None
    result = mrml.read_result(written_result(mrml, node, tmp_path), node)
    assert_on_the_volume(result, node)
    if transform:
        import slicer

        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.linalg.inv(rigid())))
        assert_on_the_volume(result, node)


def test_a_given_segmentation_keeps_its_own_transform(mrml, slicer_app, tmp_path):
    node = volume_node(slicer_app.scene, DIRECTIONS["oblique"])
    target = slicer_app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    put_under(target, rigid())
    assert mrml.read_result(written_result(mrml, node, tmp_path), node, target) is target
    assert target.GetName() == "mine"
    assert_on_the_volume(target, node)


def test_a_result_is_ready_to_be_edited(mrml, slicer_app, tmp_path):
    """Named, coloured, coded, shown in 3-D, beside its volume, and with the volume's geometry for Segment Editor."""
    import slicer
    from vtkmodules.vtkCommonCore import reference

    node = volume_node(slicer_app.scene, DIRECTIONS["coronal"])
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer_app.scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, node)
    result = mrml.read_result(written_result(mrml, node, tmp_path), node)
    assert result.GetName().startswith("hip MRI hips")
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(result)) == study
    assert result.GetNodeReferenceID("referenceImageGeometryRef") == node.GetID()
    assert result.GetDisplayNode() is not None
    segmentation = result.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 4
    for expected in SEGMENTS:
        segment = segmentation.GetSegment(expected.segment_id)
        assert segment.GetName() == expected.name
        assert segment.GetColor() == pytest.approx(expected.color, abs=1e-5)
        text = reference("")
        assert segment.GetTag("TerminologyEntry", text) and str(text) == expected.terminology
        assert segment.GetTag("HipICMSC.ModelName", text) and str(text) == "m"
        assert segment.GetRepresentation("Closed surface").GetNumberOfPoints() > 0


def assert_refused(kind: str, scene, action) -> HipError:
    """The action fails with one sentence and leaves no node behind."""
    count = scene.GetNumberOfNodes()
    with pytest.raises(HipError) as error:
        action()
    assert error.value.kind == kind
    assert error.value.sentence.endswith((".", "?"))
    assert scene.GetNumberOfNodes() == count
    return error.value


def test_segments_that_somebody_drew_are_never_overwritten(mrml, slicer_app, tmp_path):
    node = volume_node(slicer_app.scene, np.eye(3))
    path = written_result(mrml, node, tmp_path)
    target = slicer_app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "my work")
    target.GetSegmentation().AddEmptySegment("drawn")
    error = assert_refused("target_not_empty", slicer_app.scene, lambda: mrml.read_result(path, node, target))
    assert "my work" in error.sentence
    assert target.GetSegmentation().GetNumberOfSegments() == 1


def test_an_empty_result_is_said_and_not_added(mrml, slicer_app, tmp_path):
    node = volume_node(slicer_app.scene, np.eye(3))
    path = written_result(mrml, node, tmp_path, empty=True)
    assert_refused("nothing_found", slicer_app.scene, lambda: mrml.read_result(path, node))


def test_a_result_of_another_geometry_is_not_added(mrml, slicer_app, tmp_path):
    node = volume_node(slicer_app.scene, np.eye(3))
    path = written_result(mrml, node, tmp_path)
    node.SetOrigin(ORIGIN + 2)
    assert_refused("wrong_geometry", slicer_app.scene, lambda: mrml.read_result(path, node))


def test_a_volume_without_voxels_or_under_a_bending_transform_is_refused(mrml, slicer_app):
    import slicer

    scene = slicer_app.scene
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    assert_refused("no_image", scene, lambda: mrml.image_of(empty))
    assert_refused("no_image", scene, lambda: mrml.image_of(None))
    node = volume_node(scene, np.eye(3))
    bending = scene.AddNewNodeByClass("vtkMRMLGridTransformNode")
    bending.SetAndObserveTransformToParent(slicer.vtkOrientedGridTransform())
    node.SetAndObserveTransformNodeID(bending.GetID())
    assert_refused("nonlinear_transform", scene, lambda: mrml.image_of(node))
