"""Choosing a model, looking at what it says of itself, and keeping models of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.foreign_text import tool_tip
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.panels.list_height import fit_lines
from HipICMSCLib.models.archive import ModelDetails, read_details
from HipICMSCLib.models.chosen import (
    DEFAULT_MODEL,
    add_model,
    available_models,
    find_model,
    is_users,
    remove_model,
    user_models_folder,
)

#: How high the box is that says what a model is.
_DETAILS_LINES = 14


class ModelPanel:
    """The list of models with its buttons.

    Attributes:
        widget: goes into a form.
        chosen: signal of the name, as find_model takes it, whenever the user chose another model.
    """

    def __init__(self, resource_path: Callable[[str], str]) -> None:
        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSC-Models.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.chosen = Signal()
        self._current = DEFAULT_MODEL
        #: As listed; their texts in the list say more.
        self._names: list[str] = []
        self._filling = False
        self._shown_details = ""
        self.ui.modelDetailsBrowser.visible = self.ui.modelButtonsFrame.visible = False
        fit_lines(self.ui.modelDetailsBrowser, _DETAILS_LINES)
        self.ui.modelComboBox.connect("currentIndexChanged(int)", self._on_index_changed)
        self.ui.addModelButton.connect("clicked(bool)", self._on_add)
        self.ui.removeModelButton.connect("clicked(bool)", self._on_remove)
        self.ui.modelDetailsButton.connect("toggled(bool)", self._on_details)
        self.refresh()

    def current(self) -> str:
        """The chosen model's name, as find_model takes it; whether it is there, find_model says."""
        return self._current

    def select(self, name: str) -> None:
        """Show ``name`` as chosen, as missing where it is not there; ``chosen`` is not emitted."""
        self._current = name
        self.refresh()

    def details(self) -> ModelDetails | None:
        """What the chosen model says of itself; None where it is missing or damaged."""
        try:
            return read_details(find_model(self._current))
        except HipError:
            return None

    def refresh(self) -> None:
        """List the models anew, for files may have come and gone; the choice stays."""
        names = [path.stem for path in available_models()]
        if self._current not in names:
            names.append(self._current)
        combo = self.ui.modelComboBox
        texts = [_text(name) for name in names]
        self._filling = True
        if texts != [combo.itemText(index) for index in range(combo.count)]:
            combo.clear()
            combo.addItems(texts)
        combo.currentIndex = names.index(self._current)
        self._filling = False
        self._names = names
        self._show_removable()
        self._show_details()

    def _on_index_changed(self, index: int) -> None:
        if not self._filling:
            self._choose(self._names[index])

    def _choose(self, name: str) -> None:
        self.select(name)
        self.chosen.emit(name)

    def _on_add(self, checked: bool = False) -> None:
        title, kind = _("Add model file"), _("HipICMSC model (*.hipmodel)")
        chosen = qt.QFileDialog.getOpenFileName(self.widget, title, "", kind)
        if not chosen:
            return
        try:
            added = add_model(Path(chosen))
        except HipError as error:
            slicer.util.errorDisplay(error.sentence, detailedText=error.detail)
            return
        self._choose(added.stem)

    def _on_remove(self, checked: bool = False) -> None:
        question = _("Remove the model {name}? Its file in the folder {folder} is deleted.")
        if not slicer.util.confirmYesNoDisplay(question.format(name=self._current, folder=user_models_folder())):
            return
        try:
            remove_model(find_model(self._current))
        except HipError as error:
            slicer.util.errorDisplay(error.sentence, detailedText=error.detail)
            self.refresh()
            return
        self._choose(DEFAULT_MODEL)

    def _on_details(self, shown: bool) -> None:
        self.ui.modelDetailsBrowser.visible = self.ui.modelButtonsFrame.visible = shown
        self._show_details()

    def _show_removable(self) -> None:
        button, path = self.ui.removeModelButton, _file_of(self._current)
        button.enabled = path is not None and is_users(path)
        if path is None:
            sentence = _("There is no model {name}, so there is nothing to remove.")
        elif is_users(path):
            sentence = _("Delete your model {name}.")
        else:
            sentence = _("{name} is not one of your own models and cannot be removed here.")
        button.toolTip = tool_tip(sentence.format(name=self._current))

    def _show_details(self) -> None:
        if not self.ui.modelDetailsButton.checked:
            return
        try:
            text = _markdown(read_details(find_model(self._current)))
        except HipError as error:
            text = _escaped(error.sentence)
        if text == self._shown_details:
            return  # whoever reads it stays at the place
        self._shown_details = text
        browser = self.ui.modelDetailsBrowser
        if hasattr(browser, "setMarkdown"):
            browser.setMarkdown(text)
        else:  # Qt before 5.14
            browser.plainText = text


def _file_of(name: str) -> Path | None:
    """The package with this name; None where there is none."""
    try:
        path = find_model(name)
    except HipError:
        return None
    return path if path.is_file() else None


def _text(name: str) -> str:
    path = _file_of(name)
    if path is None:
        return _("{name} (missing)").format(name=name)
    return _("{name} (yours)").format(name=name) if is_users(path) else name


def _markdown(details: ModelDetails) -> str:
    facts = {
        _("Name"): details.name,
        _("Intended use"): details.intended_use,
        _("Licence"): details.licence,
        _("Method"): details.method or _("not stated"),
        _("Trained on"): _trained_on(details),
        _("File"): _("{name}, {size} MB").format(name=details.file_name, size=f"{details.size_bytes / 1e6:.1f}"),
        _("SHA-256"): details.sha256,
    }
    paragraphs = [f"**{name}:** {value}" for name, value in facts.items()]
    # Our own export writes them into the card, too.
    citations = [citation for citation in details.citations if citation not in details.card]
    if citations:
        paragraphs += [_("Please cite:"), "\n".join(f"- {citation}" for citation in citations)]
    return _escaped("\n\n".join([*paragraphs, "---", details.card]))


def _trained_on(details: ModelDetails) -> str:
    if details.ct_volumes is None or details.mr_volumes is None:
        return _("not stated")
    return _("{ct} labelled CTs and {mr} MRIs without labels").format(ct=details.ct_volumes, mr=details.mr_volumes)


def _escaped(text: str) -> str:
    """Markdown that shows no picture and no HTML: a card is anybody's, and showing it may not open other files."""
    return text.replace("![", "!\\[").replace("<", "&lt;")
