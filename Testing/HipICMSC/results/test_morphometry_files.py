"""What is written of measures: a table that reads back, markups, a page, and the command that makes them."""

from __future__ import annotations

import csv
import html
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib import measures
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.measures.morphometry import measure
from HipICMSCLib.reading.segmentation import read_segmentation
from HipICMSCLib.results.morphometry_markups import OF_A_SIDE, markups, write_markups
from HipICMSCLib.results.morphometry_report import report
from HipICMSCLib.results.morphometry_table import in_words, table, write_table
from HipICMSCLib.results.research_use import RESEARCH_USE
from HipICMSCLib.results.segmentation_file import write_segmentation
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.phantom.hip_labels import Sampling, hip_labels
from HipICMSCTrainingLib.phantom.hip_shapes import HipShapes, truth

SHAPES = HipShapes(depth=-4.0, fossa_step=45.0)


@pytest.fixture(scope="module")
def labels() -> sitk.Image:
    box = {"low": (-155, -60, -60), "high": (155, 60, 50), "spacing": (1.2, 1.2, 1.2)}
    return hip_labels({"right": SHAPES, "left": SHAPES}, Sampling(**box))


@pytest.fixture(scope="module")
def result(labels):
    return measure(labels, repeats=3)


def test_the_table_has_every_measure_of_both_sides_and_no_number_where_it_was_refused(result):
    rows = list(csv.DictReader(table(result, "hips.seg.nrrd").splitlines()))
    assert len(rows) == len(result.rows)
    by_id = {(row["Side"], row["Measure"]): row for row in rows}
    assert float(by_id["left", "LCEA"]["Value"]) == pytest.approx(truth(SHAPES)["LCEA"], abs=1.0)
    assert by_id["left", "LCEA"]["Unit"] == "deg" and by_id["left", "LCEA"]["Frame"] == "BIHEAD"
    refused = by_id["right", "CCD_3D"]
    assert refused["Value"] == "" and refused["Reason"] == "shaft_short" and refused["Sentence"].endswith(".")
    assert "doi" in by_id["right", "LCEA"]["Reference source"]


def test_the_table_is_a_file_that_a_spreadsheet_reads(result, tmp_path):
    write_table(result, "=cmd.seg.nrrd", tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes().startswith(b"\xef\xbb\xbfSide,")
    with open(tmp_path / "table.csv", encoding="utf-8-sig", newline="") as file:
        assert {row["Segmentation"] for row in csv.DictReader(file)} == {"'=cmd.seg.nrrd"}


def test_a_number_that_a_person_moved_is_called_so_even_where_it_is_not_sure(result):
    row = next(row for row in result.rows if row.definition.id == "LCEA")
    unsure = replace(row, auto_value=row.value + 15, status="uncertain", reason="interval_wide")
    assert unsure.is_edited and not row.is_edited
    edited = replace(result, rows=tuple(unsure if each is row else each for each in result.rows))
    assert f"{row.value:.1f} (edited)" in report(edited, "hips.seg.nrrd")
    assert "(edited)" not in report(result, "hips.seg.nrrd")


def with_row(result, identifier: str, **changes):
    """A result of which one row of the right side is another."""
    rows = [
        replace(row, **changes) if (row.side, row.definition.id) == ("right", identifier) else row
        for row in result.rows
    ]
    return replace(result, rows=tuple(rows))


def test_every_caution_is_read_once_and_its_number_stands_beside_each_value_that_it_holds_for(result):
    cautions = {caution for row in result.rows for caution in row.cautions}
    page, words = report(result, "hips"), in_words(result)
    assert len(cautions) > 1
    for caution in cautions:
        assert page.count(html.escape(caution)) == words.count(caution) == 1
    frame = result.hips.frame.caution
    numbered = list(dict.fromkeys(c for row in result.rows for c in row.cautions if c != frame))
    first = next(row for row in result.rows if numbered[0] in row.cautions)
    marks = ", ".join(str(numbered.index(c) + 1) for c in first.cautions if c != frame)
    assert f"<sup>{marks}</sup>" in page and f"({marks})" in words
    assert f"\n(1) {numbered[0]}\n" in words and f"<ol><li>{html.escape(numbered[0])}</li>" in page


def test_a_value_without_cautions_has_no_mark(result):
    plain = replace(result, rows=tuple(replace(row, cautions=()) for row in result.rows))
    assert "(1" not in in_words(plain)


def test_page_and_pictures_say_what_is_not_sure_and_what_a_person_moved(result):
    row = next(row for row in result.rows if (row.side, row.definition.id) == ("right", "LCEA"))
    page = report(with_row(result, "LCEA", auto_value=row.value + 15, status="uncertain"), "hips")
    assert f"Lateral centre-edge angle ? {row.value:.1f} deg (edited)</text>" in page
    assert f">? {row.value:.1f} (edited)" in page


@pytest.mark.parametrize(("hours", "clock"), [(0.0, "12:00"), (1.5, "1:30"), (11.0 + 5 / 6, "11:50")])
def test_a_place_on_the_clock_is_read_as_a_clock_shows_it(result, hours, clock):
    words = in_words(with_row(result, "AlphaMaxClock", value=hours, auto_value=hours))
    (line,) = [line for line in words.splitlines() if line.startswith("Clock position")]
    assert f" {clock}" in line


def test_markups_of_an_angle_measure_what_the_table_says(result):
    rows = {(row.side, row.definition.id): row for row in result.rows}
    written = markups(result)
    for side in ("right", "left"):
        markup = written[f"{side[0].upper()}_LCEA"]["markups"][0]
        one, corner, other = (np.array(point["position"]) for point in markup["controlPoints"])
        a, b = one - corner, other - corner
        angle = np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
        assert markup["type"] == "Angle" and markup["coordinateSystem"] == "LPS"
        assert angle == pytest.approx(abs(rows[side, "LCEA"].value), abs=0.05)
    assert written["HeadAxis"]["markups"][0]["type"] == "Line"


def test_markups_that_a_result_has_no_longer_go_and_nothing_else_does(result, tmp_path):
    one_side = replace(result, rows=tuple(row for row in result.rows if row.side == "right"))
    before = {path.name for path in write_markups(result, tmp_path)}
    others = {"L_mine.mrk.json", "L_LCEA.fcsv", "notes.txt"}
    for name in others:
        (tmp_path / name).write_text("mine")
    (tmp_path / "PelvicLandmarks.mrk.json").write_text("of a call that saw the whole pelvis")
    after = {path.name for path in write_markups(one_side, tmp_path)}
    assert {path.name for path in tmp_path.iterdir()} == after | others
    assert any(name.startswith("L_") for name in before) and not any(name.startswith("L_") for name in after)


def test_every_markup_of_a_side_is_among_those_that_are_known_as_ours(result):
    """Also those that this phantom lacks: each measure's marks are named where it is computed."""
    named = {mark.name for row in result.rows for mark in row.marks}
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(measures.__file__).parent.glob("*.py"))
    named |= set(re.findall(r'Mark\("(\w+)"', sources))
    named |= {row.definition.id for row in result.rows if re.match(r"(Alpha|Offset)_\d", row.definition.id)}
    assert named <= OF_A_SIDE


def test_the_page_is_whole_says_what_it_is_for_and_loads_nothing(result):
    page = report(result, "<hips> & more")
    assert RESEARCH_USE in page and "&lt;hips&gt; &amp; more" in page
    assert page.count("<svg") == 12 and "http://www.w3.org" in page
    assert page.count("http") == page.count("http://www.w3.org/2000/svg")
    for svg in page.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + svg.split("</svg>")[0] + "</svg>")


def test_a_frame_whose_landmarks_were_moved_is_the_users_in_table_page_and_markups(labels):
    landmarks = {"ASIS_R": (-115, -45, 85), "PT_R": (-25, -50, -10), "ASIS_L": (115, -45, 85), "PT_L": (25, -50, -10)}
    moved = measure(labels, repeats=0, landmarks={name: np.array(point) for name, point in landmarks.items()})
    rows = list(csv.DictReader(table(moved, "hips.seg.nrrd").splitlines()))
    assert {row["Frame"] for row in rows if row["Tilt slope"]} == {"USER"}
    assert all("Frame set by hand" in row["Cautions"] for row in rows if row["Frame"] == "USER")
    page = report(moved, "hips")
    assert "frame of the pelvis: USER. Frame set by hand: its landmarks were moved." in page and "(edited)" in page
    written = markups(moved)
    points = {p["label"]: tuple(p["position"]) for p in written["PelvicLandmarks"]["markups"][0]["controlPoints"]}
    assert points == landmarks and "HeadAxis" not in written


def test_the_command_measures_a_segmentation_file(labels, tmp_path, capsys):
    write_segmentation(labels, tmp_path / "hips.seg.nrrd", {})
    done = main(
        ["morphometry", str(tmp_path / "hips.seg.nrrd"), "-o", str(tmp_path / "t.csv"),
         "--markups", str(tmp_path / "marks"), "--html", str(tmp_path / "page.html")]
    )  # fmt: skip
    assert done == 0 and "Lateral centre-edge angle" in capsys.readouterr().out
    assert (tmp_path / "t.csv").is_file() and (tmp_path / "page.html").is_file()
    for path in (tmp_path / "marks").iterdir():
        assert json.loads(path.read_text())["markups"]


def test_markups_that_a_user_may_have_edited_are_not_replaced_unasked(labels, tmp_path, capsys):
    write_segmentation(labels, tmp_path / "hips.seg.nrrd", {})
    edited = tmp_path / "marks" / "R_LCEA.mrk.json"
    edited.parent.mkdir()
    edited.write_text("mine")
    command = ["morphometry", str(tmp_path / "hips.seg.nrrd"), "--markups", str(edited.parent)]
    assert main(command) == 2 and "--overwrite" in capsys.readouterr().err
    assert edited.read_text() == "mine"
    assert main([*command, "--overwrite"]) == 0
    assert json.loads(edited.read_text())["markups"]


@pytest.mark.parametrize(
    "values",
    [
        ["hip"], ["hip=1"], ["thigh=1"], ["femur=x"], ["hip=1", "hip=2", "femur=3"], ["right-femur=3", "left-femur=3"],
    ],
)  # fmt: skip
def test_values_that_name_no_bones_are_refused_in_a_sentence(labels, tmp_path, capsys, values):
    sitk.WriteImage(labels, str(tmp_path / "map.nii.gz"))
    assert main(["morphometry", str(tmp_path / "map.nii.gz"), "--values", *values]) == 2
    assert "hipicmsc:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (["-o", "x.html", "--html", "x.html"], "x.html"),
        (["-o", "table.txt"], "table.txt"),
        (["--html", "page.csv"], "page.csv"),
    ],
    ids=["one file twice", "no table", "no page"],
)
def test_a_table_and_a_report_are_files_of_their_own_kinds(labels, tmp_path, capsys, monkeypatch, outputs, said):
    monkeypatch.chdir(tmp_path)
    write_segmentation(labels, tmp_path / "hips.seg.nrrd", {})
    assert main(["morphometry", "hips.seg.nrrd", *outputs]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["hips.seg.nrrd"]


def test_an_mri_is_no_segmentation(labels, tmp_path, capsys):
    sitk.WriteImage(sitk.Cast(labels, sitk.sitkInt16) * 90, str(tmp_path / "mri.nii.gz"))
    assert main(["morphometry", str(tmp_path / "mri.nii.gz"), "-o", str(tmp_path / "t.csv")]) == 2
    said = capsys.readouterr().err
    assert "mri.nii.gz has other values than 1 " in said and "--values" in said and said.count("\n") == 1
    assert not (tmp_path / "t.csv").exists()


def test_a_segmentation_that_slicer_saved_in_layers_is_read_by_its_names(labels, tmp_path):
    array = sitk.GetArrayFromImage(labels)
    layers = np.stack([np.where(array == 3, 1, 0), np.where(array == 1, 5, 0)], axis=-1).astype(np.uint8)
    image = sitk.GetImageFromArray(layers, isVector=True)
    image.SetSpacing(labels.GetSpacing())
    image.SetOrigin(labels.GetOrigin())
    for number, (segment, value) in enumerate(((SEGMENTS[2], 1), (SEGMENTS[0], 5))):
        image.SetMetaData(f"Segment{number}_ID", f"Segment_{number}")
        image.SetMetaData(f"Segment{number}_Name", segment.name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
        image.SetMetaData(f"Segment{number}_Layer", str(number))
    sitk.WriteImage(image, str(tmp_path / "edited.seg.nrrd"))
    read = sitk.GetArrayFromImage(read_segmentation(tmp_path / "edited.seg.nrrd"))
    assert np.array_equal(read, np.where(np.isin(array, [1, 3]), array, 0))
