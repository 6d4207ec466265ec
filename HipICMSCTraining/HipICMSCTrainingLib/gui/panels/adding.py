"""Adds a volume of the scene to a data set, for the module's logic; the panel does so in scene_area."""

from __future__ import annotations

from pathlib import Path

from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.gui.panels.dataset_file import DatasetFile
from HipICMSCTrainingLib.gui.scene.label_mapping import Mapping, suggested_mapping
from HipICMSCTrainingLib.gui.scene.scene_export import export_case, guessed_modality, parts_of


def add_case(
    path: Path,
    volume_node,
    label_node=None,
    mapping: Mapping | None = None,
    name: str = "",
    patient: str = "",
    labelled_mri: bool = False,
) -> Case:
    """As HipICMSCTrainingLogic.addCase.

    Raises:
        HipError: as `scene_export.export_case` and `DatasetFile.add_written`.
    """
    dataset = DatasetFile(path)
    modality = guessed_modality(volume_node)
    name = dataset.free_name(modality, name)
    if label_node is not None and mapping is None:
        mapping = suggested_mapping(parts_of(label_node))
    image, label = export_case(dataset.make_folder(), name, volume_node, label_node, mapping)
    case = Case(name, modality, "train", patient or name, str(image), None if label is None else str(label))
    case = dataset.with_role(case, labelled_mri)
    dataset.add_written(case)
    return case
