"""What a Python interpreter has of all that segmenting needs, found out without loading any of it.

``python -m HipICMSCLib.worker.environment`` prints it as one line of JSON. That works in any interpreter that finds
this library, also in one that is too old to segment, so this file needs nothing but the standard library. With
``--load`` each package is also imported, in a process of its own, which takes some seconds.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import from_json, to_json

OLDEST_PYTHON = (3, 10)
#: torch has a line of its own because not pip installs it into Slicer, but the PyTorch extension.
TORCH_VERSIONS = ">=2.5"

#: Name for pip: name of its module.
_MODULES = {
    "torch": "torch",
    "numpy": "numpy",
    "SimpleITK": "SimpleITK",
    "scipy": "scipy",
    "scikit-image": "skimage",
    "safetensors": "safetensors",
    "nibabel": "nibabel",
    "pynrrd": "nrrd",
    "pydicom": "pydicom",
    "highdicom": "highdicom",
}
#: Slicer comes with these. Nothing of ours may replace them, and its own builds need no record of an installation.
_PART_OF_SLICER = ("numpy", "SimpleITK", "scipy")
#: A driver that does not answer hangs for minutes, and so may an import.
_NVIDIA_SMI_SECONDS, _IMPORT_SECONDS = 5.0, 60.0


@dataclass(frozen=True)
class Package:
    """One without a version or without a module is a half installation, one without both is not installed.

    Attributes:
        name: as pip knows it.
        version: in the record that its installer left; None without a record.
        has_module: whether there is something to import.
        can_load: whether it was imported, or that was not tried.
    """

    name: str
    version: str | None
    has_module: bool
    can_load: bool = True


@dataclass(frozen=True)
class Environment:
    """What an interpreter has.

    Attributes:
        python: version of the interpreter.
        system, machine: the operating system with its version, the kind of processor.
        packages: of all that segmenting needs.
        torch_build: what torch was built for: "cpu", "cu128", "rocm6.4"; None without torch.
        nvidia_driver: its version; None if no driver answers.
        gpus: names of NVIDIA graphics cards.
    """

    python: str
    system: str
    machine: str
    packages: tuple[Package, ...]
    torch_build: str | None
    nvidia_driver: str | None
    gpus: tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    """Something about an environment that the user should know.

    Attributes:
        kind: ``missing``, ``broken``, ``too_old``, ``python_too_old`` or ``cpu_torch``.
        subject: name of the package as pip knows it, or "Python".
        sentence: what is wrong, for a clinician.
        can_install: whether an installation into Slicer's Python helps.
        requirement: what pip would be asked for, e.g. "torch>=2.5"; empty if that does not help.
    """

    kind: str
    subject: str
    sentence: str
    can_install: bool
    requirement: str = ""

    @property
    def blocking(self) -> bool:
        """Whether nothing can be segmented until it is solved."""
        return self.kind != "cpu_torch"


def read_environment(load: bool = False) -> Environment:
    """Of this interpreter; takes some seconds where an NVIDIA driver is slow to answer.

    Args:
        load: also try to import each package.
    """
    # Something may have been installed since this process started.
    importlib.invalidate_caches()
    driver, gpus = _nvidia()
    return Environment(
        python=platform.python_version(),
        system=platform.platform(),
        machine=platform.machine(),
        packages=tuple(_package(name, load) for name in _MODULES),
        torch_build=_torch_build(),
        nvidia_driver=driver,
        gpus=gpus,
    )


def environment_of(printed: str) -> Environment:
    """What ``python -m HipICMSCLib.worker.environment`` printed.

    Raises:
        HipError: ``not_an_interpreter`` if something else printed it.
    """
    try:
        return from_json(Environment, json.loads(printed))
    except (HipError, ValueError, TypeError) as error:
        raise HipError(
            "not_an_interpreter",
            "This is no Python interpreter; choose the program python of a Python 3.10 or newer.",
            f"{error}: {printed[:500]!r}",
        ) from error


def problems(environment: Environment, requirements_text: str) -> tuple[Problem, ...]:
    """What is wrong, the worst first.

    Args:
        requirements_text: lines ``name>=version`` of what must be there besides torch; ``#`` begins a comment.
    """
    # Comes with Slicer and with scikit-image.
    from packaging.requirements import Requirement

    found = []
    oldest = ".".join(map(str, OLDEST_PYTHON))
    if tuple(int(number) for number in environment.python.split(".")[:2]) < OLDEST_PYTHON:
        sentence = f"Python {environment.python} is too old; choose an interpreter of Python {oldest} or newer."
        found.append(Problem("python_too_old", "Python", sentence, can_install=False))
    lines = (line.partition("#")[0].strip() for line in requirements_text.splitlines())
    required = {"torch": Requirement(f"torch{TORCH_VERSIONS}")}
    required |= {requirement.name: requirement for requirement in map(Requirement, filter(None, lines))}
    for package in environment.packages:
        problem = _problem_of(package, required.get(package.name, Requirement(package.name)))
        if problem is not None:
            found.append(problem)
    if environment.torch_build == "cpu" and environment.nvidia_driver and "torch" not in {p.subject for p in found}:
        sentence = (
            f"PyTorch computes on the processor only, although this computer has {', '.join(environment.gpus)}; "
            "segmenting works, but takes longer than it need."
        )
        found.append(Problem("cpu_torch", "torch", sentence, True, str(required["torch"])))
    return tuple(found)


def in_words(environment: Environment, found: tuple[Problem, ...]) -> list[str]:
    """What is wrong, one line each, and a line of what is fine; a line begins with stop, caution or fine."""
    lines = [f"{'Stop' if problem.blocking else 'Caution'}: {problem.sentence}" for problem in found]
    subjects = {problem.subject for problem in found}
    fine = [] if "Python" in subjects else [f"Python {environment.python}"]
    fine += [
        f"{title_of(package.name)} {package.version or 'of Slicer'}"
        for package in environment.packages
        if package.name not in subjects
    ]
    if environment.nvidia_driver:
        fine.append(f"{', '.join(environment.gpus)} with driver {environment.nvidia_driver}")
    return [*lines, f"Fine: {', '.join(fine)}."] if fine else lines


def title_of(package: str) -> str:
    """A package as its users call it."""
    return {"torch": "PyTorch"}.get(package, package)


def _problem_of(package: Package, requirement) -> Problem | None:
    title = title_of(package.name)
    part_of_slicer = package.name in _PART_OF_SLICER
    if not package.has_module and package.version is None:
        kind, sentence = "missing", f"{title} is not installed."
    elif not package.has_module:
        kind, sentence = "broken", f"{title} is installed only in part: its files are gone; it must be installed again."
    elif package.version is None:
        if part_of_slicer:
            return None
        kind = "broken"
        sentence = f"{title} is installed only in part: the record of its version is gone; it must be installed again."
    elif not package.can_load and part_of_slicer:
        kind = "broken"
        sentence = (
            f"{title} cannot be loaded; it is a part of Slicer, so install Slicer again, or choose another Python."
        )
    elif not package.can_load:
        kind, sentence = "broken", f"{title} is installed, but cannot be loaded; it must be installed again."
    elif not _is_version(package.version):
        kind = "broken"
        sentence = (
            f"{title} is installed only in part: its version, {package.version}, is none; it must be installed again."
        )
    elif requirement.specifier and not requirement.specifier.contains(package.version, prereleases=True):
        kind = "too_old"
        sentence = f"{title} {package.version} is too old; HipICMSC needs version {requirement.specifier}."
    else:
        return None
    return Problem(kind, package.name, sentence, not part_of_slicer, str(requirement))


def _is_version(text: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _package(name: str, load: bool) -> Package:
    try:
        # An empty record has no version.
        version = importlib.metadata.version(name) or None
    except importlib.metadata.PackageNotFoundError:
        version = None
    has_module = _folder_of(_MODULES[name]) is not None
    return Package(name, version, has_module, not (load and has_module) or _can_load(_MODULES[name]))


def _can_load(module: str) -> bool:
    """Whether it can be imported, which may also take the process down or never end."""
    hidden = {"creationflags": subprocess.CREATE_NO_WINDOW} if os.name == "nt" else {}
    command = [sys.executable, "-c", f"import {module}"]
    silent = subprocess.DEVNULL
    try:
        done = subprocess.run(
            command, stdin=silent, stdout=silent, stderr=silent, timeout=_IMPORT_SECONDS, check=False, **hidden
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _folder_of(module: str) -> Path | None:
    """Where a package's files are; a folder that an uninstallation left behind has no ``__init__.py``.

    The disk is asked, not what this process loaded: that may have been uninstalled since.
    """
    spec = PathFinder.find_spec(module)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _torch_build() -> str | None:
    """Read as text, for loading torch takes seconds and hundreds of megabytes."""
    folder = _folder_of("torch")
    if folder is None or not (folder / "version.py").is_file():
        return None
    text = (folder / "version.py").read_text(encoding="utf-8")
    for variable, build in (("cuda", "cu"), ("hip", "rocm"), ("xpu", "xpu")):
        found = re.search(rf"^{variable}\b[^=\n]*=\s*['\"]([\d.]+)", text, re.MULTILINE)
        if found:
            return build + (found[1].replace(".", "") if variable == "cuda" else found[1])
    return "cpu"


def _nvidia() -> tuple[str | None, tuple[str, ...]]:
    """Version of the driver and names of the cards."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None, ()
    command = [program, "--query-gpu=driver_version,name", "--format=csv,noheader"]
    hidden = {"creationflags": subprocess.CREATE_NO_WINDOW} if os.name == "nt" else {}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_NVIDIA_SMI_SECONDS, **hidden)
    except (OSError, subprocess.TimeoutExpired):
        return None, ()
    # A driver without a card, or one that was updated without a restart, says so instead of a version.
    rows = re.findall(r"^([\d.]+), (.+)$", done.stdout, re.MULTILINE)
    return (rows[0][0], tuple(name for _, name in rows)) if rows else (None, ())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(to_json(read_environment(load="--load" in sys.argv[1:]))) + "\n")
