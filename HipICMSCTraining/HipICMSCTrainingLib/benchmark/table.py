"""From what was measured of each row and seed to the table, as JSON and as Markdown."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from HipICMSCLib.common.terminal import duration
from HipICMSCLib.results.research_use import RESEARCH_USE

from HipICMSCTrainingLib.benchmark.paired import MEANING, against_icmsc
from HipICMSCTrainingLib.benchmark.rows import TITLES, Row
from HipICMSCTrainingLib.evaluation.metrics import DEFINITIONS, METRICS
from HipICMSCTrainingLib.evaluation.scores import CLASSES, RESULTS
from HipICMSCTrainingLib.evaluation.table import heading, markdown_table, roi_note, summary_text

#: What each choice of weights is, in the order of the tables.
WEIGHTS_IN_WORDS = {
    "selected": "weights selected by a label-free score",
    "average": "moving average (EMA) of the weights at the end",
    "last": "weights of the last step",
}
RESULTS_IN_WORDS = {"raw": "Raw result", "largest_components": "Without strays"}
BONES = {"hip_bone": "acetabulum", "femur": "femur"}
#: What the rows are compared by, among themselves and with the paper.
FIRST = ("selected", "raw")


@dataclass(frozen=True)
class SeedResult:
    """What is known of one row with one seed.

    Attributes:
        cost: as MeasuredRun.cost; None before the training ended.
        scores: as MeasuredRun.scores by weights; empty before all were measured.
        failure: why it could not be finished, when last tried.
    """

    seed: int
    cost: dict[str, Any] | None
    scores: Mapping[str, dict[str, Any]]
    failure: str | None = None


@dataclass(frozen=True)
class OverSeeds:
    """A metric over the seeds: mean and sample deviation of each seed's mean over its volumes.

    Attributes:
        sd: None for fewer than two seeds.
        seeds: how many have a mean.
        missing: volumes of all seeds in which the number does not exist, such as a distance to nothing.
    """

    mean: float | None
    sd: float | None
    seeds: int
    missing: int


@dataclass(frozen=True)
class RowOfSeeds:
    """A row with the results of its seeds; ``left_out`` says why there are none by intention."""

    row: Row
    results: Sequence[SeedResult]
    left_out: str = ""

    @property
    def measured(self) -> list[SeedResult]:
        return [result for result in self.results if result.scores]

    def over_seeds(self, weights: str, result: str, class_name: str, metric: str) -> OverSeeds:
        summaries = [_summary(seed, weights, result, class_name, metric) for seed in self.measured]
        return _over_seeds([summary["mean"] for summary in summaries], sum(summary["missing"] for summary in summaries))

    def dice(self) -> OverSeeds:
        """The mean of both bones' Dice, by which the rows are compared."""
        means = []
        for seed in self.measured:
            of_bones = [_summary(seed, *FIRST, name, "dice")["mean"] for name in CLASSES]
            means.append(None if None in of_bones else statistics.fmean(of_bones))
        return _over_seeds(means, 0)

    def paper_dice(self) -> float:
        return statistics.fmean(self.row.paper_dice.values())


def _summary(seed: SeedResult, weights: str, result: str, class_name: str, metric: str) -> dict[str, Any]:
    return seed.scores[weights]["evaluation"]["summary"][result][class_name][metric]


def _over_seeds(means: Sequence[float | None], missing: int) -> OverSeeds:
    present = [mean for mean in means if mean is not None]
    return OverSeeds(
        mean=statistics.fmean(present) if present else None,
        sd=statistics.stdev(present) if len(present) > 1 else None,
        seeds=len(present),
        missing=missing,
    )


def table_json(facts: Mapping[str, Any], rows: Sequence[RowOfSeeds]) -> dict[str, Any]:
    """Everything that the Markdown says and the numbers behind it; paths and names of cases are not in it.

    Args:
        facts: what holds for all rows: ``table``, ``synthetic``, ``plan``, ``changes``, ``volumes``, ``seeds``,
            ``command`` and ``machine``.
    """
    return {
        **facts,
        "note": _note(facts),
        "versions": _distinct(seed.cost["versions"] for row in rows for seed in row.results if seed.cost),
        "commits": _distinct(seed.cost["commit"] for row in rows for seed in row.results if seed.cost),
        "definitions": DEFINITIONS,
        "results": RESULTS,
        "weights": WEIGHTS_IN_WORDS,
        "rows": [_row_json(row, rows) for row in rows],
        "differences_of_order": differences_of_order(rows),
    }


def _row_json(row: RowOfSeeds, rows: Sequence[RowOfSeeds]) -> dict[str, Any]:
    difference = against_icmsc(row, rows, *FIRST)
    return {
        "key": row.row.key,
        "title": row.row.title,
        "method": row.row.method,
        "method_settings": row.row.method_settings,
        "paper": {"dice_percent": row.row.paper_dice, "asd_mm": row.row.paper_asd_mm},
        "left_out": row.left_out,
        "against_icmsc": asdict(difference) if difference else None,
        "seeds": [asdict(result) for result in row.results],
        "over_seeds": {
            weights: {
                result: {
                    name: {metric: asdict(row.over_seeds(weights, result, name, metric)) for metric in METRICS}
                    for name in CLASSES
                }
                for result in RESULTS
            }
            for weights in WEIGHTS_IN_WORDS
        },
    }


def table_markdown(facts: Mapping[str, Any], rows: Sequence[RowOfSeeds]) -> str:
    """The table for people."""
    volumes = ", ".join(f"{count} {name}" for name, count in facts["volumes"].items())
    seeds = ", ".join(map(str, facts["seeds"]))
    head = [
        f"# {TITLES[facts['table']]}",
        _note(facts),
        f"Volumes: {volumes}. Seeds: {seeds}. Settings: {_settings(facts)}. Numbers are the mean over the test MRIs, "
        "then mean ± sample standard deviation over the seeds.",
        f"## Beside the paper: {RESULTS_IN_WORDS[FIRST[1]].lower()}, {WEIGHTS_IN_WORDS[FIRST[0]]}",
        _beside_the_paper(rows),
        *differences_of_order(rows),
        *_beside_icmsc(rows),
        *_states(rows),
    ]
    details = [
        f"## {RESULTS_IN_WORDS[result]}, {words}\n\n{_details(rows, weights, result)}"
        for weights, words in WEIGHTS_IN_WORDS.items()
        for result in RESULTS
    ]
    notes = [f"- {RESULTS_IN_WORDS[result]}: {text}" for result, text in RESULTS.items()]
    notes += [f"- {heading(metric)}: {text}" for metric, text in DEFINITIONS.items()]
    roi_mm = facts["plan"]["roi_mm"]
    notes += [f"- {roi_note(roi_mm)}"] if roi_mm else []
    if any(_has_ignored(row) for row in rows):
        notes.append("- Voxels of the ignore masks beside the label maps were left out.")
    notes.append("- An empty prediction has Dice and surface Dice 0; its distances are missing, left out and counted.")
    return "\n\n".join([*head, *details, f"## Cost\n\n{_costs(rows)}", "\n".join(["## Definitions\n", *notes])]) + "\n"


def _settings(facts: Mapping[str, Any]) -> str:
    changes = ", ".join(f"`{change}`" for change in facts["changes"])
    return f"preset {facts['plan']['preset']}" + (f" with {changes}" if changes else "")


def _has_ignored(row: RowOfSeeds) -> bool:
    volumes = [volume for seed in row.measured for volume in seed.scores[FIRST[0]]["evaluation"]["volumes"]]
    return any(volume["sources"]["ignore"] for volume in volumes)


def differences_of_order(rows: Sequence[RowOfSeeds]) -> list[str]:
    """A sentence for each two rows that lie the other way round than in the paper, by the mean Dice of both bones."""
    measured = [row for row in rows if row.dice().mean is not None]
    sentences = []
    for first, second in itertools.combinations(measured, 2):
        better, worse = sorted((first, second), key=lambda row: row.dice().mean, reverse=True)
        if better.paper_dice() < worse.paper_dice() and better.dice().mean > worse.dice().mean:
            sentences.append(
                f"{better.row.title} lies above {worse.row.title} here (mean Dice {_dice_text(better)} and "
                f"{_dice_text(worse)} %), but below it in the paper ({better.paper_dice():.2f} and "
                f"{worse.paper_dice():.2f} %){_in_doubt(better.dice(), worse.dice())}."
            )
    if not sentences and len(measured) > 1:
        return ["By the mean Dice of both bones the order of these rows is the paper's."]
    return sentences


def _in_doubt(better: OverSeeds, worse: OverSeeds) -> str:
    if better.sd is None or worse.sd is None:
        return "; one seed cannot tell whether that is chance"
    if better.mean - worse.mean < better.sd + worse.sd:
        return "; the difference is smaller than the deviations over the seeds"
    return ""


def _dice_text(row: RowOfSeeds) -> str:
    over = row.dice()
    return summary_text(over.mean, over.sd, 0, "dice")


def _note(facts: Mapping[str, Any]) -> str:
    if facts["synthetic"]:
        contrast = facts["plan"]["contrast"]
        data = (
            f"Measured on synthetic volumes (phantoms with {contrast} MRIs; CTs and MRIs of different people and "
            "different populations), not on patients: they compare methods and say nothing of clinical accuracy. The "
            "paper's numbers are of other data and of other networks."
        )
    else:
        data = "Measured on the data that the user gave. The paper's numbers are of other data."
    return f"{data} {RESEARCH_USE}"


def _beside_the_paper(rows: Sequence[RowOfSeeds]) -> str:
    metrics = [metric for metric in ("dice", "asd_mm") if metric == "dice" or any(row.row.paper_asd_mm for row in rows)]
    columns = [(name, metric) for name in CLASSES for metric in metrics]
    header = ["method", "route"]
    for name, metric in columns:
        header += [f"{BONES[name]} {heading(metric)}", "paper"]
    lines = [header]
    for row in rows:
        cells = [row.row.title, _route(row)]
        for name, metric in columns:
            paper = (row.row.paper_dice if metric == "dice" else row.row.paper_asd_mm).get(name)
            cells += [_cell(row, *FIRST, name, metric), "–" if paper is None else f"{paper:.2f}"]
        lines.append(cells)
    return markdown_table(lines)


def _beside_icmsc(rows: Sequence[RowOfSeeds]) -> list[str]:
    """A table and what it means, where a row can be compared."""
    lines = [["method", "pairs", "Dice % less ICMSC's", "p"]]
    for row in rows:
        difference = against_icmsc(row, rows, *FIRST)
        if difference:
            p = "–" if difference.p is None else f"{difference.p:.2g}"
            lines.append([row.row.title, str(difference.pairs), f"{100 * difference.mean:+.2f}", p])
    return ["## Beside ICMSC, pair by pair", markdown_table(lines), MEANING] if len(lines) > 1 else []


def _details(rows: Sequence[RowOfSeeds], weights: str, result: str) -> str:
    lines = [["method", "bone", *map(heading, METRICS)]]
    for row in rows:
        for name in CLASSES:
            lines.append(
                [row.row.title, BONES[name], *(_cell(row, weights, result, name, metric) for metric in METRICS)]
            )
    return markdown_table(lines)


def _cell(row: RowOfSeeds, weights: str, result: str, class_name: str, metric: str) -> str:
    over = row.over_seeds(weights, result, class_name, metric)
    return summary_text(over.mean, over.sd, over.missing, metric)


def _route(row: RowOfSeeds) -> str:
    return row.measured[0].scores[FIRST[0]]["route"] if row.measured else "–"


def _costs(rows: Sequence[RowOfSeeds]) -> str:
    lines = [["method", "training of a seed", "memory at most", "memory of the device at most", "device", "commit"]]
    for row in rows:
        costs = [result.cost for result in row.results if result.cost]
        if not costs:
            lines.append([row.row.title, *["–"] * 5])
            continue
        lines.append(
            [
                row.row.title,
                duration(statistics.fmean(cost["seconds"] for cost in costs)),
                _size(cost["memory_bytes"] for cost in costs),
                _size(cost["device_memory_bytes"] for cost in costs),
                ", ".join(_distinct(cost["device"] for cost in costs)),
                ", ".join(_distinct(_short(cost["commit"]) for cost in costs)),
            ]
        )
    return markdown_table(lines)


def _short(commit: str | None) -> str:
    """As git shows it; files that differ from it are worth a word."""
    if commit is None:
        return "–"
    number, _, dirty = commit.partition("-")
    return f"{number[:12]}, changed" if dirty else number[:12]


def _size(numbers: Iterable[int | None]) -> str:
    known = [number for number in numbers if number is not None]
    return f"{max(known) / 2**20:.0f} MiB" if known else "–"


def _states(rows: Sequence[RowOfSeeds]) -> list[str]:
    """Sentences on the rows that are not complete and on test cases that could not be segmented."""
    sentences = []
    for row in rows:
        if row.left_out:
            sentences.append(f"{row.row.title}: {row.left_out}")
            continue
        for result in row.results:
            if result.failure:
                sentences.append(f"{row.row.title}, seed {result.seed}, failed: {result.failure}")
            elif not result.scores:
                sentences.append(f"{row.row.title}, seed {result.seed}, is not finished yet.")
            for number, sentence in result.scores.get(FIRST[0], {}).get("failed", {}).items():
                sentences.append(f"{row.row.title}, seed {result.seed}, test MRI {number}, is not counted: {sentence}")
    return sentences


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
