"""The folder is an extension: it configures, builds, tests and packages with CMake, against stand-ins for the macros
of Slicer, and its entry for the extension index is one."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from test_cmake_lists import MODULES, REPOSITORY, cmake_lists, repository_files

STAND_IN = Path(__file__).parent / "slicer_cmake"
SCRIPTED = "lib/Slicer-5.13/qt-scripted-modules"


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Path:
    if not all(map(shutil.which, ("cmake", "ctest", "cpack", "c++", "make"))):
        pytest.skip("CMake, a compiler or make is missing")
    folder = tmp_path_factory.mktemp("build")
    run("cmake", REPOSITORY, f"-DSlicer_DIR={STAND_IN}", "-DBUILD_TESTING=ON", cwd=folder)
    run("cmake", "--build", ".", cwd=folder)
    return folder


def test_its_tests_are_found_and_pass(build):
    printed = run("ctest", "--output-on-failure", cwd=build)
    for module in MODULES:
        assert f"py_{module} " in printed and f"qSlicer{module}ModuleGenericTest" in printed
    assert "100% tests passed, 0 tests failed out of 4" in printed


def test_the_package_holds_what_the_repository_holds_in_slicers_one_folder(build):
    run("cpack", cwd=build)
    with tarfile.open(build / "HipICMSC.tar.gz") as package:
        packaged = {member.name.removeprefix("./") for member in package.getmembers() if member.isfile()}
    expected = {
        f"{SCRIPTED}/{name}"
        for module in MODULES
        for name in repository_files(module)
        if name not in ("CMakeLists.txt", "Resources/Models/__init__.py")
    }
    assert packaged == expected


def test_a_listed_file_that_is_missing_stops_the_configuration(build, tmp_path):
    """As in Slicer; so the test above would notice."""
    copy = tmp_path / "extension"
    shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns(".venv", ".git", "Testing", "demo-output"))
    gone = cmake_lists("HipICMSC")["MODULE_PYTHON_SCRIPTS"][3]
    (copy / "HipICMSC" / gone).unlink()
    command = ["cmake", str(copy), f"-DSlicer_DIR={STAND_IN}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode and f"lists {gone}, which is not there" in done.stderr.replace("\n", " ")


#: Of slicer-extension-catalog-entry-schema-v1.0.1.json: what an entry may hold, and of which type.
ENTRY = {
    "$schema": str, "category": str, "scm_url": str, "scm_revision": str, "scm_type": str, "build_dependencies": list,
    "build_subdirectory": str, "enabled": bool, "tier": int,
}  # fmt: skip


def test_the_index_entry_is_one():
    entry = json.loads((REPOSITORY / "HipICMSC.json").read_text(encoding="utf-8"))
    assert {"$schema", "category", "scm_url"} <= set(entry) <= set(ENTRY)
    assert all(type(value) is ENTRY[name] for name, value in entry.items())
    assert entry["$schema"].endswith("/slicer-extension-catalog-entry-schema-v1.0.1.json#")
    assert all(isinstance(name, str) for name in entry["build_dependencies"])
    assert entry["tier"] in (1, 3, 5) and entry.get("scm_type", "git") in ("git", "local")
