"""A file that the process beside Slicer writes: whoever asked hears of its end once, also of that of the process."""

from __future__ import annotations

from pathlib import Path

import pytest
from HipICMSCLib.common.errors import HipError


class Worker:
    """Answers when the test does."""

    def send(self, request: Path, hear) -> None:
        self.folder, self.hear = request, hear


@pytest.fixture
def asked(bench):
    from HipICMSCLib.gui.running.writing_request import WritingRequest

    def files_in(folder: Path) -> Path:
        (folder / "labels.nrrd").write_bytes(b"patient data")
        return folder

    worker, ends = Worker(), []
    return WritingRequest(worker, files_in, ends.append), worker, ends


def test_a_process_that_is_ended_tells_whoever_waits(asked):
    writing, worker, ends = asked
    assert worker.folder.exists()
    writing.abandon()
    writing.abandon()
    (error,) = ends
    assert isinstance(error, HipError) and error.kind == "cancelled"
    assert not worker.folder.exists()


def test_what_was_answered_is_over(asked):
    from HipICMSCLib.worker.protocol import Finished

    writing, worker, ends = asked
    worker.hear(Finished({}))
    writing.abandon()
    assert ends == [Finished({})] and not worker.folder.exists()
