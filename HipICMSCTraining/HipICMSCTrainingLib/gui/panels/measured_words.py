"""What was measured on labelled MRIs, and an old and a new model side by side: a line for each bone, as HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any

from slicer.i18n import tr as _


def measured_as_html(title: str, measured: Mapping[str, Any]) -> str:
    """A line for each MRI and bone, and for the mean of each bone.

    Args:
        title: what was measured.
        measured: as `hipicmsc measure --progress` prints it.
    """
    bones = {"hip_bone": _("hip bone"), "femur": _("proximal femur")}
    lines = [title, _("Dice (1 is perfect) and mean distance of the surfaces, results as they are:")]
    for volume in measured["volumes"]:
        for bone, scores in volume["scores"]["raw"].items():
            lines.append(f"{volume['name']}, {bones[bone]}: {_numbers(scores['dice'], scores['asd_mm'])}")
    for bone, summary in measured["summary"]["raw"].items():
        mean = _numbers(summary["dice"]["mean"], summary["asd_mm"]["mean"])
        lines.append(_("Mean, {bone}: {numbers}").format(bone=bones[bone], numbers=mean))
    lines += [f"{name}: {sentence}" for name, sentence in measured["failed"].items()]
    return _paragraphs(lines)


def compared_as_html(compared: Mapping[str, Any], red: str) -> str:
    """What is worse first and in red, then the other bones, then what is to be known beside them.

    Args:
        compared: as `hipicmsc compare --progress` prints it.
        red: as CSS has it.
    """
    bones = compared["bones"]
    worse = [_("Worse: {line}").format(line=_compared_bone(bone)) for bone in bones if bone["is_worse"]]
    others = [_compared_bone(bone) for bone in bones if not bone["is_worse"]]
    meaning = _("{old} → {new}. A Dice of 1 is perfect; the distance is the mean one of the surfaces.").format(
        old=compared["old"], new=compared["new"]
    )
    return _paragraphs(worse, f"color: {red}") + _paragraphs([*others, meaning, *compared["notes"]])


def _compared_bone(bone: Mapping[str, Any]) -> str:
    old, new, own = bone["old"], bone["new"], "*" if bone["old_drew_it"] else ""
    return _("{case}, {bone}: Dice {dice}, distance {distance} mm.").format(
        case=bone["case"],
        bone=bone["bone"],
        dice=f"{_number(old['dice'], 3)}{own} → {_number(new['dice'], 3)}",
        distance=f"{_number(old['asd_mm'], 2)} → {_number(new['asd_mm'], 2)}",
    )


def _paragraphs(lines: Iterable[str], style: str = "") -> str:
    return "".join(f'<p style="margin: 0 0 2px 0; {style}">{html.escape(line)}</p>' for line in lines)


def _numbers(dice: float | None, distance_mm: float | None) -> str:
    return ", ".join([_number(dice, 3), "–" if distance_mm is None else f"{distance_mm:.2f} mm"])


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
