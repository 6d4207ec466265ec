"""Volumes leave Slicer and results come back to the very voxels the user sees, whatever the volume's geometry."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import SEGMENTS, TAG_PREFIX
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.results.segmentation_file import write_segmentation

c, s = np.cos(0.4), np.sin(0.4)
TURN = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def orientations() -> dict[str, np.ndarray]:
    """Image axes (columns, RAS) of twelve ways to store a volume: four each for axial, coronal and sagittal slices,
    right- and left-handed, and a few that are turned freely."""
    planes = {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}
    signs = ((1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, 1))
    by_name = {f"{plane} {sign}": np.eye(3)[:, axes] * sign for plane, axes in planes.items() for sign in signs}
    return by_name | {
        "oblique": TURN @ np.array([[0, 0, -1.0], [s, c, 0], [c, -s, 0]]),
        "oblique, left-handed": TURN @ np.diag([1.0, 1.0, -1.0]) @ TURN.T @ np.eye(3)[:, [2, 0, 1]],
    }


DIRECTIONS = orientations()
CORONAL = DIRECTIONS["coronal (1, 1, 1)"]
SHAPE = (8, 9, 11)  # z, y, x
SPACING = np.array([0.9, 1.1, 5.2])
ORIGIN = np.array([-30.5, 12.25, 99.0])


@pytest.fixture
def mrml(slicer_app):
    """What is under test; the scene is as before afterwards."""
    from HipICMSCLib.gui.scene import mrml, result

    scene = slicer_app.scene
    before = {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
    yield SimpleNamespace(**vars(mrml) | vars(result))
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
    matrix[:3, :3] = TURN @ CORONAL @ TURN
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


def report(**changes) -> dict:
    """What the worker says of a result in which all bones were found."""
    usual = {
        "use": "For research use only; not a medical device.",
        "model": {"name": "m", "sha256": "1234"},
        "versions": {"HipICMSC": "0.1.0", "torch": "2.9"},
        "device": "cpu",
        "precision": "fp32",
        "fallbacks": [],
        "date": "2026-01-01T00:00:00Z",
        "warnings": [],
        "volumes_ml": {segment.name: 1.0 for segment in SEGMENTS},
    }
    return usual | changes


def bone_blocks(rows: int = 2) -> np.ndarray:
    """Each bone a block of ``rows`` voxels of its own."""
    array = np.zeros(SHAPE, np.uint8)
    for value in (1, 2, 3, 4):
        array[value, value : value + rows, 2 * value] = value
    return array


def written_result(mrml, node, folder: Path, array: np.ndarray | None = None) -> Path:
    """A result on the volume's grid."""
    labels = sitk.GetImageFromArray(bone_blocks() if array is None else array)
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
    result = mrml.read_result(written_result(mrml, node, tmp_path), report(), node)
    assert_on_the_volume(result, node)
    if transform:
        import slicer

        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.linalg.inv(rigid())))
        assert_on_the_volume(result, node)


def test_a_given_segmentation_keeps_its_own_transform(mrml, slicer_app, tmp_path):
    node = volume_node(slicer_app.scene, DIRECTIONS["oblique"])
    target = slicer_app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    put_under(target, rigid())
    assert mrml.read_result(written_result(mrml, node, tmp_path), report(), node, target) is target
    assert target.GetName() == "mine"
    assert_on_the_volume(target, node)


def test_a_result_is_ready_to_be_edited(mrml, slicer_app, tmp_path):
    """Named, coloured, coded, shown in 3-D, beside its volume, and with the volume's geometry for Segment Editor."""
    import slicer
    from vtkmodules.vtkCommonCore import reference

    node = volume_node(slicer_app.scene, CORONAL)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer_app.scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, node)
    result = mrml.read_result(written_result(mrml, node, tmp_path), report(), node)
    assert result.GetName() == "hip MRI hips"
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(result)) == study
    assert result.GetNodeReferenceID("referenceImageGeometryRef") == node.GetID()
    # The femoral head is seen in its socket.
    assert 0.3 <= result.GetDisplayNode().GetOpacity3D() <= 0.9
    segmentation = result.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 4
    for expected in SEGMENTS:
        segment = segmentation.GetSegment(expected.segment_id)
        assert segment.GetName() == expected.name
        assert segment.GetColor() == pytest.approx(expected.color, abs=1e-5)
        text = reference("")
        assert segment.GetTag("TerminologyEntry", text) and str(text) == expected.terminology
        assert segment.GetTag("HipICMSC.ModelName", text) and str(text) == "m"
        # Surfaces take long, so they are left to whoever shows the result in 3D.
        assert segment.GetRepresentation("Closed surface") is None


def assert_refused(kind: str, scene, action) -> HipError:
    """The action fails with one sentence and leaves no node behind."""
    count = scene.GetNumberOfNodes()
    with pytest.raises(HipError) as error:
        action()
    assert error.value.kind == kind
    assert error.value.sentence.endswith((".", "?"))
    assert scene.GetNumberOfNodes() == count
    return error.value


def test_a_result_says_how_it_came_about(mrml, slicer_app, tmp_path):
    node = volume_node(slicer_app.scene, np.eye(3))
    about = report(warnings=[{"kind": "k", "sentence": "Beware."}], fallbacks=["Slower."])
    result = mrml.read_result(written_result(mrml, node, tmp_path), about, node)
    said = {key: result.GetAttribute(TAG_PREFIX + key) for key in ("Use", "ModelName", "ModelSha256", "Device", "Date")}
    assert said == {
        "Use": about["use"], "ModelName": "m", "ModelSha256": "1234", "Device": "cpu, fp32", "Date": about["date"],
    }  # fmt: skip
    assert result.GetAttribute(f"{TAG_PREFIX}Warnings") == "Beware."
    assert result.GetAttribute(f"{TAG_PREFIX}Fallbacks") == "Slower."
    assert mrml.result_of(node) is result and mrml.volume_of(result) is node
    assert mrml.result_of(volume_node(slicer_app.scene, np.eye(3))) is None


def test_of_two_results_of_one_second_the_later_is_the_newest(mrml, slicer_app, tmp_path):
    node, about = volume_node(slicer_app.scene, np.eye(3)), report()
    file = written_result(mrml, node, tmp_path)
    first, second = (mrml.read_result(file, about, node) for _ in range(2))
    assert first is not second and mrml.result_of(node) is second
    first.SetAttribute(f"{TAG_PREFIX}Date", "2999-01-01T00:00:00Z")
    assert mrml.result_of(node) is first


@pytest.mark.parametrize("ending", [".seg.nrrd", ".mrb"])
def test_where_a_result_comes_from_is_saved_with_it(mrml, slicer_app, tmp_path, ending):
    """In a scene the node and its segments say so; in a file of its own each segment does, also what became of it."""
    import slicer
    from slicer import vtkSlicerSegmentationsModuleLogic as Status
    from vtkmodules.vtkCommonCore import reference

    scene, path = slicer_app.scene, tmp_path / f"saved{ending}"
    node = volume_node(scene, CORONAL)
    result = mrml.read_result(written_result(mrml, node, tmp_path), report(), node)
    Status.SetSegmentStatus(result.GetSegmentation().GetSegment("LeftFemur"), Status.Completed)
    if ending == ".mrb":
        assert slicer_app.io_manager.write_scene(path)
        for one in (result, node):
            scene.RemoveNode(one)
        assert slicer_app.io_manager.load_scene(path)
        loaded = scene.GetFirstNodeByName("hip MRI hips")
        assert loaded.GetAttribute(f"{TAG_PREFIX}ModelSha256") == "1234"
        assert mrml.result_of(scene.GetFirstNodeByName("hip MRI")) is loaded
    else:
        # As "Save" does; the bench's own export is another.
        storage = scene.AddNode(slicer.vtkMRMLSegmentationStorageNode())
        storage.SetFileName(str(path))
        assert storage.WriteData(result)
        loaded = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "loaded")
        assert storage.ReadData(loaded)
    for segment in SEGMENTS:
        text = reference("")
        read = loaded.GetSegmentation().GetSegment(segment.segment_id)
        assert read.GetTag(f"{TAG_PREFIX}ModelName", text) and str(text) == "m"
        assert (read.GetName(), read.GetColor()) == (segment.name, pytest.approx(segment.color, abs=1e-5))
        assert shown_voxels(loaded, segment.segment_id) == pytest.approx(shown_voxels(result, segment.segment_id))
    assert status_of(loaded, "LeftFemur") == Status.Completed
    assert status_of(loaded, "RightFemur") == Status.InProgress


def status_of(node, segment_id: str) -> int:
    import slicer

    return slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentStatus(node.GetSegmentation().GetSegment(segment_id))


def test_each_bone_awaits_its_review(mrml, slicer_app, tmp_path):
    """Found: in progress; warned about: flagged; missing: not started. Nothing that a machine drew is completed."""
    from slicer import vtkSlicerSegmentationsModuleLogic as Status

    node = volume_node(slicer_app.scene, np.eye(3))
    about = report(
        warnings=[{"kind": "volume_implausible", "sentence": "The left hip bone has 9 ml in this image."}],
        volumes_ml={segment.name: float(segment.segment_id != "RightFemur") for segment in SEGMENTS},
    )
    result = mrml.read_result(written_result(mrml, node, tmp_path), about, node)
    expected = [Status.InProgress, Status.Flagged, Status.NotStarted, Status.InProgress]
    assert [status_of(result, segment.segment_id) for segment in SEGMENTS] == expected


def mask_of(node, segment_id: str, volume) -> np.ndarray:
    import slicer

    return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume) > 0


def drawn(slicer_app, volume):
    """A segmentation of the user's: a right hip bone that is in the way of our right femur, and a tumour."""
    import slicer

    target = slicer_app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "my work")
    target.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for segment_id, place in (("RightHipBone", np.s_[3, 3:5, 5:7]), ("Tumour", np.s_[6, 2:4, 3])):
        target.GetSegmentation().AddEmptySegment(segment_id, f"my {segment_id}")
        array = np.zeros(SHAPE, np.uint8)
        array[place] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, target, segment_id, volume)
    return target


def test_segments_that_somebody_drew_are_never_overwritten(mrml, slicer_app, tmp_path):
    node = volume_node(slicer_app.scene, np.eye(3))
    path = written_result(mrml, node, tmp_path)
    target = drawn(slicer_app, node)
    before = {name: mask_of(target, name, node) for name in ("RightHipBone", "Tumour")}
    names = []
    for number in (2, 3):
        assert mrml.name_of_new_node(node, target) == f"my work ({number})"
        names.append(mrml.read_result(path, report(), node, target).GetName())
    assert names == ["my work (2)", "my work (3)"]
    assert [*target.GetSegmentation().GetSegmentIDs()] == ["RightHipBone", "Tumour"]
    for name, mask in before.items():
        assert np.array_equal(mask_of(target, name, node), mask)


@pytest.mark.parametrize("transformed", [False, True], ids=["untransformed", "transformed"])
@pytest.mark.parametrize("direction", ["axial (1, 1, 1)", "coronal (-1, -1, 1)", "oblique, left-handed"])
def test_only_unlocked_bones_are_replaced_when_the_user_wants_it(mrml, slicer_app, tmp_path, direction, transformed):
    """Keep my hip bone, redo the femur: what is kept stays to the voxel, where it overlaps with the new bone, too."""
    from slicer import vtkSlicerSegmentationsModuleLogic as Status

    node = volume_node(slicer_app.scene, DIRECTIONS[direction])
    target = drawn(slicer_app, node)
    if transformed:
        for one in (node, target):
            put_under(one, rigid())
    Status.SetSegmentStatus(target.GetSegmentation().GetSegment("RightHipBone"), Status.Completed)
    kept = {name: mask_of(target, name, node) for name in ("RightHipBone", "Tumour")}
    assert all(mask.any() for mask in kept.values())
    new = bone_blocks()
    assert (kept["RightHipBone"] & (new == 3)).any()

    result = mrml.read_result(written_result(mrml, node, tmp_path, new), report(), node, target, replace_unlocked=True)
    assert result is target
    for name, mask in kept.items():
        assert np.array_equal(mask_of(target, name, node), mask)
    locked = kept["RightHipBone"] | kept["Tumour"]
    for segment in SEGMENTS[1:]:
        assert np.array_equal(mask_of(target, segment.segment_id, node), (new == segment.value) & ~locked)
    hip_bone = target.GetSegmentation().GetSegment("RightHipBone")
    assert hip_bone.GetName() == "my RightHipBone" and not hip_bone.HasTag(f"{TAG_PREFIX}ModelName")
    assert target.GetSegmentation().GetSegment("LeftFemur").HasTag(f"{TAG_PREFIX}ModelName")
    assert status_of(target, "RightHipBone") == Status.Completed
    assert mrml.replaceable(target) == [segment.name for segment in SEGMENTS[1:]]

    # Again, with smaller bones: the old ones are gone.
    path = written_result(mrml, node, tmp_path, bone_blocks(rows=1))
    mrml.read_result(path, report(), node, target, replace_unlocked=True)
    assert mask_of(target, "LeftFemur", node).sum() == 1
    assert np.array_equal(mask_of(target, "RightHipBone", node), kept["RightHipBone"])


def test_bones_whose_names_the_user_exchanged_are_replaced_by_name(mrml, slicer_app, tmp_path):
    """As they are measured, exported and kept: nobody sees the identifiers."""
    node = volume_node(slicer_app.scene, np.eye(3))
    target = mrml.read_result(written_result(mrml, node, tmp_path), report(), node)
    segmentation = target.GetSegmentation()
    right, left = segmentation.GetSegment("RightFemur"), segmentation.GetSegment("LeftFemur")
    segmentation.GetSegment("LeftHipBone").SetName("mine")
    first = right.GetName()
    right.SetName(left.GetName())
    path = written_result(mrml, node, tmp_path, bone_blocks(rows=1))
    assert_refused(
        "two_segments",
        slicer_app.scene,
        lambda: mrml.read_result(path, report(), node, target, replace_unlocked=True),
    )
    left.SetName(first)
    mrml.read_result(path, report(), node, target, replace_unlocked=True)
    new = bone_blocks(rows=1)
    assert np.array_equal(mask_of(target, "LeftFemur", node), new == 3), "it is called the right femur"
    assert np.array_equal(mask_of(target, "RightFemur", node), new == 4)
    assert np.array_equal(mask_of(target, "LeftHipBone", node), new == 2), "by its identifier"


def test_a_bone_whose_identifier_another_segment_has_gets_a_segment_of_its_own(mrml, slicer_app, tmp_path):
    node = volume_node(slicer_app.scene, np.eye(3))
    target = mrml.read_result(written_result(mrml, node, tmp_path), report(), node)
    segmentation = target.GetSegmentation()
    segmentation.RemoveSegment("RightFemur")
    segmentation.GetSegment("LeftFemur").SetName("Right proximal femur")
    mrml.read_result(written_result(mrml, node, tmp_path), report(), node, target, replace_unlocked=True)
    named = {segmentation.GetSegment(segment_id).GetName(): segment_id for segment_id in segmentation.GetSegmentIDs()}
    assert len(named) == 4 and named["Right proximal femur"] == "LeftFemur"
    assert np.array_equal(mask_of(target, named["Right proximal femur"], node), bone_blocks() == 3)
    assert np.array_equal(mask_of(target, named["Left proximal femur"], node), bone_blocks() == 4)


def test_where_every_bone_is_completed_there_is_nothing_to_replace(mrml, slicer_app, tmp_path):
    from slicer import vtkSlicerSegmentationsModuleLogic as Status

    node = volume_node(slicer_app.scene, np.eye(3))
    path = written_result(mrml, node, tmp_path)
    target = mrml.read_result(path, report(), node)
    for segment in SEGMENTS:
        Status.SetSegmentStatus(target.GetSegmentation().GetSegment(segment.segment_id), Status.Completed)
    assert mrml.replaceable(target) == []
    replace = lambda: mrml.read_result(path, report(), node, target, replace_unlocked=True)  # noqa: E731
    assert_refused("all_locked", slicer_app.scene, replace)


def test_bones_of_another_volume_are_not_replaced(mrml, slicer_app, tmp_path):
    first, second = (volume_node(slicer_app.scene, np.eye(3)) for _ in range(2))
    second.SetName("another MRI")
    target = mrml.read_result(written_result(mrml, first, tmp_path), report(), first)
    path = written_result(mrml, second, tmp_path, bone_blocks(rows=1))
    assert_refused(
        "other_volume",
        slicer_app.scene,
        lambda: mrml.read_result(path, report(), second, target, replace_unlocked=True),
    )
    assert mrml.volume_of(target) is first
    assert mrml.read_result(path, report(), second, target).GetName() == "another MRI hips"


@pytest.mark.parametrize("degrees", [0.001, 0.03])
def test_axes_that_are_square_but_for_the_digits_of_a_file_get_their_result(mrml, slicer_app, tmp_path, degrees):
    """What is sent has square axes, as each file that the engine reads; the result lies on the volume's own."""
    axes = np.eye(3)
    axes[0, 1] = np.deg2rad(degrees)
    node = volume_node(slicer_app.scene, axes)
    target = mrml.read_result(written_result(mrml, node, tmp_path), report(), node)
    assert np.array_equal(mask_of(target, "LeftFemur", node), bone_blocks() == 4)


def test_an_empty_result_is_said_and_not_added(mrml, slicer_app, tmp_path):
    node = volume_node(slicer_app.scene, np.eye(3))
    path = written_result(mrml, node, tmp_path, np.zeros(SHAPE, np.uint8))
    assert_refused("nothing_found", slicer_app.scene, lambda: mrml.read_result(path, report(), node))


def test_a_result_of_another_geometry_is_not_added(mrml, slicer_app, tmp_path):
    node = volume_node(slicer_app.scene, np.eye(3))
    path = written_result(mrml, node, tmp_path)
    node.SetOrigin(ORIGIN + 2)
    assert_refused("wrong_geometry", slicer_app.scene, lambda: mrml.read_result(path, report(), node))


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
