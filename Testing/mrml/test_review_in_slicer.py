"""A review is remembered in the scene: places move with the result, visits are kept, the map lies on the MRI."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.results.review import confidence_percent

SHAPE = (8, 9, 11)  # z, y, x
SPACING = (0.9, 1.1, 5.2)
PLACES = [
    {"point_lps": [10.0, -20.0, 30.0], "doubt": 0.4, "bone": "right proximal femur"},
    {"point_lps": [-15.0, 5.0, 12.5], "doubt": 0.3, "bone": "left hip bone"},
    {"point_lps": [0.0, 0.0, 1.0], "doubt": 0.2, "bone": ""},
]
RAS = [(-10.0, 20.0, 30.0), (15.0, -5.0, 12.5), (0.0, 0.0, 1.0)]


@pytest.fixture
def before(slicer_app) -> set[str]:
    """What is in Slicer's scene from the start."""
    return node_ids(slicer_app.scene)


@pytest.fixture
def scene(slicer_app, before):
    """Slicer's scene with its three slice views and a camera; what was added leaves it afterwards."""
    scene = slicer_app.scene
    add_views(scene)
    yield scene
    remove_since(scene, before)


def node_ids(scene) -> set[str]:
    return {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}


def remove_since(scene, before: set[str]) -> None:
    for node in [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]:
        if node is not None and node.GetID() not in before:
            scene.RemoveNode(node)


def add_views(scene) -> None:
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
        for kind in ("vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode"):
            node = scene.CreateNodeByClass(kind)
            node.UnRegister(None)
            node.SetName(name)
            node.SetSingletonTag(name)
            node.SetLayoutName(name)
            node = scene.AddNode(node)
            if kind == "vtkMRMLSliceNode":
                node.SetOrientation(orientation)
                node.SetDimensions(300, 200, 1)
                node.SetFieldOfView(240, 160, 1)
    camera = scene.AddNewNodeByClass("vtkMRMLCameraNode", "Camera")
    camera.SetFocalPoint(1.0, 2.0, 3.0)
    camera.SetPosition(1.0, 402.0, 53.0)


def views(scene) -> list:
    import slicer

    return slicer.util.getNodesByClass("vtkMRMLSliceNode")


def composites(scene) -> list:
    import slicer

    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


def middles(scene) -> np.ndarray:
    """RAS mm in the middle of each slice view."""
    import slicer

    found = []
    for view in views(scene):
        width, height, _ = view.GetDimensions()
        to_ras = slicer.util.arrayFromVTKMatrix(view.GetXYToRAS())
        found.append((to_ras @ (width / 2, height / 2, 0, 1))[:3])
    return np.array(found)


def pose(degrees: float = 25.0) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    matrix[:3, 3] = (15.0, -40.0, 7.5)
    return matrix


def put_under(node, matrix: np.ndarray):
    import slicer

    transform = node.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def segmentation_in(scene, matrix: np.ndarray | None = None):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "hips")
    node.GetSegmentation().AddEmptySegment("RightFemur")
    if matrix is not None:
        put_under(node, matrix)
    return node


#: Voxel axes in RAS (columns) of coronal slices, counted from front to back; mirrored, from back to front.
CORONAL = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
MIRRORED = CORONAL @ np.diag([1.0, 1.0, -1.0, 1.0])


def volume_in(scene, matrix: np.ndarray | None = None, axes: np.ndarray = CORONAL):
    """An MRI of oblique slices."""
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hip MRI")
    slicer.util.updateVolumeFromArray(node, np.zeros(SHAPE, np.int16))
    to_ras = pose(10) @ axes @ np.diag([*SPACING, 1.0])
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(to_ras))
    if matrix is not None:
        put_under(node, matrix)
    return node


def map_file(volume, path: Path) -> Path:
    """As the worker writes it: a different value in every voxel of a slice, on the grid of the displayed volume."""
    from HipICMSCLib.gui.scene.mrml import image_of

    grid = image_of(volume)
    percent = np.arange(np.prod(SHAPE)) % 101
    confidence = sitk.GetImageFromArray((percent / 100).astype(np.float32).reshape(SHAPE))
    confidence.CopyInformation(grid)
    sitk.WriteImage(confidence_percent(confidence), str(path), useCompression=True)
    return path


def add_map(path: Path, volume, segmentation):
    """As a result's is brought into the scene."""
    from HipICMSCLib.gui.scene.review import add_confidence_map, read_confidence_map

    return add_confidence_map(read_confidence_map(path, volume), volume, segmentation)


@pytest.fixture
def shown(scene, tmp_path):
    """(volume, segmentation, map) of a result under a transform."""
    volume = volume_in(scene, pose())
    segmentation = segmentation_in(scene)
    segmentation.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    return volume, segmentation, add_map(map_file(volume, tmp_path / "c.nrrd"), volume, segmentation)


def test_the_views_move_to_the_point_and_keep_their_zoom_and_angle(scene):
    from HipICMSCLib.gui.scene.views import centre_views_on

    fields = [view.GetFieldOfView() for view in views(scene)]
    orientations = [view.GetOrientation() for view in views(scene)]
    centre_views_on((12.0, -34.0, 56.0))
    assert middles(scene) == pytest.approx(np.array([[12.0, -34.0, 56.0]] * 3))
    assert [view.GetFieldOfView() for view in views(scene)] == fields
    assert [view.GetOrientation() for view in views(scene)] == orientations
    camera = scene.GetFirstNodeByClass("vtkMRMLCameraNode")
    assert camera.GetFocalPoint() == pytest.approx((12.0, -34.0, 56.0))
    assert camera.GetPosition() == pytest.approx((12.0, 366.0, 106.0))


@pytest.mark.parametrize("matrix", [None, pose()], ids=["untransformed", "transformed"])
def test_places_are_where_they_were_displayed(scene, matrix):
    from HipICMSCLib.gui.scene.review import Review, store_places

    node = segmentation_in(scene, matrix)
    store_places(node, PLACES)
    places = Review(node).places
    assert np.array([place.point_ras for place in places]) == pytest.approx(np.array(RAS))
    assert [(place.doubt, place.bone, place.visited) for place in places] == [
        (0.4, "right proximal femur", False),
        (0.3, "left hip bone", False),
        (0.2, "", False),
    ]


def test_places_move_with_the_result(scene):
    import slicer
    from HipICMSCLib.gui.scene.review import Review, store_places

    node = segmentation_in(scene, pose())
    store_places(node, PLACES)
    node.GetParentTransformNode().SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(pose(-60)))
    moved = pose(-60) @ np.linalg.inv(pose()) @ np.array([(*point, 1) for point in RAS]).T
    assert np.array([place.point_ras for place in Review(node).places]) == pytest.approx(moved[:3].T)
    Review(node).go_to(1)
    assert middles(scene) == pytest.approx(np.array([moved[:3, 1]] * 3))


def test_next_leads_through_what_was_not_looked_at_worst_first(scene):
    from HipICMSCLib.gui.scene.review import Review, store_places

    node = segmentation_in(scene)
    store_places(node, PLACES)
    review = Review(node)
    assert (review.current, review.upcoming, review.visited_count) == (None, 0, 0)
    review.go_to(1)
    for index, visited in ((2, 2), (0, 3)):
        assert review.upcoming == index
        review.next()
        assert (review.current, review.visited_count) == (index, visited)
        assert middles(scene) == pytest.approx(np.array([RAS[index]] * 3))
    # A second round.
    review.next()
    assert review.current == 1
    review.back()
    review.back()  # there is none before the first
    assert (review.current, review.visited_count) == (0, 3)
    assert middles(scene) == pytest.approx(np.array([RAS[0]] * 3))


def test_a_visit_is_in_the_node_at_once_and_a_new_result_starts_anew(scene):
    from HipICMSCLib.gui.scene.review import Review, store_places

    node = segmentation_in(scene)
    store_places(node, PLACES)
    Review(node).go_to(2)
    assert [place.visited for place in Review(node).places] == [False, False, True]
    store_places(node, PLACES[:2])
    assert (Review(node).current, Review(node).visited_count, len(Review(node).places)) == (None, 0, 2)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        "null",
        '{"places": [{}]}',
        '{"places": [{"point_ras": [1, 2], "doubt": 0.1, "bone": "", "visited": false}]}',
        '{"places": [{"point_ras": "abc", "doubt": 0.1, "bone": "", "visited": false}]}',
        '{"places": 3, "current": 0}',
        '{"places": [], "current": 7}',
    ],
)
def test_a_damaged_memory_is_no_places_and_no_error(scene, text):
    from HipICMSCLib.gui.scene.review import Review

    node = segmentation_in(scene)
    node.SetAttribute("HipICMSC.DoubtfulPlaces", text)
    review = Review(node)
    assert (review.places, review.visited_count, review.upcoming, review.current) == ([], 0, None, None)
    review.next()
    review.back()


def test_a_place_that_is_not_there_is_no_place_to_be(scene):
    from HipICMSCLib.gui.scene.review import Review

    node = segmentation_in(scene)
    place = '{"point_ras": [1, 2, 3], "doubt": 0.1, "bone": "", "visited": false}'
    node.SetAttribute("HipICMSC.DoubtfulPlaces", f'{{"places": [{place}], "current": 7}}')
    assert Review(node).current is None and Review(node).places[0].point_ras == (1, 2, 3)


@pytest.mark.parametrize("axes", [CORONAL, MIRRORED], ids=["right-handed", "left-handed"])
@pytest.mark.parametrize("matrix", [None, pose()], ids=["untransformed", "transformed"])
def test_the_map_lies_on_the_mri_to_the_voxel(scene, tmp_path, matrix, axes):
    import slicer
    from HipICMSCLib.gui.scene.mrml import voxels_to_world

    volume = volume_in(scene, matrix, axes)
    confidence = add_map(map_file(volume, tmp_path / "c.nrrd"), volume, segmentation_in(scene))
    assert slicer.util.arrayFromVolume(confidence).dtype == np.uint8
    expected = (np.arange(np.prod(SHAPE)) % 101).reshape(SHAPE)
    assert np.array_equal(slicer.util.arrayFromVolume(confidence), expected)
    assert voxels_to_world(confidence) == pytest.approx(voxels_to_world(volume), abs=1e-9)


def test_the_map_moves_with_the_mri(shown):
    import slicer
    from HipICMSCLib.gui.scene.mrml import voxels_to_world

    volume, _, confidence = shown
    before = voxels_to_world(volume)
    volume.GetParentTransformNode().SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(pose(70)))
    assert voxels_to_world(confidence) == pytest.approx(voxels_to_world(volume), abs=1e-9)
    assert np.abs(voxels_to_world(volume) - before).max() > 1


def test_the_map_is_no_mri_and_reads_well(shown):
    volume, segmentation, confidence = shown
    display = confidence.GetDisplayNode()
    assert confidence.GetName() == "hip MRI confidence"
    assert confidence.GetHideFromEditors()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (50, 100)
    assert not display.GetAutoWindowLevel()
    assert display.GetColorNode().GetName() == "Warm1"
    assert segmentation.GetNodeReference("HipICMSC.confidenceMap") is confidence
    assert all(view.GetForegroundVolumeID() is None for view in composites(volume.GetScene()))


def colours(confidence) -> np.ndarray:
    """What Slicer makes of the map: red, green, blue, alpha of each voxel."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    display = confidence.GetDisplayNode()
    connection = display.GetOutputImageDataConnection()
    connection.GetProducer().Update()
    image = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
    return vtk_to_numpy(image.GetPointData().GetScalars()).astype(float)


def test_doubt_is_brightest_and_what_is_sure_or_unseen_is_left_clear(shown):
    import slicer

    percent = slicer.util.arrayFromVolume(shown[2]).ravel()
    rgba = colours(shown[2])
    assert not rgba[(percent == 0) | (percent > 95), 3].any()
    assert (rgba[(percent > 0) & (percent <= 95), 3] == 255).all()
    luminance = rgba[:, :3] @ (0.2126, 0.7152, 0.0722)
    steps = [luminance[percent == value][0] for value in range(50, 96, 5)]
    assert all(later < earlier for earlier, later in pairwise(steps))


def test_the_map_is_laid_over_the_mri_and_what_was_there_comes_back(shown, scene):
    from HipICMSCLib.gui.scene.review import is_confidence_map_shown, show_confidence_map

    volume, segmentation, confidence = shown
    other = volume_in(scene)
    red, green, yellow = composites(scene)
    for view in (red, green, yellow):
        view.SetBackgroundVolumeID(volume.GetID())
    red.SetForegroundVolumeID(other.GetID())
    red.SetForegroundOpacity(0.25)
    for _ in range(2):  # shown twice is as shown once
        show_confidence_map(segmentation, True)
        assert is_confidence_map_shown(segmentation)
        for view in (red, green, yellow):
            assert (view.GetForegroundVolumeID(), view.GetForegroundOpacity()) == (confidence.GetID(), 0.5)
            assert view.GetBackgroundVolumeID() == volume.GetID()
    # The user takes one view for something else meanwhile.
    yellow.SetForegroundVolumeID(other.GetID())
    yellow.SetForegroundOpacity(0.75)
    show_confidence_map(segmentation, False)
    assert not is_confidence_map_shown(segmentation)
    assert (red.GetForegroundVolumeID(), red.GetForegroundOpacity()) == (other.GetID(), 0.25)
    assert (green.GetForegroundVolumeID(), green.GetForegroundOpacity()) == (None, 0.0)
    assert (yellow.GetForegroundVolumeID(), yellow.GetForegroundOpacity()) == (other.GetID(), 0.75)


def test_of_two_results_one_map_is_shown_and_the_views_come_back(shown, scene, tmp_path):
    from HipICMSCLib.gui.scene.review import is_confidence_map_shown, show_confidence_map

    volume, first, _ = shown
    second = segmentation_in(scene)
    add_map(map_file(volume, tmp_path / "d.nrrd"), volume, second)
    show_confidence_map(first, True)
    show_confidence_map(second, True)
    assert is_confidence_map_shown(second) and not is_confidence_map_shown(first)
    show_confidence_map(second, False)
    assert all(view.GetForegroundVolumeID() is None for view in composites(scene))


def test_a_new_result_replaces_the_map(shown, scene, tmp_path):
    from HipICMSCLib.gui.scene.review import confidence_map_of

    volume, segmentation, old = shown
    new = add_map(map_file(volume, tmp_path / "d.nrrd"), volume, segmentation)
    assert confidence_map_of(segmentation) is new and old.GetScene() is None
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 2
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeDisplayNode") == 1


def test_the_map_goes_with_its_segmentation(shown, scene):
    from HipICMSCLib.gui.scene.review import confidence_map_of, forget_confidence_map, show_confidence_map
    from vtkmodules.util.misc import calldata_type
    from vtkmodules.util.vtkConstants import VTK_OBJECT

    @calldata_type(VTK_OBJECT)
    def about_to_be_removed(caller, event, node):
        if node.IsA("vtkMRMLSegmentationNode"):
            forget_confidence_map(node)

    volume, segmentation, confidence = shown
    before = segmentation_in(scene)
    assert confidence_map_of(before) is None
    forget_confidence_map(before)  # has none
    show_confidence_map(segmentation, True)
    tag = scene.AddObserver(scene.NodeAboutToBeRemovedEvent, about_to_be_removed)
    scene.RemoveNode(segmentation)
    scene.RemoveObserver(tag)
    assert confidence.GetScene() is None and volume.GetScene() is scene
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeDisplayNode") == 0
    for view in composites(scene):
        assert (view.GetForegroundVolumeID(), view.GetForegroundOpacity()) == (None, 0.0)


def test_the_map_is_in_the_study_of_the_mri(scene, tmp_path):
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    volume = volume_in(scene)
    hierarchy.CreateItem(study, volume)
    node = add_map(map_file(volume, tmp_path / "c.nrrd"), volume, segmentation_in(scene))
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
    hierarchy.RemoveItem(study)


def test_a_map_that_does_not_fit_leaves_the_scene_as_it_was(shown, scene, tmp_path):
    from HipICMSCLib.gui.scene.review import confidence_map_of

    volume, segmentation, confidence = shown
    before = node_ids(scene)
    path = map_file(volume, tmp_path / "d.nrrd")
    volume.SetOrigin(0.0, 0.0, 5.0)
    with pytest.raises(HipError) as caught:
        add_map(path, volume, segmentation)
    assert caught.value.kind == "wrong_geometry"
    path.write_bytes(b"NRRD")
    with pytest.raises(HipError) as caught:
        add_map(path, volume, segmentation)
    assert caught.value.kind == "unreadable"
    assert node_ids(scene) == before and confidence_map_of(segmentation) is confidence


def test_a_saved_scene_remembers_it_all(slicer_app, scene, shown, tmp_path, before):
    import slicer
    from HipICMSCLib.gui.scene.mrml import voxels_to_world
    from HipICMSCLib.gui.scene.review import (
        Review,
        confidence_map_of,
        is_confidence_map_shown,
        show_confidence_map,
        store_places,
    )

    _, segmentation, confidence = shown
    other = volume_in(scene)
    composites(scene)[0].SetForegroundVolumeID(other.GetID())
    store_places(segmentation, PLACES)
    Review(segmentation).go_to(1)
    show_confidence_map(segmentation, True)
    world = voxels_to_world(confidence)
    assert slicer_app.io_manager.write_scene(tmp_path / "review.mrb")
    remove_since(scene, before)
    assert slicer_app.io_manager.load_scene(tmp_path / "review.mrb")

    segmentation = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    review = Review(segmentation)
    assert [place.visited for place in review.places] == [False, True, False]
    assert np.array([place.point_ras for place in review.places]) == pytest.approx(np.array(RAS), abs=1e-6)
    assert (review.current, review.upcoming) == (1, 2)
    confidence = confidence_map_of(segmentation)
    assert confidence.GetName() == "hip MRI confidence" and confidence.GetHideFromEditors()
    expected = (np.arange(np.prod(SHAPE)) % 101).reshape(SHAPE)
    assert np.array_equal(slicer.util.arrayFromVolume(confidence), expected)
    assert voxels_to_world(confidence) == pytest.approx(world, abs=1e-3)
    display = confidence.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (50, 100)
    assert display.GetColorNode().GetName() == "Warm1" and display.GetApplyThreshold()
    # It was shown when the scene was saved, and what was below comes back after loading, too.
    assert is_confidence_map_shown(segmentation)
    show_confidence_map(segmentation, False)
    foregrounds = [view.GetForegroundVolumeID() for view in composites(scene)]
    assert foregrounds[1:] == [None, None]
    # The other volume, which is under no transform.
    assert scene.GetNodeByID(foregrounds[0]).GetParentTransformNode() is None
    assert [view.GetForegroundOpacity() for view in composites(scene)] == [0.0, 0.0, 0.0]


def test_a_map_whose_voxels_were_not_saved_is_none(shown):
    from HipICMSCLib.gui.scene.review import confidence_map_of, forget_confidence_map, show_confidence_map

    _, segmentation, confidence = shown
    confidence.SetAndObserveImageData(None)
    assert confidence_map_of(segmentation) is None
    show_confidence_map(segmentation, True)
    assert all(view.GetForegroundVolumeID() is None for view in composites(segmentation.GetScene()))
    forget_confidence_map(segmentation)
    assert confidence.GetScene() is None
