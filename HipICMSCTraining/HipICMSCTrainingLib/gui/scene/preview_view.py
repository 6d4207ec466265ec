"""The previews of a run as pictures over time: a slider, one half of the sheet in the panel, all of it in a window."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import qt
from slicer.i18n import tr as _

from HipICMSCTrainingLib.run.files import is_picture
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.method import RunMethod
from HipICMSCTrainingLib.run.status import Status

_LARGEST_WINDOW = (1600, 1000)


class PreviewView:
    """Drives the widgets of the live section whose names begin with livePreview.

    A sheet (run/previews.py) has MR above and CT below, outlined on the left and plain on the right. The newest one is
    shown as long as the slider is at its end.
    """

    def __init__(self, ui: SimpleNamespace) -> None:
        self._ui = ui
        self._window = self._window_label = None
        self._usual_tip = ui.livePreviewOpenButton.toolTip
        ui.livePreviewComboBox.addItems([_("MRI"), _("CT")])
        ui.livePreviewComboBox.connect("currentIndexChanged(int)", self._on_changed)
        ui.livePreviewSlider.connect("valueChanged(int)", self._on_changed)
        ui.livePreviewOpenButton.connect("clicked(bool)", self._on_open)
        self.attach(None)

    def attach(self, run: RunFolder | None) -> None:
        """Show this run's pictures from the next :meth:`refresh` on."""
        self._run = run
        self._paths: list[Path] = []
        self._stage_1_steps: float | None = None
        self._shown: object = None
        self._sheet = None
        self._set_slider(0)
        self._show()

    def refresh(self, status: Status, method: RunMethod) -> None:
        """Look for new pictures; one that is shown already is not read again."""
        self._name_halves(method)
        slider = self._ui.livePreviewSlider
        at_end = slider.value == slider.maximum
        paths = self._run.previews_of()
        if paths != self._paths:
            self._paths = paths
            self._stage_1_steps = self._run.stage_1_steps(status.total_steps)
            self._set_slider(len(paths) - 1 if at_end else min(slider.value, len(paths) - 1))
        self._show()

    def close(self) -> None:
        """Slicer ends or the module is reloaded."""
        if self._window is not None:
            self._window.close()
            self._window = self._window_label = None

    def _name_halves(self, method: RunMethod) -> None:
        names = [_("MRI"), _("CT")]
        if method.translates:
            names = [_("MRI → CT-like → back to MRI"), _("CT → MR-like → back to CT")]
        for index, name in enumerate(names):
            if self._ui.livePreviewComboBox.itemText(index) != name:
                self._ui.livePreviewComboBox.setItemText(index, name)

    def _set_slider(self, value: int) -> None:
        slider = self._ui.livePreviewSlider
        slider.blockSignals(True)
        slider.maximum = max(0, len(self._paths) - 1)
        slider.value = max(0, value)
        slider.blockSignals(False)

    def _on_changed(self, value: int) -> None:
        self._show()

    def _show(self) -> None:
        ui = self._ui
        reason = self._reason_against()
        ui.livePreviewLabel.visible = not reason
        ui.livePreviewSlider.enabled = len(self._paths) > 1
        ui.livePreviewComboBox.enabled = ui.livePreviewOpenButton.enabled = not reason
        ui.livePreviewOpenButton.toolTip = reason or self._usual_tip
        if reason:
            ui.livePreviewText.text = reason
            return
        path = self._paths[ui.livePreviewSlider.value]
        if self._sheet is None or self._sheet[0] != path:
            self._sheet = (path, qt.QPixmap(str(path)) if is_picture(path) else qt.QPixmap())
            self._fill_window()
        self._show_half(path, self._sheet[1])

    def _show_half(self, path: Path, sheet) -> None:
        ui = self._ui
        # The picture's own label has no width before it is shown for the first time; the slider below is as wide.
        of_ct, width = ui.livePreviewComboBox.currentIndex, ui.livePreviewSlider.width
        if self._shown == (path, of_ct, width):
            return
        self._shown = (path, of_ct, width)
        ui.livePreviewLabel.visible = not sheet.isNull()
        if sheet.isNull():
            ui.livePreviewText.text = _("The picture {name} cannot be read.").format(name=path.name)
            return
        half_width, half_height = sheet.width() // 2, sheet.height() // 2
        half = sheet.copy(0, of_ct * half_height, half_width, half_height)
        ui.livePreviewLabel.setPixmap(half.scaledToWidth(max(width, 1), qt.Qt.SmoothTransformation))
        ui.livePreviewText.text = self._text(_step_of(path))

    def _text(self, step: int) -> str:
        number, count = self._ui.livePreviewSlider.value + 1, len(self._paths)
        text = _("Picture {number} of {count}, after step {step}. Hip bone orange, femur blue.").format(
            number=number, count=count, step=step
        )
        if self._stage_1_steps is not None and step <= self._stage_1_steps:
            text = f"{text} {_('It is of stage 1, so that its outlines may mean little yet.')}"
        return text

    def _reason_against(self) -> str:
        if self._run is None:
            return _("When a run is chosen, its pictures are shown here.")
        return "" if self._paths else _("There is no picture yet; each epoch ends with one.")

    # The window.

    def _on_open(self, checked: bool = False) -> None:
        if self._window is None:
            self._window, self._window_label = qt.QScrollArea(), qt.QLabel()
            self._window.setWidget(self._window_label)
        self._fill_window()
        sheet, (width, height) = self._sheet[1], _LARGEST_WINDOW
        self._window.resize(min(sheet.width() + 30, width), min(sheet.height() + 30, height))
        self._window.show()
        self._window.raise_()

    def _fill_window(self) -> None:
        if self._window is not None:
            path, sheet = self._sheet
            self._window.windowTitle = _("{run}, after step {step}").format(
                run=self._run.path.name, step=_step_of(path)
            )
            self._window_label.setPixmap(sheet)
            self._window_label.resize(sheet.width(), sheet.height())


def _step_of(path: Path) -> int:
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isdigit() else 0
