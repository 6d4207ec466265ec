"""The paper's tables: trained and measured row by row, whatever interrupts it, and told without flattery."""

from __future__ import annotations

import json
import re
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.common.errors import HipError
from HipICMSCTrainingLib.benchmark.data import SCALES, Subjects, read_data, write_phantoms
from HipICMSCTrainingLib.benchmark.plan import Plan
from HipICMSCTrainingLib.benchmark.row import WEIGHTS, MeasuredRun
from HipICMSCTrainingLib.benchmark.rows import Row, rows_of
from HipICMSCTrainingLib.benchmark.runs import Benchmark
from HipICMSCTrainingLib.benchmark.table import RowOfSeeds, SeedResult, differences_of_order, table_markdown
from HipICMSCTrainingLib.cli import main
from HipICMSCTrainingLib.data.dataset import Case, Dataset
from HipICMSCTrainingLib.data.dataset_file import write_dataset_file
from HipICMSCTrainingLib.evaluation.metrics import METRICS
from HipICMSCTrainingLib.evaluation.pairs import Pair
from HipICMSCTrainingLib.evaluation.scores import CLASSES, RESULTS, evaluate_pairs
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.phantom.dataset import Resolution
from HipICMSCTrainingLib.phantom.subject import make_mri
from HipICMSCTrainingLib.run.description import RunDescription, start_run
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.previews import CONTOUR_COLOURS
from HipICMSCTrainingLib.run.trainer import Trainer
from patience import PATIENCE
from PIL import Image
from tiny_training import ASSIGNMENTS, child, command, differences, tiny_settings

#: Two rows of Table 2, which have stage 1 in common; the second is a row of Table 1, too.
FIRST, SECOND = "icmsc-step2", "icmsc"
ROI_MM = 60.0
#: Epochs long enough to be interrupted, and a checkpoint after each step.
CHANGES = {"steps_per_epoch": 16, "stage2_epochs": 1, "checkpoint_minutes": 0.0, "batch_size": 1}


# A benchmark of two rows.


@pytest.fixture(scope="module")
def dataset_file(tiny_data, tmp_path_factory) -> Path:
    """The tiny phantoms, and an MRI of a third person to measure on, the upper part of which is not to be counted."""
    folder = tmp_path_factory.mktemp("third")
    person = make_mri(3, 2, in_plane_mm=4.0, slice_mm=6.0)
    image, label = str(folder / "mri02.nii.gz"), str(folder / "mri02_label.nii.gz")
    sitk.WriteImage(person.image, image)
    sitk.WriteImage(person.label, label)
    ignore = sitk.Image(person.label.GetSize(), sitk.sitkUInt8)
    ignore.CopyInformation(person.label)
    ignore[:, person.label.GetHeight() // 2 :, :] = 1
    sitk.WriteImage(ignore, str(folder / "mri02_ignore.nii.gz"))
    third = Case("mri02", "MR", "test", "mri02", image, label)
    write_dataset_file(Dataset((*tiny_data.dataset.cases, third)), folder / "dataset.json")
    return folder / "dataset.json"


@pytest.fixture(scope="module")
def words(dataset_file) -> Callable[..., list[str]]:
    """Arguments of `hipicmsc` that make both rows in a folder."""
    settings = ASSIGNMENTS | CHANGES | {"icmsc.image_pool": 2}
    assignments = [part for name, value in settings.items() for part in ("--set", f"{name}={json.dumps(value)}")]

    def given(folder: Path) -> list[str]:
        table = ["benchmark", "table2", str(folder), "--rows", f"{FIRST},{SECOND}", "--seeds", "1"]
        data = ["--preset", "smoke", "--dataset", str(dataset_file), "--roi-mm", str(ROI_MM)]
        return [*table, *data, *assignments]

    return given


@pytest.fixture(scope="module", autouse=True)
def children_with_one_thread() -> Iterator[None]:
    """Sums in the same order in all processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("MKL_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def finished(words, tmp_path_factory) -> Path:
    """The folder of a benchmark that nothing interrupted; tests only read it."""
    folder = tmp_path_factory.mktemp("finished") / "benchmark"
    assert main(words(folder)) == 0
    return folder


def measured(folder: Path, row: str) -> MeasuredRun:
    return MeasuredRun(RunFolder(folder / "runs" / f"{row}-seed0"))


def numbers(folder: Path) -> list[dict[str, Any]]:
    """The rows of the table without what no two trainings have in common: how long they took."""
    rows = json.loads((folder / "table2.json").read_text(encoding="utf-8"))["rows"]
    for row in rows:
        for seed in row["seeds"]:
            del seed["cost"]
    return rows


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the benchmark is too slow"
        time.sleep(0.02)


def is_at_work(run: RunFolder, step: int) -> bool:
    """Whether a process has trained the run beyond ``step``."""
    return run.in_use() and run.checkpoints.last()["step"] > step


def test_its_numbers_are_those_of_its_runs(finished, tmp_path, capsys):
    table = str(finished / "table2.json")
    assert main(["benchmark", "check", table, "--runs", str(finished)]) == 0
    other = tmp_path / "other"
    shutil.copytree(finished, other, ignore=shutil.ignore_patterns("cache", "checkpoints"))
    file = other / "runs" / f"{SECOND}-seed0" / "measured" / "last.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(values | {"step": 0}), encoding="utf-8")
    shutil.rmtree(other / "runs" / f"{FIRST}-seed0")
    assert main(["benchmark", "check", table, "--runs", str(other)]) == 2
    said = capsys.readouterr().out
    assert f"seed 0, last: other scores than {other}/runs/{SECOND}-seed0 has." in said
    assert f"{FIRST}-seed0 was not measured to its end, or is not there." in said


def test_each_row_appears_with_the_numbers_of_its_weights_and_what_it_cost(finished, dataset_file):
    table = json.loads((finished / "table2.json").read_text(encoding="utf-8"))
    assert [row["title"] for row in table["rows"]] == ["+ IMSC_S", "+ CMSC_T"]
    for row in table["rows"]:
        (seed,) = row["seeds"]
        assert seed["cost"]["seconds"] > 0 and seed["cost"]["memory_bytes"] > 2**20 and seed["cost"]["device"] == "cpu"
        for weights in WEIGHTS:
            evaluation = seed["scores"][weights]["evaluation"]
            assert [volume["name"] for volume in evaluation["volumes"]] == ["test 1"]
            for result in RESULTS:
                dice = evaluation["volumes"][0]["scores"][result]["femur"]["dice"]
                assert row["over_seeds"][weights][result]["femur"]["dice"]["mean"] == pytest.approx(dice)
    routes = [row["seeds"][0]["scores"]["selected"]["route"] for row in table["rows"]]
    assert routes == ["F_s(G_ts)", "F_t"]
    markdown = (finished / "table2.md").read_text(encoding="utf-8")
    assert "79.32" in markdown and "88.16" in markdown  # the paper's
    assert "hip bone (60 mm): only within 60 mm" in markdown and "ignore masks" in markdown
    assert "6-neighbour erosion" in markdown and "research use only" in markdown
    assert "1 MR test" in markdown and "preset smoke with `" in markdown and "`batch_size=1`" in markdown
    assert "`icmsc.image_pool=2`" in markdown and "contrast" not in table["plan"]
    assert str(dataset_file.parent) not in json.dumps(table) + markdown


def test_what_was_measured_is_what_the_product_says_of_the_mri(finished, dataset_file):
    """The stored prediction of the selected weights, compared with the truth here, gives the table's raw numbers: in
    the region that was asked for, without the voxels of the mask beside the truth."""
    (case,) = read_data(dataset_file).measured_cases
    run = measured(finished, SECOND)
    ignore = dataset_file.with_name("mri02_ignore.nii.gz")
    again = evaluate_pairs([Pair("test 1", run.prediction(1), Path(case.label), [ignore])], ROI_MM)
    everywhere = evaluate_pairs([Pair("test 1", run.prediction(1), Path(case.label))])
    assert again.summary("raw", "hip_bone", "dice") != everywhere.summary("raw", "hip_bone", "dice")
    stored = run.scores("selected")["evaluation"]["summary"]["raw"]
    for name in CLASSES:
        for metric in METRICS:
            assert stored[name][metric]["mean"] == again.summary("raw", name, metric).mean


def test_a_shared_stage_1_changes_nothing(finished, tmp_path, one_thread):
    """The row that went on from the shared stage 1 has the weights of one that was trained alone."""
    run = measured(finished, FIRST).run
    alone = start_run(tmp_path / "alone", RunDescription.read(run))
    shutil.copytree(run.cache, alone.cache, dirs_exist_ok=True)
    Trainer(alone).train()
    assert differences(alone.checkpoints.last(), run.checkpoints.last()) == []
    assert differences(alone.checkpoints.selected(), run.checkpoints.selected()) == []
    stage_1 = RunFolder(finished / "runs" / "stage1-icmsc-seed0").status()
    assert stage_1.total_steps == CHANGES["steps_per_epoch"]


@pytest.mark.slow
def test_a_row_that_comes_later_takes_the_stage_1_that_is_there(finished, words, tmp_path):
    folder = tmp_path / "benchmark"
    shutil.copytree(finished, folder)
    row = measured(folder, SECOND)
    shutil.rmtree(row.run.path)
    assert main([*words(folder), "--rows", SECOND]) == 0
    # How long its steps took is the same to the last digit, as in no two trainings.
    stage_1 = (folder / "runs" / "stage1-icmsc-seed0" / "metrics.jsonl").read_bytes()
    assert (row.run.path / "metrics.jsonl").read_bytes().startswith(stage_1)
    assert numbers(folder) == numbers(finished)


@pytest.mark.slow
def test_a_benchmark_interrupted_and_killed_goes_on_and_ends_in_the_same_table(finished, words, tmp_path):
    folder = tmp_path / "benchmark"
    shutil.copytree(finished, folder)
    first, second = measured(folder, FIRST), measured(folder, SECOND)
    send_back_to_stage_2(folder, second)
    done = {path: path.stat().st_mtime_ns for path in first.run.path.rglob("*") if path.name != "lock"}

    process = child(command(*words(folder)))
    wait_until(lambda: is_at_work(second.run, CHANGES["steps_per_epoch"]), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    status = second.run.status()
    assert (status.state, second.run.in_use(), second.run.requested("STOP")) == ("paused", False, False)
    assert second.run.checkpoints.last()["step"] == status.step > CHANGES["steps_per_epoch"]
    process.communicate()

    process = child(command(*words(folder)))
    wait_until(lambda: is_at_work(second.run, status.step), process)
    process.kill()
    process.communicate()
    end = time.monotonic() + PATIENCE
    while second.run.in_use():  # nobody goes on training for a benchmark that is gone
        assert time.monotonic() < end
        time.sleep(0.02)
    assert not second.is_done

    assert main(words(folder)) == 0
    assert {path: path.stat().st_mtime_ns for path in first.run.path.rglob("*") if path.name != "lock"} == done
    assert numbers(folder) == numbers(finished)


def send_back_to_stage_2(folder: Path, row: MeasuredRun) -> None:
    """As if the row had just taken over the shared stage 1."""
    row.run.write_status(replace(row.run.status(), state="paused"))
    shutil.rmtree(row.folder)
    row.folder.mkdir()
    stage_1 = RunFolder(folder / "runs" / "stage1-icmsc-seed0")
    shutil.copy(stage_1.checkpoints.last_file, row.run.checkpoints.folder)
    row.run.checkpoints.selected_file.unlink()


@pytest.mark.slow
def test_a_row_that_fails_is_told_and_the_others_go_on(finished, words, tmp_path, capsys):
    folder = tmp_path / "benchmark"
    shutil.copytree(finished, folder)
    for row in (FIRST, SECOND):
        for weights in WEIGHTS:
            (measured(folder, row).folder / f"{weights}.json").unlink()
    checkpoint = measured(folder, FIRST).run.checkpoints.last_file
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:1000])
    assert main(words(folder)) == 2
    assert f"{FIRST}-seed0 failed: {checkpoint} is damaged" in capsys.readouterr().out
    table = (folder / "table2.md").read_text(encoding="utf-8")
    assert f"+ IMSC_S, seed 0, failed: {checkpoint} is damaged" in table
    assert measured(folder, SECOND).is_done
    assert main(["benchmark", "status", str(folder)]) == 0
    assert f"{FIRST}-seed0 failed: " in capsys.readouterr().out

    checkpoint.write_bytes(whole)
    assert main(words(folder)) == 0
    assert "failed" not in (folder / "table2.md").read_text(encoding="utf-8")
    assert [row["over_seeds"] for row in numbers(folder)] == [row["over_seeds"] for row in numbers(finished)]


def test_seeds_that_were_measured_before_stay_in_the_table(finished, words, tmp_path):
    folder = tmp_path / "benchmark"
    shutil.copytree(finished, folder)
    shutil.copytree(folder / "runs" / f"{SECOND}-seed0", folder / "runs" / f"{SECOND}-seed1")
    assert main([*words(folder), "--rows", FIRST]) == 0
    table = json.loads((folder / "table2.json").read_text(encoding="utf-8"))
    assert [[seed["seed"] for seed in row["seeds"]] for row in table["rows"]] == [[0], [0, 1]]
    assert table["seeds"] == [0, 1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["table1", "--set", "seed=7"], "say by --seeds how many"),
        (["table1", "--preset", "slabs", "--dataset", "dataset.json"], "leave reads at crop"),
        (["table1", "--data-seed", "-1"], "--data-seed is -1"),
        (["figure2", "-o", "figure.png", "--examples", "0"], "--examples is 0"),
        (["figure3", "-o", "figure.png", "--examples", "-1"], "--examples is -1"),
    ],
)
def test_options_that_cannot_be_meant_are_one_sentence(words, sentence, tmp_path, capsys):
    part, *options = words
    assert main(["benchmark", part, str(tmp_path / "benchmark"), *options]) == 2
    assert sentence in capsys.readouterr().err


def test_the_folder_says_what_it_is_about(finished, words, capsys):
    """Without options a benchmark goes on as it was planned; with others it refuses."""
    assert main(["benchmark", "table2", str(finished), "--seeds", "1", "--rows", SECOND]) == 0
    assert main([*words(finished), "--set", "batch_size=3"]) == 2
    assert "holds a benchmark on other data or with other settings" in capsys.readouterr().err
    assert main(["benchmark", "table2", str(finished), "--rows", "cyclegun"]) == 2
    assert "There is no row cyclegun" in capsys.readouterr().err
    assert main(["benchmark", "figure2", str(finished / "runs"), "-o", "figure.png"]) == 2
    assert "holds no benchmark" in capsys.readouterr().err


# Figures.


def test_figure_2_shows_mri_methods_and_truth(finished, tmp_path):
    assert main(["benchmark", "figure2", str(finished), "-o", str(tmp_path / "figure.png"), "--examples", "2"]) == 0
    panels = panels_of(tmp_path / "figure.png", columns=3, rows=2, left=0, height=192)
    for mri, _, truth in panels:
        assert not any(has_colour(mri, colour) for colour in CONTOUR_COLOURS)
        assert all(has_colour(truth, colour) for colour in CONTOUR_COLOURS)
        covered = (mri == truth).all(axis=-1)
        assert 0.5 < covered.mean() < 1  # the same slice
    assert (panels[0][0] != panels[1][0]).any()  # another example


def test_figure_3_shows_both_directions_there_and_back(finished, tmp_path, capsys):
    file = tmp_path / "figure.png"
    assert main(["benchmark", "figure3", str(finished), "-o", str(file), "--examples", "1"]) == 0
    size = Image.open(file).size
    left = size[0] - 3 * 303  # input, translated, reconstructed by ICMSC alone, as CycleGAN was not trained
    assert 0 < left < 150
    panels = panels_of(file, columns=3, rows=2, left=left, height=300 * 24 // 32)
    assert all(panel.std() > 0 for row in panels for panel in row)
    picture = file.read_bytes()
    assert main(["benchmark", "figure3", str(finished), "-o", str(file), "--examples", "1"]) == 2
    assert "--overwrite" in capsys.readouterr().err and file.read_bytes() == picture
    assert main(["benchmark", "figure3", str(finished), "-o", str(file), "--seed", "7", "--overwrite"]) == 2
    assert "seed 7" in capsys.readouterr().err
    assert main(["benchmark", "figure3", str(finished), "-o", str(file.with_suffix(".xyz"))]) == 2
    assert ".png" in capsys.readouterr().err


def panels_of(file: Path, columns: int, rows: int, left: int, height: int) -> list[list[np.ndarray]]:
    """The pictures of a sheet, which has exactly so many of them."""
    sheet = np.asarray(Image.open(file))
    assert sheet.shape == (2 * 24 + rows * (height + 3), left + columns * 303, 3)
    return [
        [sheet[24 + r * (height + 3) :, left + c * 303 :][:height, :300].astype(int) for c in range(columns)]
        for r in range(rows)
    ]


def has_colour(panel: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(panel - colour).max(axis=-1) < 30).any())


# What a table says.


def ball(centre: tuple[int, int, int], radius: float) -> np.ndarray:
    grid = np.indices((20, 20, 20)) - np.array(centre)[:, None, None, None]
    return (grid**2).sum(axis=0) <= radius**2


def truth() -> np.ndarray:
    return ball((5, 10, 10), 3.5) + 2 * ball((14, 10, 10), 3.5)


def result(seed: int, *predictions: np.ndarray) -> SeedResult:
    """A row's result as the measuring process writes it, from label maps of hip bone 1 and femur 2."""
    pairs = [
        Pair(f"test {n}", sitk.GetImageFromArray(p.astype(np.uint8)), sitk.GetImageFromArray(truth().astype(np.uint8)))
        for n, p in enumerate(predictions, start=1)
    ]
    values = {"step": 10, "route": "F_t", "evaluation": evaluate_pairs(pairs).as_dict(), "failed": {}}
    cost = {"seconds": 60.0 * (seed + 1), "memory_bytes": (seed + 1) * 2**20, "device_memory_bytes": None,
            "device": "cpu", "commit": "0123456789abcdef-dirty", "versions": {"torch": "1"}}  # fmt: skip
    return SeedResult(seed, cost, json.loads(json.dumps({weights: values for weights in WEIGHTS})))


def shifted(by: int) -> np.ndarray:
    return np.roll(truth(), by, axis=2)


def a_row(title: str, results: list[SeedResult], paper: float = 80.0) -> RowOfSeeds:
    return RowOfSeeds(Row(title.lower(), title, "icmsc", {"hip_bone": paper, "femur": paper}), results)


FACTS = {
    "table": "table1",
    "synthetic": True,
    "plan": {"preset": "smoke", "contrast": "t1", "roi_mm": None},
    "changes": ["batch_size=3", "icmsc.contrast_prior=t1"],
    "volumes": {"MR test": 2},
    "seeds": [0, 1],
}


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_mean_and_deviation_are_over_the_seeds_means():
    row = a_row("A", [result(0, shifted(0), shifted(2)), result(1, shifted(1), shifted(3))])
    femur = truth() == 2
    by_shift = [dice(femur, np.roll(femur, by, axis=2)) for by in range(4)]
    first, second = (by_shift[0] + by_shift[2]) / 2, (by_shift[1] + by_shift[3]) / 2
    over = row.over_seeds("selected", "raw", "femur", "dice")
    assert over.mean == pytest.approx((first + second) / 2)
    assert over.sd == pytest.approx(abs(first - second) / 2**0.5)
    assert (over.seeds, over.missing) == (2, 0)
    expected = f"{100 * (first + second) / 2:.2f} ± {100 * statistics.stdev([first, second]):.2f}"
    markdown = table_markdown(FACTS, [row])
    assert expected in markdown
    assert "| A | 1 min 30 s | 2 MiB | – | cpu |" in re.sub(" +", " ", markdown)
    assert "0123456789ab, changed" in markdown


def test_an_empty_prediction_has_dice_0_and_its_missing_distances_are_counted():
    empty = np.zeros_like(truth())
    row = a_row("A", [result(0, empty, shifted(1)), result(1, empty, empty)])
    assert row.over_seeds("last", "raw", "femur", "dice").mean == pytest.approx(dice(truth() == 2, shifted(1) == 2) / 4)
    distance = row.over_seeds("last", "raw", "femur", "asd_mm")
    assert (distance.seeds, distance.missing, distance.sd) == (1, 3, None)
    assert distance.mean > 0
    assert f"{distance.mean:.2f} (3 missing)" in table_markdown(FACTS, [row])
    none = a_row("B", [result(0, empty)])
    assert none.over_seeds("last", "raw", "femur", "asd_mm").mean is None
    assert "– (1 missing)" in table_markdown(FACTS, [none])


def test_the_clean_up_is_a_table_of_its_own():
    strays = truth()
    strays[0, 0, 0] = 2
    row = a_row("A", [result(0, strays)])
    assert row.over_seeds("selected", "raw", "femur", "dice").mean < 1
    assert row.over_seeds("selected", "largest_components", "femur", "dice").mean == 1
    assert "## Without strays, weights of the last step" in table_markdown(FACTS, [row])


def test_an_order_other_than_the_papers_is_said_and_whether_it_may_be_chance():
    better = a_row("Better", [result(0, shifted(0)), result(1, shifted(0))], paper=70)
    worse = a_row("Worse", [result(0, shifted(2)), result(1, shifted(2))], paper=80)
    wavering = a_row("Wavering", [result(0, shifted(0)), result(1, shifted(4))], paper=90)
    (sentence,) = differences_of_order([better, worse])
    assert sentence.startswith("Better lies above Worse here") and "70.00 and 80.00 %)." in sentence
    assert any("smaller than the deviations" in each for each in differences_of_order([better, wavering]))
    (sentence,) = differences_of_order([a_row("Better", better.results[:1], 70), a_row("Worse", worse.results[:1], 80)])
    assert "one seed cannot tell" in sentence
    as_printed = [replace(row, row=replace(row.row, paper_dice=paper)) for row, paper in
                  ((better, {"hip_bone": 90.0, "femur": 90.0}), (worse, worse.row.paper_dice))]  # fmt: skip
    assert differences_of_order(as_printed) == [
        "By the mean Dice of both bones the order of these rows is the paper's."
    ]


# Data.


def test_synthetic_data_hide_the_labels_of_mris_from_all_but_the_target_model(tmp_path):
    coarse = Resolution(ct_mm=(4.0, 5.0, 4.0), mri_in_plane_mm=4.0, mri_slice_mm=6.0)
    scale = replace(
        SCALES["smoke"], subjects=Subjects(3, ct_train=2, ct_val=1, mr_train=1, mr_val=1), resolution=coarse
    )
    half_written = tmp_path / ".0123abcd-data" / "ct"
    half_written.mkdir(parents=True)
    file = write_phantoms(tmp_path / "data", scale, 5, "fat-suppressed")
    assert not half_written.parent.exists()
    data = read_data(file)
    roles = {(m, r): len(data.adaptation.of(m, r)) for m in ("CT", "MR") for r in ("train", "val", "test")}
    assert roles == {("CT", "train"): 2, ("CT", "val"): 1, ("CT", "test"): 0,
                     ("MR", "train"): 1, ("MR", "val"): 1, ("MR", "test"): 1}  # fmt: skip
    assert [case.name for case in data.adaptation.cases if case.modality == "MR" and case.label] == ["mri02"]
    assert all(case.label for case in data.labelled.cases)
    assert len({case.patient for case in data.adaptation.cases}) == 6

    image, label = (sitk.GetArrayFromImage(sitk.ReadImage(path)) for path in (
        data.measured_cases[0].image, data.measured_cases[0].label))  # fmt: skip
    bone, rest = image[label > 0].mean(), image[(label == 0) & (image > 100)].mean()
    assert bone < rest  # fat-suppressed marrow is dark, in CT bone is bright
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.*")}
    assert write_phantoms(tmp_path / "data", scale, 5, "fat-suppressed") == file
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.*")} == made


def test_only_short_trainings_on_synthetic_data_are_given_a_guess_of_the_contrast(dataset_file, tmp_path):
    def planned(name: str, *options: str) -> dict[str, Any]:
        assert main(["benchmark", "table1", str(tmp_path / name), "--rows", "no such row", *options]) == 2
        return json.loads((tmp_path / name / "benchmark.json").read_text(encoding="utf-8"))["method_settings"]

    translating = ("cyclegan", "cycada", "sifa", "icmsc")
    assert planned("default") == {method: {"contrast_prior": "fat-suppressed"} for method in translating}
    changed = planned("t1", "--contrast", "t1", "--set", "icmsc.contrast_prior=none", "--set", "cycada.image_pool=3")
    assert changed["icmsc"] == {"contrast_prior": "none"}
    assert changed["cycada"] == {"contrast_prior": "t1", "image_pool": 3}
    assert planned("paper", "--preset", "paper") == {}
    own = ("--preset", "phantom-cpu", "--dataset", str(dataset_file))
    assert planned("own", *own) == {}
    assert planned("own t1", *own, "--contrast", "t1") == {key: {"contrast_prior": "t1"} for key in translating}


def test_the_target_model_is_left_out_where_mris_have_no_labels(dataset_file, tmp_path):
    plan = Plan("smoke", tiny_settings(), dataset=str(dataset_file))
    failures = Benchmark(tmp_path / "benchmark", plan).make("table1", [0], ["target_model"])
    assert failures == {}
    assert "Target model: Left out: it learns from labels of MRIs" in (tmp_path / "benchmark" / "table1.md").read_text(
        encoding="utf-8"
    )


def test_a_dataset_with_nothing_to_measure_is_refused(tiny_data, tmp_path):
    write_dataset_file(tiny_data.dataset, tmp_path / "dataset.json")
    plan = Plan("smoke", tiny_settings(), dataset=str(tmp_path / "dataset.json"))
    with pytest.raises(HipError) as refused:
        Benchmark(tmp_path / "benchmark", plan).make("table1", [0])
    assert refused.value.kind == "no_labelled_mri"


def test_the_papers_numbers_stand_beside_their_rows():
    printed = {
        row.key: [
            row.paper_dice["hip_bone"],
            row.paper_asd_mm["hip_bone"],
            row.paper_dice["femur"],
            row.paper_asd_mm["femur"],
        ]
        for row in rows_of("table1")
    }
    assert printed == {
        "no_adaptation": [0.08, 29.36, 0.01, 31.27],
        "adda": [50.56, 4.20, 64.80, 4.87],
        "cyclegan": [74.55, 2.05, 72.78, 9.16],
        "cycada": [73.80, 3.18, 83.18, 2.24],
        "sifa": [79.60, 2.93, 83.32, 2.67],
        "icmsc": [81.61, 1.61, 88.16, 1.42],
        "target_model": [95.23, 0.43, 97.29, 0.35],
    }
    assert [row.paper_dice["hip_bone"] for row in rows_of("table2")] == [74.55, 74.97, 78.46, 76.93, 81.61]
    assert [row.paper_dice["femur"] for row in rows_of("table2")] == [72.78, 79.32, 82.57, 84.94, 88.16]
    keys = [row.key for row in rows_of("table2")]
    assert (keys[0], keys[-1]) == ("cyclegan", "icmsc")  # trained once for both tables


@pytest.mark.slow
def test_both_tables_and_figures_from_synthetic_data(tmp_path, capsys):
    """One command each, in one folder; every method that is registered is a row."""
    folder = tmp_path / "benchmark"
    for table in ("table1", "table2"):
        assert main(["benchmark", table, str(folder), "--preset", "smoke", "--contrast", "t1", "--seeds", "2"]) == 0
    rows = json.loads((folder / "table1.json").read_text(encoding="utf-8"))["rows"]
    assert {row["method"] for row in rows} == METHODS.keys()
    assert all(len(row["seeds"]) == 2 and all(seed["scores"] for seed in row["seeds"]) for row in rows)
    for figure in ("figure2", "figure3"):
        assert main(["benchmark", figure, str(folder), "-o", str(tmp_path / f"{figure}.png")]) == 0
    panels_of(tmp_path / "figure2.png", columns=len(rows) + 2, rows=3, left=0, height=192)
