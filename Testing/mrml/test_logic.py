"""HipICMSCLogic without any widget: a real volume node, the real worker process, a real segmentation node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import ball_hips
import numpy as np
import pytest
import scripted_worker
import SimpleITK as sitk
import slicer_stand_ins
from HipICMSCLib.common.errors import HipError
from patience import PATIENCE

c, s = np.cos(0.5), np.sin(0.5)
GEOMETRIES = {
    "coronal and flipped": np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
}


@pytest.fixture(scope="module")
def module(slicer_app):
    slicer_stand_ins.install(slicer_app)
    return slicer_stand_ins.load_module("HipICMSC")


@pytest.fixture(scope="module")
def logic(module):
    """One for all tests, so that the worker starts once."""
    logic = module.HipICMSCLogic()
    yield logic
    logic.close()


@pytest.fixture
def scene(slicer_app):
    """What is added to the scene leaves it afterwards."""
    scene = slicer_app.scene
    before = {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
    yield scene
    for node in [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]:
        if node.GetID() not in before:
            scene.RemoveNode(node)


def add_volume(scene, image: sitk.Image, moved_by: np.ndarray | None = None):
    """The image as a volume node; ``moved_by`` is a transform above it (RAS) that is undone in its own geometry, so
    that it is displayed where the image lies."""
    import slicer

    to_ras = np.eye(4)
    to_ras[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    to_ras[:3, 3] = image.GetOrigin()
    to_ras = np.diag([-1, -1, 1, 1]) @ to_ras
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hips")
    slicer.util.updateVolumeFromArray(node, sitk.GetArrayFromImage(image))
    if moved_by is not None:
        transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved_by))
        node.SetAndObserveTransformNodeID(transform.GetID())
        to_ras = np.linalg.inv(moved_by) @ to_ras
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(to_ras))
    return node


def displayed_centre(node, segment_id: str) -> np.ndarray:
    """The middle of a segment's surface where Slicer shows it, LPS mm."""
    from HipICMSCLib.gui.scene.surfaces import surface_steps
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    for step in surface_steps(node):
        step()
    surface = node.GetSegmentation().GetSegment(segment_id).GetRepresentation("Closed surface")
    to_world = vtkGeneralTransform()
    if node.GetParentTransformNode():
        node.GetParentTransformNode().GetTransformToWorld(to_world)
    points = [to_world.TransformPoint(surface.GetPoint(i)) for i in range(surface.GetNumberOfPoints())]
    return (np.min(points, axis=0) + np.max(points, axis=0)) / 2 * (-1, -1, 1)


def moving() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = GEOMETRIES["oblique"].T @ np.diag([-1.0, -1.0, 1.0])
    matrix[:3, 3] = (40.0, -200.0, 33.0)
    return matrix


@pytest.mark.parametrize(
    ("geometry", "moved_by"),
    [("coronal and flipped", None), ("oblique", moving())],
    ids=["untransformed", "transformed"],
)
def test_each_bone_is_found_where_it_is_displayed(logic, scene, ball_model, geometry, moved_by):
    volume = add_volume(scene, ball_hips.ball_image(GEOMETRIES[geometry]), moved_by)
    result = logic.segment(volume, model=ball_model)
    assert displayed_centre(result, "RightFemur") == pytest.approx(np.array(ball_hips.RIGHT_CENTRE), abs=2.5)
    assert displayed_centre(result, "LeftFemur") == pytest.approx(np.array(ball_hips.LEFT_CENTRE), abs=2.5)
    assert result.GetTransformNodeID() == volume.GetTransformNodeID()


def test_a_given_segmentation_is_filled_and_then_protected(logic, scene, ball_model):
    volume = add_volume(scene, ball_hips.ball_image())
    target = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    assert logic.segment(volume, target, ball_model) is target
    assert target.GetSegmentation().GetNumberOfSegments() == 4
    target.GetSegmentation().RemoveSegment("LeftFemur")
    assert logic.segment(volume, target, ball_model).GetName() == "mine (2)"
    assert target.GetSegmentation().GetNumberOfSegments() == 3


def test_what_is_about_to_be_replaced_can_be_saved_before(logic, scene, ball_model):
    """So that the panel can put it into Segment Editor's undo history."""
    volume = add_volume(scene, ball_hips.ball_image())
    target = logic.segment(volume, model=ball_model)
    target.GetSegmentation().RemoveSegment("LeftFemur")
    seen = []
    logic.aboutToChange.connect(lambda node: seen.append((node, node.GetSegmentation().GetNumberOfSegments())))
    assert logic.segment(volume, target, ball_model, replaceUnlocked=True) is target
    assert seen == [(target, 3)]
    assert target.GetSegmentation().GetNumberOfSegments() == 4


def test_a_result_carries_its_origin_its_doubts_and_a_map_of_confidence(logic, scene, ball_model):
    import slicer
    from HipICMSCLib.gui.scene.review import Review, confidence_map_of

    volume = add_volume(scene, ball_hips.ball_image(GEOMETRIES["oblique"]), moving())
    node = logic.segment(volume, model=ball_model)
    assert node.GetAttribute("HipICMSC.ModelName") == "balls"
    assert len(node.GetAttribute("HipICMSC.ModelSha256")) == 64
    assert node.GetAttribute("HipICMSC.Use").startswith("For research use only")
    assert Review(node).places
    confidence = slicer.util.arrayFromVolume(confidence_map_of(node))
    assert confidence.shape == slicer.util.arrayFromVolume(volume).shape
    assert confidence_map_of(node).GetTransformNodeID() == volume.GetTransformNodeID()


@pytest.mark.parametrize("sides", [("right", "left"), ("left",)])
def test_femoral_heads_that_the_user_marked_are_believed(logic, scene, ball_model, sides):
    """Marked 3 mm away from their centres, which nothing corrects behind the user's back."""
    volume = add_volume(scene, ball_hips.ball_image())
    heads = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "heads")
    centres = {"right": ball_hips.RIGHT_CENTRE, "left": ball_hips.LEFT_CENTRE}
    for side in sides:
        x, y, z = centres[side]
        heads.AddControlPoint(-x, -y, z + 3)
    reports = []
    logic.finished.connect(lambda outcome: reports.append(outcome.report))
    logic.segment(volume, model=ball_model, headsNode=heads)
    found = [head for head in reports[-1]["femoral_heads_lps_mm"].values() if head is not None]
    assert found == [pytest.approx((*centres[side][:2], centres[side][2] + 3)) for side in sides]
    heads.AddControlPoint(0, 0, 0)
    heads.AddControlPoint(1, 0, 0)
    with pytest.raises(HipError, match=r"heads has \d points; place one in the middle of each femoral head"):
        logic.segment(volume, model=ball_model, headsNode=heads)


def test_progress_is_told_and_no_file_stays(logic, scene, ball_model, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    told = []
    logic.progressed.connect(lambda stage, share: told.append(share))
    logic.segment(add_volume(scene, ball_hips.ball_image()), model=ball_model)
    assert told == sorted(told) and told[-1] == pytest.approx(1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_is_one_sentence_and_leaves_the_scene(logic, scene, ball_model, tmp_path):
    volume = add_volume(scene, ball_hips.ball_image())
    bad = tmp_path / "bad.hipmodel"
    bad.write_bytes(b"\x80\x04 a pickle")
    count = scene.GetNumberOfNodes()
    with pytest.raises(HipError) as error:
        logic.segment(volume, model=bad)
    assert error.value.kind == "not_a_package"
    with pytest.raises(HipError, match="empty"):
        logic.segment(None, model=ball_model)
    with pytest.raises(HipError, match="There is no model unheard-of"):
        logic.segment(volume, model="unheard-of")
    assert scene.GetNumberOfNodes() == count and not logic.busy


class Clock:
    """In Qt's place: the test turns it by hand."""

    def __init__(self, milliseconds, function) -> None:
        self.tick = function

    def start(self) -> None:
        Clock.running = self

    def stop(self) -> None:
        Clock.running = None


def run_clock(logic) -> None:
    limit = time.monotonic() + PATIENCE
    while logic.busy:
        assert time.monotonic() < limit
        Clock.running.tick()
        time.sleep(0.02)


@pytest.fixture
def outcomes(module, monkeypatch):
    """A logic of its own on a clock, and what its signals said."""
    from HipICMSCLib.gui.running import segmentation_service

    monkeypatch.setattr(segmentation_service, "RepeatingTimer", Clock)
    logic, said = module.HipICMSCLogic(), []
    logic.finished.connect(said.append)
    logic.failed.connect(said.append)
    yield logic, said
    logic.close()


def test_without_waiting_the_outcome_comes_by_signal(outcomes, scene, ball_model):
    logic, said = outcomes
    assert logic.segment(add_volume(scene, ball_hips.ball_image()), None, ball_model, waitForCompletion=False) is None
    assert logic.busy and said == []
    with pytest.raises(HipError, match="still running"):
        logic.segment(None)
    run_clock(logic)
    assert [outcome.node.GetClassName() for outcome in said] == ["vtkMRMLSegmentationNode"]
    assert Clock.running is None


def test_cancelling_ends_within_two_seconds_without_a_result(outcomes, scene, ball_model):
    logic, said = outcomes
    logic.segment(add_volume(scene, ball_hips.ball_image()), None, ball_model, waitForCompletion=False)
    count = scene.GetNumberOfNodes()
    logic.cancel()
    started = time.monotonic()
    run_clock(logic)
    assert time.monotonic() - started < 2
    assert [error.kind for error in said] == ["cancelled"]
    assert scene.GetNumberOfNodes() == count


def test_a_volume_deleted_meanwhile_is_said(outcomes, scene, ball_model):
    logic, said = outcomes
    volume = add_volume(scene, ball_hips.ball_image())
    logic.segment(volume, None, ball_model, waitForCompletion=False)
    scene.RemoveNode(volume)
    run_clock(logic)
    assert [error.kind for error in said] == ["input_gone"]


def test_a_target_deleted_meanwhile_is_said(outcomes, scene, ball_model):
    logic, said = outcomes
    target = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    logic.segment(add_volume(scene, ball_hips.ball_image()), target, ball_model, waitForCompletion=False)
    scene.RemoveNode(target)
    run_clock(logic)
    assert [error.kind for error in said] == ["input_gone"]


def test_a_worker_killed_in_the_middle_is_one_sentence_and_the_next_click_works(outcomes, scene, ball_model):
    logic, said = outcomes
    volume = add_volume(scene, ball_hips.ball_image())
    count = scene.GetNumberOfNodes()
    logic.progressed.connect(lambda stage, share: logic.service._worker._process.kill())
    logic.segment(volume, None, ball_model, waitForCompletion=False)
    run_clock(logic)
    assert [error.kind for error in said] == ["worker_died"]
    assert scene.GetNumberOfNodes() == count
    again = type(logic)()
    assert again.segment(volume, model=ball_model).GetSegmentation().GetNumberOfSegments() == 4
    again.close()


# A worker that misbehaves once, among nodes that somebody worked on.


@pytest.fixture(scope="module")
def ready_result(ball_model, tmp_path_factory):
    """A folder with what the real worker made of the balls, for a scripted one to hand out."""
    from HipICMSCLib.gui.running.worker_client import WorkerClient
    from HipICMSCLib.worker.protocol import SegmentRequest

    folder, told, client = tmp_path_factory.mktemp("ready"), [], WorkerClient()
    names = ("balls.nrrd", "result.seg.nrrd", "cancel", "confidence.nrrd")
    image, output, cancel_flag, confidence = (str(folder / name) for name in names)
    sitk.WriteImage(ball_hips.ball_image(), image)
    client.send(SegmentRequest(image, output, str(ball_model), cancel_flag, confidence, "cpu"), told.append)
    limit = time.monotonic() + PATIENCE
    while client.busy:
        assert time.monotonic() < limit
        client.poll()
        time.sleep(0.02)
    client.close()
    (folder / "report.json").write_text(json.dumps(told[-1].report))
    return folder


@pytest.fixture
def scripted(outcomes, ready_result, tmp_path, monkeypatch):
    """Makes the worker of a logic one that misbehaves in some way at its first request; what the logic said."""
    from HipICMSCLib.gui.running.worker_client import WorkerClient

    logic, said = outcomes
    temporary, ready = tmp_path / "temporary", tmp_path / "ready"
    temporary.mkdir()
    shutil.copytree(ready_result, ready)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    def make(how):
        logic.service._worker = WorkerClient((scripted_worker.__file__, how.__name__, str(ready)))
        if how is scripted_worker.is_stopped:
            # Of the others, one that starts slowly, beside other work, is not to be taken for silent.
            logic.service._worker.SILENT_SECONDS = 6.0
        return logic, said, temporary

    return make


@pytest.fixture
def worked_on(scene, outcomes, ready_result):
    """A volume, and a segmentation of it in which somebody removed a bone and drew something."""
    import slicer
    from HipICMSCLib.gui.scene.result import read_result

    volume = add_volume(scene, ball_hips.ball_image())
    report = json.loads((ready_result / "report.json").read_text())
    node = read_result(ready_result / "result.seg.nrrd", report, volume)
    node.GetSegmentation().RemoveSegment("LeftFemur")
    node.GetSegmentation().AddEmptySegment("drawn", "drawn")
    drawn = np.zeros_like(slicer.util.arrayFromVolume(volume), np.uint8)
    drawn[5:9, 6:12, 7:20] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, node, "drawn", volume)
    return volume, node


def all_of(scene, volume, segmentation) -> dict:
    """Everything in the scene that a segmentation could change."""
    import slicer

    nodes = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
    bones = segmentation.GetSegmentation()
    return {
        "nodes": [(node.GetID(), node.GetName()) for node in nodes],
        "attributes": {name: segmentation.GetAttribute(name) for name in segmentation.GetAttributeNames()},
        "voxels": slicer.util.arrayFromVolume(volume).tobytes(),
        "segments": {
            name: slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, name, volume).tobytes()
            for name in bones.GetSegmentIDs()
        },
        "states": {
            name: slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentStatus(bones.GetSegment(name))
            for name in bones.GetSegmentIDs()
        },
    }


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        (scripted_worker.dies_at_the_request, "worker_died"),
        (scripted_worker.is_killed_while_the_result_is_written, "worker_died"),
        (scripted_worker.is_killed_after_the_result_is_written, "worker_died"),
        (scripted_worker.is_stopped, "no_answer"),
        (scripted_worker.babbles, "bad_message"),
        (scripted_worker.says_half_a_line, "bad_message"),
        (scripted_worker.is_of_another_version, "other_version"),
        (scripted_worker.says_a_result_that_is_not_there, "unreadable"),
        (scripted_worker.says_a_result_whose_map_is_not_there, "unreadable"),
        (scripted_worker.says_a_result_that_is_cut_off, "unreadable"),
        (scripted_worker.says_an_empty_report, "bad_message"),
        (scripted_worker.says_a_report_of_other_types, "bad_message"),
    ],
)
def test_whatever_happens_to_the_worker_the_scene_is_as_before_and_the_next_click_works(
    scripted, worked_on, scene, ball_model, how, kind
):
    (logic, said, temporary), (volume, node) = scripted(how), worked_on
    before = all_of(scene, volume, node)

    def click() -> None:
        logic.segment(volume, node, ball_model, waitForCompletion=False, replaceUnlocked=True, device="cpu")
        run_clock(logic)

    click()
    (error,) = said
    assert (type(error), error.kind) == (HipError, kind)
    assert error.sentence.endswith(".") and "\n" not in error.sentence
    assert all_of(scene, volume, node) == before
    assert list(temporary.iterdir()) == [] and Clock.running is None
    click()
    assert said[1].node is node and "LeftFemur" in node.GetSegmentation().GetSegmentIDs()
    assert all_of(scene, volume, node)["segments"]["drawn"] == before["segments"]["drawn"]
    assert list(temporary.iterdir()) == []


def test_a_look_at_a_volume_that_fails_stops_with_one_sentence_and_the_next_one_works(
    scripted, worked_on, ball_model, monkeypatch
):
    from HipICMSCLib.models import chosen as model_files

    monkeypatch.setattr(model_files, "_SHIPPED", (ball_model.parent,))
    (logic, _, temporary), (volume, _) = scripted(scripted_worker.says_a_look_that_is_none), worked_on

    def look() -> list:
        told = []
        logic.service.preflight(
            volume, "balls", "cpu", None, lambda findings, pending: told.append((findings, pending))
        )
        limit = time.monotonic() + PATIENCE
        while told[-1][1]:
            assert time.monotonic() < limit
            Clock.running.tick()
            time.sleep(0.02)
        assert list(temporary.iterdir()) == []
        return [finding for finding in told[-1][0] if finding.level == "stop"]

    (stop,) = look()
    assert stop.sentence.endswith(".")
    assert look() == []


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        (scripted_worker.is_killed_while_the_result_is_written, "worker_died"),
        (scripted_worker.says_a_result_that_is_not_there, "unreadable"),
    ],
)
def test_a_file_that_was_not_finished_is_not_there_and_the_next_try_writes_it(
    scripted, ball_model, tmp_path, how, kind
):
    from HipICMSCLib.gui.running.segmentation_job import FileJob

    logic, _, temporary = scripted(how)
    (tmp_path / "results").mkdir()
    output = tmp_path / "results" / "of a patient.seg.nrrd"
    for expected, files in ((kind, []), (None, [output])):
        ends = []
        job = FileJob(tmp_path / "balls.nrrd", output, ball_model, "cpu")
        logic.service.start_one_of_many(job, lambda share: None, ends.append)
        run_clock(logic)
        (end,) = ends
        assert getattr(end, "kind", None) == expected
        assert list(output.parent.iterdir()) == files and list(temporary.iterdir()) == []
    assert output.read_bytes() == (tmp_path / "ready" / "result.seg.nrrd").read_bytes()


def test_without_a_place_for_temporary_files_nothing_is_begun(outcomes, worked_on, ball_model, tmp_path, monkeypatch):
    logic, _ = outcomes
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "on a disk that was taken out"))
    with pytest.raises(HipError) as caught:
        logic.segment(worked_on[0], model=ball_model)
    assert caught.value.kind == "no_folder" and not logic.busy


@pytest.mark.parametrize("what", ["nothing", "a text"])
def test_an_interpreter_that_is_none_is_one_sentence_and_the_next_click_works(scripted, worked_on, tmp_path, what):
    (logic, said, temporary), (volume, _) = scripted(scripted_worker.work), worked_on
    python = tmp_path / "python"
    if what == "a text":
        python.write_text("no program")
    logic.service._worker._python = lambda: str(python)
    begun = []
    logic.started.connect(lambda *about: begun.append(about))
    with pytest.raises(HipError) as caught:
        logic.segment(volume, model="a.hipmodel", waitForCompletion=False)
    assert caught.value.kind == "not_started" and caught.value.sentence.endswith(".")
    assert not logic.busy and said == [] and list(temporary.iterdir()) == []
    # The panel is not told of a beginning that has no end.
    assert begun == []
    with pytest.raises(HipError):
        logic.segment(volume, model="a.hipmodel")
    assert len(begun) == 1 and said.pop().kind == "not_started"
    logic.service._worker._python = lambda: None
    logic.segment(volume, model="a.hipmodel", waitForCompletion=False)
    run_clock(logic)
    assert said[0].node.GetSegmentation().GetNumberOfSegments() == 4


def test_only_what_a_crashed_slicer_left_is_removed(module, tmp_path, monkeypatch):
    """Neither the folders of a Slicer that runs nor somebody's own that is called like this program."""
    from HipICMSCLib.gui.running.segmentation_job import VolumeFile

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    crashed, running = (VolumeFile(ball_hips.ball_image(), "hips").folder for _ in range(2))
    own = tmp_path / "HipICMSC-main"
    own.mkdir()
    long_ago = time.time() - 25 * 3600
    for folder in (crashed, own):
        os.utime(folder, (long_ago, long_ago))
    module.HipICMSCLogic().close()
    assert sorted(tmp_path.iterdir()) == sorted([running, own])


def test_the_card_is_filled_at_once_and_then_by_the_worker(outcomes, scene, ball_model, monkeypatch):
    from HipICMSCLib.models import chosen as model_files

    monkeypatch.setattr(model_files, "_SHIPPED", (ball_model.parent,))
    logic, _ = outcomes
    told = []
    volume = add_volume(scene, ball_hips.ball_image())
    logic.service.preflight(volume, "balls", "cpu", None, lambda findings, pending: told.append((findings, pending)))
    assert [pending for _, pending in told] == [True]
    limit = time.monotonic() + PATIENCE
    while len(told) < 2:
        assert time.monotonic() < limit
        Clock.running.tick()
        time.sleep(0.02)
    findings, pending = told[1]
    assert not pending and set(told[0][0]) <= set(findings)
    assert not any(finding.level == "stop" for finding in findings)


def test_an_empty_volume_is_a_stop_without_asking_the_worker(outcomes, scene):
    logic, _ = outcomes
    told = []
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    logic.service.preflight(
        empty, "unheard-of", "cpu", None, lambda findings, pending: told.append((findings, pending))
    )
    ((findings, pending),) = told
    assert not pending and [finding.level for finding in findings] == ["stop", "stop"]


def test_slicers_process_needs_none_of_the_libraries_that_slicer_lacks():
    """Both module files load, and a run folder is read, without torch, scikit-image and safetensors."""
    program = """
import json, sys
for name in ("torch", "skimage", "safetensors", "psutil", "matplotlib"):
    sys.modules[name] = None
from trame_slicer.core import SlicerApp
import slicer_stand_ins
slicer_stand_ins.install(SlicerApp())
first, second = (slicer_stand_ins.load_module(name) for name in ("HipICMSC", "HipICMSCTraining"))
first.HipICMSCLogic().getParameterNode()
state = second.HipICMSCTrainingLogic().state("absent")
print(json.dumps([first.HipICMSCParameterNode.__name__, state]))
"""
    testing = str(slicer_stand_ins.REPOSITORY / "Testing")
    done = subprocess.run([sys.executable, "-c", program], cwd=testing, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert json.loads(last) == ["HipICMSCParameterNode", "unreadable"]
