"""What a package says of itself is read without any library of the network, and only from a sound file."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models import archive as model_archive
from HipICMSCLib.models.archive import read_archive, read_details, write_archive
from HipICMSCLib.models.chosen import shipped_models
from HipICMSCLib.models.package import read_package
from packages import write_threshold_package

LIBRARY = Path(model_archive.__file__).parents[2]

#: Slicer has none of the libraries that are blocked here.
_IN_SLICER = """
import sys
for name in ("torch", "skimage", "safetensors"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
import json
from HipICMSCLib.models.archive import read_details
from HipICMSCLib.models.chosen import available_models
print(json.dumps({path.stem: read_details(path).sha256 for path in available_models()}))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return write_threshold_package(
        tmp_path_factory.mktemp("package") / "file name.hipmodel", name="its name", citations=("One", "Two × 2"),
        training={"method": "icmsc", "ct_volumes": 5, "mr_volumes": 7},
    )  # fmt: skip


def with_manifest(path: Path, package: Path, drop: str = "", **changes: object) -> Path:
    """The package with another model.json, its checksums right."""
    archive = read_archive(package)
    values = {key: value for key, value in archive.manifest.items() if key != drop} | changes
    write_archive(path, values, archive.weights, archive.card)
    return path


def test_details_are_those_that_were_written(package):
    details = read_details(package)
    assert (details.name, details.file_name) == ("its name", "file name.hipmodel")
    assert (details.licence, details.intended_use, details.citations) == ("CC0", "Tests.", ("One", "Two × 2"))
    assert (details.method, details.ct_volumes, details.mr_volumes) == ("icmsc", 5, 7)
    assert details.card == "# A model for tests\n"
    assert details.sha256 == hashlib.sha256(package.read_bytes()).hexdigest()
    assert details.size_bytes == len(package.read_bytes())


def test_details_of_what_ships_are_those_that_the_engine_reads():
    assert len(shipped_models()) == 3
    for path in shipped_models():
        details, read = read_details(path), read_package(path)
        assert (details.sha256, details.card, details.name) == (read.sha256, read.card, read.manifest.name)
        assert details.citations == read.manifest.citations and details.citations
        assert details.licence == read.manifest.licence and "Research use only" in details.intended_use
        assert details.method == "icmsc" and details.ct_volumes > 0 and details.mr_volumes > 0


def test_slicers_own_process_reads_what_ships_without_torch(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", _IN_SLICER, str(LIBRARY)],
        env=os.environ | {"HIPICMSC_HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    hashes = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in shipped_models()}
    assert json.loads(child.stdout) == hashes and len(hashes) == 3


@pytest.mark.parametrize("missing", ["citations", "training", "modality"])
def test_what_a_package_need_not_say_may_be_missing(tmp_path, package, missing):
    details = read_details(with_manifest(tmp_path / "a.hipmodel", package, drop=missing))
    assert details.name == "its name"
    assert details.citations == (() if missing == "citations" else ("One", "Two × 2"))
    assert (details.method, details.ct_volumes) == (("", None) if missing == "training" else ("icmsc", 5))


def test_training_is_described_freely(tmp_path, package):
    details = read_details(with_manifest(tmp_path / "a.hipmodel", package, training={"method": [1], "mr_volumes": "7"}))
    assert (details.method, details.ct_volumes, details.mr_volumes) == ("", None, None)


@pytest.mark.parametrize("missing", ["name", "licence", "intended_use"])
def test_without_what_every_package_says_it_is_damaged(tmp_path, package, missing):
    assert refusal(with_manifest(tmp_path / "a.hipmodel", package, drop=missing)) == "damaged_model"


@pytest.mark.parametrize(
    "changes", [{"licence": 3}, {"citations": "one"}, {"citations": [1]}, {"training": None}], ids=str
)
def test_a_description_of_another_kind_is_refused(tmp_path, package, changes):
    assert refusal(with_manifest(tmp_path / "a.hipmodel", package, **changes)) == "damaged_model"


def refusal(path: Path) -> str:
    """The kind of the error that looking at the details ends with."""
    with pytest.raises(HipError) as raised:
        read_details(path)
    assert str(path) in raised.value.sentence and raised.value.sentence.endswith(".")
    return raised.value.kind


def test_what_is_no_sound_package_is_refused_with_the_same_kinds(tmp_path, package):
    path = tmp_path / "a.hipmodel"
    assert refusal(path) == "missing_file"
    assert refusal(tmp_path) == "missing_file"
    path.write_bytes(b"hello")
    assert refusal(path) == "not_a_package"
    path.write_bytes(package.read_bytes()[:-50])
    assert refusal(path) == "damaged_model"
    assert refusal(with_manifest(path, package, format=2)) == "newer_format"


def test_a_huge_file_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "a.hipmodel"
    with open(path, "wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(300 * 2**30)  # takes no room on the disk
    assert refusal(path) == "not_a_package"


def test_a_file_that_changed_is_read_anew(tmp_path, package):
    path = with_manifest(tmp_path / "a.hipmodel", package)
    assert read_details(path).name == "its name"
    with_manifest(path, package, name="another")
    assert read_details(path).name == "another"
    path.write_bytes(b"hello")
    assert refusal(path) == "not_a_package"
