"""The four segments: their values never move, everybody can tell their colours apart, the shipped table is theirs."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE, SEGMENTS, color_table, segment_of
from skimage.color import deltaE_ciede2000, rgb2lab

TABLE = Path(__file__).resolve().parents[3] / "HipICMSC" / "Resources" / "HipICMSC-ColorTable.csv"

# Linear RGB of a person without one kind of cone (method of Viénot, Brettel and Mollon, 1999).
VISION = {
    "normal": np.eye(3),
    "no red cones": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "no green cones": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


def test_label_values_mean_what_the_documentation_says():
    assert [(s.value, s.bone, s.side) for s in SEGMENTS] == [
        (1, HIP_BONE, "right"),
        (2, HIP_BONE, "left"),
        (3, FEMUR, "right"),
        (4, FEMUR, "left"),
    ]
    assert segment_of(FEMUR, "right").name == "Right proximal femur"
    assert len({s.segment_id for s in SEGMENTS}) == len({s.name for s in SEGMENTS}) == 4


@pytest.mark.parametrize("vision", VISION)
def test_colours_can_be_told_apart(vision):
    linear = np.array([s.color for s in SEGMENTS]) ** 2.2
    seen = np.clip(linear @ VISION[vision].T, 0, 1) ** (1 / 2.2)
    for one, other in itertools.combinations(rgb2lab(seen), 2):
        assert deltaE_ciede2000(one, other) > 20


def test_the_shipped_colour_table_is_generated_from_the_segments():
    assert TABLE.read_text(encoding="utf-8") == color_table()
    rows = list(csv.DictReader(TABLE.open(encoding="utf-8")))
    assert [row["Name"] for row in rows] == [s.name for s in SEGMENTS]
    assert rows[3]["TypeModifier_CodeMeaning"] == "Left" and rows[3]["Type_CodeValue"] == "71341001"
