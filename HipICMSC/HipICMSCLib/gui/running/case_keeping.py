"""Keeps a corrected result of the scene as a case; the worker does it, for it takes longer than Slicer may wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.images import write_image
from HipICMSCLib.common.settings import from_json
from HipICMSCLib.gui.running.worker_client import WorkerClient
from HipICMSCLib.gui.running.writing_request import WritingRequest
from HipICMSCLib.gui.scene.corrections import correction_of
from HipICMSCLib.worker.protocol import Finished, KeepCaseRequest, KeptCase

#: Called once, with the case or why there is none.
OnKept = Callable[["KeptCase | HipError"], None]


def keep_as_case(
    worker: WorkerClient, segmentation_node, cases: Path, overwrite: bool, on_end: OnKept
) -> WritingRequest:
    """
    Args:
        cases: the folder of the cases.
        overwrite: whether the user said that the case of the same MRI may be replaced.

    Raises:
        HipError: as `corrections.correction_of` and `WritingRequest`.
    """
    correction = correction_of(segmentation_node)

    def made_in(folder: Path) -> KeepCaseRequest:
        image, labels = folder / "volume.nrrd", folder / "labels.nrrd"
        write_image(correction.image, image, compression=None)
        write_image(correction.labels, labels, compression=None)
        return KeepCaseRequest(
            str(image), str(labels), str(cases), correction.source, correction.made_by, correction.as_made,
            correction.completed, overwrite,
        )  # fmt: skip

    def ended(outcome: Finished | HipError) -> None:
        on_end(outcome if isinstance(outcome, HipError) else from_json(KeptCase, outcome.report))

    return WritingRequest(worker, made_in, ended)
