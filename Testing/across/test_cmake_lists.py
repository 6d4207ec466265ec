"""What CMake files and pyproject.toml list is what the repository holds: what is not listed would not be packaged."""

from __future__ import annotations

import json
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = ("HipICMSC", "HipICMSCTraining")


def repository_files(module: str) -> set[str]:
    """Files of a module's folder that git tracks or would track, relative to it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."]
    listing = subprocess.run(command, cwd=REPOSITORY / module, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("this is no git repository")
    return {name for name in listing.stdout.splitlines() if (REPOSITORY / module / name).exists()}


def cmake_lists(module: str) -> dict[str, list[str]]:
    """Every set(NAME …) and file(GLOB NAME …) of a module's CMakeLists.txt."""
    text = re.sub("#.*", "", (REPOSITORY / module / "CMakeLists.txt").read_text(encoding="utf-8"))
    text = text.replace("${MODULE_NAME}", module)
    found = re.findall(r"(?:set\(|file\(GLOB )(\w+)([^)]*)\)", text)
    return {name: words.split() for name, words in found}


@pytest.mark.parametrize("module", MODULES)
def test_every_python_file_is_listed_once(module):
    listed = cmake_lists(module)["MODULE_PYTHON_SCRIPTS"]
    present = {name for name in repository_files(module) if name.endswith(".py") and not name.startswith("Resources/")}
    assert sorted(listed) == sorted(present)


@pytest.mark.parametrize("module", MODULES)
def test_every_resource_is_listed_once(module):
    lists = cmake_lists(module)
    patterns = [word for word in lists.get("MODULE_MODELS", []) if word.startswith("Resources/")]
    present = {
        name
        for name in repository_files(module)
        # This one is for the Python package alone.
        if name.startswith("Resources/") and name != "Resources/Models/__init__.py"
    }
    by_pattern = {name for name in present if any(fnmatch(name, pattern) for pattern in patterns)}
    assert sorted(lists["MODULE_PYTHON_RESOURCES"]) == sorted(present - by_pattern)


def test_a_wheel_carries_every_package():
    """And the models that ship, under a name that no room has on systems where Models and models are one folder."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.findall('"(.*)"', re.search(r"^packages = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)[1])
    present = {
        Path(name).parent.as_posix().replace("/", ".")
        for module in MODULES
        for name in repository_files(module)
        if name.endswith("/__init__.py") and not name.startswith("Resources/")
    }
    assert sorted(listed) == sorted(present | {"HipICMSCLib.shipped_models"})
    assert len({name.lower() for name in listed}) == len(listed)


def test_nothing_collides_with_other_extensions():
    """Slicer installs the modules of all extensions into one folder, ours with a name of its own."""
    for module in MODULES:
        lists = cmake_lists(module)
        for name in lists["MODULE_PYTHON_SCRIPTS"] + lists["MODULE_PYTHON_RESOURCES"]:
            path = Path(name)
            assert path.parts[0] in (f"{module}.py", f"{module}Lib") or path.name.startswith("HipICMSC")


def test_the_index_entry_says_what_the_project_says():
    entry = json.loads((REPOSITORY / "HipICMSC.json").read_text(encoding="utf-8"))
    project = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    assert entry["category"] == "Segmentation"
    assert re.search(r'set\(EXTENSION_DEPENDS "(.*)"\)', project)[1].split() == entry["build_dependencies"]
    assert re.search(r'set\(EXTENSION_HOMEPAGE "(.*)"\)', project)[1] == entry["scm_url"].removesuffix(".git")
    assert [*MODULES] == re.findall(r"add_subdirectory\((\w+)\)", project)
