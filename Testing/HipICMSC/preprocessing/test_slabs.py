"""A whole volume as slices of a plane, and the way back: directions as promised, and nothing moves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import FEMUR
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.geometry import Grid
from HipICMSCLib.preprocessing.intensity import IntensitySettings
from HipICMSCLib.preprocessing.mapping_back import classes_and_confidence
from HipICMSCLib.preprocessing.slabs import (
    ORIENTATIONS,
    PreparedSlices,
    SlabSettings,
    acquisition_plane,
    prepare_slices,
    slice_grid,
)
from packages import blank, dice, distance, rotation
from scipy.spatial.transform import Rotation

PLANES = tuple(ORIENTATIONS)
#: Where columns, rows and slices run in LPS: rows to the feet, or to the back where slices are axial, and columns to
#: the patient's left, or to the back where they are sagittal.
LEFT, BACK, FEET, HEAD = (1, 0, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)
DIRECTIONS = {"sagittal": (BACK, FEET, LEFT), "coronal": (LEFT, FEET, BACK), "axial": (LEFT, BACK, HEAD)}
CORONAL, SAGITTAL = np.array(DIRECTIONS["coronal"]).T, np.array(DIRECTIONS["sagittal"]).T
AXIAL = np.eye(3)
SIGNED_PERMUTATIONS = [
    np.diag(signs)[:, order]
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]
BALL, RADIUS = (21.0, -14.0, 37.0), 22.0
FIELD, CENTRE = (120.0, 100.0, 140.0), (10.0, -6.0, 31.0)


def ball(grid: sitk.Image) -> sitk.Image:
    """Bright within BALL, with an edge as wide as a voxel."""
    edge = max(grid.GetSpacing())
    voxels = 1000 * np.clip(0.5 + (RADIUS - distance(grid, BALL)) / edge, 0, 1)
    image = sitk.GetImageFromArray(voxels.astype(np.float32))
    image.CopyInformation(grid)
    return image


def prepared(image: sitk.Image, plane: str, multiple: int = 1, **slab: float) -> PreparedSlices:
    return prepare_slices(image, plane, "MR", SlabSettings(**slab), IntensitySettings(), multiple)


def centroid(image: sitk.Image) -> np.ndarray:
    """Centre of brightness in LPS, mm."""
    voxels = sitk.GetArrayFromImage(image).astype(float)
    index = [float((voxels * i).sum() / voxels.sum()) for i in np.indices(voxels.shape)][::-1]
    return np.array(image.TransformContinuousIndexToPhysicalPoint(index))


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("direction", SIGNED_PERMUTATIONS, ids=lambda d: "".join(f"{int(v):+d}" for v in d.sum(0)))
def test_rows_columns_and_slices_run_as_promised_however_the_image_is_stored(direction, plane):
    image = ball(blank(direction, (2.0, 2.2, 2.4), FIELD, CENTRE))
    found = prepared(image, plane, pixel_mm=2.0)
    columns, rows, slices = np.array(found.grid.direction).reshape(3, 3).T
    assert np.allclose((columns, rows, slices), DIRECTIONS[plane])
    # What lies in the array lies where the grid says it does.
    as_image = found.grid.image(np.clip(found.slices, 0, 1))
    assert np.linalg.norm(centroid(as_image) - BALL) < 0.3


@pytest.mark.parametrize("plane", PLANES)
def test_a_patient_is_seen_as_a_radiologist_sees_him(plane):
    """Plain indices, without a grid in between: a spot high up, at the front, on the patient's right."""
    image = blank(np.eye(3), (2.0, 2.0, 2.0), (80, 80, 80), (0, 0, 0))
    spot = image.TransformPhysicalPointToIndex((-31.0, -31.0, 31.0))
    image[spot] = 1000.0
    found = prepared(image, plane, pixel_mm=2.0)
    slice_, row, column = np.unravel_index(found.slices.argmax(), found.slices.shape)
    first = {"sagittal": (slice_, row, column), "coronal": (slice_, row, column), "axial": (row, column)}[plane]
    assert max(first) < 8
    if plane == "axial":
        assert slice_ > len(found.slices) - 8


def there_and_back(image: sitk.Image, plane: str, **settings: float) -> tuple[sitk.Image, sitk.Image]:
    """Classes and confidence of a network that is sure where the image is bright."""
    found = prepared(image, plane, multiple=4, **settings)
    femur = np.clip((found.slices + 1) / 2, 0, 1)
    return classes_and_confidence([[found.grid.image(np.zeros_like(femur)), found.grid.image(femur)]], image)


VOLUMES = {
    "coronal 5 mm": (CORONAL, (0.9, 0.9, 5.0)),
    "coronal, back to front, upside down": (CORONAL @ np.diag([1.0, -1, -1]), (1.2, 1.2, 4.0)),
    "axial 3.3 mm": (AXIAL, (0.98, 0.98, 3.27)),
    "axial, feet first": (np.diag([-1.0, 1, -1]), (0.7, 0.7, 4.0)),
    "sagittal 4 mm": (SAGITTAL, (0.8, 0.8, 4.0)),
    "even voxels": (AXIAL, (1.5, 1.5, 1.5)),
    "very thin": (CORONAL, (1.3, 1.3, 0.6)),
    "even and thin": (AXIAL, (0.5, 0.5, 0.5)),
}


@pytest.mark.parametrize("degrees", [0, 12, 35])
@pytest.mark.parametrize("name", VOLUMES)
def test_a_ball_comes_back_to_where_it_was(name, degrees):
    axes, spacing = VOLUMES[name]
    field = (70.0, 70.0, 70.0) if min(spacing) < 0.6 else FIELD
    image = ball(blank(rotation(degrees) @ axes, spacing, field, BALL if min(spacing) < 0.6 else CENTRE))
    classes, confidence = there_and_back(image, acquisition_plane(image) or "coronal")
    for result in (classes, confidence):
        assert (result.GetSize(), result.GetOrigin()) == (image.GetSize(), image.GetOrigin())
        assert (result.GetSpacing(), result.GetDirection()) == (image.GetSpacing(), image.GetDirection())
    voxel = np.array(spacing)
    off = np.array(image.TransformPhysicalPointToContinuousIndex(centroid(classes).tolist())) - np.array(
        image.TransformPhysicalPointToContinuousIndex(BALL)
    )
    assert np.abs(off * voxel).max() < 0.15
    bright = sitk.GetArrayFromImage(image) > 500
    assert dice(sitk.GetArrayFromImage(classes) == FEMUR, bright) > 0.985


def test_thick_slices_are_read_one_by_one_as_acquired():
    direction = rotation(8) @ CORONAL * [1, 1, -1]
    grid = blank(direction, (1.5, 1.5, 5.2), FIELD, CENTRE)
    depth = grid.GetSize()[2]
    for lit in (0, 7, depth - 1):
        voxels = np.zeros(grid.GetSize()[::-1], np.float32)
        voxels[lit] = 1000
        found = prepared(Grid.of(grid).image(voxels), "coronal")
        assert len(found.slices) == depth
        brightest = found.slices.max(axis=(1, 2))
        # Back to front is turned round.
        assert np.flatnonzero(brightest > -1).tolist() == [depth - 1 - lit]


def test_in_plane_pixels_and_distance_of_slices_are_those_of_the_settings():
    thin = blank(AXIAL, (0.5, 0.5, 0.4), (60, 60, 60), (0, 0, 0))
    thick = blank(AXIAL, (0.5, 0.5, 3.5), (60, 60, 60), (0, 0, 0))
    slab = SlabSettings(pixel_mm=1.2, thinnest_mm=0.8)
    assert slice_grid(thin, "axial", slab).spacing == (1.2, 1.2, 0.8)
    assert slice_grid(thick, "axial", slab).spacing == (1.2, 1.2, 3.5)
    assert slice_grid(thick, "axial", slab).size[2] == thick.GetSize()[2]


@pytest.mark.parametrize("multiple", [1, 8, 32])
@pytest.mark.parametrize("plane", PLANES)
def test_slices_cover_the_whole_image_and_are_padded_at_their_end_alone(plane, multiple):
    image = ball(blank(rotation(10) @ AXIAL, (1.3, 1.1, 2.9), FIELD, CENTRE))
    plain, padded = prepared(image, plane), prepared(image, plane, multiple)
    rows, columns = padded.slices.shape[1:]
    assert (rows % multiple, columns % multiple) == (0, 0)
    inside = (slice(None), slice(plain.slices.shape[1]), slice(plain.slices.shape[2]))
    both = padded.covered[inside] & plain.covered
    assert (padded.covered[inside] == plain.covered).mean() > 0.99  # but for points on the image's very border
    assert np.allclose(padded.slices[inside][both], plain.slices[both], atol=2e-3)
    assert not padded.covered[:, plain.slices.shape[1] :].any()
    assert (padded.slices[~padded.covered] == -1).all()
    # Each voxel of the image lies within the slices.
    grid = padded.grid.image(np.zeros(padded.slices.shape, np.uint8))
    size = np.array(image.GetSize()) - 1
    for corner in np.ndindex(2, 2, 2):
        point = image.TransformIndexToPhysicalPoint((size * corner).tolist())
        index = np.array(grid.TransformPhysicalPointToContinuousIndex(point))
        assert (index > -0.5).all()
        assert (index < np.array(grid.GetSize()) - 0.5).all()


@pytest.mark.parametrize(
    ("axes", "spacing", "plane"),
    [
        (CORONAL, (1.0, 1.0, 5.0), "coronal"),
        (AXIAL, (1.0, 1.0, 3.0), "axial"),
        (SAGITTAL, (1.0, 1.0, 3.0), "sagittal"),
        (rotation(25) @ CORONAL, (1.0, 1.0, 4.0), "coronal"),
        (AXIAL, (4.0, 1.0, 1.0), "sagittal"),
        (AXIAL, (1.0, 1.0, 1.0), None),
        (CORONAL, (1.0, 0.9, 1.1), None),
    ],
)
def test_the_plane_is_that_of_the_acquired_slices(axes, spacing, plane):
    assert acquisition_plane(blank(axes, spacing, (60, 60, 60), (0, 0, 0))) == plane


@pytest.mark.parametrize("seed", range(4))
def test_thick_slices_are_read_one_by_one_however_they_are_turned(seed):
    """As axial ones along a steep neck: of a doubly oblique stack two axes may be nearest to one of the patient's."""
    turns = Rotation.random(200, random_state=seed).as_matrix()
    along_a_neck = Rotation.from_euler("yxz", [46, 20, 10], degrees=True).as_matrix()
    for direction in (along_a_neck, *turns):
        image = sitk.Image([20, 16, 6], sitk.sitkFloat32)
        image.SetSpacing((1.0, 1.0, 4.0))
        image.SetDirection(direction.ravel())
        plane = acquisition_plane(image)
        read = slice_grid(image, plane, SlabSettings())
        assert (read.size[2], read.spacing[2]) == (6, 4.0)
        normal = np.array(read.direction).reshape(3, 3)[:, 2]
        assert abs(normal @ direction[:, 2]) == pytest.approx(1)


@pytest.mark.parametrize("settings", [{"pixel_mm": 0.0}, {"pixel_mm": 50.0}, {"thinnest_mm": -1.0}])
def test_pixels_that_are_none_are_refused(settings):
    with pytest.raises(HipError, match=r"slab\.pixel_mm") as refused:
        SlabSettings(**settings)
    assert refused.value.kind == "bad_setting"


# The way back of several readings.


def probabilities(image: sitk.Image, hip: float, femur: float) -> list[sitk.Image]:
    grid = Grid.of(image)
    return [grid.image(np.full(grid.size[::-1], value, np.float32)) for value in (hip, femur)]


def test_several_readings_count_as_their_mean():
    image = blank(AXIAL, (2.0, 2.0, 2.0), (20, 20, 20), (0, 0, 0))
    readings = [probabilities(image, 0.7, 0.1), probabilities(image, 0.1, 0.8), probabilities(image, 0.1, 0.6)]
    classes, confidence = classes_and_confidence(readings, image)
    assert set(np.unique(sitk.GetArrayFromImage(classes))) == {FEMUR}
    assert np.allclose(sitk.GetArrayFromImage(confidence), 0.5)


def test_where_the_image_was_not_read_nothing_is_said():
    image = blank(AXIAL, (2.0, 2.0, 2.0), (40, 20, 20), (0, 0, 0))
    part = image[:10]
    classes, confidence = classes_and_confidence([probabilities(part, 0.9, 0.0)], image)
    classes, confidence = sitk.GetArrayFromImage(classes), sitk.GetArrayFromImage(confidence)
    assert (classes[..., :10] == 1).all()
    assert (classes[..., 10:] == 0).all()
    assert np.allclose(confidence[..., :10], 0.9)
    assert (confidence[..., 10:] == 0).all()
