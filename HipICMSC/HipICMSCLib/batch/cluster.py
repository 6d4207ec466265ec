"""A batch on the workers of an existing dask cluster: a volume each at a time, and what becomes of it when one dies.

The workers read the volumes and write the results themselves, at the paths that they have here.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
from HipICMSCLib.batch.files import FileSource
from HipICMSCLib.batch.one_volume import segment_volume
from HipICMSCLib.batch.queue import BatchItem
from HipICMSCLib.common.errors import HipError, unexpected
from HipICMSCLib.common.version import VERSION
from HipICMSCLib.models.chosen import find_model

if TYPE_CHECKING:
    from distributed import Client, Future

    from HipICMSCLib.engine import HipSegmenter

#: A volume that ended so many workers is set aside.
MOST_DEATHS = 2
#: How long to wait for the cluster to answer, for a worker where there is none, and for a result that is there.
CONNECTING_SECONDS, WORKER_SECONDS, RESULT_SECONDS = 15.0, 60.0, 15.0
_LOOKING_SECONDS = 0.2


@dataclass(frozen=True)
class Task:
    """How a worker segments each volume.

    Attributes:
        model: a model's name, or the path of its file.
        sha256: of that model here; the worker must have the same.
        series, heads, morphometry: as :func:`segment_volume` takes them.
        version: of HipICMSC here; the worker must have the same.
    """

    model: str
    sha256: str
    device: str
    quality: str
    series: str | None
    heads: FemoralHeads | None
    morphometry: bool
    version: str = VERSION


#: Takes an item whose state is another now, and measures in words.
Changed = Callable[[BatchItem, str], None]


@contextlib.contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the cluster at ``address``, such as tcp://host:8786.

    Raises:
        HipError: ``no_dask`` or ``no_cluster``.
    """
    try:
        from distributed import Client
        from distributed.comm import connect
    except ImportError as error:
        raise HipError(
            "no_dask",
            "--dask needs the package distributed: pip install distributed (or hipicmsc[cluster]).",
            str(error),
        ) from error

    async def greet() -> None:
        # A client waits for ever for somebody who listens and says nothing.
        comm = await asyncio.wait_for(connect(address, timeout=CONNECTING_SECONDS), CONNECTING_SECONDS)
        await comm.close()

    try:
        asyncio.run(greet())
        client = Client(address, timeout=CONNECTING_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, asyncio.TimeoutError, ValueError) as error:
        raise _no_cluster(address, error) from error
    try:
        yield client
    finally:
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            client.close(timeout=CONNECTING_SECONDS)


def segment_on_cluster(
    client: Client, items: Sequence[BatchItem], task: Task, changed: Changed, ended: Callable[[], bool]
) -> None:
    """Let the workers segment the waiting items, and return when each has come to something.

    Args:
        items: each with a :class:`FileSource` of absolute paths.
        ended: whether to hand out nothing more; what runs is left to itself and stays waiting here.

    Raises:
        HipError: ``no_cluster`` where it goes away, ``no_worker`` where it has no worker for a while.
    """
    _Handing(client, items, task, changed).run(ended)


@dataclass(frozen=True)
class _Handed:
    item: BatchItem
    future: Future
    started: float


class _Handing:
    """Who has what. A task is for one worker and no other, so that its end tells whose fault it may be."""

    def __init__(self, client: Client, items: Sequence[BatchItem], task: Task, changed: Changed) -> None:
        self.client, self.task, self.changed = client, task, changed
        self.waiting = deque(item for item in items if item.state == "waiting")
        self.handed: dict[str, _Handed] = {}
        self.deaths: Counter[BatchItem] = Counter()
        self.seen_worker = time.monotonic()

    def run(self, ended: Callable[[], bool]) -> None:
        try:
            while (self.waiting or self.handed) and not ended():
                workers = self._workers()
                for address, handed in list(self.handed.items()):
                    if handed.future.done() or address not in workers:
                        del self.handed[address]
                        self._take(handed, address in workers)
                for address in workers - self.handed.keys():
                    if self.waiting:
                        self._hand(self.waiting.popleft(), address)
                time.sleep(_LOOKING_SECONDS)
        finally:
            for handed in self.handed.values():
                handed.item.wait()
            # Without the cluster there is nothing to cancel.
            with contextlib.suppress(OSError, TimeoutError, asyncio.TimeoutError):
                self.client.cancel([handed.future for handed in self.handed.values()])

    def _workers(self) -> set[str]:
        try:
            workers = set(self.client.nthreads())
        except (OSError, ValueError) as error:  # ValueError: a client that has given up
            raise _no_cluster(self.client.scheduler.addr if self.client.scheduler else "", error) from error
        if workers:
            self.seen_worker = time.monotonic()
        elif time.monotonic() - self.seen_worker > WORKER_SECONDS:
            raise HipError(
                "no_worker",
                "The dask cluster has no worker; start some and call again, which does what is left.",
            )
        return workers

    def _hand(self, item: BatchItem, worker: str) -> None:
        future = self.client.submit(
            segment_on_worker, self.task, item.source, workers=[worker], allow_other_workers=False, pure=False
        )
        self.handed[worker] = _Handed(item, future, time.monotonic())
        item.state = "running"
        self.changed(item, "")

    def _take(self, handed: _Handed, alive: bool) -> None:
        item, words = handed.item, ""
        outcome = _outcome(handed.future) if handed.future.done() or alive else None
        handed.future.cancel()
        if outcome is None:
            self.deaths[item] += 1
            if self.deaths[item] < MOST_DEATHS:
                item.wait()
                self.waiting.append(item)
                self.changed(item, "")
                return
            outcome = HipError(
                "ends_workers",
                f"{MOST_DEATHS} workers ended while they segmented this volume, so it was set aside; try it by itself "
                "on a machine with more memory.",
            )
        if isinstance(outcome, tuple):
            outcome, words = outcome
        item.end(outcome, time.monotonic() - handed.started)
        self.changed(item, words)


def _outcome(future: Future) -> tuple[dict[str, Any], str] | HipError | None:
    """None where its worker ended before the result was here."""
    from distributed import KilledWorker

    try:
        return future.result(timeout=RESULT_SECONDS)
    except ModuleNotFoundError as error:
        return HipError(
            "no_package", f"A worker of the cluster lacks a package ({error.name}); install hipicmsc there.", str(error)
        )
    except (KilledWorker, TimeoutError, asyncio.TimeoutError, OSError):
        return None
    except Exception as error:  # dask has many, of a lost result among them
        return None if future.cancelled() else unexpected(error)


def _no_cluster(address: str, error: Exception) -> HipError:
    return HipError(
        "no_cluster",
        f"The dask cluster at {address} does not answer; check its address, such as tcp://host:8786, and call again, "
        "which does what is left.",
        repr(error),
    )


# On a worker.

#: A worker may have several threads, but one volume has all of its processor and memory.
_one_volume = threading.Lock()


def segment_on_worker(task: Task, files: FileSource) -> tuple[dict[str, Any], str] | HipError:
    """What :func:`segment_volume` gives, or why it gave nothing."""
    try:
        if task.version != VERSION:
            raise HipError(
                "other_version",
                f"A worker has HipICMSC {VERSION}, but {task.version} is asked for; install that there.",
            )
        with _one_volume:
            segmenter, loading = _loaded(task.model, task.sha256, task.device, task.quality)
            return segment_volume(segmenter, loading, files, task.series, task.heads, task.morphometry)
    except HipError as error:
        return error
    except Exception as error:  # as for a batch here, a mistake of ours keeps the others from nothing
        return unexpected(error)


@functools.lru_cache(maxsize=1)
def _loaded(model: str, sha256: str, device: str, quality: str) -> tuple[HipSegmenter, float]:
    """The segmenter, which stays in this process, and in how many seconds it was loaded."""
    from HipICMSCLib.engine import HipSegmenter

    started = time.perf_counter()
    segmenter = HipSegmenter(find_model(model), device, quality=quality)
    if segmenter.package.sha256 != sha256:
        name = Path(model).name
        raise HipError("other_model", f"A worker has another file of the model {name}; give all machines the same.")
    return segmenter, time.perf_counter() - started
