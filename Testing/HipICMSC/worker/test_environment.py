"""What an interpreter has, told by that interpreter: real Python processes on folders whose content is known."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import fake_site
import pytest
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.worker import environment as environment_module
from HipICMSCLib.worker.environment import (
    TORCH_VERSIONS,
    Environment,
    Package,
    environment_of,
    in_words,
    problems,
    read_environment,
)

REPOSITORY = Path(__file__).resolve().parents[3]
REQUIREMENTS = (REPOSITORY / "HipICMSC" / "Resources" / "HipICMSC-requirements.txt").read_text(encoding="utf-8")


@pytest.fixture
def site(tmp_path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def read(site: Path, programs: str = "", *arguments: str) -> Environment:
    """As Slicer asks another interpreter; it has the packages of ``site`` and the programs of a folder."""
    library = Path(environment_module.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-S", "-m", "HipICMSCLib.worker.environment", *arguments],
        env={"PYTHONPATH": f"{library}:{site}", "PATH": programs},
        capture_output=True,
        text=True,
        check=True,
    )
    return environment_of(done.stdout)


def found_in(site: Path, programs: str = "") -> dict[str, tuple[str, bool]]:
    """Kind and whether it can be installed, by subject."""
    return {
        problem.subject: (problem.kind, problem.can_install) for problem in problems(read(site, programs), REQUIREMENTS)
    }


def test_a_bare_python_lacks_everything_and_says_so(site):
    environment = read(site)
    assert environment.python == ".".join(map(str, sys.version_info[:3]))
    assert (environment.torch_build, environment.nvidia_driver, environment.gpus) == (None, None, ())
    assert found_in(site) == {
        "torch": ("missing", True),
        "scikit-image": ("missing", True),
        "safetensors": ("missing", True),
        "nibabel": ("missing", True),
        "pynrrd": ("missing", True),
        "pydicom": ("missing", True),
        "highdicom": ("missing", True),
        # What Slicer comes with is not ours to install.
        "numpy": ("missing", False),
        "SimpleITK": ("missing", False),
        "scipy": ("missing", False),
    }


def test_a_whole_installation_has_no_problem_and_nothing_of_it_is_imported(site):
    fake_site.add_everything(site)
    environment = read(site)
    assert environment.packages[0] == Package("torch", "2.6.0", True)
    assert environment.torch_build == "cu124"
    assert problems(environment, REQUIREMENTS) == ()
    (line,) = in_words(environment, ())
    assert line.startswith("Fine: Python 3.") and "PyTorch 2.6.0, numpy 2.0.0, SimpleITK 2.5.0" in line


@pytest.mark.parametrize(
    ("version", "cuda", "hip", "build"),
    [
        ("2.6.0+cpu", None, None, "cpu"),
        ("2.6.0", None, None, "cpu"),
        ("2.7.1+cu128", "12.8", None, "cu128"),
        ("2.6.0a0+ecf3bae40a.nv25.1", "12.8", None, "cu128"),
        ("2.8.0+rocm6.4", None, "6.4.43482", "rocm6.4.43482"),
    ],
)
def test_what_torch_was_built_for(site, version, cuda, hip, build):
    fake_site.add_torch(site, version, cuda, hip)
    environment = read(site)
    assert environment.torch_build == build
    assert "torch" not in {problem.subject for problem in problems(environment, REQUIREMENTS)}


@pytest.mark.parametrize(("package", "version"), [("torch", "2.4.1+cu121"), ("scikit-image", "0.21.0")])
def test_what_is_too_old_is_named_with_what_is_needed(site, package, version):
    fake_site.add_everything(site, besides=(package,))
    if package == "torch":
        fake_site.add_torch(site, version, "12.1")
    else:
        fake_site.add_package(site, package, version)
    (problem,) = problems(read(site), REQUIREMENTS)
    assert (problem.kind, problem.subject, problem.can_install, problem.blocking) == ("too_old", package, True, True)
    assert version in problem.sentence and problem.requirement.startswith(f"{package}>=")


@pytest.mark.parametrize("package", ["torch", "scikit-image"])
def test_a_half_installation_is_not_taken_for_a_whole_one(site, package):
    """A record without files, and files without a record: what an interrupted pip leaves."""
    fake_site.add_everything(site, besides=(package,))
    fake_site.add_record(site, package, "9.9")
    (problem,) = problems(read(site), REQUIREMENTS)
    assert (problem.kind, problem.subject, problem.can_install) == ("broken", package, True)
    assert "only in part" in problem.sentence and "files are gone" in problem.sentence
    next(site.glob("*-9.9.dist-info/METADATA")).unlink()
    fake_site.add_module(site, package)
    (problem,) = problems(read(site), REQUIREMENTS)
    assert (problem.kind, problem.subject) == ("broken", package) and "record" in problem.sentence


def test_a_folder_that_an_uninstallation_left_is_no_package(site):
    fake_site.add_everything(site, besides=("safetensors",))
    (site / "safetensors" / "__pycache__").mkdir(parents=True)
    assert found_in(site) == {"safetensors": ("missing", True)}


def test_what_slicer_built_itself_needs_no_record(site):
    fake_site.add_everything(site, besides=("SimpleITK",))
    fake_site.add_module(site, "SimpleITK")
    environment = read(site)
    assert problems(environment, REQUIREMENTS) == ()
    assert "SimpleITK of Slicer" in in_words(environment, ())[0]


def test_a_cpu_torch_beside_a_graphics_card_is_a_caution(site, tmp_path):
    fake_site.add_everything(site, besides=("torch",))
    fake_site.add_torch(site, "2.6.0+cpu")
    assert found_in(site) == {}
    fake_site.write_nvidia_smi(tmp_path / "bin")
    environment = read(site, str(tmp_path / "bin"))
    assert (environment.nvidia_driver, environment.gpus) == ("550.54.15", ("NVIDIA H100 80GB HBM3",))
    (problem,) = problems(environment, REQUIREMENTS)
    assert (problem.kind, problem.can_install, problem.blocking) == ("cpu_torch", True, False)
    assert "NVIDIA H100" in problem.sentence and "works" in problem.sentence


@pytest.mark.parametrize(
    "script",
    ["echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9", "exec sleep 60"],
)
def test_a_driver_that_does_not_work_is_none(site, tmp_path, script):
    fake_site.write_program(tmp_path / "bin" / "nvidia-smi", script)
    started = time.monotonic()
    environment = read(site, f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert (environment.nvidia_driver, environment.gpus) == (None, ())
    assert time.monotonic() - started < 15


def test_an_old_python_comes_first(site):
    fake_site.add_everything(site)
    found = problems(replace(read(site), python="3.9.18"), REQUIREMENTS)
    assert [(problem.kind, problem.can_install) for problem in found] == [("python_too_old", False)]
    assert "3.9.18" in found[0].sentence and "3.10" in found[0].sentence
    assert problems(replace(read(site), python="3.13.0rc1"), REQUIREMENTS) == ()


def test_this_interpreter_is_read_without_loading_torch():
    program = (
        "import sys; from HipICMSCLib.worker.environment import read_environment; read_environment()\n"
        "assert not {'torch', 'skimage', 'safetensors', 'numpy'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_interpreter_of_these_tests_is_fit():
    assert {p.kind for p in problems(read_environment(), REQUIREMENTS)} <= {"cpu_torch"}


@pytest.mark.parametrize("printed", ["", "Hello\n", "[]", "{}", '{"python": 3}'])
def test_what_is_no_python_is_refused(printed):
    with pytest.raises(HipError) as error:
        environment_of(printed)
    assert error.value.kind == "not_an_interpreter" and error.value.sentence.endswith(".")


def test_the_versions_are_those_of_the_project():
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    lines = [line for line in REQUIREMENTS.splitlines() if line and not line.startswith("#")]
    for requirement in (f"torch{TORCH_VERSIONS}", *lines):
        assert f'"{requirement}"' in project


def test_what_is_there_but_cannot_be_loaded_is_found_where_it_is_looked_for(site):
    """An import may fail, take its process down, or raise what is no error at all."""
    fake_site.add_everything(site)
    for package in fake_site.MODULES:
        fake_site.add_module(site, package, "pass")
    fake_site.add_module(site, "scikit-image", "raise ImportError('DLL load failed')")
    fake_site.add_module(site, "torch", "import os; os.kill(os.getpid(), 9)")
    fake_site.add_module(site, "scipy", "raise OSError('libgfortran.so')")
    assert problems(read(site), REQUIREMENTS) == (), "nothing is loaded unless it is asked for"
    found = {problem.subject: problem for problem in problems(read(site, "", "--load"), REQUIREMENTS)}
    assert {name: (problem.kind, problem.can_install) for name, problem in found.items()} == {
        "torch": ("broken", True),
        "scipy": ("broken", False),
        "scikit-image": ("broken", True),
    }
    assert found["torch"].sentence == "PyTorch is installed, but cannot be loaded; it must be installed again."
    assert "install Slicer again, or choose another Python" in found["scipy"].sentence


def test_a_version_that_is_none_is_not_called_old(site):
    fake_site.add_everything(site, besides=("safetensors",))
    fake_site.add_package(site, "safetensors", "unknown")
    (found,) = problems(read(site), REQUIREMENTS)
    assert (found.kind, found.can_install) == ("broken", True)
    assert "old" not in found.sentence and "must be installed again" in found.sentence
