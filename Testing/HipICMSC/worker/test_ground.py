"""What a model was measured on, and whether an MRI is of that kind: known bodies and real MRIs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.common.settings import to_json
from HipICMSCLib.models.archive import read_archive
from HipICMSCLib.models.chosen import find_model
from HipICMSCLib.worker.ground import Ground, differences, fat_is_brightest, grounds_of
from HipICMSCLib.worker.preflight import ground_findings

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
#: Direction cosines of coronal slices: x to the left, z up, y to the back.
CORONAL = (1, 0, 0, 0, 0, 1, 0, -1, 0)
AXIAL = (1, 0, 0, 0, 1, 0, 0, 0, 1)


def body(fat: float, muscle: float, fluid: float, direction=CORONAL, width_mm: float = 400.0) -> sitk.Image:
    """An elliptic body in air: fat 15 mm thick below its skin, muscle, and a ball of fluid in its middle."""
    pixel, step, slices = 2.0, 5.0, 30
    size = round(width_mm / pixel)
    z, y, x = np.indices((slices, 150, size)).astype(np.float32)
    x, y, z = (x - size / 2) * pixel, (y - 75) * pixel, (z - slices / 2) * step
    radius = np.hypot(x / (width_mm / 2 - 20), y / 130)
    depth = (1 - radius) * 130
    voxels = np.where(radius < 1, np.where(depth < 15, fat, muscle), 5.0)
    voxels[np.sqrt(x**2 + y**2 + z**2) < 35] = fluid
    image = sitk.GetImageFromArray(voxels.astype(np.int16))
    image.SetSpacing((pixel, pixel, step))
    image.SetDirection(direction)
    return image


def test_on_t1_the_fat_below_the_skin_is_as_bright_as_anything():
    assert fat_is_brightest(body(fat=600, muscle=220, fluid=120))
    assert not fat_is_brightest(body(fat=120, muscle=220, fluid=900)), "fat is suppressed"
    assert not fat_is_brightest(body(fat=400, muscle=120, fluid=900)), "T2: fluid is brighter"


def test_each_difference_is_named():
    assert differences(body(600, 220, 120), Ground()) == []
    assert differences(body(600, 220, 120, AXIAL), Ground()) == ["its slices are axial"]
    assert differences(body(120, 220, 900), Ground()) == ["its contrast is not that of a T1 MRI"]
    assert differences(body(600, 220, 120, width_mm=220.0), Ground()) == ["it shows less than both hips"]
    even = sitk.Resample(body(600, 220, 120), [200, 150, 75], sitk.Transform(), sitk.sitkLinear, (0, 0, 0), (2, 2, 2),
                         CORONAL)  # fmt: skip
    assert "it is a volume without thick slices" in differences(even, Ground())


def test_another_ground_asks_for_its_own_kind():
    ground = Ground(plane="axial", contrast="PD with fat suppression", body_part="one hip")
    assert differences(body(120, 220, 900, AXIAL, width_mm=220.0), ground) == []
    assert differences(body(120, 220, 900), ground) == ["its slices are coronal"]


def test_a_package_states_its_ground_or_stands_on_none():
    axial = {"plane": "axial", "measured": "Dice 90 % on 3."}
    assert grounds_of({"training": {"ground": axial}}) == (Ground(plane="axial", measured="Dice 90 % on 3."),)
    assert [ground.plane for ground in grounds_of({"training": {"ground": [{}, axial]}})] == ["coronal", "axial"]
    for silent in ({}, {"training": {}}, {"training": None}, {"training": {"ground": {"of a later version": 1}}}):
        assert grounds_of(silent) == ()


def test_where_nobody_says_what_a_model_was_measured_on_the_card_does_not_say_it_either():
    (caution,) = ground_findings({"training": {"method": "icmsc"}}, body(600, 220, 120))
    assert (caution.level, caution.subject) == ("caution", "Measured")
    assert caution.sentence == ("Nobody has said on which MRIs this model was measured; look through the whole result.")


@pytest.mark.parametrize(("name", "states"), [("hip-mri", 2), ("hip-t1-mri", 0), ("hip-phantom-mri", 0)])
def test_what_the_shipped_packages_state(name, states):
    assert len(grounds_of(read_archive(find_model(name)).manifest)) == states


@pytest.mark.parametrize(
    ("ground", "judged"),
    [
        (Ground(), "plane, contrast and field of view"),
        (Ground(body_part="one hip"), "plane and contrast"),
        (Ground(contrast="PD"), "plane and field of view"),
        (Ground(contrast="PD", body_part="one hip"), "plane"),
    ],
)
def test_the_card_says_in_what_an_mri_is_like_those_and_no_more(ground, judged):
    (fine,) = ground_findings({"training": {"ground": to_json(ground)}}, body(600, 220, 120))
    assert fine.level == "fine"
    assert fine.sentence == f"The model was measured on MRIs like this one in {judged}: {ground.in_words()}."


def test_of_several_grounds_the_one_that_is_like_the_image_counts():
    grounds = [{"measured": "Dice 80 %."}, {"plane": "axial", "body_part": "one hip", "measured": "Dice 70 %."}]
    (fine,) = ground_findings({"training": {"ground": grounds}}, body(600, 220, 120, AXIAL, width_mm=220.0))
    assert fine.level == "fine" and fine.sentence.endswith("axial T1 MRIs of one hip. Dice 70 %.")


def test_the_card_says_how_the_model_did_there_or_that_nobody_knows():
    manifest = {"training": {"ground": {"measured": "Dice was 72.8 % and 77.5 % on two."}}}
    (fine,) = ground_findings(manifest, body(600, 220, 120))
    assert (fine.level, fine.subject) == ("fine", "Measured")
    assert fine.sentence == (
        "The model was measured on MRIs like this one in plane, contrast and field of view: "
        "coronal T1 MRIs of both hips. Dice was 72.8 % and 77.5 % on two."
    )
    (caution,) = ground_findings(manifest, body(120, 220, 900, AXIAL))
    assert caution.level == "caution"
    assert caution.sentence.startswith(
        "Not measured on such an MRI: its slices are axial and its contrast is not that of a T1 MRI."
    )


REAL = [
    ("mri_val/cptac_C3N-01003_t1cor.nii.gz", "fine"),
    ("mri_val/cptac_C3N-02632_t1cor.nii.gz", "fine"),
    ("sts/sts_014_t1.nii.gz", "caution"),
    ("sts/sts_031_t1.nii.gz", "caution"),
    ("extra/prostatex0218_t1vibe.nii.gz", "caution"),
]


@pytest.mark.parametrize(("name", "level"), REAL, ids=[Path(name).name.split(".")[0] for name, _ in REAL])
def test_real_mris_of_the_ground_and_beside_it(name, level):
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{name} is not among the shared data")
    (finding,) = ground_findings({"training": {"ground": to_json(Ground())}}, sitk.ReadImage(str(path)))
    assert finding.level == level, finding.sentence
