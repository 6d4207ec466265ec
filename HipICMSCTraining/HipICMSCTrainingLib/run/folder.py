"""The one place that reads and writes a run's files; whoever watches a training only reads them.

RUN/run.json                 method, settings, dataset, versions: written once
RUN/images.json              digests of the images, by which they are known where they lie elsewhere
RUN/status.json              replaced at every heartbeat
RUN/metrics.jsonl            one JSON object a line, append only
RUN/checkpoints/last.pt      everything a resume needs
RUN/checkpoints/selected.safetensors   the weights with the best label-free score, and what they scored
RUN/checkpoints/selected.json          the latter alone, for people
RUN/previews/step_*.png
RUN/cache/                   preprocessed slices
RUN/about.json               what the model card says that the run cannot know
RUN/comparison.html          old and new model side by side on corrected MRIs
RUN/leave_one_out/1 …        runs like this one, each without one of the corrected patients
RUN/train.log                what the process printed
RUN/PAUSE, RUN/STOP          requests
RUN/lock                     held by the live process
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import creating, storage_error, write_text
from HipICMSCLib.common.foreign_files import read_object, refuse_links
from HipICMSCLib.common.settings import from_json

from HipICMSCTrainingLib.run.checkpoints import Checkpoints
from HipICMSCTrainingLib.run.files import checked_status, end_of_text
from HipICMSCTrainingLib.run.lock import held, is_held
from HipICMSCTrainingLib.run.metrics import MetricsReader
from HipICMSCTrainingLib.run.status import Status, as_of_now

#: How much of the end of a log is looked at.
_LOG_BYTES = 1 << 16


class RunFolder:
    """Paths, reading and writing of one run."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.cache = self.path / "cache"
        self.checkpoints = Checkpoints(self.path / "checkpoints")
        self.previews = self.path / "previews"
        self.log = self.path / "train.log"
        self.metrics_file = self.path / "metrics.jsonl"
        self.about_file = self.path / "about.json"
        self.images_file = self.path / "images.json"
        self.comparison_file = self.path / "comparison.html"

    # What the run is.

    def create(self, description: dict[str, Any]) -> None:
        """Make the folder and write run.json.

        Raises:
            HipError: ``run_exists`` if there is a run already; ``read_only``, ``disk_full`` … as for any file.
        """
        there_is_one = HipError("run_exists", f"{self.path} already holds a run; resume it or choose another folder.")
        if (self.path / "run.json").exists():
            raise there_is_one
        self._make_folders()
        try:
            with creating(self.path / "run.json") as beside:
                beside.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        except HipError as error:
            # Another process made one since, and may have removed what it took for half-written.
            raise there_is_one if (self.path / "run.json").exists() else error from error

    def _make_folders(self) -> None:
        try:
            for folder in (self.path, self.cache, self.checkpoints.folder, self.previews):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, self.path) from error

    def description(self) -> dict[str, Any]:
        """run.json.

        Raises:
            HipError: ``no_run`` or ``damaged_run``.
        """
        try:
            return read_object(self.path / "run.json")
        except FileNotFoundError as error:
            raise HipError("no_run", f"{self.path} holds no run.") from error
        except (OSError, ValueError) as error:
            raise HipError("damaged_run", f"{self.path / 'run.json'} cannot be read.", str(error)) from error

    def stage_1_steps(self, total_steps: int) -> float | None:
        """How many of so many steps pass until stage 1 is over, in which no segmenter learns, or None if run.json does
        not say; all epochs are of one length. A run that begins with simulation has none: F_t learns from its start.

        Raises:
            HipError: as :meth:`description`.
        """
        settings = self.description().get("settings")
        if not isinstance(settings, dict):
            return None
        first, second = settings.get("stage1_epochs"), settings.get("stage2_epochs")
        epochs = (first, second, settings.get("self_training_epochs", 0))
        if not all(isinstance(number, int) and 0 <= number < 2**31 for number in epochs) or not sum(epochs):
            return None
        if settings.get("simulation_epochs"):
            return 0
        return total_steps * first / sum(epochs)

    def about(self) -> dict[str, Any]:
        """What its owner wrote for the model card, fields as in export.About; empty before anything was written.

        Raises:
            HipError: ``damaged_run``.
        """
        try:
            return read_object(self.about_file)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError) as error:
            raise HipError("damaged_run", f"{self.about_file} cannot be read.", str(error)) from error

    def write_about(self, values: Mapping[str, Any]) -> None:
        """Keep what :meth:`about` gives.

        Raises:
            HipError: as for any file.
        """
        write_text(self.about_file, json.dumps(dict(values), indent=2, ensure_ascii=False) + "\n")

    # Who works on it.

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process until it dies.

        Raises:
            HipError: ``run_in_use``; ``linked_run``; ``read_only`` … as for any file.
        """
        refuse_links(self.path)
        with held(self.path / "lock"):
            # Somebody may have removed the pictures or the cache to make room.
            self._make_folders()
            self._remove_half_written()
            yield

    def in_use(self) -> bool:
        """Whether a process holds the run.

        Raises:
            HipError: ``unreadable``.
        """
        return is_held(self.path / "lock")

    def _remove_half_written(self) -> None:
        """What a killed process was writing when it died; a checkpoint is too large to leave a heap of them."""
        try:
            for folder in (self.path, self.cache, self.checkpoints.folder, self.previews):
                for file in folder.glob(".????????-*"):
                    file.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, self.path) from error

    # How it goes.

    def write_status(self, status: Status) -> None:
        write_text(self.path / "status.json", status.to_text())

    def write_last_status(self, status: Status) -> None:
        """As :meth:`write_status`, but on a full disk, too, where the former status takes the only room there is.

        Raises:
            HipError: as for any file.
        """
        try:
            self.write_status(status)
        except HipError as full:
            if full.kind != "disk_full":
                raise
            try:
                with open(self.path / "status.json", "r+b") as file:
                    file.write(status.to_text().encode())
                    file.truncate()
            except OSError:
                raise full from None

    def status(self) -> Status:
        """The state as it is now (:func:`as_of_now`).

        Raises:
            HipError: ``no_run``, ``damaged_run`` or ``unreadable``.
        """
        self.description()
        try:
            said = from_json(Status, checked_status(read_object(self.path / "status.json")))
        except (OSError, ValueError, TypeError, HipError):
            said = Status("lost", "preparing", "It never reported.", 0, 0, None, None, 0, 0.0)
        return as_of_now(said, self.in_use, os.access(self.path, os.W_OK))

    def append_metrics(self, values: dict[str, Any]) -> None:
        try:
            with open(self.metrics_file, "a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
                file.flush()
                # A checkpoint survives a power failure, and so must what was measured before it.
                os.fsync(file.fileno())
        except OSError as error:
            raise storage_error(error, self.metrics_file) from error

    def metrics(self) -> list[dict[str, Any]]:
        """Every complete line; a last line cut by a kill is left out, as is one that a power failure garbled."""
        return MetricsReader(self.metrics_file).new_lines()

    def forget_metrics_after(self, step: int) -> None:
        """Drop what a killed process reported beyond the checkpoint that is resumed, for it will be reported again."""
        kept = [line for line in self.metrics() if line["step"] <= step]
        write_text(self.metrics_file, "".join(json.dumps(line) + "\n" for line in kept))

    def previews_of(self) -> list[Path]:
        """The pictures of what the networks did, in the order of steps."""
        return sorted(path for path in self.previews.glob("step_*.png") if path.is_file())

    def tail_of_log(self, lines: int = 20) -> list[str]:
        """The last lines of what the process printed; none before it printed anything."""
        try:
            return end_of_text(self.log, lines, _LOG_BYTES)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise HipError("unreadable", f"The log {self.log} cannot be read.", str(error)) from error

    # What is asked of it.

    def request(self, what: Literal["PAUSE", "STOP"]) -> None:
        try:
            (self.path / what).touch()
        except OSError as error:
            raise storage_error(error, self.path / what) from error

    def withdraw(self, what: Literal["PAUSE", "STOP"]) -> None:
        try:
            (self.path / what).unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, self.path / what) from error

    def requested(self, what: Literal["PAUSE", "STOP"]) -> bool:
        return (self.path / what).exists()


def runs_below(folder: Path) -> list[RunFolder]:
    """The runs in the subfolders of ``folder``, the newest first; hidden folders are left out.

    Raises:
        HipError: ``unreadable``.
    """
    try:
        subfolders = [path for path in Path(folder).iterdir() if path.name[0] != "."]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise HipError("unreadable", f"The folder {folder} cannot be read.", str(error)) from error
    found = []
    for path in subfolders:
        # What is no folder, holds no run or is closed to this user is not a run to show.
        with contextlib.suppress(OSError):
            found.append(((path / "run.json").stat().st_mtime, path))
    return [RunFolder(path) for _, path in sorted(found, reverse=True)]
