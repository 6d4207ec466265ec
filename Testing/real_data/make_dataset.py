"""Writes the dataset.json of the shipped model and of its benchmark: `python make_dataset.py DATA OUT.json`.

DATA is the working set described in the model card: labelled CT in ct_real/, ct_sim/ and sts/, MRI in mri_unlabelled/
and sts/, and mri_val/, whose labels only measure. Nobody is in two roles: of sts/, two patients only measure, and the
others' MRIs are used without their labels.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

#: Two CT anatomies, one of each texture donor, and two MRI patients are held out for the label-free scores.
HELD_OUT = {"ctsim04", "ctsim18", "cptac_C3N-01876_t1cor", "cptac_C3N-02978_t1cor"}
#: The MRI that ships as sample data; no training sees it.
SAMPLE = "cptac_C3N-01875_t1cor"
#: Patients of sts/ whose MRIs measure.
MEASURED = ("031", "050")
TRAINED = ("014", "036", "048")
#: How often a CT is drawn: real anatomies more often than those warped from them, and one hip alone in a third.
WEIGHTS = {"ct_real": 3.0, "ct_sim": 1.0, "sts": 4.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    write_dataset(arguments.data, arguments.output)


def write_dataset(data: Path, output: Path) -> None:
    """Name every volume of the working set with its role."""
    cases = [*_cts(data.resolve()), *_mris(data.resolve())]
    output.write_text(json.dumps({"cases": cases}, indent=2) + "\n", encoding="utf-8")


def _cts(data: Path) -> Iterator[dict]:
    for folder in ("ct_real", "ct_sim"):
        for name in _volumes(data / folder):
            role = "val" if name in HELD_OUT else "train"
            yield _case(data / folder, name, "CT", role, f"{name}_label") | {"weight": WEIGHTS[folder]}
    for patient in TRAINED:
        name = f"sts_{patient}_ct"
        yield _case(data / "sts", name, "CT", "train", f"{name}label") | {"weight": WEIGHTS["sts"]}


def _mris(data: Path) -> Iterator[dict]:
    for name in _volumes(data / "mri_unlabelled"):
        if name != SAMPLE:
            yield _case(data / "mri_unlabelled", name, "MR", "val" if name in HELD_OUT else "train")
    for patient in TRAINED:
        yield _case(data / "sts", f"sts_{patient}_t1", "MR", "train") | {"patient": f"sts_{patient}_ct"}
    for name in _volumes(data / "mri_val"):
        yield _case(data / "mri_val", name, "MR", "test", f"{name}_label")
    for patient in MEASURED:
        yield _case(data / "sts", f"sts_{patient}_t1", "MR", "test", f"sts_{patient}_label")


def _volumes(folder: Path) -> list[str]:
    names = sorted(image.name.removesuffix(".nii.gz") for image in folder.glob("*.nii.gz"))
    return [name for name in names if not name.endswith(("_label", "_ignore"))]


def _case(folder: Path, name: str, modality: str, role: str, label: str | None = None) -> dict:
    case = {"name": name, "modality": modality, "role": role, "patient": name, "image": str(folder / f"{name}.nii.gz")}
    return case | ({"label": str(folder / f"{label}.nii.gz")} if label else {})


if __name__ == "__main__":
    main()
