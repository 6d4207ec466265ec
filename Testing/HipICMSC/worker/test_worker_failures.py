"""Whatever happens to the worker process is one clear sentence, and the next request works. Real child processes."""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import ball_hips
import pytest
import scripted_worker
import SimpleITK as sitk
from HipICMSCLib.common.version import VERSION
from HipICMSCLib.gui.running.worker_client import WorkerClient
from HipICMSCLib.worker.protocol import Failed, Finished, Progress, Ready, SegmentRequest, SelfTestRequest, encode
from patience import PATIENCE

HEADS = (ball_hips.RIGHT_CENTRE, ball_hips.LEFT_CENTRE)
#: The worker as it is, but for torch and what it computes: for what the process around them does.
WITHOUT_TORCH = """
import sys, time, types
sys.modules["HipICMSCLib.results.report"] = types.SimpleNamespace(VERSION={version!r})
import HipICMSCLib.worker.__main__ as w
w.ALIVE_SECONDS = 0.2
w._Worker._self_test = lambda self, request: work(request) or {{}}
def work(request):
    {work}
sys.exit(w.main())
"""
#: The real worker, which is changed before it begins.
REAL = "import os, sys, HipICMSCLib.worker.__main__ as w\n{change}\nsys.exit(w.main())"
TEST = SelfTestRequest("balls.hipmodel", "cpu")
#: Whatever a test makes of them.
OTHER_TEST, THIRD_TEST = SelfTestRequest("balls.hipmodel", "cuda"), SelfTestRequest("balls.hipmodel", "mps")


def without_torch(work: str) -> tuple[str, str]:
    return "-c", WITHOUT_TORCH.format(version=VERSION, work=work)


class Asked:
    """A client and what it was told."""

    def __init__(self, *arguments: str) -> None:
        self.events: list = []
        self.client = WorkerClient(arguments) if arguments else WorkerClient()

    def wait(self, until=None) -> None:
        limit = time.monotonic() + PATIENCE
        while not (until() if until else not self.client.busy):
            assert time.monotonic() < limit, self.events
            time.sleep(0.02)
            self.client.poll()

    def ask(self, request):
        """The only last event that a request leads to."""
        self.events.clear()
        self.client.send(request, self.events.append)
        self.wait()
        last = [event for event in self.events if isinstance(event, Finished | Failed)]
        assert last == self.events[-1:]
        return last[0]


@pytest.fixture
def asked():
    made = []

    def make(*arguments: str) -> Asked:
        made.append(Asked(*arguments))
        return made[-1]

    yield make
    for one in made:
        one.client.close()


@pytest.fixture
def scripted(asked, tmp_path):
    """A client of a worker that misbehaves once."""
    for name in ("result.seg.nrrd", "confidence.nrrd"):
        (tmp_path / name).write_bytes(b"a result")
    (tmp_path / "report.json").write_text('{"a": "report"}')
    return lambda how: asked(scripted_worker.__file__, how.__name__, str(tmp_path))


@pytest.fixture
def request_here(tmp_path):
    (tmp_path / "job").mkdir()
    return SegmentRequest(
        "volume.nrrd", str(tmp_path / "job" / "r.seg.nrrd"), "m.hipmodel", str(tmp_path / "job" / "cancel"),
        str(tmp_path / "job" / "c.nrrd"),
    )  # fmt: skip


# Nonsense, half sentences, and a sudden end.


@pytest.mark.parametrize(
    ("how", "kind", "detail"),
    [
        (scripted_worker.dies_at_the_request, "worker_died", "no memory left"),
        (scripted_worker.is_killed_after_the_result_is_written, "worker_died", "-9"),
        (scripted_worker.closes_its_mouth, "worker_died", ""),
        (scripted_worker.babbles, "bad_message", "Segmentation is fun!"),
        (scripted_worker.says_half_a_line, "bad_message", "rep"),
        (scripted_worker.says_bytes, "bad_message", ""),
        (scripted_worker.says_what_nests_without_end, "bad_message", "[[["),
        (scripted_worker.says_what_nobody_knows, "bad_message", "explosion"),
        (scripted_worker.says_a_share_that_is_none, "bad_message", "NaN"),
        (scripted_worker.babbles_for_ever, "bad_message", "xxx"),
        (scripted_worker.is_of_another_version, "other_version", "0.0.1"),
    ],
)
def test_what_a_process_does_wrong_is_one_sentence_and_the_next_request_works(
    scripted, request_here, how, kind, detail
):
    asked = scripted(how)
    failed = asked.ask(request_here)
    assert asked.events == [failed]
    assert (type(failed), failed.kind) == (Failed, kind)
    assert failed.sentence.endswith(".") and detail in failed.detail and len(failed.detail) < 2000
    assert isinstance(asked.ask(request_here), Finished)


def test_what_is_said_unasked_is_not_taken_for_the_answer_to_the_next_request(scripted, request_here):
    asked = scripted(scripted_worker.says_that_it_failed_twice)
    assert asked.ask(request_here).kind == "no_hip"
    time.sleep(0.3)
    assert isinstance(asked.ask(request_here), Finished)


def test_neither_printing_megabytes_nor_lines_without_end_block_or_fill_memory(scripted, request_here):
    asked = scripted(scripted_worker.floods_what_it_prints)
    before = resident_mib()
    assert isinstance(asked.ask(request_here), Finished)
    assert resident_mib() - before < 10


def test_a_process_that_babbles_while_nobody_listens_fills_no_memory(asked):
    """Nobody polls between requests, for days perhaps."""
    babble = 'import sys, os\nsys.stdin.readline()\nprint(\'{"say": "result", "report": {}}\', flush=True)\n'
    asked = asked("-c", babble + "while True: os.write(1, b'hello\\n' * 10000)")
    assert isinstance(asked.ask(TEST), Finished)
    before = resident_mib()
    time.sleep(1)
    assert resident_mib() - before < 10


def test_python_clears_away_only_where_slicer_asks_however_much_a_process_says(asked, request_here):
    """In another thread it would clear away Qt's objects, too, and Slicer would be gone."""
    chatter = (
        "import sys\n"
        "ready, progress, result = sys.argv[1:]\n"
        "print(ready, flush=True)\n"
        "while request := sys.stdin.readline():\n"
        "    for _ in range(100):\n"
        "        print(progress, flush=True)\n"
        "        print('so many words', file=sys.stderr, flush=True)\n"
        "    print(result, flush=True)\n"
    )
    said = (Ready(VERSION), Progress("computing", 0.5), Finished({"many": ["words"] * 5000}))
    asked = asked("-c", chatter, *(encode(message).strip() for message in said))
    asked.ask(request_here)
    threads, thresholds = set(), gc.get_threshold()

    def keep_thread(phase: str, info: dict) -> None:
        threads.add(threading.get_ident())

    gc.callbacks.append(keep_thread)
    gc.set_threshold(1)
    try:
        assert asked.ask(replace(request_here, image="v" * 100_000)) == said[-1]
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(keep_thread)
    assert threads == {threading.get_ident()}


# It hangs.


def test_a_stopped_process_is_ended_and_the_next_request_works(scripted, request_here):
    asked = scripted(scripted_worker.is_stopped)
    asked.client.SILENT_SECONDS = 1.0
    asked.client.send(request_here, asked.events.append)
    process = asked.client._process
    asked.wait()
    (failed,) = asked.events
    assert failed.kind == "no_answer" and failed.sentence.endswith(".")
    assert process.poll() == -signal.SIGKILL
    assert isinstance(asked.ask(request_here), Finished)


def test_a_long_computation_is_no_hang_but_waiting_for_ever_is(asked):
    """Neither says anything; the one uses a processor, the other lives, but will never end."""
    asked = asked(
        *without_torch(
            "until = time.monotonic() + 4\n"
            "    while request.device == 'cuda' and time.monotonic() < until: pass\n"
            "    if request.device == 'mps': time.sleep(1000)"
        )
    )
    assert isinstance(asked.ask(TEST), Finished)
    asked.client.SILENT_SECONDS = 2.0
    assert isinstance(asked.ask(OTHER_TEST), Finished)
    assert asked.ask(THIRD_TEST).kind == "no_answer"


def test_a_computer_that_slept_is_no_hang(scripted, request_here, monkeypatch):
    """Between two looks a night passed, by the clock of systems where it goes on during sleep."""
    asked = scripted(scripted_worker.is_stopped)
    asked.client.send(request_here, asked.events.append)
    asked.client.poll()
    tomorrow = time.monotonic() + 8 * 3600
    monkeypatch.setattr(time, "monotonic", lambda: tomorrow)
    asked.client.poll()
    assert asked.client.busy and asked.events == []


# It does not start.


def test_one_that_cannot_start_says_where_to_look(asked):
    asked = asked("-c", "import no_such_library")
    told = []
    asked.client.did_not_load.connect(lambda: told.append(asked.client.busy))
    failed = asked.ask(TEST)
    assert told == [False]
    assert failed.kind == "worker_died" and "Set-up" in failed.sentence
    assert "Exit code 1" in failed.detail and "no_such_library" in failed.detail


def test_after_a_missing_library_was_installed_the_next_request_works(asked, tmp_path):
    installed = tmp_path / "installed"
    real = without_torch("pass")[1]
    missing = f"import sys, pathlib\nif not pathlib.Path({str(installed)!r}).exists(): sys.modules['torch'] = None\n"
    asked = asked("-c", missing + real.replace("sys.modules[", "if 'torch' not in sys.modules: sys.modules[", 1))
    failed = asked.ask(TEST)
    assert failed.kind == "not_installed" and "torch" in failed.sentence
    installed.touch()
    assert isinstance(asked.ask(TEST), Finished)


# Its input.


@pytest.mark.parametrize(
    ("rubbish", "answers"),
    [
        (b"\xff\xfe\x00\n", ["ready"]),
        (b'[1, 2\n{"say": "ready", "version": "9"}\n\n', ["ready", "error", "error", "error", "result"]),
    ],
    ids=["no text", "no requests"],
)
def test_rubbish_on_its_input_is_refused_or_ends_it(rubbish, answers):
    from HipICMSCLib.gui.running.worker_client import _LIBRARY_FOLDER

    environment = os.environ | {"PYTHONPATH": str(_LIBRARY_FOLDER), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, *without_torch("pass")]
    done = subprocess.run(
        command, input=rubbish + encode(TEST).encode(), capture_output=True, env=environment, timeout=60
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [line["say"] for line in said if line["say"] != "alive"] == answers
    assert all(line["kind"] == "bad_message" for line in said if line["say"] == "error")


# Memory.


def test_what_fails_unexpectedly_is_named_and_a_full_disk_is_no_surprise(tmp_path):
    from HipICMSCLib.worker.__main__ import _said_of

    assert _said_of(KeyError("x"), "The export") == (
        "unexpected", "The export failed unexpectedly (KeyError); the details say more.",
    )  # fmt: skip
    kind, sentence = _said_of(OSError(errno.ENOSPC, "No space left", str(tmp_path / "a.dcm")), "The export")
    assert kind == "disk_full" and str(tmp_path) in sentence


@pytest.mark.parametrize(
    ("error", "where"),
    [
        ("torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')", "graphics card"),
        ("RuntimeError('CUDA error: out of memory')", "graphics card"),
        ("RuntimeError('cuDNN error: CUDNN_STATUS_ALLOC_FAILED')", "graphics card"),
        ("RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`')", "graphics card"),
        ("RuntimeError('MPS backend out of memory (MPS allocated: 9 GB)')", "graphics card"),
        ('RuntimeError("DefaultCPUAllocator: can\'t allocate memory: you tried to allocate 9 bytes")', "computer"),
        ("RuntimeError('Failed to allocate memory for image.')", "computer"),
        ("MemoryError()", "computer"),
    ],
)
def test_memory_that_is_out_is_told_apart_by_whose_it_is(error, where):
    """Without a graphics card, what PyTorch says where there is one must do."""
    import torch
    from HipICMSCLib.worker.__main__ import _said_of

    kind, sentence = _said_of(eval(error, {"torch": torch}), "The segmentation")
    assert kind == "out_of_memory" and where in sentence and sentence.endswith(".")


def test_a_card_that_another_process_has_filled_leaves_the_processor():
    """The weights themselves find no room on it."""
    import torch
    from HipICMSCLib.networks.inference import SliceInference

    class Full(torch.nn.Conv2d):
        def to(self, device=None, **options):
            if torch.device(device or "cpu").type == "cuda":
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            return super().to(device, **options) if device else super().to(**options)

    inference = SliceInference(Full(1, 3, 1), torch.device("cuda"))
    assert inference.device.type == "cpu" and len(inference.fallbacks) == 1 and "CPU" in inference.fallbacks[0]


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
def test_a_volume_too_large_for_the_computer_is_said_and_the_next_one_is_segmented(asked, ball_model, tmp_path):
    """The system gives the worker no more than 400 MiB beside what it holds when it is ready."""
    small, large = tmp_path / "small.nrrd", tmp_path / "large.nrrd"
    sitk.WriteImage(ball_hips.ball_image(), str(small))
    large.write_text(
        "NRRD0004\ntype: double\ndimension: 3\nspace: left-posterior-superior\nsizes: 400 400 400\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nkinds: domain domain domain\nendian: little\nencoding: raw\n"
        "space origin: (0,0,0)\n\n"
    )
    os.truncate(large, large.stat().st_size + 8 * 400**3)
    limit = (
        "import resource, HipICMSCLib.results.report\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "most = pages * resource.getpagesize() + 400 * 2**20\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))"
    )
    asked = asked("-c", REAL.format(change=limit))
    out = tmp_path / "out"
    out.mkdir()

    def segment(volume: Path):
        return asked.ask(
            SegmentRequest(str(volume), str(out / "r.nrrd"), str(ball_model), str(out / "cancel"), "", "cpu", HEADS)
        )

    failed = segment(large)
    assert failed.kind == "out_of_memory" and "memory" in failed.sentence, failed
    assert os.listdir(out) == []
    assert isinstance(segment(small), Finished)


# Killed in each stage of a real segmentation.


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_killed_in_each_stage_it_leaves_nothing_and_the_next_request_works(asked, ball_model, tmp_path, number):
    from HipICMSCLib.engine import STAGES

    stage, out = list(STAGES)[number], tmp_path / "out"
    out.mkdir()
    volume = tmp_path / "balls.nrrd"
    sitk.WriteImage(ball_hips.ball_image(), str(volume))
    request = SegmentRequest(str(volume), str(out / "r.nrrd"), str(ball_model), str(out / "cancel"), "", "cpu", HEADS)
    asked, told = asked(), []

    def kill_there(event) -> None:
        told.append(event)
        if isinstance(event, Progress) and event.stage == stage:
            asked.client._process.kill()

    asked.client.send(request, kill_there)
    asked.wait()
    assert [event.kind for event in told if isinstance(event, Failed)] == ["worker_died"]
    assert not any(isinstance(event, Finished) for event in told)
    assert isinstance(asked.ask(request), Finished)


def test_an_idle_worker_that_was_killed_is_not_even_noticed(scripted, request_here):
    asked = scripted(scripted_worker.work)
    assert isinstance(asked.ask(request_here), Finished)
    asked.client._process.kill()
    asked.client._process.wait()
    assert isinstance(asked.ask(request_here), Finished)


def test_after_an_unforeseen_failure_another_process_is_asked(scripted, request_here):
    asked = scripted(scripted_worker.fails_in_a_way_that_nobody_foresaw)
    assert asked.ask(request_here).kind == "unexpected"
    assert isinstance(asked.ask(request_here), Finished)


def test_a_listener_that_fails_keeps_nobody_else_from_being_answered(scripted, request_here):
    asked, wanted = scripted(scripted_worker.work), []

    def fail(event) -> None:
        if isinstance(event, Finished):
            raise ValueError("a mistake of the panel's")

    asked.client.send(request_here, fail)
    asked.client.send(request_here, wanted.append)
    with pytest.raises(ValueError, match="mistake"):
        asked.wait()
    asked.wait()
    assert isinstance(wanted[-1], Finished)


def resident_mib() -> float:
    """Of this process; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0.0
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
