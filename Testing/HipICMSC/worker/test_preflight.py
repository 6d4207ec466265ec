"""What the card says before a click is true of volumes whose geometry and hips are known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ball_hips import LEFT_CENTRE, RIGHT_CENTRE, ball_image
from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.preprocessing.geometry import CropSettings
from HipICMSCLib.worker import preflight
from HipICMSCLib.worker.preflight import (
    Finding,
    field_of_view_findings,
    image_findings,
    inspect,
    model_findings,
    orientation_finding,
    overruled,
    verdict,
)
from HipICMSCLib.worker.run_times import RunTimes
from packages import FIELD_CENTRE, FIELD_OF_VIEW, HEADS, as_ct, blank, rotation, scene, write_slab_package

#: Columns are the image's axes in LPS; the last one is that along which slices follow one another.
AXIAL = np.eye(3)
CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
SAGITTAL = np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])


def volume(direction=AXIAL, spacing=(2.0, 2.0, 2.0), field=FIELD_OF_VIEW, centre=FIELD_CENTRE) -> sitk.Image:
    """The scene of dark and bright balls."""
    return scene(blank(direction, spacing, field, centre))[0]


def piece(direction: np.ndarray, spacing: tuple[float, float, float]) -> sitk.Image:
    """A part of the scene about the right hip, small enough for fine voxels."""
    return volume(direction, spacing, field=(100.0, 80.0, 120.0), centre=(-85.0, 0.0, 30.0))


def of(subject: str, findings: tuple[Finding, ...]) -> Finding:
    """The only finding about a subject."""
    (found,) = [finding for finding in findings if finding.subject == subject]
    return found


def level_and_words(finding: Finding, *words: str) -> str:
    """The level, after making sure of what the sentence says."""
    for word in words:
        assert word in finding.sentence
    assert finding.sentence.endswith(".")
    return finding.level


# The image.


def test_a_usual_coronal_mri_is_fine_in_every_way():
    image = piece(CORONAL, (0.9, 0.9, 5.2))
    findings = (*image_findings(image, "hips"), orientation_finding(image, CropSettings()))
    assert {finding.level for finding in findings} == {"fine"}
    assert level_and_words(of("Orientation", findings), "Coronal slices", "as the network reads them")
    assert level_and_words(of("Voxels", findings), "0.9 × 0.9 mm", "5.2 mm apart")
    assert level_and_words(of("Modality", findings), "MRI")


@pytest.mark.parametrize(
    ("direction", "spacing", "words"),
    [
        (AXIAL, (0.8, 0.8, 5.0), "Axial slices"),
        (SAGITTAL, (0.8, 0.8, 4.0), "Sagittal slices"),
        (CORONAL, (1.0, 1.0, 1.0), "A volume without thick slices"),
    ],
)
def test_a_model_that_reads_whole_slices_takes_any_plane(direction, spacing, words):
    finding = orientation_finding(piece(direction, spacing), None)
    assert (finding.level, finding.sentence) == ("fine", f"{words}, which the network reads as they are.")


@pytest.mark.parametrize(
    ("direction", "spacing", "level", "plane"),
    [
        (AXIAL, (0.8, 0.8, 5.0), "caution", "Axial"),
        (SAGITTAL, (0.8, 0.8, 4.0), "caution", "Sagittal"),
        (AXIAL[:, [1, 2, 0]], (0.8, 4.0, 0.8), "caution", "Axial"),  # axes stored in another order
        (-AXIAL, (0.8, 0.8, 5.0), "caution", "Axial"),
        (AXIAL, (0.8, 0.8, 1.5), "fine", "Axial"),
        (SAGITTAL, (0.8, 0.8, 2.0), "fine", "Sagittal"),
        (CORONAL, (0.8, 0.8, 5.0), "fine", "Coronal"),
        (CORONAL[:, [2, 0, 1]], (5.0, 0.8, 0.8), "fine", "Coronal"),
        (AXIAL, (1.0, 1.0, 1.1), "fine", "without thick slices"),
    ],
)
def test_the_plane_is_named_and_thick_slices_of_another_plane_ask_for_caution(direction, spacing, level, plane):
    finding = orientation_finding(piece(direction, spacing), CropSettings())
    assert level_and_words(finding, plane) == level
    assert ("cut across" in finding.sentence) == (level == "caution")
    assert "turned" not in finding.sentence


@pytest.mark.parametrize(
    ("degrees", "spacing", "level"),
    [
        (12, (0.8, 0.8, 5.0), "fine"),  # read along its own axes
        (27, (0.8, 0.8, 5.0), "caution"),  # resampled, which cuts across the slices
        (27, (1.0, 1.0, 2.0), "fine"),
    ],
)
def test_an_oblique_coronal_series_is_told_by_its_angle(degrees, spacing, level):
    direction = rotation(degrees, axis=(1.0, 0.0, 0.0)) @ CORONAL
    finding = orientation_finding(piece(direction, spacing), CropSettings())
    assert level_and_words(finding, "Coronal", f"turned by {degrees}°") == level


@pytest.mark.parametrize(
    ("spacing", "level", "words"),
    [
        ((0.9, 0.9, 6.0), "fine", ["6.0 mm apart"]),
        ((0.9, 0.9, 7.5), "caution", ["7.5 mm apart", "uncertain"]),
        ((3.0, 3.0, 5.0), "caution", ["3 × 3 mm", "blur"]),
        ((3.0, 3.0, 8.0), "caution", ["3 × 3 mm", "8.0 mm apart", "uncertain", "blur"]),
        ((0.9, 2.8, 5.0), "caution", ["0.9 × 2.8 mm", "blur"]),
        ((3.0, 3.0, 3.0), "caution", ["Voxels of 3 × 3 × 3 mm", "blur"]),
        ((1.0, 1.0, 1.0), "fine", ["Voxels of 1 × 1 × 1 mm"]),
    ],
)
def test_voxels_are_told_in_numbers_and_coarse_ones_ask_for_caution(spacing, level, words):
    finding = of("Voxels", image_findings(piece(CORONAL, spacing), "hips"))
    assert level_and_words(finding, *words) == level


def test_a_ct_is_a_stop():
    finding = of("Modality", image_findings(as_ct(volume(field=(420.0, 200.0, 210.0))), "hips"))
    assert level_and_words(finding, "CT", "choose an MRI") == "stop"


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (sitk.Image([40, 40, 40], sitk.sitkInt16), "empty"),
        (sitk.Image([40, 40, 1], sitk.sitkInt16), "not a 3-D volume"),
        (sitk.Image([40, 40, 40], sitk.sitkVectorUInt8, 3), "colours"),
        (sitk.Image([20, 40, 40], sitk.sitkInt16), "20 × 40 × 40 mm"),
    ],
)
def test_what_is_no_usable_volume_is_one_stop_that_names_it(image, word):
    (finding,) = image_findings(image, "my series")
    assert level_and_words(finding, "my series", word) == "stop"


# The field of view.


def test_both_hips_with_room_are_fine():
    findings = field_of_view_findings(volume(), HEADS)
    assert [finding.level for finding in findings] == ["fine", "fine"]
    assert level_and_words(of("Hips", findings), "Both")


@pytest.mark.parametrize(("side", "other"), [("right", "left"), ("left", "right")])
def test_one_hip_asks_for_caution_and_says_which(side, other):
    heads = FemoralHeads(**{other: None, side: getattr(HEADS, side)})
    finding = of("Hips", field_of_view_findings(volume(), heads))
    assert level_and_words(finding, f"Only the {side} femoral head", f"the {other} hip lies outside") == "caution"


DIRECTIONS = {
    "axial": AXIAL,
    "flipped": np.diag([-1.0, 1.0, -1.0]),
    "coronal": CORONAL,
    "sagittal": SAGITTAL,
    "turned": rotation(10) @ CORONAL,
}
#: Patient axis, whether its end is cut off, and how that is called.
BORDERS = [
    (1, False, "at the front"),
    (1, True, "at the back"),
    (2, False, "at the bottom"),
    (2, True, "at the top"),
]


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize(("axis", "at_end", "name"), BORDERS)
def test_a_joint_at_the_border_is_told_with_its_side_the_border_and_how_much_is_missing(direction, axis, at_end, name):
    """The image ends 16 mm from the right head along one of its axes; the left head has room."""
    (nearest,) = [i for i in range(3) if np.abs(direction[:, i]).argmax() == axis]
    outwards = direction[:, nearest] * np.sign(direction[axis, nearest]) * (1 if at_end else -1)
    right = np.array(HEADS.right)
    left = np.array(HEADS.left) - outwards * ((np.array(HEADS.left) - right) @ outwards + 60)
    field = [600.0, 400.0, 400.0]
    # A border lies half the field from the centre.
    centre = right + outwards * (16 - field[axis] / 2)
    image = blank(direction, (4.0, 4.0, 4.0), tuple(field), tuple(centre))
    findings = field_of_view_findings(image, FemoralHeads(tuple(right), tuple(left)))
    finding = of("Field of view", findings)
    assert level_and_words(finding, "The right hip joint is cut", f"24 mm {name} are missing") == "caution"


@pytest.mark.parametrize(
    ("side", "name", "x"), [("right", "on the patient's right", -105.0), ("left", "on the patient's left", 105.0)]
)
def test_a_joint_at_the_lateral_border_is_told(side, name, x):
    field = (210.0, 150.0, 210.0)  # ends at x = ±105 mm, 20 mm beside the heads at ±85 mm
    finding = field_of_view_findings(
        volume(field=field), FemoralHeads(**{"right": None, "left": None, side: (x / 105 * 85, 0.0, 0.0)})
    )
    assert level_and_words(of("Field of view", finding), f"The {side} hip joint is cut", f"20 mm {name}") == "caution"


def test_between_the_head_and_the_joint_it_is_only_said_that_it_may_be_cut():
    """The image ends 34 mm below the heads: beyond the heads themselves, within 40 mm about them."""
    image = volume(spacing=(2.0, 2.0, 1.0), field=(300.0, 150.0, 134.0), centre=(0.0, 0.0, 33.0))
    cut = [finding for finding in field_of_view_findings(image, HEADS) if finding.subject == "Field of view"]
    assert len(cut) == 2
    assert level_and_words(cut[0], "The right hip joint may be cut", "6 mm at the bottom are missing") == "caution"
    assert level_and_words(cut[1], "The left hip joint may be cut") == "caution"


def test_several_borders_are_listed():
    image = volume(spacing=(2.0, 2.0, 1.0), field=(300.0, 70.0, 60.0), centre=(0.0, 0.0, 0.0))
    finding = field_of_view_findings(image, HEADS)[1]
    expected = "5 mm at the front, 5 mm at the back, 10 mm at the bottom and 10 mm at the top are missing"
    assert level_and_words(finding, expected) == "caution"


# What needs the engine.


@pytest.fixture(scope="session")
def segmenter(ball_model) -> HipSegmenter:
    return HipSegmenter(ball_model, "cpu")


@pytest.fixture
def run_times(tmp_path) -> RunTimes:
    return RunTimes(tmp_path / "run-times.json")


@pytest.mark.parametrize("direction", [AXIAL, CORONAL, rotation(8) @ CORONAL], ids=["axial", "coronal", "turned"])
def test_the_heads_are_found_and_handed_on(direction, segmenter, run_times):
    inspection = inspect(ball_image(direction, (3.0, 3.0, 4.0)), segmenter, run_times)
    assert inspection.heads.right == pytest.approx(RIGHT_CENTRE, abs=4)
    assert inspection.heads.left == pytest.approx(LEFT_CENTRE, abs=4)
    levels = {finding.subject: finding.level for finding in inspection.findings if finding.subject != "Orientation"}
    # The model of these tests says of no MRIs that it was measured on them.
    assert levels == {"Measured": "caution", "Hips": "fine", "Field of view": "fine", "Device": "fine", "Time": "fine"}


def test_a_model_that_looks_for_no_heads_before_the_segmentation_says_so(tmp_path, run_times):
    slabs = HipSegmenter(write_slab_package(tmp_path / "slabs.hipmodel"), "cpu")
    inspection = inspect(ball_image(CORONAL, (3.0, 3.0, 4.0)), slabs, run_times)
    assert inspection.heads is None
    finding = of("Hips", inspection.findings)
    assert level_and_words(finding, "Not looked for before the segmentation", "the result says which") == "fine"


def test_an_image_without_hips_is_a_stop_in_the_engines_own_words(segmenter, run_times):
    noise = np.random.default_rng(0).normal(500, 50, (70, 50, 110)).astype(np.int16)
    image = sitk.GetImageFromArray(noise)
    image.SetSpacing((3.0, 3.0, 3.0))
    inspection = inspect(image, segmenter, run_times)
    assert inspection.heads is None
    (finding,) = inspection.findings
    assert level_and_words(finding, "No hip joint was found") == "stop"


def test_the_time_is_that_of_earlier_runs_by_the_slices_of_this_volume(segmenter, run_times):
    """Twice as many slices took 400 s."""
    image = ball_image(CORONAL, (3.0, 3.0, 4.0))
    findings = inspect(image, segmenter, run_times).findings
    assert level_and_words(of("Time", findings), "not known until the first run") == "fine"
    assert "GB of memory; how long it takes is not known yet." in verdict(findings).sentence
    result = segmenter.segment(image)
    run_times.record(segmenter.package.sha256, segmenter.device_name, 2 * result.slices, 400.0)
    after = of("Time", inspect(image, segmenter, run_times).findings)
    assert level_and_words(after, "About 3 min 20 s", f"{result.slices} slices") == "fine"


def test_memory_is_fine_here_and_told_in_numbers(segmenter, run_times):
    finding = of("Device", inspect(ball_image(), segmenter, run_times).findings)
    assert level_and_words(finding, "processor (cpu)", "GB are needed", "GB are free") == "fine"


@pytest.mark.parametrize(
    ("free", "level", "words"),
    [
        (50 * 2**20, "caution", ["0.0 GB are free", "close other programs"]),
        (None, "fine", ["how much is free is not known"]),
    ],
)
def test_too_little_memory_asks_for_caution(free, level, words, segmenter, run_times, monkeypatch):
    monkeypatch.setattr(preflight, "free_bytes", lambda: free)
    finding = of("Device", inspect(ball_image(), segmenter, run_times).findings)
    assert level_and_words(finding, *words) == level


# The model, and all of it in a sentence.


def test_licence_and_purpose_are_told_with_research_use_only():
    findings = model_findings("CC BY 4.0", "Outlines hip bones on MRI")
    assert level_and_words(of("Licence", findings), "CC BY 4.0") == "fine"
    use = of("Intended use", findings)
    assert level_and_words(use, "Outlines hip bones on MRI. For research use only") == "fine"


def test_research_use_only_is_not_said_twice():
    use = of("Intended use", model_findings("CC0", "Research use only. It outlines hips."))
    assert use.sentence == "Research use only. It outlines hips."


def test_a_model_without_a_licence_asks_for_caution():
    finding = of("Licence", model_findings(" ", "Tests."))
    assert level_and_words(finding, "no licence") == "caution"


FINE = Finding("fine", "Voxels", "Small ones.")
CAUTION = Finding("caution", "Hips", "Only one.")
STOP = Finding("stop", "Modality", "This is a CT.")
TIME, DEVICE = (
    Finding("fine", "Time", "Short.", "about 9 s"),
    Finding("fine", "Device", "Little.", "needs 0.6 GB of memory"),
)
NO_TIME = Finding("fine", "Time", "Nobody knows.")
NO_MRI = Finding("stop", "Modality", "This looks like a CT; choose an MRI.", remedy="insist")
NO_MODEL = Finding("stop", "Model", "There is none.", of_image=False)


@pytest.mark.parametrize(
    ("findings", "level", "sentence"),
    [
        ([FINE, FINE], "fine", "Ready."),
        ([DEVICE, FINE, TIME], "fine", "Ready: about 9 s, needs 0.6 GB of memory."),
        ([DEVICE, NO_TIME], "fine", "Ready: needs 0.6 GB of memory; how long it takes is not known yet."),
        ([NO_MODEL], "stop", "Nothing can be segmented yet."),
        ([STOP, NO_MODEL], "stop", "Nothing can be segmented yet."),
        ([NO_MRI, TIME], "stop", "This cannot be segmented as it is."),
        (overruled([NO_MRI, TIME]), "caution", "Will be segmented on your word, although it looks like a CT."),
        (overruled([NO_MRI, STOP]), "stop", "This cannot be segmented as it is."),
        ([FINE, CAUTION, TIME], "caution", "Ready, with one caution: about 9 s."),
        ([CAUTION, FINE, CAUTION, CAUTION], "caution", "Ready, with 3 cautions."),
        ([CAUTION, STOP, Finding("stop", "Hips", "None.")], "stop", "This cannot be segmented as it is."),
    ],
)
def test_the_headline_says_whether_it_can_start_and_what_it_takes(findings, level, sentence):
    assert (verdict(findings).level, verdict(findings).sentence) == (level, sentence)


def test_who_insists_overrules_the_judgement_on_the_image_alone():
    judged, *others = overruled([NO_MRI, STOP, NO_MODEL, FINE])
    assert level_and_words(judged, "looks like a CT") == "caution" and "choose" not in judged.sentence
    assert others == [STOP, NO_MODEL, FINE]


def test_slicers_own_process_needs_no_torch_for_what_is_said_at_once():
    """Imports and uses what Slicer's process uses, with torch and scikit-image made unavailable."""
    code = (
        "import sys; sys.modules.update(torch=None, skimage=None, safetensors=None)\n"
        "from ball_hips import ball_image\n"
        "from HipICMSCLib.worker.preflight import image_findings, model_findings, verdict\n"
        "print(verdict(image_findings(ball_image(), 'x') + model_findings('CC0', 'Tests.')).sentence)"
    )
    folders = [Path(preflight.__file__).parents[2], Path(__file__).parents[2]]
    environment = {"PYTHONPATH": ":".join(map(str, folders))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "Ready, with one caution.\n", done.stderr


# Real volumes.

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
REAL = [path for folder in ("mri_unlabelled", "mri_val", "extra") for path in sorted((DATA / folder).glob("*.nii.gz"))]
REAL_MRI = [
    pytest.param(path, marks=pytest.mark.slow if path.parent.name == "mri_unlabelled" else ())
    for path in REAL
    if not any(word in path.name for word in ("label", "ignore", "_ct"))
]


@pytest.mark.skipif(not REAL_MRI, reason=f"there are no real MRIs under {DATA}")
@pytest.mark.parametrize("path", REAL_MRI, ids=lambda path: path.name.split(".")[0])
def test_no_real_mri_is_stopped(path, segmenter, run_times):
    image = sitk.ReadImage(str(path))
    findings = image_findings(image, "hips") + inspect(image, segmenter, run_times).findings
    assert [finding for finding in findings if finding.level == "stop"] == []
    assert level_and_words(of("Hips", findings), "Both") == "fine"


@pytest.mark.skipif(not (DATA / "extra/ts_example_ct.nii.gz").is_file(), reason=f"there is no real CT under {DATA}")
def test_a_real_ct_is_stopped():
    findings = image_findings(sitk.ReadImage(str(DATA / "extra/ts_example_ct.nii.gz")), "hips")
    assert of("Modality", findings).level == "stop"
