"""Everything that HipICMSC does works where there is no network, and nothing so much as tries to reach it. The one
exception is the installation of PyTorch, which a user asks for in the panel (see test_dangerous_calls)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk
from ball_hips import ball_image
from tiny_training import TinyData, set_arguments

#: Python loads it at its start, in every child process: whatever touches the network is written down and fails.
SITECUSTOMIZE = """
import os, sys
def refuse(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.", "ssl.")):
        with open(os.environ["NETWORK_LOG"], "a") as log:
            print(event, arguments, file=log)
        raise PermissionError(f"{event}: there is no network")
sys.addaudithook(refuse)
"""

#: All commands, the self-test and the report for a developer, in one process.
WHOLE_PATH = """
import json, sys
from pathlib import Path
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.worker.environment import problems, read_environment
from HipICMSCLib.worker.self_test import self_test
from HipICMSCLib.worker.system_report import report_text
from HipICMSCTrainingLib.cli import main

def do(*arguments):
    assert main(list(map(str, arguments))) == 0, arguments

chosen = json.loads(sys.argv[1])
base = Path(chosen["base"])
do("segment", chosen["image"], "-o", base / "hips.seg.nrrd", "--model", chosen["model"], "--report", base / "r.json")
do("model", "add", chosen["model"])
do("model", "list")
do("model", "show", "balls")
do("model", "remove", "balls")
do("describe")
do("train", base / "run", *chosen["data"], *chosen["settings"])
do("status", base / "run")
do("export", base / "run", "-o", base / "mine.hipmodel", "--weights", "last")
tested = self_test(HipSegmenter(base / "mine.hipmodel"))
environment = read_environment()
print(report_text(environment, problems(environment, "numpy>=1.26"), tested, None, "5.12", "Slicer's own"))
"""

#: What Slicer asks of its worker.
WORKER = """
import json, subprocess, sys
chosen = json.loads(sys.argv[1])
worker = subprocess.Popen([sys.executable, "-m", "HipICMSCLib.worker"], stdin=-1, stdout=-1, encoding="utf-8")
for request in ({"say": "preflight", "image": chosen["image"]}, {"say": "self-test"}):
    worker.stdin.write(json.dumps(request | {"model": chosen["model"]}) + "\\n")
    worker.stdin.flush()
    while (said := json.loads(worker.stdout.readline()))["say"] not in ("result", "error"):
        pass
    assert said["say"] == "result", said
worker.stdin.close()
assert worker.wait(60) == 0
"""


def without_network() -> list[str]:
    """What to begin a command with so that it has no network, where the system lets us; else nothing."""
    for command in (["unshare", "-n"], ["unshare", "-rn"]):
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return []


@pytest.fixture
def forbidden(tmp_path) -> tuple[dict[str, str], Path]:
    """An environment in which Python may not use the network, and the file that says what tried to."""
    folder, log = tmp_path / "site", tmp_path / "network.log"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    paths = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": paths, "NETWORK_LOG": str(log), "PYTHONIOENCODING": "utf-8"}, log


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import urllib.request; urllib.request.urlopen('http://example.invalid')",
        "import socket; socket.getaddrinfo('example.invalid', 80)",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import socket; socket.socket()'], check=True)",
    ],
)
def test_who_tries_to_use_the_network_is_noticed(forbidden, code):
    environment, log = forbidden
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert child.returncode != 0 and "there is no network" in child.stderr and log.read_text()


def test_everything_works_without_a_network_and_nothing_tries_to_use_one(
    forbidden, tiny_data: TinyData, ball_model, tmp_path
):
    environment, log = forbidden
    image = tmp_path / "image.nii.gz"
    sitk.WriteImage(ball_image(spacing=(4.0, 4.0, 5.0)), str(image))
    tiny_data.lend_cache(tmp_path / "run")
    chosen = {
        "base": str(tmp_path),
        "image": str(image),
        "model": str(ball_model),
        "data": tiny_data.arguments,
        "settings": set_arguments(steps_per_epoch=2, stage2_epochs=1),
    }
    environment |= {"HIPICMSC_HOME": str(tmp_path / "home")}
    for code in (WHOLE_PATH, WORKER):
        child = subprocess.run(
            [*without_network(), sys.executable, "-c", code, json.dumps(chosen)],
            env=environment, capture_output=True, encoding="utf-8", timeout=500, check=False,
        )  # fmt: skip
        assert child.returncode == 0, child.stderr[-3000:]
    assert not log.exists(), log.read_text()
    assert (tmp_path / "hips.seg.nrrd").stat().st_size > 1000 and (tmp_path / "mine.hipmodel").is_file()
