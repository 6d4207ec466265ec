"""The buttons that add volumes to a data set: from the scene, from a folder, or from another data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import qt
import slicer
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.signal import Signal
from slicer.i18n import tr as _

from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.dataset_file import unchecked_dataset_from_file
from HipICMSCTrainingLib.gui.panels.dataset_file import DatasetFile
from HipICMSCTrainingLib.gui.panels.folder_area import FolderArea
from HipICMSCTrainingLib.gui.panels.scene_area import SceneArea
from HipICMSCTrainingLib.gui.running.activity import Activity


class AddingArea:
    """Works on the widgets of the section "Data".

    Attributes:
        added: signal of a sentence on what was added.
        changed: signal without values: what is chosen, or what is shown, is another.
        is_adding: whether volumes of the scene are being written.
    """

    def __init__(self, widget, ui, activity: Activity, file: Callable[[], DatasetFile]) -> None:
        """
        Args:
            file: what is added to.
        """
        self.added, self.changed = Signal(), Signal()
        self.is_adding = False
        self._widget, self._ui, self._activity, self._file = widget, ui, activity, file
        self._scene_area, self._folder_area = SceneArea(ui), FolderArea(ui)
        for area in (self._scene_area, self._folder_area):
            area.changed.connect(self.changed.emit)
        ui.dataSceneButton.connect("toggled(bool)", self._on_scene)
        ui.dataFolderButton.connect("toggled(bool)", self._on_folder)
        ui.dataFileButton.connect("clicked(bool)", self._on_file)
        ui.dataSceneAddButton.connect("clicked(bool)", self._on_add_from_scene)
        ui.dataFolderAddButton.connect("clicked(bool)", self._on_add_from_folder)

    def set_labelled_mri(self, labelled_mri: bool) -> None:
        """Say whether the method is trained on labelled MRIs; otherwise they are for measuring only."""
        self._scene_area.set_labelled_mri(labelled_mri)
        self._folder_area.set_labelled_mri(labelled_mri)

    def refresh(self) -> None:
        """Look at the scene and the folder again."""
        if self._ui.dataSceneButton.checked:
            self._scene_area.refresh()
        if self._ui.dataFolderButton.checked:
            self._folder_area.refresh()

    def close(self) -> None:
        """Slicer ends or the module is reloaded."""
        self._scene_area.close()
        self._folder_area.close()

    def reasons_against(self) -> tuple[str, str]:
        """Why what is chosen in the scene, and in the folder, cannot be added; empty where it can."""
        return (
            self._scene_area.reason_against() if self._ui.dataSceneButton.checked else "",
            self._folder_area.reason_against() if self._ui.dataFolderButton.checked else "",
        )

    def _on_scene(self, shown: bool) -> None:
        if shown:
            self._ui.dataFolderButton.checked = False
        self._scene_area.show(shown)
        self.changed.emit()

    def _on_folder(self, shown: bool) -> None:
        if shown:
            self._ui.dataSceneButton.checked = False
            self._folder_area.refresh()
        self.changed.emit()

    def _on_add_from_scene(self, checked: bool = False) -> None:
        file = self._file()
        before = len(file.cases)
        self.is_adding = True
        self.changed.emit()
        try:
            self._try(lambda: self._scene_area.add_to(file, self._activity.say))
        finally:
            self.is_adding = False
            self._activity.end()
            count = len(file.cases) - before
            self.added.emit(_("Volumes added: {count}.").format(count=count) if count else "")

    def _on_add_from_folder(self, checked: bool = False) -> None:
        self._tell(self._try(lambda: self._folder_area.add_to(self._file())))

    def _on_file(self, checked: bool = False) -> None:
        kind = _("Data set (*.json)")
        chosen = qt.QFileDialog.getOpenFileName(self._widget, _("Add the volumes of a data set"), "", kind)
        if chosen:
            self._tell(self._try(lambda: self._add_file(Path(chosen))))

    def _add_file(self, path: Path) -> int:
        file = self._file()
        present = {case.image: case.patient for case in file.cases}
        others = unchecked_dataset_from_file(path).cases
        patients, added = _patients(others, present), []
        for case in others:
            if case.image not in present:
                name = file.free_name(case.modality, case.name, [other.name for other in added])
                added.append(replace(case, name=name, patient=patients[case.patient]))
        file.add(added)
        return len(added)

    def _try(self, add: Callable[[], int | None]) -> int | None:
        """How many were added; None if it failed, which the user is told."""
        try:
            return add()
        except HipError as error:
            slicer.util.errorDisplay(error.sentence, detailedText=error.detail)
            return None

    def _tell(self, count: int | None) -> None:
        if count:
            self.added.emit(_("Volumes added: {count}.").format(count=count))
        elif count is not None:
            self.added.emit(_("Nothing was added; these volumes are in the data set already."))


def _patients(others: Sequence[Case], present: dict[str, str]) -> dict[str, str]:
    """What the patients of another data set are called here.

    Two data sets' patients of one name are two persons, unless a volume is in both.

    Args:
        present: the patient of each volume that is here.
    """
    here = set(present.values())
    patients = {case.patient: present[case.image] for case in others if case.image in present}
    taken = here | {case.patient for case in others}
    for patient in dict.fromkeys(case.patient for case in others):
        if patient not in patients:
            names = (f"{patient}-{number}" for number in count(2))
            patients[patient] = next(name for name in names if name not in taken) if patient in here else patient
            taken.add(patients[patient])
    return patients
