"""The table that measures a model on simulated MRI: which cells it has, that it repeats itself, and what it counts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from real_data_scripts import real_data_script


@pytest.fixture(scope="module")
def script():
    with real_data_script("simulated_table") as script:
        yield script


def test_every_plane_contrast_and_distance_has_its_cell(script):
    cells = list(script.cells())
    both = [(cell.plane, cell.contrast, cell.step_mm) for cell in cells if cell.case == "both hips"]
    assert len(set(both)) == len(both) == 3 * 6 * 3
    assert {step for *_, step in both} == {1.0, 3.0, 5.0}
    others = [cell for cell in cells if cell.case != "both hips"]
    for case, count in (("one hip", 3), ("turned by 20°", 9), ("one end", 3)):
        of_case = [cell for cell in others if cell.case.startswith(case)]
        assert len(of_case) == count
        assert {cell.plane for cell in of_case} == {"coronal", "axial", "sagittal"}


def test_the_same_seed_gives_the_same_mri_in_the_cells_plane(script, anatomy):
    cell = script.Cell("x", "sagittal", "t2", 5.0)
    first, again = (script.simulated(cell, anatomy, np.random.default_rng([1, 2])) for _ in range(2))
    for name in ("image", "labels"):
        assert np.array_equal(*(sitk.GetArrayFromImage(getattr(one, name)) for one in (first, again)))
    assert first.image.GetSpacing() == (1.0, 1.0, 5.0)
    across = np.array(first.image.GetDirection()).reshape(3, 3)[:, 2]
    assert abs(across[0]) > np.cos(np.deg2rad(15))
    assert {1, 2} <= set(np.unique(sitk.GetArrayFromImage(first.labels)))


def test_beyond_the_end_of_the_field_of_view_there_is_neither_image_nor_label(script):
    sizes = []
    for seed in range(12):
        voxels = np.ones((2, 40, 60), np.float32)
        images = [sitk.GetImageFromArray(voxels.astype(kind)) for kind in (np.float32, np.uint8)]
        ended = script._ended(script.Volume(*images), np.random.default_rng(seed))
        image, labels = (sitk.GetArrayFromImage(one) for one in (ended.image, ended.labels))
        assert np.array_equal(image > 0, labels > 0)
        assert 0.68 < image.mean() < 0.82
        sizes.append((np.ptp(np.nonzero(image[0])[0]) + 1 < 40, np.ptp(np.nonzero(image[0])[1]) + 1 < 60))
    # Rows or columns, never both; over the seeds either.
    assert set(sizes) == {(True, False), (False, True)}


def test_what_counts_is_each_bone_with_both_sides_and_nothing_found_is_nothing(script):
    from HipICMSCLib.common.errors import HipError

    truth = np.zeros((1, 4, 8), np.uint8)
    truth[0, 0], truth[0, 1] = 1, 2
    found = np.zeros_like(truth)
    found[0, 0, :4], found[0, 0, 4:6], found[0, 1:3] = 1, 2, 4
    mri = script.Volume(sitk.GetImageFromArray(truth.astype(np.float32)), sitk.GetImageFromArray(truth))

    class Answer:
        labels = sitk.GetImageFromArray(found)

    class Segmenter:
        """Stands for the engine, whose own tests say what it finds."""

        def segment(self, image):
            return Answer

    assert script.dice_of(Segmenter(), mri) == {
        "hip bone": pytest.approx(2 * 6 / (6 + 8)),
        "femur": pytest.approx(2 * 8 / (16 + 8)),
    }

    class Blind:
        def segment(self, image):
            raise HipError("no_hip", "No hip.")

    assert script.dice_of(Blind(), mri) == {"hip bone": 0.0, "femur": 0.0}


def test_the_table_has_a_line_a_plane_and_contrast_and_names_its_lowest_entry(script):
    from dataclasses import asdict

    rows = [asdict(cell) | {"dice": {"hip bone": [0.9, 0.92], "femur": [0.95, 0.97]}} for cell in script.cells()]
    rows[4]["dice"]["hip bone"] = [0.5, 0.7]
    about = {"model": "m", "sha256": "0", "seed": 20, "volumes": 2, "device": "CPU"}
    text = script.table(about, rows)
    assert "| coronal | pd | 0.960 / 0.910 | 0.960 / 0.600 | 0.960 / 0.910 |" in text
    assert sum(line.startswith("| axial | ") for line in text.splitlines()) == 6
    assert "| one hip in view | 0.960 / 0.910 | 0.960 / 0.910 | 0.960 / 0.910 |" in text
    assert text.endswith("The lowest entry is 0.600.\n")
    json.dumps(rows)


def test_data_that_are_not_there_are_named(script, tmp_path):
    from HipICMSCLib.common.errors import HipError

    with pytest.raises(HipError, match=r"has no ctsim04|ctsim04\.nii\.gz") as refused:
        script.anatomy(tmp_path, "ct_sim/ctsim04")
    assert refused.value.kind == "missing_file"
