"""DICOM by pydicom: which frames are one volume, which of several is meant, and where its voxels lie."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from scipy.spatial import KDTree

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.volume_names import dicom_files
from HipICMSCLib.preprocessing.geometry import LARGEST_DISAGREEMENT_MM
from HipICMSCLib.reading.dicom_files import TELLING_APART, Frame, frames_of, stored_values
from HipICMSCLib.reading.refusals import check_size, in_a_sentence, refused
from HipICMSCLib.reading.stored import Stored

#: Distances between slices may differ by this share (positions are rounded).
LARGEST_UNEVENNESS = 0.1
#: Directions may differ by this much from each other and from right angles (radians; some write two decimals).
LARGEST_TURN = 0.01
#: Slices so near each other lie at one place: scanners write those of one place a few thousandths apart.
SAME_PLACE_MM = 0.03
#: Fewer slices are a localizer, or what is left of a series.
LEAST_SLICES = 5
_NUMBERS = re.compile(r"[\d./]*")
_LOCALIZER = re.compile(r"\bloc\b|locali[sz]|scout|survey|topogram")


@dataclass(frozen=True)
class Volume:
    """Frames that may be a volume.

    Attributes:
        key: what it is chosen by: the number of its series, or the UID where that is not enough; where a series holds
            several volumes, the place among them follows: 4/2.
        damaged: why it cannot be read: a file of its series is damaged, or does not say where it lies.
        name: what the series is called, and what tells the volume from the others of its series.
    """

    key: str
    number: str
    uid: str
    name: str
    frames: tuple[Frame, ...]
    damaged: HipError | None

    @property
    def is_localizer(self) -> bool:
        words = f"{self.name} {self.frames[0].image_type}".lower()
        return len(self.frames) < LEAST_SLICES or bool(_LOCALIZER.search(words))

    @property
    def is_aside(self) -> bool:
        """Whether it is not meant where no volume is named: a localizer, or images none of which could be placed."""
        return self.is_localizer or not any(map(_lies, self.frames))

    @property
    def images(self) -> str:
        return f"{len(self.frames)} image{'s' * (len(self.frames) != 1)}"

    def __str__(self) -> str:
        columns, rows = self.frames[0].size
        return f"{self.key} '{self.name}' ({self.images} of {columns} × {rows})"


def read(path: Path, series: str | None = None) -> Stored:
    """A volume in a file or folder, with notes on how it was chosen.

    Raises:
        HipError: ``unreadable``, ``several_series``, ``unknown_series``, ``bad_geometry``, ``not_3d``, ``not_scalar``
            or ``too_large``.
    """
    volumes, _, damaged = volumes_in(path)
    volume, notes = _chosen(path, volumes, damaged, series)
    frames, to_lps = _in_order(path, volume)
    columns, rows = frames[0].size
    size = columns, rows, len(frames)
    check_size(path, size, 4)
    if damaged:
        notes.append(f"Damaged files of other series, left aside: {len(damaged)}.")
    empty = sum(not file.stat().st_size for file in path.rglob("[!.]*") if file.is_file())
    if empty:
        notes.append(f"Empty files among the images: {empty}; if they were slices, export the series again.")
    return Stored(path, size, to_lps, lambda: _voxels(path, frames), notes=notes)


def headers(path: Path, series: str | None = None) -> list[Dataset]:
    """All that the files of the volume say that :func:`read` reads, but for the voxels.

    Raises:
        HipError: as :func:`read`.
    """
    volumes, _, damaged = volumes_in(path)
    volume, _ = _chosen(path, volumes, damaged, series)
    return [dcmread(file, force=True, stop_before_pixels=True) for file in {frame.path: 0 for frame in volume.frames}]


def volumes_in(path: Path) -> tuple[list[Volume], list[Path], list[tuple[str, HipError]]]:
    """What a file or folder, and those below, hold that may be a volume, the files that are no slices, and of those
    that are damaged the series and why it cannot be read.

    Raises:
        HipError: ``unreadable``, ``bad_geometry``, ``not_scalar``, ``too_large`` or ``out_of_memory``.
    """
    # What pydicom's own check would say goes nowhere, and takes time.
    with in_a_sentence(path), disable_value_validation():
        frames, aside, damaged = frames_of(path, dicom_files(path) if path.is_dir() else [path])
    of_series: dict[str, list[Frame]] = {}
    for frame in frames:
        of_series.setdefault(frame.series[0], []).append(frame)
    named = Counter(members[0].series[1] for members in of_series.values())
    volumes = []
    for members in of_series.values():
        if all(frame.place is None for frame in members):  # curves and tables, which some save as MR
            aside += [frame.path for frame in members]
            continue
        uid, number, description = members[0].series
        name = description or "unnamed"
        # Of two studies, or where nobody numbered them, the UID alone tells.
        shown = number if number and named[number] == 1 else uid
        refusal = dict(damaged).get(uid)
        try:
            parts = [part for alike in _alike(path, members) for part in _told_apart(alike)]
        except HipError as error:  # concerns this series alone: others can be read
            parts, refusal = [(members, "")], error
        for place, (frames_of_part, what) in enumerate(parts, start=1):
            own = f"{shown}/{place}" if len(parts) > 1 else shown
            named_part = f"{name}, {what}" if what else name
            volumes.append(Volume(own, number, uid, named_part, tuple(frames_of_part), refusal))
    return sorted(volumes, key=lambda volume: (volume.is_aside, -len(volume.frames))), aside, damaged


def _alike(path: Path, frames: Iterable[Frame]) -> list[list[Frame]]:
    """Frames of one size, direction and distance of pixels; the largest group first."""
    groups: list[tuple[np.ndarray, list[Frame]]] = []
    for frame in frames:
        if not _lies(frame):
            raise HipError(
                "bad_geometry",
                f"The DICOM image {frame.path.name} in {path} does not say where it lies and how large its pixels are; "
                "export the series again.",
            )
        key = np.concatenate([frame.axes, frame.pixels, frame.size])
        members = next((of for other, of in groups if np.abs(other - key).max() <= LARGEST_TURN), None)
        if members is None:
            groups.append((key, [frame]))
        else:
            members.append(frame)
    return sorted((members for _, members in groups), key=len, reverse=True)


def _lies(frame: Frame) -> bool:
    """Whether it says where it lies and how large its pixels are."""
    axes, pixels = frame.axes, frame.pixels
    if axes is None or pixels is None or frame.place is None:
        return False
    return bool((pixels > 0).all()) and _at_right_angles(axes)


def _at_right_angles(axes: np.ndarray) -> bool:
    right, down = axes.reshape(2, 3)
    return bool(np.abs([right @ right - 1, down @ down - 1, right @ down]).max() <= 2 * LARGEST_TURN)


def _told_apart(frames: list[Frame]) -> list[tuple[list[Frame], str]]:
    """The volumes of frames of which several lie at one place, and what each has that the others have not.

    An element tells volumes apart, not slices, where it has no more values than frames lie at one place, and each of
    its volumes has fewer there; what an aborted scan lacks does not matter.
    """
    copies = _most_at_one_place(frames)
    if copies == 1:
        return [(frames, "")]
    for keyword, said in zip(TELLING_APART, zip(*(frame.said for frame in frames), strict=True), strict=True):
        parts: dict[str, list[Frame]] = {}
        for frame, value in zip(frames, said, strict=True):
            parts.setdefault(value, []).append(frame)
        if 1 < len(parts) <= copies and max(map(_most_at_one_place, parts.values())) < copies:
            return [
                (of_part, f"{keyword} {value}".strip() + (more and f", {more}"))
                for value, part in sorted(parts.items())
                for of_part, more in _told_apart(part)
            ]
    return [(frames, "")]


def _most_at_one_place(frames: list[Frame]) -> int:
    places = np.array([frame.place for frame in frames])
    return int(KDTree(places).query_ball_point(places, SAME_PLACE_MM, return_length=True).max())


def _chosen(
    path: Path, volumes: Sequence[Volume], damaged: Sequence[tuple[str, HipError]], series: str | None
) -> tuple[Volume, list[str]]:
    """The volume that is meant, or the only one that is no localizer."""
    if not volumes:
        raise refused(
            path,
            "it holds no DICOM series of CT or MR images that say where they lie",
            remedy="choose the folder that holds one, or export the series again",
        )
    if series is not None:
        wanted = series.strip().lower()
        exact = [v for v in volumes if wanted == v.key] or [
            v for v in volumes if wanted in (v.number, v.uid, v.name.lower())
        ]
        # A number that no series has must not be found in "t1 5 mm".
        meant = exact or [v for v in volumes if wanted in v.name.lower() and not _NUMBERS.fullmatch(wanted)]
        if not meant:
            for uid, refusal in damaged:
                if uid == wanted:
                    raise refusal
            raise HipError("unknown_series", f"{path} holds no series {series}; it holds {_listed(volumes)}.")
    else:
        meant = [volume for volume in volumes if not volume.is_aside] or list(volumes)
    if len(meant) > 1:
        raise HipError(
            "several_series",
            f"{path} holds {len(meant)} volumes: {_listed(meant)}. Choose one by its number, UID or description "
            "(--series), or put it into a folder of its own.",
        )
    if meant[0].damaged:
        raise meant[0].damaged
    others = [volume for volume in volumes if volume is not meant[0]]
    # Notes stay with the result: neither the folder's name nor a UID, which tell whose it is.
    names = [f"{v.number} '{v.name}' ({v.images})".strip() for v in (meant[0], *others)]
    notes = [f"The series {names[0]} was read; left aside: {'; '.join(names[1:21])}."] if others else []
    return meant[0], notes


def _listed(volumes: Sequence[Volume]) -> str:
    shown = [str(volume) for volume in volumes[:20]]
    return "; ".join([*shown, f"and {len(volumes) - 20} more"] if len(volumes) > 20 else shown)


def _in_order(path: Path, volume: Volume) -> tuple[list[Frame], np.ndarray]:
    """Slices that lie one behind the other, and the matrix from indices to LPS mm; others are refused."""
    if "MOSAIC" in volume.frames[0].image_type:
        raise HipError("not_3d", f"{path} is a mosaic, all slices in one picture; export it with an image a slice.")
    if len(volume.frames) == 1:
        raise HipError(
            "not_3d", f"{path} is one DICOM slice, no volume; choose the folder with all the images of its series."
        )
    right, down = np.mean([frame.axes for frame in volume.frames], axis=0).reshape(2, 3)
    normal = np.cross(right, down)
    frames = sorted(volume.frames, key=lambda frame: frame.place @ normal)
    places = np.array([frame.place for frame in frames])
    step = (places[-1] - places[0]) / (len(frames) - 1)
    spacing = float(np.linalg.norm(step))
    distances = np.linalg.norm(np.diff(places, axis=0), axis=1)
    middle = float(np.median(distances))
    if np.abs(distances - middle).max() > LARGEST_UNEVENNESS * middle:
        why = f"they lie {distances.min():.3g} to {distances.max():.3g} mm apart; one of them may be missing"
        if distances.min() < LARGEST_UNEVENNESS * middle or middle == 0:
            why = "several of them lie at one place, and nothing in them says what tells them apart"
        raise HipError(
            "bad_geometry",
            f"The slices of the DICOM series {volume} in {path} are not evenly spaced: {why}. Export it again.",
        )
    off = np.abs(places - places[0] - np.outer(np.arange(len(frames)), step)).max()
    turned = np.linalg.norm(np.cross(normal / np.linalg.norm(normal), step / spacing))
    if off > max(LARGEST_DISAGREEMENT_MM, LARGEST_UNEVENNESS * spacing) or turned > LARGEST_TURN:
        raise HipError(
            "bad_geometry",
            f"The slices of the DICOM series {volume} in {path} do not lie one behind the other (gantry tilt?); "
            "resample it or export it again.",
        )
    left, _, turn = np.linalg.svd(np.stack([right, down, step / spacing], axis=1))
    between_rows, between_columns = frames[0].pixels
    to_lps = np.eye(4)
    to_lps[:3, :3] = left @ turn * (between_columns, between_rows, spacing)
    to_lps[:3, 3] = places[0]
    return frames, to_lps


def _voxels(path: Path, frames: list[Frame]) -> np.ndarray:
    """(z, y, x), as they are stored, or scaled where a frame has a scale."""
    scales = [frame.scale for frame in frames]
    if None in scales:
        raise refused(path, "its values are scaled by what is no number, by 0, or by a table")
    scaled = any(scale != (1, 0) for scale in scales)
    slices = []
    try:
        for values, (slope, intercept) in zip(stored_values(frames), scales, strict=True):
            slices.append((values * slope + intercept).astype(np.float32) if scaled else values)
        return np.stack(slices)
    except Exception as error:  # pydicom raises many kinds for voxels that are damaged
        raise refused(
            path,
            "its voxels are damaged, or packed in a way that is not known here",
            str(error),
            "export it again unpacked",
        ) from error
