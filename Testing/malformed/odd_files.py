"""What lies under the name of a volume and is none, or has a name that no volume has."""

from __future__ import annotations

import os
from pathlib import Path

from malformed.case import Case, Maker
from malformed.making import Random, one_of, placed
from malformed.volumes import meta, nifti, nrrd, packed

_ANY = {"mri.nii": nifti, "mri.nii.gz": lambda: packed(nifti()), "mri.nrrd": nrrd, "mri.mha": meta}


def _linked(folder: Path, rng: Random) -> Case:
    """The voxels are a link to a file of the system."""
    (folder / "mri.raw").symlink_to(one_of(rng, "/etc/passwd", "/dev/zero", "mri.raw", "/proc/self/exe"))
    return one_of(
        rng,
        lambda: placed(folder, "mri.nhdr", nrrd(b"", data_file="mri.raw")),
        lambda: placed(folder, "mri.mhd", meta(b"", ElementDataFile="mri.raw")),
    )()


def _wrong_ending(folder: Path, rng: Random) -> Case:
    """Bytes of one format under the name of another."""
    name, other = (list(_ANY)[place] for place in rng.choice(4, 2, replace=False))
    # A packed file is told by its bytes, whatever its name.
    return placed(folder, name, _ANY[other](), "either" if {name, other} == {"mri.nii", "mri.nii.gz"} else "refuse")


def _unknown_ending(folder: Path, rng: Random) -> Case:
    name = one_of(rng, "mri", "mri.txt", "mri.img", "mri.exe", "mri.nii.gz.part", "mri.vtk", "mri.tif", "mri.zip")
    return placed(folder, name, _ANY[one_of(rng, *_ANY)]())


def _other_contents(folder: Path, rng: Random) -> Case:
    data = one_of(rng, b"", b"\n", b"\x1f\x8b", b"\x1f\x8b\x08\0", b"PK\x03\x04", b"%PDF-1.4", b"\x93NUMPY",
                  rng.bytes(5000), b"\0" * 1000, "ﬁ".encode("utf-16"))  # fmt: skip
    return placed(folder, one_of(rng, *_ANY, "mri.nhdr", "mri.mhd", "mri.dcm"), data)


def _no_file(folder: Path, rng: Random) -> Case:
    """Something that is no file, under the name of one."""
    path = folder / one_of(rng, *_ANY, "mri.nhdr", "mri.mhd")
    one_of(
        rng,
        path.mkdir,
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to("/dev/null"),
        lambda: path.symlink_to(path.name),
        lambda: path.symlink_to("gone.nii"),
        lambda: path.symlink_to("/tmp"),
        lambda: path.symlink_to("/proc/self/mem"),
        lambda: None,
    )()
    return Case(path)


def _linked_volume(folder: Path, rng: Random) -> Case:
    (folder / "elsewhere.nrrd").write_bytes(nrrd())
    (folder / "mri.nrrd").symlink_to("elsewhere.nrrd")
    return Case(folder / "mri.nrrd", "read")


def _odd_name(folder: Path, rng: Random) -> Case:
    """Names that systems allow."""
    stem = one_of(rng, "Hüfte", "股関節", "a b", "-o", "'; rm -rf x", "a\nb", "a\x1b[31mb", "x" * 200, "..x", "%s%n",
                  "a\u202egpj", "\udcff\udcfe", "~", "$(x)", "\U0001f9b4")  # fmt: skip
    name = one_of(rng, *_ANY)
    # What is no text cannot be handed to the libraries that read volumes.
    return placed(folder, stem + name[3:], _ANY[name](), "refuse" if "\udcff" in stem else "read")


def _no_name(folder: Path, rng: Random) -> Case:
    return Case(folder / one_of(rng, "a\0b.nii", "x" * 5000 + ".nii", "\ud800.nii", "x/../y/z.nii", "mri.nii/mri.nii"))


MAKERS: dict[str, Maker] = {
    "voxels linked to elsewhere": _linked,
    "wrong ending": _wrong_ending,
    "unknown ending": _unknown_ending,
    "other contents": _other_contents,
    "no file": _no_file,
    "link to a volume": _linked_volume,
    "odd name": _odd_name,
    "impossible name": _no_name,
}
