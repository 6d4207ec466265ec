"""Whether the numbers of a table are those that were measured: from the words back to the scores of each MRI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from HipICMSCLib.common.errors import HipError

from HipICMSCTrainingLib.benchmark.row import WEIGHTS, MeasuredRun
from HipICMSCTrainingLib.benchmark.rows import rows_of
from HipICMSCTrainingLib.benchmark.table import RowOfSeeds, SeedResult, table_json, table_markdown
from HipICMSCTrainingLib.evaluation.metrics import MaskScores
from HipICMSCTrainingLib.evaluation.scores import Evaluation, VolumeScores
from HipICMSCTrainingLib.run.folder import RunFolder

#: What a table tells of all its rows together.
_FACTS = {"table", "synthetic", "plan", "changes", "volumes", "seeds", "command", "machine"}


def differences_in(table_file: Path, benchmark: Path | None = None) -> list[str]:
    """What does not follow from the scores of each MRI, a sentence each; empty where all does.

    Args:
        table_file: table1.json or table2.json, with the Markdown of the same name beside it.
        benchmark: the folder in which the rows were trained; without it the scores themselves are taken as they are.

    Raises:
        HipError: ``not_a_table`` for a file that is none; as for any file.
    """
    facts, rows = _read(table_file)
    markdown = table_file.with_suffix(".md")
    try:
        said = markdown.read_text(encoding="utf-8")
    except OSError as error:
        raise HipError("unreadable", f"{markdown} cannot be read: {error.strerror}.") from error
    sentences = list(_means_that_differ(rows))
    if benchmark is not None:
        sentences += _scores_that_differ(rows, benchmark)
    given = _as_stored(table_json(facts, rows))
    for then, now in zip(facts["rows"], given["rows"], strict=True):
        # What a row was trained with is said by nothing else; usual settings may have changed since.
        now["method_settings"] = then["method_settings"]
    if facts != given:
        sentences.append(f"What {table_file.name} sums up is not what its rows give.")
    if said != table_markdown(facts, rows):
        sentences.append(f"{markdown.name} does not say what {table_file.name} says.")
    return sentences


def _read(table_file: Path) -> tuple[dict[str, Any], list[RowOfSeeds]]:
    """What stands in the file, and its rows as they were before they became one."""
    try:
        facts = json.loads(table_file.read_text(encoding="utf-8"))
        if not facts.keys() >= _FACTS:
            raise KeyError(*_FACTS - facts.keys())
        known = {row.key: row for row in rows_of(facts["table"])}
        rows = [
            RowOfSeeds(known[row["key"]], [SeedResult(**seed) for seed in row["seeds"]], row["left_out"])
            for row in facts["rows"]
        ]
    except OSError as error:
        raise HipError("unreadable", f"{table_file} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise HipError(
            "not_a_table",
            f"{table_file} is no table1.json or table2.json of a benchmark as `hipicmsc benchmark` writes it.",
        ) from error
    return facts, rows


def _as_stored(values: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(values))


def _means_that_differ(rows: list[RowOfSeeds]) -> Iterator[str]:
    for row in rows:
        for seed in row.measured:
            for weights, scores in seed.scores.items():
                said = scores["evaluation"]
                volumes = [
                    VolumeScores(
                        volume["name"],
                        volume["sources"],
                        volume["head_centres_lps_mm"],
                        {
                            result: {name: MaskScores(**values) for name, values in classes.items()}
                            for result, classes in volume["scores"].items()
                        },
                    )
                    for volume in said["volumes"]
                ]
                given = Evaluation(said["settings"]["roi_mm"], volumes).as_dict()["summary"]
                if _as_stored(given) != said["summary"]:
                    yield f"{row.row.title}, seed {seed.seed}, {weights}: the means are not those of its MRIs."


def _scores_that_differ(rows: list[RowOfSeeds], benchmark: Path) -> Iterator[str]:
    for row in rows:
        for seed in row.measured:
            run = benchmark / "runs" / f"{row.row.key}-seed{seed.seed}"
            measured = MeasuredRun(RunFolder(run))
            if not measured.is_done:
                yield f"{row.row.title}, seed {seed.seed}: {run} was not measured to its end, or is not there."
                continue
            for weights in WEIGHTS:
                if measured.scores(weights) != seed.scores[weights]:
                    yield f"{row.row.title}, seed {seed.seed}, {weights}: other scores than {run} has."
