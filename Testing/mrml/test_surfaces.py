"""Surfaces made step by step are those that Slicer makes in one go, where each bone lies."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def segmentation(slicer_app):
    """Two boxes that share a labelmap, in an oblique volume whose extent does not begin at 0."""
    import slicer
    import slicer_stand_ins

    slicer_stand_ins.install(slicer_app)
    slicer_app.scene.Clear()
    volume = slicer_app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    voxels = np.zeros((30, 40, 50), np.uint8)
    voxels[5:15, 8:20, 10:22], voxels[12:25, 25:38, 30:45] = 1, 2
    slicer.util.updateVolumeFromArray(volume, voxels)
    volume.SetSpacing(0.9, 1.1, 3.0)
    volume.SetOrigin(12.0, -34.0, 56.0)
    volume.SetIJKToRASDirections(-1, 0, 0, 0, 0.8, -0.6, 0, 0.6, 0.8)
    node = slicer_app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for value in (1, 2):
        segment_id = node.GetSegmentation().AddEmptySegment(f"s{value}")
        slicer.util.updateSegmentBinaryLabelmapFromArray((voxels == value).astype(np.uint8), node, segment_id, volume)
    node.GetSegmentation().CollapseBinaryLabelmaps(True)
    yield node
    slicer_app.scene.Clear()


def bounds(node) -> np.ndarray:
    segmentation = node.GetSegmentation()
    surfaces = [segmentation.GetSegment(name).GetRepresentation("Closed surface") for name in ("s1", "s2")]
    return np.array([surface.GetBounds() for surface in surfaces])


def test_they_are_those_that_slicer_makes(segmentation):
    from HipICMSCLib.gui.scene.surfaces import has_surfaces, surface_steps

    steps = surface_steps(segmentation)
    assert len(steps) == 3
    for step in steps[:-1]:
        step()
    assert not has_surfaces(segmentation), "a 3D view shows all bones or none"
    steps[-1]()
    assert has_surfaces(segmentation)
    ours = bounds(segmentation)
    segmentation.GetSegmentation().RemoveRepresentation("Closed surface")
    segmentation.CreateClosedSurfaceRepresentation()
    np.testing.assert_allclose(ours, bounds(segmentation), atol=0.1)


def test_a_segmentation_that_was_deleted_meanwhile_is_left_alone(segmentation):
    from HipICMSCLib.gui.scene.surfaces import surface_steps

    first, *others = surface_steps(segmentation)
    first()
    segmentation.GetScene().RemoveNode(segmentation)
    for step in others:
        step()


def test_what_was_edited_meanwhile_is_shown_as_it_is_now(segmentation):
    import slicer
    from HipICMSCLib.gui.scene.surfaces import surface_steps

    *first, last = surface_steps(segmentation)
    for step in first:
        step()
    volume = segmentation.GetNodeReference("referenceImageGeometryRef")
    moved = np.zeros((30, 40, 50), np.uint8)
    moved[0:4, 0:5, 0:6] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(moved, segmentation, "s1", volume)
    last()
    shown = bounds(segmentation)
    segmentation.GetSegmentation().RemoveRepresentation("Closed surface")
    segmentation.CreateClosedSurfaceRepresentation()
    np.testing.assert_allclose(shown, bounds(segmentation), atol=0.1)
