"""A button that writes the result as a DICOM segmentation, where Slicer itself has nothing for that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.panels.file_to_save import file_to_save
from HipICMSCLib.gui.scene.dicom import comes_from_dicom
from HipICMSCLib.gui.scene.result import volume_of
from HipICMSCLib.results.dicom_seg import ENDING


def slicer_exports() -> bool:
    """Whether the extension QuantitativeReporting is there: then "Export to DICOM" of the module Data does it."""
    return hasattr(slicer.modules, "quantitativereporting")


class ExportPanel:
    """
    Attributes:
        widget: button and words, which belong below the editor.
    """

    def __init__(self, resource_path: Callable[[str], str], export: Callable[[object, Path, Callable], None]) -> None:
        """
        Args:
            export: writes a segmentation node into a file; calls back once with None or a HipError, or raises one.
        """
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSC-Export.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._does, self._export = self.ui.exportButton.toolTip, export
        self._shown, self._running, self._closed = None, False, False
        self.ui.exportButton.connect("clicked(bool)", self._on_export)
        self.show(None)

    def show(self, segmentation_node) -> None:
        """Offer to export this result; None for none."""
        if segmentation_node is not self._shown:
            self._say("")
        self._shown = segmentation_node
        self.widget.visible = segmentation_node is not None and not slicer_exports()
        reason = self._reason_against()
        self.ui.exportButton.enabled, self.ui.exportButton.toolTip = not reason, reason or self._does

    def export(self, segmentation_node) -> None:
        """Ask for a file and write into it; while another one is being written, only say so."""
        if self._running:
            self._say(self._reason_against())
            return
        output = file_to_save(self.widget, _("Export as DICOM SEG"), segmentation_node.GetName(), {ENDING: "DICOM"})
        if output is None:
            return
        if segmentation_node.GetScene() is None:
            self._say(_("The result was deleted meanwhile, so nothing was exported."))
            return
        try:
            self._running = True
            self._say(_("The DICOM segmentation is being written …"))
            self._export(segmentation_node, output, lambda error: self._on_end(output, error))
        except HipError as error:
            self._on_end(output, error)
        self.show(self._shown)

    def close(self) -> None:
        """Slicer ends or the module is reloaded."""
        self._closed = True

    def _reason_against(self) -> str:
        if self._running:
            return _("A DICOM segmentation is being written; wait until it is done.")
        if self._shown is not None and not comes_from_dicom(volume_of(self._shown)):
            return _(
                "Only a result of an MRI that Slicer's DICOM module loaded can be exported: a DICOM segmentation "
                "refers to the images it was made of."
            )
        return ""

    def _on_export(self, checked: bool = False) -> None:
        self.export(self._shown)

    def _on_end(self, output: Path, error: HipError | None) -> None:
        self._running = False
        if self._closed:
            return
        if error is None:
            self._say(_("The DICOM segmentation is in {name}.").format(name=output.name), str(output))
        else:
            self._say(error.sentence, error.detail)
        self.show(self._shown)

    def _say(self, sentence: str, detail: str = "") -> None:
        label = self.ui.exportStateLabel
        label.text, label.toolTip, label.visible = sentence, detail, bool(sentence)
