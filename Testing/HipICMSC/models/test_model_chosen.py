"""The user's own models: they are kept whole, found by name, and never mixed up with those that ship."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models import chosen as model_files
from HipICMSCLib.models.archive import read_details
from HipICMSCLib.models.chosen import (
    DEFAULT_MODEL,
    add_model,
    available_models,
    find_model,
    personal_folder,
    remove_model,
    shipped_models,
    user_folder,
    user_models,
    user_models_folder,
)
from packages import write_threshold_package
from patience import PATIENCE

#: Several processes add at the same moment, when the file that they wait for appears.
_ADD = """
import sys, time
from pathlib import Path
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models.chosen import add_model
while not Path(sys.argv[2]).exists():
    time.sleep(0.001)
try:
    for _ in range(20):
        print(add_model(Path(sys.argv[1])))
except HipError as error:
    print(error.kind)
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A user who has nothing yet."""
    monkeypatch.setenv("HIPICMSC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """A folder with two packages: mine and other."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("mine", "other"):
        write_threshold_package(folder / f"{name}.hipmodel", name=name)
    return folder


@pytest.fixture
def mine(packages, tmp_path) -> Path:
    return Path(shutil.copy(packages / "mine.hipmodel", tmp_path))


def refusal(function, *arguments) -> HipError:
    with pytest.raises(HipError) as raised:
        function(*arguments)
    assert raised.value.sentence.endswith(".") and "\n" not in raised.value.sentence
    return raised.value


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "~/.local/share/HipICMSC"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/HipICMSC"),
        ("linux", {"XDG_DATA_HOME": "/data", "HIPICMSC_HOME": "~/shared"}, "~/shared"),
        ("darwin", {"XDG_DATA_HOME": "/data"}, "~/Library/Application Support/HipICMSC"),
        ("win32", {"APPDATA": "/Roaming"}, "/Roaming/HipICMSC"),
        ("win32", {}, "~/AppData/Roaming/HipICMSC"),
    ],
)
def test_the_users_folder_is_where_the_platform_keeps_such_things(monkeypatch, platform, variables, expected):
    for name in ("HIPICMSC_HOME", "XDG_DATA_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert user_folder() == Path(expected).expanduser()
    assert user_models_folder() == user_folder() / "models"
    monkeypatch.delenv("HIPICMSC_HOME", raising=False)
    own = user_folder()
    monkeypatch.setenv("HIPICMSC_HOME", "/shared")
    assert personal_folder() == own != user_folder(), "what nobody else may read is never shared"


def test_a_model_is_added_found_by_name_and_removed(mine, home):
    assert available_models() == shipped_models() and not home.exists()
    kept = add_model(mine)
    assert kept == home / "models" / "mine.hipmodel"
    assert kept.read_bytes() == mine.read_bytes()
    mine.unlink()
    assert find_model("mine") == kept and read_details(kept).name == "mine"
    assert available_models() == [*shipped_models(), kept]
    remove_model(kept)
    assert os.listdir(home / "models") == []
    error = refusal(find_model, "mine")
    assert error.kind == "unknown_model" and DEFAULT_MODEL in error.sentence
    assert refusal(remove_model, kept).kind == "missing_file"


def test_adding_the_same_file_again_gives_the_one_that_is_there(mine, home):
    kept = add_model(mine)
    before = kept.stat()
    assert add_model(mine) == add_model(kept) == kept
    assert kept.stat().st_mtime_ns == before.st_mtime_ns and os.listdir(home / "models") == ["mine.hipmodel"]
    assert add_model(find_model(DEFAULT_MODEL)) == find_model(DEFAULT_MODEL)
    assert user_models() == [kept]


@pytest.mark.parametrize("name", ["mine", "MINE"])
def test_another_file_of_the_same_name_replaces_nothing(mine, packages, tmp_path, name):
    kept = add_model(mine)
    (tmp_path / "from a colleague").mkdir()
    other = Path(shutil.copy(packages / "other.hipmodel", tmp_path / "from a colleague" / f"{name}.hipmodel"))
    error = refusal(add_model, other)
    assert error.kind == "same_name" and "Your models" in error.sentence and "rename" in error.sentence
    assert kept.read_bytes() == mine.read_bytes() and user_models() == [kept]


def test_the_name_of_a_model_that_ships_is_taken(mine, home):
    error = refusal(add_model, mine.rename(mine.with_name(f"{DEFAULT_MODEL}.hipmodel")))
    assert error.kind == "same_name" and "come with HipICMSC" in error.sentence and "rename" in error.sentence
    assert not home.exists()


def test_a_file_put_there_by_hand_never_stands_for_one_that_ships(mine, home):
    user_models_folder().mkdir(parents=True)
    shutil.copy(mine, user_models_folder() / f"{DEFAULT_MODEL}.hipmodel")
    assert find_model(DEFAULT_MODEL) in shipped_models()
    assert available_models() == shipped_models()


def test_what_is_no_model_is_not_kept(mine, tmp_path, home):
    folder = tmp_path / "folder.hipmodel"
    folder.mkdir()
    dangling = tmp_path / "dangling.hipmodel"
    dangling.symlink_to(tmp_path / "nowhere")
    pipe = tmp_path / "pipe.hipmodel"
    os.mkfifo(pipe)
    cut = tmp_path / "cut.hipmodel"
    cut.write_bytes(mine.read_bytes()[:-80])
    huge = tmp_path / "huge.hipmodel"
    with open(huge, "wb") as file:
        file.truncate(300 * 2**30)
    renamed, hidden = tmp_path / "mine.zip", tmp_path / ".mine.hipmodel"
    for path in (renamed, hidden):
        shutil.copy(mine, path)
    kinds = {
        folder: "missing_file", dangling: "missing_file", pipe: "missing_file",
        tmp_path / "gone.hipmodel": "missing_file",
        cut: "damaged_model", huge: "not_a_package", renamed: "unknown_format", hidden: "unknown_format",
    }  # fmt: skip
    for path, kind in kinds.items():
        error = refusal(add_model, path)
        assert error.kind == kind and path.name in error.sentence
    assert not home.exists()


def test_a_link_is_kept_as_the_file_that_it_leads_to(mine, tmp_path):
    link = tmp_path / "link.hipmodel"
    link.symlink_to(mine)
    kept = add_model(link)
    mine.unlink()
    assert kept.name == "link.hipmodel" and not kept.is_symlink() and read_details(kept).name == "mine"


def test_removing_a_link_leaves_the_file_that_it_leads_to(mine):
    user_models_folder().mkdir(parents=True)
    (user_models_folder() / "mine.hipmodel").symlink_to(mine)
    remove_model(find_model("mine"))
    assert mine.is_file() and user_models() == []


def test_only_files_that_are_whole_are_listed(mine):
    add_model(mine)
    for name in (".1a2b3c4d-new.hipmodel", "._mine.hipmodel", "notes.txt"):
        (user_models_folder() / name).write_bytes(b"x")
    (user_models_folder() / "folder.hipmodel").mkdir()
    assert [path.name for path in user_models()] == ["mine.hipmodel"]


def test_only_the_users_models_are_removed(mine, tmp_path):
    shipped = find_model(DEFAULT_MODEL)
    error = refusal(remove_model, shipped)
    assert error.kind == "not_removable" and DEFAULT_MODEL in error.sentence and shipped.is_file()
    error = refusal(remove_model, mine)
    assert error.kind == "not_removable" and str(user_models_folder()) in error.sentence and mine.is_file()
    add_model(mine)
    other = user_folder() / "run-times.json"
    other.write_text("{}")
    for path in (user_models_folder(), other, user_models_folder() / ".." / "run-times.json"):
        assert refusal(remove_model, path).kind == "not_removable"
    assert other.is_file() and len(user_models()) == 1


def test_a_folder_that_cannot_be_made_is_named(mine, home):
    home.write_text("a file in its place")
    error = refusal(add_model, mine)
    assert error.kind in ("no_folder", "not_written") and str(home) in error.sentence
    assert available_models() == shipped_models()


def test_several_slicers_add_at_the_same_moment(mine, packages, tmp_path, home):
    """Of two different files one stays, whole; nothing half-written is left."""
    (tmp_path / "b").mkdir()
    other = Path(shutil.copy(packages / "other.hipmodel", tmp_path / "b" / "mine.hipmodel"))
    start = tmp_path / "start"
    command = [sys.executable, "-c", _ADD]
    children = [
        subprocess.Popen([*command, path, start], stdout=subprocess.PIPE, text=True) for path in (mine, mine, other)
    ]
    start.touch()
    answers = [child.communicate(timeout=PATIENCE)[0].split("\n") for child in children]
    assert os.listdir(home / "models") == ["mine.hipmodel"]
    kept = home / "models" / "mine.hipmodel"
    assert kept.read_bytes() in (mine.read_bytes(), other.read_bytes())
    assert all(set(lines) <= {str(kept), "same_name", ""} for lines in answers), answers


def test_a_wheel_finds_what_ships_beside_the_library(packages, monkeypatch, tmp_path):
    monkeypatch.setattr(model_files, "_SHIPPED", (tmp_path / "no Resources here", packages))
    assert [path.stem for path in shipped_models()] == ["mine", "other"]
