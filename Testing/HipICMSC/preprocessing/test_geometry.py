"""The crop that the networks read and the way back: nothing moves, nothing is blurred that need not be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.preprocessing.geometry import (
    CropSettings,
    Grid,
    coronal_slices,
    crop_grid,
    from_coronal_slices,
    obliquity_deg,
    onto_grid,
    same_geometry,
)
from packages import blank, dice, distance, rotation

SMALL = CropSettings(spacing_mm=(2.5, 2.5, 2.0), size=(56, 40, 60))
FIELD, CENTRE = (150.0, 110.0, 130.0), (12.0, -7.0, 31.0)
BLOB = (25.0, -18.0, 45.0)
CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # columns to the left, rows to the feet, slices to the back
SIGNED_PERMUTATIONS = [
    np.diag(signs)[:, order]
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]


def blob(grid: sitk.Image, width: float = 9.0) -> sitk.Image:
    """A smooth bright spot at BLOB."""
    image = sitk.GetImageFromArray((1000 * np.exp(-0.5 * (distance(grid, BLOB) / width) ** 2)).astype(np.float32))
    image.CopyInformation(grid)
    return image


def centroid(image: sitk.Image) -> np.ndarray:
    """Centre of brightness in LPS, mm."""
    voxels = np.nan_to_num(sitk.GetArrayFromImage(image)).astype(float)
    voxels[voxels < 50] = 0
    index = [float((voxels * i).sum() / voxels.sum()) for i in np.indices(voxels.shape)][::-1]
    return np.array(image.TransformContinuousIndexToPhysicalPoint(index))


def there_and_back(image: sitk.Image) -> tuple[sitk.Image, np.ndarray]:
    """The image on its crop, and the blob's mask brought back to the image's grid through coronal slices."""
    grid = crop_grid(image, CENTRE, SMALL)
    crop = onto_grid(image, grid)
    slices = np.nan_to_num(coronal_slices(crop))
    back = Grid.of(image).resample(from_coronal_slices(slices, grid), sitk.sitkLinear, 0.0)
    assert same_geometry(back, image, 1e-9)
    return crop, sitk.GetArrayFromImage(back) > 500


@pytest.mark.parametrize("direction", SIGNED_PERMUTATIONS, ids=lambda d: "".join(f"{int(v):+d}" for v in d.sum(0)))
def test_a_point_keeps_its_place_for_every_order_and_sign_of_the_axes(direction):
    image = blob(blank(direction, (2.0, 2.2, 2.4), FIELD, CENTRE))
    crop, mask = there_and_back(image)
    assert np.linalg.norm(centroid(crop) - BLOB) < 0.2
    # Whatever the input's axes are, the crop's run to the patient's left, back and head.
    assert np.allclose(crop.GetDirection(), np.eye(3).ravel())
    assert dice(mask, sitk.GetArrayFromImage(image) > 500) > 0.93


@pytest.mark.parametrize("degrees", [10, 19, 25, 40])
@pytest.mark.parametrize(
    ("axes", "spacing"), [(CORONAL, (0.9, 0.9, 5.2)), (np.eye(3), (1.2, 1.2, 4.0)), (-CORONAL[:, ::-1], (5, 1.2, 1))]
)
def test_a_point_keeps_its_place_in_oblique_anisotropic_volumes(degrees, axes, spacing):
    image = blob(blank(rotation(degrees) @ axes, spacing, FIELD, CENTRE))
    crop, mask = there_and_back(image)
    assert np.linalg.norm(centroid(crop) - BLOB) < 0.4
    assert dice(mask, sitk.GetArrayFromImage(image) > 500) > 0.9
    # Up to 20 degrees the volume is read along its own axes, beyond along the patient's.
    angle = obliquity_deg(image)
    along_patient = np.allclose(crop.GetDirection(), np.eye(3).ravel())
    assert along_patient == (angle > 20)


def test_obliquity_is_the_angle_to_the_nearest_patient_axis():
    turned = sitk.Image(4, 4, 4, sitk.sitkUInt8)
    turned.SetDirection((rotation(17, (0, 0, 1)) @ CORONAL).ravel().tolist())
    assert obliquity_deg(turned) == pytest.approx(17)
    turned.SetDirection((rotation(80, (1, 0, 0)) @ CORONAL).ravel().tolist())
    assert obliquity_deg(turned) == pytest.approx(10)


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_acquired_thick_slices_reach_the_network_unmixed(flip):
    direction = rotation(8) @ CORONAL * [1, 1, flip]
    grid = blank(direction, (1.5, 1.5, 5.2), FIELD, CENTRE)
    depth = grid.GetSize()[2]
    for impulse in (0, 7, depth - 1):
        voxels = np.zeros(grid.GetSize()[::-1], np.float32)
        voxels[impulse] = 1000
        image = Grid.of(grid).image(voxels)
        slices = coronal_slices(onto_grid(image, crop_grid(image, CENTRE, SMALL)))
        brightest = [np.nanmax(one) if np.isfinite(one).any() else 0 for one in slices]
        lit = [number for number, value in enumerate(brightest) if value > 1e-3]
        assert len(lit) <= 1
        if impulse == 7:
            assert lit, "a slice within the crop did not reach the network"
            inside = slices[lit[0]][np.isfinite(slices[lit[0]])]
            assert inside.min() == pytest.approx(1000, abs=1e-2)


def test_a_thick_slice_is_the_acquired_one_resampled_in_plane_only():
    grid = blank(CORONAL, (2.5, 2.0, 5.0), (137.5, 110, 118), (0.0, 0.0, 0.0))
    voxels = np.random.default_rng(1).uniform(0, 1000, grid.GetSize()[::-1]).astype(np.float32)
    image = Grid.of(grid).image(voxels)
    settings = CropSettings(spacing_mm=(2.5, 2.5, 2.0), size=(55, 44, 59))
    crop = crop_grid(image, (0.0, 0.0, 0.0), settings)
    # Spacing and centre are those of the image, so that in plane nothing is interpolated either.
    assert crop.size == (55, 22, 59)
    assert crop.spacing == (2.5, 5.0, 2.0)
    assert np.allclose(coronal_slices(onto_grid(image, crop)), voxels, atol=0.05)


def test_only_axes_that_become_coarser_are_smoothed():
    settings = CropSettings(spacing_mm=(4.0, 2.0, 2.0), size=(24, 40, 40))
    grid = blank(np.eye(3), (1.0, 2.0, 4.0), (100, 80, 80), (0.0, 0.0, 0.0))
    for axis in range(3):
        index = np.indices(grid.GetSize()[::-1])[2 - axis]
        image = Grid.of(grid).image((1000.0 * (index % 2)).astype(np.float32))
        crop = sitk.GetArrayFromImage(onto_grid(image, crop_grid(image, (0.0, 0.0, 0.0), settings)))
        inner = crop[8:-8, 8:-8, 6:-6]
        if axis == 0:
            # Stripes finer than the crop's pixels average out in place of turning into false ones.
            assert inner.min() > 450
            assert inner.max() < 550
        elif axis == 1:
            assert inner.min() < 1
            assert inner.max() > 999
        else:
            # Finer than the image: interpolated between voxels, whose own values stay.
            assert inner.max() - inner.min() > 490


def test_smoothing_keeps_the_mean():
    grid = blank(np.eye(3), (1.0, 1.0, 1.0), (60, 60, 60), (0.0, 0.0, 0.0))
    voxels = np.random.default_rng(2).uniform(0, 1000, grid.GetSize()[::-1]).astype(np.float32)
    image = Grid.of(grid).image(voxels)
    settings = CropSettings(spacing_mm=(3.0, 3.0, 3.0), size=(20, 20, 20))
    crop = sitk.GetArrayFromImage(onto_grid(image, crop_grid(image, (0.0, 0.0, 0.0), settings)))
    assert np.nanmean(crop) == pytest.approx(voxels.mean(), rel=0.01)
    assert np.nanstd(crop) < 0.4 * voxels.std()


def test_the_crop_has_its_size_and_lies_about_the_given_centre():
    image = blank(np.eye(3), (2.0, 2.0, 2.0), (500, 400, 500), (0.0, 0.0, 0.0))
    settings = CropSettings()
    grid = crop_grid(image, (13.0, -21.0, 34.0), settings)
    # The image is sampled more coarsely front to back, so its own slices are taken: 200 mm of them.
    assert (grid.size[0], grid.size[2]) == (300, 240)
    assert grid.size[1] * grid.spacing[1] == pytest.approx(200, abs=2)
    crop = onto_grid(image, grid)
    middle = crop.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in grid.size])
    assert middle[0] == pytest.approx(13)
    assert middle[1] == pytest.approx(-21, abs=1)
    assert middle[2] == pytest.approx(34)


def test_a_finely_sampled_volume_gives_the_papers_grid():
    image = blank(np.eye(3), (1.0, 1.0, 2.0), (400, 240, 280), (0.0, 0.0, 0.0))
    grid = crop_grid(image, (3.0, 2.0, 1.0), CropSettings())
    assert grid.size == (300, 160, 240)
    assert grid.spacing == (1.25, 1.25, 1.0)
    assert np.allclose(np.array(grid.origin), np.array([3, 2, 1]) - np.array([299, 159, 239]) / 2 * grid.spacing)


@pytest.mark.parametrize(("spacing", "covered"), [((1.0, 1.0, 1.0), 60), ((2.0, 6.0, 2.0), 60)])
def test_slices_beyond_the_image_are_left_out(spacing, covered):
    image = blank(np.eye(3), spacing, (140, covered, 140), (0.0, 0.0, 0.0))
    grid = crop_grid(image, (0.0, -20.0, 0.0), SMALL)  # reaches from -70 to 30 mm; the image from -30 to 30
    crop = onto_grid(image, grid)
    slices = coronal_slices(crop)
    assert np.isfinite(slices).any(axis=(1, 2)).all()
    front = crop.TransformIndexToPhysicalPoint((0, 0, 0))[1]
    back = crop.TransformIndexToPhysicalPoint((0, grid.size[1] - 1, 0))[1]
    assert -30 <= front <= -30 + grid.spacing[1]
    assert 30 - grid.spacing[1] - 2.5 <= back <= 30


@pytest.mark.parametrize("thickness", [1.0, 6.0])
def test_a_single_common_slice_works(thickness):
    image = blob(blank(np.eye(3), (2.0, thickness, 2.0), (140, 10 * thickness, 140), CENTRE))
    last = image.TransformIndexToPhysicalPoint((0, image.GetSize()[1] - 1, 0))[1]
    reach = SMALL.size[1] * SMALL.spacing_mm[1] / 2
    shift = reach - 0.4 * thickness if thickness > 2.5 else (SMALL.size[1] - 1) / 2 * SMALL.spacing_mm[1] - 0.1
    grid = crop_grid(image, (CENTRE[0], last + shift, CENTRE[2]), SMALL)
    assert grid.size[1] == 1
    slices = coronal_slices(onto_grid(image, grid))
    assert slices.shape == (1, 60, 56)
    assert np.isfinite(slices).any()
    ones = from_coronal_slices(np.ones(slices.shape, np.float32), grid)
    back = sitk.GetArrayFromImage(Grid.of(image).resample(ones, sitk.sitkLinear, 0.0))
    reached = round(max(grid.spacing[1] / thickness, 1))
    assert back[:, -1].max() == 1
    assert back[:, : -reached - 1].max() == 0


def test_outside_the_image_there_is_nan():
    image = blank(np.eye(3), (2.0, 2.0, 2.0), (60, 60, 60), CENTRE) + 5
    crop = sitk.GetArrayFromImage(onto_grid(image, crop_grid(image, CENTRE, SMALL)))
    assert np.isnan(crop[:, :, 0]).all()
    assert set(np.unique(crop[np.isfinite(crop)])) == {5.0}


def test_coronal_slices_have_the_head_above_and_the_patients_right_at_the_left():
    grid = Grid((5, 4, 3), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0), tuple(np.eye(3).ravel()))
    x, y, z = np.indices((5, 4, 3))
    image = grid.image((100 * x + 10 * y + z).transpose(2, 1, 0).astype(np.float32))
    slices = coronal_slices(image)
    assert slices.shape == (4, 3, 5)
    assert slices[0, 0, 0] == 2  # front, head (largest z), right (smallest x)
    assert slices[3, 2, 4] == 430  # back, feet, left
    back = from_coronal_slices(slices, grid)
    assert same_geometry(back, image, 1e-12)
    assert (sitk.GetArrayFromImage(back) == sitk.GetArrayFromImage(image)).all()


def test_axes_that_are_not_quite_at_right_angles_do_not_mix_slices():
    direction = CORONAL.copy()
    direction[:, 2] = [0.0009, 1.0, 0.0]  # within what is accepted as rounding; the origin lies far off
    grid = blank(CORONAL, (1.5, 1.5, 5.0), FIELD, (400.0, -300.0, 500.0))
    voxels = np.zeros(grid.GetSize()[::-1], np.float32)
    voxels[9] = 1000
    image = Grid.of(grid).image(voxels)
    image.SetDirection(direction.ravel().tolist())
    middle = image.TransformIndexToPhysicalPoint([n // 2 for n in image.GetSize()])
    slices = coronal_slices(onto_grid(image, crop_grid(image, middle, SMALL)))
    assert sum(np.nanmax(one) > 1 for one in slices) == 1


def test_same_geometry_notices_each_kind_of_difference():
    image = blank(rotation(12), (1.0, 2.0, 3.0), (40, 40, 40), CENTRE)
    assert same_geometry(image, sitk.Image(image))
    shifted, stretched, turned = sitk.Image(image), sitk.Image(image), sitk.Image(image)
    shifted.SetOrigin([p + 0.01 for p in image.GetOrigin()])
    stretched.SetSpacing((1.001, 2.0, 3.0))
    turned.SetDirection(rotation(12.1).ravel().tolist())
    for other in (shifted, stretched, turned, image[:-1]):
        assert not same_geometry(image, other)
    assert same_geometry(image, shifted, tolerance_mm=0.1)
