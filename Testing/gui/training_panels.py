"""The sections "Training" and "Runs" as the module puts them together, for tests of either."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import slicer_stand_ins
from waiting import wait

RESOURCES = slicer_stand_ins.module_file("HipICMSCTraining").parent / "Resources"
WIDTH = 460


class TrainingPanels:
    """Both sections of a user with these data; what the parameter node keeps is in ``text``."""

    def __init__(self, application, dataset: Path | None = None, text: str = "") -> None:
        from HipICMSCTrainingLib.gui.panels.runs_panel import RunsPanel, runs_folder
        from HipICMSCTrainingLib.gui.panels.settings_panel import SettingsPanel
        from HipICMSCTrainingLib.gui.running.activity import Activity

        self._application = application
        self.dataset, self.text = dataset, text
        self.attached: list = []
        self.run_folder: Path | None = None
        self.settings = SettingsPanel(_resource, Activity(), lambda: self.text, self._write, self._dataset, runs_folder)
        self.runs = RunsPanel(_resource, self.settings, self._dataset, self._choose_dataset)
        self.runs.attached.connect(self._on_attached)

    def ui(self, name: str):
        """Any widget of either section, those made later too."""
        import slicer

        for panel in (self.settings, self.runs):
            found = vars(slicer.util.childWidgetVariables(panel.widget)).get(name)
            if found is not None:
                return found
        raise AttributeError(name)

    def has(self, name: str) -> bool:
        try:
            return self.ui(name) is not None
        except AttributeError:
            return False

    def wait(self, until: Callable[[], object]) -> None:
        wait(self._application, until, self.said)

    def said(self) -> str:
        return f"{self.ui('settingsStateLabel').text} {self.ui('runsNoteLabel').text} {self.rows()}"

    def described(self) -> TrainingPanels:
        """As soon as it is known what can be set."""
        self.wait(lambda: "being read" not in self.settings.reason_against_taking())
        assert self.settings.reason_against_taking() == ""
        return self

    def pick(self, name: str, text: str) -> None:
        """As a user does in a list."""
        box = self.ui(name)
        box.currentIndex = [box.itemText(index) for index in range(box.count)].index(text)

    def rows(self) -> list[list[str]]:
        table = self.ui("runsTable")
        return [
            [table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)
        ]

    def states(self) -> dict[str, str]:
        return {row[0]: row[1] for row in self.rows()}

    def picture(self, *panels, path: Path) -> None:
        """Render sections as a PNG of a width that is usual in Slicer, as high as they need."""
        from PySide6 import QtWidgets

        frame, area = QtWidgets.QWidget(), QtWidgets.QScrollArea()
        column = QtWidgets.QVBoxLayout(frame)
        for panel in panels:
            column.addWidget(panel.widget)
        column.addStretch(1)
        area.setWidgetResizable(True)
        area.setWidget(frame)
        area.resize(WIDTH, 3000)
        area.show()
        for _ in range(20):
            self._application.processEvents()
            time.sleep(0.01)
        bottom = max(panel.widget.geometry.bottom() for panel in panels)
        pixels = frame.grab()
        pixels.copy(0, 0, WIDTH, round((bottom + 12) * pixels.devicePixelRatio())).save(str(path))
        for panel in panels:
            QtWidgets.QWidget.setParent(panel.widget, None)
        area.takeWidget()

    def open_scene(self, run_folder: Path | None) -> None:
        """With a parameter node that names this run."""
        self.run_folder = run_folder
        self._on_parameter_node()

    def close(self) -> None:
        self.runs.close()
        self.settings.close()

    def _write(self, text: str) -> None:
        self.text = text
        self._on_parameter_node()

    def _on_attached(self, run) -> None:
        self.attached.append(run and run.path)
        self.run_folder = self.attached[-1] or self.run_folder
        self._on_parameter_node()

    def _on_parameter_node(self) -> None:
        """As the module does at every change."""
        self.settings.show()
        self.runs.select(self.run_folder)

    def _dataset(self) -> Path:
        from HipICMSCLib.common.errors import HipError

        if self.dataset is None:
            raise HipError("no_data", "Choose the data first.")
        return self.dataset

    def _choose_dataset(self, path: Path) -> None:
        self.dataset = path


def _resource(name: str) -> str:
    return str(RESOURCES / name)


@dataclass(frozen=True)
class TinyChoices:
    """A phantom data set, and choices with which a training on it takes seconds.

    Attributes:
        text: as the parameter node keeps it.
        cache: its preprocessed slices, to be copied into a run.
    """

    dataset: Path
    text: str
    cache: Path


def tiny_choices(folder: Path, described, **changes) -> TinyChoices:
    """As those of the trained run that the tests share.

    Args:
        folder: for the dataset.json.
        described: the Description of what can be chosen.
    """
    from HipICMSCLib.common.settings import from_json
    from HipICMSCTrainingLib.data.dataset import Dataset
    from HipICMSCTrainingLib.data.dataset_file import write_dataset_file
    from HipICMSCTrainingLib.run.folder import RunFolder
    from HipICMSCTrainingLib.settings.choices import choices_of_run
    from training_run import trained_run

    run = RunFolder(trained_run())
    write_dataset_file(from_json(Dataset, run.description()["dataset"]), folder / "dataset.json")
    choices = choices_of_run(run.description(), described)
    text = replace(choices, changes=choices.changes | changes).to_text()
    return TinyChoices(folder / "dataset.json", text, run.cache)
