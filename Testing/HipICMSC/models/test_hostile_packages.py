"""Model packages from strangers: each is refused in one sentence or does what it should, and none runs code, writes
anywhere or takes more memory than a model may. `Testing/benchmarks/hostile_files.py` tries many more."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models.archive import LONGEST_NAME, read_archive, read_details, write_archive
from HipICMSCLib.models.chosen import add_model, user_models
from HipICMSCLib.models.package import read_package, write_package
from HipICMSCTrainingLib.cli import main
from malformed.model_packages import RECIPES, Hostile, PackageMaker, Trap, try_package, watched, write_good_package
from packages import manifest, threshold_network


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return write_good_package(tmp_path_factory.mktemp("good") / "good.hipmodel")


@pytest.fixture(scope="module")
def weights(good) -> dict:
    return read_package(good).weights


@pytest.mark.parametrize("kind", RECIPES)
def test_what_comes_of_a_hostile_package(good, weights, tmp_path, kind):
    hostile = PackageMaker(good, tmp_path).make(kind, np.random.default_rng(zlib.crc32(kind.encode())))
    outcome = try_package(hostile, weights)
    assert outcome.fits(hostile.expected), outcome


def test_what_is_tried_would_be_noticed_if_it_worked(good, weights, tmp_path):
    """The judge itself: a trap that is sprung, a file written elsewhere, and a sound package called hostile."""
    with watched(tmp_path) as done:
        pickle.loads(pickle.dumps(Trap(tmp_path / "was run")))
        (tmp_path / "allowed").write_text("")
    assert (tmp_path / "was run").is_dir() and len(done) == 1 and done[0].startswith("pickle.find_class")
    with watched(tmp_path / "was run") as done:
        (tmp_path / "elsewhere").write_text("")
    assert done == [f"writing {(tmp_path / 'elsewhere').resolve()}"]
    sound = Hostile("sound", good, "refused", good.parent / "was run")
    assert not try_package(sound, weights).fits("refused")


#: Reads packages within 1.5 GiB of addresses more than Python with its libraries takes.
_WITHIN_BOUNDS = """
import resource, sys
from pathlib import Path
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models.archive import read_details
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 3 * 2**29,) * 2)
for path in map(Path, sys.argv[1:]):
    try:
        read_details(path)
    except HipError as error:
        print(error.kind)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory of a process is bounded so on Linux alone")
def test_bombs_are_refused_within_the_memory_that_a_model_may_take(good, tmp_path):
    maker = PackageMaker(good, tmp_path)
    bombs = [kind for kind in RECIPES if kind.startswith(("bomb:", "zip: zip64", "zip: list of"))]
    paths = [maker.make(kind, np.random.default_rng(0)).path for kind in bombs]
    child = subprocess.run(
        [sys.executable, "-c", _WITHIN_BOUNDS, *paths], capture_output=True, text=True, timeout=60, check=False
    )
    assert child.returncode == 0, child.stderr
    refused = child.stdout.split()
    assert len(refused) == len(bombs) and set(refused) <= {"damaged_model", "not_a_package"}


def test_the_card_and_the_name_command_no_terminal(good, tmp_path, capsys):
    for kind in ("card: commands to a terminal", "name: commands to a terminal", "name: half a character"):
        path = PackageMaker(good, tmp_path / kind[:4] / kind[-3:]).make(kind, np.random.default_rng(0)).path
        assert main(["model", "show", str(path)]) == 0
        shown = capsys.readouterr().out
        assert all(character.isprintable() or character in "\n\ufffd" for character in shown)
        assert read_details(path).sha256 in shown


def test_what_could_not_be_read_again_is_not_written(good, tmp_path):
    archive = read_archive(good)
    with pytest.raises(HipError) as caught:
        write_archive(tmp_path / "a.hipmodel", archive.manifest, archive.weights, "x" * (2**18 + 1))
    assert caught.value.kind == "too_large"
    networks = {"F_t": threshold_network().state_dict()}
    for name in ("x" * (LONGEST_NAME + 1), "a\nb"):
        with pytest.raises(HipError) as caught:
            write_package(tmp_path / f"{name}.hipmodel", manifest(), networks, "")
        assert caught.value.kind == "unknown_format"
    assert list(tmp_path.iterdir()) == []


def test_files_in_the_folder_of_models_that_are_none_are_not_listed(good, tmp_path, monkeypatch):
    monkeypatch.setenv("HIPICMSC_HOME", str(tmp_path))
    kept = add_model(good)
    for name in (b"a\xff.hipmodel", b"two\nlines.hipmodel", b".hidden.hipmodel"):
        Path(os.fsdecode(os.fsencode(kept.parent) + b"/" + name)).write_bytes(b"")
    os.mkfifo(kept.parent / "pipe.hipmodel")
    assert user_models() == [kept]
