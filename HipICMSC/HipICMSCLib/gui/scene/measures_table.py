"""The table node of a segmentation's measures: all that the panel says of them is kept in it, so a scene saves it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import vtkStringArray
from vtkmodules.vtkCommonDataModel import vtkTable

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import from_json
from HipICMSCLib.gui.scene.bone_labels import fingerprint
from HipICMSCLib.gui.scene.result import put_beside
from HipICMSCLib.measures.frame import Frame
from HipICMSCLib.measures.registry import DEFINITIONS
from HipICMSCLib.measures.skeleton import Followed, Skeleton
from HipICMSCLib.results.morphometry_table import COLUMNS, as_csv, number

_TABLE, _MEASURED = "HipICMSC.measures", "HipICMSC.measured"
_FRAME, _CAUTION, _NOTES = "HipICMSC.Frame", "HipICMSC.FrameCaution", "HipICMSC.FrameNotes"
_FINGERPRINT, _STALE, _SKELETON = "HipICMSC.Measured", "HipICMSC.Stale", "HipICMSC.Skeleton."
_MARKS = "Marks"
#: Numbers closer than this are the same: of a table that was saved, Slicer keeps six digits.
_SAME = 1e-3
_OF_THE_NUMBER = ("CI low", "CI high", "Tilt slope", "Tilt 5 back", "Tilt 5 forward")
_NUMBERS = ("Value", "Auto value", *_OF_THE_NUMBER, "Reference low", "Reference high")


@dataclass(frozen=True)
class MeasureRow:
    """A row as a reader needs it; numbers are NaN where they are not known.

    Attributes:
        index: of the row in the table.
        status: of `measures.morphometry.Row`, or ``"outdated"`` where a point that it rests on was moved since.
        marks: names of the markups to show it by.
    """

    index: int
    side: str
    id: str
    name: str
    value: float
    unit: str
    auto_value: float
    low: float
    high: float
    frame: str
    tilt_slope: float
    status: str
    sentence: str
    cautions: str
    definition: str
    reference_low: float
    reference_high: float
    reference_source: str
    marks: tuple[str, ...]

    @property
    def is_edited(self) -> bool:
        """Whether the user has moved what the number rests on, be it sure or not."""
        differs = not math.isclose(self.value, self.auto_value, abs_tol=_SAME)
        return self.status == "edited" or (self.status == "uncertain" and differs)


def table_of(segmentation_node):
    """The vtkMRMLTableNode of a segmentation's measures, or None; a copy of a segmentation refers to the original's."""
    table_node = None if segmentation_node is None else segmentation_node.GetNodeReference(_TABLE)
    is_its_own = table_node is not None and table_node.GetNodeReferenceID(_MEASURED) == segmentation_node.GetID()
    return table_node if is_its_own else None


def measured_segmentations() -> list:
    """The segmentation nodes of the scene that have measures."""
    return [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if table_of(node) is not None]


def fill_table(segmentation_node, report: dict[str, Any]):
    """Put what the worker found into the segmentation's table, which is made where there is none; returns it."""
    node = table_of(segmentation_node)
    if node is None:
        node = segmentation_node.GetScene().AddNewNodeByClass(
            "vtkMRMLTableNode", _("{name} measures").format(name=segmentation_node.GetName())
        )
        node.SetUndoEnabled(True)
        segmentation_node.SetNodeReferenceID(_TABLE, node.GetID())
        node.SetNodeReferenceID(_MEASURED, segmentation_node.GetID())
        put_beside(node, segmentation_node)
    table = vtkTable()
    columns = list(zip(*report["rows"], strict=True)) or [()] * len(COLUMNS)
    for name, values in zip((*COLUMNS, _MARKS), (*columns, map(" ".join, report["marks"])), strict=True):
        table.AddColumn(_numeric(name, values) if name in _NUMBERS else _text(name, values))
    node.SetAndObserveTable(table)
    node.SetAttribute(_FRAME, report["frame"]["name"])
    node.SetAttribute(_CAUTION, report["frame"]["caution"])
    node.SetAttribute(_NOTES, " ".join(report["notes"]))
    for side in ("right", "left"):
        skeleton = report["skeletons"].get(side)
        node.SetAttribute(_SKELETON + side, None if skeleton is None else json.dumps(skeleton))
    return node


def remember_measured(table_node, mark: str) -> None:
    """Remember by its fingerprint, taken when the measuring began, what the measures are of."""
    table_node.SetAttribute(_FINGERPRINT, mark)
    table_node.RemoveAttribute(_STALE)


def is_stale(table_node) -> bool:
    """Whether the segmentation was edited or moved since it was measured."""
    return table_node.GetAttribute(_STALE) is not None


def mark_stale(table_node) -> None:
    """Say in the node and in each row that the segmentation is another now."""
    if is_stale(table_node):
        return
    table_node.SetAttribute(_STALE, "1")
    _set_status(table_node, {row.index: "stale" for row in rows_of(table_node) if not math.isnan(row.value)})


def check_stale(segmentation_node) -> None:
    """Mark the measures of a segmentation that was changed while nobody watched, for instance in another session."""
    table_node = table_of(segmentation_node)
    if table_node is not None and table_node.GetAttribute(_FINGERPRINT) != fingerprint(segmentation_node):
        mark_stale(table_node)


def frame_of(table_node) -> tuple[str, str, str]:
    """The pelvic frame's name, what a reader of numbers in it must know, and why no better one was found."""
    return tuple(table_node.GetAttribute(name) or "" for name in (_FRAME, _CAUTION, _NOTES))


def skeletons_of(table_node) -> dict[str, Skeleton]:
    """By side; none where they cannot be read: then nothing follows a point until it is measured again."""
    found = {}
    for side in ("right", "left"):
        try:
            found[side] = from_json(Skeleton, json.loads(table_node.GetAttribute(_SKELETON + side) or "null"))
        except (HipError, ValueError, TypeError):
            continue
    return found


def rows_of(table_node) -> list[MeasureRow]:
    """All rows; none where it is no table of ours."""
    columns = {name: table_node.GetTable().GetColumnByName(name) for name in (*COLUMNS, _MARKS)}
    if None in columns.values():
        return []

    def of(name: str, row: int) -> str:
        return columns[name].GetValue(row)

    def number_of(name: str, row: int) -> float:
        value = columns[name].GetVariantValue(row)
        return value.ToDouble() if value.IsNumeric() else _parsed(value.ToString())

    return [
        MeasureRow(
            row, of("Side", row), of("Measure", row), of("Name", row), number_of("Value", row), of("Unit", row),
            number_of("Auto value", row), number_of("CI low", row), number_of("CI high", row), of("Frame", row),
            number_of("Tilt slope", row), of("Status", row), of("Sentence", row), of("Cautions", row),
            of("Definition", row), number_of("Reference low", row), number_of("Reference high", row),
            of("Reference source", row), tuple(of(_MARKS, row).split()),
        )
        for row in range(table_node.GetNumberOfRows())
    ]  # fmt: skip


def follow_in_table(table_node, side: str, followed: Followed, frame: Frame | None = None) -> None:
    """Show numbers that follow from points which a user moved; what the bones have to be asked for is outdated.

    Args:
        frame: that the user has set by hand; none where it is the one that was found.
    """
    table = table_node.GetTable()
    for row in rows_of(table_node):
        if row.side != side:
            continue
        status = row.status
        if row.id in followed.values:
            value = followed.values[row.id].number
            if frame is not None and DEFINITIONS[row.id].tilts:
                # What is said of the frame stands last.
                others = row.cautions.removesuffix(frame_of(table_node)[1])
                _put(table, row.index, {"Frame": frame.name, "Cautions": f"{others} {frame.caution}".strip()})
            if math.isclose(value, row.value, abs_tol=_SAME):
                continue
            # Interval and tilt were the old number's.
            _put(table, row.index, {"Value": value, "Reason": ""} | dict.fromkeys(_OF_THE_NUMBER, math.nan))
            status, sentence = "auto" if math.isclose(value, row.auto_value, abs_tol=_SAME) else "edited", ""
        elif row.id in followed.refused and not math.isnan(row.value):
            error = followed.refused[row.id]
            _put(table, row.index, {"Value": math.nan, "Reason": error.kind} | dict.fromkeys(_OF_THE_NUMBER, math.nan))
            status, sentence = "refused", error.sentence
        elif row.id in followed.outdated and not math.isnan(row.value):
            status, sentence = "outdated", _("A point that this rests on was moved since; measure again.")
        else:
            continue
        _put(table, row.index, {"Sentence": sentence, "Status": "stale" if is_stale(table_node) else status})
    table.Modified()
    table_node.Modified()


def put_back(table_node) -> None:
    """Show the numbers that were found automatically, where a user's points had changed them; they are outdated until
    the bones were asked for the rest."""
    sentence = _("Its points were put back; measure again.")
    for row in rows_of(table_node):
        if row.is_edited or row.status == "outdated" or math.isnan(row.value) != math.isnan(row.auto_value):
            values = {"Value": row.auto_value, "Reason": "", "Sentence": sentence, "Status": "outdated"}
            _put(table_node.GetTable(), row.index, values | dict.fromkeys(_OF_THE_NUMBER, math.nan))
    table_node.GetTable().Modified()
    table_node.Modified()


def say_frame(table_node, frame: Frame) -> None:
    """The numbers that follow are in this frame of the pelvis, which the user has set by hand."""
    table_node.SetAttribute(_FRAME, frame.name)
    table_node.SetAttribute(_CAUTION, frame.caution)


def is_whole(table_node) -> bool:
    """Whether every number is of the segmentation and the points as they are now."""
    return not is_stale(table_node) and all(row.status != "outdated" for row in rows_of(table_node))


def csv_of(table_node) -> str:
    """The table as CSV, as the command line writes it."""
    columns = {name: table_node.GetTable().GetColumnByName(name) for name in COLUMNS}
    return as_csv([_cell(name, columns[name], row) for name in COLUMNS] for row in range(table_node.GetNumberOfRows()))


def _cell(name: str, column, row: int) -> str:
    value = column.GetVariantValue(row)
    if name.startswith("Reference") and name in _NUMBERS:
        return "" if math.isnan(value.ToDouble()) else f"{value.ToDouble():g}"
    return number(value.ToDouble()) if name in _NUMBERS else value.ToString()


def _set_status(table_node, statuses: dict[int, str]) -> None:
    for row, status in statuses.items():
        _put(table_node.GetTable(), row, {"Status": status})
    table_node.GetTable().Modified()
    table_node.Modified()


def _put(table, row: int, values: dict[str, Any]) -> None:
    for name, value in values.items():
        table.GetColumnByName(name).SetValue(row, value)


def _numeric(name: str, cells: Iterable[str]):
    array = numpy_to_vtk(np.array([_parsed(cell) for cell in cells], float), deep=True)
    array.SetName(name)
    return array


def _text(name: str, cells: Iterable[str]):
    array = vtkStringArray()
    array.SetName(name)
    for cell in cells:
        array.InsertNextValue(cell)
    return array


def _parsed(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
