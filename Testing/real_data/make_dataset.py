"""Writes the dataset.json of the shipped model and of its benchmark: `python make_dataset.py DATA OUT.json`.

DATA is the working set described in the model card (labelled CT in ct_real/ and ct_sim/, MRI in mri_unlabelled/, and
mri_val/, whose labels only measure). Two CT anatomies, one of each texture donor, and two MRI patients are held out for
the label-free scores.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELD_OUT = {"ctsim04", "ctsim18", "cptac_C3N-01876_t1cor", "cptac_C3N-02978_t1cor"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    data = arguments.data.resolve()
    cases = []
    for folder, modality in (("ct_real", "CT"), ("ct_sim", "CT"), ("mri_unlabelled", "MR"), ("mri_val", "MR")):
        for image in sorted((data / folder).glob("*.nii.gz")):
            name = image.name.removesuffix(".nii.gz")
            if name.endswith(("_label", "_ignore")):
                continue
            case = {"name": name, "modality": modality, "patient": name, "image": str(image)}
            case["role"] = "test" if folder == "mri_val" else "val" if name in HELD_OUT else "train"
            if folder != "mri_unlabelled":
                case["label"] = str(image.with_name(f"{name}_label.nii.gz"))
            cases.append(case)
    arguments.output.write_text(json.dumps({"cases": cases}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
