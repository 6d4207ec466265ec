"""`hipicmsc evaluate --ignore`: which masks are taken, and what is left of Dice and distances by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.evaluation.ignore_masks import masks_of
from HipICMSCTrainingLib.evaluation.pairs import find_pairs
from HipICMSCTrainingLib.evaluation.scores import evaluate_pairs


def write(path: Path, *x: int, spacing_mm: float = 1.5) -> Path:
    """A row of single voxels along x for the hip bone, and the same row for the femur."""
    voxels = np.zeros((5, 9, 12), np.uint8)
    voxels[2, 2, list(x)], voxels[2, 6, list(x)] = 1, 2
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((spacing_mm, 1.0, 2.0))
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def folder(tmp_path):
    """Truth x = 3…6, prediction x = 3…8: two voxels too many, 1.5 and 3.0 mm beyond the truth's end."""
    write(tmp_path / "p" / "a.nii.gz", 3, 4, 5, 6, 7, 8)
    write(tmp_path / "t" / "a_label.nii.gz", 3, 4, 5, 6)
    write(tmp_path / "t" / "a_ignore.nii.gz", 8)
    write(tmp_path / "t" / "a_cortex.nii.gz", 3)
    write(tmp_path / "masks" / "a_cortex.nrrd", 3)
    return tmp_path


def scores(folder: Path, *ignore: object) -> tuple[float, float]:
    """Dice and average surface distance, as the command writes them; both bones have the same."""
    words = ["--prediction", folder / "p", "--truth", folder / "t", "--output", folder / "scores.json", "--overwrite"]
    masks = [word for mask in ignore for word in ("--ignore", mask)]
    assert main(["evaluate", *map(str, [*words, *masks])]) == 0
    report = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    hip_bone, femur = (report["volumes"][0]["scores"]["raw"][name] for name in ("hip_bone", "femur"))
    assert hip_bone == femur
    return hip_bone["dice"], hip_bone["asd_mm"]


# 4 true and 6 predicted voxels: distances 4 × 0 and 4 × 0, 1.5, 3.0 mm.
NOTHING_LEFT_OUT = (2 * 4 / (4 + 6), (1.5 + 3.0) / 10)
# Without x = 8: 4 and 5 voxels.
WITHOUT_IGNORE = (2 * 4 / (4 + 5), 1.5 / 9)
# Without x = 3: 3 and 5 voxels.
WITHOUT_CORTEX = (2 * 3 / (3 + 5), (1.5 + 3.0) / 8)
# Without both: 3 and 4 voxels.
WITHOUT_BOTH = (2 * 3 / (3 + 4), 1.5 / 7)


def test_voxels_of_a_mask_count_neither_in_dice_nor_in_distances(folder):
    assert scores(folder, "none") == pytest.approx(NOTHING_LEFT_OUT)
    assert scores(folder) == pytest.approx(WITHOUT_IGNORE)  # the one beside the truth
    assert scores(folder, "_cortex") == pytest.approx(WITHOUT_CORTEX)
    assert scores(folder, "_ignore", "_cortex") == pytest.approx(WITHOUT_BOTH)


def test_a_mask_may_be_a_file_or_lie_in_another_folder(folder):
    assert scores(folder, folder / "t" / "a_cortex.nii.gz") == pytest.approx(WITHOUT_CORTEX)
    assert scores(folder, folder / "masks") == pytest.approx(WITHOUT_CORTEX)
    assert scores(folder, "_ignore", folder / "masks") == pytest.approx(WITHOUT_BOTH)


def test_two_files_are_compared_with_the_masks_beside_the_truth(folder, capsys):
    words = ["--prediction", folder / "p" / "a.nii.gz", "--truth", folder / "t" / "a_label.nii.gz"]
    assert main(["evaluate", *map(str, words), "--ignore", "_ignore", "--ignore", "_cortex"]) == 0
    table = capsys.readouterr().out
    assert "85.71" in table and "voxels of an ignore mask were left out in: a." in table


def test_a_mask_in_a_folder_belongs_to_the_volume_whose_whole_name_it_begins_with(tmp_path):
    for name in ("a_cortex", "a_2_cortex", "ab"):
        write(tmp_path / f"{name}.nii.gz", 3)
    masks = masks_of(["a", "a_2", "b"], tmp_path, [str(tmp_path)])
    assert {name: [mask.name for mask in files] for name, files in masks.items()} == {
        "a": ["a_cortex.nii.gz"],
        "a_2": ["a_2_cortex.nii.gz"],
        "b": [],
    }


@pytest.mark.parametrize("mask", ["_cortical", "cortex.nii.gz", "p/none"])
def test_a_mask_that_is_not_there_is_said_rather_than_left_out(folder, mask, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(HipError, match=f"--ignore {mask} names no mask") as caught:
        find_pairs(folder / "p", folder / "t", [mask])
    assert caught.value.kind == "missing_file"


def test_the_folder_of_the_volumes_is_no_folder_of_masks(folder):
    with pytest.raises(HipError, match=r"a_cortex\.nii\.gz and .*a_ignore\.nii\.gz could be the mask of a;"):
        find_pairs(folder / "p", folder / "t", [str(folder / "t")])


def test_a_mask_on_another_grid_is_named(folder):
    mask = write(folder / "coarse.nii.gz", 3, spacing_mm=3.0)
    with pytest.raises(HipError, match=r"coarse\.nii\.gz does not lie on the voxels of .*a_label\.nii\.gz") as caught:
        evaluate_pairs(find_pairs(folder / "p", folder / "t", [str(mask)]))
    assert caught.value.kind == "geometry_mismatch"
