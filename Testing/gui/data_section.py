"""The data section on the bench, and volumes with balls for hips to fill scene and folders with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer_stand_ins
from ball_hips import LEFT_CENTRE, LEFT_RADIUS, RIGHT_CENTRE, RIGHT_RADIUS, ball_image
from waiting import wait

RESOURCES = slicer_stand_ins.module_file("HipICMSCTraining").parent / "Resources"


class Bench:
    """The section alone, and what a user does with it."""

    def __init__(self, app, application) -> None:
        from HipICMSCTrainingLib.gui.panels.data_panel import DataPanel
        from HipICMSCTrainingLib.gui.running.activity import Activity

        self.scene, self._application = app.scene, application
        self.panel = DataPanel(lambda name: str(RESOURCES / name), Activity())
        self.ui = self.panel.ui
        self.changes = 0
        self.panel.changed.connect(self._count)

    def _count(self) -> None:
        self.changes += 1

    def wait(self, until) -> None:
        wait(self._application, until)

    def shows(self, widget) -> bool:
        """Whether the user sees it in the section."""
        return widget.isVisibleTo(self.panel.widget)

    def rows(self) -> list[list[str]]:
        table = self.ui.dataTable
        return [
            [*(table.item(row, column).text() for column in (0, 1, 2)), table.cellWidget(row, 3).currentText,
             table.item(row, 4).text()]
            for row in range(table.rowCount)
        ]  # fmt: skip

    def select(self, *rows: int) -> None:
        self.ui.dataTable.clearSelection()
        for row in rows:
            self.ui.dataTable.selectRow(row)

    def role(self, row: int, text: str) -> None:
        self.ui.dataTable.cellWidget(row, 3).currentText = text

    def problems(self) -> list[str]:
        return [self.ui.dataProblemsList.item(row).text() for row in range(self.ui.dataProblemsList.count)]

    def answer_file_dialog(self, button, path: Path | str) -> None:
        import pythonqt

        pythonqt.QFileDialog.answer = str(path)
        button.click()
        pythonqt.QFileDialog.answer = ""

    # The area of the scene.

    def scene_rows(self) -> list[list[str]]:
        table = self.ui.dataSceneTable
        return [
            [table.item(row, 0).text(), *(table.cellWidget(row, column).currentText for column in (1, 2))]
            for row in range(table.rowCount)
        ]

    def tick(self, *names: str) -> None:
        from PySide6.QtCore import Qt

        table = self.ui.dataSceneTable
        for row in range(table.rowCount):
            item = table.item(row, 0)
            item.setCheckState(Qt.Checked if item.text() in names else Qt.Unchecked)

    def ticked(self) -> list[str]:
        from PySide6.QtCore import Qt

        table = self.ui.dataSceneTable
        items = [table.item(row, 0) for row in range(table.rowCount)]
        return [item.text() for item in items if item.checkState() == Qt.Checked]

    def choose(self, volume: str, column: int, text: str) -> None:
        row = [line[0] for line in self.scene_rows()].index(volume)
        self.ui.dataSceneTable.cellWidget(row, column).currentText = text

    def meanings(self) -> dict[str, str]:
        table = self.ui.dataMappingTable
        return {table.item(row, 0).text(): table.cellWidget(row, 1).currentText for row in range(table.rowCount)}

    def mean(self, name: str, text: str) -> None:
        row = list(self.meanings()).index(name)
        self.ui.dataMappingTable.cellWidget(row, 1).currentText = text

    def picture(self, path: Path) -> None:
        from PySide6 import QtWidgets

        QtWidgets.QWidget.resize(self.panel.widget, 460, 100)
        QtWidgets.QWidget.show(self.panel.widget)
        for _ in range(4):
            self._application.processEvents()
        QtWidgets.QWidget.resize(self.panel.widget, 460, self.panel.widget.sizeHint.height())
        for _ in range(2):
            self._application.processEvents()
        QtWidgets.QWidget.grab(self.panel.widget).save(str(path))


def ball_classes(image: sitk.Image) -> np.ndarray:
    """(z, y, x): 2 within the balls, 1 in a shell about their upper halves."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.GetSize()[::-1]), indexing="ij"), axis=-1)[..., ::-1]
    points = np.array(image.GetOrigin()) + index * image.GetSpacing()
    classes = np.zeros(points.shape[:3], np.uint8)
    for centre, radius in ((RIGHT_CENTRE, RIGHT_RADIUS), (LEFT_CENTRE, LEFT_RADIUS)):
        distance = np.linalg.norm(points - centre, axis=-1)
        classes[(distance < radius + 8) & (distance >= radius) & (points[..., 2] > centre[2])] = 1
        classes[distance < radius] = 2
    return classes


def mri_image(seed: int) -> sitk.Image:
    image = ball_image()
    voxels = sitk.GetArrayFromImage(image) + np.random.default_rng(seed).integers(0, 20, image.GetSize()[::-1])
    return like(image, voxels.astype(np.int16))


def ct_image(seed: int) -> sitk.Image:
    """Hounsfield units: air about a body of soft tissue, in it the balls of bone."""
    image = ball_image()
    classes = ball_classes(image)
    voxels = np.array([40, 500, 350])[classes] + np.random.default_rng(seed).integers(0, 20, classes.shape)
    voxels[:, :6] = voxels[:, -6:] = -1000
    return like(image, voxels.astype(np.int16))


def like(image: sitk.Image, voxels: np.ndarray) -> sitk.Image:
    result = sitk.GetImageFromArray(voxels)
    result.CopyInformation(image)
    return result


def add_volume(scene, name: str, image: sitk.Image, kind: str = "vtkMRMLScalarVolumeNode"):
    import slicer

    node = scene.AddNewNodeByClass(kind, name)
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
    node.SetSpacing(image.GetSpacing())
    node.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    node.SetOrigin(np.array(image.GetOrigin()) * (-1, -1, 1))
    return node


def add_segmentation(volume, name: str, **segments: np.ndarray):
    import slicer

    node = volume.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for segment, voxels in segments.items():
        segment_id = node.GetSegmentation().AddEmptySegment("", segment)
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels.astype(np.uint8), node, segment_id, volume)
    return node


def fill_scene(scene) -> None:
    """Two CTs with segmentations, as TotalSegmentator names segments, and two MRIs."""
    classes = ball_classes(ball_image())
    left = np.arange(classes.shape[2]) > classes.shape[2] / 2
    segments = {
        f"{bone}_{side}": (classes == value) & where
        for bone, value in (("hip", 1), ("femur", 2))
        for side, where in (("left", left), ("right", ~left))
    }
    sacrum = np.zeros(classes.shape, bool)
    sacrum[30:34, 20:24, 48:52] = True
    for number in (1, 2):
        volume = add_volume(scene, f"Doe^Jane {number} CT", ct_image(number))
        add_segmentation(volume, f"drawn {number}", **segments, sacrum=sacrum)
    for number in (1, 2):
        add_volume(scene, f"Doe^John {number} MRI", mri_image(number))


def write_pair(folder: Path, stem: str, image: sitk.Image, values: tuple[int, int] | None = (1, 2)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(folder / f"{stem}.nii.gz"))
    if values:
        classes = np.array([0, *values])[ball_classes(image)].astype(np.int16)
        sitk.WriteImage(like(image, classes), str(folder / f"{stem}_label.nii.gz"))


def dataset(path: Path, **roles: str) -> Path:
    """A dataset.json of real volumes: names such as ct1 and mri2, each with its role."""
    cases = []
    for name, role in roles.items():
        is_ct = name.startswith("ct")
        write_pair(path.parent, name, (ct_image if is_ct else mri_image)(len(cases)), (1, 2) if is_ct else None)
        case = {"name": name, "modality": "CT" if is_ct else "MR", "role": role, "patient": name}
        cases.append(case | {"image": f"{name}.nii.gz"} | ({"label": f"{name}_label.nii.gz"} if is_ct else {}))
    path.write_text(json.dumps({"cases": cases}))
    return path
