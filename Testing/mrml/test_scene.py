"""The demo's scene holds what a user wants to see at once: the image, the bones on it, the views on the bones."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.results.segmentation_file import write_segmentation

SCENE = Path(__file__).resolve().parents[1] / "demo" / "scene.py"
DIRECTION = (1.0, 0, 0, 0, 0, 1, 0, -1, 0)  # coronal slices


def run_scene(*paths: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCENE, *paths], capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, slicer_app) -> tuple[Path, Path]:
    """A ramp from 0 to 1000 with a few voxels of 30000, and one block of each bone."""
    shape = (10, 40, 44)
    array = np.linspace(0, 1000, np.prod(shape)).astype(np.int16).reshape(shape)
    array[5, 20, :4] = 30000
    labels = np.zeros(shape, np.uint8)
    for value in (1, 2, 3, 4):
        labels[3:7, 8 * value : 8 * value + 5, 6 * value : 6 * value + 5] = value
    folder = tmp_path_factory.mktemp("inputs")
    paths = folder / "my mri.nii.gz", folder / "my mri.hips.seg.nrrd"
    for pixels, write in (
        (array, lambda image: sitk.WriteImage(image, str(paths[0]))),
        (labels, lambda image: write_segmentation(image, paths[1], {"ModelId": "m"})),
    ):
        image = sitk.GetImageFromArray(pixels)
        image.SetSpacing((1.5, 1.5, 5.2))
        image.SetOrigin((-20.0, -30.0, 50.0))
        image.SetDirection(DIRECTION)
        write(image)
    return paths


@pytest.fixture(scope="module")
def written(inputs, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "my demo.mrb"
    done = run_scene(*inputs, path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def loaded(written, slicer_app):
    """The scene that was written and read back; its nodes leave the scene afterwards."""
    scene = slicer_app.scene
    before = {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
    assert slicer_app.io_manager.load_scene(written)
    yield scene
    for node in [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]:
        if node is not None and node.GetID() not in before:
            scene.RemoveNode(node)


def only(scene, class_name: str):
    assert scene.GetNumberOfNodesByClass(class_name) == 1
    return scene.GetFirstNodeByClass(class_name)


def test_the_image_is_there_in_a_window_that_outliers_do_not_spoil(loaded):
    volume = only(loaded, "vtkMRMLScalarVolumeNode")
    assert volume.GetName() == "my mri"
    assert volume.GetImageData().GetDimensions() == (44, 40, 10)
    assert volume.GetSpacing() == pytest.approx((1.5, 1.5, 5.2))
    assert volume.GetOrigin() == pytest.approx((20.0, 30.0, 50.0))  # RAS
    display = volume.GetDisplayNode()
    assert not display.GetAutoWindowLevel()
    assert display.GetWindowLevelMin() == pytest.approx(5, abs=5)
    assert display.GetWindowLevelMax() == pytest.approx(995, abs=5)


def test_the_bones_are_there_with_colours_and_terminology_and_shown(loaded):
    from vtkmodules.vtkCommonCore import reference

    node = only(loaded, "vtkMRMLSegmentationNode")
    assert node.GetName() == "my mri.hips"
    segmentation, display = node.GetSegmentation(), node.GetDisplayNode()
    assert display.GetVisibility() and 0 < display.GetOpacity2DFill() < 1
    assert segmentation.GetNumberOfSegments() == 4
    for expected in SEGMENTS:
        segment = segmentation.GetSegment(expected.segment_id)
        assert segment.GetName() == expected.name
        assert segment.GetColor() == pytest.approx(expected.color, abs=1e-5)
        assert display.GetSegmentVisibility(expected.segment_id)
        terminology, model = reference(""), reference("")
        assert segment.GetTag("TerminologyEntry", terminology) and terminology == expected.terminology
        assert segment.GetTag("HipICMSC.ModelId", model) and model == "m"
        surface = segment.GetRepresentation("Closed surface")
        assert surface.GetNumberOfPoints() > 0
        # The block's middle: voxel (6 v + 2, 8 v + 2, 4.5) in RAS.
        middle = (np.array(surface.GetBounds()[::2]) + surface.GetBounds()[1::2]) / 2
        v = expected.value
        assert middle == pytest.approx((20 - 1.5 * (6 * v + 2), 30 - 5.2 * 4.5, 50 - 1.5 * (8 * v + 2)), abs=0.8)


def test_the_segmentation_knows_its_image(loaded):
    node, volume = only(loaded, "vtkMRMLSegmentationNode"), only(loaded, "vtkMRMLScalarVolumeNode")
    assert node.GetNodeReferenceID("referenceImageGeometryRef") == volume.GetID()


def test_the_slice_views_show_the_image_centred_on_the_bones(loaded):
    volume = only(loaded, "vtkMRMLScalarVolumeNode")
    orientations = {}
    for i in range(loaded.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        view = loaded.GetNthNodeByClass(i, "vtkMRMLSliceNode")
        orientations[view.GetLayoutName()] = view.GetOrientation()
        if view.GetLayoutName() == "Green":
            assert view.GetSliceOffset() == pytest.approx(30 - 5.2 * 4.5, abs=1)  # anterior, RAS
    assert orientations == {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
    for name in orientations:
        composite = loaded.GetSingletonNode(name, "vtkMRMLSliceCompositeNode")
        assert composite.GetBackgroundVolumeID() == volume.GetID()


def test_a_missing_input_is_said_and_leaves_no_file(inputs, tmp_path):
    path = tmp_path / "demo.mrb"
    done = run_scene(tmp_path / "absent.nrrd", inputs[1], path)
    assert done.returncode == 1
    assert "absent.nrrd could not be loaded" in done.stderr.splitlines()[-1]
    assert not path.exists()


def test_the_archive_is_named_as_the_file(written):
    names = zipfile.ZipFile(written).namelist()
    assert any(name.endswith(".mrml") for name in names)
    assert all(name.startswith("my demo/") for name in names)
