"""Every method that the panel offers, all the way by clicks: trained, exported, and run by the engine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer_stand_ins
from training_panels import TrainingPanels, tiny_choices

RESOURCES = slicer_stand_ins.module_file("HipICMSCTraining").parent / "Resources"
METHODS = ("icmsc", "no_adaptation", "adda", "cyclegan", "cycada", "sifa", "target_model")


@pytest.fixture
def panels(bench, tmp_path, monkeypatch):
    """Of a user whose runs and models are nowhere else, with one thread a training, as so small networks want it."""
    import qt
    from HipICMSCLib.gui.setup.child_process import end_tree
    from HipICMSCTrainingLib.gui.running import training_process

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    qt.QSettings().setValue("HipICMSCTraining/RunsFolder", str(tmp_path / "runs"))
    opened = TrainingPanels(bench[1]).described()
    opened.runs.enter()
    yield opened
    opened.runs.exit()
    opened.close()
    for process in training_process._processes.values():
        end_tree(process.process)
    training_process._processes.clear()
    qt.QSettings().remove("HipICMSCTraining/RunsFolder")


def with_labels_of_mri(dataset: Path) -> Path:
    """The same data for the method that is trained on labelled MRIs."""
    values = json.loads(dataset.read_text())
    for case in values["cases"]:
        if case["modality"] == "MR" and case["role"] != "test":
            truth = Path(case["image"]).parents[1] / "mri_truth"
            case["label"] = str(truth / f"{case['name']}_label.nii.gz")
    dataset.write_text(json.dumps(values))
    return dataset


def test_these_are_all_methods(panels):
    assert set(panels.settings.description.methods) == set(METHODS)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_trained_exported_and_run(panels, bench, tmp_path, name):
    import pythonqt
    from HipICMSCTrainingLib.gui.panels.finish_panel import FinishPanel

    description = panels.settings.description
    tiny = tiny_choices(tmp_path, description, steps_per_epoch=4)
    panels.dataset, panels.text = tiny.dataset, tiny.text
    panels.settings.show()
    panels.pick("settingsMethodComboBox", description.methods[name].title.partition(":")[0])
    if panels.settings.reads_mr_labels:
        with_labels_of_mri(tiny.dataset)
    run_path = panels.settings.run_path()
    shutil.copytree(tiny.cache, run_path / "cache")
    panels.runs.refresh()
    assert panels.ui("settingsStartButton").enabled, panels.ui("settingsStartButton").toolTip
    panels.ui("settingsStartButton").click()
    panels.wait(lambda: panels.states().get(run_path.name) in ("Finished", "Failed", "Lost"))
    assert panels.states()[run_path.name] == "Finished", panels.said()
    assert f"Method: {name}" in panels.ui("runsTable").item(0, 0).toolTip()

    finish = FinishPanel(lambda file: str(RESOURCES / file), lambda model: None)
    try:
        finish.know_methods(description.methods)
        finish.attach(panels.runs.selected)
        pythonqt.QFileDialog.answer = str(tmp_path / "tiny.hipmodel")
        finish.ui.finishExportButton.click()
        pythonqt.QFileDialog.answer = ""
        panels.wait(lambda: not finish.ui.finishCancelButton.enabled)
        assert finish.ui.finishStateLabel.text.startswith("The model is in "), finish.ui.finishStateLabel.text
    finally:
        finish.close()

    mri = next(case for case in json.loads(tiny.dataset.read_text())["cases"] if case["modality"] == "MR")["image"]
    out = tmp_path / "hips.nii.gz"
    command = ["segment", mri, "--model", str(tmp_path / "tiny.hipmodel"), "--device", "cpu", "-o", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "HipICMSCTrainingLib.cli", *command], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(out))))) <= {0, 1, 2, 3, 4}
    else:
        # So short a training may find nothing at all, which is said in so many words.
        assert "No hip bone and no femur was found" in done.stdout + done.stderr, (done.returncode, done.stderr)
