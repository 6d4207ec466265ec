"""Commands run beside Slicer, with real processes: what they report arrives, and whatever ends them is said once."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from waiting import wait


class Bench:
    """Commands of a stand-in library, whose `cli` the test writes, and what came of them."""

    def __init__(self, application, library: Path) -> None:
        self._application, self._library = application, library
        self.lines: list[dict] = []
        self.ends: list = []

    def start(self, code: str, *arguments: str):
        from HipICMSCTrainingLib.gui.running.command import Command

        (self._library / "cli.py").write_text(textwrap.dedent(code), encoding="utf-8")
        return Command(list(arguments), self.lines.append, self.ends.append)

    def wait(self, until) -> None:
        wait(self._application, until)

    def end(self):
        """What the command ended with, and that it is said only once."""
        self.wait(lambda: self.ends)
        self._let_pass(0.3)
        (end,) = self.ends
        return end

    def _let_pass(self, seconds: float) -> None:
        limit = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > limit)


@pytest.fixture
def commands(bench, tmp_path, monkeypatch) -> Bench:
    from HipICMSCTrainingLib.gui.running import command

    library = tmp_path / "lib" / "HipICMSCTrainingLib"
    library.mkdir(parents=True)
    (library / "__init__.py").touch()
    monkeypatch.setattr(command, "HipICMSCTrainingLib", SimpleNamespace(__file__=str(library / "__init__.py")))
    return Bench(bench[1], library)


def lives(pid: int) -> bool:
    """Whether a process still runs; one that is dead and was not asked for its exit code does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_objects_arrive_in_order_and_the_end_comes_after_the_last_one(commands):
    before_end = []
    commands.start(
        """
        import json, sys
        print(json.dumps({"arguments": sys.argv[1:]}))
        for i in range(500):
            print(json.dumps({"progress": i / 500}))
        print(json.dumps({"report": "größer"}), end="")
        """,
        "check",
        "--dataset",
        "a b.json",
    )
    assert (commands.lines, commands.ends) == ([], []), "nothing is told from the constructor"
    commands.wait(lambda: commands.ends or before_end.append(len(commands.lines)))
    assert commands.end() is None
    assert commands.lines[0] == {"arguments": ["check", "--dataset", "a b.json"]}
    assert [line["progress"] for line in commands.lines[1:-1]] == [i / 500 for i in range(500)]
    assert commands.lines[-1] == {"report": "größer"}


def test_the_real_command_is_run(bench):
    from HipICMSCTrainingLib.gui.running.command import Command

    commands = Bench(bench[1], Path())
    Command(["status", "/nowhere"], commands.lines.append, commands.ends.append)
    error = commands.end()
    assert error.kind == "command_failed" and "/nowhere" in error.sentence
    assert not error.sentence.startswith("hipicmsc")


def test_the_commands_own_sentence_is_handed_on_and_all_else_it_printed_is_detail(commands):
    commands.start(
        """
        import sys
        print("loading libraries, please wait")
        print('{"progress": 0.5}')
        print("[1, 2]")
        print("hipicmsc: an earlier note.", file=sys.stderr)
        print("hipicmsc: The CT ct-001 has no label map.", file=sys.stderr)
        print("RuntimeWarning: something", file=sys.stderr)
        sys.exit(2)
        """
    )
    error = commands.end()
    assert commands.lines == [{"progress": 0.5}]
    assert (error.kind, error.sentence) == ("command_failed", "The CT ct-001 has no label map.")
    for kept in ("Exit code 2", "loading libraries", "[1, 2]", "RuntimeWarning: something"):
        assert kept in error.detail


def test_garbage_alone_does_not_fail_a_command(commands):
    commands.start("import sys; sys.stdout.buffer.write(b'\\xff\\xfe{\\n{\"a\": 1}\\n')")
    assert commands.end() is None and commands.lines == [{"a": 1}]


@pytest.mark.parametrize(
    ("code", "told"),
    [("import os; os._exit(3)", "Exit code 3"), ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "-9")],
    ids=["silently", "killed"],
)
def test_a_process_that_dies_without_a_word_is_said_to_have_died(commands, code, told):
    commands.start(code)
    error = commands.end()
    assert error.kind == "command_died" and "memory" in error.sentence and told in error.detail


def test_a_traceback_is_kept_as_detail(commands):
    commands.start("import torch_that_is_missing")
    error = commands.end()
    assert error.kind == "command_died" and "No module named 'torch_that_is_missing'" in error.detail


TREE = """
import json, subprocess, sys, time, os
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(json.dumps({"pids": [os.getpid(), child.pid]}))
time.sleep(600)
"""


def test_cancelling_ends_the_whole_tree_within_a_second(commands):
    command = commands.start(TREE)
    commands.wait(lambda: commands.lines)
    pids = commands.lines[0]["pids"]
    assert all(map(lives, pids)) and command.running
    began = time.monotonic()
    command.cancel()
    command.cancel()
    assert commands.ends == [], "the caller is told later, not while it cancels"
    commands.wait(lambda: commands.ends and not any(map(lives, pids)))
    assert time.monotonic() - began < 1.0
    assert commands.end().kind == "cancelled" and not command.running


def test_cancelling_from_within_a_line_hands_on_no_further_line(commands):
    command = commands.start("for i in range(9): print('{\"i\": %d}' % i)\nimport time; time.sleep(600)")
    command._on_line = lambda line: (commands.lines.append(line), command.cancel())
    assert commands.end().kind == "cancelled"
    assert commands.lines == [{"i": 0}]


def test_closing_ends_the_tree_and_tells_nobody(commands):
    command = commands.start(TREE)
    commands.wait(lambda: commands.lines)
    command.close()
    commands.wait(lambda: not any(map(lives, commands.lines[0]["pids"])))
    commands._let_pass(0.3)
    assert commands.ends == [] and not command.running


def test_a_process_that_leaves_another_one_behind_ends_all_the_same(commands):
    """The other one holds the pipes open, even from a session of its own."""
    commands.start(
        """
        import json, subprocess, sys
        code = "import time; time.sleep(600)"
        print(json.dumps({"pid": subprocess.Popen([sys.executable, "-c", code], start_new_session=True).pid}))
        """
    )
    commands.wait(lambda: commands.ends)
    os.kill(commands.lines[0]["pid"], 9)
    assert commands.end() is None


def test_an_interpreter_that_cannot_be_started_is_told_as_an_end(commands, tmp_path):
    from HipICMSCLib.gui.setup.installation import set_python_interpreter

    set_python_interpreter(str(tmp_path / "no python"))
    try:
        commands.start("")
    finally:
        set_python_interpreter(None)
    error = commands.end()
    assert error.kind == "not_started" and "no python" in error.detail


def test_the_interpreter_that_the_user_chose_runs_it(commands, tmp_path):
    from HipICMSCLib.gui.setup.installation import set_python_interpreter

    other = tmp_path / "python"
    other.symlink_to(sys.executable)
    set_python_interpreter(str(other))
    try:
        commands.start("import json, sys; print(json.dumps({'python': sys.executable}))")
    finally:
        set_python_interpreter(None)
    assert commands.end() is None
    assert commands.lines == [{"python": str(other)}]
