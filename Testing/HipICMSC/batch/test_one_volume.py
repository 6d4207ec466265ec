"""Tables and reports of measures beside results that are there already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.batch.one_volume import beside, has_measures, measure_result
from HipICMSCLib.results.segmentation_file import write_segmentation


@pytest.fixture
def result(tmp_path) -> Path:
    """A block is no femur: every measure is refused, soon."""
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5:15, 5:15, 5:15] = 3
    write_segmentation(sitk.GetImageFromArray(labels), tmp_path / "a.seg.nrrd", {})
    return tmp_path / "a.seg.nrrd"


def test_table_and_report_are_made_where_there_are_none(result):
    words = measure_result(result)
    assert has_measures(result) and words.endswith(f"Report: {beside(result, 'html')}")


@pytest.mark.parametrize(("there", "missing"), [("csv", "html"), ("html", "csv")])
def test_what_is_there_of_the_two_may_be_corrected_by_hand_and_stays(result, there, missing):
    beside(result, there).write_text("corrected by hand")
    words = measure_result(result)
    assert beside(result, there).read_text() == "corrected by hand"
    assert f"left as it was: {beside(result, there)}" in words
    assert beside(result, missing).stat().st_size > 1000
