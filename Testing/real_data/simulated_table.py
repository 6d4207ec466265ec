"""Measures a model on simulated MRIs of CTs that no training saw: `simulated_table.py MODEL DATA OUT.md`

A table of plane × contrast × distance of slices, and three rows of hard cases: one hip in view, a patient who lies
turned by 20 degrees, a field of view that ends within the pelvis. Each MRI is a whole volume and passes the whole
engine; what counts is what a user gets, the cleaned bones against the labels. OUT may end with .json, too. The same
seed gives the same table.

Voxels of 1 mm are even, so that the engine reads such a volume in coronal slices whatever it was acquired in.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.engine import HipSegmenter
from HipICMSCTrainingLib.settings.simulation import SimulationSettings, SlabShape
from HipICMSCTrainingLib.simulation.anatomy import FINE_MM, Anatomy, anatomy_of
from HipICMSCTrainingLib.simulation.contrast import draw_contrast
from HipICMSCTrainingLib.simulation.pose import AXES, Pose, rotation
from HipICMSCTrainingLib.simulation.volume import Volume, simulated_volume

SEED = 20
TWO_HIPS = ("ct_sim/ctsim04", "ct_sim/ctsim18")
ONE_HIP = ("sts/sts_031", "sts/sts_050")
CONTRASTS = ("t1", "pd", "t2", "fat_suppressed", "gradient_echo", "random")
STEPS_MM = (1.0, 3.0, 5.0)
PIXEL_MM = 1.0
#: Height and width of a slice, in pixels, and how much of a patient the slices hold, mm.
_FIELD = {"coronal": 352, "axial": 352, "sagittal": 256}
_DEPTH_MM = {"coronal": 150, "axial": 170, "sagittal": 120}
#: Of one hip's slices.
_NARROW_FIELD = 192
BONES = {"hip bone": 1, "femur": 2}


@dataclass(frozen=True)
class Cell:
    """One entry of a table and how its volumes are made.

    Attributes:
        cts: of which in turn.
        turn_deg: about the axes to the head, the back and the left.
        ends: whether the field of view ends within the pelvis.
    """

    case: str
    plane: str
    contrast: str
    step_mm: float
    cts: tuple[str, ...] = TWO_HIPS
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    ends: bool = False


def cells() -> Iterator[Cell]:
    for plane, contrast, step_mm in itertools.product(AXES, CONTRASTS, STEPS_MM):
        yield Cell("both hips", plane, contrast, step_mm)
    for plane in AXES:
        yield Cell("one hip in view", plane, "t1", 3.0, cts=ONE_HIP)
    for number, axis in enumerate(("the head's", "the back's", "the left's")):
        turn = tuple(20.0 * (number == other) for other in range(3))
        for plane in AXES:
            yield Cell(f"turned by 20° about {axis} axis", plane, "t1", 3.0, turn_deg=turn)
    for plane in AXES:
        yield Cell("one end of the field of view", plane, "t1", 3.0, ends=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--volumes", type=int, default=2, help="MRIs in each cell (default 2)")
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    try:
        segmenter = HipSegmenter(chosen.model, chosen.device)
        rows = measured(segmenter, chosen.data, chosen.volumes)
    except HipError as error:
        print(f"simulated_table: {error.sentence}", file=sys.stderr)
        return 2
    about = {"model": segmenter.package.manifest.name, "sha256": segmenter.package.sha256, "seed": SEED,
             "volumes": chosen.volumes, "device": segmenter.device_name}  # fmt: skip
    as_json = chosen.output.suffix == ".json"
    write_text(chosen.output, json.dumps(about | {"cells": rows}, indent=1) + "\n" if as_json else table(about, rows))
    return 0


def measured(segmenter: HipSegmenter, data: Path, volumes: int) -> list[dict]:
    """Each cell with the Dice of each bone in each of its volumes."""
    anatomies = {name: anatomy(data, name) for name in (*TWO_HIPS, *ONE_HIP)}
    rows = []
    for number, cell in enumerate(cells()):
        dice: dict[str, list[float]] = {bone: [] for bone in BONES}
        for volume in range(volumes):
            # Cells of odd numbers begin with the second CT, so that a single volume a cell sees both.
            ct = cell.cts[(number + volume) % len(cell.cts)]
            mri = simulated(cell, anatomies[ct], np.random.default_rng([SEED, number, volume]))
            for bone, value in dice_of(segmenter, mri).items():
                dice[bone].append(round(value, 4))
        rows.append(asdict(cell) | {"dice": dice})
        print(f"{cell.case}, {cell.plane}, {cell.contrast}, {cell.step_mm:g} mm: {dice}", flush=True)
    return rows


def anatomy(data: Path, name: str) -> Anatomy:
    image, labels = ("_ct", "_ctlabel") if name.startswith("sts/") else ("", "_label")
    files = [data / f"{name}{end}.nii.gz" for end in (image, labels)]
    if missing := [file.name for file in files if not file.exists()]:
        raise HipError("missing_file", f"The folder {data} has no {' and no '.join(missing)}.")
    return anatomy_of(*(sitk.ReadImage(str(file)) for file in files))


def simulated(cell: Cell, of: Anatomy, random: np.random.Generator) -> Volume:
    """A volume about the joints, of a patient warped as in training, who lies a little askew."""
    settings = SimulationSettings()
    turn = rotation(np.array(cell.turn_deg)) @ rotation(random.normal(0, 3, 3))
    axes = AXES[cell.plane] @ turn / np.exp(random.normal(0, settings.size_sd))
    step = cell.step_mm
    pose = Pose(cell.plane, axes, _middle(cell, of, random), step, step / random.uniform(1.0, 1.3), False)
    one_hip = cell.cts == ONE_HIP
    shape = SlabShape(round(_DEPTH_MM[cell.plane] / step), _NARROW_FIELD if one_hip else _FIELD[cell.plane], PIXEL_MM)
    contrast = draw_contrast({cell.contrast: 1.0}, random)
    volume = simulated_volume(of, pose, contrast, settings, shape, random)
    return _ended(volume, random) if cell.ends else volume


def _middle(cell: Cell, of: Anatomy, random: np.random.Generator) -> np.ndarray:
    """Between the heads, or at one of them where slices are sagittal; where no head is in view, amid the bones."""
    heads = [femur.head for femur in of.femora]
    if not heads:
        return of.bone_voxels.mean(0) * FINE_MM
    if cell.plane == "sagittal":
        return heads[random.integers(len(heads))]
    return np.mean(heads, axis=0)


def _ended(volume: Volume, random: np.random.Generator) -> Volume:
    """Without what lies beyond a straight line through one hip: the image is black there, and no bone is asked for."""
    side, share = int(random.integers(4)), float(random.uniform(0.2, 0.3))
    images = []
    for image in (volume.image, volume.labels):
        voxels = sitk.GetArrayFromImage(image)
        along = np.rot90(voxels, side, axes=(1, 2))
        along[:, :, round(along.shape[2] * (1 - share)) :] = 0
        changed = sitk.GetImageFromArray(voxels)
        changed.CopyInformation(image)
        images.append(changed)
    return replace(volume, image=images[0], labels=images[1])


def dice_of(segmenter: HipSegmenter, mri: Volume) -> dict[str, float]:
    """Of each bone, both sides together; 0 where the engine finds nothing at all."""
    truth = sitk.GetArrayFromImage(mri.labels)
    try:
        found = sitk.GetArrayFromImage(segmenter.segment(mri.image).labels)
    except HipError as error:
        if error.kind != "no_hip":
            raise
        found = np.zeros_like(truth)
    bones = np.choose(found, [0, 1, 1, 2, 2])
    return {bone: _dice(bones == value, truth == value) for bone, value in BONES.items()}


def _dice(found: np.ndarray, truth: np.ndarray) -> float:
    total = int(found.sum() + truth.sum())
    return 2 * int((found & truth).sum()) / total if total else 1.0


def table(about: dict, rows: list[dict]) -> str:
    """As Markdown: femur / hip bone, the mean of each cell's volumes."""
    lines = [
        f"Dice of {about['model']} on simulated MRI of held-out CTs, femur / hip bone; {about['volumes']} volumes a "
        f"cell, seed {about['seed']}, {about['device']}.",
        "",
        "| plane | contrast | " + " | ".join(f"{step:g} mm" for step in STEPS_MM) + " |",
        "|---|---|" + "---|" * len(STEPS_MM),
    ]
    main_rows = [row for row in rows if row["case"] == "both hips"]
    for (plane, contrast), of_line in itertools.groupby(main_rows, lambda row: (row["plane"], row["contrast"])):
        lines.append(f"| {plane} | {contrast} | " + " | ".join(map(_entry, of_line)) + " |")
    lines += ["", "| T1, 3 mm | " + " | ".join(AXES) + " |", "|---|" + "---|" * len(AXES)]
    others = [row for row in rows if row["case"] != "both hips"]
    for case, of_line in itertools.groupby(others, lambda row: row["case"]):
        lines.append(f"| {case} | " + " | ".join(map(_entry, of_line)) + " |")
    lowest = min(min(np.mean(row["dice"][bone]) for bone in BONES) for row in rows)
    return "\n".join([*lines, "", f"The lowest entry is {lowest:.3f}.", ""])


def _entry(row: dict) -> str:
    return " / ".join(f"{np.mean(row['dice'][bone]):.3f}" for bone in ("femur", "hip bone"))


if __name__ == "__main__":
    sys.exit(main())
