"""What corrected MRIs teach a model: Dice on held-out MRIs with 0, 1, 2, 4 (and 8) of them, and what is forgotten.

    .venv/bin/python Testing/benchmarks/corrections.py phantoms OUT     # synthetic: from T1 to fat suppression
    .venv/bin/python Testing/benchmarks/corrections.py sts OUT DATA     # axial T1 of one hip, from the shipped hip-mri

An experiment about corrections alone: here, and nowhere else, labels of MRIs teach; the model that ships is not touched
by them. Seeds are fixed. Whatever is done stays in OUT, also after a kill, and the same command goes on. When all is
done, ``corrections_phantoms.json`` and ``.md`` (or ``corrections_sts``) are written into OUT. ``--quick`` shows in
minutes that everything works together, and tells nothing.

phantoms: F_t learns first from MRIs of the contrast T1 alone, simulated from synthetic CTs. Then it is corrected on
phantoms with fat suppression, whose truth stands for what a person corrected, in the preset ``corrections`` at the
phantoms' resolution, and measured on others of that contrast, and on others of T1.

sts: five patients, whose labels were carried over from their CT. Two of them, 031 and 050, have no part in the shipped
model, and they are measured; the other three are there to correct. Four teach where the fourth is the one of the two
that is not measured then, so there are two trainings with four. What nobody knows (``_ignore``) is left out of the
measurement, and blanked in the MRIs that teach, whose labels then are right. The training beside them is as the
shipped model's, which knows no CT of the measured patients either.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.cases.keep import keep_case
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import write_text
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.models.chosen import find_model
from HipICMSCLib.models.package import read_package
from HipICMSCLib.networks.slab_unet import SlabUNetSettings
from HipICMSCLib.preprocessing.geometry import Grid
from HipICMSCLib.preprocessing.slabs import SlabSettings
from HipICMSCTrainingLib.data.dataset import Case, Dataset
from HipICMSCTrainingLib.data.dataset_file import dataset_from_file
from HipICMSCTrainingLib.evaluation.pairs import Pair
from HipICMSCTrainingLib.evaluation.scores import evaluate_pairs
from HipICMSCTrainingLib.evaluation.table import markdown_table
from HipICMSCTrainingLib.methods.icmsc import IcmscSettings
from HipICMSCTrainingLib.phantom.dataset import SMOKE
from HipICMSCTrainingLib.phantom.subject import make_ct, make_mri
from HipICMSCTrainingLib.run.description import RunDescription, start_run
from HipICMSCTrainingLib.run.export import export_package
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.starting_weights import with_settings_of
from HipICMSCTrainingLib.run.trainer import Trainer
from HipICMSCTrainingLib.settings.simulation import SimulationSettings
from HipICMSCTrainingLib.settings.training import PRESETS, TrainingSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "real_data"))
from make_dataset import MEASURED as MEASURED_PATIENTS
from make_dataset import write_dataset

#: The seed of the phantoms.
PHANTOMS = 1
#: Bones of each case are all completed: the labels are the truth, or as near to it as there is.
ALL = {segment.segment_id for segment in SEGMENTS}
#: Of phantoms: pixels of 2.5 mm, as they have, and a network as deep as slices of 96 pixels allow.
PIXEL_MM, PATCH = 2.5, 96
T1_ONLY = {f"contrast_{name}": 0.0 for name in SimulationSettings().shares("contrast")} | {"contrast_t1": 1.0}
#: Phantoms by number: of both contrasts one for the scores that need no label, and those that are measured.
TAUGHT, FOR_SCORES, MEASURED = range(20, 28), 28, range(40, 46)
#: A training of as many steps without any correction, so that what steps alone do is told from what corrections do.
CONTROL = "none, as many steps"
#: The order in which the other patients are added to those who teach; the one of both measured ones that is not
#: measured is the fourth.
OTHERS = ("036", "048", "014")
CORONAL = ("cptac_C3N-01003_t1cor", "cptac_C3N-02632_t1cor")


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        start_epochs: of 100 steps, of the model from which corrections start (phantoms alone).
        epochs: of 100 steps, of a training with corrected MRIs.
        steps: of an epoch.
        measured: at most so many phantoms of each contrast.
        counts: of corrected MRIs.
        cts: at most so many CTs (sts alone).
    """

    start_epochs: int = 20
    epochs: int = 6
    steps: int = 100
    measured: int = 6
    counts: tuple[int, ...] = (0, 1, 2, 4, 8)
    cts: int = 8


QUICK = Size(start_epochs=2, epochs=1, steps=10, measured=1, counts=(0, 1), cts=2)


@dataclass(frozen=True)
class Measured:
    """An MRI with its truth, and what of it is not known."""

    name: str
    image: Path
    label: Path
    ignored: tuple[Path, ...] = ()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("phantoms", "sts"))
    parser.add_argument("out", type=Path)
    parser.add_argument("data", type=Path, nargs="?", help="the working set, of which sts/ is a part (sts alone)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="of trainings; numbers are means over them")
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    size = QUICK if chosen.quick else Size()
    out = chosen.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    # The list of cases that only the user has is none of this experiment's.
    os.environ["HIPICMSC_HOME"] = str(out / "home")
    try:
        if chosen.mode == "phantoms":
            phantoms(out, size, chosen.seeds)
        elif chosen.data is None:
            parser.error("sts needs DATA")
        else:
            fewer = replace(size, counts=tuple(count for count in size.counts if count <= 4))
            sts(out, chosen.data.resolve(), fewer, chosen.seeds)
    except HipError as error:
        print(f"corrections: {error.sentence}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("corrections: interrupted; the same command goes on.", file=sys.stderr)
        return 130
    return 0


class Results:
    """Numbers by name in a file that is written after each."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        """What is known by this name; computed where it is not."""
        if name not in self.found:
            print(f"{time.strftime('%H:%M:%S')}  {name}", flush=True)
            self.found[name] = compute()
            write_text(self.file, json.dumps(self.found, indent=2) + "\n")
        return self.found[name]


#: Numbers of a line of a table.
Cells = list[float]


def phantoms(out: Path, size: Size, seeds: Sequence[int]) -> None:
    results = Results(out / "corrections_phantoms.json")
    lines = _mean_of([_phantoms_of_a_seed(out / "phantoms", size, seed, results) for seed in seeds])
    header = ["corrected MRIs", "fat-suppressed: hip bone", "femur", "mean", "T1: hip bone", "femur", "mean"]
    write_text(
        out / "corrections_phantoms.md",
        "# Corrected phantoms: Dice % on held-out ones\n\n"
        f"Synthetic. Mean over {size.measured} phantoms of each contrast, results as delivered. The start (0) learned "
        f"{size.start_epochs * size.steps} steps of T1 simulated from four synthetic CTs; each line is a training of "
        f"{size.epochs * size.steps} steps from there. T1 tells what was forgotten. {_of_seeds(seeds)}\n\n"
        f"{markdown_table([header, *lines])}\n",
    )
    print((out / "corrections_phantoms.md").read_text())


def _phantoms_of_a_seed(phantoms: Path, size: Size, seed: int, results: Results) -> dict[str, Cells]:
    """By how many corrected MRIs: Dice % of the bones and their mean, on the new contrast and on T1."""
    cts = [_ct(phantoms, number) for number in range(5)]
    t1 = [_mri(phantoms, number, False) for number in MEASURED][: size.measured]
    fat = [_mri(phantoms, number, True) for number in MEASURED][: size.measured]
    unlabelled = [
        _unlabelled(_mri(phantoms, FOR_SCORES + more, False), role) for more, role in ((0, "train"), (1, "val"))
    ]
    folder = phantoms / f"seed-{seed}"
    start = folder / "start.hipmodel"
    settings = TrainingSettings(
        seed=seed, reads="slabs", batch_size=4, simulation_epochs=size.start_epochs, stage1_epochs=0, stage2_epochs=0,
        steps_per_epoch=size.steps, slab=SlabSettings(pixel_mm=PIXEL_MM), slab_unet=SlabUNetSettings(levels=5),
        simulation=SimulationSettings(patch=PATCH, least_patch=64, **T1_ONLY), recompute=False,
        translator=PRESETS["corrections"].translator, discriminator_width=32, ema_decay=0.99,
    )  # fmt: skip
    _train(folder / "start", settings, Dataset((*cts, *unlabelled)), start)

    corrected = [_mri(phantoms, number, True) for number in TAUGHT][: max(size.counts)]
    cases = [_kept(folder / "cases", each, start) for each in corrected]
    held_out = _unlabelled(_mri(phantoms, FOR_SCORES, True), "val")
    lines = {}
    for count, taught in _teachings(size, cases):
        package = start
        if taught:
            name = _file_name(count)
            package = folder / f"{name}.hipmodel"
            _correct(folder / name, start, size, Dataset((*cts, *taught, held_out)), package, results, seed)
        lines[count] = []
        for contrast, of in (("fat-suppressed", fat), ("T1", t1)):
            name = f"seed {seed}, {count} corrected, {contrast}"
            lines[count] += _means(results.get(name, lambda package=package, of=of: _dice(package, of)))
    return lines


def sts(out: Path, data: Path, size: Size, seeds: Sequence[int]) -> None:
    start = find_model("hip-mri")
    results = Results(out / "corrections_sts.json")
    sha256 = read_package(start).sha256
    if results.get("start", lambda: sha256) != sha256:
        raise HipError("changed_start", f"{out} was begun with another hip-mri; choose another folder.")
    lines = _mean_of([_sts_of_a_seed(out / "sts" / f"seed-{seed}", data, start, size, seed, results) for seed in seeds])
    bones = ["hip bone", "femur", "mean"]
    header = ["corrected", *(f"{what}: {bone}" for what in (*MEASURED_PATIENTS, "coronal T1") for bone in bones)]
    write_text(
        out / "corrections_sts.md",
        "# Corrected axial T1 of one hip: Dice % on two patients, 031 and 050, that no training saw\n\n"
        "Labels carried over from CT; what is not known is left out; results as delivered. 0 is the shipped hip-mri "
        f"(SHA-256 {sha256[:12]}…). Each line is a training of {size.epochs * size.steps} steps from there, beside "
        f"MRIs simulated from at most {size.cts} CTs. Patients {', '.join(OTHERS)} teach, in this order; the fourth is "
        "the one of 031 and 050 that is not measured then, so that line is two trainings. Coronal T1 of both hips "
        f"({min(size.measured, len(CORONAL))}; what no reader knows left out) tells what was forgotten. Two patients "
        f"are no validation. {_of_seeds(seeds)}\n\n{markdown_table([header, *lines])}\n",
    )
    print((out / "corrections_sts.md").read_text())


def _sts_of_a_seed(folder: Path, data: Path, start: Path, size: Size, seed: int, results: Results) -> dict[str, Cells]:
    """By how many corrected MRIs: Dice % of the bones and their mean, of each measured patient and of coronal T1."""
    listed = folder / "dataset.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_dataset(data, listed)
    dataset = dataset_from_file(listed)
    own = [case for case in dataset.of("CT", "train") if case.name.startswith("sts")]
    cts = [case for case in dataset.of("CT", "train") if case not in own]
    beside = [*own, *cts][: size.cts] + dataset.of("CT", "val")[:1] + dataset.of("MR", "val")[:1]
    coronal = [_coronal(data, name) for name in CORONAL][: size.measured]

    def taught_by(count: str, measured: str) -> tuple[str, Path]:
        """The name of a training and its package: of so many patients, none of them this one."""
        patients = (*OTHERS, *(patient for patient in MEASURED_PATIENTS if patient != measured))
        patients = patients[: max(size.counts)]
        blanked = [_blanked(folder, _axial(data, patient)) for patient in patients]
        taught = dict(_teachings(size, [_kept(folder / "cases", each, start) for each in blanked]))[count]
        if not taught:
            return "with-0", start
        # Only of four one depends on who is measured.
        name = _file_name(count) + (f"-{patients[-1]}" if len(taught) > len(OTHERS) else "")
        package = folder / f"{name}.hipmodel"
        _correct(folder / name, start, size, Dataset((*beside, *taught)), package, results, seed)
        return name, package

    lines = {}
    for count in (*map(str, size.counts), CONTROL):
        cells, forgotten = [], []
        for patient in MEASURED_PATIENTS:
            name, package = taught_by(count, patient)
            name, axial = f"seed {seed}, {name}", [_axial(data, patient)]
            cells += _means(results.get(f"{name}, {patient}", lambda p=package, of=axial: _dice(p, of)))
            forgotten.append(_means(results.get(f"{name}, coronal", lambda p=package: _dice(p, coronal))))
        lines[count] = cells + [statistics.fmean(column) for column in zip(*forgotten, strict=True)]
    return lines


def _mean_of(lines: Sequence[dict[str, Cells]]) -> list[list[str]]:
    """The lines of a table, each number the mean over seeds, with its deviation where there are several."""
    table = []
    for count in lines[0]:
        cells = [str(count)]
        for numbers in zip(*(of_seed[count] for of_seed in lines), strict=True):
            spread = f" ± {statistics.stdev(numbers):.1f}" if len(numbers) > 1 else ""
            cells.append(f"{statistics.fmean(numbers):.1f}{spread}")
        table.append(cells)
    return table


def _of_seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"Seed {seeds[0]}, one run of each."
    return f"Seeds {', '.join(map(str, seeds))} of the trainings: mean ± standard deviation."


# Trainings.


def _teachings(size: Size, cases: Sequence[Case]) -> list[tuple[str, Sequence[Case]]]:
    """What is said of each training, and which MRIs it has beside the rest: corrected, or one without labels."""
    without_labels = replace(cases[0], corrected=None)
    return [*((str(count), cases[:count]) for count in size.counts), (CONTROL, [without_labels])]


def _file_name(count: str) -> str:
    return "control" if count == CONTROL else f"with-{count}"


def _correct(
    folder: Path, start: Path, size: Size, dataset: Dataset, package: Path, results: Results, seed: int
) -> None:
    """A training of the preset ``corrections`` from a model, into a package."""
    preset = replace(
        PRESETS["corrections"],
        seed=seed,
        start_from=str(start),
        simulation_epochs=size.epochs,
        steps_per_epoch=size.steps,
    )
    settings = with_settings_of(read_package(start), preset)
    if settings.slab.pixel_mm == PIXEL_MM:
        shape = SimulationSettings(patch=PATCH, least_patch=64, **T1_ONLY)
        settings = replace(settings, simulation=shape)
    seconds = _train(folder, settings, dataset, package)
    if seconds is not None:
        results.get(f"seconds per step, seed {seed}, {folder.name}", lambda: round(seconds, 3))


def _train(folder: Path, settings: TrainingSettings, dataset: Dataset, package: Path) -> float | None:
    """Train, or go on with, a run; the package of its best weights. Returns seconds a step, None where all was done."""
    if package.exists():
        return None
    run = RunFolder(folder)
    # One cache for all trainings of the same slices; the names of its files tell what is in them.
    shared = folder.parent / "cache"
    if not (folder / "run.json").exists():
        _link(shared, folder / "cache")
        start_run(folder, RunDescription("icmsc", settings, IcmscSettings(), dataset))
    status = Trainer(run, lambda now: print(f"\r{folder.name}: {now.step} of {now.total_steps}  ", end="")).train()
    print()
    if status.state != "finished":  # asked to end: what it has learned so far is no result
        raise KeyboardInterrupt
    _link(folder / "cache", shared)
    export_package(run, package)
    return status.seconds_per_step


def _link(source: Path, target: Path) -> None:
    """Let ``target`` have the files of ``source``, too; nothing writes into a file of a cache but by replacing it."""
    target.mkdir(parents=True, exist_ok=True)
    for file in source.glob("*.safetensors"):
        if not (target / file.name).exists():
            os.link(file, target / file.name)


# Measurements.


def _dice(package: Path, measured: Sequence[Measured]) -> dict[str, dict[str, float]]:
    """Dice by MRI and bone, of results as delivered; 0 where the model finds no hip."""
    segmenter = HipSegmenter(package)
    sides = {segment.value: segment.bone for segment in SEGMENTS}
    found = {}
    for each in measured:
        image = sitk.ReadImage(str(each.image))
        try:
            labels = sitk.ChangeLabel(segmenter.segment(image).labels, sides)
        except HipError as error:
            if error.kind != "no_hip":
                raise
            labels = Grid.of(image).image(np.zeros(image.GetSize()[::-1], np.uint8))
        (volume,) = evaluate_pairs([Pair(each.name, labels, each.label, each.ignored)]).volumes
        found[each.name] = {bone: scores.dice for bone, scores in volume.scores["raw"].items()}
    return found


def _means(found: dict[str, dict[str, float]]) -> tuple[float, float, float]:
    """Dice % of hip bone and femur, and of both."""
    bones = [100 * statistics.fmean(of[bone] or 0.0 for of in found.values()) for bone in ("hip_bone", "femur")]
    return bones[0], bones[1], statistics.fmean(bones)


# Cases.


def _kept(folder: Path, taught: Measured, start: Path) -> Case:
    """The MRI as a corrected case: what the start draws, corrected to the truth."""
    name = taught.name
    known = folder / "known.json"
    kept = json.loads(known.read_text()) if known.exists() else {}
    if name not in kept:
        image, truth = sitk.ReadImage(str(taught.image)), sitk.ReadImage(str(taught.label))
        try:
            drawn = HipSegmenter(start).segment(image).labels
        except HipError as error:
            if error.kind != "no_hip":
                raise
            drawn = None
        made_by = {"ModelName": start.stem, "ModelSha256": read_package(start).sha256}
        # Overwrite: killed between a case and this file, it would be there already.
        case = keep_case(folder, image, _with_sides(image, truth), made_by, drawn, ALL, name, overwrite=True)
        kept[name] = case.folder.name
        write_text(known, json.dumps(kept, indent=2) + "\n")
    place = (folder / kept[name]).resolve()
    return Case(name, "MR", "train", name, str(place / "mri.nii.gz"), corrected=str(place))


def _with_sides(image: sitk.Image, truth: sitk.Image) -> sitk.Image:
    """Classes as the values of a result: what lies on the patient's right of the volume's middle is a right bone."""
    classes = sitk.GetArrayFromImage(truth)
    across = np.array(image.GetDirection()).reshape(3, 3)[0] * image.GetSpacing()
    z, y, x = np.indices(classes.shape, sparse=True)
    place = image.GetOrigin()[0] + x * across[0] + y * across[1] + z * across[2]
    middle = image.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in image.GetSize()])[0]
    right = place < middle
    labels = np.zeros(classes.shape, np.uint8)
    for segment in SEGMENTS:
        labels[(classes == segment.bone) & (right == (segment.side == "right"))] = segment.value
    return Grid.of(image).image(labels)


def _ct(folder: Path, number: int) -> Case:
    image, label = _written(folder, f"ct{number:02d}", lambda: make_ct(PHANTOMS, number, spacing_mm=SMOKE.ct_mm))
    name = f"ct{number:02d}"
    return Case(name, "CT", "train" if number < 4 else "val", name, str(image), str(label))


def _mri(folder: Path, number: int, fat_suppressed: bool) -> Measured:
    name = f"{'fat' if fat_suppressed else 't1'}{number:02d}"
    resolution = {"in_plane_mm": SMOKE.mri_in_plane_mm, "slice_mm": SMOKE.mri_slice_mm}
    paths = _written(folder, name, lambda: make_mri(PHANTOMS, number, fat_suppressed=fat_suppressed, **resolution))
    return Measured(name, *paths)


def _written(folder: Path, name: str, make: Callable[[], Any]) -> tuple[Path, Path]:
    """A phantom's image and label, made where they are not there."""
    image, label = folder / f"{name}.nii.gz", folder / f"{name}_label.nii.gz"
    if not label.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = make()
        _write(made.image, image)
        _write(made.label, label)
    return image, label


def _write(image: sitk.Image, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as beside:
        sitk.WriteImage(image, str(Path(beside) / path.name))
        os.replace(Path(beside) / path.name, path)


def _unlabelled(mri: Measured, role: str) -> Case:
    return Case(mri.name, "MR", role, mri.name, str(mri.image))


def _axial(data: Path, patient: str) -> Measured:
    parts = [data / "sts" / f"sts_{patient}_{part}.nii.gz" for part in ("t1", "label", "ignore")]
    return Measured(f"sts_{patient}", parts[0], parts[1], (parts[2],))


def _coronal(data: Path, name: str) -> Measured:
    folder, cortex = data / "mri_val", data / "mri_val_cortex" / f"{name}_cortex.nii.gz"
    ignored = (folder / f"{name}_ignore.nii.gz", cortex)
    return Measured(name, folder / f"{name}.nii.gz", folder / f"{name}_label.nii.gz", ignored)


def _blanked(folder: Path, mri: Measured) -> Measured:
    """The MRI without signal where nobody knows what is bone: there, that no bone is drawn is right."""
    image = folder / "blanked" / f"{mri.name}.nii.gz"
    if not image.exists():
        image.parent.mkdir(parents=True, exist_ok=True)
        whole, ignored = sitk.ReadImage(str(mri.image)), sitk.ReadImage(str(mri.ignored[0]))
        voxels = np.where(sitk.GetArrayFromImage(ignored) > 0, 0, sitk.GetArrayFromImage(whole))
        _write(Grid.of(whole).image(voxels), image)
    return replace(mri, image=image)


if __name__ == "__main__":
    sys.exit(main())
