"""The data section: from volumes of the scene to a checked data set by clicks, and what it says on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer_stand_ins
from ball_hips import LEFT_CENTRE, LEFT_RADIUS, RIGHT_CENTRE, RIGHT_RADIUS, ball_image
from waiting import wait

RESOURCES = slicer_stand_ins.module_file("HipICMSCTraining").parent / "Resources"


class Bench:
    """The section alone, and what a user does with it."""

    def __init__(self, app, application) -> None:
        from HipICMSCTrainingLib.gui.panels.data_panel import DataPanel
        from HipICMSCTrainingLib.gui.running.activity import Activity

        self.scene, self._application = app.scene, application
        self.panel = DataPanel(lambda name: str(RESOURCES / name), Activity())
        self.ui = self.panel.ui
        self.changes = 0
        self.panel.changed.connect(self._count)

    def _count(self) -> None:
        self.changes += 1

    def wait(self, until, seconds: float = 120) -> None:
        wait(self._application, until, seconds)

    def shows(self, widget) -> bool:
        """Whether the user sees it in the section."""
        return widget.isVisibleTo(self.panel.widget)

    def rows(self) -> list[list[str]]:
        table = self.ui.dataTable
        return [
            [*(table.item(row, column).text() for column in (0, 1, 2)), table.cellWidget(row, 3).currentText,
             table.item(row, 4).text()]
            for row in range(table.rowCount)
        ]  # fmt: skip

    def select(self, *rows: int) -> None:
        self.ui.dataTable.clearSelection()
        for row in rows:
            self.ui.dataTable.selectRow(row)

    def role(self, row: int, text: str) -> None:
        self.ui.dataTable.cellWidget(row, 3).currentText = text

    def problems(self) -> list[str]:
        return [self.ui.dataProblemsList.item(row).text() for row in range(self.ui.dataProblemsList.count)]

    def answer_file_dialog(self, button, path: Path | str) -> None:
        import pythonqt

        pythonqt.QFileDialog.answer = str(path)
        button.click()
        pythonqt.QFileDialog.answer = ""

    # The area of the scene.

    def scene_rows(self) -> list[list[str]]:
        table = self.ui.dataSceneTable
        return [
            [table.item(row, 0).text(), *(table.cellWidget(row, column).currentText for column in (1, 2))]
            for row in range(table.rowCount)
        ]

    def tick(self, *names: str) -> None:
        from PySide6.QtCore import Qt

        table = self.ui.dataSceneTable
        for row in range(table.rowCount):
            item = table.item(row, 0)
            item.setCheckState(Qt.Checked if item.text() in names else Qt.Unchecked)

    def ticked(self) -> list[str]:
        from PySide6.QtCore import Qt

        table = self.ui.dataSceneTable
        items = [table.item(row, 0) for row in range(table.rowCount)]
        return [item.text() for item in items if item.checkState() == Qt.Checked]

    def choose(self, volume: str, column: int, text: str) -> None:
        row = [line[0] for line in self.scene_rows()].index(volume)
        self.ui.dataSceneTable.cellWidget(row, column).currentText = text

    def meanings(self) -> dict[str, str]:
        table = self.ui.dataMappingTable
        return {table.item(row, 0).text(): table.cellWidget(row, 1).currentText for row in range(table.rowCount)}

    def mean(self, name: str, text: str) -> None:
        row = list(self.meanings()).index(name)
        self.ui.dataMappingTable.cellWidget(row, 1).currentText = text

    def picture(self, path: Path) -> None:
        from PySide6 import QtWidgets

        QtWidgets.QWidget.resize(self.panel.widget, 460, 100)
        QtWidgets.QWidget.show(self.panel.widget)
        for _ in range(4):
            self._application.processEvents()
        QtWidgets.QWidget.resize(self.panel.widget, 460, self.panel.widget.sizeHint.height())
        for _ in range(2):
            self._application.processEvents()
        QtWidgets.QWidget.grab(self.panel.widget).save(str(path))


@pytest.fixture
def data(bench):
    """The section of a user who does this for the first time, in an empty scene."""
    app, application = bench
    app.scene.Clear()
    slicer_stand_ins.QSettings.values.clear()
    opened = Bench(app, application)
    yield opened
    opened.panel.close()
    app.scene.Clear()


@pytest.fixture
def dialogs(data) -> list[tuple[str, str]]:
    """What Slicer would have said since the test began."""
    import pythonqt

    pythonqt.DIALOGS.clear()
    return pythonqt.DIALOGS


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "hips" / "dataset.json"


def ball_classes(image: sitk.Image) -> np.ndarray:
    """(z, y, x): 2 within the balls, 1 in a shell about their upper halves."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.GetSize()[::-1]), indexing="ij"), axis=-1)[..., ::-1]
    points = np.array(image.GetOrigin()) + index * image.GetSpacing()
    classes = np.zeros(points.shape[:3], np.uint8)
    for centre, radius in ((RIGHT_CENTRE, RIGHT_RADIUS), (LEFT_CENTRE, LEFT_RADIUS)):
        distance = np.linalg.norm(points - centre, axis=-1)
        classes[(distance < radius + 8) & (distance >= radius) & (points[..., 2] > centre[2])] = 1
        classes[distance < radius] = 2
    return classes


def mri_image(seed: int) -> sitk.Image:
    image = ball_image()
    voxels = sitk.GetArrayFromImage(image) + np.random.default_rng(seed).integers(0, 20, image.GetSize()[::-1])
    return like(image, voxels.astype(np.int16))


def ct_image(seed: int) -> sitk.Image:
    """Hounsfield units: air about a body of soft tissue, in it the balls of bone."""
    image = ball_image()
    classes = ball_classes(image)
    voxels = np.array([40, 500, 350])[classes] + np.random.default_rng(seed).integers(0, 20, classes.shape)
    voxels[:, :6] = voxels[:, -6:] = -1000
    return like(image, voxels.astype(np.int16))


def like(image: sitk.Image, voxels: np.ndarray) -> sitk.Image:
    result = sitk.GetImageFromArray(voxels)
    result.CopyInformation(image)
    return result


def add_volume(scene, name: str, image: sitk.Image, kind: str = "vtkMRMLScalarVolumeNode"):
    import slicer

    node = scene.AddNewNodeByClass(kind, name)
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
    node.SetSpacing(image.GetSpacing())
    node.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    node.SetOrigin(np.array(image.GetOrigin()) * (-1, -1, 1))
    return node


def add_segmentation(volume, name: str, **segments: np.ndarray):
    import slicer

    node = volume.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for segment, voxels in segments.items():
        segment_id = node.GetSegmentation().AddEmptySegment("", segment)
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels.astype(np.uint8), node, segment_id, volume)
    return node


def fill_scene(scene) -> None:
    """Two CTs with segmentations, as TotalSegmentator names segments, and two MRIs."""
    classes = ball_classes(ball_image())
    left = np.arange(classes.shape[2]) > classes.shape[2] / 2
    segments = {
        f"{bone}_{side}": (classes == value) & where
        for bone, value in (("hip", 1), ("femur", 2))
        for side, where in (("left", left), ("right", ~left))
    }
    sacrum = np.zeros(classes.shape, bool)
    sacrum[30:34, 20:24, 48:52] = True
    for number in (1, 2):
        volume = add_volume(scene, f"Doe^Jane {number} CT", ct_image(number))
        add_segmentation(volume, f"drawn {number}", **segments, sacrum=sacrum)
    for number in (1, 2):
        add_volume(scene, f"Doe^John {number} MRI", mri_image(number))


def write_pair(folder: Path, stem: str, image: sitk.Image, values: tuple[int, int] | None = (1, 2)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(folder / f"{stem}.nii.gz"))
    if values:
        classes = np.array([0, *values])[ball_classes(image)].astype(np.int16)
        sitk.WriteImage(like(image, classes), str(folder / f"{stem}_label.nii.gz"))


def dataset(path: Path, **roles: str) -> Path:
    """A dataset.json of real volumes: names such as ct1 and mri2, each with its role."""
    cases = []
    for name, role in roles.items():
        is_ct = name.startswith("ct")
        write_pair(path.parent, name, (ct_image if is_ct else mri_image)(len(cases)), (1, 2) if is_ct else None)
        case = {"name": name, "modality": "CT" if is_ct else "MR", "role": role, "patient": name}
        cases.append(case | {"image": f"{name}.nii.gz"} | ({"label": f"{name}_label.nii.gz"} if is_ct else {}))
    path.write_text(json.dumps({"cases": cases}))
    return path


def test_an_empty_section_says_what_comes_first(data, path, pictures):
    ui = data.ui
    assert "Choose the dataset.json" in data.panel.blocking_sentence() == ui.dataStateLabel.text
    assert data.panel.dataset_file is None
    for name in ("Scene", "Folder", "File", "Remove", "Roles", "Check"):
        button = getattr(ui, f"data{name}Button")
        assert not button.enabled and button.toolTip == data.panel.blocking_sentence()
    assert ui.dataNewButton.enabled
    data.picture(pictures / "data-empty.png")
    data.panel.set_dataset_file(path)
    assert data.panel.dataset_file == path and "no volumes yet" in data.panel.blocking_sentence()
    assert ui.dataSceneButton.enabled and "Show the volumes" in ui.dataSceneButton.toolTip
    assert ui.dataRolesButton.toolTip == "The data set has no volumes yet."
    assert not path.parent.exists(), "looking made a folder"


def test_from_the_scene_to_a_checked_data_set_by_clicks(data, path, pictures, dialogs):
    from HipICMSCTrainingLib.data.dataset_file import dataset_from_file

    ui = data.ui
    fill_scene(data.scene)
    path.parent.mkdir()
    data.answer_file_dialog(ui.dataNewButton, path.parent)
    assert ui.dataPathEdit.currentPath == str(path) and data.panel.dataset_file == path
    ui.dataSceneButton.click()
    assert data.scene_rows() == [
        ["Doe^Jane 1 CT", "CT", "drawn 1"], ["Doe^Jane 2 CT", "CT", "drawn 2"],
        ["Doe^John 1 MRI", "MRI", "nothing"], ["Doe^John 2 MRI", "MRI", "nothing"],
    ]  # fmt: skip
    assert len(data.ticked()) == 4 and data.shows(ui.dataMappingTable)
    hip, femur = "hip bone (acetabulum)", "femur"
    assert data.meanings() == {
        "hip_left": hip, "hip_right": hip, "femur_left": femur, "femur_right": femur, "sacrum": "leave out",
    }  # fmt: skip
    data.picture(pictures / "data-from-scene.png")
    ui.dataSceneAddButton.click()
    assert dialogs == [] and data.ticked() == []
    assert data.rows() == [
        ["ct-001", "CT", "present", "Training", "ct-001"], ["ct-002", "CT", "present", "Training", "ct-002"],
        ["mri-001", "MRI", "not needed", "Training", "mri-001"],
        ["mri-002", "MRI", "not needed", "Training", "mri-002"],
    ]  # fmt: skip
    assert "Volumes added: 4." in ui.dataStateLabel.text
    assert "none to hold out" in data.panel.blocking_sentence()
    assert "Suggest roles" in data.panel.blocking_sentence()
    assert b"Doe" not in b"".join(file.read_bytes() for file in path.parent.iterdir())

    ui.dataRolesButton.click()
    assert sorted(row[3] for row in data.rows()) == ["Training", "Training", "Validation", "Validation"]
    assert data.panel.blocking_sentence() == "" and "can start" in ui.dataStateLabel.text
    read = dataset_from_file(path)
    for case in read.cases[:2]:
        labels = sitk.ReadImage(case.label)
        assert (sitk.GetArrayFromImage(labels) == ball_classes(labels)).all()

    ui.dataSceneButton.click()
    assert "not been checked" in ui.dataCheckLabel.text
    ui.dataCheckButton.click()
    assert ui.dataCheckButton.text == "Cancel check"
    seen = set()
    data.wait(lambda: seen.add(ui.dataCheckLabel.text) or ui.dataCheckButton.text == "Check data")
    assert {"Checking the data: ct-001 …", "Checking the data: mri-002 …"} <= seen and dialogs == []
    assert "Last check: " in ui.dataCheckLabel.text
    assert any("come from 2 patients only" in line and line.startswith("Caution: ") for line in data.problems())
    assert (path.parent / "dataset.check.json").is_file()
    data.picture(pictures / "data-checked.png")


def test_all_is_as_it_was_when_slicer_is_started_again(data, path, bench):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    data.panel.set_dataset_file(path)
    data.ui.dataCheckButton.click()
    data.wait(lambda: data.ui.dataCheckButton.text == "Check data")
    again = Bench(bench[0], bench[1])
    again.panel.set_dataset_file(path)
    assert again.rows() == data.rows() and len(again.rows()) == 4
    assert again.problems() == data.problems() != []
    assert again.ui.dataCheckLabel.text == data.ui.dataCheckLabel.text
    assert "out of date" not in again.ui.dataCheckLabel.text
    again.role(1, "Test")
    assert "out of date" in again.ui.dataCheckLabel.text
    data.panel.refresh()
    assert data.rows() == again.rows(), "the module was entered again"
    again.panel.close()


def test_a_stop_that_a_check_found_blocks_until_it_is_checked_again(data, path, pictures, dialogs):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    wrong = ct_image(0)
    write_pair(path.parent, "ct1", wrong)
    sitk.WriteImage(sitk.Image(wrong.GetSize(), sitk.sitkUInt8), str(path.parent / "ct1_label.nii.gz"))
    data.panel.set_dataset_file(path)
    assert data.panel.blocking_sentence() == "", "a check that was not made blocks nothing"
    data.ui.dataCheckButton.click()
    data.wait(lambda: data.ui.dataCheckButton.text == "Check data")
    assert dialogs == [], "stops are a result, no failure"
    assert data.problems()[0].startswith("Stop: ") and "ct1" in data.problems()[0]
    assert data.panel.blocking_sentence() == data.problems()[0].removeprefix("Stop: ")
    data.ui.dataProblemsList.setCurrentRow(0)
    assert {item.row() for item in data.ui.dataTable.selectedItems()} == {0}
    data.picture(pictures / "data-stops.png")

    write_pair(path.parent, "ct1", wrong)
    data.panel.refresh()
    assert "check the data again" in data.panel.blocking_sentence()
    data.ui.dataCheckButton.click()
    data.wait(lambda: data.ui.dataCheckButton.text == "Check data")
    assert not any("ct1" in line and line.startswith("Stop") for line in data.problems())


def test_what_is_wrong_with_a_case_goes_with_the_case(data, path):
    from HipICMSCTrainingLib.gui.panels.check_report import write_report

    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", ct3="train", mri1="train", mri2="val")
    stop = {"level": "stop", "kind": "no_hip", "case": "ct3", "sentence": "ct3 shows no hip.", "fix": "Leave it out."}
    write_report(path, "", {"problems": [stop]})
    data.panel.set_dataset_file(path)
    assert "ct3 shows no hip." in data.panel.blocking_sentence()
    data.select(2)
    data.ui.dataRemoveButton.click()
    assert data.panel.blocking_sentence() == "" and data.problems() == []


def test_a_check_can_be_cancelled(data, path, dialogs):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    data.panel.set_dataset_file(path)
    data.ui.dataCheckButton.click()
    assert data.ui.dataCheckButton.enabled and data.shows(data.ui.dataCheckProgressBar)
    data.ui.dataCheckButton.click()
    data.wait(lambda: data.ui.dataCheckButton.text == "Check data", seconds=2)
    assert dialogs == [] and "not been checked" in data.ui.dataCheckLabel.text
    assert not (path.parent / "dataset.check.json").exists()


def test_a_check_that_fails_is_told(data, path, dialogs):
    path.parent.mkdir()
    dataset(path, ct1="train", mri1="train")
    data.panel.set_dataset_file(path)
    path.unlink()
    data.ui.dataCheckButton.click()
    data.wait(lambda: dialogs)
    assert "There is no file" in dialogs[0][1]


def test_a_check_ends_with_the_section(data, path):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    data.panel.set_dataset_file(path)
    data.ui.dataCheckButton.click()
    process = data.panel._check._command._process
    data.panel.close()
    assert process.poll() is not None


def test_a_ct_waits_for_what_is_drawn_on_it_and_for_what_that_means(data, path):
    ui = data.ui
    volume = add_volume(data.scene, "CT", ct_image(1))
    data.panel.set_dataset_file(path)
    ui.dataSceneButton.click()
    assert data.ticked() == [], "there is nothing to add it with"
    assert ui.dataSceneAddButton.toolTip == "Tick at least one volume."
    data.tick("CT")
    assert not ui.dataSceneAddButton.enabled
    assert ui.dataSceneAddButton.toolTip.startswith("Choose what is drawn on CT") and not data.shows(
        ui.dataMappingTable
    )
    classes = ball_classes(ball_image())
    add_segmentation(volume, "S", A=classes == 1, B=classes == 2)
    data.wait(lambda: ui.dataSceneTable.cellWidget(0, 2).count == 2, seconds=5)
    assert data.ticked() == ["CT"], "the user's tick is gone"
    data.choose("CT", 2, "S")
    assert data.meanings() == {"A": "leave out", "B": "leave out"}
    assert ui.dataSceneAddButton.toolTip == "Say which segments of S are the hip bone (acetabulum)."
    assert ui.dataSceneNoteLabel.text == ui.dataSceneAddButton.toolTip
    data.mean("A", "hip bone (acetabulum)")
    assert ui.dataSceneAddButton.toolTip == "Say which segments of S are the femur."
    data.mean("B", "femur")
    assert ui.dataSceneAddButton.enabled
    ui.dataSceneAddButton.click()
    assert [row[2] for row in data.rows()] == ["present"]
    data.tick("CT")
    assert data.meanings() == {"A": "hip bone (acetabulum)", "B": "femur"}


def test_what_segments_mean_is_remembered_for_the_next_session(data, path, bench):
    volume = add_volume(data.scene, "CT", ct_image(1))
    classes = ball_classes(ball_image())
    add_segmentation(volume, "S", A=classes == 1, B=classes == 2)
    data.panel.set_dataset_file(path)
    data.ui.dataSceneButton.click()
    data.mean("A", "hip bone (acetabulum)")
    data.mean("B", "femur")
    data.ui.dataSceneAddButton.click()
    again = Bench(*bench)
    again.panel.set_dataset_file(path)
    again.ui.dataSceneButton.click()
    assert again.meanings() == {"A": "hip bone (acetabulum)", "B": "femur"}
    again.panel.close()


def test_a_labelled_mri_is_only_measured_and_that_is_said(data, path, pictures):
    ui = data.ui
    volume = add_volume(data.scene, "MRI", mri_image(1))
    classes = ball_classes(ball_image())
    add_segmentation(volume, "MRI hips", Pelvis=classes == 1, Femur=classes == 2)
    data.panel.set_dataset_file(path)
    ui.dataSceneButton.click()
    assert data.scene_rows() == [["MRI", "MRI", "nothing"]], "a result of ours is no truth unless the user says so"
    data.choose("MRI", 2, "MRI hips")
    assert "measuring only" in ui.dataSceneNoteLabel.text and ui.dataSceneAddButton.enabled
    data.picture(pictures / "data-labelled-mri.png")
    ui.dataSceneAddButton.click()
    assert data.rows() == [["mri-001", "MRI", "measuring only", "Test", "mri-001"]]
    role = ui.dataTable.cellWidget(0, 3)
    assert not role.enabled and "only measured" in role.toolTip
    assert "Labelled MRIs are for measuring only" in ui.dataStateLabel.text
    assert data.panel.blocking_sentence() != ""


def test_for_a_method_that_is_trained_on_labelled_mris_they_are_added_like_cts(data, path, tmp_path, pictures):
    ui = data.ui
    data.panel.set_method("target_model", labelled_mri=True)
    data.panel.set_dataset_file(path)
    volume = add_volume(data.scene, "MRI", mri_image(1))
    classes = ball_classes(ball_image())
    add_segmentation(volume, "MRI hips", Pelvis=classes == 1, Femur=classes == 2)
    ui.dataSceneButton.click()
    assert "choose what is drawn" in ui.dataSceneNoteLabel.text and ui.dataSceneAddButton.enabled
    data.choose("MRI", 2, "MRI hips")
    assert not data.shows(ui.dataSceneNoteLabel)
    ui.dataSceneAddButton.click()
    for stem in ("a", "b"):
        write_pair(tmp_path / "mri", stem, mri_image(2))
    ui.dataFolderButton.click()
    ui.dataFolderEdit.currentPath = str(tmp_path / "mri")
    ui.dataFolderKindComboBox.currentIndex = 2
    assert ui.dataFolderKindComboBox.currentText == "MRIs with label maps"
    assert "for the training" in ui.dataFolderNoteLabel.text
    ui.dataFolderAddButton.click()
    assert [row[2:4] for row in data.rows()] == [["present", "Training"]] * 3
    ui.dataRolesButton.click()
    assert sorted(row[3] for row in data.rows()) == ["Training", "Training", "Validation"]
    data.picture(pictures / "data-target-model.png")
    for row in range(3):
        data.role(row, "Test")
    assert not data.shows(ui.dataMeasureButton)
    assert "given another role in the table" in "\n".join(data.problems())
    data.panel.set_method("icmsc", labelled_mri=False)
    assert ui.dataFolderKindComboBox.currentText == "MRIs with label maps, for measuring only"
    assert [row[2] for row in data.rows()] == ["measuring only"] * 3


def test_the_kind_can_be_corrected(data, path):
    volume = add_volume(data.scene, "odd", mri_image(1))
    add_segmentation(volume, "odd seg", Pelvis=ball_classes(ball_image()) == 1)
    data.panel.set_dataset_file(path)
    data.ui.dataSceneButton.click()
    assert data.scene_rows() == [["odd", "MRI", "nothing"]]
    data.choose("odd", 1, "CT")
    assert data.scene_rows() == [["odd", "CT", "odd seg"]]


def test_a_label_map_on_other_voxels_needs_a_tick(data, path, dialogs):
    ui = data.ui
    image = ct_image(1)
    add_volume(data.scene, "CT", image)
    classes = ball_classes(image)
    cropped = like(image[:-3, :, :], classes[:, :, :-3])
    add_volume(data.scene, "CT label", cropped, "vtkMRMLLabelMapVolumeNode")
    data.panel.set_dataset_file(path)
    ui.dataSceneButton.click()
    assert data.scene_rows() == [["CT", "CT", "CT label"]]
    assert data.meanings() == {"1": "hip bone (acetabulum)", "2": "femur"}
    ui.dataSceneAddButton.click()
    ((kind, text),) = dialogs
    assert kind == "errorDisplay" and "does not lie on the voxels" in text and data.rows() == []
    assert data.ticked() == ["CT"] and not path.exists() and "added" not in ui.dataStateLabel.text
    ui.dataResampleCheckBox.click()
    ui.dataSceneAddButton.click()
    assert [row[2] for row in data.rows()] == ["present"]
    labels = sitk.ReadImage(str(path.parent / "ct-001_label.nrrd"))
    assert (sitk.GetArrayFromImage(labels) == classes).all()


def test_volumes_can_keep_their_names_made_safe(data, path):
    for _ in range(2):
        add_volume(data.scene, "hip: 7/b", mri_image(1))
    data.panel.set_dataset_file(path)
    data.ui.dataSceneButton.click()
    data.ui.dataSceneNamesComboBox.currentIndex = 1
    data.ui.dataSceneAddButton.click()
    assert [row[0] for row in data.rows()] == ["hip-7-b", "hip-7-b-2"]


def test_volumes_of_one_dicom_patient_share_a_patient_that_has_no_name(data, path):
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(data.scene)
    nodes = [add_volume(data.scene, f"MRI {i}", mri_image(i)) for i in range(3)]
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Doe^Jane")
    hierarchy.SetItemUID(patient, "DICOM", "DOE1957")
    study = hierarchy.CreateStudyItem(patient, "Study")
    for node in nodes[:2]:
        hierarchy.CreateItem(study, node)
    data.panel.set_dataset_file(path)
    data.ui.dataSceneButton.click()
    data.ui.dataSceneAddButton.click()
    assert [row[4] for row in data.rows()] == ["mri-001", "mri-001", "mri-003"]
    assert "DOE" not in path.read_text()


def test_a_deleted_volume_leaves_the_list(data, path):
    add_volume(data.scene, "MRI 1", mri_image(1))
    second = add_volume(data.scene, "MRI 2", mri_image(2))
    data.panel.set_dataset_file(path)
    data.ui.dataSceneButton.click()
    data.tick("MRI 2")
    data.scene.RemoveNode(second)
    data.ui.dataSceneAddButton.click()
    assert data.rows() == []
    data.wait(lambda: [row[0] for row in data.scene_rows()] == ["MRI 1"], seconds=5)
    drawn = add_segmentation(data.scene.GetFirstNodeByName("MRI 1"), "S", Femur=ball_classes(ball_image()) == 2)
    data.wait(lambda: data.ui.dataSceneTable.cellWidget(0, 2).count == 2, seconds=5)
    data.choose("MRI 1", 2, "S")
    data.scene.RemoveNode(drawn)
    data.choose("MRI 1", 1, "CT")
    data.tick("MRI 1")
    assert data.ui.dataSceneAddButton.toolTip.startswith("Choose what is drawn on MRI 1")
    data.scene.Clear()
    data.wait(lambda: data.scene_rows() == [], seconds=5)
    assert data.ui.dataSceneAddButton.toolTip == "The scene has no volumes; load some first."


def test_another_scene_begins_without_the_choices_of_the_last_one(data, path):
    add_volume(data.scene, "MRI", mri_image(1))
    data.panel.set_dataset_file(path)
    data.ui.dataSceneButton.click()
    data.tick()
    data.ui.dataSceneButton.click()
    data.scene.Clear()
    add_segmentation(add_volume(data.scene, "CT", ct_image(1)), "S", Femur=ball_classes(ball_image()) == 2)
    data.ui.dataSceneButton.click()
    assert data.scene_rows() == [["CT", "CT", "S"]] and data.ticked() == ["CT"]


def test_pairs_of_a_folder_are_taken_where_they_are(data, path, tmp_path, pictures):
    ui, folder = data.ui, tmp_path / "Jane Doe"
    for stem in ("a", "b"):
        write_pair(folder, stem, ct_image(1), (5, 7))
    write_pair(folder, "c", ct_image(1), None)
    data.panel.set_dataset_file(path)
    ui.dataFolderButton.click()
    assert ui.dataFolderAddButton.toolTip == ui.dataFolderNoteLabel.text == "Choose a folder."
    ui.dataFolderEdit.currentPath = str(folder)
    assert ui.dataFolderNoteLabel.text == "Volumes in this folder: 3, with label maps: 2."
    assert (ui.dataHipBoneValuesEdit.text, ui.dataFemurValuesEdit.text) == ("1", "2")
    ui.dataHipBoneValuesEdit.text, ui.dataFemurValuesEdit.text = "5", "x"
    assert "whole numbers" in ui.dataFolderAddButton.toolTip and not ui.dataFolderAddButton.enabled
    ui.dataFemurValuesEdit.text = "5"
    assert "label values of their own" in ui.dataFolderAddButton.toolTip
    ui.dataFemurValuesEdit.text = "7, 8"
    ui.dataOtherValuesCheckBox.click()
    data.picture(pictures / "data-from-folder.png")
    ui.dataFolderAddButton.click()
    assert [row[:3] for row in data.rows()] == [
        ["ct-001", "CT", "present"], ["ct-002", "CT", "present"], ["ct-003", "CT", "missing"],
    ]  # fmt: skip
    assert ui.dataTable.item(0, 0).toolTip() == str(folder / "a.nii.gz")
    assert "has no label map" in ui.dataTable.item(2, 2).toolTip()
    assert any(line.startswith("Stop: The CT ct-003 has no label map.") for line in data.problems())
    case = json.loads(path.read_text())["cases"][0]
    assert case["label_values"] == {"acetabulum": [5], "femur": [7, 8], "ignore_others": True}
    ui.dataFolderAddButton.click()
    assert len(data.rows()) == 3 and "Nothing was added" in ui.dataStateLabel.text
    data.picture(pictures / "data-incomplete.png")


def test_mris_of_a_folder_with_or_without_their_label_maps(data, path, tmp_path):
    ui, folder = data.ui, tmp_path / "mri"
    write_pair(folder, "a", mri_image(1))
    write_pair(folder, "b", mri_image(2), None)
    data.panel.set_dataset_file(path)
    ui.dataFolderButton.click()
    ui.dataFolderEdit.currentPath = str(folder)
    ui.dataFolderNamesComboBox.currentIndex = 1
    ui.dataFolderKindComboBox.currentIndex = 2
    assert "measuring only" in ui.dataFolderNoteLabel.text and data.shows(ui.dataHipBoneValuesEdit)
    ui.dataFolderAddButton.click()
    assert data.rows() == [["a", "MRI", "measuring only", "Test", "a"]]
    data.select(0)
    ui.dataRemoveButton.click()
    ui.dataFolderKindComboBox.currentIndex = 1
    assert not data.shows(ui.dataHipBoneValuesEdit)
    ui.dataFolderAddButton.click()
    assert [row[:4] for row in data.rows()] == [
        ["a", "MRI", "not needed", "Training"], ["b", "MRI", "not needed", "Training"],
    ]  # fmt: skip


def test_corrected_mris_come_as_case_folders(data, path, tmp_path, pictures):
    from corrected import case_in

    ui, folder = data.ui, tmp_path / "cases"
    case_in(folder)
    data.panel.set_dataset_file(path)
    ui.dataFolderButton.click()
    ui.dataFolderKindComboBox.currentIndex = 3
    ui.dataFolderEdit.currentPath = str(tmp_path)
    assert "holds no corrected case" in ui.dataFolderNoteLabel.text and not ui.dataFolderAddButton.enabled
    ui.dataFolderEdit.currentPath = str(folder)
    assert ui.dataFolderNoteLabel.text == "Corrected cases: 1."
    assert not data.shows(ui.dataHipBoneValuesEdit) and not data.shows(ui.dataFolderNamesComboBox)
    ui.dataFolderAddButton.click()
    assert data.rows() == [["case-001", "MRI", "corrected", "Training", "case-001"]]
    assert "corrected ones: 1 teach, 0 are held out" in ui.dataStateLabel.text
    assert not any("label map" in problem for problem in data.problems())
    entry = json.loads(path.read_text())["cases"][0]
    assert Path(entry["corrected"]).name == "case-001" and "image" not in entry
    data.picture(pictures / "data-corrected.png")
    # Who moves the folder is told which case it is.
    (folder / "case-001").rename(tmp_path / "elsewhere")
    data.panel.refresh()
    assert any("The case folder of case-001 is not there any more" in problem for problem in data.problems())


def test_another_data_set_is_added_with_its_roles(data, path, tmp_path):
    other = tmp_path / "other" / "dataset.json"
    other.parent.mkdir()
    dataset(other, ct1="val", mri1="train")
    path.parent.mkdir()
    dataset(path, ct1="train")
    data.panel.set_dataset_file(path)
    data.answer_file_dialog(data.ui.dataFileButton, other)
    assert [row[:4] for row in data.rows()] == [
        ["ct1", "CT", "present", "Training"], ["ct1-2", "CT", "present", "Validation"],
        ["mri1", "MRI", "not needed", "Training"],
    ]  # fmt: skip
    assert any("The patient ct1 is in training and in validation." in line for line in data.problems())


def test_roles_go_by_patient(data, path):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    data.panel.set_dataset_file(path)
    changes = data.changes
    data.ui.dataTable.item(2, 4).setText("ct1")
    assert [row[4] for row in data.rows()] == ["ct1", "ct2", "ct1", "mri2"] and data.changes == changes + 1
    data.role(0, "Validation")
    assert [row[3] for row in data.rows()] == ["Validation", "Validation", "Validation", "Validation"]
    assert "none to train on" in data.panel.blocking_sentence()
    data.ui.dataTable.item(0, 4).setText(" ")
    assert data.rows()[0][4] == "ct1", "a case without a patient is a patient of its own"
    data.ui.dataTable.item(2, 4).setText("mri2")
    data.role(0, "Training")
    data.ui.dataTable.item(0, 4).setText("ct2")
    assert [row[3] for row in data.rows()] == ["Validation"] * 4, "it takes the role that its patient has"


def test_rows_are_removed_and_their_files_stay(data, path):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    data.panel.set_dataset_file(path)
    assert data.ui.dataRemoveButton.toolTip == "Select rows of the table first."
    data.select(1)
    assert data.ui.dataRemoveButton.enabled
    data.ui.dataRemoveButton.click()
    assert [row[0] for row in data.rows()] == ["ct1", "mri1", "mri2"]
    assert [case["name"] for case in json.loads(path.read_text())["cases"]] == ["ct1", "mri1", "mri2"]
    assert (path.parent / "ct2.nii.gz").is_file()


def test_a_file_that_is_gone_is_seen(data, path):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    (path.parent / "ct1_label.nii.gz").unlink()
    (path.parent / "mri1.nii.gz").unlink()
    data.panel.set_dataset_file(path)
    assert [row[2] for row in data.rows()] == ["file missing", "present", "volume missing", "not needed"]
    assert "is not there any more" in data.panel.blocking_sentence()


def test_a_file_that_another_program_changed_is_read_again_and_said(data, path, dialogs):
    path.parent.mkdir()
    dataset(path, ct1="train", ct2="val", mri1="train", mri2="val")
    data.panel.set_dataset_file(path)
    dataset(path, ct1="train", mri1="train")
    data.role(0, "Validation")
    ((kind, text),) = dialogs
    assert kind == "errorDisplay" and "Another program" in text
    assert [row[:4] for row in data.rows()] == [
        ["ct1", "CT", "present", "Training"], ["mri1", "MRI", "not needed", "Training"],
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["{", '{"cases": [{"colour": "red"}]}'])
def test_a_damaged_file_is_said_and_left_alone(data, path, text):
    path.parent.mkdir()
    path.write_text(text)
    data.panel.set_dataset_file(path)
    assert data.panel.dataset_file is None and data.panel.blocking_sentence() == data.ui.dataStateLabel.text != ""
    assert not data.ui.dataFolderButton.enabled and path.read_text() == text
    dataset(path, ct1="train")
    data.panel.refresh()
    assert data.panel.dataset_file == path and len(data.rows()) == 1, "it was repaired meanwhile"


def test_an_existing_data_set_is_not_replaced_by_a_new_one(data, path):
    path.parent.mkdir()
    dataset(path, ct1="train")
    data.answer_file_dialog(data.ui.dataNewButton, path.parent)
    assert len(data.rows()) == 1 and "has a data set already" in data.ui.dataStateLabel.text


@pytest.mark.parametrize("typed", ["notes.txt", "dataset", "hips/dataset.json"])
def test_a_path_that_cannot_be_a_data_set_is_refused(data, typed):
    data.ui.dataPathEdit.currentPath = typed
    assert data.panel.dataset_file is None and "ends in .json" in data.panel.blocking_sentence()


def test_every_control_can_be_reached_and_says_what_it_does(data):
    names = [name for name in vars(data.ui) if name.endswith(("Button", "Edit", "ComboBox", "CheckBox", "Table"))]
    assert len(names) > 20
    assert all(name.startswith("data") for name in names), "names are unique over all sections"
    for name in names:
        if name != "dataCollapsibleButton":
            assert getattr(data.ui, name).toolTip, name


def test_the_section_loads_without_the_libraries_of_the_network():
    """Slicer's own process imports it, so that it may import nothing that is not in Slicer."""
    code = """
import sys
for name in ("torch", "skimage", "safetensors"):
    sys.modules[name] = None
sys.path[:0] = sys.argv[1:]
from types import ModuleType
for name in ("slicer", "slicer.i18n", "slicer.util", "qt"):
    sys.modules[name] = ModuleType(name)
sys.modules["slicer.i18n"].tr = str
sys.modules["slicer.util"].VTKObservationMixin = object
import HipICMSCTrainingLib.gui.panels.data_panel
"""
    paths = [str(slicer_stand_ins.module_file(name).parent) for name in ("HipICMSC", "HipICMSCTraining")]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
