"""A whole simulated MRI: one patient in all slices, lying where its geometry says."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.preprocessing.slabs import ORIENTATIONS
from HipICMSCTrainingLib.settings.simulation import SimulationSettings, SlabShape
from HipICMSCTrainingLib.simulation.contrast import draw_contrast
from HipICMSCTrainingLib.simulation.pose import AXES, Pose, rotation
from HipICMSCTrainingLib.simulation.volume import Volume, simulated_volume

STIFF = SimulationSettings(warp_mm=0.0, femur_deg=(0.0, 0.0, 0.0))
T1 = draw_contrast({"t1": 1.0}, np.random.default_rng(0))


def volume(anatomy, plane: str, turn: np.ndarray | None = None, seed: int = 0, **changes) -> Volume:
    axes = AXES[plane] @ (np.eye(3) if turn is None else turn)
    pose = Pose(plane, axes, anatomy.femora[0].head, 6.0, 3.0, False)
    settings = replace(STIFF, **changes)
    return simulated_volume(anatomy, pose, T1, settings, SlabShape(9, 48, 2.5), np.random.default_rng(seed))


@pytest.mark.parametrize("plane", AXES)
@pytest.mark.parametrize("turned", [False, True], ids=["straight", "oblique"])
def test_bones_lie_where_the_geometry_says(anatomy, plane, turned):
    made = volume(anatomy, plane, rotation(np.array([12.0, -8.0, 15.0])) if turned else None)
    assert made.image.GetSize() == made.labels.GetSize() == (48, 48, 9)
    assert made.image.GetSpacing() == (2.5, 2.5, 6.0)
    labels = sitk.GetArrayFromImage(made.labels)
    for z, y, x in np.argwhere(np.ones_like(labels))[::97]:
        point = np.array(made.labels.TransformIndexToPhysicalPoint((int(x), int(y), int(z))))[::-1]
        index = tuple(np.clip(np.rint(point).astype(int), 0, np.array(anatomy.shape) - 1))
        inside = ((point >= 1) & (point <= np.array(anatomy.shape) - 2)).all()
        if inside and min(abs(anatomy.femur[index]), abs(anatomy.hip[index])) > 12:
            assert labels[z, y, x] == (2 if anatomy.femur[index] < 0 else 1 if anatomy.hip[index] < 0 else 0)
    assert {1, 2} <= set(np.unique(labels))


@pytest.mark.parametrize("plane", AXES)
def test_slices_are_of_the_plane_and_in_the_order_in_which_the_network_reads_them(anatomy, plane):
    made = volume(anatomy, plane)
    again = sitk.DICOMOrient(made.labels, ORIENTATIONS[plane])
    assert np.array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(made.labels))


def test_all_slices_are_of_one_patient(anatomy):
    """However much he is warped, bones go on from slice to slice, and tissue is as bright in one as in the next."""
    made = volume(anatomy, "axial", warp_mm=6.0, femur_deg=(15.0, 10.0, 15.0))
    labels, image = sitk.GetArrayFromImage(made.labels), sitk.GetArrayFromImage(made.image)
    for first, second in itertools.pairwise(labels):
        shared = ((first == 2) & (second == 2)).sum()
        assert shared > 0.4 * min((first == 2).sum(), (second == 2).sum())
    # A coil may see some places better, but it sees them so in every slice.
    tissue = (labels == 0) & (image > 0.1)
    for first, second in itertools.pairwise(range(len(image))):
        both = tissue[first] & tissue[second]
        assert np.median(image[second][both]) == pytest.approx(np.median(image[first][both]), rel=0.15)


def test_the_same_seed_gives_the_same_volume(anatomy):
    first, again, other = (volume(anatomy, "coronal", seed=seed, warp_mm=3.0) for seed in (1, 1, 2))
    for name in ("image", "labels"):
        arrays = [sitk.GetArrayFromImage(getattr(one, name)) for one in (first, again, other)]
        assert np.array_equal(arrays[0], arrays[1])
        assert not np.array_equal(arrays[0], arrays[2])
