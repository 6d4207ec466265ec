"""A correction is kept whole or not at all, names nobody, and takes nothing from those that were kept before."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from corrected import MADE_BY, case_in, hips
from HipICMSCLib.cases import keep as keep_module
from HipICMSCLib.cases.corrected_case import cases_in, read_case
from HipICMSCLib.cases.keep import keep_case
from HipICMSCLib.cases.source_list import source_list
from HipICMSCLib.common import files as files_module
from HipICMSCLib.common.errors import HipError

SECRETS = ("Zworykin", "PID7741XQ", "19410317", "Hbrixx")


@pytest.fixture(autouse=True)
def own_list(tmp_path, monkeypatch) -> Path:
    """Nobody else's list of cases."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    return tmp_path / "own" / "HipICMSC" / "cases.csv"


def another_mri(number: int) -> tuple[sitk.Image, sitk.Image, sitk.Image]:
    image, original, labels = hips()
    return image + number, original, labels


def keep(folder: Path, number: int, **more):
    image, original, labels = another_mri(number)
    return keep_case(folder, image, labels, MADE_BY, original, {"RightFemur"}, f"mri {number}", **more)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def refused(kind: str, keeping) -> str:
    with pytest.raises(HipError) as caught:
        keeping()
    assert caught.value.kind == kind
    return caught.value.sentence


def test_nothing_in_the_folder_names_the_patient_or_the_source(tmp_path, own_list):
    image, original, labels = hips()
    for piece in (image, original, labels):
        for field in ("0010|0010", "ITK_FileNotes", "descrip", "aux_file", "intent_name", "db_name", "Segment0_Name"):
            piece.SetMetaData(field, " ".join(SECRETS))
    made_by = MADE_BY | {"Warnings": SECRETS[0], "Date": SECRETS[2]}
    folder = tmp_path / "cases"
    keep_case(folder, image, labels, made_by, original, {"RightFemur"}, f"/archive/{SECRETS[0]}/{SECRETS[3]}.nii.gz")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == ["case.json", "label.nii.gz", "mri.nii.gz"]
    for path in files:
        data = path.read_bytes()
        data += gzip.decompress(data) if path.suffix == ".gz" else b""
        assert not [secret for secret in SECRETS if secret.encode() in data], path
        assert str(tmp_path).encode() not in data
    assert rows(own_list)[0]["source"] == f"/archive/{SECRETS[0]}/{SECRETS[3]}.nii.gz", "only the user can tell"


def test_an_mri_is_known_again_when_its_axes_are_stored_otherwise(tmp_path):
    image, original, labels = hips()
    first = keep_case(tmp_path / "cases", image, labels, MADE_BY, original, {"RightFemur"}, "dicom")
    turned = [sitk.DICOMOrient(each, "RAS") for each in (image, labels, original)]

    def again(**more):
        return keep_case(tmp_path / "cases", *turned[:2], MADE_BY, turned[2], {"RightFemur"}, "nifti", **more)

    assert f"case {first.number}" in refused("case_exists", again)
    # A case of an older version knows its voxels as they were stored.
    about = json.loads((first.folder / "case.json").read_text())
    about["voxels_sha256"] = keep_module._digest_of_voxels(turned[0])
    (first.folder / "case.json").write_text(json.dumps(about))
    refused("case_exists", again)
    assert again(overwrite=True).number == first.number + 1


def test_a_list_that_a_spreadsheet_saved_is_read_or_refused_but_never_taken_for_empty(tmp_path, own_list):
    folder = tmp_path / "cases"
    first = keep(folder, 1)
    text = own_list.read_text(encoding="utf-8")
    own_list.write_text(text, encoding="utf-8-sig")
    shutil.rmtree(first.folder)
    [left.rmdir() for left in folder.glob(".case-*")]
    assert keep(folder, 2).number == first.number + 1, "a deleted case's number is not given again"
    own_list.write_text(text.replace(",", ";"), encoding="utf-8")
    assert "columns case, folder" in refused("unreadable", lambda: keep(folder, 3))


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_the_list_of_the_cases_is_for_its_user_alone_and_only_grows(tmp_path, own_list):
    keep(tmp_path / "a", 1)
    assert own_list.stat().st_mode & 0o777 == 0o600
    with open(own_list, "a") as file:
        file.write("noted by hand, and cut o")
    before = own_list.read_text()
    keep(tmp_path / "b", 1)
    assert own_list.read_text().startswith(before + "\n")
    last = rows(own_list)[-1]
    assert (last["case"], last["folder"], last["source"]) == ("case-001", str((tmp_path / "b").resolve()), "mri 1")


def test_a_name_that_a_spreadsheet_would_compute_stays_a_name(tmp_path, own_list):
    image, original, labels = hips()
    keep_case(tmp_path / "a", image, labels, MADE_BY, original, (), '=1+1, "T1"\nsecond line')
    assert rows(own_list)[0]["source"] == '\'=1+1, "T1"\nsecond line'


def test_a_number_is_never_given_twice(tmp_path):
    folder = tmp_path / "cases"
    assert [keep(folder, number).number for number in (1, 2)] == [1, 2]
    shutil.rmtree(folder / "case-002")
    assert keep(folder, 3).number == 3
    shutil.rmtree(folder)
    assert keep(folder, 4).number == 4


def test_the_same_mri_is_replaced_only_on_the_user_s_word(tmp_path):
    folder = tmp_path / "cases"
    first, second = keep(folder, 1), keep(folder, 2)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert "case 1" in refused("case_exists", lambda: keep(folder, 1))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    third = keep(folder, 1, overwrite=True)
    assert cases_in(folder) == [second.folder, third.folder] and third.number == 3
    assert not first.folder.exists() and read_case(second.folder)


@pytest.fixture
def hold(monkeypatch):
    """As on Windows while a virus scanner reads what was just written: the folders of a case are renamed only after so
    many attempts."""
    needed, made = {}, Counter()

    def held(rename):
        def of(before, after):
            made[Path(before)] += 1
            if made[Path(before)] <= needed.get(Path(before).name, 0):
                raise PermissionError(errno.EACCES, "Access is denied", str(before))
            rename(before, after)

        return of

    monkeypatch.setattr(files_module, "_ATTEMPTS", 3)
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, held(getattr(os, name)))
    return needed.__setitem__


def test_a_case_that_is_held_for_a_moment_is_kept_and_replaced_all_the_same(tmp_path, hold, own_list):
    folder = tmp_path / "cases"
    for name in (".case-001", ".case-002", "case-001"):
        hold(name, 2)
    keep(folder, 1)
    second = keep(folder, 1, overwrite=True)
    assert cases_in(folder) == [second.folder] and read_case(second.folder).number == 2
    assert [row["case"] for row in rows(own_list)] == ["case-001", "case-002"]


def test_a_case_that_stays_held_is_said_to_be_in_use_and_is_kept_the_next_time(tmp_path, hold):
    folder = tmp_path / "cases"
    first = keep(folder, 1)
    hold(".case-002", 3)
    said = refused("in_use", lambda: keep(folder, 2))
    assert "another program" in said and "try again" in said
    assert cases_in(folder) == [first.folder]
    assert keep(folder, 2).number == 3


def test_an_old_case_that_stays_held_is_said_to_be_open(tmp_path, hold):
    folder = tmp_path / "cases"
    first = keep(folder, 1)
    hold("case-001", 3)
    said = refused("not_removed", lambda: keep(folder, 1, overwrite=True))
    assert "kept as case 2" in said and "open in another program" in said and str(first.folder) in said
    assert [read_case(case).number for case in cases_in(folder)] == [1, 2]


def test_what_is_no_correction_of_this_mri_is_refused_and_leaves_nothing(tmp_path):
    folder = tmp_path / "cases"
    image, original, labels = hips()
    moved = sitk.Image(labels)
    moved.SetOrigin([place + 5 for place in labels.GetOrigin()])
    assert "apart" in refused("wrong_geometry", lambda: keep_case(folder, image, moved, MADE_BY, original, (), "a"))
    assert "model's result" in refused(
        "wrong_geometry", lambda: keep_case(folder, image, labels, MADE_BY, moved, (), "a")
    )
    refused("bad_labels", lambda: keep_case(folder, image, labels * 2, MADE_BY, original, (), "a"))
    refused("no_bone", lambda: keep_case(folder, image, labels * 0, MADE_BY, original, (), "a"))
    refused("constant", lambda: keep_case(folder, image * 0, labels, MADE_BY, original, (), "a"))
    assert not folder.exists()


def test_the_list_never_lies_among_the_cases(tmp_path, own_list):
    assert "choose another" in refused("list_inside", lambda: keep(own_list.parent, 1))
    assert "choose another" in refused("list_inside", lambda: keep(tmp_path, 1))


def test_where_the_list_cannot_be_read_no_case_is_kept(tmp_path, own_list):
    keep(tmp_path / "cases", 1)
    own_list.unlink()
    own_list.mkdir()
    assert "mend it" in refused("unreadable", lambda: keep(tmp_path / "cases", 2))
    assert [path.name for path in (tmp_path / "cases").iterdir()] == ["case-001"]


KEEPING = """
import sys
sys.path.insert(0, {testing!r})
from pathlib import Path
from corrected import MADE_BY, hips
from HipICMSCLib.cases.keep import keep_case
image, original, labels = hips()
print("ready", flush=True)
for number in range({first}, {last}):
    keep_case(Path({folder!r}), image + number, labels, MADE_BY, original, {{"RightFemur"}}, f"mri {{number}}")
print("done", flush=True)
"""


def child(folder: Path, first: int, last: int) -> subprocess.Popen:
    code = KEEPING.format(testing=str(Path(__file__).parents[2]), folder=str(folder), first=first, last=last)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_at_once_never_take_the_same_number(tmp_path, own_list):
    folder = tmp_path / "cases"
    children = [child(folder, first, first + 6) for first in (0, 100)]
    assert [process.stdout.readline() for process in children] == ["done\n"] * 2
    assert [process.wait() for process in children] == [0, 0]
    cases = [read_case(path) for path in cases_in(folder)]
    assert [case.number for case in cases] == list(range(1, 13))
    assert len({case.image.read_bytes() for case in cases}) == 12, "no MRI is lost"
    listed = {row["case"]: int(row["source"].removeprefix("mri ")) for row in rows(own_list)}
    base = sitk.GetArrayFromImage(hips()[0]).astype(int)
    for case in cases:
        shift = np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(case.image))) - base)
        assert shift.tolist() == [listed[case.folder.name]], "the list tells whose case it is"


@pytest.mark.skipif(os.name == "nt", reason="a signal that ends a process at once")
def test_killed_at_any_moment_it_leaves_cases_that_are_whole(tmp_path):
    folder = tmp_path / "cases"
    first = case_in(folder)
    before = {path: path.read_bytes() for path in first.folder.iterdir()}
    seen = 1
    rng = np.random.default_rng(0)
    for attempt in range(6):
        process = child(folder, 1000 * (attempt + 1), 1000 * (attempt + 2))
        time.sleep(rng.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        cases = [read_case(path) for path in cases_in(folder)]
        assert len(cases) >= seen
        seen = len(cases)
    assert {path: path.read_bytes() for path in first.folder.iterdir()} == before
    assert keep(folder, 1).number > max(case.number for case in cases), "and the next one is kept"
    assert source_list().read_text().endswith("\n")


def test_what_a_killed_process_left_is_deleted_a_day_later_and_its_number_stays_taken(tmp_path):
    folder = tmp_path / "cases"
    keep(folder, 1)
    left = folder / ".case-007"
    left.mkdir()
    (left / "mri.nii.gz").write_bytes(b"half")
    keep(folder, 2)
    assert (left / "mri.nii.gz").exists(), "it may still be written"
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(left, (long_ago, long_ago))
    assert keep(folder, 3).number == 9
    assert not list(left.iterdir())
