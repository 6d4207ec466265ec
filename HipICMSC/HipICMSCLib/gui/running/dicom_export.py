"""Writes a result of the scene as a DICOM segmentation; the worker does it, for Slicer lacks the library."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_may_write
from HipICMSCLib.common.images import write_image
from HipICMSCLib.gui.running.segmentation_job import make_job_folder
from HipICMSCLib.gui.running.worker_client import WorkerClient
from HipICMSCLib.gui.scene.dicom import dicom_files_of, labels_of
from HipICMSCLib.gui.scene.result import provenance_of, volume_of
from HipICMSCLib.worker.protocol import Event, ExportRequest, Failed, Finished

#: Called once, with None where the file is written.
OnExported = Callable[["HipError | None"], None]


class DicomExport:
    """One export under way."""

    def __init__(self, worker: WorkerClient, segmentation_node, output: Path, on_end: OnExported) -> None:
        """
        Raises:
            HipError: as `dicom.dicom_files_of`, `dicom.labels_of`, `files.check_may_write` and `WorkerClient.send`.
        """
        self._on_end = on_end
        images = dicom_files_of(volume_of(segmentation_node))
        check_may_write(output, overwrite=True, inputs=images)
        labels = labels_of(segmentation_node)
        self._folder = make_job_folder()
        try:
            file = self._folder / "labels.nrrd"
            write_image(labels, file, compression=None)
            request = ExportRequest(str(file), tuple(map(str, images)), str(output), provenance_of(segmentation_node))
            worker.send(request, self._on_event)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the files, which hold patient data."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Finished | Failed):
            self.close()
            failed = isinstance(event, Failed)
            self._on_end(HipError(event.kind, event.sentence, event.detail) if failed else None)
