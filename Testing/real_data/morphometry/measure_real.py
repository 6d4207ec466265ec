"""Measures the hips of the labelled CTs, and the same labels as 5 mm coronal slices would show them.

    .venv/bin/python Testing/real_data/morphometry/measure_real.py [--pages folder]

Reads ../shared/data (not part of the project) and writes tables of numbers beside this file: ``hips.csv`` (every
measure of every hip), ``agreement.md`` (1 mm against 5 mm, and right against left) and ``refusals.md``. With
``--pages`` also a report with pictures of every CT, which is derived from the data and stays out of the project.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.measures.labels import with_our_values
from HipICMSCLib.measures.morphometry import Morphometry, measure
from HipICMSCLib.measures.registry import DEFINITIONS
from HipICMSCLib.results.morphometry_report import write_report

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[3] / "shared" / "data"
VALUES = {"hip": (1,), "femur": (2,)}
SLICE_MM = 5.0


def in_thick_slices(labels: sitk.Image, phase: int) -> sitk.Image:
    """The label image as coronal slices of 5 mm: a voxel is a bone where at least half of its depth is.

    Args:
        phase: voxels by which the first slice starts later.
    """
    oriented = sitk.DICOMOrient(labels, "LPS")
    size = list(oriented.GetSize())
    count = round(SLICE_MM / oriented.GetSpacing()[1])
    size[1] = (size[1] - phase) // count * count
    oriented = sitk.RegionOfInterest(oriented, size, [0, phase, 0])
    array = sitk.GetArrayViewFromImage(oriented)
    z, y, x = array.shape
    slabs = array.reshape(z, y // count, count, x)
    thick = np.zeros((z, y // count, x), np.uint8)
    for value in range(1, 5):
        thick[(slabs == value).mean(axis=2) >= 0.5] = value
    image = sitk.GetImageFromArray(thick)
    image.SetSpacing([oriented.GetSpacing()[0], oriented.GetSpacing()[1] * count, oriented.GetSpacing()[2]])
    origin = np.array(oriented.GetOrigin())
    origin[1] += oriented.GetSpacing()[1] * (count - 1) / 2
    image.SetOrigin(origin.tolist())
    return image


def values_of(result: Morphometry) -> dict[tuple[str, str], float]:
    return {(row.side, row.definition.id): row.value for row in result.rows}


def write_csv(results: dict[str, Morphometry]) -> None:
    with open(HERE / "hips.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["CT", "side", "frame", "measure", "value", "low", "high", "unit", "status", "reason"])
        for name, result in results.items():
            for row in result.rows:
                numbers = ["" if np.isnan(v) else f"{v:.2f}" for v in (row.value, row.low, row.high)]
                writer.writerow([name, row.side, result.hips.frame.name, row.definition.id, *numbers,
                                 row.definition.unit, row.status, row.reason])  # fmt: skip


def agreement(fine: dict[str, Morphometry], thick: dict[str, Morphometry]) -> str:
    lines = [
        "Labels of CTs at 1 mm (`1 mm`) and the same as coronal slices of 5 mm (`5 mm`), in the frame found on each.",
        "Difference 5 mm − 1 mm; one hip a number. ICC(2,1) from both. Right − left of the same CT at 1 mm beside it.",
        "",
        "| measure | hips at 1 mm: mean (SD) | on both | mean difference | SD | largest | ICC | right − left, SD |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, definition in DEFINITIONS.items():
        values, pairs, sides = [], [], []
        for case, result in fine.items():
            here = values_of(result)
            there = values_of(thick[case])
            for side in ("right", "left"):
                value = here.get((side, name), np.nan)
                if np.isfinite(value):
                    values.append(value)
                    if np.isfinite(other := there.get((side, name), np.nan)):
                        pairs.append((value, other))
            if np.isfinite(both := here.get(("right", name), np.nan) - here.get(("left", name), np.nan)):
                sides.append(both)
        if not values:
            continue
        row = [
            f"{definition.name}, {definition.unit}",
            f"{np.mean(values):.2f} ({np.std(values):.2f}), n={len(values)}",
        ]
        if len(pairs) > 2:
            a, b = np.array(pairs).T
            off = b - a
            row += [
                str(len(pairs)),
                f"{off.mean():+.2f}",
                f"{off.std():.2f}",
                f"{np.abs(off).max():.2f}",
                f"{icc(a, b):.2f}",
            ]
        else:
            row += [str(len(pairs)), "", "", "", ""]
        row.append(f"{np.std(sides):.2f}" if len(sides) > 2 else "")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def icc(a: np.ndarray, b: np.ndarray) -> float:
    """ICC(2,1), absolute agreement of two readings (Shrout and Fleiss 1979)."""
    table = np.column_stack([a, b])
    n, k = table.shape
    grand = table.mean()
    rows = k * ((table.mean(axis=1) - grand) ** 2).sum() / (n - 1)
    columns = n * ((table.mean(axis=0) - grand) ** 2).sum() / (k - 1)
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + grand
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    return float((rows - error) / (rows + (k - 1) * error + k * (columns - error) / n))


def refusals(fine: dict[str, Morphometry], thick: dict[str, Morphometry], others: dict[str, Morphometry | str]) -> str:
    lines = []
    for title, results in (("at 1 mm", fine), ("as slices of 5 mm", thick)):
        hips = sum(len(result.hips.sides) for result in results.values())
        by_reason: dict[str, Counter] = {}
        for result in results.values():
            for row in result.rows:
                if row.reason:
                    by_reason.setdefault(row.reason, Counter())[row.definition.id] += 1
        lines += [f"Refused or uncertain, of {hips} hips {title}:", ""]
        for reason, counted in sorted(by_reason.items()):
            lines.append(f"- {reason}: " + ", ".join(f"{name} {count}" for name, count in sorted(counted.items())))
        lines.append("")
    lines += ["Frames: " + ", ".join(f"{name} {result.hips.frame.name}" for name, result in fine.items()), ""]
    for name, result in fine.items():
        lines += [f"- {name}: {note}" for note in result.hips.frame_notes]
    lines += ["", "Other images:", ""]
    for name, result in others.items():
        if isinstance(result, str):
            lines.append(f"- {name}: {result}")
            continue
        for side in result.hips.sides:
            rows = [row for row in result.rows if row.side == side]
            known = sum(np.isfinite(row.value) for row in rows)
            first = next((row.sentence for row in rows if row.status == "refused"), "")
            lines.append(f"- {name}, {side}: {known} of {len(rows)} measured; {first}")
    return "\n".join(lines) + "\n"


def measured(path: Path, repeats: int) -> Morphometry:
    return measure(with_our_values(sitk.ReadImage(str(path)), VALUES), repeats=repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=Path, help="write a report with pictures of every CT into this folder")
    chosen = parser.parse_args()
    fine: dict[str, Morphometry] = {}
    thick: dict[str, Morphometry] = {}
    for path in sorted(DATA.glob("ct_*/*_label.nii.gz")):
        name = path.name.removesuffix("_label.nii.gz")
        labels = with_our_values(sitk.ReadImage(str(path)), VALUES)
        fine[name] = measure(labels, repeats=20 if path.parent.name == "ct_real" else 0)
        thick[name] = measure(in_thick_slices(labels, phase=len(fine) % 5), repeats=0)
        print(name, fine[name].hips.frame.name, thick[name].hips.frame.name, flush=True)
        if chosen.pages:
            chosen.pages.mkdir(parents=True, exist_ok=True)
            write_report(fine[name], name, chosen.pages / f"{name}.html")
            write_report(thick[name], f"{name} at 5 mm", chosen.pages / f"{name}-5mm.html")
    others: dict[str, Morphometry | str] = {}
    paths = [*DATA.glob("mri_val/*_label.nii.gz"), *DATA.glob("sts/*_label.nii.gz"), *DATA.glob("sts/*_ctlabel.nii.gz")]
    for path in (*sorted(paths), DATA / "extra" / "ts_example_ct_label.nii.gz"):
        name = path.name.removesuffix(".nii.gz")
        try:
            others[name] = measured(path, repeats=20)
        except HipError as error:
            others[name] = f"{error.kind}: {error.sentence}"
            continue
        if chosen.pages:
            write_report(others[name], name, chosen.pages / f"{name}.html")
    write_csv(fine | {name: result for name, result in others.items() if not isinstance(result, str)})
    (HERE / "agreement.md").write_text(agreement(fine, thick), encoding="utf-8")
    (HERE / "refusals.md").write_text(refusals(fine, thick, others), encoding="utf-8")


if __name__ == "__main__":
    main()
