"""The numbers of a table follow from what was measured, or it is said which do not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from HipICMSCTrainingLib.benchmark.paired import PairedDifference, against_icmsc
from HipICMSCTrainingLib.benchmark.rows import rows_of
from HipICMSCTrainingLib.benchmark.table import RowOfSeeds, SeedResult
from HipICMSCTrainingLib.cli import main

TABLES = Path(__file__).parents[2] / "benchmarks" / "tables"
COMMITTED = sorted(TABLES.glob("*/table*.json"))


@pytest.fixture
def table(tmp_path) -> Path:
    """A copy of a committed table that may be changed."""
    for file in (TABLES / "fat-suppressed").glob("table1.*"):
        shutil.copy(file, tmp_path)
    return tmp_path / "table1.json"


def edited(table: Path, edit) -> None:
    values = json.loads(table.read_text(encoding="utf-8"))
    edit(values)
    table.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: f"{file.parent.name} {file.stem}")
def test_the_tables_of_this_repository_follow_from_their_scores(file, capsys):
    assert main(["benchmark", "check", str(file)]) == 0, capsys.readouterr().out


def test_a_score_that_was_changed(table, capsys):
    def edit(values):
        volume = values["rows"][2]["seeds"][1]["scores"]["selected"]["evaluation"]["volumes"][0]
        volume["scores"]["raw"]["femur"]["dice"] += 0.1

    edited(table, edit)
    assert main(["benchmark", "check", str(table)]) == 2
    said = capsys.readouterr().out
    assert "CycleGAN, seed 1, selected: the means are not those of its MRIs." in said


def test_a_mean_over_the_seeds_that_was_changed(table, capsys):
    edited(table, lambda values: values["rows"][2]["over_seeds"]["selected"]["raw"]["femur"]["dice"].update(mean=0.9))
    assert main(["benchmark", "check", str(table)]) == 2
    assert capsys.readouterr().out == "What table1.json sums up is not what its rows give.\n"


def test_words_that_were_changed(table, capsys):
    words = table.with_suffix(".md")
    words.write_text(words.read_text(encoding="utf-8").replace("CycleGAN", "CycleGAN (ours)", 1), encoding="utf-8")
    assert main(["benchmark", "check", str(table)]) == 2
    assert capsys.readouterr().out == "table1.md does not say what table1.json says.\n"


def test_what_is_no_table(tmp_path, capsys):
    file = tmp_path / "report.json"
    file.write_text('{"table": "table1", "rows": []}', encoding="utf-8")
    assert main(["benchmark", "check", str(file)]) == 2
    assert "is no table1.json or table2.json" in capsys.readouterr().err
    assert main(["benchmark", "check", str(tmp_path / "gone.json")]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err


# Beside ICMSC.


def row(key: str, dice: dict[tuple[int, str], float | None]) -> RowOfSeeds:
    """Both bones of a test MRI have the same Dice."""
    seeds = []
    for seed in sorted({seed for seed, _ in dice}):
        volumes = [
            {"name": name, "scores": {"raw": {bone: {"dice": value} for bone in ("hip_bone", "femur")}}}
            for (of, name), value in dice.items()
            if of == seed
        ]
        seeds.append(SeedResult(seed, None, {"selected": {"evaluation": {"volumes": volumes}}}))
    return RowOfSeeds(next(known for known in rows_of("table1") if known.key == key), seeds)


def test_only_the_same_mri_with_the_same_seed_is_compared():
    icmsc = row("icmsc", {(0, "test 1"): 0.5, (0, "test 2"): 0.5, (1, "test 1"): 0.9})
    other = row("cyclegan", {(0, "test 1"): 0.4, (0, "test 2"): 0.3, (2, "test 1"): 0.0, (1, "test 1"): None})
    difference = against_icmsc(other, [other, icmsc], "selected", "raw")
    # Both of two differences have one sign: of four ways of signs the two outermost, so 2 of 4.
    assert difference == PairedDifference(2, pytest.approx(-0.15), 0.5)


def test_a_difference_on_every_pair_is_no_chance():
    pairs = [(seed, f"test {number}") for seed in range(3) for number in range(4)]
    icmsc = row("icmsc", dict.fromkeys(pairs, 0.5))
    worse = row("cyclegan", {pair: 0.4 - 0.01 * number for number, pair in enumerate(pairs)})
    assert against_icmsc(worse, [worse, icmsc], "selected", "raw").p == pytest.approx(2 / 2**12)


def test_what_cannot_be_compared():
    icmsc, alone = row("icmsc", {(0, "test 1"): 0.5}), row("cyclegan", {(1, "test 1"): 0.4})
    assert against_icmsc(icmsc, [icmsc, alone], "selected", "raw") is None
    assert against_icmsc(alone, [icmsc, alone], "selected", "raw") is None
    assert against_icmsc(alone, [alone], "selected", "raw") is None
    assert against_icmsc(row("cyclegan", {(0, "test 1"): 0.5}), [icmsc], "selected", "raw").p is None
