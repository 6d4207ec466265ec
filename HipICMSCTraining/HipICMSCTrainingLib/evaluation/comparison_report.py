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

from HipICMSCTrainingLib.evaluation.compare import FEW_CASES, GOOD_DICE, ComparedBone, Comparison, Picture
from HipICMSCTrainingLib.evaluation.table import heading, markdown_table, number_text

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 24px auto; padding: 0 16px; max-width: 1000px;
  color: #1b1f23; background: #ffffff; color-scheme: light; }
h1 { font-size: 20px; margin: 0 0 4px; } h2 { font-size: 16px; margin: 20px 0 6px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; } td, th { padding: 2px 10px; text-align: right; }
td:first-child, td:nth-child(2), .names th { text-align: left; } .group { text-align: center; }
th { font-weight: 600; } .models th { border-bottom: 1px solid #8c959f; }
.worse { color: #b42318; font-weight: 600; } .note, figcaption { color: #57606a; font-size: 13px; }
.row { display: flex; flex-wrap: wrap; gap: 14px; } figure { margin: 0; } img { width: 300px; max-width: 100%; }
"""
_METRICS = ("dice", "asd_mm")
_OWN = "*"


def verdict(comparison: Comparison) -> str:
    """First where the new model is worse, if it is anywhere; then on how much was compared, and how the means are."""
    return " ".join(filter(None, [_warning(comparison), _means(comparison)]))


def _warning(comparison: Comparison) -> str:
    if not comparison.worse:
        return ""
    named = ", ".join(f"{bone.bone} of {bone.case}" for bone in comparison.worse)
    return f"The new model is worse where the old one was good: {named}."


def _means(comparison: Comparison) -> str:
    old, new = (100 * mean for mean in comparison.means())
    cases = f"{comparison.cases} corrected MRI{'' if comparison.cases == 1 else 's'}"
    if comparison.leave_one_out:
        by_new = f"with models trained as {comparison.new}, each without the MRI that it is measured on (leave-one-out)"
        return f"On {cases}, mean Dice is {old:.1f} % with {comparison.old} and {new:.1f} % {by_new}."
    return (
        f"On {cases} that no training has seen, mean Dice is {old:.1f} % with {comparison.old} and {new:.1f} % with "
        f"{comparison.new}."
    )


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
    rows = [[*_row(bone), "worse" if bone.is_worse else ""] for bone in comparison.worse_first]
    lines = "\n".join(f"- {note}" for note in notes(comparison))
    return f"{verdict(comparison)}\n\n{markdown_table([[*_header(comparison), ''], *rows])}\n\n{lines}"


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write the page so that it appears whole.

    Raises:
        HipError: as `HipICMSCLib.common.files.write_text`.
    """
    write_text(path, _page(comparison) + "\n")


def _page(comparison: Comparison) -> str:
    old, new = map(html.escape, (comparison.old, comparison.new))
    warning = _warning(comparison)
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
            f"<title>{new} beside {old}</title><style>{_STYLE}</style></head><body>",
            f"<h1>The new model, {new}, beside the old one, {old}, on corrected MRIs</h1>",
            f"<p><strong>{html.escape(RESEARCH_USE)}</strong></p>",
            f'<p class="worse">{html.escape(warning)}</p>' if warning else "",
            f"<p>{html.escape(_means(comparison))}</p>",
            f'<div class="scroll"><table>{_table_rows(comparison)}</table></div>',
            *(f'<p class="note">{html.escape(note)}</p>' for note in notes(comparison)),
            "<h2>The largest changes</h2>" if comparison.pictures else "",
            *(_pictures(comparison, picture) for picture in comparison.pictures),
            f'<p class="note">HipICMSC {html.escape(VERSION)}, {time.strftime("%Y-%m-%d")}.</p></body></html>',
        )
    )


def _table_rows(comparison: Comparison) -> str:
    """Two lines of headings, then a bone a row; what is worse has the word beside it, as colours get lost in print."""
    groups = ("Dice, % (100 is perfect)", "mean distance of the surfaces, mm")
    heads = "".join(f'<th class="group" colspan="2">{group}</th>' for group in groups)
    models = "".join(f"<th>{html.escape(name)}</th>" for _ in groups for name in _names(comparison))
    rows = [
        f'<tr class="names"><th>case</th><th>bone</th>{heads}<th></th></tr>',
        f'<tr class="models"><th></th><th></th>{models}<th></th></tr>',
    ]
    for bone in comparison.worse_first:
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in [*_row(bone), "worse" if bone.is_worse else ""])
        rows.append(f"<tr{_class_of(bone.is_worse)}>{cells}</tr>")
    return "".join(rows)


def _pictures(comparison: Comparison, picture: Picture) -> str:
    """The same slice three times."""
    old, new = _names(comparison)
    figures = "".join(
        f'<figure><img alt="{html.escape(name)}" src="data:image/png;base64,{_png(pixels)}">'
        f"<figcaption>{html.escape(name)}</figcaption></figure>"
        for name, pixels in (("as corrected", picture.corrected), (old, picture.old), (new, picture.new))
    )
    return f'<p{_class_of(picture.is_worse)}>{html.escape(picture.words)}</p><div class="row">{figures}</div>'


def _class_of(is_worse: bool) -> str:
    return ' class="worse"' if is_worse else ""


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
