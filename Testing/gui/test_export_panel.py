"""A result of an MRI from Slicer's DICOM module lies under the same patient and becomes a DICOM segmentation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import ball_hips
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from ball_panel import add_volume, segment
from dicom_objects import slices, write


class Loaded:
    """The balls as a series in Slicer's database, and the volume that the DICOM module makes of it."""

    def __init__(self, folder: Path) -> None:
        import slicer

        self.image = ball_hips.ball_image()
        objects = slices(sitk.GetArrayFromImage(self.image), PixelSpacing=[3.0, 3.0])
        for number, each in enumerate(objects):
            each.ImagePositionPatient = list(self.image.TransformIndexToPhysicalPoint((0, 0, number)))
        write(folder, objects)
        files = {str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID): file for file in folder.iterdir()}
        self.files = files
        self.database = SimpleNamespace(fileForInstance=lambda uid: str(files.get(uid, "")))
        self.volume = add_volume(self.image, "t1")
        self.volume.SetAttribute("DICOM.instanceUIDs", " ".join(files))
        self.hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        self.patient = self.hierarchy.CreateSubjectItem(self.hierarchy.GetSceneItemID(), "Doe, Jane")
        self.study = self.hierarchy.CreateStudyItem(self.patient, "MR pelvis")
        self.hierarchy.CreateItem(self.study, self.volume)


@pytest.fixture
def loaded(panel, tmp_path, monkeypatch):
    import slicer

    made = Loaded(tmp_path / "series")
    monkeypatch.setattr(slicer, "dicomDatabase", made.database, raising=False)
    return made


@pytest.fixture
def answer(monkeypatch, tmp_path):
    """Lets the file dialog answer."""
    import qt

    def say(path) -> Path:
        monkeypatch.setattr(qt.QFileDialog, "answer", str(path))
        return Path(path)

    return say


def export(panel) -> str:
    """Press the button and wait; what the panel says."""
    assert panel.ui.exportButton.enabled, panel.ui.exportButton.toolTip
    panel.ui.exportButton.click()
    panel.wait(lambda: panel.ui.exportButton.enabled)
    return panel.ui.exportStateLabel.text


def labels_in(node) -> dict[str, np.ndarray]:
    import slicer

    volume = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
    return {
        name: slicer.util.arrayFromSegmentBinaryLabelmap(node, name, volume) > 0 for name in ("RightFemur", "LeftFemur")
    }


def test_a_result_lies_under_the_patient_and_the_study_of_its_mri(panel, loaded):
    result = segment(panel)
    hierarchy = loaded.hierarchy
    study = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(result))
    assert study == loaded.study and hierarchy.GetItemParent(study) == loaded.patient


@pytest.mark.parametrize("turned", [False, True], ids=["as stored", "slices in the other order"])
def test_what_lies_in_the_scene_becomes_a_dicom_segmentation_of_the_series(
    panel,
    loaded,
    answer,
    tmp_path,
    pictures,
    turned,
):
    """With what the user drew, and at the same place however Slicer keeps the slices."""
    import slicer
    from HipICMSCLib.reading.dicom_seg import read_dicom_seg

    if turned:
        turn_slices(loaded.volume)
    result = segment(panel)
    drawn = labels_in(result)
    drawn["LeftFemur"][:, :, : drawn["LeftFemur"].shape[2] // 4 * 3] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        drawn["LeftFemur"].astype(np.uint8), result, "LeftFemur", loaded.volume
    )
    output = answer(tmp_path / "hips.dcm")
    assert export(panel) == "The DICOM segmentation is in hips.dcm."
    panel.picture(pictures / "exported.png")
    found, names = read_dicom_seg(output, "hips")
    voxels = sitk.GetArrayFromImage(sitk.Resample(found, loaded.image, sitk.Transform(), sitk.sitkNearestNeighbor))
    by_name = {name: voxels == value for value, name in names.items()}
    order = slice(None, None, -1) if turned else slice(None)
    assert drawn["LeftFemur"].any() and drawn["RightFemur"].any()
    assert np.array_equal(by_name["Left proximal femur"], drawn["LeftFemur"][order])
    assert np.array_equal(by_name["Right proximal femur"], drawn["RightFemur"][order])
    about = pydicom.dcmread(output)
    assert (about.StudyInstanceUID, about.PatientID, about.Modality) == ("1.2.9", "P", "SEG")
    (referenced,) = about.ReferencedSeriesSequence
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} <= set(loaded.files)
    # A person may have corrected it.
    assert {item.SegmentAlgorithmType for item in about.SegmentSequence} == {"SEMIAUTOMATIC"}
    assert not list(tmp_path.glob("*.nrrd")) and sorted(loaded.files.values()) == sorted(
        (tmp_path / "series").iterdir()
    )


def test_bones_are_exported_by_the_names_that_a_user_gave_them(panel, loaded, answer, tmp_path):
    """As they are measured and read from files; two of one name are refused."""
    from HipICMSCLib.reading.dicom_seg import read_dicom_seg

    result = segment(panel)
    drawn = labels_in(result)
    segmentation = result.GetSegmentation()
    segmentation.GetSegment("RightFemur").SetName("Left proximal femur")
    answer(tmp_path / "hips.dcm")
    assert "Two segments of t1 hips are the left proximal femur" in export(panel)
    assert not (tmp_path / "hips.dcm").exists()
    segmentation.GetSegment("LeftFemur").SetName("Right proximal femur")
    assert "is in hips.dcm" in export(panel)
    found, names = read_dicom_seg(tmp_path / "hips.dcm", "hips")
    voxels = sitk.GetArrayFromImage(sitk.Resample(found, loaded.image, sitk.Transform(), sitk.sitkNearestNeighbor))
    by_name = {name: voxels == value for value, name in names.items()}
    assert drawn["RightFemur"].any() and np.array_equal(by_name["Left proximal femur"], drawn["RightFemur"])
    assert drawn["LeftFemur"].any() and np.array_equal(by_name["Right proximal femur"], drawn["LeftFemur"])


def turn_slices(volume) -> None:
    """The same voxels at the same places, stored from the other end."""
    import slicer
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    voxels = slicer.util.arrayFromVolume(volume)[::-1].copy()
    matrix, last = vtkMatrix4x4(), [0.0] * 4
    volume.GetIJKToRASMatrix(matrix)
    matrix.MultiplyPoint((0, 0, len(voxels) - 1, 1), last)
    for row in range(3):
        matrix.SetElement(row, 2, -matrix.GetElement(row, 2))
        matrix.SetElement(row, 3, last[row])
    volume.SetIJKToRASMatrix(matrix)
    slicer.util.updateVolumeFromArray(volume, voxels)


def test_a_transform_in_the_scene_does_not_move_it(panel, loaded, answer, tmp_path):
    import slicer
    from HipICMSCLib.reading.dicom_seg import read_dicom_seg

    result = segment(panel)
    before = labels_in(result)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = (5, -7, 11)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    for node in (loaded.volume, result):
        node.SetAndObserveTransformNodeID(transform.GetID())
    output = answer(tmp_path / "hips.dcm")
    assert "is in hips.dcm" in export(panel)
    found, names = read_dicom_seg(output, "hips")
    voxels = sitk.GetArrayFromImage(sitk.Resample(found, loaded.image, sitk.Transform(), sitk.sitkNearestNeighbor))
    value = next(value for value, name in names.items() if name == "Right proximal femur")
    assert np.array_equal(voxels == value, before["RightFemur"])


def test_a_hardened_transform_is_refused_and_nothing_is_written(panel, loaded, answer, tmp_path):
    x, y, z = loaded.volume.GetOrigin()
    loaded.volume.SetOrigin(x + 5, y, z)
    segment(panel)
    output = answer(tmp_path / "hips.dcm")
    assert "do not lie on their voxels" in export(panel)
    assert not output.exists()


def test_files_that_left_the_database_are_named(panel, loaded, answer, tmp_path):
    segment(panel)
    next(iter(loaded.files.values())).unlink()
    answer(tmp_path / "hips.dcm")
    assert "DICOM files of t1 are not in Slicer's DICOM database any more" in export(panel)
    assert not (tmp_path / "hips.dcm").exists()


def test_no_file_of_the_user_is_lost(panel, loaded, answer, tmp_path, monkeypatch):
    import slicer

    segment(panel)
    (tmp_path / "hips.dcm").write_text("mine")
    answer(tmp_path / "hips")  # the dialogue did not ask about hips.dcm
    asked = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *rest, **more: asked.append(text))
    panel.ui.exportButton.click()
    assert asked == ["There is a file hips.dcm already. Replace it?"]
    assert (tmp_path / "hips.dcm").read_text() == "mine"
    slice_ = answer(next(iter(loaded.files.values())).rename(tmp_path / "series" / "a.dcm"))
    loaded.files[next(iter(loaded.files))] = slice_
    before = slice_.read_bytes()
    assert "is what is read" in export(panel) and slice_.read_bytes() == before
    answer("")
    before = sorted(tmp_path.iterdir()), panel.ui.exportStateLabel.text
    panel.ui.exportButton.click()
    assert panel.ui.exportButton.enabled and before == (sorted(tmp_path.iterdir()), panel.ui.exportStateLabel.text)


def test_a_second_export_waits_for_the_first(panel, loaded, answer, tmp_path):
    """A right click does not ask whether the button is on."""
    result = segment(panel)
    first = answer(tmp_path / "first.dcm")
    panel.ui.exportButton.click()
    second = answer(tmp_path / "second.dcm")
    panel.widget.panel.export(result)
    assert panel.ui.exportStateLabel.text == "A DICOM segmentation is being written; wait until it is done."
    panel.wait(lambda: panel.ui.exportButton.enabled)
    assert panel.ui.exportStateLabel.text == "The DICOM segmentation is in first.dcm."
    assert first.exists() and not second.exists()
    panel.widget.panel.export(result)
    panel.wait(lambda: panel.ui.exportButton.enabled)
    assert second.exists()


def test_without_dicom_the_button_says_why_it_is_off(panel):
    add_volume()
    segment(panel)
    assert not panel.ui.exportButton.enabled and "DICOM module" in panel.ui.exportButton.toolTip


def test_where_slicer_can_export_it_is_left_to_slicer(panel, loaded, monkeypatch):
    import slicer

    monkeypatch.setattr(slicer.modules, "quantitativereporting", object(), raising=False)
    segment(panel)
    assert panel.ui.exportButton.parent().isHidden()
