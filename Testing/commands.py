"""Runs `hipicmsc` as a user calls it, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

#: Most starts would be spent on importing torch, so one process runs several commands, each with its own streams.
_COMMANDS = """
import contextlib, json, os, sys, tempfile
from HipICMSCTrainingLib.cli import main
streams = [os.dup(1), os.dup(2)]
answers = []
for arguments in json.loads(sys.stdin.read()):
    files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
    for number, file in enumerate(files, start=1):
        os.dup2(file.fileno(), number)
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    sys.stdout.flush(), sys.stderr.flush()
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream, number)
    texts = []
    for file in files:
        file.seek(0)
        texts.append(file.read().decode())
    answers.append([code, *texts])
print(json.dumps(answers))
"""


@dataclass(frozen=True)
class Answer:
    code: int
    output: str
    error: str


def run(*arguments: object, before: Callable[[], None] | None = None, prefix: tuple[str, ...] = ()) -> Answer:
    """One command in one process."""
    command = [*prefix, sys.executable, "-m", "HipICMSCTrainingLib.cli", *map(str, arguments)]
    child = subprocess.run(command, capture_output=True, text=True, preexec_fn=before, check=False)
    return Answer(child.returncode, child.stdout, child.stderr)


def run_all(commands: list[list[object]]) -> list[Answer]:
    """Several commands, one after the other, in one process."""
    child = subprocess.run(
        [sys.executable, "-c", _COMMANDS],
        input=json.dumps([[str(argument) for argument in command] for command in commands]),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [Answer(*answer) for answer in json.loads(child.stdout)]
