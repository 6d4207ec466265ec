"""A segmentation file tells by itself what was completed, which model made it and what that had drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from corrected import MADE_BY, hips
from dicom_objects import slices, write
from HipICMSCLib.cases.correction import read_correction
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.reading.volume import read_volume
from HipICMSCLib.results.dicom_seg import write_dicom_seg
from HipICMSCLib.results.segmentation_file import write_segmentation


def as_saved(path: Path, labels: sitk.Image, status: dict[int, str]) -> Path:
    """The model's result in ``path``, with the labels that somebody drew instead and Slicer's flags, by number."""
    file = sitk.ReadImage(str(path))
    drawn = sitk.GetImageFromArray(sitk.GetArrayFromImage(labels))
    drawn.CopyInformation(labels)
    for key in file.GetMetaDataKeys():
        drawn.SetMetaData(key, file.GetMetaData(key))
    for number, text in status.items():
        tags = file.GetMetaData(f"Segment{number}_Tags")
        drawn.SetMetaData(f"Segment{number}_Tags", f"{tags}Segmentation.Status:{text}|")
    sitk.WriteImage(drawn, str(path), useCompression=True)
    return path


@pytest.fixture
def made(tmp_path):
    """(image, what the model drew, what a person made of it, the model's file)."""
    image, original, labels = hips(oblique=True)
    write_segmentation(original, tmp_path / "a.seg.nrrd", MADE_BY | {"Date": "2026-01-01"})
    return image, original, labels, tmp_path / "a.seg.nrrd"


def same(first: sitk.Image, second: sitk.Image) -> bool:
    return np.array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second))


def test_a_file_of_slicer_says_all(made):
    image, original, labels, path = made
    said = read_correction(as_saved(path, labels, {2: "completed", 3: "inprogress"}), image)
    assert same(said.labels, labels) and same(said.original_labels, original)
    assert (said.completed, said.of_unknown_origin) == ({"RightFemur"}, set())
    assert said.made_by["ModelName"] == "balls" and said.made_by["ModelSha256"] == MADE_BY["ModelSha256"]


def test_so_does_one_that_was_saved_without_its_empty_border(made):
    image, original, labels, path = made
    left_out = [3, 2, 1]
    size = [whole - 2 * each for whole, each in zip(labels.GetSize(), left_out, strict=True)]
    part = sitk.RegionOfInterest(labels, size, left_out)
    assert sitk.GetArrayFromImage(part).sum() == sitk.GetArrayFromImage(labels).sum()
    said = read_correction(as_saved(path, part, {}), image)
    assert same(said.original_labels, original)


def test_a_segment_that_was_deleted_is_of_unknown_origin(made):
    image, _original, labels, path = made
    file = sitk.ReadImage(str(as_saved(path, labels, {})))
    for key in file.GetMetaDataKeys():
        if key.startswith("Segment3_"):
            file.EraseMetaData(key)
    sitk.WriteImage(file, str(path))
    assert read_correction(path, image).of_unknown_origin == {"LeftFemur"}


def test_the_model_is_that_of_the_bones_that_were_made_last(made):
    image, _original, _labels, path = made
    file = sitk.ReadImage(str(path))
    tags = file.GetMetaData("Segment3_Tags").replace(":balls|", ":newer|").replace("2026-01-01", "2026-02-01")
    file.SetMetaData("Segment3_Tags", tags)
    sitk.WriteImage(file, str(path))
    assert read_correction(path, image).made_by["ModelName"] == "newer"


def test_a_label_map_knows_its_model_at_most(made, tmp_path):
    image, _original, labels, _path = made
    write_segmentation(labels, tmp_path / "a.nrrd", MADE_BY)
    said = read_correction(tmp_path / "a.nrrd", image)
    assert same(said.labels, labels) and said.made_by["ModelName"] == "balls"
    assert said.original_labels is None and not said.completed


def test_a_dicom_segmentation_is_read_by_the_names_of_its_segments(tmp_path):
    _image, original, _labels = hips()
    objects = slices(sitk.GetArrayFromImage(original).astype(np.int16) * 100, PixelSpacing=[3.0, 3.0])
    for number, each in enumerate(objects):
        each.ImagePositionPatient = list(original.TransformIndexToPhysicalPoint((0, 0, number)))
    write(tmp_path / "series", objects)
    made_by = MADE_BY | {"Use": "research"}
    write_dicom_seg(original, tmp_path / "a.dcm", made_by, tmp_path / "series")
    said = read_correction(tmp_path / "a.dcm", read_volume(tmp_path / "series"))
    assert {value: int((sitk.GetArrayFromImage(said.labels) == value).sum()) for value in (1, 2, 3, 4)} == {
        value: int((sitk.GetArrayFromImage(original) == value).sum()) for value in (1, 2, 3, 4)
    }
    named = pydicom.dcmread(tmp_path / "a.dcm")
    for item in named.SegmentSequence:
        item.SegmentLabel = "muscle"
    named.save_as(tmp_path / "b.dcm")
    with pytest.raises(HipError) as caught:
        read_correction(tmp_path / "b.dcm", original)
    assert caught.value.kind == "no_segments"
