"""The worker process as Slicer uses it: a real child, real files, a model that finds two bright balls."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import ball_hips
import numpy as np
import pytest
import SimpleITK as sitk
from HipICMSCLib.anatomy.femoral_heads import find_femoral_heads
from HipICMSCLib.cases.corrected_case import read_case
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.gui.running.worker_client import WorkerClient
from HipICMSCLib.preprocessing.slabs import SlabSettings
from HipICMSCLib.worker.protocol import (
    Failed,
    Finished,
    KeepCaseRequest,
    PreflightRequest,
    Progress,
    Ready,
    SegmentRequest,
    SelfTestRequest,
    Warned,
    decode,
    encode,
)
from packages import BRIGHT, DARK, GREY, write_slab_package
from patience import PATIENCE
from simple_patient import simple_patient

HEADS = {"heads": (ball_hips.RIGHT_CENTRE, ball_hips.LEFT_CENTRE)}


class Conversation:
    """A client and everything it was told."""

    def __init__(self, *arguments: str) -> None:
        self.events: list = []
        self.client = WorkerClient(arguments) if arguments else WorkerClient()

    def wait(self, until: Callable[[], bool] | None = None) -> None:
        limit = time.monotonic() + PATIENCE
        while not (until() if until else not self.client.busy):
            assert time.monotonic() < limit, self.events
            time.sleep(0.02)
            self.client.poll()

    def send(self, request):
        return self.client.send(request, self.events.append)

    def ask(self, request):
        """The last event that a request leads to."""
        self.send(request)
        self.wait()
        return self.events[-1]

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def worker():
    conversation = Conversation()
    yield conversation
    conversation.client.close()


@pytest.fixture(scope="module")
def volume(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("volume") / "balls.nrrd"
    sitk.WriteImage(ball_hips.ball_image(), str(path))
    return path


@pytest.fixture
def request_for(volume, ball_model, tmp_path):
    def make(**changes) -> SegmentRequest:
        usual = {"image": str(volume), "output": str(tmp_path / "out.nrrd"), "cancel_flag": str(tmp_path / "cancel")}
        return SegmentRequest(**usual | {"model": str(ball_model), "device": "cpu"} | HEADS | changes)

    return make


def test_a_volume_is_segmented_and_every_step_told(worker, request_for):
    request = request_for()
    worker.events.clear()
    last = worker.ask(request)
    assert isinstance(last, Finished), last
    assert last.report["model"]["name"] == "balls"
    assert worker.of(Ready)
    shares = [event.share for event in worker.of(Progress)]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert [event.sentence for event in worker.of(Warned)][: len(last.report["warnings"])] == [
        warning["sentence"] for warning in last.report["warnings"]
    ]
    labels = sitk.GetArrayFromImage(sitk.ReadImage(request.output))
    ball = 4 / 3 * np.pi / 36  # in voxels of 36 mm³
    assert (labels == 3).sum() == pytest.approx(ball * ball_hips.RIGHT_RADIUS**3, rel=0.12)
    assert (labels == 4).sum() == pytest.approx(ball * ball_hips.LEFT_RADIUS**3, rel=0.12)


def test_the_same_process_serves_the_next_request_after_an_error(worker, request_for, tmp_path):
    last = worker.ask(request_for(image=str(tmp_path / "absent.nrrd")))
    assert isinstance(last, Failed) and last.kind == "missing_file" and "absent.nrrd" in last.sentence
    process = worker.client._process.pid
    assert isinstance(worker.ask(request_for()), Finished)
    assert worker.client._process.pid == process


def test_a_cancelled_request_writes_nothing_and_the_worker_lives(worker, request_for):
    request = request_for()
    Path(request.cancel_flag).touch()
    last = worker.ask(request)
    assert isinstance(last, Failed) and last.kind == "cancelled"
    assert not Path(request.output).exists()


def test_a_report_names_doubtful_places_and_a_map_of_confidence_is_written(worker, request_for, tmp_path):
    path = tmp_path / "confidence.nrrd"
    last = worker.ask(request_for(confidence=str(path)))
    image, confidence = ball_hips.ball_image(), sitk.ReadImage(str(path))
    assert (confidence.GetSize(), confidence.GetOrigin()) == (image.GetSize(), pytest.approx(image.GetOrigin()))
    percent = sitk.GetArrayFromImage(confidence)
    # In the middle of a ball the network is sure.
    index = image.TransformPhysicalPointToIndex(ball_hips.RIGHT_CENTRE)
    assert percent.max() <= 100 and confidence[index] > 95
    places = last.report["doubtful_places"]
    assert places and places == sorted(places, key=lambda place: -place["doubt"])
    assert set(places[0]) == {"point_lps", "doubt", "bone"}


def test_what_was_drawn_on_finer_voxels_becomes_a_case_on_those_of_its_mri(worker, volume, tmp_path):
    labels = sitk.Cast(sitk.ReadImage(str(volume)) > 600, sitk.sitkUInt8) * 3
    sitk.WriteImage(sitk.Expand(labels, (2, 2, 2), sitk.sitkNearestNeighbor), str(tmp_path / "finer.nrrd"))
    request = KeepCaseRequest(
        str(volume), str(tmp_path / "finer.nrrd"), str(tmp_path / "cases"), "a", {}, {}, ("RightFemur",)
    )
    kept = worker.ask(request)
    assert isinstance(kept, Finished) and kept.report["number"] == 1
    case = read_case(Path(kept.report["folder"]))
    assert np.array_equal(*(sitk.GetArrayFromImage(each) for each in (sitk.ReadImage(str(case.label)), labels)))
    again = worker.ask(request)
    assert isinstance(again, Failed) and again.kind == "case_exists"


def test_the_preflight_is_told_and_measured_times_come_back(worker, volume, ball_model, request_for):
    """After a run, the card knows how long one takes on this computer."""
    worker.ask(request_for())
    last = worker.ask(PreflightRequest(str(volume), str(ball_model), "cpu"))
    assert isinstance(last, Finished), last
    findings = last.report["findings"]
    assert {finding["level"] for finding in findings} <= {"fine", "caution", "stop"}
    assert any("measured" in finding["sentence"] for finding in findings)


def test_heads_that_the_preflight_of_a_crop_model_found_decide_nothing_for_a_model_of_slabs(
    worker, ball_model, request_for, tmp_path
):
    truth = simple_patient((1.5, 1.5, 4.0), ischium=True).labels
    image = sitk.GetImageFromArray(np.choose(sitk.GetArrayFromImage(truth), [GREY, DARK, BRIGHT]).astype(np.int16))
    image.CopyInformation(truth)
    sitk.WriteImage(image, str(tmp_path / "hips.nrrd"))
    slabs = write_slab_package(tmp_path / "slabs.hipmodel", slab=SlabSettings(pixel_mm=1.5))
    request = request_for(image=str(tmp_path / "hips.nrrd"), model=str(slabs), heads=())
    heads = worker.ask(request).report["femoral_heads_lps_mm"]
    by_edges = find_femoral_heads(image)
    assert by_edges.right is not None and not np.allclose(by_edges.right, heads["right"], atol=0.1)
    assert isinstance(worker.ask(PreflightRequest(request.image, str(ball_model), "cpu")), Finished)
    assert worker.ask(request).report["femoral_heads_lps_mm"] == heads


def test_a_preflight_of_a_missing_file_is_one_sentence(worker, ball_model, tmp_path):
    last = worker.ask(PreflightRequest(str(tmp_path / "absent.nrrd"), str(ball_model)))
    assert (last.kind, last.sentence[-1]) == ("missing_file", ".")


def test_the_self_test_reports_what_computes(worker, ball_model):
    report = worker.ask(SelfTestRequest(str(ball_model), "cpu")).report
    assert report["device"] == "cpu" and "cpu" in report["devices"]
    assert report["model"]["name"] == "balls" and report["versions"]["torch"]
    assert report["seconds_per_slice"] > 0


def test_requests_are_done_in_their_order_and_one_that_waits_can_be_taken_back(worker, request_for, ball_model):
    """Whoever clicks while the card is still being filled gets both."""
    heard: dict[str, list] = {name: [] for name in ("first", "second", "third")}
    test = SelfTestRequest(str(ball_model), "cpu")
    worker.client.send(test, heard["first"].append)
    second = worker.client.send(request_for(), heard["second"].append)
    worker.client.send(test, heard["third"].append)
    worker.client.cancel(second)
    assert [event.kind for event in heard["second"]] == ["cancelled"]
    worker.wait()
    assert isinstance(heard["first"][-1], Finished) and isinstance(heard["third"][-1], Finished)
    assert len(heard["second"]) == 1


def test_what_nobody_waits_for_any_more_is_not_told_and_the_next_is_done(worker, ball_model):
    forgotten, wanted = [], []
    test = SelfTestRequest(str(ball_model), "cpu")
    first = worker.client.send(test, forgotten.append)
    worker.client.send(test, wanted.append)
    worker.client.forget(first)
    worker.wait()
    assert forgotten == [] and isinstance(wanted[-1], Finished)


def test_slicer_does_not_stand_still_while_a_new_worker_loads_its_libraries(tmp_path):
    """A pipe takes 64 kB, on Windows 4 kB, and what was drawn may be larger."""
    conversation, absent = Conversation(), str(tmp_path / "absent.nrrd")
    conversation.send(KeepCaseRequest(absent, absent, str(tmp_path), "", {}, {"RightFemur": "0" * 300_000}, ()))
    assert not conversation.client._ear.heard_ready
    conversation.wait()
    assert conversation.client._ear.heard_ready and conversation.events[-1].kind == "missing_file"
    conversation.client.close()


def test_a_worker_that_never_reads_what_it_is_asked_is_ended_all_the_same(tmp_path):
    conversation = Conversation("-c", "import time; time.sleep(600)")
    conversation.send(KeepCaseRequest("", "", str(tmp_path), "", {}, {"RightFemur": "0" * 300_000}, ()))
    process = conversation.client._process
    conversation.client.close()
    assert process.poll() is not None and not conversation.client.busy


def test_an_idle_worker_ends_by_itself_and_the_next_click_works(ball_model):
    conversation = Conversation("-m", "HipICMSCLib.worker", "0.2")
    test = SelfTestRequest(str(ball_model), "cpu")
    assert isinstance(conversation.ask(test), Finished)
    assert conversation.client._process.wait(PATIENCE) == 0
    assert isinstance(conversation.ask(test), Finished)
    conversation.client.close()


def test_a_worker_that_ends_just_when_it_is_asked_is_replaced_once(tmp_path, ball_model):
    """As an idle one may; but one that always ends so is an error, not an endless loop."""
    conversation = Conversation("-c", "input()")
    last = conversation.ask(SelfTestRequest(str(ball_model), "cpu"))
    assert last.kind == "worker_died" and "Exit code 0" in last.detail
    conversation.client.close()


def test_what_libraries_print_does_not_disturb(request_for):
    """Also what C code writes to file descriptor 1, as some libraries do."""
    noisy = (
        "import os, sys, HipICMSCLib.worker.__main__ as w\n"
        "read = w.read_volume\n"
        "def chatty(path):\n    print('hello'); os.write(1, b'from C\\n'); return read(path)\n"
        "w.read_volume = chatty\nsys.exit(w.main())"
    )
    conversation = Conversation("-c", noisy)
    assert isinstance(conversation.ask(request_for()), Finished)
    conversation.client.close()


def test_the_worker_ends_with_its_input(request_for):
    conversation = Conversation()
    conversation.send(request_for())
    conversation.wait(lambda: bool(conversation.of(Ready)))
    conversation.client._process.stdin.close()
    assert conversation.client._process.wait(PATIENCE) == 0
    conversation.wait()
    conversation.client.close()


@pytest.mark.parametrize(
    ("program", "kind", "detail"),
    [
        ("import sys; sys.exit('no memory left')", "worker_died", "no memory left"),
        ("import os; os.kill(os.getpid(), 9)", "worker_died", "-9"),
        ("print('Segmentation is fun!'); input()", "bad_message", "Segmentation is fun!"),
    ],
)
def test_a_process_that_dies_or_babbles_is_one_clear_error(request_for, program, kind, detail):
    conversation = Conversation("-c", program)
    last = conversation.ask(request_for())
    assert conversation.events == [last]
    assert isinstance(last, Failed) and last.kind == kind and detail in last.detail
    assert last.sentence.endswith(".") and not conversation.client.busy
    conversation.client.close()


def test_a_worker_that_does_not_answer_is_killed_within_a_second(request_for):
    conversation = Conversation("-c", "import time; time.sleep(60)")
    asked = conversation.send(request_for())
    process = conversation.client._process
    conversation.client.cancel(asked)
    started = time.monotonic()
    conversation.wait()
    assert time.monotonic() - started < 2
    assert conversation.events == [Failed("cancelled", "The segmentation was cancelled; nothing was changed.")]
    assert process.poll() is not None


def test_a_missing_library_is_named(request_for):
    without = "import sys; sys.modules['torch'] = None; import HipICMSCLib.worker.__main__ as w; sys.exit(w.main())"
    conversation = Conversation("-c", without)
    last = conversation.ask(request_for())
    assert last.kind == "not_installed" and "torch" in last.sentence
    conversation.client.close()


def test_messages_survive_the_line_they_are_sent_as():
    sent = SegmentRequest("a b.nrrd", "ü.seg.nrrd", "m.hipmodel", "flag", heads=((1.0, -2.5, 3.0),))
    assert encode(sent).count("\n") == 1
    assert decode(encode(sent)) == sent


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"say": "nonsense"}', '{"say": "progress", "share": "half"}'])
def test_a_line_that_is_no_message_is_refused(line):
    with pytest.raises(HipError) as error:
        decode(line)
    assert error.value.kind == "bad_message"
