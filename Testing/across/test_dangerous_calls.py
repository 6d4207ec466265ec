"""What could run a stranger's code or talk to somebody else does not stand in the product, but for the exceptions that
are listed here with their reasons."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for module in ("HipICMSC", "HipICMSCTraining")
    for path in (REPOSITORY / module).rglob("*.py")
)

#: Libraries that run what they read, or that are there to reach other computers.
FORBIDDEN_MODULES = {
    "aiohttp", "asyncio", "cloudpickle", "code", "dask", "dill", "distributed", "ftplib", "http", "httpx",
    "huggingface_hub", "imaplib", "joblib", "marshal", "pickle", "poplib", "requests", "runpy", "shelve", "smtplib",
    "socket", "socketserver", "ssl", "tarfile", "telnetlib", "torchvision", "urllib", "urllib3", "webbrowser",
    "websockets", "xmlrpc", "yaml", "zipfile", "SampleData",
}  # fmt: skip
#: Of functions that have no module before their name.
FORBIDDEN_BUILTINS = {"eval", "exec", "compile", "__import__"}
#: Of functions and methods, by their last name, whatever they belong to.
FORBIDDEN_CALLS = {
    "popen", "getoutput", "startfile", "execv", "execve", "execvp", "spawnl", "spawnv", "posix_spawn", "import_module",
    "read_pickle", "fromfile", "loadtxt", "genfromtxt", "extractall", "unpack_archive", "load_library", "load_url",
    "download_url_to_file", "downloadFile", "downloadFromURL", "pip_install", "installTorch", "check_call",
    "check_output", "Popen", "openUrl", "QNetworkAccessManager",
}  # fmt: skip

#: (file, what): why it may.
EXCEPTIONS = {
    ("HipICMSC/HipICMSCLib/models/archive.py", "zipfile"): "members are read, within bounds, never unpacked",
    (
        "HipICMSC/HipICMSCLib/reading/text_headers.py",
        "fromfile",
    ): "reads numbers that are written out, as many as are declared",
    ("HipICMSC/HipICMSCLib/batch/cluster.py", "distributed"): "hands volumes to the cluster that a user names",
    ("HipICMSC/HipICMSCLib/batch/cluster.py", "asyncio"): "asks that cluster whether it is there",
    ("HipICMSCTraining/HipICMSCTrainingLib/run/files.py", "zipfile"): "lists the parts of a checkpoint, reads none",
    (
        "HipICMSC/HipICMSCLib/gui/setup/child_process.py",
        "Popen",
    ): "starts our own library as a process, as a list of words",
    ("HipICMSC/HipICMSCLib/gui/setup/child_process.py", "subprocess.run"): "taskkill, to end such a process on Windows",
    (
        "HipICMSC/HipICMSCLib/worker/environment.py",
        "subprocess.run",
    ): "asks nvidia-smi for the driver, tries imports",
    ("HipICMSC/HipICMSCLib/networks/memory.py", "subprocess.run"): "vm_stat, for the free memory on macOS",
    (
        "HipICMSCTraining/HipICMSCTrainingLib/benchmark/row_process.py",
        "Popen",
    ): "trains the rows of a table, each in a process",
    ("HipICMSCTraining/HipICMSCTrainingLib/benchmark/row.py", "subprocess.run"): "git, for the commit of the table",
    ("HipICMSC/HipICMSCLib/gui/setup/installation.py", "pip_install"): "the one download, when the user asks for it",
    ("HipICMSC/HipICMSCLib/gui/setup/installation.py", "installTorch"): "the one download, when the user asks for it",
    (
        "HipICMSC/HipICMSCLib/gui/own_tests.py",
        "pip_install",
    ): "tries, when a tester asks for it, whether what is missing can be had, beside Slicer",
    ("HipICMSC/HipICMSCLib/gui/own_tests.py", "subprocess.run"): "loads what was so installed",
    ("HipICMSC/HipICMSCLib/gui/trial/package.py", "zipfile"): "writes an empty package for that",
    (
        "HipICMSC/HipICMSCLib/gui/scene/sample_data.py",
        "SampleData",
    ): "lists the phantoms, which are made on this computer",
    ("HipICMSCTraining/HipICMSCTrainingLib/gui/panels/runs_panel.py", "openUrl"): "shows a run's folder, a local file",
}


def found_in(tree: ast.AST) -> Iterator[str]:
    """What stands in a source that must not, each by the name that `EXCEPTIONS` uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [name.name for name in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (module.partition(".")[0] for module in modules)
        elif isinstance(node, ast.Call):
            yield from _called(node)


def _called(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    options = {keyword.arg: keyword.value for keyword in call.keywords}
    if isinstance(call.func, ast.Name) and name in FORBIDDEN_BUILTINS:
        yield name
    if last in FORBIDDEN_CALLS:
        yield last
    if name.startswith("subprocess.") and last != "Popen":
        yield name
    if name == "os.system":
        yield name
    if name in ("np.load", "numpy.load") or "pickle_module" in options or "allow_pickle" in options:
        yield "numpy.load"
    if name == "torch.load" and not _is_true(options.get("weights_only")):
        yield "torch.load without weights_only"
    if "shell" in options:
        yield "shell"
    if name.startswith(("torch.hub.", "torch.jit.load", "torch.utils.cpp_extension", "torch.ops.load")):
        yield name


def _is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


def forbidden(source: str) -> set[str]:
    """What stands in the text of a source that must not."""
    calls = {*FORBIDDEN_BUILTINS, *FORBIDDEN_CALLS, "numpy.load", "torch.load without weights_only", "shell"}
    prefixes = ("subprocess.", "torch.", "os.")
    return {
        what for what in found_in(ast.parse(source)) if what in FORBIDDEN_MODULES | calls or what.startswith(prefixes)
    }


def test_the_sources_have_nothing_dangerous_but_the_listed_exceptions():
    assert len(SOURCES) > 100
    found = {(file, what) for file in SOURCES for what in forbidden((REPOSITORY / file).read_text(encoding="utf-8"))}
    assert found == set(EXCEPTIONS)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from urllib.request import urlopen", "def f():\n    import requests as r", "eval('1')",
        "__import__('os')", "torch.load(f)", "torch.load(f, weights_only=False)", "torch.load(f, weights_only=x)",
        "np.load(f)", "x.load(f, allow_pickle=True)", "os.system('ls')", "subprocess.run(a, shell=True)",
        "subprocess.Popen(a)", "importlib.import_module(n)", "torch.hub.load(n)", "import yaml",
    ],
)  # fmt: skip
def test_what_is_dangerous_is_found(source):
    assert forbidden(source)


@pytest.mark.parametrize(
    "source", ["torch.load(f, weights_only=True)", "network.eval()", "re.compile('a')", "json.loads(t)", "import os"]
)
def test_what_is_harmless_is_not(source):
    assert not forbidden(source)
