"""A report of one page (HTML, pictures inside, nothing loaded from elsewhere) of all measures of a segmentation."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.common.version import VERSION
from HipICMSCLib.measures.morphometry import Morphometry, Row
from HipICMSCLib.measures.registry import TOPICS
from HipICMSCLib.results.morphometry_pictures import pictures
from HipICMSCLib.results.morphometry_table import cautions_of, few, in_digits, numbered_cautions, shown
from HipICMSCLib.results.research_use import RESEARCH_USE

_STYLE = """
body { font: 13px/1.4 system-ui, sans-serif; margin: 24px auto; max-width: 1180px; color: #1b1f23; }
h1 { font-size: 20px; margin: 0 0 4px; } h2 { font-size: 15px; margin: 18px 0 6px; }
table { border-collapse: collapse; width: 100%; } td, th { padding: 2px 8px; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid #8c959f; font-weight: 600; } tr.topic td { padding-top: 10px; font-weight: 600; }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.weak { color: #6e7781; } .note { color: #57606a; font-size: 12px; }
.row { display: flex; flex-wrap: wrap; gap: 14px; } figure { margin: 0; }
figcaption { font-size: 12px; color: #57606a; }
@media print { body { margin: 0; font-size: 10px; } }
"""


_NOTE = (
    "95 % interval: what a boundary of the labels that wavers by 0.6 of a pixel does to the number; errors of another "
    "kind are not in it. Per ° tilt: change per degree by which the pelvis tilts forward. Grey, with a question mark: "
    "the interval is wider than a class, or the number is unstable. A raised number stands for a sentence below. Clock "
    "hours: 12 is up, 3 is anterior on both sides."
)


def report(morphometry: Morphometry, segmentation: str) -> str:
    """The page as HTML.

    Args:
        segmentation: what the segmentation's file or node is called.
    """
    sides = list(morphometry.hips.sides)
    rows = {(row.side, row.definition.id): row for row in morphometry.rows}
    cautions = numbered_cautions(morphometry)
    frame = morphometry.hips.frame
    spacing = " × ".join(f"{step:.2f}" for step in morphometry.hips.spacing)
    notes = " ".join(filter(None, (frame.caution, *morphometry.hips.frame_notes)))
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8"><title>Hip measures</title>',
            f"<style>{_STYLE}</style></head><body>",
            "<h1>Hip measures from a segmentation</h1>",
            f"<p><strong>{html.escape(RESEARCH_USE)}</strong> No diagnosis: numbers with their uncertainty, and "
            "reference ranges with their source.</p>",
            f'<p class="note">{html.escape(segmentation)}; voxels {spacing} mm; frame of the pelvis: {frame.name}. '
            f"{html.escape(notes)} HipICMSC {html.escape(VERSION)}, {time.strftime('%Y-%m-%d')}.</p>",
            *(_pictures(morphometry, side) for side in sides),
            "<h2>Values</h2>",
            _table(sides, rows, cautions),
            f'<p class="note">{_NOTE}</p>',
            "<h2>To know of the values</h2>",
            _numbered(cautions),
            "<h2>Not measured, or not reliable</h2>",
            _reasons(morphometry.rows),
            "<h2>Sources of reference ranges</h2>",
            _sources(),
            "</body></html>",
        )
    )


def write_report(morphometry: Morphometry, segmentation: str, path: Path) -> None:
    """Write the page so that it appears whole.

    Raises:
        HipError: as `HipICMSCLib.common.files.write_text`.
    """
    write_text(path, report(morphometry, segmentation) + "\n")


def _pictures(morphometry: Morphometry, side: str) -> str:
    try:
        drawn = pictures(morphometry, side)
    except HipError as error:
        return f'<h2>{side.capitalize()} hip</h2><p class="note">{html.escape(error.sentence)}</p>'
    figures = "".join(f"<figure>{svg}<figcaption>{html.escape(text)}</figcaption></figure>" for text, svg in drawn)
    return f'<h2>{side.capitalize()} hip</h2><div class="row">{figures}</div>'


def _table(sides: list[str], rows: dict[tuple[str, str], Row], cautions: Mapping[str, int]) -> str:
    head = "".join(f"<th>{side.capitalize()}</th><th>95 % interval</th><th>per ° tilt</th>" for side in sides)
    lines = [f"<table><tr><th>Measure</th><th></th>{head}<th>Reference</th></tr>"]
    for topic, group in TOPICS.items():
        known = [
            m.definition for m in group if any(not math.isnan(rows[side, m.definition.id].value) for side in sides)
        ]
        if not known:
            continue
        lines.append(f'<tr class="topic"><td colspan="{3 + 3 * len(sides)}">{topic}</td></tr>')
        for definition in known:
            cells = "".join(_cells(rows[side, definition.id], cautions) for side in sides)
            reference = definition.reference
            usual = f"{reference.low:g} to {reference.high:g}" if reference else ""
            name = f'<span title="{html.escape(definition.text)}">{html.escape(definition.name)}</span>'
            lines.append(f"<tr><td>{name}</td><td>{definition.unit}</td>{cells}<td>{usual}</td></tr>")
    return "\n".join((*lines, "</table>"))


def _cells(row: Row, cautions: Mapping[str, int]) -> str:
    if math.isnan(row.value):
        return '<td class="n weak">–</td><td></td><td></td>'
    weak = " weak" if row.status == "uncertain" else ""
    edited = " (edited)" if row.is_edited else ""
    numbers = cautions_of(row, cautions)
    raised = f" <sup>{numbers}</sup>" if numbers else ""
    unit = row.definition.unit
    interval = "" if math.isnan(row.low) else f"{in_digits(row.low, unit)} to {in_digits(row.high, unit)}"
    slope = "" if math.isnan(row.tilt_slope) else f"{row.tilt_slope:+.2f}"
    return (
        f'<td class="n{weak}">{shown(row)}{edited}{raised}</td><td class="n weak">{interval}</td>'
        f'<td class="n weak">{slope}</td>'
    )


def _numbered(cautions: Iterable[str]) -> str:
    items = "".join(f"<li>{html.escape(caution)}</li>" for caution in cautions)
    return f"<ol>{items}</ol>" if items else "<p>Nothing.</p>"


def _reasons(rows: Iterable[Row]) -> str:
    """Each sentence once, with the measures that it holds for."""
    by_sentence: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.sentence:
            by_sentence.setdefault((row.side, row.sentence), []).append(row.definition.name)
    items = (
        f"<li>{side.capitalize()}: {html.escape(sentence)} <span class='weak'>({html.escape(few(names))})</span></li>"
        for (side, sentence), names in by_sentence.items()
    )
    return f"<ul>{''.join(items)}</ul>" if by_sentence else "<p>Nothing.</p>"


def _sources() -> str:
    sources = {
        m.definition.reference.source for group in TOPICS.values() for m in group if m.definition.reference is not None
    }
    return f"<ul>{''.join(f'<li>{html.escape(source)}</li>' for source in sorted(sources))}</ul>"
