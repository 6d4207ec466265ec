"""The section "Review the result": one button leads from doubt to doubt, and what was looked at is said in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer_stand_ins
from section import Section, opened

RESOURCES = slicer_stand_ins.module_file("HipICMSC").parent / "Resources"
PLACES = [
    {"point_lps": [90.0, -2.0, 34.0], "doubt": 0.364, "bone": "left hip bone"},
    {"point_lps": [-60.0, 24.0, -32.0], "doubt": 0.302, "bone": "right proximal femur"},
    {"point_lps": [60.0, -22.0, -36.0], "doubt": 0.21, "bone": "left proximal femur"},
    {"point_lps": [0.0, 0.0, 1.0], "doubt": 0.06, "bone": ""},
]


class Review(Section):
    """The section as the module opens it, and an MRI to review a result of."""

    def __init__(self, application, scene) -> None:
        import slicer
        from HipICMSCLib.gui.panels.review_panel import ReviewPanel

        super().__init__(application, scene, ReviewPanel(lambda name: str(RESOURCES / name)))
        self.composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", "Green")
        self.volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hip MRI")
        slicer.util.updateVolumeFromArray(self.volume, np.zeros((4, 5, 6), np.int16))

    def result(self, places=PLACES):
        from HipICMSCLib.gui.scene.review import store_places

        node = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "hip MRI hips")
        store_places(node, places)
        return node

    def with_map(self, node, path: Path):
        from HipICMSCLib.gui.scene.mrml import image_of
        from HipICMSCLib.gui.scene.review import add_confidence_map, read_confidence_map

        image = sitk.GetImageFromArray(np.full((4, 5, 6), 70, np.uint8))
        image.CopyInformation(image_of(self.volume))
        sitk.WriteImage(image, str(path))
        return add_confidence_map(read_confidence_map(path, self.volume), self.volume, node)

    @property
    def lines(self) -> list[str]:
        return [self.ui.placesList.item(i).text() for i in range(self.ui.placesList.count)]

    @property
    def middle_lps(self) -> list[float]:
        return list(self.middle * (-1, -1, 1))

    def press(self, key, widget=None) -> None:
        from PySide6.QtTest import QTest

        QTest.keyClick(widget or self.ui.placesList, key)


@pytest.fixture
def review(bench):
    with opened(bench, Review) as section:
        yield section


def test_without_a_result_it_says_what_it_is_for(review, pictures):
    assert not review.ui.placesList.visible
    for name in ("nextPlaceButton", "previousPlaceButton", "confidenceMapCheckBox"):
        assert not getattr(review.ui, name).enabled
        assert "result" in getattr(review.ui, name).toolTip
    assert review.ui.reviewStateLabel.text == review.ui.nextPlaceButton.toolTip
    review.picture(pictures / "review-empty.png")


def test_the_places_are_listed_in_words_worst_first(review):
    review.panel.show(review.result())
    assert review.lines == [
        "1. left hip bone: very doubtful (36 %)",
        "2. right proximal femur: very doubtful (30 %)",
        "3. left proximal femur: doubtful (21 %)",
        "4. no bone found here: slightly doubtful (6 %)",
    ]
    assert review.ui.reviewStateLabel.text == "0 of 4 doubtful places looked at; next: left hip bone."
    assert review.ui.placesList.currentRow == -1


def test_next_leads_the_views_from_place_to_place_and_back(review, pictures, tmp_path):
    node = review.result()
    review.with_map(node, tmp_path / "c.nrrd")
    review.panel.show(node)
    assert "Alt+N" in review.ui.nextPlaceButton.toolTip
    assert not review.ui.previousPlaceButton.enabled
    assert review.ui.previousPlaceButton.toolTip == "There is no place before this one."
    review.ui.nextPlaceButton.click()
    assert review.middle_lps == pytest.approx(PLACES[0]["point_lps"])
    assert review.ui.placesList.currentRow == 0
    assert review.lines[0] == "1. left hip bone: very doubtful (36 %), looked at"
    assert not review.ui.previousPlaceButton.enabled
    review.ui.nextPlaceButton.click()
    assert review.middle_lps == pytest.approx(PLACES[1]["point_lps"])
    assert review.ui.reviewStateLabel.text == "2 of 4 doubtful places looked at; next: left proximal femur."
    assert review.ui.previousPlaceButton.enabled and "Alt+B" in review.ui.previousPlaceButton.toolTip
    review.picture(pictures / "review-under-way.png")
    review.ui.previousPlaceButton.click()
    assert review.middle_lps == pytest.approx(PLACES[0]["point_lps"])
    for _ in range(2):
        review.ui.nextPlaceButton.click()
    assert review.ui.placesList.currentRow == 3
    assert review.ui.reviewStateLabel.text == "All 4 doubtful places were looked at."
    review.picture(pictures / "review-done.png")


def test_a_place_is_chosen_in_the_list(review):
    from PySide6.QtCore import Qt

    review.panel.show(review.result())
    review.ui.placesList.setFocus()
    review.application.processEvents()
    # Reaching the list with the keyboard is not yet looking at a place.
    assert review.ui.reviewStateLabel.text.startswith("0 of 4")
    review.ui.placesList.setCurrentRow(1)
    assert review.middle_lps == pytest.approx(PLACES[1]["point_lps"])
    review.press(Qt.Key_Down)
    assert review.middle_lps == pytest.approx(PLACES[2]["point_lps"])
    assert [line.endswith("looked at") for line in review.lines] == [False, True, True, False]
    # The user moves the view away and wants to go to the same place again.
    review.view.JumpSliceByCentering(5.0, 5.0, 5.0)
    review.press(Qt.Key_Return)
    assert review.middle_lps == pytest.approx(PLACES[2]["point_lps"])


def test_a_result_that_is_opened_again_knows_what_was_looked_at(review):
    node = review.result()
    review.panel.show(node)
    review.ui.nextPlaceButton.click()
    review.panel.show(None)
    assert review.lines == [] and not review.ui.nextPlaceButton.enabled
    review.panel.show(node)
    assert review.lines[0].endswith("looked at") and review.ui.placesList.currentRow == 0
    review.view.JumpSliceByCentering(5.0, 5.0, 5.0)
    review.panel.show(node)  # showing it moves nothing
    assert review.middle_lps == pytest.approx([-5, -5, 5])


def test_a_result_without_places_says_so(review):
    node = review.result([])
    review.panel.show(node)
    assert review.ui.reviewStateLabel.text == "No doubtful places are known for hip MRI hips."
    assert not review.ui.nextPlaceButton.enabled
    node.SetAttribute("HipICMSC.DoubtfulPlaces", "{damaged")
    review.panel.show(node)
    assert review.ui.reviewStateLabel.text == "No doubtful places are known for hip MRI hips."


def test_the_map_is_shown_and_taken_away_with_the_box(review, tmp_path):
    node = review.result()
    review.panel.show(node)
    assert not review.ui.confidenceMapCheckBox.enabled
    assert "no confidence map" in review.ui.confidenceMapCheckBox.toolTip
    confidence = review.with_map(node, tmp_path / "c.nrrd")
    review.panel.show(node)
    assert review.ui.confidenceMapCheckBox.enabled and "yellow" in review.ui.confidenceMapCheckBox.toolTip
    review.ui.confidenceMapCheckBox.click()
    assert review.composite.GetForegroundVolumeID() == confidence.GetID()
    review.panel.show(node)
    assert review.ui.confidenceMapCheckBox.checked
    review.ui.confidenceMapCheckBox.click()
    assert review.composite.GetForegroundVolumeID() is None


def test_the_map_of_a_result_leaves_the_views_when_another_one_is_reviewed(review, tmp_path):
    """It would be taken for the doubt about that one."""
    node, before = review.result(), review.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "fused")
    review.composite.SetForegroundVolumeID(before.GetID())
    review.with_map(node, tmp_path / "c.nrrd")
    review.panel.show(node)
    review.ui.confidenceMapCheckBox.click()
    review.panel.show(review.result())
    assert review.composite.GetForegroundVolumeID() == before.GetID()
    assert not review.ui.confidenceMapCheckBox.checked
    review.panel.show(node)
    assert not review.ui.confidenceMapCheckBox.checked


def test_a_map_that_is_deleted_can_no_longer_be_shown(review, tmp_path):
    node = review.result()
    confidence = review.with_map(node, tmp_path / "c.nrrd")
    review.panel.show(node)
    review.ui.confidenceMapCheckBox.click()
    review.scene.RemoveNode(confidence)
    assert not review.ui.confidenceMapCheckBox.checked and not review.ui.confidenceMapCheckBox.enabled


def test_a_result_that_is_deleted_is_no_longer_reviewed(review):
    node = review.result()
    review.panel.show(node)
    review.scene.RemoveNode(node)
    assert review.lines == [] and not review.ui.nextPlaceButton.enabled
    assert review.ui.reviewStateLabel.text.startswith("When there is a result")


def test_it_says_that_a_sure_network_can_be_wrong(review):
    assert "can be wrong where it was sure" in review.ui.reviewLimitsLabel.text
    assert "research use only" in review.ui.reviewLimitsLabel.text


def test_a_copy_of_a_result_does_not_take_the_map_of_the_original_with_it(review, tmp_path):
    """A copy is how a user keeps what was there before an edit; it refers to what the original does."""
    import slicer
    from HipICMSCLib.gui.scene.review import confidence_map_of, forget_confidence_map

    node = review.result()
    confidence = review.with_map(node, tmp_path / "c.nrrd")
    copy = slicer.vtkMRMLSegmentationNode()
    copy.Copy(node)
    copy = review.scene.AddNode(copy)
    assert confidence_map_of(copy) is None and confidence_map_of(node) is confidence
    forget_confidence_map(copy)
    assert confidence.GetScene() is not None and confidence_map_of(node) is confidence
