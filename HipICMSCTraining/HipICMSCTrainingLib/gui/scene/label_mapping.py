"""Which segments mean hip bone and which femur: a suggestion by their names, and the user's last decision."""

from __future__ import annotations

import json
from collections.abc import Iterable

from HipICMSCTrainingLib.data.bone_names import class_of_name
from HipICMSCTrainingLib.data.label_maps import CLASSES

#: The class of what belongs to no bone of the hip.
LEFT_OUT = ""
#: Segment name, or label value in words, to "acetabulum", "femur" or `LEFT_OUT`.
Mapping = dict[str, str]

ACETABULUM, FEMUR = CLASSES.values()
_SETTING = "HipICMSCTraining/LastLabelMapping"
#: SNOMED CT, as DICOM's and other lists of Slicer use them.
_CODES = {"71341001": FEMUR, "29836001": ACETABULUM}


def suggested_class(name: str, terminology: str = "") -> str:
    """The class that a segment's name means, or else its terminology entry; `LEFT_OUT` where neither says so."""
    return _of_words(name) or _of_terminology(terminology)


def suggested_mapping(parts: Iterable) -> Mapping:
    """For each part of label nodes (`scene_export.LabelPart`) by name: what the user decided last, or else a guess."""
    parts, remembered = list(parts), remembered_mapping()
    mapping = {part.name: suggested_class(part.name, part.terminology) for part in parts}
    # The values that a label map has where nothing else is said.
    if set(mapping) == {str(value) for value in CLASSES}:
        mapping = {str(value): name for value, name in CLASSES.items()}
    return mapping | {name: remembered[name] for name in mapping if name in remembered}


def remembered_mapping() -> Mapping:
    """All that was decided so far, in this and in former sessions."""
    import qt

    try:
        kept = json.loads(qt.QSettings().value(_SETTING, "") or "{}")
    except (TypeError, ValueError, RecursionError):
        return {}
    if not isinstance(kept, dict):
        return {}
    return {name: meaning for name, meaning in kept.items() if meaning in (*CLASSES.values(), LEFT_OUT)}


def remember_mapping(mapping: Mapping) -> None:
    """Keep decisions for the next time; those about other names stay."""
    import qt

    qt.QSettings().setValue(_SETTING, json.dumps(remembered_mapping() | mapping))


def _of_words(text: str) -> str:
    return CLASSES.get(class_of_name(text), LEFT_OUT)


def _of_terminology(terminology: str) -> str:
    """Of Slicer's serialised entry the part after the category is the type: scheme^code^meaning."""
    fields = terminology.split("~")
    if len(fields) < 3:
        return LEFT_OUT
    code, _, meaning = fields[2].partition("^")[2].partition("^")
    return _CODES.get(code) or _of_words(meaning)
