"""Files appear whole or not at all, and a failure says what to do."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_writable, replacing, storage_error, write_text
from HipICMSCLib.common.images import write_image
from HipICMSCLib.reading.volume import read_volume


@contextlib.contextmanager
def refused(kind: str):
    """The block must fail with a HipError of this kind and one sentence."""
    with pytest.raises(HipError) as raised:
        yield
    assert raised.value.kind == kind
    assert raised.value.sentence.endswith(".")
    assert "\n" not in raised.value.sentence


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replacing(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
        assert beside.parent == path.parent
        assert beside.suffix == path.suffix
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(type(error)), replacing(path) as beside:
        beside.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_text_is_utf8(tmp_path):
    write_text(tmp_path / "a.txt", "Hüfte 90 × 40")
    assert (tmp_path / "a.txt").read_bytes() == "Hüfte 90 × 40".encode()


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "nowhere" / "a.txt"
    with refused("no_folder"):
        write_text(path, "x")
    with refused("no_folder"):
        check_writable(path)
    assert not path.parent.exists()


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    path = tmp_path / "file" / "a.txt"
    with refused("no_folder"):
        write_text(path, "x")
    with refused("no_folder"):
        check_writable(path)


def test_the_check_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "a.txt")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [("ENOSPC", "disk_full"), ("EDQUOT", "disk_full"), ("EROFS", "read_only"), ("EACCES", "read_only"),
     ("ENOENT", "no_folder"), ("EIO", "not_written")],
)  # fmt: skip
def test_each_cause_has_its_sentence(tmp_path, number, kind):
    import errno

    code = getattr(errno, number)
    error = storage_error(OSError(code, os.strerror(code)), tmp_path / "a.txt")
    assert error.kind == kind
    assert str(tmp_path) in error.sentence
    assert error.sentence.endswith(".")


def test_where_only_the_file_may_not_be_replaced_the_folder_is_not_blamed(tmp_path):
    """As a table that Excel has open, or another user's file where each may remove only their own."""
    import errno

    there = tmp_path / "a.csv"
    there.write_text("mine")
    error = storage_error(PermissionError(errno.EACCES, "Permission denied"), there)
    assert error.kind == "in_use" and str(there) in error.sentence and "close it" in error.sentence
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"] and there.read_text() == "mine"


_FILL = """
import os, sys
from pathlib import Path
import numpy as np, SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import replacing
from HipICMSCLib.common.images import write_image
folder = Path(sys.argv[1])
image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 5, (60, 100, 100)).astype(np.uint8))
for ending in (".nii.gz", ".nii", ".nrrd", ".mha", ".bin"):
    try:
        if ending == ".bin":
            with replacing(folder / ("a" + ending)) as beside:
                beside.write_bytes(bytes(500_000))
        else:
            write_image(image, folder / ("a" + ending))
        kind = "written"
    except HipError as error:
        kind = error.kind
    print(ending, kind, len(os.listdir(folder)))
"""


@pytest.mark.parametrize("limit", [10_000, 100_000])
def test_no_cut_off_file_remains_where_space_runs_out(tmp_path, limit):
    """A limit on the size of files stands for the full disk: the same writes fail, at the same places."""
    child = subprocess.run(
        [sys.executable, "-c", _FILL, str(tmp_path)],
        capture_output=True, text=True, check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    lines = [line.split() for line in child.stdout.splitlines()]
    assert [line[0] for line in lines] == [".nii.gz", ".nii", ".nrrd", ".mha", ".bin"]
    kinds = {line[1] for line in lines}
    # Where a few kilobytes still fit, the library's failure has no cause that could be found out.
    assert kinds == {"disk_full"} if limit == 10_000 else kinds <= {"disk_full", "not_written"}
    assert {line[2] for line in lines} == {"0"}


@pytest.mark.parametrize(
    "name", ["out.nii.nii.gz", "out.hdr.nii.gz", "out.img.nii.gz", "out.nii.gz.nii.gz", "out.NII.GZ", "out.Nii.Gz",
             "out.hdr.nii", "OUT.MHA", "out.nii.nrrd"],
)  # fmt: skip
def test_an_image_is_written_under_any_legal_name(tmp_path, name):
    """The library looks for endings in the middle of a name, and knows one spelling of them."""
    voxels = np.random.default_rng(0).integers(0, 1000, (20, 30, 40)).astype(np.int16)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((2.0, 2.0, 2.5))
    write_image(image, tmp_path / name)
    assert os.listdir(tmp_path) == [name]
    assert (sitk.GetArrayFromImage(read_volume(tmp_path / name)) == voxels).all()
