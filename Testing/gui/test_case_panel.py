"""A corrected result becomes a training case from within the panel; what the user drew and marked is in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ball_hips import ball_image
from ball_panel import add_volume, segment


@pytest.fixture
def panel(open_panel, ball_model, monkeypatch, tmp_path):
    from HipICMSCLib.models import chosen
    from slicer_stand_ins import QSettings

    monkeypatch.setattr(chosen, "_SHIPPED", (ball_model.parent,))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(QSettings, "values", {})
    panel = open_panel("HipICMSC")
    panel.logic.getParameterNode().model = "balls"
    return panel


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """What the user answers when asked for the folder of the cases."""
    import qt

    chosen = tmp_path / "cases"
    chosen.mkdir()
    monkeypatch.setattr(qt.QFileDialog, "answer", str(chosen))
    return chosen


def keep(panel, replace: bool = False) -> str:
    """Press the button and wait; what the panel says. With ``replace`` its question is answered with yes."""
    import slicer

    assert panel.ui.caseButton.enabled, panel.ui.caseButton.toolTip
    with pytest.MonkeyPatch.context() as patch:
        if replace:
            patch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *given, **named: True)
        panel.ui.caseButton.click()
        panel.wait(lambda: panel.ui.caseButton.enabled)
    return panel.ui.caseStateLabel.text


def voxels_of(node, name: str) -> np.ndarray:
    import slicer

    volume = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, name, volume) > 0


def cut_off(node, name: str) -> np.ndarray:
    """Take the lower half of a segment away, as with the eraser; its voxels now."""
    import slicer

    voxels = voxels_of(node, name)
    voxels[: np.argwhere(voxels)[:, 0].mean().astype(int)] = False
    volume = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels.astype(np.uint8), node, name, volume)
    return voxels


def complete(node, name: str) -> None:
    import slicer

    status = slicer.vtkSlicerSegmentationsModuleLogic
    status.SetSegmentStatus(node.GetSegmentation().GetSegment(name), status.Completed)


def test_what_was_drawn_and_marked_is_in_the_case(panel, folder, pictures, tmp_path):
    from HipICMSCLib.cases.corrected_case import read_case

    turn = np.array(sitk.Euler3DTransform((0, 0, 0), 0.2, 0.1, -0.15).GetMatrix()).reshape(3, 3)
    image = ball_image(turn)
    assert not panel.ui.caseButton.isVisible(), "there is no result"
    volume = add_volume(image, "Doe_Jane T1")
    volume.SetIJKToRASDirections(*(np.diag([-1, -1, 1]) @ turn).ravel())
    node = segment(panel)
    assert "no patient field" in panel.ui.caseStateLabel.text
    right = voxels_of(node, "RightFemur")
    before, left = voxels_of(node, "LeftFemur"), cut_off(node, "LeftFemur")
    complete(node, "LeftFemur")
    said = keep(panel)
    assert "Case 1 is in cases: " in said and "left proximal femur completed (" in said
    assert "right proximal femur as the model drew it" in said

    case = read_case(folder / "case-001")
    assert case.model == "balls" and len(case.model_sha256) == 64
    states = {segment.name: segment for segment in case.segments}
    assert (states["LeftFemur"].state, states["RightFemur"].state) == ("completed", "as_made")
    voxel_ml = float(np.prod(image.GetSpacing())) / 1000
    assert states["LeftFemur"].changed_ml == pytest.approx((before & ~left).sum() * voxel_ml, abs=0.01)
    kept_image, label = (sitk.ReadImage(str(path)) for path in (case.image, case.label))
    assert np.array_equal(sitk.GetArrayFromImage(kept_image), sitk.GetArrayFromImage(image))
    assert np.allclose(kept_image.GetDirection(), image.GetDirection(), atol=1e-5)
    assert np.allclose(kept_image.GetOrigin(), image.GetOrigin(), atol=1e-3)
    labels = sitk.GetArrayFromImage(label)
    assert np.array_equal(labels == 4, left) and np.array_equal(labels == 3, right)
    assert b"Doe_Jane" not in b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert "Doe_Jane T1" in (tmp_path / "home" / "HipICMSC" / "cases.csv").read_text()
    panel.picture(pictures / "hipicmsc-case.png")


def test_bones_that_are_drawn_anew_have_a_past_of_their_own_and_undo_brings_back_the_former(panel, folder):
    import slicer
    from HipICMSCLib.cases.corrected_case import read_case

    add_volume(ball_image())
    node = segment(panel)
    cut_off(node, "LeftFemur")
    cut_off(node, "RightFemur")
    complete(node, "RightFemur")
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(node.GetSegmentation())
    history.SaveState()
    panel.logic.getParameterNode().segmentation = node
    panel.logic.getParameterNode().replaceUnlocked = True
    segment(panel)
    keep(panel)
    redone = {segment.name: segment for segment in read_case(folder / "case-001").segments}
    assert redone["LeftFemur"].state == "as_made" and redone["RightFemur"].changed_ml > 1
    assert history.RestorePreviousState()
    keep(panel, replace=True)
    undone = {segment.name: segment for segment in read_case(folder / "case-002").segments}
    assert undone["LeftFemur"].state == "edited" and undone["LeftFemur"].changed_ml > 1
    assert undone["RightFemur"] == redone["RightFemur"]


def test_nothing_is_replaced_or_written_elsewhere_unasked(panel, folder, monkeypatch, tmp_path):
    import qt
    import slicer

    add_volume(ball_image())
    segment(panel)
    assert "No bone is marked as completed" in keep(panel)
    asked = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *rest, **more: asked.append(text))
    said = keep(panel)
    assert said == "Nothing was written; the case of this MRI in cases stays as it was."
    assert "as case 1" in panel.ui.caseStateLabel.toolTip and "--" not in panel.ui.caseStateLabel.toolTip
    assert asked == ["This MRI is a case in cases already. Replace that case by this one?"]
    assert [path.name for path in folder.iterdir()] == ["case-001"]

    proposed = []
    with monkeypatch.context() as patch:
        patch.setattr(qt.QFileDialog, "getExistingDirectory", lambda parent, title, where: proposed.append(where) or "")
        panel.ui.caseButton.click()
    assert proposed == [str(folder)], "it is remembered"
    assert panel.ui.caseStateLabel.text == said

    monkeypatch.setattr(qt.QFileDialog, "answer", str(tmp_path / "home"))
    assert "choose another" in keep(panel), "the list of whose they are lies there"
    monkeypatch.setattr(qt.QFileDialog, "answer", str(tmp_path / "gone" / "cases"))
    assert "does not exist" in keep(panel)


@pytest.mark.parametrize("deleted", [False, True])
def test_kept_is_the_result_of_the_click_whatever_a_batch_shows_meanwhile(panel, tmp_path, monkeypatch, deleted):
    """While the folder is chosen a batch may end and show its result of the same MRI."""
    import qt
    import slicer

    volume = add_volume()
    corrected = segment(panel)
    corrected.SetName("corrected")
    case_panel = panel.widget.panel.case_panel
    kept = []
    monkeypatch.setattr(case_panel, "_keep", lambda node, *rest: kept.append(node))

    def answer(*given) -> str:
        newer = slicer.vtkMRMLSegmentationNode()
        newer.Copy(corrected)
        case_panel.show(volume.GetScene().AddNode(newer))
        if deleted:
            slicer.mrmlScene.RemoveNode(corrected)
        return str(tmp_path)

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", answer)
    panel.ui.caseButton.click()
    assert kept == ([] if deleted else [corrected])
    assert ("was deleted" in panel.ui.caseStateLabel.text) is deleted
