"""Makes interpreters of a known content: Python without any package, and folders that look like installed ones."""

from __future__ import annotations

import sys
from pathlib import Path

PYTHON = sys.executable
MODULES = {
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

_NOT_TO_BE_LOADED = "raise SystemExit('A package was imported that was only to be looked at.')"


def add_record(site: Path, package: str, version: str) -> None:
    """What an installer writes down about a package."""
    folder = site / f"{package.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")


def add_module(site: Path, package: str, program: str = _NOT_TO_BE_LOADED) -> Path:
    """Files that would be imported; whoever does so fails, unless there is another program."""
    folder = site / MODULES[package]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").write_text(program + "\n")
    return folder


def add_package(site: Path, package: str, version: str) -> Path:
    add_record(site, package, version)
    return add_module(site, package)


def add_torch(site: Path, version: str, cuda: str | None = None, hip: str | None = None) -> None:
    text = f"from typing import Optional\n__version__ = '{version}'\ncuda: Optional[str] = {cuda!r}\nhip = {hip!r}\n"
    (add_package(site, "torch", version) / "version.py").write_text(text)


def add_everything(site: Path, besides: tuple[str, ...] = ()) -> None:
    versions = {
        "torch": "2.6.0",
        "numpy": "2.0.0",
        "SimpleITK": "2.5.0",
        "scipy": "1.14.0",
        "scikit-image": "0.24.0",
        "safetensors": "0.5.0",
        "nibabel": "5.3.0",
        "pynrrd": "1.1.1",
        "pydicom": "3.0.1",
        "highdicom": "0.27.0",
    }
    for package, version in versions.items():
        if package in besides:
            continue
        if package == "torch":
            add_torch(site, version, cuda="12.4")
        else:
            add_package(site, package, version)


def write_program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def write_interpreter(path: Path, site: Path) -> Path:
    """A Python that has the standard library and what lies in ``site``, and nothing else."""
    return write_program(path, f'PYTHONPATH="$PYTHONPATH:{site}" exec "{PYTHON}" -S "$@"')


def write_nvidia_smi(folder: Path, driver: str = "550.54.15", card: str = "NVIDIA H100 80GB HBM3") -> None:
    """A driver's program that answers as the real one does."""
    write_program(folder / "nvidia-smi", f"echo '{driver}, {card}'")
