"""The four segments of a result: the single source of their values, names, colours and terminology."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from HipICMSCLib.common.errors import HipError

HIP_BONE = 1
"""Class value of the hip bone in what the network gives."""
FEMUR = 2
"""Class value of the proximal femur in what the network gives."""
SIDES = ("right", "left")
"""Of the patient."""
TAG_PREFIX = "HipICMSC."
"""So begin the names of our tags of segments and of our attributes of nodes."""


@dataclass(frozen=True)
class Code:
    """A coded concept, as DICOM and Slicer write it."""

    value: str
    meaning: str
    scheme: str = "SCT"

    def __str__(self) -> str:
        return f"{self.scheme}^{self.value}^{self.meaning}"


ANATOMICAL_STRUCTURE = Code("123037004", "Anatomical Structure")
# DICOM's part of SNOMED CT lists no whole hip bone; "Hip" (a region) is what other extensions use for it, too.
HIP = Code("29836001", "Hip")
FEMUR_STRUCTURE = Code("71341001", "Femur")
RIGHT = Code("24028007", "Right")
LEFT = Code("7771000", "Left")


@dataclass(frozen=True)
class Segment:
    """One segment of a result.

    Attributes:
        value: voxel value in label maps, 1 to 4.
        segment_id: identifier inside a segmentation; never changes, also when names are translated.
        name: what the user reads in a list of segments.
        short_name: what the user reads inside a sentence.
        bone: class value, `HIP_BONE` or `FEMUR`.
        side: the patient's side, ``"right"`` or ``"left"``.
        color: red, green and blue, 0 to 1.
        kind: coded type of the structure.
        laterality: coded side.
    """

    value: int
    segment_id: str
    name: str
    short_name: str
    bone: int
    side: str
    color: tuple[float, float, float]
    kind: Code
    laterality: Code

    @property
    def terminology(self) -> str:
        """Slicer's serialised terminology entry: category, type and type modifier; no anatomic region."""
        return "~".join(
            (
                "Segmentation category and type - DICOM master list",
                str(ANATOMICAL_STRUCTURE),
                str(self.kind),
                str(self.laterality),
                "Anatomic codes - DICOM master list",
                "^^",
                "^^",
            )
        )


def _color(red: int, green: int, blue: int) -> tuple[float, float, float]:
    return red / 255, green / 255, blue / 255


# Warm is right and cool is left, light is the hip bone and dark the femur: both contrasts (yellow against blue, light
# against dark) survive every kind of colour blindness.
SEGMENTS = (
    Segment(
        1, "RightHipBone", "Right hip bone (acetabulum)", "right hip bone",
        HIP_BONE, "right", _color(241, 214, 145), HIP, RIGHT,
    ),
    Segment(
        2, "LeftHipBone", "Left hip bone (acetabulum)", "left hip bone",
        HIP_BONE, "left", _color(152, 202, 235), HIP, LEFT,
    ),
    Segment(
        3, "RightFemur", "Right proximal femur", "right proximal femur",
        FEMUR, "right", _color(205, 110, 40), FEMUR_STRUCTURE, RIGHT,
    ),
    Segment(
        4, "LeftFemur", "Left proximal femur", "left proximal femur",
        FEMUR, "left", _color(36, 104, 172), FEMUR_STRUCTURE, LEFT,
    ),
)  # fmt: skip


def segment_of(bone: int, side: str) -> Segment:
    """Return the segment of a class value (`HIP_BONE` or `FEMUR`) on the patient's ``"right"`` or ``"left"``."""
    return next(segment for segment in SEGMENTS if segment.bone == bone and segment.side == side)


COLOR_TABLE_COLUMNS = (
    "LabelValue,Name,Color_R,Color_G,Color_B,Color_A,"
    "Category_CodingScheme,Category_CodeValue,Category_CodeMeaning,"
    "Type_CodingScheme,Type_CodeValue,Type_CodeMeaning,"
    "TypeModifier_CodingScheme,TypeModifier_CodeValue,TypeModifier_CodeMeaning"
)


def color_table() -> str:
    """Return Slicer's colour table (CSV, Slicer 5.8 and newer) of the segments.

    ``Resources/HipICMSC-ColorTable.csv`` is this text; a test keeps them equal.
    """
    rows = [COLOR_TABLE_COLUMNS]
    for segment in SEGMENTS:
        codes = (ANATOMICAL_STRUCTURE, segment.kind, segment.laterality)
        rows.append(
            ",".join(
                (
                    str(segment.value),
                    segment.name,
                    *(str(round(255 * channel)) for channel in segment.color),
                    "255",
                    *(field for code in codes for field in (code.scheme, code.value, code.meaning)),
                )
            )
        )
    return "\n".join(rows) + "\n"


def check_values(voxels: np.ndarray, name: str, remedy: str = "give them these") -> None:
    """Refuse a label map whose values are not those of :data:`SEGMENTS` and 0, such as an image.

    Raises:
        HipError: ``bad_labels``.
    """
    if not np.isin(np.unique(voxels), (0, *(segment.value for segment in SEGMENTS))).all():
        values = ", ".join(f"{segment.value} {segment.short_name}" for segment in SEGMENTS)
        raise HipError("bad_labels", f"{name} has other values than {values}; {remedy}.")
