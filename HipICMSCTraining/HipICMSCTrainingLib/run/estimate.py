"""How long a training will take and what it needs, from a few real steps of it.

What a step costs depends on the number and size of its slices, not on what they show. So one volume of each domain and
role is enough to time steps, scores and checkpoints of the very trainer that will do the work; the rest is counting.
Slices of a volume that nobody has preprocessed yet are counted as if its femoral heads lay in its middle.

All of it happens in a temporary run folder, which is removed at the end. Where the process is killed before, the next
estimate removes it.
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.progress import Progress
from HipICMSCLib.common.terminal import duration
from HipICMSCLib.networks.devices import device_name
from HipICMSCLib.networks.inference import is_out_of_memory
from HipICMSCLib.preprocessing.geometry import crop_grid
from HipICMSCLib.reading.volume import read_outline
from PIL import Image
from safetensors import safe_open

from HipICMSCTrainingLib.data.batches import steps_per_epoch
from HipICMSCTrainingLib.data.dataset import Case, Dataset
from HipICMSCTrainingLib.data.slab_cache import own_grid, plane_to_read
from HipICMSCTrainingLib.data.training_data import kept_file, prepared_case
from HipICMSCTrainingLib.run.description import RunDescription, start_run
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.trainer import Trainer
from HipICMSCTrainingLib.settings.stages import SELF_TRAINING, STAGES, TOGETHER, TRANSLATION
from HipICMSCTrainingLib.settings.training import TrainingSettings
from HipICMSCTrainingLib.simulation.anatomy import shape_of

try:
    import resource
except ImportError:  # Windows
    resource = None

#: The first steps also load libraries, choose algorithms and grow the memory pool.
WARM_UP_STEPS = 2
#: Steps are timed until both are reached; short ones vary more.
TIMED_STEPS = 3
TIMED_SECONDS = 3.0

#: What a pixel of a preview takes at most: 0.08 to 0.21 bytes were seen, the most while outlines are ragged. How far
#: networks come while they are timed depends on the machine, so that a preview of theirs tells nothing of later ones.
PREVIEW_BYTES_A_PIXEL = 0.25

_PREFIX = "hipicmsc-estimate-"


@dataclass(frozen=True)
class Estimate:
    """What a training takes on this computer, in a single process.

    Attributes:
        device: what would compute, as a user would call it.
        volumes: how many the training reads.
        slices: training slices by modality.
        steps: by stage.
        seconds_per_step: by stage; stages without steps are left out.
        seconds: by part of the work.
        memory_bytes: the largest need of the computer's memory; None where it cannot be measured (Windows).
        device_memory_bytes: of a CUDA device's memory; None for other devices.
        disk_bytes: in the run folder, by what is written there.
    """

    device: str
    volumes: int
    slices: dict[str, int]
    steps_per_epoch: int
    steps: dict[str, int]
    seconds_per_step: dict[str, float]
    seconds: dict[str, float]
    memory_bytes: int | None
    device_memory_bytes: int | None
    disk_bytes: dict[str, int]

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())

    @property
    def total_disk_bytes(self) -> int:
        return sum(self.disk_bytes.values())

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"total_seconds": self.total_seconds, "total_disk_bytes": self.total_disk_bytes}

    def table(self) -> str:
        """For a person at a terminal."""
        rows = []
        for part, seconds in self.seconds.items():
            each = self.seconds_per_step.get(part)
            rows.append((part, duration(seconds) + (f", {self.steps[part]} steps of {each:.3g} s" if each else "")))
        rows.append(("together", duration(self.total_seconds)))
        if self.memory_bytes is not None:
            rows.append(("memory", _size(self.memory_bytes)))
        if self.device_memory_bytes is not None:
            rows.append(("memory of the device", _size(self.device_memory_bytes)))
        disk = ", ".join(f"{part} {_size(number)}" for part, number in self.disk_bytes.items())
        rows.append(("disk", f"{_size(self.total_disk_bytes)} ({disk})"))
        head = f"{self.volumes} volumes, {self.slices['CT']} CT and {self.slices['MR']} MRI slices on {self.device}"
        return "\n".join([head, *(f"{name:<24}{text}" for name, text in rows)])


def estimate(
    description: RunDescription, cache: Path | None = None, progress: Progress = lambda what, share: None
) -> Estimate:
    """Time a few steps of a training and count the rest.

    Args:
        cache: where slices of these cases may lie already, e.g. in another run; it is only read.
        progress: called with what comes next and the share that is done.

    Raises:
        HipError: ``out_of_memory``; ``missing_file`` and whatever else is wrong with the cases that are looked at or
            with a package to start from; ``disk_full`` … as for any file.
    """
    _remove_leftovers()
    started_with = peak_memory_bytes()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
        run = RunFolder(Path(folder))
        with run.locked(), _memory_in_one_sentence():
            progress("Looking at the volumes.", 0.0)
            cases = description.dataset.in_training()
            work = _Preprocessing(cases, description.settings, cache, run.cache)
            work.do_what_is_needed(progress)
            progress("Making the networks.", 0.5)
            trainer = _TimedTrainer(start_run(run.path, replace(description, dataset=Dataset(tuple(work.chosen)))))
            try:
                return _measured(trainer, work, started_with, progress)
            finally:
                trainer.close()


def _measured(trainer: _TimedTrainer, work: _Preprocessing, started_with: int | None, progress: Progress) -> Estimate:
    settings = work.settings
    started = time.monotonic()
    trainer.prepare()
    preparing = time.monotonic() - started
    epochs = dict(zip(STAGES, settings.epochs, strict=True))
    if settings.reads == "crop":
        # On crops there are but the paper's two.
        epochs = {name: epochs[name] for name in (STAGES[TRANSLATION], STAGES[TOGETHER])}
    seconds_per_step, reading = {}, 0.0
    for number, stage in enumerate(epochs):
        progress(f"Timing steps of {stage}.", 0.55 + 0.4 * number / len(epochs))
        if epochs[stage] and stage == STAGES[SELF_TRAINING]:
            reading = trainer.seconds_of_an_mri() * work.count("MR", "train")
        if epochs[stage]:
            seconds_per_step[stage] = trainer.seconds_of_a_step(STAGES.index(stage))
    progress("Timing scores and a checkpoint.", 0.95)
    scoring, saving = trainer.seconds_of_scores(), trainer.seconds_of_a_checkpoint()

    slices = {modality: work.slices(modality, "train") for modality in ("CT", "MR")}
    epoch = steps_per_epoch(settings, slices["CT"], slices["MR"])
    # Scores are computed on slices of all held-out volumes, here only on those of one of each domain.
    wanted = sum(min(work.slices(modality, "val"), settings.validation_slices) for modality in slices)
    scored = sum(min(len(stack), settings.validation_slices) for stack in (trainer.data.ct_val, trainer.data.mr_val))
    checkpoints = 0
    for stage, each in seconds_per_step.items():
        interval = max(60 * settings.checkpoint_minutes, each)
        checkpoints += epochs[stage] * (1 + int(epoch * each / interval))
    checkpoint = trainer.folder.checkpoints.last_file.stat().st_size
    selected = trainer.folder.checkpoints.selected_file
    preview = max(_pixels(path) for path in trainer.folder.previews_of()) * PREVIEW_BYTES_A_PIXEL
    cuda = trainer.device.type == "cuda"
    progress("Done.", 1.0)
    return Estimate(
        device=device_name(trainer.device),
        volumes=len(work.cases),
        slices=slices,
        steps_per_epoch=epoch,
        steps={stage: epoch * epochs[stage] for stage in epochs},
        seconds_per_step=seconds_per_step,
        seconds={"preprocessing": preparing + work.seconds_of_all()}
        | {stage: epoch * epochs[stage] * each for stage, each in seconds_per_step.items()}
        | ({"reading of the MRIs": reading} if reading else {})
        | {"scores and checkpoints": sum(epochs.values()) * scoring * wanted / scored + checkpoints * saving},
        memory_bytes=_memory_of_all(started_with, work),
        device_memory_bytes=torch.cuda.max_memory_allocated(trainer.device) if cuda else None,
        disk_bytes={
            # The last one is kept while the next is written beside it.
            "checkpoints": 2 * checkpoint + (selected.stat().st_size if selected.exists() else 0),
            "preprocessed slices": work.bytes_of(work.cases),
            "previews": round(sum(epochs.values()) * preview),
        },
    )


def _pixels(picture: Path) -> int:
    with Image.open(picture) as opened:
        return opened.width * opened.height


class _TimedTrainer(Trainer):
    """A trainer that is led to the places that are to be timed."""

    def seconds_of_a_step(self, stage: int) -> float:
        """The mean in the middle of a stage, where what fades in and out over it is half there."""
        bounds = self.schedule.bounds(stage)
        times: list[float] = []
        while len(times) < WARM_UP_STEPS + TIMED_STEPS or sum(times[WARM_UP_STEPS:]) < TIMED_SECONDS:
            self.pace.step = sum(bounds) // 2
            started = time.monotonic()
            self.do_step()
            times.append(time.monotonic() - started)
        return sum(times[WARM_UP_STEPS:]) / (len(times) - WARM_UP_STEPS)

    def seconds_of_an_mri(self) -> float:
        """To read a whole one, from which self-training learns."""
        self.pace.step = sum(self.schedule.bounds(SELF_TRAINING)) // 2
        if self.folder.checkpoints.selected() is None:
            self.score(self._moment())  # the weights that read it, which counts with the scores
        started = time.monotonic()
        self._prepare_self_training(self._moment())
        return (time.monotonic() - started) / len(self.run.dataset.of("MR", "train"))

    def seconds_of_scores(self) -> float:
        started = time.monotonic()
        self.score(self.schedule.moment(self.pace.total_steps))
        return time.monotonic() - started

    def seconds_of_a_checkpoint(self) -> float:
        started = time.monotonic()
        self.save()
        return time.monotonic() - started


class _Preprocessing:
    """Which volumes are preprocessed already, how long the others will take, and how many slices all have.

    Attributes:
        cached: files in the given cache.
        voxels: of the volumes without such a file.
        chosen: a case of each domain and role, enough to train on.
    """

    def __init__(self, cases: list[Case], settings: TrainingSettings, cache: Path | None, own_cache: Path) -> None:
        self.cases, self.settings, self.own_cache = cases, settings, own_cache
        self.cached: dict[Case, Path] = {}
        self.voxels: dict[Case, int] = {}
        self._shapes: dict[Case, tuple[int, ...]] = {}
        self._seconds_per_voxel: dict[str, float] = {}
        for case in cases:
            file = None if cache is None else kept_file(case, settings, cache)
            if file is not None and file.exists():
                self.cached[case], self._shapes[case] = file, _cached_shape(file)
            else:
                outline = read_outline(Path(case.image))
                self.voxels[case] = outline.GetNumberOfPixels()
                self._shapes[case] = _expected_shape(case.modality, outline, settings)
        self.chosen = [self._easiest(modality, role) for modality in ("CT", "MR") for role in ("train", "val")]

    def do_what_is_needed(self, progress: Progress) -> None:
        """Put the chosen cases into the temporary cache, and time at least one case of each domain."""
        timed = [self._smallest(modality) for modality in ("CT", "MR")]
        work = list(dict.fromkeys([*self.chosen, *filter(None, timed)]))
        seconds, voxels = dict.fromkeys(("CT", "MR"), 0.0), dict.fromkeys(("CT", "MR"), 0)
        self.own_cache.mkdir(exist_ok=True)
        for number, case in enumerate(work):
            progress(f"Preprocessing {case.name}.", 0.05 + 0.45 * number / len(work))
            if case in self.cached:
                shutil.copy(self.cached[case], self.own_cache)
                continue
            started = time.monotonic()
            prepared_case(case, self.settings, self.own_cache)
            self._shapes[case] = _cached_shape(kept_file(case, self.settings, self.own_cache))
            seconds[case.modality] += time.monotonic() - started
            voxels[case.modality] += self.voxels[case]
        self._seconds_per_voxel = {
            modality: seconds[modality] / voxels[modality] for modality in voxels if voxels[modality]
        }

    def seconds_of_all(self) -> float:
        """For all cases that a training would have to preprocess."""
        return sum(self._seconds_per_voxel[case.modality] * voxels for case, voxels in self.voxels.items())

    def slices(self, modality: str, role: str) -> int:
        return sum(self._shapes[case][0] for case in self._cases(modality, role))

    def count(self, modality: str, role: str) -> int:
        return len(self._cases(modality, role))

    def bytes_of(self, cases: Iterable[Case]) -> int:
        """Of the slices of these cases, on disk as in memory."""
        each = {
            case.modality: kept_file(case, self.settings, self.own_cache).stat().st_size / self._voxels_kept(case)
            for case in self.chosen
        }
        # What a corrected MRI teaches takes as much again.
        return round(
            sum(each[case.modality] * self._voxels_kept(case) * (2 if _teaches(case) else 1) for case in cases)
        )

    def _voxels_kept(self, case: Case) -> int:
        return math.prod(self._shapes[case])

    def _cases(self, modality: str, role: str) -> list[Case]:
        return [case for case in self.cases if (case.modality, case.role) == (modality, role)]

    def _easiest(self, modality: str, role: str) -> Case:
        candidates = self._cases(modality, role)
        # Without a corrected MRI, none would be in a step.
        candidates = list(filter(_teaches, candidates)) or candidates
        return min(candidates, key=lambda case: self.voxels.get(case, 0))

    def _smallest(self, modality: str) -> Case | None:
        return min((case for case in self.voxels if case.modality == modality), key=self.voxels.get, default=None)


def _teaches(case: Case) -> bool:
    """Whether it is a corrected MRI that is trained on."""
    return bool(case.corrected) and case.role == "train"


def _cached_shape(file: Path) -> tuple[int, ...]:
    with safe_open(file, "numpy") as volume:
        # Of an anatomy, which has no slices of its own, those of its grid.
        return tuple(volume.get_slice("slices" if "slices" in set(volume.keys()) else "hu").get_shape())


def _expected_shape(modality: str, outline: sitk.Image, settings: TrainingSettings) -> tuple[int, ...]:
    """(slices, rows, columns) that are kept."""
    if settings.reads == "slabs" and modality == "CT":
        return shape_of(outline)
    if settings.reads == "slabs":
        return own_grid(outline, plane_to_read(outline), settings.slab).size[::-1]
    middle = outline.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in outline.GetSize()])
    columns, slices, rows = crop_grid(outline, middle, settings.crop).size
    return slices, rows, columns


def _memory_of_all(started_with: int | None, work: _Preprocessing) -> int | None:
    """What was seen at most, with the slices of all volumes in memory, where they are twice while they are gathered."""
    peak = peak_memory_bytes()
    if peak is None or started_with is None:
        return None
    everything = work.bytes_of(work.cases)
    return max(peak + everything - work.bytes_of(work.chosen), started_with + 2 * everything)


def peak_memory_bytes() -> int | None:
    """The most memory that this process ever held."""
    # On Linux, what getrusage tells begins with what the parent process held when it started this one.
    with contextlib.suppress(OSError):
        peak = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        if peak:
            return int(peak[1]) * 1024
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextlib.contextmanager
def _memory_in_one_sentence() -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise HipError(
            "out_of_memory",
            "There is not enough free memory for a training with these settings; choose a smaller preset, or lower "
            "batch_size, segmenter.width or translator.width, or set recompute to true.",
            str(error),
        ) from error


def _remove_leftovers() -> None:
    """Temporary folders of estimates that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Those of other users are theirs to remove.
        with contextlib.suppress(HipError):
            if (folder / "lock").exists() and not RunFolder(folder).in_use():
                shutil.rmtree(folder, ignore_errors=True)


def _size(number: int) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"
