"""The collapsible section "2. Training": how the next run shall be trained, how long it takes, the shell line,
and the button that starts it."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import qt
import slicer
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from slicer.i18n import tr as _

from HipICMSCTrainingLib.data.corrections import made_by_another_model
from HipICMSCTrainingLib.data.dataset_file import unchecked_dataset_from_file
from HipICMSCTrainingLib.gui.panels.description_area import DescriptionArea
from HipICMSCTrainingLib.gui.panels.estimate_area import EstimateArea
from HipICMSCTrainingLib.gui.panels.run_name import run_path, suggested_name
from HipICMSCTrainingLib.gui.panels.settings_form import SettingsForm
from HipICMSCTrainingLib.gui.panels.start_model import StartModel
from HipICMSCTrainingLib.gui.running.activity import Activity
from HipICMSCTrainingLib.gui.running.training_process import free_name
from HipICMSCTrainingLib.settings.choices import START_FROM, Choices, Description, Method, choices_of_run

#: Which contrast the MRIs have; methods that do not translate have no such setting.
_CONTRAST = "contrast_prior"
#: Settings with editors of their own above the form.
_ABOVE = ("device", "seed", START_FROM, _CONTRAST)


class SettingsPanel:
    """
    Attributes:
        widget: the section.
        changed: signal without values: other choices, or another reason why they cannot be taken.
        described: signal of the Description of all that can be chosen, when it is known.
        start_wanted: signal without values: the user wants a run with the present choices.
    """

    def __init__(
        self,
        resource_path: Callable[[str], str],
        activity: Activity,
        read_choices: Callable[[], str],
        write_choices: Callable[[str], None],
        dataset: Callable[[], Path],
        runs_folder: Callable[[], Path],
    ) -> None:
        """
        Args:
            read_choices, write_choices: of the one text in which all choices are kept.
            dataset: the dataset.json to train on; raises a HipError that says why there is none.
            runs_folder: where the new run's folder is to be made.
        """
        self.changed, self.described, self.start_wanted = Signal(), Signal(), Signal()
        self._read_choices, self._write_choices = read_choices, write_choices
        self._dataset, self._runs_folder = dataset, runs_folder
        self._choices = Choices()
        self._built_for = ""
        self._start_model = StartModel()
        self._is_showing = False

        self.widget = slicer.util.loadUI(resource_path("UI/HipICMSCTraining-Settings.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        # What the buttons do when they can be pressed; a reason takes its place.
        names = ("settingsCopyButton", "settingsStartButton")
        self._usual_tips = {name: getattr(self.ui, name).toolTip for name in names}
        self._form = SettingsForm(self.ui.settingsAdvancedFrame)
        self._form.edited.connect(self._on_edited)
        self._form.reset.connect(self._on_reset)
        self._form.problem_changed.connect(self._on_problem)
        ui = self.ui
        ui.settingsMethodComboBox.connect("currentIndexChanged(int)", self._on_method)
        ui.settingsPresetComboBox.connect("currentIndexChanged(int)", self._on_preset)
        ui.settingsContrastComboBox.connect("currentIndexChanged(int)", self._on_contrast)
        ui.settingsStartFromComboBox.connect("currentIndexChanged(int)", self._on_start_from)
        ui.settingsDeviceComboBox.connect("currentIndexChanged(int)", self._on_device)
        ui.settingsSeedSpinBox.connect("valueChanged(int)", self._on_seed)
        ui.settingsNameEdit.connect("textChanged(QString)", self._on_name)
        ui.settingsCopyButton.connect("clicked(bool)", self._on_copy)
        ui.settingsStartButton.connect("clicked(bool)", self._on_start)
        self._estimate = EstimateArea(ui, activity, self._data_and_settings, runs_folder)
        self._known = DescriptionArea(ui)
        self._known.changed.connect(self._on_described)
        self.show()
        self._known.read()

    # What others ask.

    @property
    def description(self) -> Description | None:
        """All that can be chosen, as soon as it is known."""
        return self._known.description

    @property
    def method(self) -> str:
        """The name of the chosen method."""
        return self._choices.method

    @property
    def reads_mr_labels(self) -> bool:
        """Whether the chosen method is trained on labelled MRIs; False until it is known what can be chosen."""
        return self.description is not None and self.description.methods[self.method].reads_mr_labels

    def arguments(self) -> list[str]:
        """Method, preset and what deviates from it, as ``hipicmsc train`` takes them.

        Raises:
            HipError: ``not_described`` as long as it is not known what can be chosen, ``unknown_model`` or as a model
                package for one that cannot be started from, ``bad_setting``.
        """
        description = self._known.known()
        if self._start_model.problem:
            raise HipError("unknown_model", self._start_model.problem)
        if self._form.problem():
            raise HipError("bad_setting", self._form.problem())
        return self._choices.arguments(description, self._start_model.settings)

    def run_path(self) -> Path:
        """The folder for the next run; its name is suggested where none was given.

        Raises:
            HipError: ``bad_name`` or ``folder_in_use``.
        """
        return run_path(self._runs_folder(), self._choices)

    def reason_against_start(self) -> str:
        """Why no run can be started with these choices and data; empty if one can."""
        try:
            self._data_and_settings()
            self.run_path()
        except HipError as error:
            return error.sentence
        return ""

    def reason_against_taking(self) -> str:
        """Why :meth:`take` cannot be called yet; empty if it can."""
        try:
            self._known.known()
        except HipError as error:
            return error.sentence
        return ""

    def take(self, run: Mapping[str, Any], name: str) -> None:
        """Make the choices those of a run, for another one.

        Args:
            run: its run.json.
            name: of the run; the new one's is made from it.

        Raises:
            HipError: ``not_described``, or as :func:`choices_of_run`; nothing is changed then.
        """
        choices = choices_of_run(run, self._known.known())
        self._choose(replace(choices, run_name=free_name(self._runs_folder(), name)))

    def forget_name(self) -> None:
        """The run of this name was started; the next one gets another."""
        if self._choices.run_name:
            self._choose(replace(self._choices, run_name=""))
        else:
            self.refresh()

    # Life.

    def enter(self) -> None:
        """The module is shown: what was missing may be there now, and models may have come and gone."""
        self._start_model.forget()
        self._known.read_again_if_needed()
        self.show()

    def show(self) -> None:
        """Show the choices as they are kept; to be called whenever somebody else may have changed them."""
        kept = Choices.from_text(self._read_choices())
        if kept != self._choices:
            self._choices = kept
            self._estimate.outdate()
        self._show()

    def refresh(self) -> None:
        """The data or the folder of the runs may be others; what can be pressed is looked at again."""
        self._show_name()
        self._show_start_note()
        self._show_buttons()

    def close(self) -> None:
        """Slicer ends or the module is reloaded; an estimate that runs is given up."""
        self._estimate.close()
        self._known.close()

    def _data_and_settings(self) -> list[str]:
        return ["--dataset", str(self._dataset()), *self.arguments()]

    def _on_described(self) -> None:
        self._built_for = ""
        self._show()
        if self.description is not None:
            self.described.emit(self.description)
        self.changed.emit()

    # What the user does.

    def _choose(self, choices: Choices) -> None:
        if choices == self._choices:
            return
        if replace(choices, run_name="") != replace(self._choices, run_name=""):
            self._estimate.outdate()
        self._choices = choices
        self._write_choices(choices.to_text())
        self._show()
        self.changed.emit()

    def _on_method(self, index: int) -> None:
        if not self._is_showing:
            self._choose(replace(self._choices, method=list(self.description.methods)[index]))

    def _on_preset(self, index: int) -> None:
        if not self._is_showing:
            self._choose(replace(self._choices, preset=list(self.description.presets)[index]))

    def _on_start_from(self, index: int) -> None:
        if not self._is_showing:
            self._choose(replace(self._choices, start_from=self._start_model.names[index]))

    def _on_contrast(self, index: int) -> None:
        if not self._is_showing:
            self._choose(self._choices.changed(_CONTRAST, self._contrasts()[index]))

    def _on_device(self, index: int) -> None:
        if not self._is_showing:
            self._choose(self._choices.changed("device", self._devices()[index]))

    def _on_seed(self, value: int) -> None:
        if not self._is_showing:
            self._choose(self._choices.changed("seed", value))

    def _on_name(self, text: str) -> None:
        if not self._is_showing:
            self._choose(replace(self._choices, run_name=text))

    def _on_edited(self, name: str, value: Any) -> None:
        before = self._choices
        self._choose(before.changed(name, value))
        if self._choices == before:
            # What could not be taken was put back by hand.
            self._show()
            self.changed.emit()

    def _on_reset(self, name: str) -> None:
        before = self._choices
        self._choose(before.reset(name))
        if self._choices == before:
            self._show()
            self.changed.emit()

    def _on_problem(self) -> None:
        self._show_buttons()
        self.changed.emit()

    def _on_copy(self, checked: bool = False) -> None:
        command = ["hipicmsc", "train", str(self.run_path()), *self._data_and_settings()]
        qt.QApplication.clipboard().setText(shlex.join(command))
        self._estimate.say(
            _(
                "The command was copied. On another computer, put the paths of the run and of the data set there into "
                "it; a model of your own to start from must be there, too."
            )
        )

    def _on_start(self, checked: bool = False) -> None:
        self.start_wanted.emit()

    # What the user sees.

    def _show(self) -> None:
        self._is_showing = True
        try:
            self._known.show()
            if self.description is not None:
                self._choices = self._choices.known_to(self.description)
                self._show_lists()
                self._show_form()
            self._show_name()
            self._show_start_note()
        finally:
            self._is_showing = False
        self._show_buttons()

    def _show_lists(self) -> None:
        methods = self.description.methods
        _fill(self.ui.settingsMethodComboBox, [_short(about) for about in methods.values()])
        self.ui.settingsMethodComboBox.currentIndex = list(methods).index(self._choices.method)
        about = methods[self._choices.method]
        self.ui.settingsMethodComboBox.toolTip = f"{about.title}. {about.help}"
        needs = _("Each MRI to train on or to hold out needs its label map.") if about.reads_mr_labels else ""
        self.ui.settingsMethodNoteLabel.text = " ".join(filter(None, [f"{about.title}.", about.help, needs]))
        _fill(self.ui.settingsPresetComboBox, list(self.description.presets))
        self.ui.settingsPresetComboBox.currentIndex = list(self.description.presets).index(self._choices.preset)
        self._show_contrast()
        self._show_models()
        values = self._values()
        _fill(self.ui.settingsDeviceComboBox, self._devices())
        self.ui.settingsDeviceComboBox.currentIndex = self._devices().index(values["device"])
        self.ui.settingsSeedSpinBox.value = values["seed"]

    def _show_contrast(self) -> None:
        contrasts, chosen = self._contrasts(), self._values().get(_CONTRAST, "")
        self.ui.settingsContrastLabel.visible = self.ui.settingsContrastComboBox.visible = bool(contrasts)
        self.ui.settingsContrastNoteLabel.visible = chosen == "none"
        in_words = {"none": _("not said"), "t1": _("T1, fat bright"), "fat-suppressed": _("fat-suppressed")}
        _fill(self.ui.settingsContrastComboBox, [in_words.get(name, name) for name in contrasts])
        self.ui.settingsContrastComboBox.currentIndex = contrasts.index(chosen) if chosen in contrasts else -1

    def _contrasts(self) -> tuple[str, ...]:
        """Those that the method can be told; none for one that does not translate."""
        settings = self.description.methods[self._choices.method].settings
        return next((field.choices for field in settings if field.name == _CONTRAST), ())

    def _show_models(self) -> None:
        self._start_model.choose(self._choices.start_from)
        _fill(self.ui.settingsStartFromComboBox, self._start_model.texts())
        self.ui.settingsStartFromComboBox.currentIndex = self._start_model.names.index(self._choices.start_from)

    def _show_start_note(self) -> None:
        """Whether the corrected MRIs that teach came from the model that the training starts from."""
        found = None
        if not self._start_model.problem:
            with contextlib.suppress(HipError):  # it is said elsewhere what is wrong with the data
                corrected = unchecked_dataset_from_file(self._dataset()).corrected("train")
                found = made_by_another_model(corrected, self._start_model.archive)
        label = self.ui.settingsStartNoteLabel
        label.text, label.visible = " ".join(found or ()), bool(found)

    def _devices(self) -> list[str]:
        """One that is chosen but not here is listed, too; the training says what is wrong with it."""
        devices = list(self.description.devices)
        chosen = self._values()["device"]
        return devices if chosen in devices else [*devices, chosen]

    def _values(self) -> dict[str, Any]:
        usual = self.description.values(self._choices.method, self._choices.preset)
        changes = {name: value for name, value in self._choices.changes.items() if name in usual}
        return usual | changes | self._start_model.settings

    def _show_form(self) -> None:
        choices, description = self._choices, self.description
        if self._built_for != choices.method:
            self._form.build(_groups(description, choices.method))
            self._built_for = choices.method
        usual = description.values(choices.method, choices.preset) | self._start_model.settings
        reason = _("It comes from the model {name}, from which the training starts.").format(name=choices.start_from)
        self._form.show(self._values(), usual, dict.fromkeys(self._start_model.settings, reason))
        deviations = choices.deviations(description, self._start_model.settings)
        count = len([name for name in deviations if name not in _ABOVE])
        heading = _("Advanced ({count} changed)").format(count=count) if count else _("Advanced")
        self.ui.settingsAdvancedCollapsibleButton.text = heading

    def _show_name(self) -> None:
        edit = self.ui.settingsNameEdit
        if edit.text != self._choices.run_name:
            edit.text = self._choices.run_name
        edit.placeholderText = suggested_name(self._runs_folder(), self._choices)

    def _show_buttons(self) -> None:
        self._estimate.refresh()
        reason = self.reason_against_start()
        for name, usual_tip in self._usual_tips.items():
            button = getattr(self.ui, name)
            button.enabled, button.toolTip = not reason, reason or usual_tip


def _groups(description: Description, method: str) -> list[tuple[str, str, list]]:
    """The shared settings, then each nested dataclass, then the method's own."""
    about = description.methods[method]
    shared = [field for field in description.settings if field.name not in _ABOVE]
    names = list(dict.fromkeys(field.group for field in shared))
    titles = {name: name.capitalize() if name else _("Schedule and optimisation") for name in names}
    # Those of no group come first.
    names.sort(key=bool)
    groups = [(titles[name], "", [field for field in shared if field.group == name]) for name in names]
    own = [field for field in about.settings if field.name not in _ABOVE]
    return [*groups, (_short(about), f"{about.title}. {about.help}", own)]


def _short(about: Method) -> str:
    """The whole title would be wider than a narrow panel; it stands below the choice of a method."""
    return about.title.partition(":")[0]


def _fill(box, texts: list[str]) -> None:
    if [box.itemText(index) for index in range(box.count)] != texts:
        box.clear()
        box.addItems(texts)
