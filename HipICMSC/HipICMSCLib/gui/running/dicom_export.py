"""Writes a result of the scene as a DICOM segmentation; the worker does it, for Slicer lacks the library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.files import check_may_write
from HipICMSCLib.common.images import write_image
from HipICMSCLib.gui.running.worker_client import WorkerClient
from HipICMSCLib.gui.running.writing_request import WritingRequest
from HipICMSCLib.gui.scene.dicom import dicom_files_of, labels_of
from HipICMSCLib.gui.scene.result import provenance_of, volume_of
from HipICMSCLib.worker.protocol import ExportRequest

#: Called once, with None where the file is written.
OnExported = Callable[["HipError | None"], None]


def export_dicom(worker: WorkerClient, segmentation_node, output: Path, on_end: OnExported) -> WritingRequest:
    """
    Raises:
        HipError: as `dicom.dicom_files_of`, `dicom.labels_of`, `files.check_may_write` and `WritingRequest`.
    """
    images = dicom_files_of(volume_of(segmentation_node))
    check_may_write(output, overwrite=True, inputs=images)
    labels = labels_of(segmentation_node)

    def made_in(folder: Path) -> ExportRequest:
        file = folder / "labels.nrrd"
        write_image(labels, file, compression=None)
        return ExportRequest(str(file), tuple(map(str, images)), str(output), provenance_of(segmentation_node))

    return WritingRequest(worker, made_in, lambda outcome: on_end(outcome if isinstance(outcome, HipError) else None))
