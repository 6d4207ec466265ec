"""Trains and measures every row of a table with every seed, and writes the table; all of it in one folder.

BENCHMARK/benchmark.json           the plan: data and settings, the same for all rows
BENCHMARK/synthetic/data/          the synthetic volumes, where the user gave none
BENCHMARK/dataset.json             the cases
BENCHMARK/cache/, heads.json       slices of all cases and femoral heads of the test cases, made once for all rows
BENCHMARK/runs/ROW-seedN/          a run like any other (run/folder.py), and what was measured of it (row.py)
BENCHMARK/failures.json            why a row could not be finished, by the name of its run
BENCHMARK/table1.json, table1.md   the table, as far as it goes by now; likewise table2

Both tables can be made in the same folder; what is equal in both is then trained once. A process that ends, however it
ends, leaves a folder in which the next one goes on.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import replacing, storage_error, write_text
from HipICMSCLib.common.progress import Progress
from HipICMSCLib.common.settings import to_json

from HipICMSCTrainingLib.benchmark.data import SCALES, BenchmarkData, read_data, write_phantoms
from HipICMSCTrainingLib.benchmark.heads import find_heads
from HipICMSCTrainingLib.benchmark.plan import Plan
from HipICMSCTrainingLib.benchmark.row import WEIGHTS, MeasuredRun
from HipICMSCTrainingLib.benchmark.row_process import work_on
from HipICMSCTrainingLib.benchmark.rows import Row, Table, rows_of
from HipICMSCTrainingLib.benchmark.states import failures_in, remember
from HipICMSCTrainingLib.benchmark.table import RowOfSeeds, SeedResult, table_json, table_markdown
from HipICMSCTrainingLib.data.dataset import Dataset
from HipICMSCTrainingLib.data.dataset_file import write_dataset_file
from HipICMSCTrainingLib.data.slice_cache import cache_file, cached_volume
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.run.description import RunDescription, start_run
from HipICMSCTrainingLib.run.folder import RunFolder


class Benchmark:
    """A folder with a plan, in which tables are made."""

    def __init__(self, folder: Path, plan: Plan, progress: Progress = lambda what, share: None) -> None:
        """
        Raises:
            HipError: ``other_benchmark`` if the folder has another plan; as for any file.
        """
        self.folder, self.plan, self.progress = Path(folder), plan, progress
        known = Plan.read(self.folder)
        if known is None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise storage_error(error, self.folder) from error
            write_text(self.folder / "benchmark.json", json.dumps(to_json(plan), indent=2) + "\n")
        elif known != plan:
            raise HipError(
                "other_benchmark",
                f"{self.folder} holds a benchmark on other data or with other settings; leave these options out to go "
                "on with it, or choose another folder.",
            )

    def run(self, row: Row, seed: int) -> RunFolder:
        return RunFolder(self.folder / "runs" / f"{row.key}-seed{seed}")

    def make(self, table: Table, seeds: Sequence[int], keys: Sequence[str] = ()) -> dict[str, str]:
        """Do what is not done yet, seed by seed, and write the table after every row.

        Args:
            keys: the rows to make; without any, all of the table.

        Returns:
            Why a row could not be finished, by the name of its run. What failed is tried again the next time.

        Raises:
            HipError: ``unknown_row``; ``stopped`` if somebody stopped the run of a row; ``run_in_use`` if another
                process works on this benchmark; whatever is wrong with the data.
        """
        rows = _chosen(rows_of(table), keys)
        with RunFolder(self.folder).locked():
            data = self.data()
            failures: dict[str, str] = {}
            work = [(row, seed) for seed in seeds for row in rows if not self._reason_to_leave_out(row, data)]
            self._preprocess({_dataset_of(row, data) for row, _ in work}, data)
            for number, (row, seed) in enumerate(work):
                run = self.run(row, seed)
                if not MeasuredRun(run).is_done:
                    place = _Place(number, len(work), f"{row.title}, seed {seed}", self.progress)
                    alone = not any(other.stage_1 == row.stage_1 for other in rows if other != row)
                    try:
                        self._finish(row, seed, data, alone, place)
                    except HipError as error:
                        if error.kind == "stopped":
                            raise
                        failures[run.path.name] = error.sentence
                remember(self.folder, run, failures.get(run.path.name))
                self._write_table(table, rows, seeds, data)
            self._write_table(table, rows, seeds, data)
        return failures

    def _write_table(self, table: Table, wanted: Sequence[Row], seeds: Sequence[int], data: BenchmarkData) -> None:
        """Write the rows that are wanted, and those that were measured before, as JSON and as Markdown."""
        results = [
            RowOfSeeds(row, [self._result(row, seed) for seed in of_row], self._reason_to_leave_out(row, data))
            for row in rows_of(table)
            if (of_row := sorted({*self._measured_seeds(row), *(seeds if row in wanted else ())}))
        ]
        volumes = {
            f"{modality} {role}": len(data.adaptation.of(modality, role))
            for modality in ("CT", "MR")
            for role in ("train", "val")
        }
        facts = {
            "table": table,
            "synthetic": self.plan.dataset is None,
            "plan": self.plan.without_folders(),
            "changes": self.plan.changes(),
            "volumes": volumes | {"MR test": len(data.measured_cases)},
            "seeds": sorted({seed.seed for row in results for seed in row.results}),
            "command": ["hipicmsc", *map(_without_folders, sys.argv[1:])],
            "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, {platform.system()}",
        }
        values = table_json(facts, results)
        write_text(self.folder / f"{table}.json", json.dumps(values, indent=1, ensure_ascii=False) + "\n")
        write_text(self.folder / f"{table}.md", table_markdown(facts, results))

    # What all rows share.

    def data(self) -> BenchmarkData:
        """The cases as they were when the benchmark began."""
        file = self.folder / "dataset.json"
        if not file.exists():
            plan = self.plan
            if plan.dataset is not None:
                source = Path(plan.dataset)
            else:
                self.progress("Making the synthetic volumes.", 0.0)
                source = write_phantoms(
                    self.folder / "synthetic" / "data", SCALES[plan.preset], plan.data_seed, plan.contrast
                )
            data = read_data(source)
            write_dataset_file(data.labelled or data.adaptation, file)
        return read_data(file)

    def _preprocess(self, datasets: set[Dataset], data: BenchmarkData) -> None:
        for case in [case for dataset in datasets for case in dataset.in_training()]:
            if not cache_file(case, self.plan.settings, self._cache).exists():
                self.progress("Preprocessing the volumes.", 0.0)
                cached_volume(case, self.plan.settings, self._cache)
        if not self.heads_file.exists():
            self.progress("Finding the femoral heads of the test cases.", 0.0)
            find_heads(data.measured_cases, self.heads_file)

    @property
    def _cache(self) -> Path:
        return self.folder / "cache"

    @property
    def heads_file(self) -> Path:
        return self.folder / "heads.json"

    # One row.

    def _reason_to_leave_out(self, row: Row, data: BenchmarkData) -> str:
        if _dataset_of(row, data) is None:
            return "Left out: it learns from labels of MRIs, which the dataset has not for all in training."
        return ""

    def _finish(self, row: Row, seed: int, data: BenchmarkData, alone: bool, place: _Place) -> None:
        """Train and measure one row with one seed, from wherever it stands.

        Args:
            alone: no other row shares its stage 1 now; one that was trained earlier serves it all the same.
        """
        description = self.plan.description(row, seed, _dataset_of(row, data))
        run = self.run(row, seed)
        if not (run.path / "run.json").exists():
            stage_1 = RunFolder(run.path.with_name(f"stage1-{row.stage_1}-seed{seed}"))
            shared = row.stage_1 and description.settings.stage1_epochs and (stage_1.path.exists() or not alone)
            if shared:
                self._train_stage_1(stage_1, description, place)
            self._start(run, description)
            if shared:
                _take_over(stage_1, run)
        roi = [] if self.plan.roi_mm is None else [str(self.plan.roi_mm)]
        work_on(run, lambda: place.show(run), str(self.heads_file), *roi)

    def _train_stage_1(self, run: RunFolder, description: RunDescription, place: _Place) -> None:
        """A run that ends where stage 2 would begin."""
        if not (run.path / "run.json").exists():
            settings = replace(description.settings, stage2_epochs=0)
            self._start(run, replace(description, settings=settings))
        if MeasuredRun(run).cost is None:
            work_on(run, lambda: place.show(run))

    def _start(self, run: RunFolder, description: RunDescription) -> None:
        """Write a new run that finds its slices ready."""
        run.cache.mkdir(parents=True, exist_ok=True)
        for case in description.dataset.in_training():
            ready = cache_file(case, description.settings, self._cache)
            if not (run.cache / ready.name).exists():
                _link(ready, run.cache / ready.name)
        start_run(run.path, description)

    # What came of it.

    def _measured_seeds(self, row: Row) -> list[int]:
        begin = f"{row.key}-seed"
        names = [path.name.removeprefix(begin) for path in (self.folder / "runs").glob(f"{begin}*")]
        return [int(name) for name in names if name.isdecimal() and MeasuredRun(self.run(row, int(name))).is_done]

    def _result(self, row: Row, seed: int) -> SeedResult:
        run = self.run(row, seed)
        measured = MeasuredRun(run)
        scores = {weights: measured.scores(weights) for weights in WEIGHTS} if measured.is_done else {}
        return SeedResult(seed, measured.cost, scores, failures_in(self.folder).get(run.path.name))


@dataclass(frozen=True)
class _Place:
    """Where in the whole benchmark a row stands, to tell how far it is."""

    number: int
    count: int
    title: str
    progress: Progress

    def show(self, run: RunFolder) -> None:
        status = run.status()
        if status.state == "finished":
            what = "measuring"
        else:
            what = f"{status.phase}, step {status.step} of {status.total_steps}" if status.step else status.phase
        text = f"row {self.number + 1} of {self.count}, {self.title}: {what}"
        self.progress(text, (self.number + status.share) / self.count)


def _dataset_of(row: Row, data: BenchmarkData) -> Dataset | None:
    return data.labelled if METHODS[row.method].reads_mr_labels else data.adaptation


def _chosen(rows: tuple[Row, ...], keys: Sequence[str]) -> tuple[Row, ...]:
    known = [row.key for row in rows]
    for key in keys:
        if key not in known:
            raise HipError("unknown_row", f"There is no row {key}; there are {', '.join(known)}.")
    return tuple(row for row in rows if not keys or row.key in keys)


def _without_folders(word: str) -> str:
    """A table that is shown to others does not say where its maker keeps things."""
    return Path(word).name if os.path.isabs(word) else word


def _take_over(stage_1: RunFolder, run: RunFolder) -> None:
    """Let ``run`` go on from the end of ``stage_1``. A kill in between costs nothing but the time of training it."""
    (run.path / "measured").mkdir(exist_ok=True)
    for file in ("measured/seconds.json", "metrics.jsonl", "checkpoints/last.pt"):
        with replacing(run.path / file) as beside:
            shutil.copy(stage_1.path / file, beside)


def _link(file: Path, to: Path) -> None:
    """One file under two names, or a copy where the disk knows no such thing."""
    try:
        os.link(file, to)
    except OSError:
        shutil.copy(file, to)
