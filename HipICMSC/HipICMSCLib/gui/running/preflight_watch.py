"""Has the chosen volume looked over again whenever it, the marked heads or another choice changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer
from HipICMSCLib.gui.running.segmentation_service import SegmentationService
from HipICMSCLib.worker.preflight import Finding

#: A choice that is changed again within this time is not looked into.
_MILLISECONDS = 300


@dataclass(frozen=True)
class Choices:
    """What the findings depend on.

    Attributes:
        volume: vtkMRMLScalarVolumeNode or None.
        heads: vtkMRMLMarkupsFiducialNode with the femoral heads, or None.
        blocking: why nothing can be segmented on this computer; empty where it can.
    """

    volume: Any = None
    heads: Any = None
    model: str = ""
    device: str = ""
    blocking: str = ""


class PreflightWatch(VTKObservationMixin):
    """
    Attributes:
        found: signal of the findings so far and whether there are more to come.
        nothing_to_look_at: signal without values.
        outdated: signal without values, when what was found is not true any more; something is found a little later.
    """

    def __init__(self, service: SegmentationService) -> None:
        super().__init__()
        self.found, self.nothing_to_look_at, self.outdated = Signal(), Signal(), Signal()
        self._service = service
        self._choices: Choices | None = None
        self._timer = RepeatingTimer(_MILLISECONDS, self._on_due)

    def choose(self, choices: Choices) -> None:
        """Look at these, unless they are what was looked at last."""
        if choices != self._choices:
            self._choices = choices
            self._observe()
            self.look_again()

    def look_again(self) -> None:
        """What was found may be so no more: how long it takes is known once something was segmented."""
        if self._choices is not None:
            self._service.forget_preflight()
            self._timer.start()
            self.outdated.emit()

    def look_on(self) -> None:
        """The user insists that the volume is an MRI: find also what ended at the judgement that it is none."""
        if self._choices is not None:
            self._look(insist=True)

    def forget(self) -> None:
        """Nobody looks at the panel, or the scene is closed."""
        self._choices = None
        self.removeObservers()
        self._timer.stop()
        self._service.forget_preflight()

    def _observe(self) -> None:
        """A volume that is filled, moved or changed is looked at again, and so are points that were placed or moved."""
        self.removeObservers()
        moved, markups = slicer.vtkMRMLTransformableNode.TransformModifiedEvent, slicer.vtkMRMLMarkupsNode
        of_volume = (slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, moved)
        # Not at every step while a point is dragged.
        of_heads = (
            markups.PointPositionDefinedEvent,
            markups.PointRemovedEvent,
            markups.PointEndInteractionEvent,
            moved,
        )
        for node, events in ((self._choices.volume, of_volume), (self._choices.heads, of_heads)):
            for event in events if node is not None else ():
                self.addObserver(node, event, self._on_node_changed)

    def _on_node_changed(self, caller, event) -> None:
        self.look_again()

    def _on_due(self) -> None:
        self._look(insist=False)

    def _look(self, insist: bool) -> None:
        self._timer.stop()
        choices = self._choices
        if choices.volume is None or choices.volume.GetImageData() is None:
            self.nothing_to_look_at.emit()
        elif choices.blocking:
            stop = Finding("stop", _("Set-up"), choices.blocking, remedy="install", of_image=False)
            self.found.emit((stop,), False)
        else:
            self._service.preflight(
                choices.volume, choices.model, choices.device, choices.heads, self.found.emit, insist
            )
