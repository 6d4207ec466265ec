"""Looks a volume over before any click: at once what Slicer can see by itself, then what the worker finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import SimpleITK as sitk

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import from_json
from HipICMSCLib.gui.running.segmentation_job import VolumeFile, marked_heads
from HipICMSCLib.gui.running.worker_client import WorkerClient
from HipICMSCLib.gui.scene.mrml import image_of
from HipICMSCLib.models.archive import read_details
from HipICMSCLib.models.chosen import find_model
from HipICMSCLib.worker.preflight import Finding, image_findings, model_findings, overruled
from HipICMSCLib.worker.protocol import Event, Failed, Finished, PreflightRequest

#: Called with the findings so far, and whether there are more to come.
OnFindings = Callable[[tuple[Finding, ...], bool], None]


class ImageLook:
    """What Slicer sees of a volume by itself; kept until the volume changes, for a large one takes a second."""

    def __init__(self) -> None:
        self._of: tuple | None = None
        self._findings: tuple[Finding, ...] = ()

    def findings(self, volume_node, image: sitk.Image) -> tuple[Finding, ...]:
        """
        Args:
            image: the volume as it is displayed.
        """
        geometry = (image.GetOrigin(), image.GetSpacing(), image.GetDirection())
        of = (volume_node.GetID(), volume_node.GetImageData().GetMTime(), geometry)
        if of != self._of:
            self._of, self._findings = of, image_findings(image, volume_node.GetName())
        return self._findings


class PreflightCheck:
    """One look at one volume with one model."""

    def __init__(
        self,
        worker: WorkerClient,
        look: ImageLook,
        volume_node,
        model: str,
        device: str,
        heads_node,
        on_findings: OnFindings,
        insist: bool,
    ) -> None:
        """
        Args:
            insist: let the worker look also where the image is judged to be no MRI.
        """
        self._worker, self._on_findings = worker, on_findings
        self._file = self._conversation = None
        self._of_image, self._of_model = (), _of_model(model)
        try:
            image = image_of(volume_node)
            self._of_image = look.findings(volume_node, image)
        except HipError as error:
            self._of_image = (Finding("stop", "Image", error.sentence),)
        try:
            heads = marked_heads(heads_node)
        except HipError as error:
            self._of_image = (*self._of_image, Finding("stop", "Femoral heads", error.sentence))
        at_once = self._of_image + self._of_model
        counting = overruled(at_once) if insist else at_once
        if any(finding.level == "stop" for finding in counting):
            on_findings(at_once, False)
            return
        on_findings(at_once, True)
        try:
            self._file = VolumeFile(image, volume_node.GetName())
            request = PreflightRequest(str(self._file.path), str(find_model(model)), device, heads)
            self._conversation = worker.send(request, self._on_event)
        except HipError as error:
            self._end((_of_computer(error),))

    def give_up(self) -> None:
        """Nobody wants to know any more."""
        self._on_findings = lambda findings, pending: None
        if self._conversation is not None:
            self._worker.forget(self._conversation)
        if self._file is not None:
            self._file.close()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Failed):
            # It may be well the next time, so it keeps nobody from trying.
            self._end((Finding("caution", "Look", f"The MRI could not be looked over. {event.sentence}"),))
        elif isinstance(event, Finished):
            self._end(_findings_in(event.report))

    def _end(self, found: tuple[Finding, ...]) -> None:
        if self._file is not None:
            self._file.close()
        self._on_findings(self._of_image + found + self._of_model, False)


def _of_model(model: str) -> tuple[Finding, ...]:
    try:
        details = read_details(find_model(model))
    except HipError as error:
        return (Finding("stop", "Model", error.sentence, of_image=False),)
    return model_findings(details.licence, details.intended_use)


def _findings_in(report: dict[str, Any]) -> tuple[Finding, ...]:
    try:
        return tuple(from_json(Finding, values) for values in report["findings"])
    except (KeyError, TypeError, HipError) as error:
        sentence = "The segmentation process reported what is not understood here; restart Slicer and try again."
        return (_of_computer(HipError("bad_message", sentence, str(error))),)


def _of_computer(error: HipError) -> Finding:
    return Finding("stop", "Set-up", error.sentence, of_image=False)
