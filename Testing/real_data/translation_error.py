"""Sets translated CTs beside the true MRIs of the patients: `python translation_error.py BENCHMARK DATA OUT.json`.

BENCHMARK is a folder of `hipicmsc benchmark … --dataset`, whose CycleGAN and ICMSC translate; DATA the working set. Of
the pairs of sts/ the header lays the CT's femur over the MRI's, so only there, and close by, a voxel of one is the same
place as in the other. The scanner and its scale are others than those of the MRIs that taught the generators, so that
grey values are compared after a straight line was fitted from the translation to the MRI. With --pictures FOLDER a
sheet for each patient is written, to look at; they show patients' data and stay out of the repository.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.common.files import write_text
from HipICMSCLib.common.voxels import box_of
from HipICMSCLib.preprocessing.crop import prepare
from HipICMSCLib.preprocessing.geometry import coronal_slices, onto_grid
from HipICMSCLib.preprocessing.intensity import rescale
from HipICMSCTrainingLib.benchmark.figures import TRANSLATORS
from HipICMSCTrainingLib.benchmark.translation import Translation
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.settings.training import TrainingSettings
from PIL import Image
from scipy import ndimage

FEMUR = 2
#: Muscle further from the femur than this has moved by itself between CT and MRI.
AROUND_MM = 10.0
#: The upper end of a femur, about which the crop is laid: some of these MRIs do not show the head's centre.
UPPER_END_MM = 60.0
_ENLARGED = 4


@dataclass(frozen=True)
class PairOfSlices:
    """CT and MRI of a patient on the grid that the networks read, each (slice, row, column).

    Attributes:
        ct, mri: in [-1, 1].
        around: bool, the femur and what is close to it, where both images have voxels.
    """

    patient: str
    ct: np.ndarray
    mri: np.ndarray
    around: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--pictures", type=Path)
    chosen = parser.parse_args()
    translations = {name: Translation(RunFolder(chosen.benchmark / "runs" / f"{name}-seed0")) for name in TRANSLATORS}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for pair in pairs_of(chosen.data, translations[TRANSLATORS[0]].description.settings):
        images = {"untranslated": pair.ct} | {name: translated(pair.ct, each) for name, each in translations.items()}
        found[pair.patient] = {name: error(image, pair) for name, image in images.items()}
        print(pair.patient, json.dumps(found[pair.patient]), flush=True)
        if chosen.pictures is not None:
            draw(pair, images, chosen.pictures / f"{pair.patient}.png")
    means = {
        name: {measure: round(float(np.mean([of[name][measure] for of in found.values()])), 3) for measure in measures}
        for name, measures in next(iter(found.values())).items()
    }
    write_text(chosen.output, json.dumps({"patients": found, "mean": means}, indent=1) + "\n")


def pairs_of(data: Path, settings: TrainingSettings) -> Iterator[PairOfSlices]:
    for file in sorted((data / "sts").glob("sts_*_ct.nii.gz")):
        patient = file.name.removesuffix("_ct.nii.gz")
        ct, mri, label, unknown = (
            sitk.ReadImage(str(file.with_name(f"{patient}_{part}.nii.gz")))
            for part in ("ct", "t1", "ctlabel", "ignore")
        )
        prepared = prepare(ct, upper_end(label), "CT", settings.crop, settings.intensity)
        grid = prepared.grid
        on_grid = coronal_slices(onto_grid(mri, grid))
        femur = coronal_slices(grid.resample(label, sitk.sitkNearestNeighbor, 0)) == FEMUR
        left_out = coronal_slices(grid.resample(unknown, sitk.sitkNearestNeighbor, 1)) > 0
        columns, slices, rows = grid.spacing
        distance_mm = ndimage.distance_transform_edt(~femur, sampling=(slices, rows, columns))
        # These MRIs were set to 0 outside of the body and of the original field of view.
        seen = prepared.covered & (np.nan_to_num(on_grid) > 0) & ~left_out
        yield PairOfSlices(
            patient, prepared.slices, rescale(on_grid, "MR", settings.intensity), (distance_mm <= AROUND_MM) & seen
        )


def upper_end(label: sitk.Image) -> FemoralHeads:
    """The middle of the femur's upper end, in the place of a head."""
    index = np.argwhere(sitk.GetArrayFromImage(label) == FEMUR)[:, ::-1].astype(float)
    direction = np.array(label.GetDirection()).reshape(3, 3)
    points = index * np.array(label.GetSpacing()) @ direction.T + np.array(label.GetOrigin())
    upper = points[points[:, 2] > points[:, 2].max() - UPPER_END_MM]
    return FemoralHeads(right=tuple(map(float, upper.mean(0))), left=None)


def translated(slices: np.ndarray, translation: Translation) -> np.ndarray:
    x = torch.from_numpy(slices)[:, None]
    return np.concatenate([translation.there_and_back(part, "CT")[0][:, 0].numpy() for part in x.split(8)])


def error(image: np.ndarray, pair: PairOfSlices) -> dict[str, float]:
    """Around the femur: correlation with the MRI, and the mean absolute error after a straight line was fitted, in % of
    the MRI's grey values from least to highest (2 in [-1, 1])."""
    x, y = image[pair.around].astype(float), pair.mri[pair.around].astype(float)
    slope, level = np.polyfit(x, y, 1)
    return {
        "correlation": round(float(np.corrcoef(x, y)[0, 1]), 3),
        "mean_absolute_error": round(float(np.abs(slope * x + level - y).mean()) / 2 * 100, 1),
    }


def draw(pair: PairOfSlices, images: dict[str, np.ndarray], file: Path) -> None:
    """The slice with most of the femur: CT, its translations and the true MRI side by side, each in the body's part."""
    index = int(pair.around.sum((1, 2)).argmax())
    rows, columns = box_of(pair.around.any(0))
    parts = [image[index][rows, columns] for image in (*images.values(), pair.mri)]
    sheet = ((np.concatenate(parts, axis=1) + 1) * 127.5).clip(0, 255).astype(np.uint8)
    height, width = sheet.shape
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).resize((width * _ENLARGED, height * _ENLARGED), Image.Resampling.BICUBIC).save(file)


if __name__ == "__main__":
    main()
