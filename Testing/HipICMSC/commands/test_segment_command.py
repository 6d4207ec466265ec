"""`hipicmsc segment` and `hipicmsc model` as a user calls them, in processes of their own."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from commands import run, run_all
from dicom_objects import slices, write
from HipICMSCLib.common.version import VERSION
from HipICMSCLib.preprocessing.geometry import same_geometry
from packages import HEADS, as_ct, blank, dice, distance, scene, write_threshold_package
from patience import PATIENCE

CORONAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
POINTS = ["--right-head", *map(str, HEADS.right), "--left-head", *map(str, HEADS.left)]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_threshold_package(tmp_path_factory.mktemp("model") / "balls.hipmodel", name="balls")


@pytest.fixture(scope="module")
def mri(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mri") / "mri.nii.gz"
    sitk.WriteImage(scene(blank(CORONAL, (2.2, 2.2, 5.2)))[0], str(path))
    return path


def files_in(folder: Path) -> list[str]:
    """All names, hidden ones too."""
    return sorted(os.listdir(folder))


def test_a_segmentation_with_its_measures_beside(model, mri, tmp_path):
    out = tmp_path / "hips.seg.nrrd"
    answer = run("segment", mri, "-o", out, "--model", model, "--device", "cpu", "--morphometry", *POINTS)
    assert (answer.code, answer.error) == (0, "")
    assert files_in(tmp_path) == ["hips-morphometry.csv", "hips-morphometry.html", "hips.seg.nrrd"]
    # Balls have no necks: every measure is a row without a number, with the reason.
    rows = list(csv.DictReader((tmp_path / "hips-morphometry.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert {row["Side"] for row in rows} == {"right", "left"}
    assert {(row["Value"], row["Reason"]) for row in rows} == {("", "neck_not_found")}


def test_a_segmentation_of_which_nothing_can_be_measured_is_written_and_says_so(model, tmp_path):
    grey = blank(CORONAL, (3.0, 3.0, 5.0))
    noise = np.random.default_rng(0).normal(500, 20, grey.GetSize()[::-1]).astype(np.float32)
    image = sitk.GetImageFromArray(noise)
    image.CopyInformation(grey)
    sitk.WriteImage(image, str(tmp_path / "mri.nrrd"))
    out = tmp_path / "hips.seg.nrrd"
    arguments = ("-o", out, "--model", model, "--device", "cpu", "--morphometry", *POINTS)
    answer = run("segment", tmp_path / "mri.nrrd", *arguments)
    assert (answer.code, answer.error) == (0, "")
    assert "Not measured: None of the four bones" in answer.output
    assert files_in(tmp_path) == ["hips.seg.nrrd", "mri.nrrd"]
    # Who reads no words, but the report, learns it, too.
    again = run("segment", tmp_path / "mri.nrrd", *arguments, "--overwrite", "--report", tmp_path / "report.json")
    assert again.code == 0
    kinds = [warning["kind"] for warning in json.loads((tmp_path / "report.json").read_text())["warnings"]]
    assert "not_measured" in kinds


def test_a_result_that_is_there_without_measures_gets_them(model, mri, tmp_path):
    arguments = ("segment", mri, "-o", tmp_path, "--model", model, "--device", "cpu", *POINTS)
    assert run(*arguments).code == 0
    before = (tmp_path / "mri.seg.nrrd").read_bytes()
    answer = run(*arguments, "--morphometry")
    assert (answer.code, answer.error) == (0, "") and "neck" in answer.output
    assert files_in(tmp_path) == ["mri-morphometry.csv", "mri-morphometry.html", "mri.seg.nrrd"]
    assert (tmp_path / "mri.seg.nrrd").read_bytes() == before
    # What is measured already is not measured again.
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert run(*arguments, "--morphometry").code == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


def test_a_file_at_the_place_of_a_result_that_cannot_be_measured_says_why(model, mri, tmp_path):
    (tmp_path / "mri.seg.nrrd").write_text("a note")
    answer = run("segment", mri, "-o", tmp_path, "--model", model, "--device", "cpu", "--morphometry", *POINTS)
    assert answer.code == 0 and "Not measured: " in answer.output
    assert (tmp_path / "mri.seg.nrrd").read_text() == "a note" and files_in(tmp_path) == ["mri.seg.nrrd"]


def test_label_maps_do_not_go_where_another_call_would_take_them_for_mris(model, mri, tmp_path):
    (tmp_path / "mri.nii.gz").write_bytes(mri.read_bytes())
    arguments = ("segment", tmp_path, "-o", tmp_path, "--model", model, "--device", "cpu")
    answer = run(*arguments, "--format", "nii.gz")
    assert (answer.code, answer.output) == (2, "") and "let -o name another folder" in answer.error
    assert files_in(tmp_path) == ["mri.nii.gz"]
    assert run(*arguments).code == 0
    assert files_in(tmp_path) == ["mri.nii.gz", "mri.seg.nrrd"]
    again = run(*arguments)
    assert again.code == 0 and "0 of 1 volumes segmented" in again.output


def test_a_segmentation_and_its_report(model, mri, tmp_path):
    out, report = tmp_path / "hips.seg.nrrd", tmp_path / "report.json"
    answer = run("segment", mri, "-o", out, "--model", model, "--device", "cpu", "--report", report, *POINTS)
    assert (answer.code, answer.error) == (0, "")
    assert files_in(tmp_path) == ["hips.seg.nrrd", "report.json"]
    assert "research use only" in answer.output
    assert "Right proximal femur" in answer.output

    image, found = sitk.ReadImage(str(mri)), sitk.ReadImage(str(out))
    assert same_geometry(image, found)
    labels = sitk.GetArrayFromImage(found)
    for value, centre in ((3, HEADS.right), (4, HEADS.left)):
        assert dice(labels == value, distance(image, centre) <= 24) > 0.97
    assert found.GetMetaData("Segment2_Name") == "Right proximal femur"

    about = json.loads(report.read_text())
    assert (about["input"], about["output"]) == ("mri.nii.gz", "hips.seg.nrrd")
    assert re.fullmatch("[0-9a-f]{64}", about["model"]["sha256"])
    assert about["model"]["sha256"] in found.GetMetaData("Segment0_Tags")
    assert about["device"] == "cpu"
    assert {"loading the model", "reading", "segmenting", "writing"} <= set(about["seconds"])
    assert set(about["versions"]) == {"HipICMSC", "torch", "SimpleITK", "python"}
    assert about["femoral_heads_lps_mm"] == {"right": [-85, 0, 0], "left": [85, 0, 0]}
    assert isinstance(about["warnings"], list)
    assert str(mri.parent) not in report.read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, mri) -> Path:
    """Two volumes with hips, a damaged one between them, and things that are no volumes."""
    folder = tmp_path_factory.mktemp("volumes")
    sitk.WriteImage(scene(blank(CORONAL, (3.0, 3.0, 5.0)))[0], str(folder / "a.nrrd"))
    whole = mri.read_bytes()
    (folder / "b.nii.gz").write_bytes(whole[: len(whole) // 2])
    sitk.WriteImage(scene(blank(np.eye(3), (3.0, 3.0, 4.0)))[0], str(folder / "c.mha"))
    (folder / "notes.txt").write_text("x")
    (folder / "old.seg.nrrd").write_text("a result of an earlier call")
    return folder


def test_a_folder_in_two_shards_is_segmented_once_and_a_bad_volume_does_not_stop_the_others(model, folder, tmp_path):
    out = tmp_path / "results"
    base = ["segment", folder, "-o", out, "--model", model, "--device", "cpu"]
    first, second, third = run_all(
        [
            [*base, "--shard", "1/2", "--report", tmp_path / "1.json"],
            [*base, "--shard", "2/2", "--report", tmp_path / "2.json"],
            [*base, "--shard", "4/4", "--report", tmp_path / "4.json"],
        ]
    )
    assert files_in(out) == ["a.seg.nrrd", "c.seg.nrrd"]
    assert (first.code, second.code, third.code) == (0, 2, 0)
    assert first.error == ""
    assert "2 of 2 volumes segmented." in first.output
    listed = first.output.partition("is doubtful:\n")[2].splitlines()[:2]
    doubts = [int(line.split(" %")[0]) for line in listed]
    assert doubts == sorted(doubts, reverse=True)
    assert {line.split(":")[0].split()[-1] for line in listed} == {"a.nrrd", "c.mha"}
    # 2/2 holds only the damaged one, 4/4 none at all.
    assert "0 of 1 volumes segmented." in second.output
    assert second.error.count("\n") == 1
    assert "b.nii.gz cannot be read" in second.error
    reports = [json.loads((tmp_path / f"{number}.json").read_text()) for number in (1, 2, 4)]
    assert [[about["input"] for about in report] for report in reports] == [["a.nrrd", "c.mha"], ["b.nii.gz"], []]
    assert reports[1][0]["error"]["kind"] == "unreadable"
    for name in ("a.nrrd", "c.mha"):
        image = sitk.ReadImage(str(folder / name))
        found = sitk.ReadImage(str(out / f"{name[0]}.seg.nrrd"))
        assert same_geometry(image, found)
        for value, centre in ((3, HEADS.right), (4, HEADS.left)):
            assert dice(sitk.GetArrayFromImage(found) == value, distance(image, centre) <= 24) > 0.95


def ramp_without_hips(path: Path) -> Path:
    grid = blank(CORONAL, (3.0, 3.0, 6.0))
    voxels = np.broadcast_to(np.arange(grid.GetSize()[0], dtype=np.float32), grid.GetSize()[::-1])
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels))
    image.CopyInformation(grid)
    sitk.WriteImage(image, str(path))
    return path


def test_each_mistake_is_one_sentence_and_leaves_no_file(model, mri, folder, tmp_path):
    other, out = tmp_path / "inputs", tmp_path / "out"
    other.mkdir(), out.mkdir()
    damaged, pickled = other / "damaged.hipmodel", other / "pickle.hipmodel"
    damaged.write_bytes(model.read_bytes()[:-100])
    pickled.write_bytes(b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.")
    flat = other / "flat.nrrd"
    sitk.WriteImage(sitk.Image(50, 40, sitk.sitkUInt8), str(flat))
    sitk.WriteImage(as_ct(scene(blank(CORONAL, (3.0, 3.0, 6.0)))[0]), str(other / "ct.nrrd"))
    result = out / "a.seg.nrrd"
    common = ["--model", model, "--device", "cpu"]
    mistakes = {
        "There is no file": [other / "missing.nii.gz", "-o", result, *common],
        "is not a 3-D volume": [flat, "-o", result, *common],
        "No hip joint was found": [ramp_without_hips(other / "ramp.nrrd"), "-o", result, *common],
        "looks like a CT": [other / "ct.nrrd", "-o", result, *common],
        "cannot be written; let its name end in .seg.nrrd, .nii.gz, .nii, .nrrd, .mha or .dcm.": [
            mri,
            "-o",
            out / "a.stl",
            *common,
        ],
        "nowhere does not exist": [mri, "-o", out / "nowhere" / "a.seg.nrrd", *common],
        "gone does not exist": [mri, "-o", result, "--report", out / "gone" / "r.json", *common],
        "There is no device quantum": [mri, "-o", result, "--model", model, "--device", "quantum"],
        "There is no model hip-x-ray": [mri, "-o", result, "--model", "hip-x-ray"],
        "There is no model file": [mri, "-o", result, "--model", out / "none.hipmodel"],
        "is damaged or was altered": [mri, "-o", result, "--model", damaged],
        "is not a model package": [mri, "-o", result, "--model", pickled],
        "lies outside the image": [mri, "-o", result, *common, "--right-head", -85, 0, 900],
        "one volume at a time": [folder, "-o", out, *common, *POINTS],
        "is one file, but there are 3 volumes": [folder, "-o", flat, *common],
        "holds no DICOM series": [out, "-o", result, *common],
        "flat.nrrd already; choose another name, or add --overwrite": [mri, "-o", flat, *common],
        "mri.nii.gz is what is read": [mri, "-o", mri, "--overwrite", *common],
        "ct.nrrd already": [mri, "-o", result, "--report", other / "ct.nrrd", *common],
        "is too long; choose a shorter one": [mri, "-o", out / f"{'x' * 250}.seg.nrrd", *common],
        "would be written twice": [mri, "-o", result, "--report", result, *common],
        "let its name end in .csv or .json": [mri, "-o", result, "--summary", out / "s.txt", *common],
        "is no DICOM, to which": [mri, "-o", out / "a.dcm", *common],
    }
    answers = run_all([["segment", *arguments] for arguments in mistakes.values()])
    for sentence, answer in zip(mistakes, answers, strict=True):
        assert answer.code == 2, sentence
        assert sentence in answer.error
        assert answer.error.startswith("hipicmsc: ")
        assert answer.error.endswith(".\n"), answer.error
        assert answer.error.count("\n") == 1, answer.error
        assert answer.output == ""
    assert files_in(out) == []


def test_an_old_result_survives_a_failure_and_background_is_shown_on_demand(model, tmp_path):
    out = tmp_path / "a.seg.nrrd"
    out.write_text("old")
    bad = tmp_path / "bad.nrrd"
    sitk.WriteImage(sitk.Image(20, 20, 20, sitk.sitkInt16), str(bad), useCompression=True)
    bad.write_bytes(bad.read_bytes()[:-8])
    command = ["segment", bad, "-o", out, "--overwrite", "--model", model]
    plain, verbose = run_all([command, ["--verbose", *command]])
    assert plain.code == verbose.code == 2
    assert plain.error.count("\n") == 1
    assert verbose.error.startswith(plain.error)
    assert len(verbose.error) > len(plain.error)
    assert out.read_text() == "old"
    assert files_in(tmp_path) == ["a.seg.nrrd", "bad.nrrd"]


def test_label_maps_an_existing_folder_and_a_single_shard(model, mri, tmp_path):
    out = tmp_path / "existing"
    out.mkdir()
    common = ["--model", model, "--device", "cpu", *POINTS]
    answers = run_all(
        [
            ["segment", mri, "-o", tmp_path / "a.nii.gz", *common],
            ["segment", mri, "-o", out, *common],
            ["segment", mri, "-o", out, "--shard", "2/2", "--report", tmp_path / "r.json", "--model", model],
            ["model", "show", model],
        ]
    )
    assert [answer.code for answer in answers] == [0, 0, 0, 0]
    assert files_in(out) == ["mri.seg.nrrd"]
    assert json.loads((tmp_path / "r.json").read_text()) == []
    labels = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    assert same_geometry(labels, sitk.ReadImage(str(mri)))
    assert labels.GetPixelID() == sitk.sitkUInt8
    assert set(np.unique(sitk.GetArrayFromImage(labels))) == {0, 1, 2, 3, 4}
    assert "# A model for tests" in answers[3].output
    assert re.search("SHA-256: [0-9a-f]{64}", answers[3].output)


def test_a_correction_by_hand_outlives_the_next_run_of_its_folder(model, mri, tmp_path):
    volumes, out = tmp_path / "volumes", tmp_path / "out"
    volumes.mkdir(), out.mkdir()
    (volumes / "p1.nii.gz").write_bytes(mri.read_bytes())
    (out / "p1.seg.nrrd").write_text("corrected")
    base = ["segment", volumes, "-o", out, "--model", model, "--device", "cpu", *POINTS]
    first, second = run_all([[*base, "--report", tmp_path / "1.json"], [*base, "--overwrite"]])
    assert first.code == second.code == 0
    assert "There is a result already." in first.output and "--overwrite" in first.output
    assert json.loads((tmp_path / "1.json").read_text()) == [
        {"input": "p1.nii.gz", "skipped": "There is a result already."}
    ]
    assert (out / "p1.seg.nrrd").read_bytes().startswith(b"NRRD")


def test_who_resumes_a_batch_is_not_led_to_lose_its_corrections(model, mri, tmp_path):
    (tmp_path / "mri.seg.nrrd").write_text("corrected")
    (tmp_path / "summary.csv").write_text("of the first call")
    base = ["segment", mri, "-o", tmp_path, "--model", model, "--device", "cpu"]
    refused, renamed = run_all([[*base, "--summary", tmp_path / name] for name in ("summary.csv", "second.csv")])
    assert refused.code == 2 and "choose another name" in refused.error
    assert "--overwrite would replace the segmentations that are there, too" in refused.error
    assert renamed.code == 0 and (tmp_path / "second.csv").exists()
    assert (tmp_path / "mri.seg.nrrd").read_text() == "corrected"
    assert (tmp_path / "summary.csv").read_text() == "of the first call"


def test_a_dicom_series_becomes_a_dicom_segmentation_that_another_reader_finds_at_the_same_place(model, tmp_path):
    image = scene(blank(np.eye(3), (3.0, 3.0, 4.0)))[0]
    voxels = sitk.GetArrayFromImage(sitk.Cast(image, sitk.sitkInt16))
    series = tmp_path / "series"
    made = slices(voxels, PixelSpacing=[3.0, 3.0])
    for number, each in enumerate(made):
        each.ImagePositionPatient = list(image.TransformIndexToPhysicalPoint((0, 0, number)))
    write(series, made)
    out = tmp_path / "hips.dcm"
    command = ["segment", series, "--model", model, "--device", "cpu", *POINTS, "-o"]
    dicom, plain, scores = run_all(
        [
            [*command, out],
            [*command, tmp_path / "hips.nii.gz"],
            ["evaluate", "--prediction", out, "--truth", tmp_path / "hips.nii.gz"],
        ]
    )
    assert (dicom.code, plain.code, scores.code) == (0, 0, 0), dicom.error + scores.error
    assert "100.00" in scores.output
    about = pydicom.dcmread(out)
    assert about.Modality == "SEG"
    (referenced,) = about.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == made[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} == {
        each.SOPInstanceUID for each in made
    }
    femur = about.SegmentSequence[2]
    assert femur.SegmentLabel == "Right proximal femur"
    assert femur.SegmentedPropertyTypeCodeSequence[0].CodeValue == "71341001"
    assert femur.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "HipICMSC"
    # GDCM, through SimpleITK, knows nothing of highdicom: a frame of a segment after another, on the same grid.
    bits = sitk.ReadImage(str(out), imageIO="GDCMImageIO")
    counted = sitk.GetArrayFromImage(bits).astype(bool).sum()
    labels = sitk.ReadImage(str(tmp_path / "hips.nii.gz"))
    assert counted == (sitk.GetArrayFromImage(labels) > 0).sum()
    assert same_geometry(labels, image, 1e-2)


def test_what_no_dicom_segmentation_can_refer_to_does_not_end_a_batch(model, tmp_path):
    folder = tmp_path / "folder"
    write(folder / "a", slices(np.zeros((14, 40, 50), np.uint16), FrameOfReferenceUID=None))
    (folder / "b.nii.gz").write_bytes(b"no volume")
    answer = run("segment", folder, "-o", tmp_path / "out", "--format", "dcm", "--model", model, "--device", "cpu")
    assert answer.code == 2 and "0 of 2 volumes segmented." in answer.output
    assert "FrameOfReferenceUID" in answer.error and f"{folder / 'b.nii.gz'} is no DICOM" in answer.error


@pytest.mark.slow
def test_a_closed_or_full_output_and_names_that_it_cannot_show_end_nothing(model, mri, tmp_path):
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    for name in ("股関節.nii.gz", "b.nii.gz"):
        (volumes / name).write_bytes(mri.read_bytes())
    (volumes / "c.nrrd").write_text("damaged")
    for number, redirection in enumerate((">&- 2>&-", ">/dev/full 2>&1", "| true")):
        out = tmp_path / f"out{number}"
        words = [sys.executable, "-m", "HipICMSCTrainingLib.cli", "segment", volumes, "-o", out, "--model", model,
                 "--device", "cpu", "--summary", tmp_path / f"{number}.csv"]  # fmt: skip
        command = f"{shlex.join(map(str, words))} {redirection}"
        subprocess.run(["sh", "-c", command], env=os.environ | {"PYTHONIOENCODING": "ascii"}, check=False)
        assert files_in(out) == ["b.seg.nrrd", "股関節.seg.nrrd"], redirection
        assert (tmp_path / f"{number}.csv").read_text(encoding="utf-8-sig").count("\n") == 4


def test_a_time_limit_leaves_whole_results_and_a_summary(model, mri, tmp_path):
    volumes, out = tmp_path / "volumes", tmp_path / "out"
    volumes.mkdir()
    for number in range(40):
        (volumes / f"p{number:02}.nii.gz").write_bytes(mri.read_bytes())
    child = subprocess.Popen(
        [sys.executable, "-m", "HipICMSCTrainingLib.cli", "segment", volumes, "-o", out, "--model", model, "--device",
         "cpu", "--summary", tmp_path / "s.json", "--report", tmp_path / "r.json"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not (out.is_dir() and "p00.seg.nrrd" in files_in(out)):
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    assert child.wait(PATIENCE) == 128 + signal.SIGTERM
    states = [row["state"] for row in json.loads((tmp_path / "s.json").read_text())]
    done = states.count("done")
    assert 1 <= done < 40 and len(states) == 40 and set(states) <= {"done", "cancelled", "waiting"}
    assert len(json.loads((tmp_path / "r.json").read_text())) == 40
    assert files_in(out) == [f"p{number:02}.seg.nrrd" for number in range(done)]
    for name in files_in(out):
        assert sitk.ReadImage(str(out / name)).GetSize() == sitk.ReadImage(str(mri)).GetSize()


def test_info_says_what_would_be_read_and_version_which_program_it_is(mri, tmp_path):
    write(tmp_path / "study" / "a", slices(np.arange(28000, dtype=np.uint16).reshape(14, 40, 50)))
    write(tmp_path / "study" / "b", slices(np.zeros((3, 8, 8), np.uint16), "1.2.7", SeriesDescription="localizer"))
    file, study, gone, version = run_all(
        [["info", mri], ["info", tmp_path / "study"], ["info", tmp_path / "gone"], ["--version"]]
    )
    assert (file.code, study.code, gone.code, version.code) == (0, 0, 2, 0)
    assert "is read as" in file.output and "Axes" in file.output
    assert "2 DICOM volumes" in study.output and "a localizer" in study.output and "50 × 40 × 14" in study.output
    assert version.output == f"hipicmsc {VERSION}\n"


def test_commands_are_listed_in_the_order_of_use():
    (answer,) = run_all([["--help"]])
    # What a long line goes on with is indented further.
    names = [line.split()[0] for line in answer.output.splitlines() if line[:4] == "    " and line[4] != " "]
    expected = ["info", "segment", "morphometry", "model", "phantom", "check", "estimate", "train", "status", "pause",
                "stop", "resume", "export", "measure", "evaluate", "benchmark", "describe"]  # fmt: skip
    assert [name for name in names if name in expected] == expected


def test_models_of_ones_own_are_added_used_by_name_and_removed(model, mri, tmp_path, monkeypatch):
    home, out = tmp_path / "home", tmp_path / "out"
    out.mkdir()
    monkeypatch.setenv("HIPICMSC_HOME", str(home))
    # Another model under the name of the one that is there.
    same_name = write_threshold_package(out / "balls.hipmodel", name="others")
    segment = ["segment", mri, "--device", "cpu", *POINTS, "--model", "balls", "-o"]
    empty, added, again, refused, full, used, shipped, removed, gone, unused = run_all(
        [
            ["model", "list"],
            ["model", "add", model],
            ["model", "add", model],
            ["model", "add", same_name],
            ["model", "list"],
            [*segment, out / "a.nii.gz"],
            ["model", "remove", "hip-t1-mri"],
            ["model", "remove", "balls"],
            ["model", "list"],
            [*segment, out / "b.nii.gz"],
        ]
    )
    for answer in (empty, added, again, full, used, removed, gone):
        assert (answer.code, answer.error) == (0, "")
    for answer in (refused, shipped, unused):
        assert (answer.code, answer.output) == (2, "") and answer.error.count("\n") == 1
    for answer in (empty, full, gone):
        assert "\n  hip-mri (used unless --model names another)\n" in answer.output
        assert f"\nYour models, in {home / 'models'}:\n" in answer.output
    assert empty.output.endswith(":\n  none\n") and gone.output == empty.output
    assert full.output.endswith(":\n  balls\n")
    assert added.output == again.output and str(home / "models" / "balls.hipmodel") in added.output
    assert "rename" in refused.error and "cannot be removed" in shipped.error
    assert "There is no model balls" in unused.error
    assert files_in(out) == ["a.nii.gz", "balls.hipmodel"] and files_in(home / "models") == []


@pytest.mark.parametrize(("name", "limit"), [("a.seg.nrrd", 10_000), ("a.nii", 100_000)])
def test_a_full_disk_leaves_nothing(model, mri, tmp_path, name, limit):
    """A limit on the size of files stands for the full disk; the larger one is met only when the result is written."""
    out = tmp_path / "out"
    out.mkdir()
    answer = run(
        "segment", mri, "-o", out / name, "--model", model, "--device", "cpu", *POINTS,
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert answer.code == 2
    last = answer.error.splitlines()[-1]
    assert "is full; nothing was written." in last
    if limit == 10_000:
        assert answer.error == last + "\n"
    assert files_in(out) == []


def read_only(folder: Path) -> tuple[str, ...]:
    """Make a folder read-only for a command that is started with the words returned, or skip."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        return ()
    # Permissions do not bind root, a mount does; it is gone with the process.
    mounted = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"', str(folder))
    try:
        possible = subprocess.run([*mounted, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("runs as root and may not mount, so no folder can be made read-only")
    return mounted


def test_a_read_only_folder_is_named_at_once(model, mri, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    answer = run("segment", mri, "-o", out / "a.seg.nrrd", "--model", model, *POINTS, prefix=read_only(out))
    assert answer.code == 2
    assert answer.error == f"hipicmsc: The folder {out} may not be written to; choose another one.\n"
    assert files_in(out) == []


def test_a_mistyped_command_explains_itself(tmp_path):
    command = ["segment", tmp_path / "a.nrrd"]
    answers = run_all(
        [
            command,
            *([*command, "-o", tmp_path / "a.seg.nrrd", *more] for more in (
                ["--shard", "3/2"], ["--shard", "0/2"], ["--right-head", "1", "2"], ["--dvice", "cpu"],
            )),
        ]
    )  # fmt: skip
    for answer in answers:
        assert answer.code == 2
        assert "usage: hipicmsc" in answer.error
    assert files_in(tmp_path) == []
