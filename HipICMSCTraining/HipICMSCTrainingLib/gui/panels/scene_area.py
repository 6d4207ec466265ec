"""The area in which volumes of the scene are chosen for a data set, with what is drawn on them and what that means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import qt
import slicer
from HipICMSCLib.common.signal import Signal
from HipICMSCLib.gui.panels.contrast import show_boxes
from HipICMSCLib.gui.panels.list_height import fit_height, letters
from HipICMSCLib.gui.running.repeating_timer import RepeatingTimer
from HipICMSCLib.gui.scene.result import volume_of
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.label_maps import CLASSES
from HipICMSCTrainingLib.gui.panels.dataset_file import DatasetFile
from HipICMSCTrainingLib.gui.scene.label_mapping import LEFT_OUT, Mapping, remember_mapping, suggested_mapping
from HipICMSCTrainingLib.gui.scene.scene_export import (
    LabelPart,
    export_case,
    guessed_modality,
    missing_classes,
    parts_of,
)

#: The list follows the scene, but not at every node.
_LISTING_MILLISECONDS = 300
_MODALITIES = ("CT", "MR")
_MEANINGS = (*CLASSES.values(), LEFT_OUT)
_VOLUME, _KIND, _DRAWN = range(3)
_MOST_ROWS = 6
#: How wide the columns of choices are.
_DRAWN_LETTERS, _MEANING_LETTERS = 20, 26


@dataclass
class _Choice:
    """What is chosen for a volume node; ``label_id`` is empty for none."""

    modality: str
    label_id: str
    ticked: bool


class SceneArea(VTKObservationMixin):
    """Nothing is written before :meth:`add_to`.

    Attributes:
        changed: signal without values: what is chosen is another, and so may be :meth:`reason_against`.
    """

    def __init__(self, ui) -> None:
        super().__init__()
        self.changed = Signal()
        self._ui = ui
        self._choices: dict[str, _Choice] = {}
        self._node_ids: list[str] = []
        self._label_ids: list[str] = []
        self._label_combos: list = []
        #: What the user decided, and what all names that are listed mean.
        self._decided: Mapping = {}
        self._meanings: Mapping = {}
        #: Values of label maps, which take a while to find, by node and time of change.
        self._known_parts: dict[tuple[str, int], list[LabelPart]] = {}
        #: Patients of this session by data set and by what DICOM tells them apart by, which is written nowhere.
        self._patients: dict[tuple[Path, str], str] = {}
        self._filling = self._is_adding = self._is_shown = self._labelled_mri = False
        self._listing = RepeatingTimer(_LISTING_MILLISECONDS, self.refresh)
        for table, stretched in ((ui.dataSceneTable, _VOLUME), (ui.dataMappingTable, 0)):
            table.horizontalHeader().setSectionResizeMode(stretched, qt.QHeaderView.Stretch)
        show_boxes(ui.dataSceneTable)
        ui.dataSceneTable.connect("itemChanged(QTableWidgetItem*)", self._on_ticked)
        ui.dataResampleCheckBox.connect("toggled(bool)", self._on_resample)
        scene = slicer.mrmlScene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self._on_scene_changed)
        self.addObserver(scene, scene.EndCloseEvent, self._on_scene_closed)

    def set_labelled_mri(self, labelled_mri: bool) -> None:
        """Say whether the method is trained on labelled MRIs; otherwise they are for measuring only."""
        self._labelled_mri = labelled_mri
        self._show_note()

    def show(self, shown: bool) -> None:
        """Follow the scene while the area is shown."""
        self._is_shown = shown
        if shown:
            self.refresh()

    def close(self) -> None:
        """Slicer ends or the module is reloaded."""
        self._listing.stop()
        self.removeObservers()

    def refresh(self) -> None:
        """List the scene's volumes anew; what the user chose for those that are still there stays."""
        self._listing.stop()
        if self._is_adding:
            return
        nodes = {node.GetID(): node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if _fits(node)}
        labels = [node for kind in ("vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode")
                  for node in slicer.util.getNodesByClass(kind) if not node.GetHideFromEditors()]  # fmt: skip
        self._node_ids, self._label_ids = list(nodes), [node.GetID() for node in labels]
        self._choices = {
            node_id: self._choices.get(node_id) or self._first_choice(node) for node_id, node in nodes.items()
        }
        for choice in self._choices.values():
            if choice.label_id not in self._label_ids:
                choice.label_id = ""
        self._fill_volumes()
        self._show()

    def reason_against(self) -> str:
        """Why what is chosen cannot be added; empty if it can."""
        if not self._node_ids:
            return _("The scene has no volumes; load some first.")
        ticked = self._ticked()
        if not ticked:
            return _("Tick at least one volume.")
        for node, choice in ticked:
            label = _node(choice.label_id)
            if choice.modality == "CT" and label is None:
                return _("Choose what is drawn on {name}; a CT without labels cannot be trained on.").format(
                    name=node.GetName()
                )
            if label is not None:
                missing = missing_classes(self._parts(label), self._meanings)
                if missing:
                    return _("Say which segments of {label} are the {bone}.").format(
                        label=label.GetName(), bone=_in_words(missing[0])
                    )
        return ""

    def add_to(self, file: DatasetFile, say: Callable[[str], None]) -> None:
        """Write the ticked volumes into the data set's folder, one after the other, and save each as a case.

        Args:
            say: told what is being done.

        Raises:
            HipError: as `scene_export.export_case` and ``DatasetFile.add_written``; those before are added and not
                ticked any more.
        """
        ticked = self._ticked()
        self._is_adding = True
        try:
            for number, (node, choice) in enumerate(ticked, 1):
                say(_("Writing volume {number} of {count} …").format(number=number, count=len(ticked)))
                slicer.app.processEvents()
                self._add(file, node, choice)
                choice.ticked = False
        finally:
            self._is_adding = False
            self.refresh()

    def _add(self, file: DatasetFile, node, choice: _Choice) -> None:
        is_numbered = self._ui.dataSceneNamesComboBox.currentIndex == 0
        name = file.free_name(choice.modality, "" if is_numbered else node.GetName())
        label = _node(choice.label_id)
        resample = self._ui.dataResampleCheckBox.checked
        image_path, label_path = export_case(file.make_folder(), name, node, label, self._meanings, resample)
        patient = self._patient(file, node, name)
        paths = [str(path.resolve()) if path else None for path in (image_path, label_path)]
        file.add_written(file.with_role(Case(name, choice.modality, "train", patient, *paths), self._labelled_mri))
        if label is not None:
            remember_mapping({part.name: self._meanings[part.name] for part in self._parts(label)})

    def _patient(self, file: DatasetFile, node, name: str) -> str:
        """The first case's name for all volumes that come from the DICOM data of one patient."""
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        constants = slicer.vtkMRMLSubjectHierarchyConstants
        item = hierarchy.GetItemByDataNode(node)
        patient = hierarchy.GetItemAncestorAtLevel(item, constants.GetDICOMLevelPatient()) if item else 0
        uid = hierarchy.GetItemUID(patient, constants.GetDICOMUIDName()) if patient else ""
        return self._patients.setdefault((file.path, uid), name) if uid else name

    # What is chosen.

    def _first_choice(self, node) -> _Choice:
        modality = guessed_modality(node)
        label_id = self._drawn_on(node) if modality == "CT" else ""
        return _Choice(modality, label_id, ticked=modality == "MR" or bool(label_id))

    def _drawn_on(self, node) -> str:
        """What was drawn on this volume, as far as the scene knows; else what is called like it, drawn on no other."""
        labels = [label for label in map(_node, self._label_ids) if label is not None]
        drawn = [label for label in labels if _source(label) is node]
        called = [label for label in labels if _source(label) is None and self._called_like(label.GetName()) == [node]]
        return next((label.GetID() for label in (*drawn, *called)), "")

    def _called_like(self, name: str) -> list:
        """The volumes whose name a label's begins with, and of these the longest: CT 1 label is of CT 1, not of CT."""
        volumes = [volume for volume in map(_node, self._node_ids) if volume is not None]
        fitting = [volume for volume in volumes if _begins_with(name, volume.GetName())]
        longest = max((len(volume.GetName()) for volume in fitting), default=0)
        return [volume for volume in fitting if len(volume.GetName()) == longest]

    def _ticked(self) -> list[tuple]:
        """(volume node, choice) of what is to be added and still in the scene."""
        chosen = [(_node(node_id), self._choices[node_id]) for node_id in self._node_ids]
        return [(node, choice) for node, choice in chosen if node is not None and choice.ticked]

    def _parts(self, label) -> list[LabelPart]:
        if label.IsA("vtkMRMLSegmentationNode"):
            return parts_of(label)
        image = label.GetImageData()
        key = (label.GetID(), image.GetMTime() if image else 0)
        if key not in self._known_parts:
            self._known_parts[key] = parts_of(label)
        return self._known_parts[key]

    def _on_ticked(self, item) -> None:
        if not self._filling and item.column() == _VOLUME:
            self._choices[self._node_ids[item.row()]].ticked = item.checkState() == qt.Qt.Checked
            self._show()

    def _on_kind(self, row: int, index: int) -> None:
        if self._filling:
            return
        node, choice = _node(self._node_ids[row]), self._choices[self._node_ids[row]]
        choice.modality = _MODALITIES[index]
        # A segmentation of an MRI is often a result of ours; only the user can say that it is the truth.
        choice.label_id = self._drawn_on(node) if node is not None and choice.modality == "CT" else ""
        self._filling = True
        self._label_combos[row].currentIndex = self._index_of_label(choice)
        self._filling = False
        self._show()

    def _on_drawn(self, row: int, index: int) -> None:
        if not self._filling:
            choice = self._choices[self._node_ids[row]]
            choice.label_id = self._label_ids[index - 1] if index > 0 else ""
            self._show()

    def _on_meaning(self, name: str, index: int) -> None:
        if not self._filling:
            self._decided[name] = self._meanings[name] = _MEANINGS[index]
            self._show_note()

    def _on_resample(self, checked: bool) -> None:
        self._show_note()

    def _on_scene_changed(self, caller, event) -> None:
        if self._is_shown and not self._is_adding:
            self._listing.start()

    def _on_scene_closed(self, caller, event) -> None:
        # The next scene's nodes may have the same IDs.
        self._choices.clear()
        self._on_scene_changed(caller, event)

    # What the user sees.

    def _fill_volumes(self) -> None:
        self._filling = True
        table = self._ui.dataSceneTable
        table.setRowCount(0)
        table.setRowCount(len(self._node_ids))
        fit_height(table, len(self._node_ids), _MOST_ROWS, header=True)
        self._label_combos = []
        names = [_("nothing"), *(_node(label_id).GetName() for label_id in self._label_ids)]
        for row, node_id in enumerate(self._node_ids):
            choice = self._choices[node_id]
            item = qt.QTableWidgetItem(_node(node_id).GetName())
            item.setToolTip(_node(node_id).GetName())
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked if choice.ticked else qt.Qt.Unchecked)
            table.setItem(row, _VOLUME, item)
            kinds = [_("CT"), _("MRI")]
            kind = _combo(kinds, _MODALITIES.index(choice.modality), lambda index, row=row: self._on_kind(row, index))
            kind.accessibleName = _("Kind of {name}").format(name=_node(node_id).GetName())
            table.setCellWidget(row, _KIND, kind)
            drawn = _combo(names, self._index_of_label(choice), lambda index, row=row: self._on_drawn(row, index))
            drawn.accessibleName = _("What is drawn on {name}").format(name=_node(node_id).GetName())
            table.setCellWidget(row, _DRAWN, drawn)
            self._label_combos.append(drawn)
        table.resizeColumnToContents(_KIND)
        table.setColumnWidth(_DRAWN, letters(table, _DRAWN_LETTERS))
        self._filling = False

    def _index_of_label(self, choice: _Choice) -> int:
        return self._label_ids.index(choice.label_id) + 1 if choice.label_id else 0

    def _show(self) -> None:
        labels = list(dict.fromkeys(_node(choice.label_id) for _volume, choice in self._ticked()))
        labels = [label for label in labels if label is not None]
        parts = [part for label in labels for part in self._parts(label)]
        suggested = suggested_mapping(parts)
        meanings = {name: self._decided.get(name, meaning) for name, meaning in suggested.items()}
        if list(meanings.items()) != list(self._meanings.items()):
            self._meanings = meanings
            self._fill_meanings()
        self._ui.dataMappingLabel.visible = self._ui.dataMappingTable.visible = bool(meanings)
        self._ui.dataResampleCheckBox.visible = any(label.IsA("vtkMRMLLabelMapVolumeNode") for label in labels)
        self._show_note()

    def _fill_meanings(self) -> None:
        self._filling = True
        table = self._ui.dataMappingTable
        table.setRowCount(0)
        table.setRowCount(len(self._meanings))
        fit_height(table, len(self._meanings), _MOST_ROWS, header=True)
        for row, (name, meaning) in enumerate(self._meanings.items()):
            item = qt.QTableWidgetItem(name)
            item.setFlags(qt.Qt.ItemIsEnabled)
            table.setItem(row, 0, item)
            texts = [_in_words(meaning) for meaning in _MEANINGS]
            combo = _combo(texts, _MEANINGS.index(meaning), lambda index, name=name: self._on_meaning(name, index))
            combo.accessibleName = _("Meaning of {name}").format(name=name)
            table.setCellWidget(row, 1, combo)
        table.setColumnWidth(1, letters(table, _MEANING_LETTERS))
        self._filling = False

    def _show_note(self) -> None:
        self._ui.dataSceneNoteLabel.text = "\n".join(filter(None, [self.reason_against(), self._note_on_mris()]))
        self._ui.dataSceneNoteLabel.visible = bool(self._ui.dataSceneNoteLabel.text)
        self.changed.emit()

    def _note_on_mris(self) -> str:
        are_labelled = [bool(choice.label_id) for _volume, choice in self._ticked() if choice.modality == "MR"]
        if self._labelled_mri and not all(are_labelled):
            return _("The method is trained on labelled MRIs; choose what is drawn on those that it shall learn from.")
        if not self._labelled_mri and any(are_labelled):
            return _("A labelled MRI gets the role test: it is for measuring only and takes no part in the training.")
        return ""


def _node(node_id: str):
    """None for an empty ID, and for a node that was deleted since the scene was listed."""
    return slicer.mrmlScene.GetNodeByID(node_id) if node_id else None


def _source(label):
    """The volume that a segmentation was drawn on, as far as the scene knows; of a label map it knows none."""
    return volume_of(label) if label.IsA("vtkMRMLSegmentationNode") else None


def _begins_with(name: str, volume_name: str) -> bool:
    """Whether a name is a volume's or goes on after it with a sign; CT_12 does not begin with CT_1."""
    return name.startswith(volume_name) and not name[len(volume_name) : len(volume_name) + 1].isalnum()


def _fits(node) -> bool:
    """Label maps and images with colours are classes of their own."""
    is_plain = node.GetClassName() == "vtkMRMLScalarVolumeNode"
    return is_plain and not node.GetHideFromEditors() and node.GetImageData() is not None


def _in_words(meaning: str) -> str:
    return {"acetabulum": _("hip bone (acetabulum)"), "femur": _("femur"), LEFT_OUT: _("leave out")}[meaning]


def _combo(texts: list[str], index: int, on_change: Callable[[int], None]):
    combo = qt.QComboBox()
    combo.addItems(texts)
    combo.currentIndex = index
    combo.connect("currentIndexChanged(int)", on_change)
    return combo
