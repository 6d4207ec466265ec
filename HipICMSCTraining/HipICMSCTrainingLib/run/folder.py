"""The one place that reads and writes a run's files; whoever watches a training only reads them.

RUN/run.json                 method, settings, dataset, versions: written once
RUN/status.json              replaced at every heartbeat
RUN/metrics.jsonl            one JSON object a line, append only
RUN/checkpoints/last.pt      everything a resume needs
RUN/checkpoints/selected.safetensors   the weights with the best label-free score, and what they scored
RUN/checkpoints/selected.json          the latter alone, for people
RUN/previews/step_*.png
RUN/cache/                   preprocessed slices
RUN/about.json               what the model card says that the run cannot know
RUN/train.log                what the process printed
RUN/PAUSE, RUN/STOP          requests
RUN/lock                     held by the live process

torch is imported only where weights are read or written, because Slicer's own process, which watches, must not load it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import creating, replacing, storage_error, write_text
from HipICMSCLib.common.foreign_files import (
    open_file,
    read_object,
    refuse_links,
)
from HipICMSCLib.common.settings import from_json

from HipICMSCTrainingLib.run.files import (
    about_weights,
    check_checkpoint,
    checked_selection,
    checked_status,
    damaged_checkpoint,
    end_of_text,
    line_of_metrics,
    open_metrics,
)

if TYPE_CHECKING:
    import torch

State = Literal["running", "paused", "stalled", "lost", "finished", "failed"]

#: A live process writes its heartbeat after the first step that ends so long after the last one.
HEARTBEAT_SECONDS = 5.0
#: Far longer than any single step, scoring or volume takes; a live process that is silent so long hangs.
STALLED_AFTER_SECONDS = 600.0
#: How much of the end of a log is looked at.
_LOG_BYTES = 1 << 16


@dataclass(frozen=True)
class Status:
    """What a run last said of itself.

    Attributes:
        phase: preparing, stage 1, stage 2, finished …
        sentence: why it paused, failed or what it is doing, for a person.
        seconds_left: None until it can be told.
        heartbeat: seconds since the epoch.
        kind: of the error that it failed with, if that was one of ours.
        machine: name of the computer it runs on.
        awake: :func:`awake_seconds` of that computer at the heartbeat.
    """

    state: State
    phase: str
    sentence: str
    step: int
    total_steps: int
    seconds_per_step: float | None
    seconds_left: float | None
    pid: int
    heartbeat: float
    kind: str = ""
    machine: str = ""
    awake: float | None = None


class RunFolder:
    """Paths, reading and writing of one run."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.cache = self.path / "cache"
        self.checkpoints = self.path / "checkpoints"
        self.previews = self.path / "previews"
        self.log = self.path / "train.log"
        self.about_file = self.path / "about.json"

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
            for folder in (self.path, self.cache, self.checkpoints, self.previews):
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
        if not all(isinstance(epochs, int) and 0 <= epochs < 2**31 for epochs in (first, second)) or not first + second:
            return None
        if settings.get("simulation_epochs"):
            return 0
        return total_steps * first / (first + second)

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
        """Hold the run for this process; the system lets go when the process dies, however it dies.

        Raises:
            HipError: ``run_in_use``; ``linked_run``; ``read_only`` … as for any file.
        """
        refuse_links(self.path)
        with self._lock_file() as file:
            # Whoever only asks whether the run is in use holds the lock for an instant.
            attempts = 5
            while not _lock(file):
                attempts -= 1
                if not attempts:
                    raise HipError("run_in_use", f"Another process is training in {self.path}; stop it first.")
                time.sleep(0.1)
            # Somebody may have removed the pictures or the cache to make room.
            self._make_folders()
            self._remove_half_written()
            yield

    def _lock_file(self) -> BinaryIO:
        try:
            return open(self.path / "lock", "a+b")
        except OSError as error:
            raise storage_error(error, self.path / "lock") from error

    def in_use(self) -> bool:
        """Whether a process holds the run.

        Raises:
            HipError: ``unreadable``.
        """
        try:
            # Only to read: whoever watches may not be allowed to write here.
            with open_file(self.path / "lock") as file:
                return not _lock(file)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise HipError("unreadable", f"{self.path / 'lock'} cannot be read.", str(error)) from error

    def _remove_half_written(self) -> None:
        """What a killed process was writing when it died; a checkpoint is too large to leave a heap of them."""
        try:
            for folder in (self.path, self.cache, self.checkpoints, self.previews):
                for file in folder.glob(".????????-*"):
                    file.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, self.path) from error

    # How it goes.

    def write_status(self, status: Status) -> None:
        write_text(self.path / "status.json", _as_text(status))

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
                    file.write(_as_text(status).encode())
                    file.truncate()
            except OSError:
                raise full from None

    def status(self) -> Status:
        """The state as it is now: a run that says "running" but whose process is gone is lost, and one whose process
        has been silent for long is stalled.

        Whether the process lives is told by its lock alone. How long it has been silent is told by a clock that all
        processes of the computer share, that nobody can set and that stands still while the computer sleeps, so that
        neither a changed clock nor a night's sleep looks like a process that hangs. Only who watches from another
        computer has to trust the heartbeat's date.

        Raises:
            HipError: ``no_run``, ``damaged_run`` or ``unreadable``.
        """
        self.description()
        try:
            status = from_json(Status, checked_status(read_object(self.path / "status.json")))
        except (OSError, ValueError, TypeError, HipError):
            status = Status("lost", "preparing", "It never reported.", 0, 0, None, None, 0, 0.0)
        waiting_alive = status.state == "running" or (status.state == "paused" and status.phase == "waiting")
        if waiting_alive and not self.in_use():
            sentence = "The process ended without a word (killed, or the machine restarted); resume continues."
            if not os.access(self.path, os.W_OK):
                sentence = "The process ended and its folder may not be written to; allow it again, then resume."
            return Status(**asdict(status) | {"state": "lost", "sentence": sentence, "seconds_left": None})
        silence = _silence_seconds(status)
        if status.state == "running" and silence > STALLED_AFTER_SECONDS:
            sentence = f"No sign of life for {silence / 60:.0f} minutes, although the process still exists."
            return Status(**asdict(status) | {"state": "stalled", "sentence": sentence, "seconds_left": None})
        return status

    def append_metrics(self, values: dict[str, Any]) -> None:
        path = self.path / "metrics.jsonl"
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
                file.flush()
                # A checkpoint survives a power failure, and so must what was measured before it.
                os.fsync(file.fileno())
        except OSError as error:
            raise storage_error(error, path) from error

    def metrics(self) -> list[dict[str, Any]]:
        """Every complete line; a last line cut by a kill is left out, as is one that a power failure garbled."""
        return MetricsReader(self).new_lines()

    def forget_metrics_after(self, step: int) -> None:
        """Drop what a killed process reported beyond the checkpoint that is resumed, for it will be reported again."""
        kept = [line for line in self.metrics() if line["step"] <= step]
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))

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

    def duplicate(self, to: Path, changes: Mapping[str, Any]) -> list[str]:
        """Arguments for ``hipicmsc`` that start another run on the same cases with some settings changed.

        Args:
            to: the new run's folder.
            changes: values by the name of the setting, e.g. ``{"batch_size": 2, "segmenter.width": 32}``.
        """
        assignments = [part for name, value in changes.items() for part in ("--set", f"{name}={json.dumps(value)}")]
        return ["train", str(to), "--like", str(self.path), *assignments]

    # What it has learned.

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        import torch

        with replacing(self.checkpoints / "last.pt") as beside:
            torch.save(state, beside)

    def checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, on the CPU, or None; only tensors and plain values are ever loaded.

        Raises:
            HipError: ``damaged_checkpoint``.
        """
        import torch

        from HipICMSCTrainingLib.run.checkpoint import check_tensors

        path = self.checkpoints / "last.pt"
        if not path.exists():
            return None
        check_checkpoint(path)
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            check_tensors(state)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise damaged_checkpoint(path, str(error)) from error
        return state

    def save_selected(self, networks: dict[str, torch.nn.Module], about: dict[str, Any]) -> None:
        """Keep the weights with the best label-free score, and what they scored."""
        from safetensors.torch import save

        weights = {
            f"{name}/{key}": value.contiguous()
            for name, network in networks.items()
            for key, value in network.state_dict().items()
        }
        with replacing(self.checkpoints / "selected.safetensors") as beside:
            beside.write_bytes(save(weights, metadata={"about": json.dumps(about)}))
        write_text(self.checkpoints / "selected.json", json.dumps(about, indent=2) + "\n")

    def selection(self) -> dict[str, Any] | None:
        """``step``, ``weights`` and ``scores`` of the selected weights, or None before the first scores.

        They are read in the file of the weights, so that they always belong to these.

        Raises:
            HipError: ``damaged_run``.
        """
        path = self.checkpoints / "selected.safetensors"
        try:
            return checked_selection(about_weights(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise HipError("damaged_run", f"{path} cannot be read.", str(error)) from error

    def selected(self) -> dict[str, dict[str, torch.Tensor]] | None:
        """State dictionaries by network name, or None before the first scores.

        Raises:
            HipError: ``damaged_checkpoint``.
        """
        from safetensors.torch import load_file

        path = self.checkpoints / "selected.safetensors"
        if not path.exists():
            return None
        try:
            # What is no file would be waited for for ever.
            open_file(path).close()
            weights = load_file(path)
        except Exception as error:  # safetensors raises its own kinds
            raise HipError("damaged_checkpoint", f"{path} is damaged; resume the run.", str(error)) from error
        networks: dict[str, dict[str, torch.Tensor]] = {}
        for name, value in weights.items():
            network, _, key = name.partition("/")
            networks.setdefault(network, {})[key] = value
        return networks


class MetricsReader:
    """Reads a run's metrics as they come, each line once.

    Attributes:
        restarted: whether the last call of :meth:`new_lines` began from the first line again, because a resumed
            training dropped some of those that were read before. Whoever kept them must forget them.
    """

    def __init__(self, run: RunFolder) -> None:
        self.restarted = False
        self._path = run.path / "metrics.jsonl"
        self._offset = 0
        self._last_line = b""

    def new_lines(self) -> list[dict[str, Any]]:
        """Complete lines that were not read before; one that is just being written waits for the next call.

        Raises:
            HipError: ``unreadable``.
        """
        try:
            with open_metrics(self._path) as file:
                self.restarted = not self._still_as_read(file)
                if self.restarted:
                    self._offset, self._last_line = 0, b""
                file.seek(self._offset)
                lines = file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            self.restarted = self._offset > 0
            self._offset, self._last_line = 0, b""
            return []
        except OSError as error:
            raise HipError("unreadable", f"{self._path} cannot be read.", str(error)) from error
        if lines:
            self._offset += sum(len(line) + 1 for line in lines)
            self._last_line = lines[-1] + b"\n"
        return [values for values in map(line_of_metrics, lines) if values is not None]

    def _still_as_read(self, file: BinaryIO) -> bool:
        """Whether the last line that was read stands where it stood. After a resume the file may have grown beyond
        that place again, but lines hold measured times, so that another one stands there."""
        file.seek(self._offset - len(self._last_line))
        return file.read(len(self._last_line)) == self._last_line


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


def awake_seconds() -> float:
    """How long this computer has been awake since it was started: the same for all processes, and nobody can set it."""
    if sys.platform == "win32":
        import ctypes

        # Unlike that of Python's monotonic clock on Windows, this time stands still while the computer sleeps.
        ticks = ctypes.c_ulonglong()
        ctypes.windll.kernel32.QueryUnbiasedInterruptTime(ctypes.byref(ticks))
        return ticks.value * 1e-7
    return time.monotonic()


def _as_text(status: Status) -> str:
    return json.dumps(asdict(status), indent=2) + "\n"


def _silence_seconds(status: Status) -> float:
    if status.awake is not None and status.machine == platform.node():
        return awake_seconds() - status.awake
    return time.time() - status.heartbeat


def _lock(file: Any) -> bool:
    """Take an exclusive lock on an open file without waiting."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
