"""Volumes and what is drawn on them leave the scene for a data set's folder and lie there where Slicer shows them."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import slicer_stand_ins
from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.common.errors import HipError
from test_result import DIRECTIONS, displayed, put_under, rigid

SHAPE = (16, 22, 26)  # z, y, x
SPACING = np.array([2.5, 3.1, 6.2])
ORIGIN = np.array([-30.5, 12.25, 99.0])
MAPPING = {"Left hip bone": "acetabulum", "right pelvis": "acetabulum", "Femora": "femur", "Sacrum": ""}


@pytest.fixture
def export(slicer_app):
    """What is under test; the scene is as before afterwards."""
    slicer_stand_ins.install(slicer_app)
    slicer_stand_ins.QSettings.values.clear()
    from HipICMSCTrainingLib.gui.scene import label_mapping, scene_export

    scene = slicer_app.scene
    before = {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
    yield SimpleNamespace(**vars(scene_export) | vars(label_mapping))
    for node in [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]:
        if node.GetID() not in before:
            scene.RemoveNode(node)


def ijk_to_ras(direction: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = direction * SPACING, ORIGIN
    return matrix


def volume_node(scene, direction: np.ndarray, voxels: np.ndarray | None = None, kind="vtkMRMLScalarVolumeNode"):
    """A volume whose axes, in RAS, are the columns of ``direction``; without voxels, a ramp."""
    import slicer

    node = scene.AddNewNodeByClass(kind, "Mustermann, Max: pelvis CT")
    ramp = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    slicer.util.updateVolumeFromArray(node, ramp if voxels is None else voxels)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ijk_to_ras(direction)))
    return node


def boxes() -> dict[str, np.ndarray]:
    """Segments by name: boxes that no mirroring and no exchange of axes maps onto one another."""
    places = {
        "Left hip bone": np.s_[2:7, 3:9, 2:10],
        "right pelvis": np.s_[2:6, 3:9, 16:23],
        "Femora": np.s_[9:14, 4:20, 5:8],
        "Sacrum": np.s_[2:5, 14:20, 12:15],
    }
    arrays = {}
    for name, place in places.items():
        arrays[name] = np.zeros(SHAPE, np.uint8)
        arrays[name][place] = 1
    return arrays


def truth() -> np.ndarray:
    drawn = boxes()
    return (drawn["Left hip bone"] | drawn["right pelvis"]) + 2 * drawn["Femora"]


def segmentation_node(volume, shared: bool):
    import slicer

    node = volume.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name, voxels in boxes().items():
        segment_id = node.GetSegmentation().AddEmptySegment("", name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, segment_id, volume)
    if shared:
        node.GetSegmentation().CollapseBinaryLabelmaps(True)
    assert node.GetSegmentation().GetNumberOfLayers() == (1 if shared else 4)
    return node


def read_back(image_path: Path, label_path: Path) -> tuple[sitk.Image, sitk.Image]:
    image, labels = sitk.ReadImage(str(image_path)), sitk.ReadImage(str(label_path))
    assert labels.GetPixelID() == sitk.sitkUInt8
    for one, other in zip(
        (image.GetOrigin(), image.GetSpacing(), image.GetDirection()),
        (labels.GetOrigin(), labels.GetSpacing(), labels.GetDirection()),
        strict=True,
    ):
        assert one == pytest.approx(other, abs=1e-9)
    return image, labels


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "separate"])
@pytest.mark.parametrize("transformed", [False, True], ids=["untransformed", "transformed"])
@pytest.mark.parametrize(
    "direction", ["axial (1, 1, 1)", "axial (-1, -1, 1)", "coronal (1, -1, -1)", "sagittal (-1, 1, 1)", "oblique",
                  "oblique, left-handed"],
)  # fmt: skip
def test_the_pair_lies_where_it_is_displayed(export, slicer_app, tmp_path, direction, transformed, shared):
    volume = volume_node(slicer_app.scene, DIRECTIONS[direction])
    drawn = segmentation_node(volume, shared)
    if transformed:
        # As Slicer does when a patient is moved: both hang under one transform.
        transform = put_under(volume, rigid())
        drawn.SetAndObserveTransformNodeID(transform.GetID())
    image, labels = read_back(*export.export_case(tmp_path, "ct-001", volume, drawn, MAPPING))
    assert image.GetSpacing() == pytest.approx(SPACING)
    for index in ((0, 0, 0), (25, 0, 0), (0, 21, 0), (0, 0, 15), (3, 5, 2)):
        for read in (image, labels):
            ras = np.array(read.TransformIndexToPhysicalPoint(index)) * (-1, -1, 1)
            assert ras == pytest.approx(displayed(volume, index), abs=1e-4)
        assert image[index] == index[0] + 26 * (index[1] + 22 * index[2])
    assert (sitk.GetArrayFromImage(labels) == truth()).all()


@pytest.mark.parametrize("under", ["volume", "segmentation"])
def test_only_one_of_both_is_transformed(export, slicer_app, tmp_path, under):
    """Then the segments fall onto other voxels of the volume: those where Slicer shows them."""
    volume = volume_node(slicer_app.scene, DIRECTIONS["axial (1, 1, 1)"])
    drawn = segmentation_node(volume, shared=True)
    # By two voxels along x and one along z; the image axes are R, A, S.
    shift = np.eye(4)
    shift[:3, 3] = np.array([2, 0, 1]) * SPACING
    put_under(drawn if under == "segmentation" else volume, shift)
    _, labels = read_back(*export.export_case(tmp_path, "ct-001", volume, drawn, MAPPING))
    sign = 1 if under == "segmentation" else -1
    assert (sitk.GetArrayFromImage(labels) == np.roll(truth(), (sign, 2 * sign), (0, 2))).all()


def test_segments_of_another_geometry_are_sampled_at_the_volumes_voxels(export, slicer_app, tmp_path):
    """Drawn on a finer volume that was turned and covers more."""
    import slicer

    scene = slicer_app.scene
    volume = volume_node(scene, DIRECTIONS["coronal (1, -1, -1)"])
    fine = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "fine")
    slicer.util.updateVolumeFromArray(fine, np.zeros((110, 110, 110), np.uint8))
    matrix = np.diag([-1.7, -1.7, 1.7, 1])
    matrix[:3, 3] = displayed(volume, (13, 11, 8)) + np.array([1, 1, -1]) * 1.7 * 55
    fine.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    # A ball of each class, about a voxel of the volume.
    centres = {"Left hip bone": np.array([6, 5, 4]), "Femora": np.array([19, 15, 11])}
    k, j, i = np.indices((110, 110, 110))
    points = np.stack([i, j, k, np.ones_like(i)]).reshape(4, -1)
    ras = (matrix @ points)[:3].T
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    node.SetReferenceImageGeometryParameterFromVolumeNode(fine)
    for name, centre in centres.items():
        ball = np.linalg.norm(ras - displayed(volume, tuple(centre)), axis=1).reshape(110, 110, 110) < 14
        segment_id = node.GetSegmentation().AddEmptySegment("", name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(ball.astype(np.uint8), node, segment_id, fine)
    _, labels = read_back(*export.export_case(tmp_path, "ct-001", volume, node, MAPPING))
    found = sitk.GetArrayFromImage(labels)
    for value, centre in zip((1, 2), centres.values(), strict=True):
        where = np.argwhere(found == value)[:, ::-1]
        distances = np.linalg.norm((where - centre) * SPACING, axis=1)
        assert distances.max() < 14 + 1.7 and (found == value).sum() * SPACING.prod() == pytest.approx(
            4 / 3 * np.pi * 14**3, rel=0.1
        )


def label_map_node(volume, voxels: np.ndarray):
    node = volume_node(volume.GetScene(), np.eye(3), voxels, "vtkMRMLLabelMapVolumeNode")
    node.CopyOrientation(volume)
    return node


def test_a_label_map_with_values_of_its_own(export, slicer_app, tmp_path):
    values = {"Left hip bone": 7, "right pelvis": 1200, "Femora": -3, "Sacrum": 2}
    voxels = sum(value * boxes()[name].astype(np.int16) for name, value in values.items())
    volume = volume_node(slicer_app.scene, DIRECTIONS["oblique"])
    labels_node = label_map_node(volume, voxels)
    assert [part.name for part in export.parts_of(labels_node)] == ["-3", "2", "7", "1200"]
    mapping = {"7": "acetabulum", "1200": "acetabulum", "-3": "femur", "2": ""}
    _, labels = read_back(*export.export_case(tmp_path, "ct-001", volume, labels_node, mapping))
    assert (sitk.GetArrayFromImage(labels) == truth()).all()


def test_each_value_of_a_label_map_is_found_wherever_it_is(export, slicer_app):
    voxels = np.zeros(SHAPE, np.int16)
    voxels[0, 0, 0], voxels[3, -1, -1], voxels[4, 0, 0], voxels[7, 3, 5], voxels[-1, -1, -1] = 7, 300, -2, 11, 4
    labels = volume_node(slicer_app.scene, np.eye(3), voxels, "vtkMRMLLabelMapVolumeNode")
    assert [part.name for part in export.parts_of(labels)] == ["-2", "4", "7", "11", "300"]


def test_the_values_of_a_large_label_map_are_found_before_a_person_notices(export, slicer_app):
    voxels = np.zeros((400, 512, 512), np.int16)
    voxels[100:300, 100:400, 100:250], voxels[100:300, 100:400, 260:400] = 1, 2
    labels = volume_node(slicer_app.scene, np.eye(3), voxels, "vtkMRMLLabelMapVolumeNode")
    started = time.process_time()
    assert [part.name for part in export.parts_of(labels)] == ["1", "2"]
    assert time.process_time() - started < 0.3


@pytest.mark.parametrize("how", ["cropped", "moved", "transformed"])
def test_a_label_map_on_other_voxels_is_refused_unless_resampling_is_asked_for(export, slicer_app, tmp_path, how):
    volume = volume_node(slicer_app.scene, DIRECTIONS["axial (1, 1, 1)"])
    voxels, expected = truth(), truth()
    if how == "cropped":
        voxels = voxels[:15]
    labels_node = label_map_node(volume, voxels)
    if how == "moved":
        labels_node.SetOrigin(ORIGIN + np.array([2, 0, 1]) * SPACING)
        expected = np.roll(expected, (1, 2), (0, 2))
    elif how == "transformed":
        shift = np.eye(4)
        shift[:3, 3] = np.array([-2, 0, -1]) * SPACING
        put_under(volume, shift)
        expected = np.roll(expected, (1, 2), (0, 2))
    mapping = {"1": "acetabulum", "2": "femur"}
    with pytest.raises(HipError) as caught:
        export.export_case(tmp_path, "ct-001", volume, labels_node, mapping)
    assert caught.value.kind == "geometry_mismatch" and list(tmp_path.iterdir()) == []
    _, labels = read_back(*export.export_case(tmp_path, "ct-001", volume, labels_node, mapping, resample=True))
    assert (sitk.GetArrayFromImage(labels) == expected).all()


def test_a_volume_alone_is_written_alone(export, slicer_app, tmp_path):
    volume = volume_node(slicer_app.scene, DIRECTIONS["oblique"])
    image, labels = export.export_case(tmp_path, "mri-001", volume)
    assert labels is None and [path.name for path in tmp_path.iterdir()] == ["mri-001.nrrd"] == [image.name]


def test_no_name_of_the_scene_reaches_the_files(export, slicer_app, tmp_path):
    volume = volume_node(slicer_app.scene, DIRECTIONS["oblique"])
    volume.SetAttribute("DICOM.instanceUIDs", "1.2.3.4")
    drawn = segmentation_node(volume, shared=True)
    drawn.SetName("Mustermann drawn")
    for path in export.export_case(tmp_path, "ct-001", volume, drawn, MAPPING):
        header = path.read_bytes().partition(b"\n\n")[0]
        assert b"Mustermann" not in header and b"1.2.3.4" not in header


@pytest.mark.parametrize(
    ("case", "kind", "words"),
    [
        ("no femur named", "no_mapping", "femur"),
        ("femur outside", "empty_labels", "no femur within"),
        ("bent", "nonlinear_transform", "harden"),
        ("bent segments", "nonlinear_transform", "harden"),
        ("both", "overlapping_labels", "voxels are both"),
        ("sheared", "bad_geometry", "right angles"),
        ("no voxels", "no_image", "empty"),
    ],
)
def test_what_cannot_become_a_case_is_refused_in_a_sentence_and_writes_nothing(
    export, slicer_app, tmp_path, case, kind, words
):
    import slicer

    scene, mapping = slicer_app.scene, dict(MAPPING)
    volume = volume_node(scene, DIRECTIONS["axial (1, 1, 1)"])
    drawn = segmentation_node(volume, shared=False)
    if case == "no femur named":
        mapping["Femora"] = ""
    elif case == "femur outside":
        volume = volume_node(scene, DIRECTIONS["axial (1, 1, 1)"])
        volume.SetOrigin(ORIGIN - np.array([0, 0, 9]) * SPACING)
    elif case.startswith("bent"):
        transform = scene.AddNewNodeByClass("vtkMRMLGridTransformNode")
        transform.SetAndObserveTransformToParent(slicer.vtkOrientedGridTransform())
        (volume if case == "bent" else drawn).SetAndObserveTransformNodeID(transform.GetID())
    elif case == "both":
        mapping["Sacrum"] = "femur"
        sacrum = drawn.GetSegmentation().GetSegmentIdBySegmentName("Sacrum")
        slicer.util.updateSegmentBinaryLabelmapFromArray(boxes()["Left hip bone"], drawn, sacrum, volume)
    elif case == "sheared":
        shear = np.eye(4)
        shear[0, 1] = 0.3
        put_under(volume, shear)
        drawn.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    elif case == "no voxels":
        volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    with pytest.raises(HipError) as caught:
        export.export_case(tmp_path, "ct-001", volume, drawn, mapping)
    assert caught.value.kind == kind and words in caught.value.sentence
    assert list(tmp_path.iterdir()) == []


def test_where_the_disk_is_full_at_the_second_file_none_is_left(export, slicer_app, tmp_path, monkeypatch):
    volume = volume_node(slicer_app.scene, np.eye(3))
    write, written = sitk.WriteImage, []

    def until_full(image: sitk.Image, path: str, **options: object) -> None:
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(image, path, **options)
        written.append(path)

    monkeypatch.setattr(sitk, "WriteImage", until_full)
    with pytest.raises(HipError, match="is full; nothing was written"):
        export.export_case(tmp_path, "ct-001", volume, segmentation_node(volume, shared=True), MAPPING)
    assert written and not list(tmp_path.iterdir())


def test_a_few_voxels_of_a_joint_that_are_both_become_femur(export, slicer_app):
    import slicer

    volume = volume_node(slicer_app.scene, DIRECTIONS["oblique"])
    drawn = segmentation_node(volume, shared=False)
    touching = boxes()["right pelvis"]
    touching[9, 4, 5] = 1
    segment_id = drawn.GetSegmentation().GetSegmentIdBySegmentName("right pelvis")
    slicer.util.updateSegmentBinaryLabelmapFromArray(touching, drawn, segment_id, volume)
    assert (sitk.GetArrayFromImage(export.classes_of(drawn, volume, MAPPING)) == truth()).all()


def test_the_modality_is_guessed_by_the_intensities(export, slicer_app):
    _z, y, x = np.indices((40, 50, 60))
    body = ((x - 30) / 28) ** 2 + ((y - 25) / 20) ** 2 < 1
    noise = np.random.default_rng(0).normal(0, 20, body.shape)
    hounsfield = np.where(body, 30 + noise, -1000).astype(np.int16)
    mri = np.where(body, 400 + 5 * noise, 3).astype(np.int16)
    for voxels, modality in ((hounsfield, "CT"), (mri, "MR")):
        assert export.guessed_modality(volume_node(slicer_app.scene, np.eye(3), voxels)) == modality


def test_our_own_segments_and_those_of_totalsegmentator_are_recognised(export, slicer_app):
    for segment in SEGMENTS:
        wanted = "acetabulum" if segment.bone == 1 else "femur"
        assert export.suggested_class(segment.name) == wanted
        assert export.suggested_class(segment.segment_id) == wanted
        assert export.suggested_class("Segment_1", segment.terminology) == wanted
    wanted = {
        "acetabulum": ("hip_left", "hip_right", "Left Hip", "Acetabulum R", "pelvis", "Pelvic bones", "os coxae dexter",
                       "Hip bone", "hipbone_l", "innominate bone", "ilium", "HemiPelvis"),
        "femur": ("femur_left", "femur_right", "Right Femur", "Femora", "femoral head", "Proximal femur", "FEMUR"),
        "": ("sacrum", "femoral_artery_left", "acetabular cartilage", "hip muscles", "gluteus_maximus_left",
             "Segment_1", "pelvic floor", "hip joint", "hip prosthesis", "femur and pelvis", "ship", "chip"),
    }  # fmt: skip
    for meaning, names in wanted.items():
        for name in names:
            assert export.suggested_class(name) == meaning, name


def test_a_decision_is_remembered_by_name(export):
    part = export.LabelPart
    parts = [part("hip_left", "1"), part("Segment_1", "2"), part("sacrum", "3")]
    assert export.suggested_mapping(parts) == {"hip_left": "acetabulum", "Segment_1": "", "sacrum": ""}
    export.remember_mapping({"Segment_1": "femur", "hip_left": ""})
    export.remember_mapping({"other": "femur"})
    assert export.suggested_mapping(parts) == {"hip_left": "", "Segment_1": "femur", "sacrum": ""}


@pytest.mark.parametrize("kept", ["", "{", "[1]", '{"a": "liver"}'])
def test_a_damaged_memory_is_forgotten(export, kept):
    slicer_stand_ins.QSettings.values["HipICMSCTraining/LastLabelMapping"] = kept
    assert export.remembered_mapping() == {}
    export.remember_mapping({"a": "femur"})
    assert export.remembered_mapping() == {"a": "femur"}


def test_the_values_1_and_2_are_read_as_everywhere_but_no_others(export):
    part = export.LabelPart
    assert export.suggested_mapping([part("1", "1"), part("2", "2")]) == {"1": "acetabulum", "2": "femur"}
    assert set(export.suggested_mapping([part(str(i), str(i)) for i in (1, 2, 3)]).values()) == {""}


def test_a_segments_terminology_is_read_from_the_scene(export, slicer_app):
    node = slicer_app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    for segment in SEGMENTS[1:3]:
        added = node.GetSegmentation().GetSegment(node.GetSegmentation().AddEmptySegment("", "unnamed"))
        added.SetTag(added.GetTerminologyEntryTagName(), segment.terminology)
        added.SetName(f"number {segment.value}")
    mapping = export.suggested_mapping(export.parts_of(node))
    assert mapping == {"number 2": "acetabulum", "number 3": "femur"}
