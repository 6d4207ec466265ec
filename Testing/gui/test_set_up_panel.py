"""The section "Set-up": it finds out what is missing, installs it only when asked, and says what it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import fake_site
import pytest
import slicer_stand_ins
from ball_panel import add_volume
from HipICMSCLib.common.errors import HipError
from section import picture_of
from waiting import wait

RESOURCES = slicer_stand_ins.module_file("HipICMSC").parent / "Resources"
LIBRARY = slicer_stand_ins.module_file("HipICMSC").parent
REPORT = {
    "versions": {"HipICMSC": "0.1.0", "torch": "2.6.0"},
    "devices": ["cpu"],
    "device": "cpu",
    "precision": "fp32",
    "model": {"name": "hip-t1-mri", "sha256": "ab12"},
    "seconds_per_slice": 0.1234,
    "fallbacks": [],
}


class SetUp:
    """The section as the module opens it, and everything it told."""

    def __init__(self, application) -> None:
        from HipICMSCLib.gui.panels.set_up_panel import SetUpPanel

        self._application = application
        self.told: list[str] = []
        self.self_test = lambda on_report, on_error: None
        self.panel = SetUpPanel(lambda name: str(RESOURCES / name), lambda *answers: self.self_test(*answers))
        self.ui = self.panel.ui
        for name in ("checked", "about_to_install", "changed"):
            getattr(self.panel, name).connect(lambda name=name: self.told.append(name))

    def wait(self, until=None) -> None:
        """Until the interpreter was looked at, or something else is so."""
        wait(self._application, until or (lambda: self.panel._reading is None))

    def choose(self, path: Path | str) -> None:
        """Type a path, letter by letter as the widget tells it, and wait until it was tried."""
        for end in range(1, len(str(path)) + 1):
            self.ui.setUpInterpreterEdit.currentPath = str(path)[:end]
        self.wait(lambda: not self.panel._typing._timer.isActive())
        self.wait()

    def picture(self, path: Path) -> None:
        picture_of(self._application, self.panel.widget, path, 420)


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """The packages of Slicer's Python: none but those a test puts here; and no driver of a graphics card."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "executable", str(fake_site.write_interpreter(tmp_path / "PythonSlicer", folder)))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return folder


@pytest.fixture
def open_set_up(bench):
    import qt

    opened = []

    def open_panel() -> SetUp:
        opened.append(SetUp(bench[1]))
        return opened[-1]

    yield open_panel
    for set_up in opened:
        set_up.panel.close()
    qt.QSettings.values.clear()


@pytest.fixture
def set_up(site, open_set_up) -> SetUp:
    """Opened on a Python that has everything."""
    fake_site.add_everything(site)
    opened = open_set_up()
    opened.wait()
    return opened


@pytest.fixture
def dialogs(bench, monkeypatch) -> list[str]:
    """What Slicer asked the user; the answer is yes until a test puts something else into ``answer``."""
    import slicer

    class Asked(list):
        answer = True

    asked = Asked()

    def ask(text, *arguments, **keywords) -> bool:
        asked.append(text)
        return asked.answer

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", ask)
    return asked


@pytest.fixture
def installer(site, monkeypatch) -> list:
    """PyTorchUtils, slicer.packaging and Slicer's pip: what they were asked for; they install into ``site``."""
    import slicer

    calls = []

    class PyTorchUtilsLogic:
        def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
            calls.append(("installTorch", askConfirmation, torchVersionRequirement))
            fake_site.add_torch(site, "2.7.0+cu128", cuda="12.8")
            return ModuleType("torch")

        def uninstallTorch(self):
            calls.append(("uninstallTorch",))
            remove("torch")

    def remove(name: str) -> None:
        for path in [*site.glob(f"{name.replace('-', '_')}-*.dist-info"), site / fake_site.MODULES[name]]:
            subprocess.run(["rm", "-rf", str(path)], check=True)

    def pip_ensure(requirements, requester=None):
        calls.append(("pip_ensure", requirements, requester))
        for name in ("scikit-image", "safetensors"):
            if not list(site.glob(f"{name.replace('-', '_')}-*.dist-info")):
                fake_site.add_package(site, name, "1.0")

    def pip_uninstall(names):
        calls.append(("pip_uninstall", names))
        for name in names:
            remove(name)

    modules = ModuleType("PyTorchUtils"), ModuleType("slicer.packaging")
    modules[0].PyTorchUtilsLogic = PyTorchUtilsLogic
    modules[1].load_requirements = lambda path: Path(path).name
    modules[1].pip_ensure = pip_ensure
    for module in modules:
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(slicer, "packaging", modules[1], raising=False)
    monkeypatch.setattr(slicer.util, "pip_uninstall", pip_uninstall)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    return calls


def press(set_up: SetUp, name: str) -> None:
    button = getattr(set_up.ui, name)
    assert button.enabled, button.toolTip
    button.click()
    set_up.wait()


# What is there.


def test_a_complete_python_leaves_the_section_closed(set_up, pictures):
    assert set_up.panel.problems == () and set_up.panel.blocking_sentence() == ""
    assert set_up.panel.widget.collapsed
    assert set_up.told == ["checked"]
    assert set_up.ui.setUpStateLabel.text.startswith("Fine: Python 3.")
    assert "PyTorch 2.6.0" in set_up.ui.setUpStateLabel.text
    assert not set_up.ui.setUpInstallButton.enabled and "Nothing" in set_up.ui.setUpInstallButton.toolTip
    assert not set_up.ui.setUpOwnPythonButton.enabled and "already" in set_up.ui.setUpOwnPythonButton.toolTip
    set_up.panel.widget.collapsed = False
    set_up.picture(pictures / "set-up-complete.png")


def test_nothing_is_known_and_nothing_blocked_before_the_python_answers(site, open_set_up):
    set_up = open_set_up()
    assert set_up.panel.blocking_sentence() == "" and set_up.told == []
    for name in ("setUpInstallButton", "setUpSelfTestButton", "setUpCheckButton"):
        button = getattr(set_up.ui, name)
        assert not button.enabled and "looked at" in button.toolTip
    set_up.wait()


def test_what_is_missing_opens_the_section_and_is_said(site, open_set_up, pictures):
    fake_site.add_everything(site, besides=("torch", "scikit-image"))
    set_up = open_set_up()
    set_up.wait()
    assert [problem.subject for problem in set_up.panel.problems] == ["torch", "scikit-image"]
    assert not set_up.panel.widget.collapsed
    assert set_up.panel.blocking_sentence() == "PyTorch is not installed."
    assert set_up.ui.setUpStateLabel.text.splitlines()[:2] == [
        "Stop: PyTorch is not installed.",
        "Stop: scikit-image is not installed.",
    ]
    assert set_up.ui.setUpInstallButton.enabled
    assert not set_up.ui.setUpSelfTestButton.enabled and "PyTorch" in set_up.ui.setUpSelfTestButton.toolTip
    set_up.picture(pictures / "set-up-missing.png")


def test_a_cpu_torch_beside_a_graphics_card_blocks_nothing(site, open_set_up, tmp_path, pictures):
    fake_site.add_everything(site, besides=("torch",))
    fake_site.add_torch(site, "2.6.0+cpu")
    fake_site.write_nvidia_smi(tmp_path / "bin")
    set_up = open_set_up()
    set_up.wait()
    assert [problem.kind for problem in set_up.panel.problems] == ["cpu_torch"]
    assert set_up.panel.blocking_sentence() == "" and set_up.panel.widget.collapsed
    assert set_up.ui.setUpSelfTestButton.enabled and set_up.ui.setUpInstallButton.enabled
    set_up.panel.widget.collapsed = False
    set_up.picture(pictures / "set-up-cpu-torch.png")


# Installing.


def test_one_button_installs_everything_and_the_worker_is_told(site, open_set_up, installer, dialogs, pictures):
    fake_site.add_everything(site, besides=("torch", "scikit-image", "safetensors"))
    set_up = open_set_up()
    set_up.wait()
    assert installer == [] and dialogs == []  # nothing unasked
    set_up.told.clear()
    press(set_up, "setUpInstallButton")
    assert installer == [("pip_ensure", "HipICMSC-requirements.txt", "HipICMSC"), ("installTorch", True, ">=2.5")]
    assert dialogs == []  # both ask themselves
    assert set_up.panel.problems == () and set_up.panel.blocking_sentence() == ""
    assert set_up.told == ["about_to_install", "checked", "changed"]
    assert set_up.ui.setUpResultLabel.text.startswith("Installed: scikit-image, safetensors, PyTorch.")
    assert "restart Slicer" in set_up.ui.setUpResultLabel.text
    set_up.picture(pictures / "set-up-installed.png")


def test_an_older_pytorch_extension_gets_only_what_it_knows_and_slicer_asks_instead(
    site, open_set_up, installer, dialogs, monkeypatch
):
    fake_site.add_everything(site, besides=("torch",))

    def install_torch(self):
        installer.append("installTorch()")
        fake_site.add_torch(site, "2.6.0", cuda="12.4")
        return ModuleType("torch")

    monkeypatch.setattr(sys.modules["PyTorchUtils"].PyTorchUtilsLogic, "installTorch", install_torch)
    set_up = open_set_up()
    set_up.wait()
    press(set_up, "setUpInstallButton")
    assert installer == ["installTorch()"] and len(dialogs) == 1 and "downloaded" in dialogs[0]
    assert set_up.panel.problems == ()


def test_who_declines_reads_a_sentence_and_nothing_is_changed(site, open_set_up, installer, dialogs, monkeypatch):
    fake_site.add_everything(site, besides=("torch", "safetensors"))

    def declined(*arguments, **keywords):
        raise RuntimeError("User declined package installation")

    monkeypatch.setattr(sys.modules["slicer.packaging"], "pip_ensure", declined)
    logic = sys.modules["PyTorchUtils"].PyTorchUtilsLogic
    monkeypatch.setattr(logic, "installTorch", lambda self, askConfirmation, torchVersionRequirement: None)
    set_up = open_set_up()
    set_up.wait()
    set_up.told.clear()
    press(set_up, "setUpInstallButton")
    assert set_up.ui.setUpResultLabel.text == "Nothing was installed, as you wished."
    assert set_up.told == ["about_to_install", "checked"] and len(set_up.panel.problems) == 2
    assert set_up.panel.last_error_kind is None


def test_a_half_installation_is_removed_before_it_is_installed_again(site, open_set_up, installer, dialogs):
    fake_site.add_everything(site, besides=("torch", "scikit-image"))
    fake_site.add_record(site, "torch", "2.6.0")
    fake_site.add_record(site, "scikit-image", "0.24.0")
    set_up = open_set_up()
    set_up.wait()
    assert [problem.kind for problem in set_up.panel.problems] == ["broken", "broken"]
    dialogs.answer = False
    press(set_up, "setUpInstallButton")
    assert installer == [] and len(dialogs) == 2
    dialogs.answer = True
    press(set_up, "setUpInstallButton")
    assert [call[0] for call in installer] == ["pip_uninstall", "pip_ensure", "uninstallTorch", "installTorch"]
    assert installer[0][1] == ["scikit-image"] and installer[3][1] is False  # asked already
    assert set_up.panel.problems == ()


def test_a_cpu_torch_is_replaced_only_after_a_question_that_says_so(site, open_set_up, installer, dialogs, tmp_path):
    fake_site.add_everything(site, besides=("torch",))
    fake_site.add_torch(site, "2.6.0+cpu")
    fake_site.write_nvidia_smi(tmp_path / "bin")
    set_up = open_set_up()
    set_up.wait()
    press(set_up, "setUpInstallButton")
    assert len(dialogs) == 1 and "NVIDIA H100" in dialogs[0] and "removed" in dialogs[0]
    assert [call[0] for call in installer] == ["uninstallTorch", "installTorch"]
    assert set_up.panel.problems == ()


def test_a_torch_that_slicer_has_loaded_is_not_replaced(site, open_set_up, installer, dialogs, monkeypatch):
    fake_site.add_everything(site, besides=("torch",))
    fake_site.add_torch(site, "2.3.0", cuda="12.1")
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    set_up = open_set_up()
    set_up.wait()
    press(set_up, "setUpInstallButton")
    assert installer == [] and "restart Slicer" in set_up.ui.setUpResultLabel.text
    assert set_up.panel.last_error_kind == "torch_in_use"


def test_without_the_pytorch_extension_its_name_and_place_are_told(site, open_set_up, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    fake_site.add_everything(site, besides=("torch",))
    set_up = open_set_up()
    set_up.wait()
    press(set_up, "setUpInstallButton")
    assert "extension PyTorch" in set_up.ui.setUpResultLabel.text
    assert "Extensions Manager" in set_up.ui.setUpResultLabel.text
    assert set_up.panel.last_error_kind == "no_pytorch_extension"


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (subprocess.CalledProcessError(1, "pip", output="Could not connect to proxy"), "HTTPS_PROXY"),
        (RuntimeError("PythonSlicer executable not found"), "restart Slicer"),
        (OSError("[WinError 126] c10.dll"), "restart Slicer"),
    ],
)
def test_an_installation_that_fails_is_one_sentence(site, open_set_up, installer, monkeypatch, raised, said):
    fake_site.add_everything(site, besides=("safetensors",))

    def fail(*arguments, **keywords):
        raise raised

    monkeypatch.setattr(sys.modules["slicer.packaging"], "pip_ensure", fail)
    set_up = open_set_up()
    set_up.wait()
    press(set_up, "setUpInstallButton")
    label = set_up.ui.setUpResultLabel
    assert label.text.startswith("safetensors could not be installed") and said in label.text
    assert (getattr(raised, "output", None) or str(raised)) in label.toolTip
    assert set_up.panel.last_error_kind == "install_failed" and set_up.ui.setUpInstallButton.enabled


def test_before_slicer_5_12_slicer_asks_and_pip_installs(site, open_set_up, installer, dialogs, monkeypatch):
    import slicer

    fake_site.add_everything(site, besides=("safetensors",))
    monkeypatch.delattr(slicer, "packaging")
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.setattr(slicer.util, "pip_install", lambda wanted: installer.append(("pip_install", wanted)))
    set_up = open_set_up()
    set_up.wait()
    dialogs.answer = False
    press(set_up, "setUpInstallButton")
    assert installer == []
    dialogs.answer = True
    press(set_up, "setUpInstallButton")
    assert installer == [("pip_install", ["safetensors>=0.4.3"])] and "safetensors" in dialogs[0]


# What is there, but does not work.


def test_what_cannot_be_loaded_is_found_when_a_segmentation_fails_and_can_be_installed_again(
    own_worker, tmp_path, monkeypatch, open_panel, ball_model, installer, dialogs, pictures
):
    """With the real worker and the real packages, one of which does not load."""
    from HipICMSCLib.models import chosen

    broken = tmp_path / "broken"
    fake_site.add_module(
        broken, "safetensors", "raise ImportError('DLL load failed while importing _safetensors_rust')"
    )
    command = f'PYTHONPATH="{broken}:$PYTHONPATH" exec "{fake_site.PYTHON}" "$@"'
    monkeypatch.setattr(sys, "executable", str(fake_site.write_program(tmp_path / "PythonSlicer", command)))
    monkeypatch.setattr(chosen, "_SHIPPED", (ball_model.parent,))
    panel = open_panel("HipICMSC")
    panel.logic.getParameterNode().model = "balls"
    set_up = panel.widget.panel.set_up_panel
    panel.wait(lambda: set_up._reading is None)
    assert set_up.problems == () and set_up.widget.collapsed, "it looks whole"
    add_volume()
    panel.wait(lambda: set_up.problems)
    sentence = "safetensors is installed, but cannot be loaded; it must be installed again."
    assert [problem.sentence for problem in set_up.problems] == [sentence]
    assert not set_up.widget.collapsed and panel.ui.setUpStateLabel.text.startswith(f"Stop: {sentence}")
    panel.wait(lambda: panel.widget.panel.card.stop() is not None)
    assert panel.widget.panel.card.stop().sentence == sentence
    assert panel.ui.preflightRemedyButton.text == "&Install what is missing…"
    panel.picture(pictures / "set-up-not-loaded.png")
    monkeypatch.setattr(sys, "executable", fake_site.PYTHON)
    panel.ui.preflightRemedyButton.click()
    assert installer[0] == ("pip_uninstall", ["safetensors"]) and installer[1][0] == "pip_ensure"
    panel.wait(lambda: set_up._reading is None)
    assert set_up.problems == ()


def test_a_broken_version_is_said_and_the_section_goes_on(site, open_set_up):
    fake_site.add_everything(site, besides=("scikit-image",))
    fake_site.add_package(site, "scikit-image", "0.x")
    set_up = open_set_up()
    set_up.wait()
    assert "its version, 0.x, is none" in set_up.ui.setUpStateLabel.text and set_up.ui.setUpInstallButton.enabled


# Without a network: the real pip, as Slicer calls it.


@pytest.fixture
def silent_server():
    """Takes connections and never says a word."""
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HTTPS_PROXY": "http://me:secret@127.0.0.1:9"}, ("through the proxy 127.0.0.1:9",)),
        ({"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}, ("no proxy is set (HTTPS_PROXY)", "asked for at 127.0.0.1:9")),
        ({"HTTPS_PROXY": "http://{silent}", "PIP_TIMEOUT": "1"}, ("through the proxy 127.0.0.1:",)),
    ],
    ids=["dead proxy", "no index", "silent proxy"],
)
def test_without_a_network_an_installation_soon_ends_in_a_sentence(
    site, open_set_up, dialogs, monkeypatch, silent_server, tmp_path, settings, said
):
    import slicer

    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name, value in settings.items():
        monkeypatch.setenv(name, value.format(silent=silent_server))
    pip = [fake_site.PYTHON, "-m", "pip", "install", "--no-cache-dir", "--target", str(tmp_path / "target")]
    monkeypatch.setattr(slicer.util, "pip_install", lambda wanted: subprocess.run([*pip, *wanted], check=True))
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.delattr(slicer, "packaging", raising=False)
    fake_site.add_everything(site, besides=("safetensors",))
    set_up = open_set_up()
    set_up.wait()
    before, started = dict(os.environ), time.monotonic()
    press(set_up, "setUpInstallButton")
    assert time.monotonic() - started < 40 and dict(os.environ) == before
    text = set_up.ui.setUpResultLabel.text
    assert text.startswith("safetensors could not be installed") and "secret" not in text
    assert all(words in text for words in said)
    assert "Try again when it has one, or choose a Python that has them" in text
    assert set_up.ui.setUpStateLabel.text.startswith("Stop: safetensors is not installed.")
    assert set_up.ui.setUpInstallButton.enabled and not (tmp_path / "target").exists()


# Another interpreter.


def test_another_interpreter_is_tried_before_it_is_taken(set_up, tmp_path, pictures):
    from HipICMSCLib.gui.setup.installation import python_interpreter

    other_site = tmp_path / "other"
    fake_site.add_everything(other_site, besides=("safetensors",))
    other = fake_site.write_interpreter(tmp_path / "my python", other_site)
    set_up.told.clear()
    set_up.choose(other)
    assert python_interpreter() == str(other) and set_up.told == ["checked", "changed"]
    assert [problem.subject for problem in set_up.panel.problems] == ["safetensors"]
    # We install into Slicer's Python only; for another one the user reads what to type.
    assert not set_up.ui.setUpInstallButton.enabled
    for text in (set_up.ui.setUpInstallButton.toolTip, set_up.ui.setUpStateLabel.text):
        assert text.endswith(f'"{other}" -m pip install "safetensors>=0.4.3"')
    assert set_up.ui.setUpInterpreterLabel.text == f"In use: {other}."
    set_up.panel.widget.collapsed = False
    set_up.picture(pictures / "set-up-other-interpreter.png")
    fake_site.add_package(other_site, "safetensors", "0.5.0")
    press(set_up, "setUpCheckButton")
    assert set_up.panel.problems == () and set_up.told[-1] == "changed"
    press(set_up, "setUpOwnPythonButton")
    assert python_interpreter() is None and set_up.ui.setUpInterpreterEdit.currentPath == ""
    assert set_up.told[-1] == "changed" and "Slicer's own" in set_up.ui.setUpInterpreterLabel.text


@pytest.mark.parametrize("script", ["echo Hello", "exit 3", 'echo \'{"python": "3.12.0"}\''])
def test_what_is_no_python_is_refused_and_the_old_one_kept(set_up, tmp_path, script, pictures):
    from HipICMSCLib.gui.setup.installation import python_interpreter

    set_up.told.clear()
    set_up.choose(fake_site.write_program(tmp_path / "program", script))
    assert python_interpreter() is None and set_up.told == [] and set_up.panel.problems == ()
    assert "no Python interpreter" in set_up.ui.setUpInterpreterLabel.text
    assert "Slicer's own Python" in set_up.ui.setUpInterpreterLabel.text
    assert set_up.panel.last_error_kind == "not_an_interpreter"
    assert set_up.ui.setUpOwnPythonButton.enabled
    set_up.panel.widget.collapsed = False
    set_up.picture(pictures / "set-up-refused.png")


def test_a_program_that_never_answers_is_given_up(set_up, tmp_path, monkeypatch):
    from HipICMSCLib.gui.setup.environment_reading import EnvironmentReading

    monkeypatch.setattr(EnvironmentReading, "SECONDS", 0.5)
    pid = tmp_path / "pid"
    set_up.choose(fake_site.write_program(tmp_path / "program", f"echo $$ > {pid}; exec sleep 600"))
    assert "does not answer" in set_up.ui.setUpInterpreterLabel.text
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_file_that_is_no_program_or_no_file_is_refused(set_up, tmp_path):
    (tmp_path / "text").write_text("hello")
    for path in (tmp_path / "text", tmp_path / "absent"):
        set_up.choose(path)
        assert set_up.panel.last_error_kind == "not_an_interpreter"
        assert set_up.panel.blocking_sentence() == ""


def test_an_interpreter_that_has_vanished_since_is_said_at_once(site, open_set_up, tmp_path):
    import qt

    qt.QSettings().setValue("HipICMSC/PythonInterpreter", str(tmp_path / "gone"))
    fake_site.add_everything(site)
    set_up = open_set_up()
    assert "cannot be started" in set_up.panel.blocking_sentence()
    assert not set_up.panel.widget.collapsed
    press(set_up, "setUpOwnPythonButton")
    assert set_up.panel.blocking_sentence() == "" and set_up.panel.problems == ()


def test_another_interpreter_does_not_get_slicers_environment(bench, tmp_path, monkeypatch):
    """Slicer's variables would make it load Slicer's Python and libraries; our library it must find."""
    from HipICMSCLib.gui.setup.child_process import start_connected, start_detached

    slicers = {"PYTHONHOME": "/slicer", "LD_LIBRARY_PATH": "/slicer/lib", "QT_PLUGIN_PATH": "/slicer/plugins"}
    for name, value in slicers.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", "/slicer/bin/Python")
    other = fake_site.write_program(tmp_path / "python", f'exec "{sys.executable}" "$@"')
    show = "import json, os, HipICMSCLib; print(json.dumps(dict(os.environ)))"

    process = start_connected(["-c", show], [LIBRARY], str(other))
    connected = json.loads(process.communicate()[0])
    process = start_detached(["-c", show], [LIBRARY], tmp_path / "log", str(other))
    process.wait()
    for environment in (connected, json.loads((tmp_path / "log").read_text())):
        assert not slicers.keys() & environment.keys()
        assert "/slicer" not in environment["PYTHONPATH"]
        assert "PYTHONNOUSERSITE" not in environment  # it finds what its owner installed


def test_slicers_own_python_keeps_slicers_environment(bench, monkeypatch):
    from HipICMSCLib.gui.setup.child_process import start_connected

    monkeypatch.setenv("QT_PLUGIN_PATH", "/slicer/plugins")
    show = "import json, os, sys, HipICMSCLib; print(json.dumps([sys.executable, dict(os.environ)]))"
    executable, environment = json.loads(start_connected(["-c", show], [LIBRARY]).communicate()[0])
    assert executable == sys.executable
    assert environment["QT_PLUGIN_PATH"] == "/slicer/plugins" and environment["PYTHONNOUSERSITE"] == "1"


# Self-test and report.


def test_the_self_test_says_that_it_runs_and_what_came_of_it(set_up, pictures):
    answers = []
    set_up.self_test = lambda *given: answers.append(given)
    set_up.ui.setUpSelfTestButton.click()
    button = set_up.ui.setUpSelfTestButton
    assert not button.enabled and button.toolTip == "The self-test is running."
    answers[0][0](REPORT)
    assert button.enabled
    assert set_up.ui.setUpResultLabel.text == ("The self-test passed: hip-t1-mri needs 0.12 s a slice on cpu (fp32).")
    set_up.panel.widget.collapsed = False
    set_up.picture(pictures / "set-up-self-test.png")
    set_up.ui.setUpSelfTestButton.click()
    answers[1][1](HipError("worker_died", "The segmentation process ended unexpectedly.", "Exit code -9."))
    assert button.enabled and set_up.ui.setUpResultLabel.text == "The segmentation process ended unexpectedly."
    assert set_up.ui.setUpResultLabel.toolTip == "Exit code -9."


def test_a_self_test_that_cannot_start_is_said(set_up):
    def busy(on_report, on_error):
        raise HipError("busy", "Another segmentation is still running.")

    set_up.self_test = busy
    press(set_up, "setUpSelfTestButton")
    assert set_up.ui.setUpResultLabel.text == "Another segmentation is still running."
    assert set_up.ui.setUpSelfTestButton.enabled


def test_the_report_is_copied_and_holds_no_path(set_up, tmp_path):
    import qt

    other_site = tmp_path / "Doe Jane"
    fake_site.add_everything(other_site)
    set_up.choose(fake_site.write_interpreter(tmp_path / "Doe Jane" / "python", other_site))
    failed = HipError("unexpected", "Doe is empty.", 'File "/home/Doe Jane/x.py", line 1, in f\nValueError: Doe')
    set_up.self_test = lambda on_report, on_error: on_error(failed)
    press(set_up, "setUpSelfTestButton")
    press(set_up, "setUpReportButton")
    report = qt.QApplication.clipboard().text()
    for part in ("Slicer 5.13.0 (revision 34567)", "torch 2.6.0", "the user's", "failed, unexpected", "x.py, line 1"):
        assert part in report
    for secret in ("Doe", "Jane", str(tmp_path), str(Path.home()), "/home"):
        assert secret not in report
    assert "copied" in set_up.ui.setUpResultLabel.text


def test_an_answer_that_comes_after_the_section_is_closed_harms_nothing(set_up):
    answers = []
    set_up.self_test = lambda *given: answers.append(given)
    set_up.ui.setUpSelfTestButton.click()
    set_up.panel.close()
    answers[0][0](REPORT)
    assert "starts" in set_up.ui.setUpResultLabel.text
