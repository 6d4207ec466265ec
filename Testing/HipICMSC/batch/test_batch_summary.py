"""The summary of a batch says of each volume what came of it, to a spreadsheet and to a program."""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from HipICMSCLib.batch.queue import Batch, BatchItem
from HipICMSCLib.batch.summary import write_csv, write_json, write_summary
from HipICMSCLib.common.errors import HipError

REPORT = {
    "use": "For research use only; not a medical device.",
    "model": {"name": "hip-t1-mri", "sha256": "ab" * 32, "licence": "CC-BY-4.0"},
    "versions": {"HipICMSC": "0.1.0", "torch": "2.9"},
    "device": "NVIDIA A40",
    "precision": "bf16",
    "fallbacks": ["The graphics card ran out of memory."],
    "date": "2026-01-02T03:04:05Z",
    "femoral_heads_lps_mm": {"right": None, "left": [85.0, 0.0, 0.0]},
    "volumes_ml": {
        "Right hip bone (acetabulum)": 0.0,
        "Left hip bone (acetabulum)": 301.5,
        "Right proximal femur": 0.0,
        "Left proximal femur": 142.3,
    },
    "warnings": [{"kind": "one_side", "sentence": "Only the left hip was found, so there is no other."}],
    "seconds": {"segmenting": 3.21},
}
NAMES = ["Hüfte; „links“, 2", "zwei\nZeilen", 'a "b", c', "+C T1 cor"]


@pytest.fixture
def items() -> list[BatchItem]:
    """One of each state."""
    batch = Batch([BatchItem(name, name) for name in [*NAMES, "später"]], _start, lambda: None)
    batch.items[4].skip("Left out.")
    batch.run()
    batch.items[3].wait()
    return batch.items


def _start(item, on_progress, on_end) -> None:
    if item.name == NAMES[1]:
        raise HipError("unreadable", "Das ist kaputt; bitte neu laden.")
    if item.name == NAMES[2]:
        raise HipError("cancelled", "It was cancelled.")
    on_end(REPORT)


def test_csv_for_a_spreadsheet(items, tmp_path):
    path = tmp_path / "Übersicht.csv"
    write_csv(path, items)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")  # tells Excel that it is UTF-8
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    # The apostrophe keeps a spreadsheet from taking the last but one for a formula.
    assert [row["name"] for row in rows] == [*NAMES[:3], "'+C T1 cor", "später"]
    assert [row["state"] for row in rows] == ["done", "failed", "cancelled", "waiting", "skipped"]
    assert rows[1]["sentence"] == "Das ist kaputt; bitte neu laden." and rows[4]["sentence"] == "Left out."
    done = rows[0]
    assert [done[f"{bone}_ml"] for bone in ("right_hip_bone", "left_hip_bone")] == ["0.0", "301.5"]
    assert [done[f"{bone}_ml"] for bone in ("right_proximal_femur", "left_proximal_femur")] == ["0.0", "142.3"]
    assert done["sides_found"] == "left"
    assert done["warnings"] == "Only the left hip was found, so there is no other. The graphics card ran out of memory."
    assert (done["model"], done["model_sha256"], done["device"]) == ("hip-t1-mri", "ab" * 32, "NVIDIA A40")
    assert done["date"] == "2026-01-02T03:04:05Z" and float(done["seconds"]) >= 0
    assert rows[1]["left_hip_bone_ml"] == rows[1]["date"] == rows[3]["seconds"] == ""
    assert all("research use only" in row["use"] for row in rows)


def test_json_for_a_program(items, tmp_path):
    write_json(tmp_path / "s.json", items)
    rows = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in rows] == [*NAMES, "später"]
    assert rows[0]["left_hip_bone_ml"] == 301.5 and rows[0]["sides_found"] == ["left"]
    assert len(rows[0]["warnings"]) == 2
    assert rows[1]["left_hip_bone_ml"] is None and rows[1]["warnings"] == []
    assert {tuple(row) for row in rows} == {tuple(rows[0])}  # each has every column
    assert all("research use only" in row["use"] for row in rows)


@pytest.mark.parametrize("name", ["a.csv", "a.json"])
def test_the_most_doubtful_result_comes_first(tmp_path, name):
    doubts = {"sure": (0.06, 0.04), "failed": None, "mirror": (0.1, 0.31), "sagittal": (0.2, None), "old": None}

    def start(item, on_progress, on_end) -> None:
        views = doubts[item.name]
        if item.name == "failed":
            raise HipError("no_hip", "No hip.")
        on_end(REPORT if views is None else REPORT | {"doubt": {"unsure": views[0], "mirrored": views[1]}})

    batch = Batch([BatchItem(name, name) for name in doubts], start, lambda: None)
    batch.run()
    write_summary(tmp_path / name, batch.items)
    text = (tmp_path / name).read_text(encoding="utf-8-sig")
    rows = json.loads(text) if name.endswith("json") else list(csv.DictReader(text.splitlines()))
    assert [row["name"] for row in rows] == ["mirror", "sagittal", "sure", "failed", "old"]
    assert [float(row["doubt"]) for row in rows[:3]] == [0.31, 0.2, 0.06] and not rows[3]["doubt"]


@pytest.mark.parametrize("name", ["s.csv", "s.json"])
def test_a_name_that_is_no_text_costs_no_summary(items, tmp_path, name):
    items[0].name = os.fsdecode(b"p\xff.nii")
    write_summary(tmp_path / name, items)
    assert "p?.nii" in (tmp_path / name).read_text(encoding="utf-8-sig")


def test_the_ending_decides_and_another_is_refused(items, tmp_path):
    write_summary(tmp_path / "a.CSV", items)
    write_summary(tmp_path / "a.json", items)
    assert (tmp_path / "a.CSV").read_bytes().startswith(b"\xef\xbb\xbfname,state,")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    with pytest.raises(HipError, match=r"let its name end in \.csv or \.json\.") as raised:
        write_summary(tmp_path / "a.xlsx", items)
    assert raised.value.kind == "unknown_format"
    assert sorted(os.listdir(tmp_path)) == ["a.CSV", "a.json"]


@pytest.mark.parametrize("write", [write_csv, write_json])
def test_a_missing_folder_is_named(items, tmp_path, write):
    with pytest.raises(HipError, match="nowhere does not exist"):
        write(tmp_path / "nowhere" / "a.csv", items)


@pytest.mark.parametrize("name", ["a.csv", "a.json"])
def test_a_full_disk_leaves_the_old_summary(tmp_path, name):
    """A limit on the size of files stands for the full disk."""
    path = tmp_path / name
    path.write_text("old")
    program = (
        "import sys; from pathlib import Path\n"
        "from HipICMSCLib.batch.queue import BatchItem; from HipICMSCLib.batch.summary import write_summary\n"
        "from HipICMSCLib.common.errors import HipError\n"
        "try: write_summary(Path(sys.argv[1]), [BatchItem('x' * 100, None)] * 100)\n"
        "except HipError as error: print(error.kind)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)),
    )  # fmt: skip
    assert done.stdout == "disk_full\n"
    assert path.read_text() == "old" and os.listdir(tmp_path) == [name]


def test_slicer_can_do_all_this_without_torch():
    """These files are imported by Slicer's own process."""
    program = (
        "import sys; sys.modules |= dict.fromkeys(('torch', 'skimage', 'safetensors', 'slicer', 'qt'))\n"
        "import HipICMSCLib.batch.summary, HipICMSCLib.batch.files"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent)
