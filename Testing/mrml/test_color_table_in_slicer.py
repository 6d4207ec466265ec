"""The colour table that ships opens in Slicer and says the same as the segments of a result."""

from __future__ import annotations

from pathlib import Path

import pytest
from HipICMSCLib.anatomy.segments import SEGMENTS

TABLE = Path(__file__).resolve().parents[2] / "HipICMSC" / "Resources" / "HipICMSC-ColorTable.csv"


def test_slicer_reads_names_colours_and_terminology(slicer_app):
    from slicer import vtkMRMLColorTableStorageNode

    table = slicer_app.scene.AddNewNodeByClass("vtkMRMLColorTableNode")
    storage = vtkMRMLColorTableStorageNode()
    storage.SetFileName(str(TABLE))
    assert storage.ReadData(table)
    for segment in SEGMENTS:
        assert table.GetColorName(segment.value) == segment.name
        color = [0.0] * 4
        table.GetColor(segment.value, color)
        assert color == pytest.approx([*segment.color, 1.0], abs=1 / 255)
        assert table.GetTerminologyAsString(segment.value).split("~")[1:4] == segment.terminology.split("~")[1:4]
    slicer_app.scene.RemoveNode(table)
