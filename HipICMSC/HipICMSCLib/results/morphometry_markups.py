"""Writes what measures were read from as Slicer markups (.mrk.json): one file a markup, editable ones in yellow."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from HipICMSCLib.anatomy.segments import SIDES
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import storage_error, write_text
from HipICMSCLib.measures.frame import Frame
from HipICMSCLib.measures.measure import Mark
from HipICMSCLib.measures.morphometry import Morphometry, Row

_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_TYPES = {"point": "Fiducial", "line": "Line", "angle": "Angle", "curve": "ClosedCurve", "plane": "Plane"}
_EDITABLE, _DERIVED = [1.0, 0.85, 0.1], [0.65, 0.65, 0.65]
_PLANE_MM = 70.0
_ENDING = ".mrk.json"
_LANDMARKS, _HEAD_AXIS, _FRAME = "PelvicLandmarks", "HeadAxis", "PelvicFrame"
#: What a side's markups are called; other files of a folder are not ours.
OF_A_SIDE = frozenset(
    {
        "ACEA", "AI", "AV_central", "AV_cranial", "Alpha_0100", "Alpha_0130", "Alpha_0200", "Alpha_0300", "Alpha_1200",
        "Alpha_max", "CCD", "CamMargin", "CondylarLine", "Extrusion", "HeadCentre", "HeadRadius", "LCEA", "LCEA_AP",
        "NeckAxis", "Offset_0130", "Offset_0300", "Offset_1200", "Rim", "RimPlane", "Roof", "ShaftAxis", "VersionNeck",
    }
)  # fmt: skip


def markups(morphometry: Morphometry) -> dict[str, dict[str, Any]]:
    """Every markup as the content of its file, by name; sides are told by ``R_`` and ``L_`` in front."""
    found = {}
    for row in morphometry.rows:
        for mark in row.marks:
            name = f"{row.side[0].upper()}_{mark.name}"
            found[name] = _document(_markup(name, mark, row))
    return found | _frame_markups(morphometry.hips.frame)


def refuse_markups(folder: Path) -> None:
    """Refuse a folder that has markups already: somebody may have moved their points.

    Raises:
        HipError: ``exists``.
    """
    if any(folder.glob(f"*{_ENDING}")):
        raise HipError(
            "exists", f"There are markups in {folder} already; choose another folder, or --overwrite replaces them."
        )


def write_markups(morphometry: Morphometry, folder: Path) -> list[Path]:
    """Write every markup into a folder, which is made; each file appears whole, files of the same name are replaced.

    Those of an earlier call that are none of this result go: they would be loaded as measures of it.

    Raises:
        HipError: ``no_folder`` where it cannot be made, or as `HipICMSCLib.common.files.write_text`; ``in_use`` and the
            like where an earlier one cannot be removed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HipError("no_folder", f"The folder {folder} cannot be made; choose another one.", str(error)) from error
    paths = []
    for name, document in markups(morphometry).items():
        path = folder / f"{name}{_ENDING}"
        write_text(path, json.dumps(document, indent=1) + "\n")
        paths.append(path)
    for path in _ours(folder) - set(paths):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, path) from error
    return paths


def _ours(folder: Path) -> set[Path]:
    """Where our markups of any result lie in a folder."""
    of_sides = (f"{side[0].upper()}_{name}" for side in SIDES for name in OF_A_SIDE)
    return {folder / f"{name}{_ENDING}" for name in (*of_sides, _LANDMARKS, _HEAD_AXIS, _FRAME)}


def _markup(name: str, mark: Mark, row: Row) -> dict[str, Any]:
    if mark.kind == "plane":
        return _plane(name, mark.points[0], mark.points[1] - mark.points[0])
    markup = {
        "type": _TYPES[mark.kind],
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": not mark.editable,
        "fixedNumberOfControlPoints": True,
        "labelFormat": "%N-%d",
        "controlPoints": [
            _point(str(number), label, point)
            for number, (label, point) in enumerate(zip(mark.labels, mark.points, strict=True), start=1)
        ],
        "display": _display(mark.editable, labels=mark.kind == "point"),
    }
    if not math.isnan(row.value) and mark.name.split("_")[0] in row.definition.id:
        markup["measurements"] = [
            {
                "name": row.definition.id,
                "enabled": True,
                "value": row.value,
                "units": row.definition.unit,
                "printFormat": "%5.1f%s",
            }
        ]
    return markup


def _plane(name: str, origin: np.ndarray, normal: np.ndarray) -> dict[str, Any]:
    normal = normal / np.linalg.norm(normal)
    first = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    first /= np.linalg.norm(first)
    second = np.cross(normal, first)
    basis = np.eye(4)
    basis[:3, :3] = np.column_stack([first, second, normal])
    basis[:3, 3] = origin
    return {
        "type": "Plane",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": True,
        "fixedNumberOfControlPoints": True,
        "labelFormat": "%N-%d",
        "planeType": "pointNormal",
        "sizeMode": "absolute",
        "size": [_PLANE_MM, _PLANE_MM, 0.0],
        "center": origin.tolist(),
        "normal": normal.tolist(),
        "objectToBase": np.eye(4).ravel().tolist(),
        "baseToNode": basis.ravel().tolist(),
        "controlPoints": [_point("1", name, origin)],
        "display": _display(editable=False, labels=False),
    }


def _point(number: str, label: str, position: np.ndarray) -> dict[str, Any]:
    return {
        "id": number,
        "label": label,
        "position": [float(value) for value in position],
        "selected": True,
        "locked": False,
        "visibility": True,
        "positionStatus": "defined",
    }


def _display(editable: bool, labels: bool) -> dict[str, Any]:
    color = _EDITABLE if editable else _DERIVED
    return {
        "visibility": True,
        "color": color,
        "selectedColor": color,
        "propertiesLabelVisibility": not labels,
        "pointLabelsVisibility": labels,
        "glyphScale": 1.5,
        "textScale": 2.5,
    }


def _frame_markups(frame: Frame) -> dict[str, dict[str, Any]]:
    if not frame.landmarks:
        return {}
    labels, points = zip(*frame.landmarks.items(), strict=True)
    movable = frame.name in ("APP", "USER")
    name = _LANDMARKS if movable else _HEAD_AXIS
    markup = {
        "type": "Fiducial" if movable else "Line",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": not movable,
        "fixedNumberOfControlPoints": True,
        "labelFormat": "%N-%d",
        "controlPoints": [
            _point(str(n), label, point) for n, (label, point) in enumerate(zip(labels, points, strict=True), start=1)
        ],
        "display": _display(editable=movable, labels=True),
    }
    plane = _plane(_FRAME, np.mean(points, axis=0), frame.axes[1])
    return {name: _document(markup), _FRAME: _document(plane)}


def _document(markup: dict[str, Any]) -> dict[str, Any]:
    return {"@schema": _SCHEMA, "markups": [markup]}
