"""What Slicer and its worker process say to each other: one JSON object a line, its ``say`` naming the message.

Requests go to the worker's stdin, events come from its stdout. A worker does one request at a time; the last event of
a request is either `Finished` or `Failed`. Unasked a worker says no more than `Ready` and `Alive`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import from_json, to_json
from HipICMSCLib.measures.skeleton import MovedPoints

Point = tuple[float, float, float]

#: So much of a line that is no message is shown.
_SHOWN_CHARACTERS = 500


@dataclass(frozen=True)
class SegmentRequest:
    """Segment one volume; the report is that of report.py with ``doubtful_places`` (see review.py) added.

    Attributes:
        image: file of the volume, in patient coordinates.
        output: file to write, see segmentation_file.
        model: file of the package.
        cancel_flag: the request is cancelled as soon as this file exists.
        confidence: where the map of confidence in percent goes; empty for none.
        heads: centres of one or both femoral heads where the user marked them, LPS mm.
        insist: the user says that it is an MRI, whatever it looks like.
        series: which volume of a DICOM folder, as `reading.dicom` has it; None where there is one.
    """

    image: str
    output: str
    model: str
    cancel_flag: str
    confidence: str = ""
    device: str = "auto"
    heads: tuple[Point, ...] = ()
    insist: bool = False
    series: str | None = None


@dataclass(frozen=True)
class PreflightRequest:
    """Say whether a volume can be segmented and how long that takes; the report holds ``findings`` (preflight.py).

    Attributes:
        heads: as in `SegmentRequest`.
    """

    image: str
    model: str
    device: str = "auto"
    heads: tuple[Point, ...] = ()


@dataclass(frozen=True)
class SeriesRequest:
    """Say which volumes a DICOM folder holds; the report holds ``series``, each as a `Series`."""

    folder: str


@dataclass(frozen=True)
class Series:
    """A volume in a DICOM folder.

    Attributes:
        key: what it is chosen by.
        words: its number, description, images and size, for a person.
    """

    key: str
    words: str
    is_localizer: bool


@dataclass(frozen=True)
class ExportRequest:
    """Write a result as a DICOM segmentation of the files it was made of; the report is empty.

    Attributes:
        labels: file of the label image on the voxels of these files; the DICOM files are copied beside it.
        images: the DICOM files of the MRI.
        output: the .dcm file to write.
        provenance: as of `provenance.provenance`.
    """

    labels: str
    images: tuple[str, ...]
    output: str
    provenance: dict[str, str]


@dataclass(frozen=True)
class KeepCaseRequest:
    """Keep a corrected result as a case that a training learns from; the report is a `KeptCase`.

    Attributes:
        image: file of the MRI, in patient coordinates.
        labels: file of the bones as they are now, on any voxels.
        cases: the folder of the cases.
        source: what the user calls the MRI.
        provenance: as of `provenance.provenance`.
        as_made: what the model drew, by ``segment_id``; see `anatomy.as_made`.
        completed: ``segment_id`` of what the user said is right.
        overwrite: whether the case of the same MRI may be replaced.
    """

    image: str
    labels: str
    cases: str
    source: str
    provenance: dict[str, str]
    as_made: dict[str, str]
    completed: tuple[str, ...]
    overwrite: bool = False


@dataclass(frozen=True)
class KeptCase:
    """A case that was written.

    Attributes:
        words: what was done to each bone.
        remarks: sentences about what keeps it from teaching more.
        source_list: the file that says whose it is.
    """

    number: int
    folder: str
    words: str
    remarks: tuple[str, ...]
    source_list: str


@dataclass(frozen=True)
class SelfTestRequest:
    """Compute something small with a model; the report says on what and how fast."""

    model: str
    device: str = "auto"


@dataclass(frozen=True)
class MeasureRequest:
    """Measure the hips of a label image; the report is that of measuring.py.

    Attributes:
        labels: file of the label image, in patient coordinates.
        name: what its user calls it.
        cancel_flag: as in `SegmentRequest`.
        moved: what the user has moved by hand, by side.
        landmarks: of the pelvis's frame by name, LPS mm, where the user has moved some; else none.
        page: where the report of one page goes; empty for none.
    """

    labels: str
    name: str
    cancel_flag: str
    moved: dict[str, MovedPoints] = field(default_factory=dict)
    landmarks: dict[str, Point] = field(default_factory=dict)
    page: str = ""


Request = (
    SegmentRequest
    | PreflightRequest
    | SeriesRequest
    | ExportRequest
    | KeepCaseRequest
    | SelfTestRequest
    | MeasureRequest
)


@dataclass(frozen=True)
class Ready:
    """The worker has loaded its libraries."""

    version: str


@dataclass(frozen=True)
class Alive:
    """The worker computes, although it has nothing to tell."""


@dataclass(frozen=True)
class Progress:
    """``share`` of the whole request is done, 0 to 1."""

    stage: str
    share: float

    def __post_init__(self) -> None:
        if not -1e-6 <= self.share <= 1 + 1e-6:  # sums of shares are rounded
            raise ValueError(f"{self.share} is no share")


@dataclass(frozen=True)
class Warned:
    """Something about the result that the user should know."""

    kind: str
    sentence: str


@dataclass(frozen=True)
class Finished:
    """The request is done, its files are written."""

    report: dict


@dataclass(frozen=True)
class Failed:
    """The request came to nothing; as a `HipError`."""

    kind: str
    sentence: str
    detail: str = ""


Event = Ready | Alive | Progress | Warned | Finished | Failed

_MESSAGES = {
    "segment": SegmentRequest,
    "preflight": PreflightRequest,
    "series": SeriesRequest,
    "export": ExportRequest,
    "keep-case": KeepCaseRequest,
    "self-test": SelfTestRequest,
    "measure": MeasureRequest,
    "ready": Ready,
    "alive": Alive,
    "progress": Progress,
    "warning": Warned,
    "result": Finished,
    "error": Failed,
}


def encode(message: Request | Event) -> str:
    """A message as one line, with its end."""
    name = next(name for name, kind in _MESSAGES.items() if type(message) is kind)
    return json.dumps({"say": name} | to_json(message)) + "\n"


def decode(line: str) -> Request | Event:
    """The message of one line.

    Raises:
        HipError: ``bad_message``.
    """
    try:
        values = json.loads(line)
        return from_json(_MESSAGES[values.pop("say")], values)
    except (HipError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise HipError(
            "bad_message",
            "Slicer and the segmentation process do not understand each other; try again, and restart Slicer if that "
            "does not help.",
            f"{error}: {line[:_SHOWN_CHARACTERS]!r}",
        ) from error
