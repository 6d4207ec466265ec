"""Segments as Slicer saves them: which bone each is, whatever was renamed, and never two for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.reading.segmentation import read_segmentation

RIGHT_HIP, LEFT_HIP, RIGHT_FEMUR, LEFT_FEMUR = SEGMENTS


def saved(path: Path, segments: list[tuple[str, str, slice]]) -> Path:
    """Segments of an identifier, a name and some columns, each in a layer of its own."""
    layers = np.zeros((4, 5, 16, len(segments)), np.uint8)
    for number, (_, _, columns) in enumerate(segments):
        layers[1:3, 1:4, columns, number] = 1
    image = sitk.GetImageFromArray(layers, isVector=True)
    for number, (identifier, name, _) in enumerate(segments):
        for key, text in (("ID", identifier), ("Name", name), ("Layer", number), ("LabelValue", 1)):
            image.SetMetaData(f"Segment{number}_{key}", str(text))
    sitk.WriteImage(image, str(path))
    return path


def bones_by_column(path: Path) -> list[int]:
    return sitk.GetArrayFromImage(read_segmentation(path)).max((0, 1)).tolist()


def test_the_name_that_a_user_sees_wins_over_the_identifier(tmp_path):
    """As where the names of two bones were exchanged: both were one bone, and the other was empty."""
    exchanged = [
        (RIGHT_HIP.segment_id, LEFT_HIP.name, slice(0, 4)),
        (LEFT_HIP.segment_id, RIGHT_HIP.name, slice(8, 12)),
    ]
    found = bones_by_column(saved(tmp_path / "a.seg.nrrd", exchanged))
    assert found == [LEFT_HIP.value] * 4 + [0] * 4 + [RIGHT_HIP.value] * 4 + [0] * 4


def test_a_renamed_bone_gives_way_to_one_that_has_its_name_now(tmp_path):
    segments = [
        (RIGHT_FEMUR.segment_id, "old femur, wrong", slice(0, 4)),
        ("Segment_1", RIGHT_FEMUR.name, slice(8, 12)),
    ]
    assert bones_by_column(saved(tmp_path / "a.seg.nrrd", segments)) == [0] * 8 + [RIGHT_FEMUR.value] * 4 + [0] * 4


def test_where_no_name_says_it_the_identifier_does(tmp_path):
    """As where names are translated."""
    segments = [(LEFT_FEMUR.segment_id, "Linker proximaler Femur", slice(2, 5))]
    assert bones_by_column(saved(tmp_path / "a.seg.nrrd", segments)) == [0] * 2 + [LEFT_FEMUR.value] * 3 + [0] * 11


@pytest.mark.parametrize(
    ("segments", "kind", "words"),
    [
        (
            [("Segment_1", LEFT_HIP.name, slice(0, 4)), ("Segment_2", LEFT_HIP.name, slice(8, 12))],
            "two_segments",
            "Two segments of a.seg.nrrd are the left hip bone",
        ),
        (
            [("Segment_1", LEFT_HIP.name, slice(0, 6)), ("Segment_2", LEFT_FEMUR.name, slice(5, 12))],
            "overlapping_segments",
            "overlaps another bone",
        ),
    ],
)
def test_what_would_hide_a_bone_is_refused_with_the_way_out(tmp_path, segments, kind, words):
    with pytest.raises(HipError, match=words) as refused:
        read_segmentation(saved(tmp_path / "a.seg.nrrd", segments))
    assert refused.value.kind == kind
