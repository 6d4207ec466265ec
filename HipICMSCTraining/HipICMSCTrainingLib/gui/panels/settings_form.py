"""The form of all further settings: an editor for each, its meaning as tool tip, and a word where it was changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import qt
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from slicer.i18n import tr as _

from HipICMSCTrainingLib.gui.panels.setting_titles import title_of
from HipICMSCTrainingLib.settings.choices import Field

_LARGEST = 2**31 - 1


_NOTHING = object()


class SettingsForm:
    """Makes boxes of editors in a frame, one box for each group of settings.

    Attributes:
        edited: signal of a setting's name and its new value; not emitted while what is typed is no value.
        reset: signal of the name of a setting that shall be as it usually is.
        problem_changed: signal without values; ask :meth:`problem`.
    """

    def __init__(self, frame) -> None:
        """
        Args:
            frame: a widget with a vertical layout.
        """
        self.edited, self.reset, self.problem_changed = Signal(), Signal(), Signal()
        self._frame = frame
        self._rows: dict[str, _Row] = {}
        self._boxes: list[Any] = []

    def build(self, groups: Iterable[tuple[str, str, Iterable[Field]]]) -> None:
        """Replace everything by these groups: title, tool tip and settings."""
        for box in self._boxes:
            box.setParent(None)
            box.deleteLater()
        self._rows, self._boxes = {}, []
        for title, tip, fields in groups:
            box = qt.QGroupBox(title)
            box.toolTip = tip
            grid = qt.QGridLayout(box)
            grid.setColumnStretch(1, 1)
            for number, about in enumerate(fields):
                self._rows[about.name] = _Row(about, grid, number, self._on_edited, self.reset.emit)
            self._frame.layout().addWidget(box)
            self._boxes.append(box)

    def show(self, values: Mapping[str, Any], usual: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
        """Show these values.

        Args:
            usual: what the values are unless somebody changes them.
            reasons: why a setting cannot be changed, by its name.
        """
        for name, row in self._rows.items():
            row.show(values[name], usual[name], reasons.get(name, ""))

    def problem(self) -> str:
        """Why what is typed cannot be taken, in a sentence; empty if it can."""
        return next((row.problem for row in self._rows.values() if row.problem), "")

    def _on_edited(self, name: str) -> None:
        row = self._rows[name]
        try:
            value = row.read()
        except HipError:
            self.problem_changed.emit()
        else:
            self.edited.emit(name, value)


class _Row:
    """A name, an editor, and what was done to it."""

    def __init__(
        self, about: Field, grid, number: int, on_edited: Callable[[str], None], on_reset: Callable[[str], None]
    ) -> None:
        self._about, self.problem = about, ""
        #: What is in the editor; nothing yet.
        self._shown: Any = _NOTHING
        self._is_showing = False
        self._on_edited, self._on_reset = on_edited, on_reset
        title = title_of(about.name)
        self._label = qt.QLabel(title)
        self._label.wordWrap = True
        self._editor = _EDITORS[about.type](about, self._edited)
        self._mark = qt.QLabel("")
        self._reset = qt.QToolButton()
        self._reset.text = _("Reset")
        widget = self._editor.widget
        self._tip = f"{about.help[:1].upper()}{about.help[1:]} ({about.name})".strip()
        in_names = about.name.replace(".", "_")
        widget.objectName, widget.accessibleName = f"setting_{in_names}", title
        self._reset.objectName = f"reset_{in_names}"
        self._reset.accessibleName = _("Reset {setting}").format(setting=title)
        self._mark.objectName = f"mark_{in_names}"
        self._label.setBuddy(widget)
        self._reset.connect("clicked(bool)", self._reset_clicked)
        for column, part in enumerate((self._label, widget, self._mark, self._reset)):
            grid.addWidget(part, number, column)

    def show(self, value: Any, usual: Any, reason: str) -> None:
        # What is typed stays as it is typed, also while it is no value and something else is changed.
        if value != self._shown or reason:
            self._is_showing = True
            self._editor.show(value)
            self._is_showing = False
            self._shown, self.problem = value, ""
        self._editor.widget.enabled = not reason
        self._label.toolTip = "\n".join(filter(None, [self._tip, reason]))
        self._editor.widget.toolTip = self.problem or self._label.toolTip
        if self.problem:
            self._say(_("not valid"))
        else:
            self._say(_("changed") if value != usual else "")
        usually = self._about.text_of(usual) or _("not set")
        self._reset.toolTip = _("Back to {value}, as the preset has it.").format(value=usually)

    def read(self) -> Any:
        """
        Raises:
            HipError: ``bad_setting``; then :attr:`problem` says why.
        """
        try:
            value = self._editor.read()
        except HipError as error:
            self.problem = error.sentence
            self._editor.widget.toolTip = self.problem
            self._say(_("not valid"))
            raise
        self._shown, self.problem = value, ""
        return value

    def _edited(self) -> None:
        if not self._is_showing:
            self._on_edited(self._about.name)

    def _reset_clicked(self, checked: bool = False) -> None:
        self._shown = _NOTHING
        self._on_reset(self._about.name)

    def _say(self, word: str) -> None:
        self._mark.text = word
        self._mark.visible = self._reset.visible = bool(word)


class _SpinBox:
    """A whole number; where it may be missing, that is one below the smallest."""

    def __init__(self, about: Field, on_edited: Callable[[], None]) -> None:
        self._optional = about.optional
        self.widget = qt.QSpinBox()
        self.widget.minimum, self.widget.maximum = (-1 if about.optional else 0), _LARGEST
        if about.optional:
            self.widget.specialValueText = _("not set")
        self.widget.connect("valueChanged(int)", lambda value: on_edited())

    def show(self, value: int | None) -> None:
        self.widget.value = -1 if value is None else value

    def read(self) -> int | None:
        value = self.widget.value
        return None if self._optional and value == -1 else value


class _CheckBox:
    def __init__(self, about: Field, on_edited: Callable[[], None]) -> None:
        self.widget = qt.QCheckBox()
        self.widget.connect("toggled(bool)", lambda checked: on_edited())

    def show(self, value: bool) -> None:
        self.widget.checked = value

    def read(self) -> bool:
        return self.widget.checked


class _ComboBox:
    def __init__(self, about: Field, on_edited: Callable[[], None]) -> None:
        self._choices = about.choices
        self.widget = qt.QComboBox()
        self.widget.addItems(list(about.choices))
        self.widget.connect("currentIndexChanged(int)", lambda index: on_edited())

    def show(self, value: str) -> None:
        # One that this version does not know is shown as nothing chosen.
        self.widget.currentIndex = self._choices.index(value) if value in self._choices else -1

    def read(self) -> str:
        return self._choices[self.widget.currentIndex]


class _LineEdit:
    def __init__(self, about: Field, on_edited: Callable[[], None]) -> None:
        self._about = about
        self.widget = qt.QLineEdit()
        if about.optional:
            self.widget.placeholderText = _("not set")
        self.widget.connect("textChanged(QString)", lambda text: on_edited())

    def show(self, value: Any) -> None:
        self.widget.text = self._about.text_of(value)

    def read(self) -> Any:
        return self._about.value_of(self.widget.text)


_EDITORS = {
    "int": _SpinBox, "bool": _CheckBox, "choice": _ComboBox, "float": _LineEdit, "numbers": _LineEdit,
    "text": _LineEdit,
}  # fmt: skip
