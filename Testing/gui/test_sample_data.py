"""Sample data: a click makes a synthetic hip on this computer, without the network and without freezing Slicer."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCTrainingLib.phantom.subject import make_ct, make_mri

LPS_TO_RAS = np.array([-1, -1, 1])
#: Runs at the start of each child process: leaves a note that it did, and lets nobody use the network.
NO_NETWORK = """
import os, pathlib, socket
notes = pathlib.Path(os.environ["NOTES"])
(notes / "started").touch()

class NoSocket:
    def __init__(self, *arguments, **keywords):
        (notes / "network").touch()
        raise OSError("no network in this test")

socket.socket = NoSocket
"""


@pytest.fixture(scope="module")
def sample_data(bench):
    """The module under test on the bench, and Slicer's module Sample Data with our sources in it."""
    import SampleData
    import slicer
    from HipICMSCLib.gui.scene import sample_data

    sample_data.register_sample_data()
    sources = {s.nodeNames[0]: s for s in SampleData.SampleDataLogic.sampleDataSourcesByCategory("HipICMSC")}
    return SimpleNamespace(module=sample_data, slicer=slicer, store=SampleData, sources=sources)


@pytest.fixture
def dialogs(bench):
    """What Slicer tells the user."""
    import pythonqt

    pythonqt.DIALOGS.clear()
    return pythonqt.DIALOGS


@pytest.fixture(scope="module")
def made(sample_data, tmp_path_factory):
    """Both phantoms, each made by the first click on its button, and how Slicer and the child processes behaved."""
    import qt

    notes = tmp_path_factory.mktemp("notes")
    (notes / "sitecustomize.py").write_text(NO_NETWORK)
    ticks = [time.monotonic()]
    timer = qt.QTimer()
    timer.connect("timeout()", lambda: ticks.append(time.monotonic()))
    timer.start(20)
    nodes = {}
    sample_data.slicer.mrmlScene.Clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(notes), os.environ.get("PYTHONPATH")])))
        patch.setenv("NOTES", str(notes))
        patch.setattr(socket, "socket", None)
        for name in ("HipPhantomMRI", "HipPhantomCT"):
            nodes[name] = sample_data.store.click(sample_data.sources[name])
    timer.stop()
    ticks.append(time.monotonic())
    notes_left = {path.name for path in notes.iterdir()}
    yield SimpleNamespace(**nodes, longest_pause=float(np.diff(ticks).max()), notes=notes_left)
    sample_data.slicer.mrmlScene.Clear()


@pytest.fixture
def empty_cache(sample_data, tmp_path):
    """A cache folder of its own."""
    cache = sample_data.slicer.mrmlScene.GetCacheManager()
    before = cache.GetRemoteCacheDirectory()
    cache.SetRemoteCacheDirectory(str(tmp_path / "cache"))
    yield tmp_path / "cache"
    cache.SetRemoteCacheDirectory(before)


@pytest.fixture
def scene(sample_data):
    """What a test adds to the scene leaves it again."""
    scene = sample_data.slicer.mrmlScene
    before = _node_ids(scene)
    yield scene
    for node_id in _node_ids(scene) - before:
        scene.RemoveNode(scene.GetNodeByID(node_id))


def _node_ids(scene) -> set[str]:
    return {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}


def to_ras(node) -> np.ndarray:
    """4 × 4, voxel index (i, j, k) to RAS mm."""
    import slicer
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def value_at(node, point_lps) -> int:
    import slicer

    index = np.linalg.inv(to_ras(node)) @ [*(LPS_TO_RAS * point_lps), 1]
    return int(slicer.util.arrayFromVolume(node)[tuple(np.rint(index[2::-1]).astype(int))])


def centre(image: sitk.Image) -> np.ndarray:
    """LPS mm."""
    return np.array(image.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in image.GetSize()]))


def assert_lies_as(node, coarse: sitk.Image) -> None:
    """The same field of view and directions as the same subject in larger voxels."""
    matrix = to_ras(node)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    directions = np.array(coarse.GetDirection()).reshape(3, 3)
    np.testing.assert_allclose(LPS_TO_RAS[:, None] * matrix[:3, :3] / spacing, directions, atol=1e-5)
    size = np.array(node.GetImageData().GetDimensions())
    middle = matrix @ [*(size - 1) / 2, 1]
    np.testing.assert_allclose(LPS_TO_RAS * middle[:3], centre(coarse), atol=0.01)
    np.testing.assert_allclose(size * spacing, np.multiply(coarse.GetSize(), coarse.GetSpacing()), atol=max(spacing))


def test_all_are_offered_once_with_a_picture_and_the_phantoms_as_synthetic(sample_data):
    sample_data.module.register_sample_data()
    sources = sample_data.store.SampleDataLogic.sampleDataSourcesByCategory("HipICMSC")
    assert [source.nodeNames for source in sources] == [["HipMRI"], ["HipPhantomMRI"], ["HipPhantomCT"]]
    for source in sources:
        assert ("synthetic" in source.sampleName) == ("Phantom" in source.nodeNames[0])
        assert not source.uris[0].startswith("http")
        picture = Path(source.thumbnailFileName)
        assert sitk.ReadImage(str(picture)).GetSize() == (256, 192)
        assert picture.stat().st_size < 60_000


def test_the_mri_is_the_one_that_the_demo_segments(made):
    """Where it lies, and how bright that subject's femoral heads are."""
    node = made.HipPhantomMRI
    assert node.GetName() == "HipPhantomMRI" and node.GetClassName() == "vtkMRMLScalarVolumeNode"
    assert node.GetSpacing() == pytest.approx((0.9, 0.9, 4.5), abs=1e-4)
    subject = make_mri(2026, 0, in_plane_mm=4.5, slice_mm=9.0)
    assert_lies_as(node, subject.image)
    for head in (subject.head_right, subject.head_left):
        coarse = subject.image[subject.image.TransformPhysicalPointToIndex(head)]
        assert value_at(node, head) == pytest.approx(coarse, rel=0.2)
    assert "Synthetic" in node.GetDescription() and "research use only" in node.GetDescription()


def test_the_real_mri_is_there_at_once_with_its_attribution(sample_data, scene):
    source = sample_data.sources["HipMRI"]
    node = sample_data.store.click(source)
    assert node.GetImageData().GetDimensions() == (384, 384, 31)
    assert node.GetSpacing() == pytest.approx((0.911, 0.911, 5.2), abs=1e-3)
    assert "CC BY 4.0" in node.GetDescription() and "research use only" in node.GetDescription()
    folder = Path(sample_data.module.__file__).parents[3] / "Resources" / "SampleData"
    attribution = (folder / "HipICMSC-MRI-CPTAC-C3N-01875.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in attribution and "10.7937/k9/tcia.2018.3r3juisw" in attribution


def test_the_mri_has_its_truth_for_whoever_asks(made, sample_data, scene):
    truth = sample_data.module.load_truth("MR")
    assert truth.GetClassName() == "vtkMRMLLabelMapVolumeNode"
    np.testing.assert_array_equal(to_ras(truth), to_ras(made.HipPhantomMRI))
    subject = make_mri(2026, 0, in_plane_mm=9.0, slice_mm=9.0)
    for head in (subject.head_right, subject.head_left):
        assert value_at(truth, head) == 2, "the femoral head is femur"


def test_the_ct_comes_with_labels_to_train_on(made, sample_data):
    slicer = sample_data.slicer
    node, label = made.HipPhantomCT, slicer.util.getNode("HipPhantomCT_label")
    assert label.GetClassName() == "vtkMRMLLabelMapVolumeNode"
    subject = make_ct(2026, 0, spacing_mm=(5.0, 5.0, 5.0))
    assert_lies_as(node, subject.image)
    np.testing.assert_array_equal(to_ras(node), to_ras(label))
    values, labels = slicer.util.arrayFromVolume(node), slicer.util.arrayFromVolume(label)
    assert set(np.unique(labels)) == {0, 1, 2}
    assert np.median(values[labels == 2]) > 150 > np.median(values[labels == 0]), "Hounsfield units of bone and flesh"
    for head in (subject.head_right, subject.head_left):
        assert value_at(label, head) == 2


def test_slicer_goes_on_while_a_phantom_is_made(made):
    assert made.longest_pause < 2.0


def test_nothing_is_fetched_from_the_network(made):
    assert "started" in made.notes and "network" not in made.notes


def test_no_node_refers_to_a_file_that_may_go(made):
    assert made.HipPhantomMRI.GetStorageNode() is None and made.HipPhantomCT.GetStorageNode() is None


def test_what_is_made_is_shown(made, sample_data, scene):
    slicer = sample_data.slicer
    view = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    ct = sample_data.module.load_phantom("CT")
    assert view.GetBackgroundVolumeID() == ct.GetID()
    assert slicer.mrmlScene.GetNodeByID(view.GetLabelVolumeID()).IsA("vtkMRMLLabelMapVolumeNode")
    mri = sample_data.module.load_phantom("MR")
    assert view.GetBackgroundVolumeID() == mri.GetID() and view.GetLabelVolumeID() is None


def test_the_second_click_finds_it_made(made, sample_data, scene, monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    started = time.monotonic()
    node = sample_data.store.click(sample_data.sources["HipPhantomMRI"])
    assert time.monotonic() - started < 5
    assert node is not made.HipPhantomMRI
    np.testing.assert_array_equal(to_ras(node), to_ras(made.HipPhantomMRI))


def test_once_made_it_is_also_found_by_those_who_do_not_know_our_downloader(made, sample_data):
    for name in ("HipPhantomMRI", "HipPhantomCT"):
        assert sample_data.store.file_in_cache(sample_data.sources[name]).is_file()


@pytest.fixture
def process(sample_data, monkeypatch):
    """The process that makes the phantom, as soon as it is started."""
    started = SimpleNamespace(process=None)
    start = sample_data.module.start_connected

    def keep(*arguments):
        started.process = start(*arguments)
        return started.process

    monkeypatch.setattr(sample_data.module, "start_connected", keep)
    return started


def after(milliseconds: int, function) -> object:
    """The timer must be kept until it rings."""
    import qt

    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.connect("timeout()", function)
    timer.start()
    return timer


def test_a_process_that_dies_is_told_in_a_sentence(sample_data, empty_cache, scene, process, dialogs):
    before = _node_ids(scene)
    timer = after(300, lambda: process.process.kill())
    assert sample_data.module.load_phantom("MR") is None
    timer.stop()
    assert dialogs == [
        (
            "errorDisplay",
            "“Hip MRI (synthetic)” could not be made, because the process that makes it ended unexpectedly, perhaps "
            "for want of memory; close other programs and try again.",
        )
    ]
    assert _node_ids(scene) == before
    assert not list(empty_cache.iterdir())


def test_a_click_on_cancel_ends_it_without_a_word(sample_data, empty_cache, scene, process, dialogs):
    from PySide6 import QtWidgets

    before = _node_ids(scene)

    def cancel() -> None:
        dialog = QtWidgets.QApplication.activeModalWidget()
        assert "Hip CT with labels (synthetic)" in dialog.labelText
        [button] = dialog.findChildren(QtWidgets.QPushButton)
        button.click()

    timer = after(300, cancel)
    started = time.monotonic()
    assert sample_data.module.load_phantom("CT") is None
    timer.stop()
    assert time.monotonic() - started < 3
    assert process.process.poll() is not None
    assert dialogs == [] and _node_ids(scene) == before
    assert not list(empty_cache.iterdir())


def test_a_missing_package_is_named(sample_data, empty_cache, scene, tmp_path, dialogs, monkeypatch):
    (tmp_path / "scipy.py").write_text("raise ModuleNotFoundError(\"No module named 'scipy'\", name='scipy')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert sample_data.module.load_phantom("MR") is None
    assert dialogs == [
        (
            "errorDisplay",
            "“Hip MRI (synthetic)” cannot be made without scipy; install what is missing in HipICMSC's section Set-up.",
        )
    ]


def test_a_cache_that_cannot_be_written_is_told_as_it_is(sample_data, empty_cache, scene, dialogs):
    empty_cache.rmdir()
    empty_cache.write_text("a file where the folder should be")
    assert sample_data.module.load_phantom("MR") is None
    [(kind, sentence)] = dialogs
    assert kind == "errorDisplay" and str(empty_cache.parent) in sentence and sentence.endswith(".")


def test_a_damaged_file_in_the_cache_is_removed_and_told(sample_data, empty_cache, scene, dialogs):
    phantom = sample_data.module.phantoms()["MR"]
    phantom.truth.write_bytes(b"NRRD0004\n")
    phantom.image.write_bytes(b"NRRD0004\n")
    before = _node_ids(scene)
    assert sample_data.module.load_phantom("MR") is None
    assert dialogs == [("errorDisplay", "The synthetic image in Slicer's cache was damaged; try again.")]
    assert not phantom.is_made
    assert _node_ids(scene) == before


def test_without_the_training_module_the_sentence_says_so(sample_data, empty_cache, scene, dialogs, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert sample_data.module.load_phantom("MR") is None
    assert "HipICMSC Training" in dialogs[0][1]
