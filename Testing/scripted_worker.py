"""Stands in for the worker process, never for our code: it misbehaves at its first request and is a good one then.

    scripted_worker.py HOW FOLDER

HOW is a function of this file. FOLDER holds a result (result.seg.nrrd, confidence.nrrd and report.json) for the good
answers, and gets the mark ``misbehaved``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

FOLDER = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()


def say(what: str, **values) -> None:
    print(json.dumps({"say": what} | values), flush=True)


def work(request: dict) -> None:
    """The usual answer."""
    if request["say"] == "preflight":
        say("result", report={"findings": []})
        return
    say("progress", stage="segmenting", share=0.5)
    write(request)
    say("result", report=report())


def write(request: dict) -> None:
    shutil.copy(FOLDER / "result.seg.nrrd", request["output"])
    if request["confidence"]:
        shutil.copy(FOLDER / "confidence.nrrd", request["confidence"])


def report() -> dict:
    return json.loads((FOLDER / "report.json").read_text())


# What can go wrong.


def dies_at_the_request(request: dict) -> None:
    sys.exit("no memory left")


def is_killed_after_the_result_is_written(request: dict) -> None:
    write(request)
    os.kill(os.getpid(), signal.SIGKILL)


def is_killed_while_the_result_is_written(request: dict) -> None:
    output = Path(request["output"])
    whole = (FOLDER / "result.seg.nrrd").read_bytes()
    output.with_name(f".0123abcd-{output.name}").write_bytes(whole[: len(whole) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


def is_stopped(request: dict) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def closes_its_mouth(request: dict) -> None:
    os.close(1)
    os.close(2)
    time.sleep(60)


def babbles(request: dict) -> None:
    write(request)
    print("Segmentation is fun!", flush=True)
    say("result", report=report())


def says_half_a_line(request: dict) -> None:
    write(request)
    os.write(1, b'{"say": "result", "rep')
    sys.exit()


def says_bytes(request: dict) -> None:
    os.write(1, b"\xff\x00\xfe\n")
    time.sleep(60)


def says_what_nests_without_end(request: dict) -> None:
    print("[" * 100_000, flush=True)
    time.sleep(60)


def says_what_nobody_knows(request: dict) -> None:
    say("explosion")
    time.sleep(60)


def says_a_share_that_is_none(request: dict) -> None:
    say("progress", stage="segmenting", share=float("nan"))
    time.sleep(60)


def babbles_for_ever(request: dict) -> None:
    while True:
        os.write(1, b"x" * 65536)


def is_of_another_version(request: dict) -> None:
    say("ready", version="0.0.1")
    work(request)


def says_a_result_that_is_not_there(request: dict) -> None:
    say("result", report=report())


def says_a_result_whose_map_is_not_there(request: dict) -> None:
    write(request)
    Path(request["confidence"]).unlink()
    say("result", report=report())


def says_a_result_that_is_cut_off(request: dict) -> None:
    write(request)
    with open(request["output"], "r+b") as file:
        file.truncate(2000)
    say("result", report=report())


def says_an_empty_report(request: dict) -> None:
    write(request)
    say("result", report={})


def says_a_report_of_other_types(request: dict) -> None:
    write(request)
    say("result", report=report() | {"date": 7, "doubtful_places": [{"point_lps": "here"}]})


def says_a_look_that_is_none(request: dict) -> None:
    say("result", report={"findings": [{"level": "marvellous"}]})


def says_that_it_failed_twice(request: dict) -> None:
    say("error", kind="no_hip", sentence="There is no hip.")
    say("error", kind="no_hip", sentence="There is no hip.")


def fails_in_a_way_that_nobody_foresaw(request: dict) -> None:
    """As where the driver of a graphics card was reset, which then stays unusable for the process."""
    say("error", kind="unexpected", sentence="The segmentation failed.", detail="CUDA error: unknown error")
    sys.stdin.readline()
    say("error", kind="unexpected", sentence="The segmentation failed.", detail="CUDA error: unknown error")


def floods_what_it_prints(request: dict) -> None:
    """Nothing wrong comes of it."""
    for _ in range(200):
        os.write(2, b"x" * 100_000)
    for _ in range(20_000):
        os.write(2, b"A library has much to say.\n")
    work(request)


if __name__ == "__main__":
    how = globals()[sys.argv[1]]
    mark = FOLDER / "misbehaved"
    for line in sys.stdin:
        if mark.exists():
            how = work
        mark.touch()
        how(json.loads(line))
