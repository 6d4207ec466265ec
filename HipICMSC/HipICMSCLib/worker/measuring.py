"""Measures hips for Slicer and says it as plain values: table, markups, and what maps, plots and moved points need."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import to_json
from HipICMSCLib.measures.alpha import profile_of
from HipICMSCLib.measures.coverage import coverage_map
from HipICMSCLib.measures.hip import Hip
from HipICMSCLib.measures.morphometry import Morphometry, measure
from HipICMSCLib.measures.rim import TURNS, in_notch
from HipICMSCLib.measures.side import mirrored
from HipICMSCLib.measures.skeleton import skeleton_of
from HipICMSCLib.results.morphometry_markups import markups
from HipICMSCLib.results.morphometry_report import write_report
from HipICMSCLib.results.morphometry_table import cells
from HipICMSCLib.worker.protocol import MeasureRequest


class Measuring:
    """Keeps what it measured last: a report of it is usually wanted next."""

    def __init__(self) -> None:
        self._last: tuple[tuple, Morphometry] | None = None

    def answer(self, request: MeasureRequest, progress: Callable[[float], None]) -> dict[str, Any]:
        """What Slicer shows of a label image.

        Args:
            progress: is told the share done; what it raises ends the measuring.

        Returns:
            ``frame`` (name, caution, obliquity), ``notes`` (why no better frame), ``rows`` (cells of the table),
            ``marks`` (names of each row's markups), ``markups`` (by name, as in their files), and by side
            ``skeletons``, ``clocks`` (see :func:`_clocks`) and ``coverage`` (see :func:`_coverage`).

        Raises:
            HipError: as `measure` and `write_report`.
        """
        progress(0.0)
        morphometry = self._measured(request, progress)
        if request.page:
            write_report(morphometry, request.name, Path(request.page))
        return _as_report(morphometry, request.name)

    def _measured(self, request: MeasureRequest, progress: Callable[[float], None]) -> Morphometry:
        what = (Path(request.labels).read_bytes(), repr((request.moved, request.landmarks)))
        if self._last is None or self._last[0] != what:
            labels = sitk.ReadImage(request.labels)
            edits = {side: points.edits(side) for side, points in request.moved.items()}
            landmarks = {name: np.array(point) for name, point in request.landmarks.items()}
            self._last = what, measure(labels, progress=progress, edits=edits, landmarks=landmarks)
        return self._last[1]


def _as_report(morphometry: Morphometry, name: str) -> dict[str, Any]:
    hips = morphometry.hips
    edited, found = _hips(morphometry), _hips(replace(morphometry, hips=replace(hips, edits={})))
    frame = hips.frame
    return {
        "frame": {"name": frame.name, "caution": frame.caution, "obliquity": _numbers(np.array([frame.obliquity]))[0]},
        "notes": list(hips.frame_notes),
        "rows": cells(morphometry, name),
        "marks": [[f"{row.side[0].upper()}_{mark.name}" for mark in row.marks] for row in morphometry.rows],
        "markups": markups(morphometry),
        "skeletons": {side: to_json(skeleton_of(hip)) for side, hip in found.items()},
        "clocks": {side: _clocks(hip) for side, hip in edited.items()},
        "coverage": {side: _coverage(hip) for side, hip in edited.items()},
    }


def _hips(morphometry: Morphometry) -> dict[str, Hip]:
    """Those that can be measured at all."""
    hips = {}
    for side in morphometry.hips.sides:
        try:
            hips[side] = morphometry.hips.hip(side)
        except HipError:
            continue
    return hips


def _clocks(hip: Hip) -> dict[str, list[float | None]]:
    """Degrees round the clock, None where they are not known: ``alpha`` at `alpha.CLOCK`, and ``rim``, how far from the
    socket's depth it covers, at `rim.TURNS`."""
    clocks = {}
    try:
        profile = profile_of(hip)
        clocks["alpha"] = _numbers(np.where(profile.hidden, math.nan, profile.alpha))
    except HipError:
        clocks["alpha"] = []
    try:
        clocks["rim"] = _numbers(np.where(in_notch(TURNS), math.nan, 180 - hip.rim.polar))
    except HipError:
        clocks["rim"] = []
    return clocks


def _coverage(hip: Hip) -> dict[str, Any]:
    """The head's sphere (``centre``, LPS mm; ``radius``) and which of `coverage.DIRECTIONS` are ``covered``, a digit
    each; none where that is not known."""
    try:
        covered = "".join("1" if there else "0" for there in coverage_map(hip).covered)
    except HipError:
        covered = ""
    centre = mirrored(hip.head.centre, hip.side)
    return {"centre": centre.tolist(), "radius": float(hip.head.radius), "covered": covered}


def _numbers(values: np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else round(float(value), 4) for value in values]
