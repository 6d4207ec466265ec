"""The section "Training": what can be chosen comes from the library, and what is chosen is what a training gets."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import slicer_stand_ins
from training_panels import TrainingPanels, tiny_choices


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path) -> Path:
    """A user who has no models and runs yet; what can be set was read before, as it takes seconds."""
    from HipICMSCLib.models.chosen import user_folder

    kept, home = user_folder() / "training-settings.json", tmp_path / "home"
    home.mkdir()
    if kept.exists():
        shutil.copy(kept, home)
    monkeypatch.setenv("HIPICMSC_HOME", str(home))
    yield home
    if (home / kept.name).exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(home / kept.name, kept)


@pytest.fixture
def open_panels(bench):
    opened = []

    def open_(**options) -> TrainingPanels:
        opened.append(TrainingPanels(bench[1], **options))
        return opened[-1]

    yield open_
    for panels in opened:
        panels.close()


@pytest.fixture
def panels(open_panels, tmp_path) -> TrainingPanels:
    """Of a user with data, as soon as it is known what can be set."""
    return open_panels(dataset=tmp_path / "data set.json").described()


def changes(panels: TrainingPanels) -> dict:
    return json.loads(panels.text)["changes"] if panels.text else {}


def test_it_says_that_it_is_being_read_and_then_offers_what_the_library_has(open_panels, home, pictures):
    (home / "training-settings.json").unlink(missing_ok=True)
    panels = open_panels()
    assert panels.ui("settingsStateLabel").text == "The settings are being read …"
    assert panels.ui("settingsFrame").isHidden() and not panels.ui("settingsEstimateButton").enabled
    panels.dataset = Path("somewhere.json")
    panels.settings.refresh()
    assert "being read" in panels.ui("settingsEstimateButton").toolTip
    panels.picture(panels.settings, panels.runs, path=pictures / "training-reading.png")
    described = []
    panels.settings.described.connect(described.append)
    panels.described()
    assert len(described) == 1 and "icmsc" in described[0].methods
    assert described[0].methods["icmsc"].routes[0] == "F_t"
    boxes = [panels.ui(f"settings{name}ComboBox") for name in ("Method", "Preset", "StartFrom", "Device")]
    assert [box.currentText for box in boxes] == [
        "ICMSC",
        "cpu-small",
        "(nothing)",
        "auto",
    ]
    assert [boxes[2].itemText(i) for i in range(boxes[2].count)] == [
        "(nothing)",
        "hip-mri",
        "hip-phantom-mri",
        "hip-t1-mri",
    ]
    assert panels.ui("settingsNameEdit").placeholderText == "icmsc-cpu-small"
    assert panels.settings.arguments() == ["--method", "icmsc", "--preset", "cpu-small"]
    assert panels.text == "", "nothing was chosen, so nothing is kept"


def test_what_was_read_is_kept_for_the_next_time_until_the_files_change(panels, open_panels, home):
    assert open_panels().settings.reason_against_taking() == "", "no process is needed"
    kept = json.loads((home / "training-settings.json").read_text())
    (home / "training-settings.json").write_text(json.dumps(kept | {"fingerprint": "of another version"}))
    other = open_panels()
    assert other.settings.reason_against_taking() != ""
    other.described()


def test_every_setting_of_the_library_has_an_editor_with_its_meaning_and_the_presets_value(panels):
    description = panels.settings.description
    values = description.values("icmsc", "cpu-small")
    kinds = {"int": "QSpinBox", "bool": "QCheckBox", "choice": "QComboBox"}
    for about in description.fields("icmsc"):
        if about.name in ("device", "seed", "start_from", "contrast_prior"):
            continue
        editor = panels.ui(f"setting_{about.name.replace('.', '_')}")
        assert type(editor).__name__ == kinds.get(about.type, "QLineEdit")
        assert about.help[1:] in editor.toolTip and f"({about.name})" in editor.toolTip
        shown = {
            "int": lambda editor: editor.value,
            "bool": lambda editor: editor.checked,
            "choice": lambda editor: editor.currentText,
        }.get(about.type, lambda editor, about=about: about.value_of(editor.text))(editor)
        assert shown == (-1 if values[about.name] is None else values[about.name]), about.name
    assert panels.ui("setting_steps_per_epoch").property("text") == "not set"


def test_which_contrast_the_mris_have_is_asked_for_unless_the_method_does_not_translate(panels, pictures):
    contrast, note = panels.ui("settingsContrastComboBox"), panels.ui("settingsContrastNoteLabel")
    assert contrast.currentText == "not said" and not note.isHidden()
    panels.picture(panels.settings, path=pictures / "training-contrast.png")
    panels.pick("settingsContrastComboBox", "T1, fat bright")
    assert note.isHidden() and "contrast_prior=t1" in panels.settings.arguments()
    assert panels.ui("settingsAdvancedCollapsibleButton").text == "Advanced", "it is none of those"
    panels.ui("settingsMethodComboBox").currentIndex = list(panels.settings.description.methods).index("target_model")
    assert contrast.isHidden() and note.isHidden() and "contrast_prior=t1" not in panels.settings.arguments()


def test_a_change_is_marked_in_words_kept_and_taken_back(panels, pictures):
    panels.ui("setting_batch_size").value = 4
    panels.ui("setting_learning_rate_translation").text = "5e-5"
    panels.ui("setting_crop_size").text = "152 80 96"
    panels.ui("setting_imsc_s").checked = False
    panels.pick("setting_target", "soft")
    panels.ui("setting_steps_per_epoch").value = 12
    panels.ui("settingsSeedSpinBox").value = 3
    panels.pick("settingsDeviceComboBox", "cpu")
    for name in ("batch_size", "learning_rate_translation", "crop_size", "imsc_s", "target", "steps_per_epoch"):
        assert panels.ui(f"mark_{name}").text == "changed"
    assert panels.ui("mark_ema_decay").text == "" and panels.ui("reset_ema_decay").isHidden()
    assert not panels.ui("reset_batch_size").isHidden()
    assert panels.ui("settingsAdvancedCollapsibleButton").text == "Advanced (6 changed)"
    panels.ui("settingsAdvancedCollapsibleButton").collapsed = False
    panels.picture(panels.settings, path=pictures / "training-advanced.png")
    expected = ["seed=3", "device=cpu", "batch_size=4", "steps_per_epoch=12", "crop.size=[152,80,96]"]
    expected += ["learning_rate_translation=5e-05", "imsc_s=false", "target=soft"]
    assert panels.settings.arguments()[4::2] == ["--set"] * 8 and panels.settings.arguments()[5::2] == expected
    assert panels.ui("setting_learning_rate_translation").text == "5e-5", "what is typed is not rewritten"
    assert panels.ui("reset_batch_size").toolTip == "Back to 1, as the preset has it."
    panels.ui("reset_batch_size").click()
    panels.ui("reset_steps_per_epoch").click()
    assert panels.ui("setting_batch_size").value == 1 and panels.ui("mark_batch_size").text == ""
    assert {"batch_size", "steps_per_epoch"} & set(changes(panels)) == set()


def test_another_preset_shows_its_values_and_leaves_what_was_changed(panels):
    panels.ui("setting_batch_size").value = 2
    panels.pick("settingsPresetComboBox", "smoke")
    assert panels.ui("setting_steps_per_epoch").value == 6 and panels.ui("setting_segmenter_width").value == 8
    assert panels.ui("mark_batch_size").text == "", "two is what smoke has"
    assert panels.settings.arguments() == ["--method", "icmsc", "--preset", "smoke"]
    panels.pick("settingsPresetComboBox", "paper")
    assert panels.ui("setting_segmenter_width").value == 64 and panels.ui("mark_batch_size").text == "changed"
    assert panels.settings.arguments()[3:] == ["paper", "--set", "batch_size=2"]


def test_what_is_no_value_is_said_and_nothing_can_be_started_with_it(panels, pictures):
    from HipICMSCLib.common.errors import HipError

    edit = panels.ui("setting_learning_rate_translation")
    edit.text = "fast"
    sentence = "learning_rate_translation must be a number such as 0.0002 or 2e-4, not “fast”."
    with pytest.raises(HipError) as caught:
        panels.settings.arguments()
    assert caught.value.sentence == edit.toolTip == sentence
    assert panels.ui("mark_learning_rate_translation").text == "not valid"
    for name in ("settingsEstimateButton", "settingsCopyButton", "settingsStartButton"):
        assert (panels.ui(name).enabled, panels.ui(name).toolTip) == (False, sentence)
    panels.ui("setting_batch_size").value = 2
    assert edit.text == "fast", "what is typed is not thrown away by another change"
    assert not panels.ui("settingsStartButton").enabled
    edit.text = "0.001"
    assert panels.ui("settingsStartButton").enabled and panels.ui("mark_learning_rate_translation").text == "changed"
    edit.text = ""
    assert not panels.ui("settingsStartButton").enabled
    panels.ui("reset_learning_rate_translation").click()
    assert edit.text == "0.0002" and panels.ui("settingsStartButton").enabled
    assert changes(panels) == {"batch_size": 2}
    edit.text = "no"
    panels.ui("reset_learning_rate_translation").click()
    assert edit.text == "0.0002" and panels.ui("settingsStartButton").enabled


def test_the_choices_are_those_of_the_scene(panels, open_panels):
    panels.pick("settingsPresetComboBox", "smoke")
    panels.ui("setting_ema_decay").text = "0.9"
    panels.ui("settingsNameEdit").text = "my run"
    again = open_panels(dataset=panels.dataset, text=panels.text).described()
    assert again.settings.arguments() == panels.settings.arguments()
    assert again.ui("setting_ema_decay").text == "0.9" and again.ui("settingsNameEdit").text == "my run"
    again.text = ""
    again.settings.show()
    assert again.settings.arguments() == ["--method", "icmsc", "--preset", "cpu-small"]
    assert again.ui("setting_ema_decay").text == "0.999" and again.ui("settingsNameEdit").text == ""


def test_what_the_scene_keeps_of_another_version_does_no_harm(open_panels):
    text = json.dumps({"method": "magic", "preset": "huge", "changes": {"colour": 1}, "start_from": "", "run_name": ""})
    panels = open_panels(dataset=Path("a.json"), text=text).described()
    assert panels.settings.arguments() == ["--method", "icmsc", "--preset", "cpu-small"]


def test_another_method_brings_its_own_settings(panels, open_panels, home, request):
    """A library with a second method, as it would describe itself."""
    file = home / "training-settings.json"
    text = file.read_text()
    request.addfinalizer(lambda: file.write_text(text))
    kept = json.loads(text)
    of_icmsc = kept["description"]["methods"]["icmsc"]["settings"]
    shared = next(about for about in of_icmsc if about["name"] == "dice_weight")
    own = {"name": "sharpness", "type": "float", "default": 1.5, "choices": [], "optional": False, "help": "how sharp."}
    plain = {"title": "Plain: a second method", "help": "It is plain.", "routes": ["F_s"], "reads_mr_labels": True}
    plain["settings"] = [own, shared]
    kept["description"]["methods"] = {"icmsc": kept["description"]["methods"]["icmsc"], "plain": plain}
    file.write_text(json.dumps(kept))
    panels = open_panels(dataset=Path("a.json"))
    panels.ui("setting_imsc_weight").text = "0.3"
    panels.ui("setting_dice_weight").text = "2"
    panels.pick("settingsMethodComboBox", "Plain")
    assert panels.ui("settingsMethodComboBox").toolTip == "Plain: a second method. It is plain."
    assert panels.ui("settingsMethodNoteLabel").text.startswith(
        "Plain: a second method. It is plain. Each MRI to train on"
    )
    assert (panels.settings.method, panels.settings.reads_mr_labels) == ("plain", True)
    assert panels.ui("setting_sharpness").text == "1.5" and panels.ui("mark_dice_weight").text == "changed"
    panels.ui("setting_sharpness").text = "3"
    assert panels.settings.arguments() == [
        *("--method", "plain", "--preset", "cpu-small", "--set", "sharpness=3.0", "--set", "dice_weight=2.0")
    ]
    panels.wait(lambda: not panels.has("setting_imsc_weight"))
    panels.pick("settingsMethodComboBox", "ICMSC")
    assert panels.ui("setting_imsc_weight").text == "0.3" and not panels.settings.reads_mr_labels
    assert "sharpness=3.0" not in panels.settings.arguments()
    assert panels.ui("settingsNameEdit").placeholderText == "icmsc-cpu-small"


def test_a_model_to_start_from_brings_its_settings_which_cannot_be_changed(panels, pictures):
    panels.ui("setting_segmenter_width").value = 99
    panels.pick("settingsStartFromComboBox", "hip-t1-mri")
    editor = panels.ui("setting_segmenter_width")
    assert not editor.enabled and "comes from the model hip-t1-mri" in editor.toolTip and editor.value != 99
    assert panels.ui("mark_segmenter_width").text == ""
    assert not panels.ui("setting_crop_spacing_mm").enabled and panels.ui("setting_batch_size").enabled
    expected = ["--method", "icmsc", "--preset", "cpu-small", "--start-from", "hip-t1-mri"]
    assert panels.settings.arguments() == expected
    panels.pick("settingsStartFromComboBox", "(nothing)")
    assert editor.enabled and editor.value == 99


def test_corrected_mris_that_another_model_made_are_told_of(panels, tmp_path, pictures):
    from corrected import case_in
    from HipICMSCTrainingLib.data.cases_of_folders import corrected_cases
    from HipICMSCTrainingLib.data.dataset import Dataset
    from HipICMSCTrainingLib.data.dataset_file import write_dataset_file

    note = panels.ui("settingsStartNoteLabel")
    assert not note.isVisibleTo(panels.settings.widget)
    case_in(tmp_path / "cases")
    write_dataset_file(Dataset(tuple(corrected_cases(tmp_path / "cases"))), tmp_path / "data set.json")
    panels.settings.refresh()
    assert note.isVisibleTo(panels.settings.widget) and "were made" not in note.text
    assert note.text.startswith(
        "Of 1 corrected MRIs, 1 was made by a model (balls), but the training starts from none."
    )
    panels.pick("settingsStartFromComboBox", "hip-mri")
    assert "1 was made by another model (balls) than the one that the training starts from (hip-mri)" in note.text
    panels.picture(panels.settings, path=pictures / "settings-other-model.png")


def test_a_model_that_is_not_here_is_said_to_be_missing(open_panels):
    text = json.dumps({"start_from": "of a colleague"})
    panels = open_panels(dataset=Path("a.json"), text=text).described()
    assert panels.ui("settingsStartFromComboBox").currentText == "of a colleague (cannot be read)"
    assert "There is no model of a colleague" in panels.ui("settingsStartButton").toolTip
    panels.pick("settingsStartFromComboBox", "(nothing)")
    assert panels.ui("settingsStartButton").enabled


@pytest.mark.parametrize(
    ("name", "words"),
    [("../elsewhere", "nor contain"), (".hidden", "dot"), ("taken", "already"), ("what?", "nor contain")],
)
def test_a_name_that_cannot_be_that_of_a_new_run(panels, home, name, words):
    (home / "runs" / "taken").mkdir(parents=True)
    (home / "runs" / "taken" / "run.json").write_text("{}")
    panels.ui("settingsNameEdit").text = name
    assert not panels.ui("settingsStartButton").enabled and words in panels.ui("settingsStartButton").toolTip
    panels.ui("settingsNameEdit").text = "fine"
    assert panels.ui("settingsStartButton").enabled


def test_the_command_of_the_next_run_is_copied_for_a_shell(panels, home):
    from PySide6 import QtWidgets

    panels.ui("settingsNameEdit").text = "it's mine"
    panels.ui("setting_crop_size").text = "64, 32, 48"
    panels.ui("settingsCopyButton").click()
    line = QtWidgets.QApplication.clipboard().text()
    assert "\n" not in line
    printed = subprocess.run(["sh", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True)
    expected = ["hipicmsc", "train", str(home / "runs" / "it's mine"), "--dataset", str(panels.dataset)]
    expected += ["--method", "icmsc", "--preset", "cpu-small", "--set", "crop.size=[64,32,48]"]
    assert printed.stdout.splitlines() == shlex.split(line) == expected
    assert panels.ui("settingsResultLabel").text.startswith("The command was copied.")


def test_a_package_that_is_missing_is_said_with_the_place_to_install_it(open_panels, home, tmp_path, pictures):
    """The user's own interpreter has no PyTorch; then it has."""
    from HipICMSCLib.gui.setup.installation import set_python_interpreter

    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}/shadow:$PYTHONPATH" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    set_python_interpreter(str(python))
    try:
        panels = open_panels(dataset=Path("a.json"))
        label = panels.ui("settingsStateLabel")
        panels.wait(lambda: "cannot be read" in label.text)
        assert "torch is missing" in label.text and "Set-up" in label.text and "Traceback" in label.toolTip
        assert "torch is missing" in panels.ui("settingsStartButton").toolTip
        assert not panels.ui("settingsAgainButton").isHidden()
        panels.picture(panels.settings, path=pictures / "training-no-torch.png")
        (tmp_path / "shadow" / "torch.py").unlink()
        panels.ui("settingsAgainButton").click()
        panels.described()
        assert panels.ui("settingsAgainButton").isHidden() and not panels.ui("settingsFrame").isHidden()
    finally:
        set_python_interpreter(None)
    # Another interpreter is asked anew when the user comes back to the module.
    panels.settings.enter()
    panels.described()
    assert panels.ui("settingsStartButton").enabled


FOUND = {
    "device": "cpu",
    "steps": {"stage 1": 300, "stage 2": 700},
    "seconds_per_step": {"stage 1": 1.25, "stage 2": 2.5},
    "total_seconds": 2500.0,
    "memory_bytes": 2**30,
    "device_memory_bytes": None,
    "total_disk_bytes": 300 * 2**20,
}


def test_an_estimate_is_said_in_words(bench, tmp_path):
    from HipICMSCTrainingLib.gui.panels.estimate_words import estimate_in_words

    time, memory, disk = estimate_in_words(FOUND, tmp_path / "not" / "made yet")
    assert time.startswith("Time: about 41 min 40 s on cpu (stage 1: 300 steps of 1.25 s; stage 2: 700 steps of 2.5 s)")
    assert memory.startswith("Memory: 1.0 GiB; ") and disk.startswith("Disk: 300 MiB; ")
    assert "are free." in memory and "Caution" not in memory + disk


def test_a_need_beyond_what_is_free_is_a_caution(bench, tmp_path):
    from HipICMSCTrainingLib.gui.panels.estimate_words import estimate_in_words

    huge = FOUND | {"memory_bytes": 2**60, "total_disk_bytes": 2**60, "device_memory_bytes": 3 * 2**30}
    _time, memory, card, disk = estimate_in_words(huge, tmp_path)
    assert memory.startswith("Caution, memory: ") and "smaller preset" in memory
    assert disk.startswith("Caution, disk: ") and "another folder" in disk
    assert card == "Memory of the graphics card: 3.0 GiB."


def test_a_real_estimate_shows_its_progress_and_ends_in_words_or_is_cancelled(panels, tmp_path, pictures):
    tiny = tiny_choices(tmp_path, panels.settings.description)
    panels.dataset, panels.text = tiny.dataset, tiny.text
    panels.settings.show()
    button, label, bar = (panels.ui(f"settings{name}") for name in ("EstimateButton", "ResultLabel", "ProgressBar"))
    shares = []
    button.click()
    assert button.text == "Cancel" and button.enabled
    panels.wait(lambda: shares.append(bar.value) or button.text != "Cancel")
    assert shares == sorted(shares) and max(shares) > 50
    assert label.text.startswith("Time: about ") and "\nMemory: " in label.text and "\nDisk: " in label.text
    panels.picture(panels.settings, path=pictures / "training-estimate.png")
    shown = label.text
    panels.ui("settingsNameEdit").text = "a name changes nothing"
    assert label.text == shown
    panels.ui("settingsSeedSpinBox").value = 8
    assert label.text == f"Estimated before settings or data were changed:\n{shown}"
    button.click()
    panels.wait(lambda: bar.value > 0)
    button.click()
    panels.wait(lambda: button.text != "Cancel")
    assert label.text == "Cancelled."


def test_an_estimate_that_cannot_be_made_says_why(panels):
    panels.ui("settingsEstimateButton").click()
    panels.wait(lambda: panels.ui("settingsEstimateButton").text != "Cancel")
    assert panels.ui("settingsResultLabel").text == f"There is no file {panels.dataset}."


def test_the_panels_load_without_the_libraries_of_the_networks():
    """Slicer's own process imports them."""
    code = """
    import sys
    for name in ("torch", "skimage", "safetensors"):
        sys.modules[name] = None
    sys.path[:0] = sys.argv[1:]
    from types import ModuleType
    for name in ("slicer", "slicer.i18n", "qt"):
        sys.modules[name] = ModuleType(name)
    sys.modules["slicer.i18n"].tr = str
    import HipICMSCTrainingLib.gui.panels.runs_panel
    """
    folders = [str(slicer_stand_ins.module_file(name).parent) for name in ("HipICMSC", "HipICMSCTraining")]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *folders], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
