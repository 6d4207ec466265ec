"""DICOM as PACS, CDs and scanners write it: the one volume that is meant, or a sentence that names what was found."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_objects import AXIAL, MR, ORIGIN, SPACING, enhanced, header, slices, with_voxels, write
from HipICMSCLib.batch.info import lines_about
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.reading import dicom_files
from HipICMSCLib.reading.volume import read_volume, read_with_notes
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    RLELossless,
)

VOXELS = np.random.default_rng(0).integers(0, 4000, (14, 40, 50)).astype(np.uint16)  # z, y, x
PLACES = [(ORIGIN[0], ORIGIN[1], ORIGIN[2] + SPACING[2] * number) for number in range(len(VOXELS))]


def assert_sound(image: sitk.Image, voxels: np.ndarray = VOXELS) -> None:
    assert np.allclose(sitk.GetArrayFromImage(image), voxels, rtol=1e-6)
    assert image.GetSpacing() == pytest.approx(SPACING)
    assert image.TransformIndexToPhysicalPoint((1, 2, 3)) == pytest.approx(
        [ORIGIN[axis] + SPACING[axis] * (axis + 1) for axis in range(3)]
    )


def refusal(path: Path, series: str | None = None) -> HipError:
    with pytest.raises(HipError) as raised:
        read_volume(path, series)
    assert str(path) in raised.value.sentence and raised.value.sentence.endswith(".")
    return raised.value


# Folders.


def test_no_suffix_nested_folders_a_table_of_contents_and_what_is_no_image(tmp_path, capfd):
    write(tmp_path / "DICOM" / "PA0" / "ST0" / "SE0", slices(VOXELS))
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "DICOM" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (tmp_path / "DICOM" / "thumb.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    aside = [
        header("1.2.840.10008.5.1.4.1.1.88.11", "9.1", Modality="SR"),
        header("1.2.840.10008.5.1.4.1.1.11.1", "9.2", Modality="PR"),
        header("1.2.840.10008.5.1.4.1.1.66", "9.3"),
        header("1.3.46.670589.11.0.0.12.1", "9.4"),  # private
        with_voxels(header("1.2.840.10008.5.1.4.1.1.7", "9.5", Modality="OT"), VOXELS[0]),
        with_voxels(header("1.2.840.10008.5.1.4.1.1.66.4", "9.6", Modality="SEG", NumberOfFrames=14), VOXELS),
    ]
    write(tmp_path / "DICOM" / "PA0" / "ST0" / "SE0", aside, "X{:04d}")
    image, notes = read_with_notes(tmp_path)
    assert_sound(image)
    assert notes == []
    assert capfd.readouterr() == ("", "")


def test_several_series_are_listed_and_chosen_by_number_uid_or_description(tmp_path):
    write(tmp_path / "a", slices(VOXELS, "1.2.3", SeriesNumber=3, SeriesDescription="t1_tse_cor"))
    write(tmp_path / "b", slices(VOXELS // 2, "1.2.4", SeriesNumber=14, SeriesDescription="PD fs 5 mm"))
    error = refusal(tmp_path)
    assert error.kind == "several_series"
    for words in ("3 't1_tse_cor' (14 images of 50 × 40)", "14 'PD fs 5 mm'", "--series"):
        assert words in error.sentence
    for chosen in ("3", "1.2.3", "T1_TSE_cor", "t1"):
        assert_sound(read_volume(tmp_path, chosen))
    assert_sound(read_volume(tmp_path, "14"), VOXELS // 2)
    error = refusal(tmp_path, "5")
    assert error.kind == "unknown_series" and "14 'PD fs 5 mm'" in error.sentence


def test_equal_numbers_of_two_studies_are_told_apart_by_uid(tmp_path):
    write(tmp_path / "a", slices(VOXELS, "1.2.3"))
    write(tmp_path / "b", slices(VOXELS // 2, "1.2.4"))
    assert "1.2.3 't1_tse'" in refusal(tmp_path).sentence and "1.2.4 't1_tse'" in refusal(tmp_path, "3").sentence
    assert_sound(read_volume(tmp_path, "1.2.4"), VOXELS // 2)


def test_the_lone_volume_among_localizers_is_taken_with_a_note(tmp_path):
    write(tmp_path, slices(VOXELS, SeriesNumber=2))
    write(tmp_path, slices(VOXELS[:3], "1.2.7", SeriesNumber=1, SeriesDescription="localizer"), "L{}")
    many = slices(VOXELS[:11], "1.2.6", SeriesNumber=4, SeriesDescription="three planes", ImageType=["A", "LOCALIZER"])
    write(tmp_path, many, "M{}")
    image, (note,) = read_with_notes(tmp_path)
    assert_sound(image)
    assert "left aside" in note and "localizer" in note and "three planes" in note
    assert read_volume(tmp_path, "4").GetSize() == (50, 40, 11)


def test_a_localizer_image_within_the_series_is_left_aside(tmp_path):
    made = slices(VOXELS)
    turned = slices(VOXELS[:1], ImageOrientationPatient=[0, 1, 0, 0, 0, -1])[0]
    turned.SOPInstanceUID = "1.2.3.99"
    image, (note,) = read_with_notes(write(tmp_path, [*made, turned]))
    assert_sound(image)
    assert "left aside: 3 't1_tse' (1 image)" in note


def test_a_slice_twice_counts_once(tmp_path):
    write(tmp_path, slices(VOXELS))
    shutil.copy(tmp_path / "IM0007", tmp_path / "IM0007 (1)")
    shutil.copytree(tmp_path, tmp_path / "copy")
    assert_sound(read_volume(tmp_path))
    other = slices(VOXELS[5:6], InstanceNumber=6)[0]
    other.SOPInstanceUID, other.ImagePositionPatient = "1.2.3.99", list(PLACES[5])
    error = refusal(write(tmp_path, [other], "Z{}"))
    assert "several of them lie at one place" in error.sentence


def test_a_processed_series_that_kept_the_uids_of_its_images_is_a_volume_of_its_own(tmp_path):
    write(tmp_path / "a", slices(VOXELS, SeriesNumber=4))
    processed = slices(VOXELS // 2, SeriesNumber=5, SeriesInstanceUID="1.2.4", SeriesDescription="N4")
    write(tmp_path / "b", processed)
    assert "5 'N4' (14 images" in refusal(tmp_path).sentence
    assert_sound(read_volume(tmp_path, "4"))
    assert_sound(read_volume(tmp_path, "5"), VOXELS // 2)


def test_slices_to_which_an_anonymizer_gave_one_uid_are_all_read(tmp_path):
    made = [*slices(VOXELS, EchoTime=2.4), *slices(VOXELS // 2, EchoTime=4.8)]
    for each in made:
        each.SOPInstanceUID = "1.2.3"
    assert_sound(read_volume(write(tmp_path / "one", made[:14])))
    folder = write(tmp_path / "two", made)
    assert_sound(read_volume(folder, "EchoTime 2.4"))
    assert_sound(read_volume(folder, "EchoTime 4.8"), VOXELS // 2)


def test_a_number_of_too_few_bytes_does_not_keep_slices_from_being_read_whose_places_do_not_need_it(tmp_path):
    folder = write(tmp_path, slices(VOXELS, DiffusionBValue=0.0))
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes().replace(b"FD\x08\0" + bytes(8), b"FD\x06\0" + bytes(6)))
    assert_sound(read_volume(folder))


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("ImageType", (["DERIVED", "PRIMARY", "W"], ["DERIVED", "PRIMARY", "F"])),
        ("EchoTime", (4.6, 2.3)),
        ("DiffusionBValue", (0.0, 800.0)),
        ("TemporalPositionIdentifier", (1, 2)),
        ("TriggerTime", (0.0, 40.0)),
        ("InversionTime", (50.0, 900.0)),
    ],
)
def test_volumes_of_one_series_are_told_apart_and_named(tmp_path, keyword, values):
    for number, value in enumerate(values):
        made = slices(VOXELS // (number + 1), **{keyword: value})
        for each in made:
            each.SOPInstanceUID += f".{number}"
        write(tmp_path, made, f"{number}-" + "{:03d}")
    error = refusal(tmp_path)
    assert error.kind == "several_series" and keyword in error.sentence
    found = [read_volume(tmp_path, f"3/{number}") for number in (1, 2)]
    sums = {int(sitk.GetArrayFromImage(image).astype(int).sum()) for image in found}
    assert sums == {int(VOXELS.astype(int).sum()), int((VOXELS // 2).astype(int).sum())}


def test_echoes_whose_places_differ_by_what_is_rounded_are_told_apart(tmp_path):
    for number, (echo, shift) in enumerate([(2.4, 0), (4.8, 0.006)]):
        made = slices(VOXELS // (number + 1), EchoTime=echo)
        for each, (x, y, z) in zip(made, PLACES, strict=True):
            each.SOPInstanceUID += f".{number}"
            each.ImagePositionPatient = [x, y, z + shift]
        write(tmp_path, made, f"{number}-" + "{:03d}")
    assert "EchoTime 4.8' (14 images" in refusal(tmp_path).sentence
    assert_sound(read_volume(tmp_path, "EchoTime 2.4"))


def test_volumes_that_two_elements_tell_apart_or_of_which_one_was_aborted_are_named(tmp_path):
    kinds = [{"echo": echo, "stack": stack} for echo in (4.0, 9.0) for stack in "12"]
    frames = [{"place": place} | kind for kind in kinds for place in PLACES]
    voxels = np.concatenate([VOXELS // number for number in (1, 2, 3, 4)])
    frames, voxels = frames[:-3], voxels[:-3]
    path = saved(tmp_path / "a.dcm", enhanced(voxels, frames))
    error = refusal(path)
    assert error.kind == "several_series" and "holds 4 volumes" in error.sentence
    assert "EffectiveEchoTime 9.0, StackID 2' (11 images" in error.sentence
    assert_sound(read_volume(path, "EffectiveEchoTime 9.0, StackID 1"), VOXELS // 3)
    assert_sound(read_volume(path, "EffectiveEchoTime 9.0, StackID 2"), VOXELS[:-3] // 4)


def test_a_single_slice_a_missing_one_and_a_slice_without_a_place_have_their_true_reasons(tmp_path):
    made = slices(VOXELS)
    single = write(tmp_path / "single", made[:1])
    assert "one DICOM slice" in refusal(single).sentence
    assert "all the images" in refusal(next(single.iterdir())).sentence
    assert (
        "4 to 8 mm apart; one of them may be missing" in refusal(write(tmp_path / "gap", made[:6] + made[7:])).sentence
    )
    del made[3].ImagePositionPatient
    assert "IM0021" in refusal(write(tmp_path / "place", made)).sentence
    assert (
        "no DICOM series" in refusal(write(tmp_path / "none", [header("1.2.840.10008.5.1.4.1.1.88.11", "9")])).sentence
    )


def test_the_last_slice_is_not_lost_without_a_word_where_its_file_is_cut_off_or_empty(tmp_path):
    folder = write(tmp_path, slices(VOXELS))
    last = folder / "IM0091"
    for length in (140, 200):
        last.write_bytes(last.read_bytes()[:length])
        assert "its file IM0091 is cut off or damaged" in refusal(folder).sentence
    last.write_bytes(b"")
    image, (note,) = read_with_notes(folder)
    assert_sound(image, VOXELS[:-1])
    assert "Empty files among the images: 1" in note
    assert "the file is empty" in refusal(last).sentence


def test_a_damaged_file_of_another_series_is_left_aside_with_a_note_and_one_of_the_chosen_series_is_named(tmp_path):
    write(tmp_path, slices(VOXELS))
    write(tmp_path, slices(VOXELS[:3], "1.2.77"), "B{}")
    other = next(tmp_path.glob("B*"))
    other.write_bytes(other.read_bytes()[:-10])
    image, notes = read_with_notes(tmp_path)
    assert_sound(image)
    assert "Damaged files of other series, left aside: 1." in notes
    last = tmp_path / "IM0091"
    last.write_bytes(last.read_bytes()[:-10])
    assert "its file IM0091 is cut off or damaged" in refusal(tmp_path).sentence


def test_a_series_that_is_damaged_as_a_whole_is_not_said_to_be_unknown(tmp_path):
    write(tmp_path, slices(VOXELS))
    write(tmp_path, slices(VOXELS[:3], "1.2.77"), "B{}")
    for file in tmp_path.glob("B*"):
        file.write_bytes(file.read_bytes()[:-10])
    assert_sound(read_volume(tmp_path))
    with pytest.raises(HipError, match=r"its file B.* is cut off or damaged; copy or export it again"):
        read_volume(tmp_path, "1.2.77")
    with pytest.raises(HipError, match=r"holds no series 1\.2\.78"):
        read_volume(tmp_path, "1.2.78")


@pytest.mark.parametrize("wrong", [{"PixelSpacing": None}, {"ImageOrientationPatient": [0] * 6}])
def test_a_series_that_cannot_be_placed_is_left_aside_with_a_note_and_refused_where_it_is_chosen(tmp_path, wrong):
    write(tmp_path, slices(VOXELS, SeriesNumber=4))
    write(tmp_path, slices(VOXELS[:6], "1.2.5", SeriesNumber=9, SeriesDescription="MIP", **wrong), "M{}")
    image, (note,) = read_with_notes(tmp_path)
    assert_sound(image)
    assert "left aside: 9 'MIP' (6 images)" in note
    assert_sound(read_volume(tmp_path, "4"))
    assert "how large its pixels are" in refusal(tmp_path, "9").sentence
    lines, sound = lines_about(tmp_path)
    assert sound and "how large its pixels are" in "".join(lines)


def test_of_two_series_the_one_with_a_slice_that_lies_nowhere_is_not_passed_over_in_silence(tmp_path):
    made = slices(VOXELS, SeriesNumber=4)
    made[3].PixelSpacing = None
    write(tmp_path, made)
    write(tmp_path, slices(VOXELS // 2, "1.2.5", SeriesNumber=9), "B{}")
    assert refusal(tmp_path).kind == "several_series"
    assert_sound(read_volume(tmp_path, "9"), VOXELS // 2)
    assert "IM0021" in refusal(tmp_path, "4").sentence


def test_what_is_no_image_is_left_aside_however_large_it_is(tmp_path, monkeypatch):
    folder = write(tmp_path, slices(VOXELS))
    film = header("1.2.840.10008.5.1.4.1.1.77.1.4.1", "9.1", Modality="XC")
    film = with_voxels(film, np.zeros((40, 50, 50), np.uint8))
    # Longer than the beginning that is looked at, and of a length that is not said.
    film.SharedFunctionalGroupsSequence = [with_voxels(pydicom.Dataset(), np.zeros((2, 1000, 1000), np.uint8))]
    film["SharedFunctionalGroupsSequence"].is_undefined_length = True
    write(tmp_path, [film], "film")
    monkeypatch.setattr(dicom_files, "free_bytes", lambda: 1 << 20)
    assert_sound(read_volume(folder))
    assert any("no slices of a volume: 1 file" in line for line in lines_about(folder)[0])


def test_slices_that_memory_does_not_suffice_for_are_refused_in_a_sentence_by_info_too(tmp_path, monkeypatch):
    folder = write(tmp_path, slices(VOXELS))
    monkeypatch.setattr(dicom_files, "free_bytes", lambda: 1 << 10)
    assert "too little memory" in refusal(folder).sentence
    with pytest.raises(HipError, match="too little memory"):
        lines_about(folder)


def test_what_is_saved_as_mr_but_lies_nowhere_is_left_aside_beside_a_volume(tmp_path):
    placeless = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
    write(tmp_path, slices(VOXELS[:2], "1.2.77", SeriesDescription="curves", **placeless), "C{}")
    assert "that say where they lie" in refusal(tmp_path).sentence
    many = with_voxels(header(MR, "9", SeriesInstanceUID="1.2.78", NumberOfFrames=len(VOXELS)), VOXELS)
    write(tmp_path, [*slices(VOXELS), many])
    assert_sound(read_volume(tmp_path))


def test_a_mosaic_has_its_true_reason(tmp_path):
    made = slices(VOXELS, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    assert "mosaic" in refusal(write(tmp_path, made)).sentence
    assert "mosaic" in refusal(tmp_path / "IM0000").sentence


def test_files_without_a_preamble_and_of_other_syntaxes(tmp_path):
    made = slices(VOXELS)
    for each in made:
        del each.file_meta
    folder = tmp_path / "bare"
    folder.mkdir()
    for number, each in enumerate(made):
        pydicom.dcmwrite(folder / f"{number}", each, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert_sound(read_volume(folder))
    for name, syntax in (("deflated", DeflatedExplicitVRLittleEndian), ("implicit", ImplicitVRLittleEndian)):
        made = slices(VOXELS)
        for each in made:
            each.file_meta.TransferSyntaxUID = syntax
        assert_sound(read_volume(write(tmp_path / name, made)))
    made = slices(VOXELS)
    for each in made:
        each.compress(RLELossless, generate_instance_uid=False)
    assert_sound(read_volume(write(tmp_path / "packed", made)))


def lossless_jpeg(folder: Path, pixels: np.ndarray) -> pydicom.Dataset:
    """A slice as ITK packs it."""
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(folder / "packed.dcm"))
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.Execute(sitk.GetImageFromArray(pixels))
    return pydicom.dcmread(folder / "packed.dcm")


def test_lossless_jpeg_for_which_pydicom_has_no_decoder(tmp_path, capfd):
    made = slices(VOXELS, RescaleSlope=2, RescaleIntercept=-5)
    for each, pixels in zip(made, VOXELS, strict=True):
        packed = lossless_jpeg(tmp_path, pixels)
        assert packed.file_meta.TransferSyntaxUID == JPEGLosslessSV1
        each.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        each.PixelData = packed.PixelData
        each["PixelData"].VR, each["PixelData"].is_undefined_length = "OB", True
    folder = write(tmp_path / "series", made)
    assert_sound(read_volume(folder), VOXELS * 2.0 - 5)
    made[3].PixelData = encapsulate([bytes(100)])
    made[3]["PixelData"].is_undefined_length = True
    write(folder, made)
    assert "damaged" in refusal(folder).sentence
    assert capfd.readouterr() == ("", "")


def test_bits_at_the_upper_end_of_a_word(tmp_path):
    made = slices((VOXELS << 4).astype(np.uint16), BitsStored=12)
    for each in made:
        each.BitsStored, each.HighBit = 12, 15
    assert_sound(read_volume(write(tmp_path, made)))


@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_a_value_are_no_part_of_it(tmp_path, signed):
    """Overlays lie there, or nothing where the sign should go on."""
    values = (VOXELS % 4096).astype(int) - 2048 * signed
    stored = (values % 4096).astype(np.uint16) | np.uint16(0 if signed else 0x8000)
    made = slices(stored)
    for each in made:
        each.BitsStored, each.HighBit, each.PixelRepresentation = 12, 11, int(signed)
    assert_sound(read_volume(write(tmp_path / "plain", made)), values)
    for each in made:
        each.compress(RLELossless, generate_instance_uid=False)
    assert_sound(read_volume(write(tmp_path / "packed", made)), values)


@pytest.mark.parametrize("degrees", [30, 45, 60])
def test_directions_of_two_decimals(tmp_path, degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    normal = np.array([0, -s, c])
    made = slices(VOXELS, ImageOrientationPatient=[1, 0, 0, 0, round(c, 2), round(s, 2)])
    for number, each in enumerate(made):
        each.ImagePositionPatient = [round(float(value), 4) for value in normal * SPACING[2] * number]
    image = read_volume(write(tmp_path, made))
    assert (sitk.GetArrayFromImage(image) == VOXELS).all()
    expected = 10 * SPACING[1] * np.array([0, c, s]) + 13 * SPACING[2] * normal
    assert np.abs(np.array(image.TransformIndexToPhysicalPoint((0, 10, 13))) - expected).max() < 0.1


def test_gantry_tilt_is_refused(tmp_path):
    made = slices(VOXELS)
    for number, each in enumerate(made):
        each.ImagePositionPatient = [ORIGIN[0], ORIGIN[1] + 0.3 * number, ORIGIN[2] + SPACING[2] * number]
    assert "gantry tilt" in refusal(write(tmp_path, made)).sentence


# Objects of many frames.


def saved(path: Path, made: pydicom.Dataset) -> Path:
    made.save_as(path, enforce_file_format=True)
    return path


def test_frames_in_any_order_each_with_its_own_scale(tmp_path):
    scales = [(0.5 + 0.1 * number, 3.0 * number) for number in range(len(VOXELS))]
    order = np.random.default_rng(1).permutation(len(VOXELS))
    frames = [{"place": PLACES[number], "scale": scales[number]} for number in order]
    path = saved(tmp_path / "a.dcm", enhanced(VOXELS[order], frames))
    expected = np.stack([pixels * slope + shift for pixels, (slope, shift) in zip(VOXELS, scales, strict=True)])
    assert_sound(read_volume(path), expected)
    assert_sound(read_volume(tmp_path), expected)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_place_and_scale_of_a_frame_are_those_of_the_standard_whatever_private_or_other_groups_repeat(tmp_path, syntax):
    """Philips writes a second place of each frame into its private sequence (2005,140F)."""
    made = enhanced(VOXELS, [{"place": place, "scale": (0.5, 3)} for place in PLACES])
    for number, groups in enumerate(made.PerFrameFunctionalGroupsSequence):
        other = pydicom.Dataset()
        other.ImagePositionPatient, other.ImageOrientationPatient = [5, 7, 3.0 * (13 - number)], [0, 1, 0, 0, 0, -1]
        other.PixelSpacing, other.RescaleSlope, other.RescaleIntercept = [9, 9], 7, 100
        groups.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x0F, "SQ", [other])
        groups.RealWorldValueMappingSequence = [other]
    made.file_meta.TransferSyntaxUID = syntax
    assert_sound(read_volume(saved(tmp_path / "a.dcm", made)), VOXELS * 0.5 + 3)


def test_a_missing_frame_is_refused(tmp_path):
    frames = [{"place": place} for place in PLACES]
    keep = [number for number in range(len(VOXELS)) if number != 6]
    path = saved(tmp_path / "a.dcm", enhanced(VOXELS[keep], [frames[number] for number in keep]))
    assert "may be missing" in refusal(path).sentence


@pytest.mark.parametrize("kind", ["echo", "stack", "axes"])
def test_contrasts_stacks_and_orientations_in_one_object_are_chosen_among(tmp_path, kind):
    coronal = [(ORIGIN[0], ORIGIN[1] + SPACING[2] * number, ORIGIN[2]) for number in range(len(VOXELS))]
    first = [{"place": place} | ({"echo": 4.0} if kind == "echo" else {"stack": "1"}) for place in PLACES]
    second = {
        "echo": [{"place": place, "echo": 9.0} for place in PLACES],
        "stack": [{"place": place, "stack": "2"} for place in PLACES],
        "axes": [{"place": place, "stack": "2", "axes": (1, 0, 0, 0, 0, -1)} for place in coronal],
    }[kind]
    path = saved(tmp_path / "a.dcm", enhanced(np.concatenate([VOXELS, VOXELS // 3]), first + second))
    error = refusal(path)
    assert error.kind == "several_series" and error.sentence.count("14 images") == 2
    chosen = [sitk.GetArrayFromImage(read_volume(path, f"3/{number}")) for number in (1, 2)]
    assert any(np.array_equal(voxels, VOXELS) for voxels in chosen)
    assert any(np.array_equal(voxels, VOXELS // 3) for voxels in chosen)


def test_many_frames_that_do_not_say_where_they_lie_are_refused(tmp_path):
    made = with_voxels(header(MR, "1", NumberOfFrames=len(VOXELS), ImageOrientationPatient=list(AXIAL),
                              ImagePositionPatient=[0, 0, 0], PixelSpacing=[1, 1]), VOXELS)  # fmt: skip
    assert "left and right cannot be told apart" in refusal(saved(tmp_path / "a.dcm", made)).sentence


def test_slices_of_one_uid_are_slices_and_a_copy_of_a_file_is_none(tmp_path):
    """Anonymizers may give all images one SOP Instance UID."""
    made = slices(VOXELS)
    for each in made:
        each.SOPInstanceUID = each.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    folder = write(tmp_path / "one", made)
    write(tmp_path / "one", made[:3], name="COPY{:04d}")
    assert_sound(read_volume(folder), VOXELS)
