"""What volumes of the scene become in the data set: their kind, labels, names and patients."""

from __future__ import annotations

import SimpleITK as sitk
from ball_hips import ball_image
from data_section import Bench, add_segmentation, add_volume, ball_classes, ct_image, like, mri_image, write_pair


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
    data.wait(lambda: ui.dataSceneTable.cellWidget(0, 2).count == 2)
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
    data.panel.set_training("target_model", labelled_mri=True)
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
    data.panel.set_training("icmsc", labelled_mri=False)
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


def test_a_ct_is_never_ticked_with_what_was_drawn_on_another(data, path):
    """Names that begin alike are no sign of it, and what the scene knows is never overruled by a name."""
    classes = ball_classes(ball_image())
    for name in ("CT_1", "CT_12", "CT", "CT_2"):
        add_volume(data.scene, name, ct_image(1))
    segmentation = add_segmentation(data.scene.GetFirstNodeByName("CT_2"), "CT_1 segmentation", Femur=classes == 2)
    add_volume(data.scene, "CT_12 label", like(ball_image(), classes), "vtkMRMLLabelMapVolumeNode")
    data.panel.set_dataset_file(path)
    data.ui.dataSceneButton.click()
    assert data.scene_rows() == [
        ["CT_1", "CT", "nothing"], ["CT_12", "CT", "CT_12 label"], ["CT", "CT", "nothing"],
        ["CT_2", "CT", "CT_1 segmentation"],
    ]  # fmt: skip
    assert data.ticked() == ["CT_12", "CT_2"]
    # Of a segmentation of nobody knows what, the name decides.
    segmentation.SetNodeReferenceID(segmentation.GetReferenceImageGeometryReferenceRole(), None)
    data.choose("CT_1", 1, "MRI")
    data.choose("CT_1", 1, "CT")
    assert data.scene_rows()[0] == ["CT_1", "CT", "CT_1 segmentation"]


def test_of_volumes_of_one_name_only_the_user_knows_what_is_drawn_on_which(data, path):
    for number in (1, 2):
        add_volume(data.scene, "CT", ct_image(number))
    add_volume(data.scene, "CT label", like(ball_image(), ball_classes(ball_image())), "vtkMRMLLabelMapVolumeNode")
    data.panel.set_dataset_file(path)
    data.ui.dataSceneButton.click()
    assert data.scene_rows() == [["CT", "CT", "nothing"]] * 2 and data.ticked() == []


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
    data.wait(lambda: [row[0] for row in data.scene_rows()] == ["MRI 1"])
    drawn = add_segmentation(data.scene.GetFirstNodeByName("MRI 1"), "S", Femur=ball_classes(ball_image()) == 2)
    data.wait(lambda: data.ui.dataSceneTable.cellWidget(0, 2).count == 2)
    data.choose("MRI 1", 2, "S")
    data.scene.RemoveNode(drawn)
    data.choose("MRI 1", 1, "CT")
    data.tick("MRI 1")
    assert data.ui.dataSceneAddButton.toolTip.startswith("Choose what is drawn on MRI 1")
    data.scene.Clear()
    data.wait(lambda: data.scene_rows() == [])
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
