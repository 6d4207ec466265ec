"""What the paper's tables compare, with the numbers it prints (method.md, Baselines)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from HipICMSCLib.common.settings import to_json

from HipICMSCTrainingLib.methods.icmsc import table2_rows
from HipICMSCTrainingLib.methods.registry import METHODS

Table = Literal["table1", "table2"]

TITLES: dict[Table, str] = {
    "table1": "Table 1: ways of adapting from CT to MRI",
    "table2": "Table 2: the consistency terms of ICMSC, one after the other",
}


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        key: names the row's run folders; what is equal in both tables has one key and is trained once.
        title: as in the paper.
        method: key of METHODS, which need not be there.
        paper_dice: Dice % in the paper by class (keys of evaluation.CLASSES).
        paper_asd_mm: ASD in the paper by class; Table 2 has none.
        method_settings: the method's own settings where they are not its defaults.
        stage_1: rows of the same word have the same stage 1, step by step and bit by bit, so that it is trained once;
            empty for a row that shares none.
    """

    key: str
    title: str
    method: str
    paper_dice: dict[str, float]
    paper_asd_mm: dict[str, float] = field(default_factory=dict)
    method_settings: dict[str, Any] = field(default_factory=dict)
    stage_1: str = ""


def rows_of(table: Table) -> tuple[Row, ...]:
    """The rows of a table in the paper's order, but for methods that are not there."""
    rows = _table_1() if table == "table1" else _table_2()
    return tuple(row for row in rows if row.method in METHODS)


def _table_1() -> tuple[Row, ...]:
    def row(key: str, title: str, dice: tuple[float, float], asd_mm: tuple[float, float], stage_1: str = "") -> Row:
        return Row(key, title, key, _by_class(dice), _by_class(asd_mm), stage_1=stage_1)

    return (
        row("no_adaptation", "No adaptation", (0.08, 0.01), (29.36, 31.27)),
        row("adda", "ADDA", (50.56, 64.80), (4.20, 4.87)),
        row("cyclegan", "CycleGAN", (74.55, 72.78), (2.05, 9.16)),
        row("cycada", "CyCADA", (73.80, 83.18), (3.18, 2.24)),
        row("sifa", "SIFA", (79.60, 83.32), (2.93, 2.67)),
        row("icmsc", "ICMSC", (81.61, 88.16), (1.61, 1.42), stage_1="icmsc"),
        row("target_model", "Target model", (95.23, 97.29), (0.43, 0.35)),
    )


_TABLE_2_DICE = ((74.55, 72.78), (74.97, 79.32), (78.46, 82.57), (76.93, 84.94), (81.61, 88.16))


def _table_2() -> tuple[Row, ...]:
    """The first row is CycleGAN, as in the paper. The others share stage 1, which has no consistency terms."""
    settings = table2_rows()
    last = len(settings) - 1
    rows = [
        Row(
            key="icmsc" if number == last else f"icmsc-step{number + 1}",
            title=title,
            method="icmsc",
            paper_dice=_by_class(dice),
            method_settings=to_json(own),
            stage_1="icmsc",
        )
        for number, ((title, own), dice) in enumerate(zip(settings.items(), _TABLE_2_DICE, strict=True))
    ]
    rows[0] = replace(rows[0], key="cyclegan", method="cyclegan", method_settings={}, stage_1="")
    return tuple(rows)


def _by_class(values: tuple[float, float]) -> dict[str, float]:
    """Values of acetabulum and femur."""
    return dict(zip(("hip_bone", "femur"), values, strict=True))
