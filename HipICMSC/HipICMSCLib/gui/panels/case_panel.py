"""A button that keeps the result, as it was corrected, as a case that a training learns from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.scene.result import volume_of
from HipICMSCLib.worker.protocol import KeptCase

_FOLDER_SETTING = "HipICMSC/CasesFolder"


class CasePanel:
    """
    Attributes:
        widget: button and words, which belong below the editor.
    """

    def __init__(
        self, resource_path: Callable[[str], str], keep: Callable[[object, Path, bool, Callable], None]
    ) -> None:
        """
        Args:
            keep: keeps a segmentation node as a case in a folder, and may replace that of the same MRI if told so;
                calls back once with a KeptCase or a HipError, or raises one.
        """
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSC-Case.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self._does, self._says = self.ui.caseButton.toolTip, self.ui.caseStateLabel.text
        self._keep = keep
        self._shown, self._running, self._closed = None, False, False
        self.ui.caseButton.connect("clicked(bool)", self._on_keep)
        self.show(None)

    def show(self, segmentation_node) -> None:
        """Offer to keep this result; None for none."""
        if segmentation_node is not self._shown:
            self._say(self._says)
        self._shown = segmentation_node
        self.widget.visible = segmentation_node is not None
        reason = self._reason_against()
        self.ui.caseButton.enabled, self.ui.caseButton.toolTip = not reason, reason or self._does

    def close(self) -> None:
        """Slicer ends or the module is reloaded."""
        self._closed = True

    def _reason_against(self) -> str:
        if self._running:
            return _("A case is being written.")
        if self._shown is not None and volume_of(self._shown) is None:
            return _("The MRI of this result was deleted.")
        return ""

    def _on_keep(self, checked: bool = False) -> None:
        node = self._shown
        before = qt.QSettings().value(_FOLDER_SETTING, "") or str(Path.home())
        folder = qt.QFileDialog.getExistingDirectory(self.widget, _("Folder of the training cases"), before)
        if not folder:
            return
        qt.QSettings().setValue(_FOLDER_SETTING, folder)
        # While the dialog was open a batch may have ended and shown another result: meant is the one of the click.
        if node.GetScene() is None:
            self._say(_("The result was deleted meanwhile, so no case was written."))
        else:
            self._start(node, Path(folder), overwrite=False)

    def _start(self, node, folder: Path, overwrite: bool) -> None:
        self._running = True
        self._say(_("The case is being written …"))
        try:
            self._keep(node, folder, overwrite, lambda outcome: self._on_end(node, folder, outcome))
        except HipError as error:
            self._on_end(node, folder, error)
        self.show(self._shown)

    def _on_end(self, node, folder: Path, outcome: KeptCase | HipError) -> None:
        self._running = False
        if self._closed:
            return
        if isinstance(outcome, KeptCase):
            done = _("Case {number} is in {folder}: {words}.").format(
                number=outcome.number, folder=folder.name, words=outcome.words
            )
            whose = _("Whose it is stands in {file} alone.").format(file=outcome.source_list)
            self._say(" ".join([done, *outcome.remarks]), f"{outcome.folder}\n{whose}")
        elif outcome.kind == "case_exists":
            if self._may_replace(folder) and node.GetScene() is not None:
                self._start(node, folder, overwrite=True)
            else:
                stays = _("Nothing was written; the case of this MRI in {folder} stays as it was.")
                self._say(stays.format(folder=folder.name), outcome.sentence)
        else:
            self._say(outcome.sentence, outcome.detail)
        self.show(self._shown)

    def _may_replace(self, folder: Path) -> bool:
        question = _("This MRI is a case in {folder} already. Replace that case by this one?")
        return slicer.util.confirmOkCancelDisplay(question.format(folder=folder.name))

    def _say(self, sentence: str, detail: str = "") -> None:
        self.ui.caseStateLabel.text, self.ui.caseStateLabel.toolTip = sentence, detail
