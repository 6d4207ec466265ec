"""Which volumes of a folder a batch takes, and where it puts the results."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_objects import header
from dicom_series import dicom_series
from HipICMSCLib.batch.files import (
    items_in_steps,
    items_of,
    make_result_folder,
    result_paths,
    volumes_in_steps,
    volumes_of,
)
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.results.segmentation_file import write_segmentation

SLICES = np.zeros((3, 8, 8), np.int16)


def items_of_folder(*about) -> list:
    return list(filter(None, items_in_steps(*about)))


def names(items) -> list[str]:
    return [item.name for item in items]


def refused(action) -> HipError:
    with pytest.raises(HipError) as raised:
        action()
    assert raised.value.sentence.endswith(".") and "\n" not in raised.value.sentence
    return raised.value


def test_volumes_and_dicom_folders_but_no_results_and_nothing_hidden(tmp_path):
    for name in ("b.nii.gz", "a.nrrd", "old.seg.nrrd", "OLD.SEG.NRRD", ".half.nrrd", "notes.txt"):
        (tmp_path / name).touch()
    dicom_series(tmp_path / "Müller", SLICES)
    (tmp_path / "Müller" / "000 read me.txt").write_text("lies among the slices")
    dicom_series(tmp_path / ".trash", SLICES)
    (tmp_path / "empty").mkdir()
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    out = tmp_path / "results"
    items = items_of_folder(tmp_path, out)
    assert names(items) == ["a.nrrd", "b.nii.gz", "Müller"]
    assert [item.source.path for item in items] == [tmp_path / name for name in names(items)]
    assert [item.source.output.name for item in items] == ["a.seg.nrrd", "b.seg.nrrd", "Müller.seg.nrrd"]
    assert {item.state for item in items} == {"waiting"}
    assert not out.exists()  # looking makes nothing


def test_who_looks_can_pause_or_give_up_after_each_file(tmp_path):
    """Slicer's window does: a share may hold 100,000 files that are no volumes."""
    for folder in ("", "a", "a/b"):
        (tmp_path / folder).mkdir(exist_ok=True)
        for number in range(20):
            (tmp_path / folder / f"{number}.txt").touch()
            (tmp_path / folder / f"{number}.seg.nrrd").touch()
    (tmp_path / "a" / "b" / "last.nrrd").touch()
    steps = list(volumes_in_steps(tmp_path))
    assert [path for path in steps if path] == volumes_of(tmp_path) == [tmp_path / "a" / "b" / "last.nrrd"]
    assert len(steps) > 3 * 40


def test_what_has_a_result_is_skipped_and_says_so(tmp_path):
    for name in ("a.nrrd", "b.nrrd"):
        (tmp_path / name).touch()
    (tmp_path / "a.seg.nrrd").touch()
    first, second = items_of_folder(tmp_path, tmp_path)
    assert (first.state, first.sentence) == ("skipped", "There is a result already.")
    assert second.state == "waiting"


def test_a_folder_that_is_a_dicom_series_is_one_volume_whatever_lies_below(tmp_path):
    series = tmp_path / "series"
    dicom_series(series, SLICES)
    dicom_series(series / "localizer", SLICES)
    assert volumes_of(series) == [series]
    (item,) = items_of_folder(series, tmp_path)
    assert item.source.output == tmp_path / "series.seg.nrrd"


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_result_takes_the_place_of_what_is_read(tmp_path, overwrite):
    (tmp_path / "p1.nii.gz").touch()
    error = refused(lambda: items_of_folder(tmp_path, tmp_path, ".nii.gz", overwrite))
    assert error.kind == "same_file" and "p1.nii.gz is what is read" in error.sentence
    series = tmp_path / "IM1"
    dicom_series(series, SLICES)
    next(series.iterdir()).rename(series / "IM1.dcm")
    assert refused(lambda: items_of_folder(series, series, ".dcm", overwrite)).kind == "same_file"


def test_results_in_a_folder_further_down_are_no_volumes(tmp_path):
    out = tmp_path / "study" / "out"
    out.mkdir(parents=True)
    (tmp_path / "study" / "a.nii.gz").touch()
    write_segmentation(sitk.Image(4, 4, 4, sitk.sitkUInt8), out / "study-a.nii.gz", {})
    (item,) = items_of_folder(tmp_path, out, ".nii.gz")
    assert item.state == "skipped"


def test_dicom_beside_volume_files_is_not_dropped(tmp_path):
    dicom_series(tmp_path, SLICES)
    (tmp_path / "a.nii.gz").touch()
    assert volumes_of(tmp_path) == [tmp_path / "a.nii.gz", tmp_path]


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_link_to_the_folder_itself_brings_nothing_twice_and_one_to_another_is_followed(tmp_path):
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir(), other.mkdir()
    (folder / "a.nrrd").touch(), (other / "b.nrrd").touch()
    for name, target in (("self", folder), ("above", tmp_path), ("other", other), ("me", folder / "me")):
        (folder / name).symlink_to(target)
    assert volumes_of(folder) == [folder / "a.nrrd", folder / "other" / "b.nrrd"]


def test_a_folder_without_volumes_and_one_that_is_gone_are_named(tmp_path):
    (tmp_path / "a.seg.nrrd").touch()
    error = refused(lambda: items_of_folder(tmp_path, tmp_path))
    assert error.kind == "no_volumes" and str(tmp_path) in error.sentence
    error = refused(lambda: items_of_folder(tmp_path / "gone", tmp_path))
    assert error.kind == "no_folder" and "gone" in error.sentence


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_locked_subfolder_does_not_hide_the_others(tmp_path):
    dicom_series(tmp_path / "series", SLICES)
    (tmp_path / "locked").mkdir(mode=0)
    assert volumes_of(tmp_path) == [tmp_path / "series"]


@pytest.mark.parametrize(
    ("inputs", "results"),
    [
        (("x.nrrd", "x.nii.gz", "y.nrrd"), ("x.nrrd", "x.nii.gz", "y")),
        (("X.nrrd", "x.mha"), ("X.nrrd", "x.mha")),
        (("p1.nii.gz", "a/p1.nii.gz", "b/p1.nii.gz"), ("p1", "a-p1", "b-p1")),
        (("a/b/p.nii", "a-b/p.nii"), ("a-b-p.nii", "a-b-p.nii-2")),
        (("a/b/p.nii", "a-b/p.nii", "a/B-p.nii"), ("a-b-p.nii", "a-b-p.nii-2", "a-B-p.nii-3")),
    ],
)
def test_each_input_has_a_result_with_a_name_of_its_own(tmp_path, inputs, results):
    found = result_paths([tmp_path / name for name in inputs], tmp_path / "out", base=tmp_path)
    assert found == [tmp_path / "out" / f"{name}.seg.nrrd" for name in results]


def test_volumes_in_folders_below_are_found_and_earlier_results_are_not(tmp_path):
    for name in ("p1.nii.gz", "a/p1.nii.gz", "a/deep/p2.nrrd", "out/p1.nii.gz", "a/p1.seg.nrrd", ".trash/p3.nii"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    dicom_series(tmp_path / "b", SLICES)
    (tmp_path / "cd" / "DICOM").mkdir(parents=True)
    dicom_series(tmp_path / "cd" / "DICOM" / "SE0", SLICES)
    items = items_of_folder(tmp_path, tmp_path / "out")
    assert names(items) == ["p1.nii.gz", "a/p1.nii.gz", "a/deep/p2.nrrd", "b", "cd"]
    assert [item.source.output.name.removesuffix(".seg.nrrd") for item in items] == [
        "p1", "a-p1", "a-deep-p2", "b", "cd"
    ]  # fmt: skip


def test_label_maps_of_earlier_calls_and_other_tools_are_no_volumes(tmp_path):
    mri = np.random.default_rng(0).integers(0, 900, (4, 8, 8)).astype(np.int16)
    labels = sitk.GetImageFromArray(np.clip(mri - 895, 0, 4).astype(np.int16))
    (tmp_path / "out").mkdir()
    for name in ("a.nii.gz", "a_fs.nii.gz"):
        sitk.WriteImage(sitk.GetImageFromArray(mri), str(tmp_path / name))
    sitk.WriteImage(labels, str(tmp_path / "a_label.nii.gz"))
    for ending in (".nii.gz", ".nrrd", ".mha"):
        write_segmentation(labels * 0, tmp_path / "out" / f"a{ending}", {"ModelId": "hip-mri"})
    assert [path.name for path in volumes_of(tmp_path, tmp_path / "other")] == ["a.nii.gz", "a_fs.nii.gz"]


def test_results_are_replaced_where_the_user_says_so_alone(tmp_path):
    (tmp_path / "a.nrrd").touch()
    (tmp_path / "a.seg.nrrd").touch()
    assert [item.state for item in items_of_folder(tmp_path, tmp_path)] == ["skipped"]
    assert [item.state for item in items_of_folder(tmp_path, tmp_path, ".seg.nrrd", True)] == ["waiting"]


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".dcm"])
def test_what_is_no_segmentation_is_never_replaced(tmp_path, ending):
    """Another patient's MRI may lie where the result of this one would go."""
    mri = tmp_path / "mine" / "a.mha"
    mri.parent.mkdir()
    mri.touch()
    out = tmp_path / "theirs"
    other = out / f"a{ending}"
    if ending == ".dcm":
        dicom_series(out, SLICES)
        next(out.iterdir()).rename(other)
    else:
        out.mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(SLICES + 300), str(other))
    before = other.read_bytes()
    # Nor is it called a result where nothing may be replaced.
    for overwrite in (True, False):
        error = refused(lambda may=overwrite: items_of([mri], out, ending, may))
        assert error.kind == "not_a_result" and other.name in error.sentence and "another folder" in error.sentence
    assert other.read_bytes() == before


def test_a_segmentation_of_any_kind_may_be_replaced(tmp_path):
    labels = sitk.GetImageFromArray(np.tile(np.arange(5, dtype=np.uint8), (3, 8, 2)))
    (tmp_path / "a.mha").touch()
    for ending in (".seg.nrrd", ".nii.gz", ".nrrd"):
        write_segmentation(labels, tmp_path / f"a{ending}", {"ModelId": "hip-mri"})
        (item,) = items_of([tmp_path / "a.mha"], tmp_path, ending, True)
        assert item.state == "waiting"
    segmentation = header("1.2.840.10008.5.1.4.1.1.66.4", "1.2.3")
    segmentation.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "a.dcm").rename(tmp_path / "out" / "a.dcm")
    (item,) = items_of([tmp_path / "a.mha"], tmp_path / "out", ".dcm", True)
    assert item.state == "waiting"


def test_names_of_deep_folders_are_cut_and_stay_unlike(tmp_path):
    """Systems take no more than 255 bytes, and a character may have four."""
    deep = tmp_path.joinpath(*["Hüftdysplasie und Impingement der Universitätsklinik"] * 6)
    inputs = [deep / name / "t1.nii.gz" for name in ("first", "second")] + [tmp_path / ("股" * 80 + ".nrrd")]
    results = result_paths(inputs, tmp_path / "out", base=tmp_path)
    assert len({result.name.lower() for result in results}) == 3
    assert all(len(os.fsencode(result.name)) < 220 for result in results)
    assert result_paths(inputs, tmp_path / "out", base=tmp_path) == results
    (tmp_path / "out").mkdir()
    for result in results:
        result.touch()


def test_a_result_folder_is_made_once_and_must_be_a_folder(tmp_path):
    out = tmp_path / "results"
    make_result_folder(out)
    make_result_folder(out)
    assert os.listdir(tmp_path) == ["results"] and os.listdir(out) == []
    (tmp_path / "file").touch()
    assert refused(lambda: make_result_folder(tmp_path / "file")).kind == "no_folder"
    assert refused(lambda: make_result_folder(Path(tmp_path / "no" / "where"))).kind == "no_folder"
