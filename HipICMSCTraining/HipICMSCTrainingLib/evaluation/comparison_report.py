"""A comparison of two models in words, for a terminal and as a page (HTML, pictures inside, nothing loaded from
elsewhere)."""

from __future__ import annotations

import base64
import html
import io
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from HipICMSCLib.common.files import write_text
from HipICMSCLib.common.version import VERSION
from HipICMSCLib.results.research_use import RESEARCH_USE
from PIL import Image

from HipICMSCTrainingLib.evaluation.compare import FEW_CASES, GOOD_DICE, ComparedBone, Comparison
from HipICMSCTrainingLib.evaluation.table import heading, markdown_table, number_text

_STYLE = """
body { font: 13px/1.4 system-ui, sans-serif; margin: 24px auto; max-width: 1180px; color: #1b1f23; }
h1 { font-size: 20px; margin: 0 0 4px; } h2 { font-size: 15px; margin: 18px 0 6px; }
table { border-collapse: collapse; } td, th { padding: 2px 10px; text-align: right; }
td:first-child, th:first-child, td:nth-child(2), th:nth-child(2) { text-align: left; }
th { border-bottom: 1px solid #8c959f; font-weight: 600; } .worse { color: #b42318; font-weight: 600; }
.note { color: #57606a; font-size: 12px; } .row { display: flex; flex-wrap: wrap; gap: 14px; }
figure { margin: 0; } figcaption { font-size: 12px; color: #57606a; }
"""
_METRICS = ("dice", "asd_mm")
_OWN = "*"


def verdict(comparison: Comparison) -> str:
    """In one sentence: on how much, how the means are, and that the new model is worse somewhere, if it is."""
    old, new = (100 * mean for mean in comparison.means())
    cases = f"{comparison.cases} corrected MRI{'' if comparison.cases == 1 else 's'}"
    if comparison.leave_one_out:
        by_new = f"with models trained as {comparison.new}, each without the MRI that it is measured on (leave-one-out)"
        sentence = f"On {cases}, mean Dice is {old:.1f} % with {comparison.old} and {new:.1f} % {by_new}."
    else:
        sentence = (
            f"On {cases} that no training has seen, mean Dice is {old:.1f} % with {comparison.old} and {new:.1f} % "
            f"with {comparison.new}."
        )
    if comparison.worse:
        named = ", ".join(f"{bone.bone} of {bone.case}" for bone in comparison.worse)
        sentence += f" The new model is worse where the old one was good: {named}."
    return sentence


def notes(comparison: Comparison) -> Iterator[str]:
    """What is to be known beside the numbers, in sentences."""
    if comparison.leave_one_out:
        yield f"{comparison.new} itself learned from all of these MRIs; what it does on others is estimated here."
    elif comparison.cases < FEW_CASES:
        yield (
            "One MRI says little of others. Leave-one-out (`hipicmsc leave-one-out RUN`) measures on those that "
            "taught; it takes a training for each."
        )
    if any(bone.old_drew_it for bone in comparison.bones):
        yield (
            f"{_OWN} The label is what {comparison.old} drew and a person left unchanged, so its Dice there is 100 % "
            "whatever the bone is like; this favours the old model."
        )
    yield f"Only bones that were marked as completed are measured. Good is a Dice of {100 * GOOD_DICE:.0f} % or more."
    if comparison.trained_on:
        yield f"Left out, because a model was trained on them: {', '.join(comparison.trained_on)}."
    for name, sentence in comparison.failed.items():
        yield f"Not compared: {name}. {sentence}"


def comparison_text(comparison: Comparison) -> str:
    """For a terminal."""
    rows = [_header(comparison), *(_row(bone) for bone in comparison.bones)]
    marked = [[*row, "worse" if bone.is_worse else ""] for row, bone in zip(rows[1:], comparison.bones, strict=True)]
    lines = "\n".join(f"- {note}" for note in notes(comparison))
    return f"{verdict(comparison)}\n\n{markdown_table([[*rows[0], ''], *marked])}\n\n{lines}"


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write the page so that it appears whole.

    Raises:
        HipError: as `HipICMSCLib.common.files.write_text`.
    """
    write_text(path, _page(comparison) + "\n")


def _page(comparison: Comparison) -> str:
    worse = ' class="worse"' if comparison.worse else ""
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in _header(comparison))
    rows = [f"<tr>{cells}</tr>"]
    for bone in comparison.bones:
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in _row(bone))
        rows.append(f"<tr{' class=worse' if bone.is_worse else ''}>{cells}</tr>")
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8"><title>Old and new model</title>',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{html.escape(comparison.old)} and {html.escape(comparison.new)} on corrected MRIs</h1>",
            f"<p><strong>{html.escape(RESEARCH_USE)}</strong></p>",
            f"<p{worse}>{html.escape(verdict(comparison))}</p>",
            f"<table>{''.join(rows)}</table>",
            *(f'<p class="note">{html.escape(note)}</p>' for note in notes(comparison)),
            "<h2>The largest changes</h2>" if comparison.pictures else "",
            *(
                f"<p>{html.escape(picture.words)}</p><div class='row'>"
                + "".join(
                    f'<figure><img alt="{name}" src="data:image/png;base64,{_png(pixels)}">'
                    f"<figcaption>{html.escape(name)}</figcaption></figure>"
                    for name, pixels in (
                        ("as corrected", picture.corrected),
                        (comparison.old, picture.old),
                        (comparison.new, picture.new),
                    )
                )
                + "</div>"
                for picture in comparison.pictures
            ),
            f'<p class="note">HipICMSC {html.escape(VERSION)}, {time.strftime("%Y-%m-%d")}.</p></body></html>',
        )
    )


def _header(comparison: Comparison) -> list[str]:
    return ["case", "bone", *(f"{heading(metric)}, {name}" for metric in _METRICS for name in _names(comparison))]


def _names(comparison: Comparison) -> tuple[str, str]:
    if comparison.old == comparison.new:
        return "old", "new"
    return comparison.old, comparison.new


def _row(bone: ComparedBone) -> list[str]:
    cells = [bone.case, bone.bone]
    for metric in _METRICS:
        old, new = (number_text(getattr(scores, metric), metric) for scores in (bone.old, bone.new))
        cells += [old + (_OWN if bone.old_drew_it and metric == "dice" else ""), new]
    return cells


def _png(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()
