"""The one place that reads and writes a run's files; whoever watches a training only reads them.

RUN/run.json                 method, settings, dataset, versions: written once
RUN/status.json              replaced at every heartbeat
RUN/metrics.jsonl            one JSON object a line, append only
RUN/checkpoints/last.pt      everything a resume needs
RUN/checkpoints/selected.safetensors, selected.json
RUN/previews/step_*.png
RUN/cache/                   preprocessed slices
RUN/train.log                what the process printed
RUN/PAUSE, RUN/STOP          requests
RUN/lock                     held by the live process

torch is imported only where weights are read or written, because Slicer's own process, which watches, must not load it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from HipICMSCLib.errors import HipError
from HipICMSCLib.files import replacing, storage_error, write_text

if TYPE_CHECKING:
    import torch

State = Literal["running", "paused", "stalled", "lost", "finished", "failed"]

#: A live process writes its heartbeat at least this often; ten times as long without one means that it hangs.
HEARTBEAT_SECONDS = 5.0
STALLED_AFTER_SECONDS = 600.0


@dataclass(frozen=True)
class Status:
    """What a run last said of itself.

    Attributes:
        phase: preparing, stage 1, stage 2, finished …
        sentence: why it paused, failed or what it is doing, for a person.
        seconds_left: None until it can be told.
        heartbeat: seconds since the epoch.
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


class RunFolder:
    """Paths, reading and writing of one run."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.cache = self.path / "cache"
        self.checkpoints = self.path / "checkpoints"
        self.previews = self.path / "previews"
        self.log = self.path / "train.log"

    # What the run is.

    def create(self, description: dict[str, Any]) -> None:
        """Make the folder and write run.json.

        Raises:
            HipError: ``run_exists`` if there is a run already; ``read_only``, ``disk_full`` … as for any file.
        """
        if (self.path / "run.json").exists():
            raise HipError("run_exists", f"{self.path} already holds a run; resume it or choose another folder.")
        try:
            for folder in (self.path, self.cache, self.checkpoints, self.previews):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, self.path) from error
        write_text(self.path / "run.json", json.dumps(description, indent=2) + "\n")

    def description(self) -> dict[str, Any]:
        """run.json.

        Raises:
            HipError: ``no_run`` or ``damaged_run``.
        """
        try:
            return json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise HipError("no_run", f"{self.path} holds no run.") from error
        except (OSError, ValueError) as error:
            raise HipError("damaged_run", f"{self.path / 'run.json'} cannot be read.", str(error)) from error

    # Who works on it.

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process; the system lets go when the process dies, however it dies.

        Raises:
            HipError: ``run_in_use``; ``read_only`` … as for any file.
        """
        with self._lock_file() as file:
            # Whoever only asks whether the run is in use holds the lock for an instant.
            attempts = 5
            while not _lock(file):
                attempts -= 1
                if not attempts:
                    raise HipError("run_in_use", f"Another process is training in {self.path}; stop it first.")
                time.sleep(0.1)
            self._remove_half_written()
            yield

    def in_use(self) -> bool:
        if not (self.path / "lock").exists():
            return False
        with self._lock_file() as file:
            return not _lock(file)

    def _lock_file(self) -> BinaryIO:
        try:
            return open(self.path / "lock", "a+b")
        except OSError as error:
            raise storage_error(error, self.path / "lock") from error

    def _remove_half_written(self) -> None:
        """What a killed process was writing when it died; a checkpoint is too large to leave a heap of them."""
        for folder in (self.path, self.cache, self.checkpoints, self.previews):
            for file in folder.glob(".????????-*"):
                file.unlink(missing_ok=True)

    # How it goes.

    def write_status(self, status: Status) -> None:
        write_text(self.path / "status.json", json.dumps(asdict(status), indent=2) + "\n")

    def status(self) -> Status:
        """The state as it is now: a run that says "running" but whose process is gone is lost, and one whose
        heartbeat is old is stalled.

        Raises:
            HipError: ``no_run``.
        """
        self.description()
        try:
            status = Status(**json.loads((self.path / "status.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            status = Status("lost", "preparing", "It never reported.", 0, 0, None, None, 0, 0.0)
        waiting_alive = status.state == "running" or (status.state == "paused" and status.phase == "waiting")
        if waiting_alive and not self.in_use():
            sentence = "The process ended without a word (killed, or the machine restarted); resume continues."
            return Status(**asdict(status) | {"state": "lost", "sentence": sentence, "seconds_left": None})
        silence = time.time() - status.heartbeat
        if status.state == "running" and silence > STALLED_AFTER_SECONDS:
            sentence = f"No sign of life for {silence / 60:.0f} minutes, although the process still exists."
            return Status(**asdict(status) | {"state": "stalled", "sentence": sentence, "seconds_left": None})
        return status

    def append_metrics(self, values: dict[str, Any]) -> None:
        path = self.path / "metrics.jsonl"
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            raise storage_error(error, path) from error

    def metrics(self) -> list[dict[str, Any]]:
        """Every complete line; a last line cut by a kill is left out."""
        try:
            lines = (self.path / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines[:-1]]

    def forget_metrics_after(self, step: int) -> None:
        """Drop what a killed process reported beyond the checkpoint that is resumed, for it will be reported again."""
        kept = [line for line in self.metrics() if line["step"] <= step]
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))

    # What is asked of it.

    def request(self, what: Literal["PAUSE", "STOP"]) -> None:
        try:
            (self.path / what).touch()
        except OSError as error:
            raise storage_error(error, self.path / what) from error

    def withdraw(self, what: Literal["PAUSE", "STOP"]) -> None:
        (self.path / what).unlink(missing_ok=True)

    def requested(self, what: Literal["PAUSE", "STOP"]) -> bool:
        return (self.path / what).exists()

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

        path = self.checkpoints / "last.pt"
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise HipError("damaged_checkpoint", f"{path} is damaged and cannot be resumed.", str(error)) from error

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

    def selected(self) -> dict[str, dict[str, torch.Tensor]] | None:
        """State dictionaries by network name, or None before the first scores."""
        from safetensors.torch import load_file

        path = self.checkpoints / "selected.safetensors"
        if not path.exists():
            return None
        networks: dict[str, dict[str, torch.Tensor]] = {}
        for name, value in load_file(path).items():
            network, _, key = name.partition("/")
            networks.setdefault(network, {})[key] = value
        return networks


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
