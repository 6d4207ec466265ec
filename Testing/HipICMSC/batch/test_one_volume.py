"""One volume whose result, or the measures beside it, are there already or appear meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ball_hips import LEFT_CENTRE, RIGHT_CENTRE, ball_image
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.batch.files import FileSource
from HipICMSCLib.batch.one_volume import beside, has_measures, measure_result, segment_volume
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models.chosen import find_model
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


@pytest.mark.parametrize("stage", ["before", "meanwhile"])
@pytest.mark.parametrize("ending", [".seg.nrrd", ".nii.gz"])
def test_a_result_that_appears_during_a_batch_stays_unless_it_may_be_replaced(ball_model, tmp_path, stage, ending):
    from HipICMSCLib.engine import HipSegmenter

    sitk.WriteImage(ball_image(), str(tmp_path / "mri.nrrd"))
    output = tmp_path / f"a{ending}"
    segmenter = HipSegmenter(find_model(str(ball_model)), "cpu")
    heads = FemoralHeads(RIGHT_CENTRE, LEFT_CENTRE)

    def segment(overwrite: bool) -> None:
        source = FileSource(tmp_path / "mri.nrrd", output, overwrite)
        if stage == "before":
            output.write_text("corrected")
        segment_volume(segmenter, 0.0, source, None, heads, False, lambda *_: output.write_text("corrected"))

    with pytest.raises(HipError, match="is left as it is") as raised:
        segment(overwrite=False)
    assert raised.value.kind == "exists" and output.read_text() == "corrected"
    assert {path.name for path in tmp_path.iterdir()} == {"mri.nrrd", output.name}
    segment(overwrite=True)
    assert output.stat().st_size > 100
