"""How far the measures of phantoms are from their truth: the acceptance table of the specification, cell by cell.

    .venv/bin/python Testing/benchmarks/morphometry.py [--phantoms 50] [--seed 1] [--parts cells broken ...]

One process, about 20 minutes of processor time; renews this seed's parts in ``morphometry.json`` beside this file and
writes ``morphometry.md`` of all that is in it. Each part says at which commit it was measured.
Each cell has as many phantoms as asked, of random shape, side, place in the grid and, every other pair, turned by 20
degrees. The frame is given, so the cells test detection; frames, mirror images, repeats, broken labels and intervals
have lines of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import FEMUR, SEGMENTS
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.frame import Frame
from HipICMSCLib.measures.morphometry import Morphometry, find_hips, measure
from HipICMSCLib.measures.registry import DEFINITIONS, MEASURES
from HipICMSCLib.measures.side import angle, mirrored, other
from HipICMSCTrainingLib.phantom.hip_labels import Sampling, head_centre, hip_labels
from HipICMSCTrainingLib.phantom.hip_shapes import HipShapes, truth

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from broken_hips import BROKEN, broken_labels
from measuring import machine
from rim_limits import as_markdown as limits_as_markdown

COLUMNS = {
    "1 mm clean": {},
    "0.9x0.9x5 clean": {"spacing": (0.9, 5.0, 0.9)},
    "1 voxel noise, 1 mm": {"noise_voxels": 0.6},
    "1 voxel in-plane noise, 5 mm": {"spacing": (0.9, 5.0, 0.9), "noise_voxels": 0.6, "in_plane": True},
}
#: Line of the acceptance table, measure, and the greatest error (and standard deviation) accepted in each column.
LINES: tuple[tuple[str, str, tuple], ...] = (
    ("head centre, mm", "HeadCentre", (0.15, 0.3, 0.3, 0.4)),
    ("head radius, mm", "HeadRadius", (0.1, 0.3, 0.2, 0.4)),
    ("LCEA, deg", "LCEA", (1.0, 1.5, (0.5, 1.5), (1.0, 2.5))),
    ("version central, deg", "VersionCentral", (0.5, 1.5, 1.5, 2.0)),
    ("version cranial, deg", "VersionCranial", (0.5, 2.0, 1.5, 2.0)),
    ("rim-plane version, deg", "RimVersion", (0.3, 1.0, 1.0, 1.0)),
    ("rim-plane inclination, deg", "RimInclination", (0.3, 0.5, 0.75, 0.75)),
    ("coverage, % of sphere", "Coverage", (1.0, 1.0, 1.5, 1.0)),
    ("alpha 1:30, deg", "Alpha_0130", (1.0, 1.5, (1.5, 3.5), (1.5, 3.0))),
    ("alpha 1:30 up to 65, deg", "Alpha_0130 up to 65", (1.0, 1.5, (1.5, 3.5), (1.5, 3.0))),
    ("alpha 12:00, deg", "Alpha_1200", (1.2, 3.0, 4.0, 4.0)),
    ("alpha 3:00, deg", "Alpha_0300", (1.2, "refuse", 4.0, "refuse")),
    ("neck axis, deg", "NeckAxis", (0.2, 1.5, 0.75, 2.0)),
    ("extrusion index, %", "ExtrusionIndex", (2.0, 3.0, 3.0, 4.0)),
    ("acetabular index, deg", "AI", (1.5, 2.5, 2.5, 3.0)),
    ("CCD, deg", "CCD_3D", (0.5, 2.0, 1.0, 2.5)),
    ("femoral version, deg", "FemoralVersion", (1.0, 2.0, 1.5, 2.5)),
)
SECONDS_A_HIP = 5.0
# From LPS to the coordinates of a right hip, and back.
_TO_SIDE = np.diag([-1.0, -1.0, 1.0])
HERE = Path(__file__).resolve().parent


def draw_shapes(rng: np.random.Generator) -> HipShapes:
    """A hip of the specification's variants."""
    radius = rng.uniform(20, 28)
    reach = radius + 1.5
    neck, cam = (np.sin(np.radians(rng.uniform(*bounds))) * reach for bounds in ((35, 45), (46, 80)))
    return HipShapes(
        head_radius=radius,
        neck_radius=neck,
        cam_radius=cam if rng.random() < 0.5 else None,
        neck_shaft=rng.uniform(122, 138),
        femoral_version=rng.uniform(0, 30),
        inclination=rng.uniform(40, 60),
        version=rng.uniform(0, 30),
        depth=rng.uniform(-12, 3),
        twist=rng.uniform(-6, 6) if rng.random() < 0.3 else 0.0,
        fossa_step=rng.uniform(40, 50),
        shaft_below=145.0,
    )


def turned(degrees: float, axis: np.ndarray) -> np.ndarray:
    """Rotation matrix (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.radians(degrees)
    return np.eye(3) + np.sin(turn) * cross + (1 - np.cos(turn)) * cross @ cross


def without_tilt(rng: np.random.Generator) -> np.ndarray:
    """A rotation (3, 3) of up to 20 degrees of obliquity and axial rotation that leaves the pelvis untilted."""
    oblique, axial = np.radians(rng.uniform(-20, 20, 2)) / np.sqrt(2)
    left = np.array([np.cos(oblique) * np.cos(axial), np.cos(oblique) * np.sin(axial), np.sin(oblique)])
    up = np.array([0, 0, 1.0]) - left[2] * left
    up /= np.linalg.norm(up)
    return np.column_stack([left, np.cross(up, left), up])


def one_hip(side: str, turn: np.ndarray, rng: np.random.Generator, **sampling) -> Sampling:
    """A grid about one hip, at a random place within a voxel."""
    middle = turn @ np.array([-88.0 if side == "right" else 88.0, 0, 0])
    low, high = middle - np.array([62, 60, 150]), middle + np.array([62, 60, 50])
    return Sampling(
        low=tuple(low), high=tuple(high), turn=turn, shift=rng.uniform(-2.5, 2.5, 3),
        seed=int(rng.integers(2**31)), **sampling,
    )  # fmt: skip


def frame_of(turn: np.ndarray) -> Frame:
    """The pelvis's true frame, given by hand."""
    return Frame("USER", np.diag([-1.0, -1.0, 1.0]) @ turn.T, {})


def errors(shapes: HipShapes, side: str, sampling: Sampling) -> tuple[dict[str, float], dict[str, str], float]:
    """Of one phantom: errors by measure, codes of refusals by measure, seconds of processor."""
    labels = hip_labels({side: shapes}, sampling)
    true = truth(shapes)
    started = time.process_time()
    result = measure(labels, frame_of(np.eye(3) if sampling.turn is None else sampling.turn), repeats=0)
    seconds = time.process_time() - started
    rows = {row.definition.id: row for row in result.rows}
    found = {name: rows[name].value - true[name] for name in true if name in rows and np.isfinite(rows[name].value)}
    refused = {
        name: rows[name].reason for name in true if name in rows and rows[name].reason and true[name] == true[name]
    }
    found = {name: float(error) for name, error in found.items() if np.isfinite(error)}
    hip = result.hips.sides[side]
    if hip.head is not None:
        found["HeadCentre"] = float(np.linalg.norm(mirrored(hip.head.centre, side) - head_centre(side, sampling)))
        if not refused.get("Alpha_0130", "").startswith(("neck", "head")):
            axis = mirrored(result.hips.hip(side).neck.axis, side)
            to_lps = np.diag([-1.0, -1.0, 1.0] if side == "right" else [1.0, -1.0, 1.0])
            turn = np.eye(3) if sampling.turn is None else sampling.turn
            found["NeckAxis"] = angle(axis, turn @ to_lps @ shapes.neck)
    if "Alpha_0130" in found and true["Alpha_0130"] <= 65:
        found["Alpha_0130 up to 65"] = found["Alpha_0130"]
    return found, refused, seconds


def error_of_version(shapes: HipShapes, side: str, rng: np.random.Generator, sampling: dict) -> float:
    """Of the femoral version of a femur that goes on to the knee.

    Raises:
        HipError: why it was refused.
    """
    grid = one_hip(side, np.eye(3), rng, **sampling)
    lateral = -1 if side == "right" else 1
    x = sorted((-lateral * 34.0, lateral * 92.0))
    middle = -88.0 if side == "right" else 88.0
    grid = replace(grid, low=(middle + x[0], -34.0, -410.0), high=(middle + x[1], 58.0, 34.0))
    labels = hip_labels({side: replace(shapes, condyles=True)}, grid, (FEMUR,))
    version = next(m for m in MEASURES if m.definition.id == "FemoralVersion")
    return version.of(find_hips(labels).hip(side)).number - shapes.femoral_version


def table(count: int, seed: int) -> dict:
    """All cells."""
    cells: dict = {column: {} for column in COLUMNS}
    for number, (column, sampling) in enumerate(COLUMNS.items()):
        rng = np.random.default_rng([seed, number])
        gathered: dict[str, list[float]] = {}
        refusals: dict[str, dict[str, int]] = {}
        times = []
        for phantom in range(count):
            side = ("right", "left")[phantom % 2]
            turn = np.eye(3) if phantom % 4 < 2 else turned(20, rng.normal(size=3))
            shapes = draw_shapes(rng)
            found, refused, seconds = errors(shapes, side, one_hip(side, turn, rng, **sampling))
            times.append(seconds)
            try:
                found["FemoralVersion"] = error_of_version(shapes, side, rng, sampling)
            except HipError as error:
                refused["FemoralVersion"] = error.kind
            for name, error in found.items():
                gathered.setdefault(name, []).append(error)
            for name, code in refused.items():
                refusals.setdefault(name, {}).setdefault(code, 0)
                refusals[name][code] += 1
            print(f"{column}: {phantom + 1} of {count}", flush=True)
        cells[column] = {
            name: {
                "n": len(values),
                "mean": float(np.mean(values)),
                "sd": float(np.std(values)),
                "max": float(np.max(np.abs(values))),
            }
            for name, values in gathered.items()
        }
        for name, codes in refusals.items():
            cells[column].setdefault(name, {"n": 0})["refused"] = codes
        cells[column]["seconds"] = {"mean": float(np.mean(times)), "max": float(np.max(times))}
    return cells


def frames(count: int, seed: int) -> dict:
    """Both hips and a whole pelvis turned by 20 degrees: what changes by how much in which frame."""
    rng = np.random.default_rng([seed, 10])
    names = ("LCEA", "VersionCentral", "VersionCranial", "RimVersion", "RimInclination", "ExtrusionIndex", "AI")
    names += ("Alpha_0130", "Alpha_0300", "CCD_3D", "Coverage", "HeadRadius")
    worst: dict[str, dict[str, float]] = {"APP": {}, "BIHEAD": {}, "IMAGE": {}}
    seen: dict[str, int] = {}
    for phantom in range(count):
        shapes = replace(draw_shapes(rng), pelvis=True, head_radius=24.0, neck_radius=15.0, cam_radius=20.0, twist=0.0)
        about = (np.array([0, 1.0, 0]), np.array([0, 0, 1.0]), rng.normal(size=3))[phantom % 3]
        turn = turned(20, about)
        true = truth(shapes)
        for name, pelvis, axis in (
            ("APP", True, turn),
            ("BIHEAD", False, without_tilt(rng)),
            ("IMAGE", False, turn),
        ):
            hips = {"right": shapes, "left": shapes}
            if name == "IMAGE":
                hips = {"right": shapes}
            sampling = Sampling(
                low=(-160, -110, -150),
                high=(0 if name == "IMAGE" else 160, 110, 155 if pelvis else 75),
                turn=axis,
                shift=rng.uniform(-1, 1, 3),
                spacing=(1, 1, 1),
            )
            hips = {side: replace(hip, pelvis=pelvis) for side, hip in hips.items()}
            result = measure(hip_labels(hips, sampling), repeats=0)
            seen[result.hips.frame.name] = seen.get(result.hips.frame.name, 0) + 1
            expected = truth(shapes, _TO_SIDE @ axis @ _TO_SIDE) if name == "IMAGE" else true
            for row in result.rows:
                if row.definition.id in names and row.side == "right" and np.isfinite(row.value):
                    error = abs(row.value - expected.get(row.definition.id, np.nan))
                    if np.isfinite(error):
                        worst[name][row.definition.id] = max(worst[name].get(row.definition.id, 0), float(error))
    return {"frames reached": seen, "largest error": worst}


def mirror_and_repeat(count: int, seed: int) -> dict:
    """The largest difference between a hip and its mirror image, and between two runs."""
    rng = np.random.default_rng([seed, 11])
    mirror = repeat = 0.0
    swapped = 0
    for phantom in range(count):
        spacing = (1.0, 1.0, 1.0) if phantom % 2 else (0.9, 5.0, 0.9)
        sampling = one_hip("right", turned(5, rng.normal(size=3)), rng, spacing=spacing, noise_voxels=0.4)
        labels = hip_labels({"right": draw_shapes(rng)}, sampling)
        flipped = _mirrored(labels)
        first, second, third = (measure(image, repeats=5) for image in (labels, labels, flipped))
        mirror = max(mirror, _difference(first, third, exchanged=True))
        repeat = max(repeat, _difference(first, second, exchanged=False))
        codes = {row.reason for row in measure(_exchanged(labels), repeats=0).rows}
        swapped += codes == {"side_mismatch"}
    return {"phantoms": count, "largest mirror difference": mirror, "largest repeat difference": repeat,
            "swapped sides refused": swapped}  # fmt: skip


def _difference(one: Morphometry, two: Morphometry, exchanged: bool) -> float:
    """The largest difference of any number; infinite where one was refused and the other not."""
    largest = 0.0
    for a, b in zip(one.rows, two.rows, strict=True):
        assert a.definition is b.definition and a.side == (other(b.side) if exchanged else b.side)
        for x, y in ((a.value, b.value), (a.low, b.low), (a.high, b.high), (a.tilt_slope, b.tilt_slope)):
            if np.isnan(x) != np.isnan(y):
                return float("inf")
            if np.isfinite(x):
                largest = max(largest, abs(x - y))
    return largest


def _exchanged(labels: sitk.Image) -> sitk.Image:
    """Right and left names exchanged, the image as it was."""
    table = np.array([0, 2, 1, 4, 3], np.uint8)
    assert [s.side for s in SEGMENTS] == ["right", "left", "right", "left"]
    image = sitk.GetImageFromArray(table[sitk.GetArrayViewFromImage(labels)])
    image.CopyInformation(labels)
    return image


def _mirrored(labels: sitk.Image) -> sitk.Image:
    """The image of the mirrored patient."""
    array = sitk.GetArrayFromImage(_exchanged(labels))[:, :, ::-1]
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(labels.GetSpacing())
    x, y, z = labels.GetOrigin()
    image.SetOrigin((-(x + (labels.GetSize()[0] - 1) * labels.GetSpacing()[0]), y, z))
    return image


def broken(count: int, seed: int) -> dict:
    """How many broken labels were refused with the right code, by kind."""
    right: dict[str, list] = {}
    for kind, (names, codes) in BROKEN.items():
        rng = np.random.default_rng([seed, 12])
        good, wrong = 0, []
        for _ in range(count):
            result = measure(broken_labels(kind, rng), repeats=0)
            side = "left" if kind == "sides swapped" else "right"
            found = {row.definition.id: row for row in result.rows if row.side == side}
            reasons = {found[name].reason for name in names}
            good += reasons <= codes
            wrong += sorted(reasons - codes)
        right[kind] = [good, count, sorted(set(wrong))]
    return right


def intervals(count: int, seed: int) -> dict:
    """How often the interval holds the truth where the boundary wavers, also from slice to slice of 5 mm."""
    kinds = {
        "1 mm, 0.6 voxel": {"noise_voxels": 0.6},
        "5 mm, 0.6 pixel within slices": {"spacing": (0.9, 5.0, 0.9), "noise_voxels": 0.6, "in_plane": True},
        "5 mm, 0.6 pixel in all directions": {"spacing": (0.9, 5.0, 0.9), "noise_voxels": 0.6},
    }
    held: dict = {}
    for number, (kind, sampling) in enumerate(kinds.items()):
        rng = np.random.default_rng([seed, 13, number])
        inside: dict[str, list[bool]] = {}
        for phantom in range(count):
            side = ("right", "left")[phantom % 2]
            shapes = draw_shapes(rng)
            grid = one_hip(side, np.eye(3), rng, **sampling)
            true = truth(shapes)
            for row in measure(hip_labels({side: shapes}, grid), frame_of(np.eye(3))).rows:
                name = row.definition.id
                if name in true and np.isfinite(true[name]) and np.isfinite(row.low):
                    inside.setdefault(name, []).append(bool(row.low <= true[name] <= row.high))
        held[kind] = {name: [sum(flags), len(flags)] for name, flags in inside.items()}
    return held


def as_markdown(results: dict) -> str:
    """The document: how many cells each seed meets, then each seed's parts."""
    tables = {seed: _table(result["cells"], result["made"]["cells"]["phantoms"]) for seed, result in results.items()}
    lines = [
        "A cell: largest absolute error, standard deviation in brackets; then what is accepted; bold where that is not "
        "reached; `-` where the measure was refused, as it should be; n if fewer were measured.",
        "",
    ]
    lines += [
        f"- Seed {seed}, {results[seed]['made']['cells']['phantoms']} phantoms a cell: {met} of {total} cells are met."
        for seed, (_, met, total) in tables.items()
    ]
    lines += ["", *limits_as_markdown()]
    for seed, result in results.items():
        lines += ["", f"## Seed {seed}", ""] + tables[seed][0]
        for part, written in _PARTS_WRITTEN.items():
            if part in result:
                lines += ["", *written(result[part]), "", _made(result["made"][part])]
    return "\n".join(lines) + "\n"


def _made(made: dict) -> str:
    return f"`{made['command']}`, at commit {made['commit']}, {made['date']}, {made['machine']['cpu']}."


def _table(cells: dict, phantoms: int) -> tuple[list[str], int, int]:
    """Lines of the acceptance table, how many cells are met and of how many."""
    lines = ["| measure | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    met = total = 0
    missed: dict[str, list[str]] = {}
    for title, name, limits in LINES:
        row = [title]
        for column, limit in zip(COLUMNS, limits, strict=True):
            text, ok = _cell(cells[column].get(name, {"n": 0}), limit, phantoms)
            row.append(text)
            met, total = met + ok, total + 1
            if not ok:
                missed.setdefault(column, []).append(title)
        lines.append("| " + " | ".join(row) + " |")
    lines += ["", "Not reached:", ""]
    lines += [f"- {column}: {', '.join(titles)}" for column, titles in missed.items()]
    return lines, met, total


def _cells(cells: dict) -> list[str]:
    """What belongs to the acceptance table."""
    seconds = ", ".join(f"{column} {cells[column]['seconds']['mean']:.2f}" for column in COLUMNS)
    return [
        "Refused, of phantoms that have a true value:",
        "",
        *(f"- {column}: {_refusals(cells[column])}" for column in COLUMNS),
        "",
        "The fossa is a cone of one width, so of a shallow socket it takes a large part of the rim: there "
        "`rim_missing` is right, the edge is not in the label.",
        "",
        f"Processor seconds a hip, one core, without intervals: {seconds}.",
    ]


def _broken(kinds: dict) -> list[str]:
    lines = ["| broken label | refused with the right code |", "|---|---|"]
    for kind, (good, count, wrong) in kinds.items():
        instead = "" if good == count else f" ({', '.join(code or 'measured' for code in wrong)})"
        lines.append(f"| {kind} | {good} of {count}{instead} |")
    return lines


def _mirror(mirror: dict) -> list[str]:
    return [
        f"Mirrored: largest difference of any number {mirror['largest mirror difference']:.2g}. Repeated: "
        f"{mirror['largest repeat difference']:.2g}. Swapped sides refused: {mirror['swapped sides refused']} of "
        f"{mirror['phantoms']}."
    ]


def _frames(frames: dict) -> list[str]:
    names = frames["largest error"]["APP"]
    lines = [
        "Turned by 20 degrees, largest error (IMAGE: against the truth in the image's axes):",
        "",
        "| frame | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for frame, worst in frames["largest error"].items():
        cells = (f"{worst[name]:.2f}" if name in worst else "–" for name in names)
        lines.append(f"| {frame} | " + " | ".join(cells) + " |")
    return lines


def _intervals(kinds: dict) -> list[str]:
    lines = [
        "Intervals that hold the truth:",
        "",
        "| noise | " + " | ".join(_SHOWN) + " |",
        "|---|" + "---|" * len(_SHOWN),
    ]
    for kind, held in kinds.items():
        cells = (f"{held[name][0]} of {held[name][1]}" if name in held else "–" for name in _SHOWN)
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines


def _seconds(seconds: float) -> list[str]:
    return [
        f"Processor seconds of a hip with 50 repeats for the intervals, 1 mm: {seconds:.2f}, which is "
        f"{seconds / SECONDS_A_HIP:.2f} of the {SECONDS_A_HIP:g} s that a hip may take."
    ]


_PARTS_WRITTEN = {
    "cells": _cells,
    "broken": _broken,
    "mirror": _mirror,
    "frames": _frames,
    "intervals": _intervals,
    "seconds with intervals": _seconds,
}
_SHOWN = (
    "HeadRadius",
    "LCEA",
    "VersionCentral",
    "VersionCranial",
    "RimVersion",
    "Coverage",
    "Alpha_0130",
    "Alpha_1200",
    "AI",
)


def _cell(cell: dict, limit, phantoms: int) -> tuple[str, bool]:
    if limit == "refuse":
        refused = sum(cell.get("refused", {}).values())
        if cell["n"]:
            return f"**{cell['n']} measured, {cell['max']:.2f}** / refuse", False
        return f"- ({refused} refused)", True
    if not cell["n"]:
        return "**none measured**", False
    deviation, largest = limit if isinstance(limit, tuple) else (np.inf, limit)
    ok = cell["max"] <= largest and cell["sd"] <= deviation
    accepted = f"{largest:g}" if np.isinf(deviation) else f"SD {deviation:g}, max {largest:g}"
    text = f"{cell['max']:.2f} ({cell['sd']:.2f})"
    few = "" if cell["n"] == phantoms else f", n={cell['n']}"
    return f"{text if ok else f'**{text}**'} / {accepted}{few}", ok


def _refusals(cells: dict) -> str:
    """Of the table's measures: how many were refused with which code."""
    shown = {name: cells.get(name, {}).get("refused", {}) for _, name, _ in LINES}
    return "; ".join(
        f"{name} " + ", ".join(f"{code} {count}" for code, count in codes.items())
        for name, codes in shown.items()
        if codes
    )


def made_by(command: list[str], phantoms: int) -> dict:
    """What a part's numbers depend on."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True)
    return {
        "command": " ".join(["Testing/benchmarks/morphometry.py", *command]),
        "phantoms": phantoms,
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
    }


def seconds_with_intervals() -> float:
    """Processor seconds of one hip at 1 mm with its intervals."""
    rng = np.random.default_rng(3)
    labels = hip_labels({"right": HipShapes(fossa_step=45.0, depth=-5.0)}, one_hip("right", np.eye(3), rng))
    started = time.process_time()
    measure(labels)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", nargs="+", choices=_PARTS_WRITTEN, default=list(_PARTS_WRITTEN))
    chosen = parser.parse_args()
    assert all(
        name in DEFINITIONS for _, name, _ in LINES if name not in ("HeadCentre", "NeckAxis") and " " not in name
    )
    some = max(2, chosen.phantoms // 5)
    measures_of = {
        "cells": lambda: table(chosen.phantoms, chosen.seed),
        "broken": lambda: broken(some, chosen.seed),
        "mirror": lambda: mirror_and_repeat(some, chosen.seed),
        "frames": lambda: frames(max(3, some // 2), chosen.seed),
        "intervals": lambda: intervals(2 * some, chosen.seed),
        "seconds with intervals": seconds_with_intervals,
    }
    stored = HERE / "morphometry.json"
    results = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    result = results.setdefault(str(chosen.seed), {"made": {}})
    for name in chosen.parts:
        result[name] = measures_of[name]()
        result["made"][name] = made_by(sys.argv[1:], chosen.phantoms)
        # After each part, so that hours of work are not lost with the last.
        stored.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (HERE / "morphometry.md").write_text(as_markdown(results), encoding="utf-8")
    print(as_markdown(results))


if __name__ == "__main__":
    main()
