"""Segments as Slicer saves them: which bone each is, whatever was renamed, and never two for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.geometry import same_geometry
from HipICMSCLib.reading.segmentation import read_segmentation
from HipICMSCLib.results.segmentation_file import write_segmentation

RIGHT_HIP, LEFT_HIP, RIGHT_FEMUR, LEFT_FEMUR = SEGMENTS


def saved(path: Path, segments: list[tuple[str, str, slice]]) -> Path:
    """Segments of an identifier, a name and some columns, each in a layer of its own."""
    layers = np.zeros((4, 5, 16, len(segments)), np.uint8)
    for number, (_, _, columns) in enumerate(segments):
        layers[1:3, 1:4, columns, number] = 1
    image = sitk.GetImageFromArray(layers, isVector=True)
    for number, (identifier, name, _) in enumerate(segments):
        for key, text in (("ID", identifier), ("Name", name), ("Layer", number), ("LabelValue", 1)):
            image.SetMetaData(f"Segment{number}_{key}", str(text))
    sitk.WriteImage(image, str(path))
    return path


def bones_by_column(path: Path) -> list[int]:
    return sitk.GetArrayFromImage(read_segmentation(path)).max((0, 1)).tolist()


def test_the_name_that_a_user_sees_wins_over_the_identifier(tmp_path):
    """As where the names of two bones were exchanged: both were one bone, and the other was empty."""
    exchanged = [
        (RIGHT_HIP.segment_id, LEFT_HIP.name, slice(0, 4)),
        (LEFT_HIP.segment_id, RIGHT_HIP.name, slice(8, 12)),
    ]
    found = bones_by_column(saved(tmp_path / "a.seg.nrrd", exchanged))
    assert found == [LEFT_HIP.value] * 4 + [0] * 4 + [RIGHT_HIP.value] * 4 + [0] * 4


def test_a_renamed_bone_gives_way_to_one_that_has_its_name_now(tmp_path):
    segments = [
        (RIGHT_FEMUR.segment_id, "old femur, wrong", slice(0, 4)),
        ("Segment_1", RIGHT_FEMUR.name, slice(8, 12)),
    ]
    assert bones_by_column(saved(tmp_path / "a.seg.nrrd", segments)) == [0] * 8 + [RIGHT_FEMUR.value] * 4 + [0] * 4


def test_where_no_name_says_it_the_identifier_does(tmp_path):
    """As where names are translated."""
    segments = [(LEFT_FEMUR.segment_id, "Linker proximaler Femur", slice(2, 5))]
    assert bones_by_column(saved(tmp_path / "a.seg.nrrd", segments)) == [0] * 2 + [LEFT_FEMUR.value] * 3 + [0] * 11


@pytest.mark.parametrize("name", ["Right Proximal Femur", " right proximal femur  "])
def test_case_and_blanks_about_a_name_do_not_count(tmp_path, name):
    segments = [("Segment_1", name, slice(2, 5))]
    assert bones_by_column(saved(tmp_path / "a.seg.nrrd", segments)) == [0] * 2 + [RIGHT_FEMUR.value] * 3 + [0] * 11


def test_where_neither_name_nor_identifier_says_it_the_terminology_does(tmp_path):
    path = saved(tmp_path / "a.seg.nrrd", [("Segment_1", "Femur rechts", slice(2, 5))])
    image = sitk.ReadImage(str(path))
    image.SetMetaData("Segment0_Tags", f"Segmentation.Status:inprogress|TerminologyEntry:{RIGHT_FEMUR.terminology}|")
    sitk.WriteImage(image, str(path))
    assert bones_by_column(path) == [0] * 2 + [RIGHT_FEMUR.value] * 3 + [0] * 11


@pytest.mark.parametrize(
    ("segments", "kind", "words"),
    [
        (
            [("Segment_1", LEFT_HIP.name, slice(0, 4)), ("Segment_2", LEFT_HIP.name, slice(8, 12))],
            "two_segments",
            "Two segments of a.seg.nrrd are the left hip bone",
        ),
        (
            [("Segment_1", LEFT_HIP.name.upper(), slice(0, 4)), ("Segment_2", f" {LEFT_HIP.name}", slice(8, 12))],
            "two_segments",
            "Two segments of a.seg.nrrd are the left hip bone",
        ),
        (
            [(LEFT_HIP.segment_id, "one", slice(0, 4)), (LEFT_HIP.segment_id, "other", slice(8, 12))],
            "two_segments",
            "Two segments of a.seg.nrrd are the left hip bone",
        ),
        (
            [("Segment_1", LEFT_HIP.name, slice(0, 6)), ("Segment_2", LEFT_FEMUR.name, slice(5, 12))],
            "overlapping_segments",
            "overlaps another bone",
        ),
    ],
)
def test_what_would_hide_a_bone_is_refused_with_the_way_out(tmp_path, segments, kind, words):
    with pytest.raises(HipError, match=words) as refused:
        read_segmentation(saved(tmp_path / "a.seg.nrrd", segments))
    assert refused.value.kind == kind


@pytest.fixture
def whole() -> sitk.Image:
    """A bone away from the ends of an oblique image."""
    labels = np.zeros((12, 10, 14), np.uint8)
    labels[4:7, 3:8, 5:9] = RIGHT_FEMUR.value
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing((0.7, 1.1, 4.0))
    image.SetOrigin((-93.4567891, 20.25, -150.0))
    turn = np.radians(20)
    image.SetDirection((1, 0, 0, 0, np.cos(turn), -np.sin(turn), 0, np.sin(turn), np.cos(turn)))
    return image


def cropped(whole: sitk.Image, path: Path, geometry: str | None = None) -> Path:
    """As Slicer saves with "crop to minimum extent": fewer voxels, and the image's geometry in the header."""
    write_segmentation(whole, path, {})
    saved = sitk.ReadImage(str(path))
    texts = {key: saved.GetMetaData(key) for key in saved.GetMetaDataKeys()}
    part = saved[4:10, 2:9, 3:8]
    for key, text in texts.items():
        part.SetMetaData(key, text)
    if geometry is not None:
        part.SetMetaData("Segmentation_ConversionParameters", f"Reference image geometry|{geometry}|About it.&")
    sitk.WriteImage(part, str(path))
    return path


def geometry_of(whole: sitk.Image, folder: Path) -> list[str]:
    """The numbers of an image's geometry as our files state it."""
    write_segmentation(whole, folder / "whole.seg.nrrd", {})
    said = sitk.ReadImage(str(folder / "whole.seg.nrrd")).GetMetaData("Segmentation_ConversionParameters")
    return said.split("|")[1].rstrip(";").split(";")


def test_what_slicer_cropped_ends_where_its_image_ends(whole, tmp_path):
    read = read_segmentation(cropped(whole, tmp_path / "a.seg.nrrd"))
    assert same_geometry(read, whole)
    assert np.array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(whole))


def test_six_digits_of_a_geometry_are_enough(whole, tmp_path):
    short = "".join(f"{float(number):.6g};" for number in geometry_of(whole, tmp_path))
    assert same_geometry(read_segmentation(cropped(whole, tmp_path / "a.seg.nrrd", short)), whole)


def test_what_was_drawn_beyond_the_image_stays(whole, tmp_path):
    """The image ends amid the bone, and begins before it."""
    numbers = geometry_of(whole, tmp_path)
    numbers[17] = "7"
    read = read_segmentation(cropped(whole, tmp_path / "a.seg.nrrd", ";".join(numbers)))
    assert same_geometry(read, whole[:10, :, :])


@pytest.mark.parametrize(
    "change",
    [
        {16: "a"}, {16: "nan"}, {21: "11;11"}, {16: "5", 17: "4"}, {17: "1e300"}, {17: "2000000000"}, {0: "-0.8"},
        {0: "0.7"}, {3: "93.0"}, {0: "0", 1: "0", 2: "0"}, {0: "1e308", 5: "1e308"}, {15: "2"},
    ],
    ids=["no number", "not finite", "too many", "empty", "endless", "huge", "other spacing", "turned",
         "between voxels", "flat", "overflowing", "no matrix"],
)  # fmt: skip
def test_a_geometry_that_cannot_be_meant_changes_nothing(whole, tmp_path, change):
    numbers = [change.get(place, number) for place, number in enumerate(geometry_of(whole, tmp_path))]
    read = read_segmentation(cropped(whole, tmp_path / "a.seg.nrrd", ";".join(numbers)))
    assert same_geometry(read, whole[4:10, 2:9, 3:8])
