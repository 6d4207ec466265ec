"""Keeps a corrected result of the scene as a case; the worker does it, for it takes longer than Slicer may wait."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.images import write_image
from HipICMSCLib.common.settings import from_json
from HipICMSCLib.gui.running.segmentation_job import private_folder
from HipICMSCLib.gui.running.worker_client import WorkerClient
from HipICMSCLib.gui.scene.corrections import correction_of
from HipICMSCLib.worker.protocol import Event, Failed, Finished, KeepCaseRequest, KeptCase

#: Called once, with the case or why there is none.
OnKept = Callable[["KeptCase | HipError"], None]


class CaseKeeping:
    """One case that is being written."""

    def __init__(self, worker: WorkerClient, segmentation_node, cases: Path, overwrite: bool, on_end: OnKept) -> None:
        """
        Args:
            cases: the folder of the cases.
            overwrite: whether the user said that the case of the same MRI may be replaced.

        Raises:
            HipError: as `corrections.correction_of`, `files.replacing` and `WorkerClient.send`.
        """
        self._on_end = on_end
        correction = correction_of(segmentation_node)
        self._folder = private_folder()
        try:
            image, labels = self._folder / "volume.nrrd", self._folder / "labels.nrrd"
            write_image(correction.image, image, compression=None)
            write_image(correction.labels, labels, compression=None)
            request = KeepCaseRequest(
                str(image), str(labels), str(cases), correction.source, correction.made_by, correction.as_made,
                correction.completed, overwrite,
            )  # fmt: skip
            worker.send(request, self._on_event)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the files, which hold patient data."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Failed):
            self.close()
            self._on_end(HipError(event.kind, event.sentence, event.detail))
        elif isinstance(event, Finished):
            self.close()
            self._on_end(from_json(KeptCase, event.report))
