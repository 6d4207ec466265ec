"""A result that was edited in Slicer and saved by Slicer still says what the model drew and what is completed."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.cases.correction import read_correction
from HipICMSCLib.cases.keep import keep_case
from HipICMSCLib.results.segmentation_file import write_segmentation
from test_result import DIRECTIONS, SHAPE, mrml, report, volume_node  # noqa: F401  a fixture among them


def bones() -> np.ndarray:
    """Each bone a block in the middle of the volume, so that Slicer may save less than the whole grid."""
    array = np.zeros(SHAPE, np.uint8)
    for value in (1, 2, 3, 4):
        array[2:6, 2:7, 2 * value : 2 * value + 2] = value
    return array


def as_image(mrml, node, voxels: np.ndarray) -> sitk.Image:  # noqa: F811
    image = sitk.GetImageFromArray(voxels)
    image.CopyInformation(mrml.image_of(node))
    return image


@pytest.mark.parametrize("cropped", [False, True])
@pytest.mark.parametrize("direction", ["axial (1, 1, 1)", "coronal (-1, -1, 1)", "oblique"])
def test_what_slicer_saves_is_known_for_what_it_is(mrml, slicer_app, tmp_path, direction, cropped):  # noqa: F811
    import slicer

    node = volume_node(slicer_app.scene, DIRECTIONS[direction])
    # As large as a hip, in voxels that stay few.
    node.SetSpacing(6, 6, 7)
    write_segmentation(as_image(mrml, node, bones()), tmp_path / "made.seg.nrrd", {"ModelName": "m"})
    result = mrml.read_result(tmp_path / "made.seg.nrrd", report(), node)
    edited = bones() == 4
    edited[2] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(edited.astype(np.uint8), result, "LeftFemur", node)
    status = slicer.vtkSlicerSegmentationsModuleLogic
    status.SetSegmentStatus(result.GetSegmentation().GetSegment("LeftFemur"), status.Completed)
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetCropToMinimumExtent(cropped)
    storage.SetFileName(str(tmp_path / "saved.seg.nrrd"))
    assert storage.WriteData(result)

    image = mrml.image_of(node)
    said = read_correction(tmp_path / "saved.seg.nrrd", image)
    assert (said.completed, said.of_unknown_origin, said.made_by["ModelName"]) == ({"LeftFemur"}, set(), "m")
    case = keep_case(
        tmp_path / "cases", image, said.labels, said.made_by, said.original_labels, said.completed, "a"
    )  # fmt: skip
    told = {segment.name: segment for segment in case.segments}
    assert [told[name].state for name in ("RightHipBone", "LeftHipBone", "RightFemur")] == ["as_made"] * 3
    assert told["LeftFemur"].changed_ml == pytest.approx(5 * 2 * 6 * 6 * 7 / 1000)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(case.label))) == 4, edited)
