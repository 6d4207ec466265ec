"""What is written can be read by any program: same grid, same values, said in the header; nothing of the patient."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.results.segmentation_file import check_ending, write_segmentation

PROVENANCE = {"ModelId": "icmsc-hip 1.0", "ModelHash": "sha256:0123"}


@pytest.fixture
def labels() -> sitk.Image:
    """Oblique, left-handed in its axes and anisotropic; of a larger type than needed and with a patient's name."""
    rng = np.random.default_rng(1)
    image = sitk.GetImageFromArray(rng.integers(0, 5, (5, 6, 7)).astype(np.int32))
    c, s = np.cos(0.2), np.sin(0.2)
    image.SetDirection((c, -s, 0, 0, 0, 1, -s, -c, 0))
    image.SetSpacing((0.911458, 0.911458, 5.2))
    image.SetOrigin((-170.25, 33.5, 180.125))
    image.SetMetaData("0010|0010", "DOE^JANE")
    return image


@pytest.mark.parametrize("ending", [".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha", ".SEG.NRRD"])
def test_every_format_keeps_the_grid_and_the_values(labels, tmp_path, ending):
    path = tmp_path / f"hips{ending}"
    write_segmentation(labels, path, PROVENANCE)
    read = sitk.ReadImage(str(path))
    assert read.GetPixelID() == sitk.sitkUInt8
    assert np.array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(labels))
    assert read.GetSpacing() == pytest.approx(labels.GetSpacing(), abs=1e-5)
    assert read.GetOrigin() == pytest.approx(labels.GetOrigin(), abs=1e-4)
    assert read.GetDirection() == pytest.approx(labels.GetDirection(), abs=1e-6)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_segmentations_header_names_all_four_segments(labels, tmp_path):
    path = tmp_path / "hips.seg.nrrd"
    write_segmentation(labels, path, PROVENANCE)
    read = sitk.ReadImage(str(path))
    for number, segment in enumerate(SEGMENTS):
        assert read.GetMetaData(f"Segment{number}_Name") == segment.name
        assert read.GetMetaData(f"Segment{number}_LabelValue") == str(segment.value)
        tags = dict(tag.split(":", 1) for tag in read.GetMetaData(f"Segment{number}_Tags").split("|") if tag)
        assert tags["TerminologyEntry"] == segment.terminology
        assert tags["HipICMSC.ModelHash"] == "sha256:0123"
    header, data = path.read_bytes().split(b"\n\n", 1)
    assert b"encoding: gzip" in header
    assert len(gzip.decompress(data)) == 5 * 6 * 7


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_a_label_map_tells_its_model(labels, tmp_path, ending):
    path = tmp_path / f"hips{ending}"
    write_segmentation(labels, path, PROVENANCE)
    assert sitk.ReadImage(str(path)).GetMetaData("HipICMSC.ModelId") == "icmsc-hip 1.0"


@pytest.mark.parametrize("ending", [".seg.nrrd", ".nrrd", ".mha", ".nii"])
def test_header_fields_of_the_input_do_not_leak(labels, tmp_path, ending):
    path = tmp_path / f"hips{ending}"
    write_segmentation(labels, path, {})
    assert b"DOE" not in path.read_bytes()
    assert labels.GetMetaData("0010|0010") == "DOE^JANE"


@pytest.mark.parametrize("name", ["hips.png", "hips", "hips.seg", "hips.gz"])
def test_an_unknown_ending_is_refused_by_name(labels, tmp_path, name):
    with pytest.raises(HipError) as error:
        write_segmentation(labels, tmp_path / name, PROVENANCE)
    assert error.value.kind == "unknown_format"
    assert name in error.value.sentence and ".seg.nrrd" in error.value.sentence
    assert list(tmp_path.iterdir()) == []


def test_the_longest_ending_counts():
    assert check_ending("a/b.seg.nrrd") == ".seg.nrrd"
    assert check_ending("a/b.nii.gz") == ".nii.gz"


def test_a_missing_folder_is_said(labels, tmp_path):
    with pytest.raises(HipError) as error:
        write_segmentation(labels, tmp_path / "absent" / "hips.seg.nrrd", PROVENANCE)
    assert error.value.kind == "no_folder"
