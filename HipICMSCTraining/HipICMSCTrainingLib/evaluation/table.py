"""How numbers stand in tables: those of an evaluation and those of the benchmark."""

from __future__ import annotations


def roi_note(roi_mm: float) -> str:
    """What a region of interest does to the numbers of the hip bone."""
    return (
        f"hip bone ({roi_mm:g} mm): only within {roi_mm:g} mm of a femoral head centre of the truth; distances run "
        "from the border voxels inside to the whole other border."
    )


def heading(metric: str) -> str:
    """What stands above a metric's numbers in a table, with its unit."""
    return {
        "dice": "Dice %",
        "asd_mm": "ASD mm",
        "hd95_mm": "HD95 mm",
        "surface_dice_1mm": "surface Dice 1 mm %",
        "surface_dice_3mm": "surface Dice 3 mm %",
    }[metric]


def number_text(value: float | None, metric: str) -> str:
    """A metric's number in the unit of its heading; '–' where there is none."""
    if value is None:
        return "–"
    return f"{100 * value:.2f}" if "dice" in metric else f"{value:.2f}"


def summary_text(mean: float | None, sd: float | None, missing: int, metric: str) -> str:
    """Mean ± deviation as :func:`number_text`, and how many values are missing from them."""
    text = number_text(mean, metric)
    if sd is not None:
        text += f" ± {number_text(sd, metric)}"
    return f"{text} ({missing} missing)" if missing else text


def markdown_table(rows: list[list[str]]) -> str:
    """The first of ``rows`` is the header. A table whose columns also line up as plain text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
