"""The synthetic hips: what they promise about anatomy, contrast, geometry and files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.femoral_heads import find_femoral_heads
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.phantom.dataset import SMOKE, write_dataset
from HipICMSCTrainingLib.phantom.shape import POPULATIONS, draw_shape
from HipICMSCTrainingLib.phantom.subject import PhantomSubject, make_ct, make_mri
from scipy import ndimage

COARSE_CT = (2.5, 5.0, 2.5)
COARSE_MRI = {"in_plane_mm": 2.5, "slice_mm": 5.0}
SIDES = (-1, 1)  # right, left


@pytest.fixture(scope="module")
def ct() -> PhantomSubject:
    return make_ct(11, 0, spacing_mm=(2.0, 2.0, 2.0))


@pytest.fixture(scope="module")
def t1() -> PhantomSubject:
    return make_mri(11, 0, in_plane_mm=1.8, slice_mm=5.0)


@pytest.fixture(scope="module")
def fat_suppressed() -> PhantomSubject:
    return make_mri(11, 0, in_plane_mm=1.8, slice_mm=5.0, fat_suppressed=True)


def head(subject: PhantomSubject, side: int) -> np.ndarray:
    return np.array(subject.head_right if side < 0 else subject.head_left)


def positions(image: sitk.Image, mask: np.ndarray) -> np.ndarray:
    """LPS coordinates of the voxels of a mask, computed from the image's header."""
    index = np.argwhere(mask)[:, ::-1]
    basis = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return index @ basis.T + np.array(image.GetOrigin())


def digest(subject: PhantomSubject) -> str:
    return hashlib.sha256(
        b"".join(sitk.GetArrayFromImage(i).tobytes() for i in (subject.image, subject.label))
    ).hexdigest()


def centre_edge_angle(subject: PhantomSubject, side: int) -> float:
    """Degrees from straight up to the most lateral bone over the head, in the coronal plane of the head centre."""
    centre, radius = head(subject, side), subject.shape.head_radius_mm
    label = sitk.GetArrayFromImage(subject.label)
    covered = []
    for angle in np.radians(np.arange(-20.0, 80.0)):
        direction = np.array([side * np.sin(angle), 0.0, np.cos(angle)])
        ray = [centre + r * direction for r in np.arange(radius + 2, radius + 9, 0.5)]
        hits = [label[subject.label.TransformPhysicalPointToIndex(p.tolist())[::-1]] == 1 for p in ray]
        if any(hits):
            covered.append(np.degrees(angle))
    return max(covered)


def test_same_seed_gives_same_bytes_and_subjects_differ():
    first, again, other = (make_ct(3, n, spacing_mm=COARSE_CT) for n in (0, 0, 1))
    assert digest(first) == digest(again)
    assert first.shape == again.shape
    assert first.shape != other.shape
    assert digest(first) != digest(other)
    mri, mri_again = (make_mri(3, 0, **COARSE_MRI) for _ in range(2))
    assert digest(mri) == digest(mri_again)
    assert mri.shape != first.shape, "CT and MR subjects are different people"


@pytest.mark.parametrize("name", ["ct", "t1", "fat_suppressed"])
def test_label_lies_on_the_image_grid_and_head_centres_in_the_femora(name, request):
    subject = request.getfixturevalue(name)
    image, label = subject.image, subject.label
    assert image.GetSize() == label.GetSize()
    assert image.GetOrigin() == label.GetOrigin()
    assert image.GetSpacing() == label.GetSpacing()
    assert image.GetDirection() == label.GetDirection()
    assert (image.GetPixelID(), label.GetPixelID()) == (sitk.sitkInt16, sitk.sitkUInt8)
    assert set(np.unique(sitk.GetArrayFromImage(label))) == {0, 1, 2}
    assert subject.head_right[0] < subject.head_left[0], "LPS: the left side has the larger x"
    for side in SIDES:
        assert label[label.TransformPhysicalPointToIndex(head(subject, side).tolist())] == 2


def test_mri_slices_are_coronal_and_oblique(t1):
    direction = np.array(t1.image.GetDirection()).reshape(3, 3)
    coronal = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    tilt = np.degrees(np.arccos(np.clip((np.trace(direction @ coronal.T) - 1) / 2, -1, 1)))
    assert 0.2 < tilt < 8
    np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-9)
    assert t1.image.GetSpacing()[2] == 5.0


def test_head_is_a_sphere_of_the_stated_radius_inside_the_socket(ct):
    """Medial and upper parts of the head keep away from the neck, so there the femur is the sphere and nothing else."""
    femur = positions(ct.label, sitk.GetArrayFromImage(ct.label) == 2)
    for side in SIDES:
        offset = femur - head(ct, side)
        inward = offset @ np.array([-side * 0.5, 0, 0.87])
        reach = inward[np.linalg.norm(np.cross(offset, [-side * 0.5, 0, 0.87]), axis=1) < 3].max()
        assert reach == pytest.approx(ct.shape.head_radius_mm, abs=2.0)


def test_joint_space_is_open_everywhere(ct):
    """Distance from femur to hip bone: never zero, and as wide as stated at the roof."""
    label = sitk.GetArrayFromImage(ct.label)
    to_femur = ndimage.distance_transform_edt(label != 2, sampling=ct.label.GetSpacing()[::-1])
    # Voxel centres on either side of the gap are up to a voxel diagonal farther from or nearer to each other.
    assert to_femur[label == 1].min() >= 2.0 + 0.01, "a background voxel lies between the bones"
    for side in SIDES:
        hip = positions(ct.label, label == 1)
        near = np.linalg.norm(hip - head(ct, side), axis=1)
        assert near.min() == pytest.approx(ct.shape.head_radius_mm + ct.shape.joint_gap_mm, abs=2.0)


def test_centre_edge_angle_follows_the_shape():
    usual = replace(make_ct(5, 0, spacing_mm=(10, 10, 10)).shape, centre_edge_deg=32.0, cam_mm=0.0)
    shallow = replace(usual, centre_edge_deg=14.0)
    for side in SIDES:
        measured = [
            centre_edge_angle(make_ct(5, 0, spacing_mm=(1.6, 3.0, 1.6), shape=shape), side)
            for shape in (usual, shallow)
        ]
        assert measured[0] == pytest.approx(32, abs=10)
        assert measured[1] == pytest.approx(14, abs=10)
        assert measured[0] - measured[1] > 9


def test_socket_surrounds_the_upper_and_inner_head(ct):
    """Rays into the half of the sphere opposite the socket's mouth meet hip bone; rays out of the mouth do not."""
    label = sitk.GetArrayFromImage(ct.label)
    for side in SIDES:
        centre, radius = head(ct, side), ct.shape.head_radius_mm
        rng = np.random.default_rng(0)
        directions = rng.normal(size=(400, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        mouth = directions @ (np.array([side * 0.61, -0.3, -0.73]))

        def met(direction: np.ndarray, centre=centre, radius=radius) -> bool:
            ray = (centre + r * direction for r in np.arange(radius + 2, radius + 15, 1.0))
            return any(label[ct.label.TransformPhysicalPointToIndex(p.tolist())[::-1]] == 1 for p in ray)

        assert np.mean([met(d) for d in directions[mouth < -0.6]]) > 0.9
        assert np.mean([met(d) for d in directions[mouth > 0.3]]) < 0.1


def test_cam_bump_widens_the_head_neck_junction_only():
    base = replace(make_ct(6, 0, spacing_mm=(10, 10, 10)).shape, cam_mm=0.0)
    plain, cam = (make_ct(6, 0, spacing_mm=(2.0, 2.0, 2.0), shape=replace(base, cam_mm=c)) for c in (0.0, 4.5))
    labels = [sitk.GetArrayFromImage(s.label) for s in (plain, cam)]
    added = positions(plain.label, (labels[1] == 2) & (labels[0] != 2))
    assert len(added) > 30
    assert not ((labels[0] == 2) & (labels[1] != 2)).any()
    nearest = np.min([np.linalg.norm(added - head(plain, s), axis=1) for s in SIDES], axis=0)
    assert nearest.max() < base.head_radius_mm + 10


def test_volumes_and_proportions_are_adult(ct, t1):
    for subject in (ct, t1):
        label = sitk.GetArrayFromImage(subject.label)
        millilitres = np.prod(subject.label.GetSpacing()) / 1000
        hip, femur = (positions(subject.label, label == v) for v in (1, 2))
        middle = (head(subject, -1) + head(subject, 1)) / 2
        assert 400 < len(hip) * millilitres < 770
        assert 180 < (femur[:, 2] > middle[2] - 90).sum() * millilitres < 400
        assert 160 < np.linalg.norm(head(subject, -1) - head(subject, 1)) < 200
        assert 105 < hip[:, 2].max() - middle[2] < 140, "height of the iliac crest"
        pubis = hip[np.abs(hip[:, 0] - middle[0]) < 10] - middle
        assert -40 < np.median(pubis[:, 2]) < 0
        assert -65 < np.median(pubis[:, 1]) < -25


def test_each_side_has_its_own_hip_bone_and_femur(ct):
    """Two bones of each kind, of about equal size, one on each side; the symphysis is open."""
    label = sitk.GetArrayFromImage(ct.label)
    middle = (ct.head_right[0] + ct.head_left[0]) / 2
    for value in (1, 2):
        parts, count = ndimage.label(label == value, np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel())[1:]
        assert count == 2
        assert sizes.min() / sizes.max() > 0.8
        x = [positions(ct.label, parts == n)[:, 0].mean() - middle for n in (1, 2)]
        assert min(x) < -40 < 40 < max(x)


def inner_and_outer(subject: PhantomSubject) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intensities of the marrow in the heads' middle, of the cortex of the shafts, and of muscle-or-fat around."""
    values, label = (sitk.GetArrayFromImage(i) for i in (subject.image, subject.label))
    femur = positions(subject.image, label == 2)
    intensity = values[label == 2]
    from_head = np.min([np.linalg.norm(femur - head(subject, s), axis=1) for s in SIDES], axis=0)
    sampling = subject.image.GetSpacing()[::-1]
    depth = ndimage.distance_transform_edt(label == 2, sampling=sampling)[label == 2]
    marrow = intensity[from_head < subject.shape.head_radius_mm - 6]
    shaft = (femur[:, 2] < head(subject, 1)[2] - 75) & (depth > 1.9) & (depth < 4.5)
    return marrow, intensity[shaft], values[label == 0]


def test_ct_is_in_hounsfield_units(ct):
    marrow, cortex, background = inner_and_outer(ct)
    assert 150 < np.median(marrow) < 400
    assert 800 < np.median(cortex) < 1500
    assert background.min() <= -950
    counts, edges = np.histogram(background, bins=np.arange(-160, 120, 10))
    middles = edges[:-1] + 5
    assert middles[middles < -40][np.argmax(counts[middles < -40])] == pytest.approx(-100, abs=15)
    assert middles[middles > 0][np.argmax(counts[middles > 0])] == pytest.approx(50, abs=20)


def muscle(subject: PhantomSubject) -> float:
    """Median intensity in the gluteus maximus, behind the left head and a little nearer to the midline."""
    values = sitk.GetArrayFromImage(subject.image)
    voxels = positions(subject.image, np.ones(values.shape, bool))
    buttock = head(subject, 1) + np.array([-12, 78, -20])
    return float(np.median(values.ravel()[np.linalg.norm(voxels - buttock, axis=1) < 9]))


def test_t1_has_bright_marrow_and_dark_cortex(t1):
    marrow, cortex, _ = inner_and_outer(t1)
    assert np.median(marrow) > 1.3 * muscle(t1)
    assert np.median(cortex) < 0.6 * muscle(t1)


def test_fat_suppression_makes_marrow_darker_than_muscle(fat_suppressed):
    marrow, cortex, _ = inner_and_outer(fat_suppressed)
    assert np.median(marrow) < 0.7 * muscle(fat_suppressed)
    assert np.median(cortex) < np.median(marrow)


@pytest.mark.parametrize("name", ["ct", "t1", "fat_suppressed"])
def test_the_femoral_heads_are_found(name, request):
    subject = request.getfixturevalue(name)
    found = find_femoral_heads(subject.image)
    np.testing.assert_allclose(found.right, subject.head_right, atol=6)
    np.testing.assert_allclose(found.left, subject.head_left, atol=6)


def test_populations_differ_in_anatomy_and_stay_adult():
    shapes = {
        name: [draw_shape(np.random.default_rng([1, n]), people) for n in range(300)]
        for name, people in POPULATIONS.items()
    }
    for drawn in shapes.values():
        assert all(20 <= s.head_radius_mm <= 26 and 165 <= s.head_distance_mm <= 195 for s in drawn)
        assert all(120 <= s.neck_shaft_deg <= 140 and 5 <= s.anteversion_deg <= 20 for s in drawn)

    def mean(name: str, attribute: str) -> float:
        return float(np.mean([getattr(s, attribute) for s in shapes[name]]))

    assert mean("mri", "size") < mean("ct", "size") - 0.02
    assert mean("mri", "flexion_deg") > mean("ct", "flexion_deg") + 4
    assert mean("mri", "centre_edge_deg") < mean("ct", "centre_edge_deg") - 1


def test_dataset_folder(tmp_path):
    folder = tmp_path / "new" / "phantom"
    write_dataset(folder, 2, 4, resolution=SMOKE)
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert files == [
        "ct/ct00.nii.gz",
        "ct/ct00_label.nii.gz",
        "ct/ct01.nii.gz",
        "ct/ct01_label.nii.gz",
        "mri/mri00.nii.gz",
        "mri/mri01.nii.gz",
        "mri_truth/mri00_label.nii.gz",
        "mri_truth/mri01_label.nii.gz",
        "subjects.json",
    ]
    assert [p.name for p in folder.parent.iterdir()] == ["phantom"], "nothing is left beside it"
    expected = make_mri(4, 1, in_plane_mm=SMOKE.mri_in_plane_mm, slice_mm=SMOKE.mri_slice_mm)
    written = sitk.ReadImage(str(folder / "mri" / "mri01.nii.gz"))
    truth = sitk.ReadImage(str(folder / "mri_truth" / "mri01_label.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(expected.image))
    assert np.array_equal(sitk.GetArrayFromImage(truth), sitk.GetArrayFromImage(expected.label))
    np.testing.assert_allclose(written.GetOrigin(), expected.image.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(written.GetDirection(), expected.image.GetDirection(), atol=1e-5)
    known = json.loads((folder / "subjects.json").read_text())["subjects"]["mri01"]
    assert known["head_left"] == list(expected.head_left)


def test_the_folder_that_one_works_in_is_left_in_its_place(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["phantom", ".", "--coarse", "--subjects", "1"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert Path.cwd() == tmp_path and not [*tmp_path.iterdir()]


def test_dataset_refuses_a_folder_with_something_in_it(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(HipError) as refusal:
        write_dataset(tmp_path, 1, 0, resolution=SMOKE)
    assert refusal.value.kind == "folder_in_use"
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_dataset_leaves_nothing_half_written(tmp_path):
    """The population of the MRs is unknown, which comes to light after the first CT has been written."""
    with pytest.raises(KeyError):
        write_dataset(tmp_path / "out", 1, 0, resolution=SMOKE, mri_population="unheard of")
    assert list(tmp_path.iterdir()) == []
