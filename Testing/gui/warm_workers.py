"""Lets a panel that is opened have the worker that the one before it left idle, as in Slicer one worker serves many
requests: to load its libraries takes two seconds, which is more than most tests take.

A worker is handed on only to whoever would have started the very same: same program, interpreter and environment.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable

import pytest
from HipICMSCLib.gui.running.worker_client import WorkerClient
from HipICMSCLib.gui.setup.child_process import end_tree

_idle: dict[tuple, tuple] = {}


def hand_on(patch: pytest.MonkeyPatch) -> None:
    """As long as ``patch`` lasts."""
    patch.setattr(WorkerClient, "_start", _taking(WorkerClient._start))
    patch.setattr(WorkerClient, "close", _leaving(WorkerClient.close))


def _taking(start: Callable[[WorkerClient], None]) -> Callable[[WorkerClient], None]:
    def take(client: WorkerClient) -> None:
        kept = _idle.pop(_kind(client), None)
        if kept is None or kept[0].poll() is not None:
            start(client)
            client.started_as = _kind(client)
        else:
            client._end_process()
            client._process, client._ear, client._mouth = kept
            client.started_as = _kind(client)

    return take


def _leaving(close: Callable[[WorkerClient], None]) -> Callable[[WorkerClient], None]:
    def leave(client: WorkerClient) -> None:
        process = client._process
        # Whoever is closed while it works must end its process.
        is_idle = process is not None and not client.busy and process.poll() is None and not client._ear.has_unread()
        if is_idle and client._ear.heard_ready and client.started_as not in _idle:
            _idle[client.started_as] = process, client._ear, client._mouth
            client._process = None
        close(client)

    return leave


def _kind(client: WorkerClient) -> tuple:
    environment = frozenset(item for item in os.environ.items() if item[0] != "PYTEST_CURRENT_TEST")
    return client._arguments, client._python(), sys.executable, environment


@atexit.register
def _end_all() -> None:
    for process, *_ in _idle.values():
        end_tree(process)
