"""Where a user is sent first: to the regions of doubt about the bones, worst first, wherever the volume lies."""

from __future__ import annotations

import time

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.results.review import Place, confidence_percent, doubtful_places


def turned(degrees: float) -> np.ndarray:
    """A turn about the patient's z and then x axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
GRIDS = {
    "axial, isotropic": (np.eye(3), (2.0, 2.0, 2.0)),
    "thick coronal": (CORONAL, (0.9, 0.9, 5.2)),
    "thick oblique coronal": (turned(17) @ CORONAL, (1.5, 1.5, 5.0)),
    "oblique, left-handed": (turned(-30) @ np.diag([1.0, -1.0, 1.0]), (3.0, 1.2, 2.0)),
}

#: Bones as balls: value, centre in LPS mm, radius in mm.
BONES = (
    (1, (-60.0, 0.0, 30.0), 24.0),
    (2, (60.0, 0.0, 30.0), 24.0),
    (3, (-60.0, 0.0, -30.0), 24.0),
    (4, (60.0, 0.0, -30.0), 24.0),
)
#: Regions of doubt: centre, radius, confidence in it; each at the side of its bone, the worst first.
DOUBTS = (
    ((84.0, 0.0, 34.0), 9.0, 0.45),
    ((-60.0, 24.0, -32.0), 9.0, 0.6),
    ((60.0, -22.0, -36.0), 9.0, 0.75),
)


class Volume:
    """Confidence and labels about the world's origin; everything that is not painted is sure and background."""

    def __init__(self, grid: str = "axial, isotropic", extent_mm: float = 220.0) -> None:
        direction, spacing = GRIDS[grid]
        image = sitk.Image([round(extent_mm / s) for s in spacing], sitk.sitkUInt8)
        image.SetSpacing(spacing)
        image.SetDirection(direction.ravel())
        image.SetOrigin(-direction @ ((np.array(image.GetSize()) - 1) / 2 * spacing))
        self.image = image
        index = np.stack(np.meshgrid(*(np.arange(n) for n in image.GetSize()[::-1]), indexing="ij")[::-1], -1)
        self.points = (index * spacing) @ direction.T + image.GetOrigin()
        self.confidence_array = np.ones(index.shape[:3], np.float32)
        self.label_array = np.zeros(index.shape[:3], np.uint8)

    def within(self, centre, radius: float) -> np.ndarray:
        return np.linalg.norm(self.points - centre, axis=-1) <= radius

    def with_bones(self, bones=BONES) -> Volume:
        for value, centre, radius in bones:
            self.label_array[self.within(centre, radius)] = value
            # As of a real network: the outline is a band of even classes.
            distance = np.abs(np.linalg.norm(self.points - centre, axis=-1) - radius)
            self.confidence_array = np.minimum(self.confidence_array, np.float32(0.5 + 0.5 * np.minimum(distance, 1)))
        return self

    def with_doubts(self, doubts=DOUBTS) -> Volume:
        for centre, radius, confidence in doubts:
            self.confidence_array[self.within(centre, radius)] = confidence
        return self

    def on_grid(self, array: np.ndarray) -> sitk.Image:
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(self.image)
        return image

    def places(self, most: int = 12) -> tuple[Place, ...]:
        return doubtful_places(self.on_grid(self.confidence_array), self.on_grid(self.label_array), most)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_regions_of_doubt_are_found_worst_first_with_their_bone(grid):
    places = Volume(grid).with_bones().with_doubts().places()
    for place, (centre, radius, _) in zip(places, DOUBTS, strict=False):
        assert np.linalg.norm(np.array(place.point_lps) - centre) < radius / 2
    assert [place.bone for place in places[:3]] == ["left hip bone", "right proximal femur", "left proximal femur"]
    doubts = [place.doubt for place in places]
    assert doubts == sorted(doubts, reverse=True)
    # Outlines alone come after all of them.
    assert doubts[2] > 1.2 * max(doubts[3:], default=0.0)


@pytest.mark.parametrize("grid", GRIDS)
def test_places_are_apart_and_not_more_than_asked_for(grid):
    volume = Volume(grid).with_bones().with_doubts()
    volume.confidence_array -= np.random.default_rng(0).random(volume.confidence_array.shape, np.float32) * 0.4
    places = volume.places()
    assert len(places) == 12
    points = np.array([place.point_lps for place in places])
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    assert distances[~np.eye(len(points), dtype=bool)].min() >= 20
    assert volume.places(most=2) == places[:2]


def test_what_the_network_did_not_see_is_no_doubt():
    volume = Volume().with_bones().with_doubts(DOUBTS[:1])
    unseen = volume.points[..., 0] < 0
    volume.confidence_array[unseen] = 0.0
    first, *others = volume.places()
    assert np.linalg.norm(np.array(first.point_lps) - DOUBTS[0][0]) < 5
    assert all(place.point_lps[0] >= 0 for place in others)
    # Nor does it thin out the doubt beside it.
    volume.confidence_array[volume.within((0.0, 0.0, 30.0), 12.0) & ~unseen] = 0.5
    volume.label_array[volume.within((10.0, 0.0, 30.0), 5.0)] = 2
    at_border = [place for place in volume.places() if place.point_lps[0] < 10]
    assert at_border and at_border[0].doubt > 0.4


def test_doubt_far_from_every_bone_is_left_out():
    far = ((0.0, 80.0, 80.0), 9.0, 0.4)
    near = ((60.0, 39.0, 30.0), 9.0, 0.6)  # 15 mm beside the bone
    places = Volume().with_bones().with_doubts((far, near)).places()
    points = np.array([place.point_lps for place in places])
    assert np.linalg.norm(points[0] - near[0]) < 5
    assert np.linalg.norm(points - far[0], axis=1).min() > 20


def test_where_no_bone_was_found_everything_seen_is_looked_through():
    places = Volume().with_doubts().places()
    assert [place.bone for place in places] == ["", "", ""]
    for place, (centre, radius, _) in zip(places, DOUBTS, strict=True):
        assert np.linalg.norm(np.array(place.point_lps) - centre) < radius / 2


def test_one_hip_is_enough():
    places = Volume().with_bones(BONES[::2]).with_doubts(DOUBTS[1:2]).places()
    assert places[0].bone == "right proximal femur"
    assert {place.bone for place in places} <= {"right proximal femur", "right hip bone"}


def test_a_sure_network_leaves_no_place():
    assert Volume().places() == ()
    nothing_seen = Volume()
    nothing_seen.confidence_array[:] = 0
    assert nothing_seen.places() == ()


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 1), (40, 40, 1)])
def test_tiny_images_are_taken(size):
    places = doubtful_places(sitk.Image(size, sitk.sitkFloat32) + 0.5, sitk.Image(size, sitk.sitkUInt8))
    assert places and places[0].doubt == pytest.approx(0.5)


def test_a_large_volume_takes_seconds_at_most():
    rng = np.random.default_rng(0)
    confidence = sitk.GetImageFromArray(1 - 0.5 * rng.random((240, 160, 300), np.float32))
    confidence.SetSpacing((1.25, 1.25, 1.0))
    labels = np.zeros((240, 160, 300), np.uint8)
    labels[60:180, 40:120, 40:120], labels[60:180, 40:120, 180:260] = 1, 2
    label_image = sitk.GetImageFromArray(labels)
    label_image.CopyInformation(confidence)
    started = time.perf_counter()
    assert len(doubtful_places(confidence, label_image)) == 12
    assert time.perf_counter() - started < 5


def test_the_map_holds_per_cent_on_the_same_grid():
    volume = Volume("thick oblique coronal").with_bones().with_doubts()
    volume.confidence_array[0] = 0
    percent = confidence_percent(volume.on_grid(volume.confidence_array))
    assert percent.GetPixelID() == sitk.sitkUInt8
    for geometry in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(percent, geometry)() == getattr(volume.image, geometry)()
    assert np.abs(sitk.GetArrayFromImage(percent) - 100 * volume.confidence_array).max() <= 0.5 + 1e-4
    assert not sitk.GetArrayFromImage(percent)[0].any()
