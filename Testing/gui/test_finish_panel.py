"""The section "4. Finish" on a real training's folder: real exports, real packages, the user's real model folder."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import slicer_stand_ins
from patience import PATIENCE
from section import picture_of
from training_run import trained_run

RESOURCES = slicer_stand_ins.module_file("HipICMSCTraining").parent / "Resources"
BUTTONS = ("finishExportButton", "finishUseButton")


class Finish:
    """The section as the module opens it, and a copy of the run that the test may change."""

    def __init__(self, application, folder: Path) -> None:
        from HipICMSCTrainingLib.gui.panels.finish_panel import FinishPanel
        from HipICMSCTrainingLib.run.folder import RunFolder

        self.application = application
        self.run = RunFolder(shutil.copytree(trained_run(), folder / "hip-t2"))
        self.used: list[str] = []
        self.panel = FinishPanel(lambda name: str(RESOURCES / name), self.used.append)
        self.ui = self.panel.ui
        self.panel.widget.show()

    def wait_for_export(self) -> str:
        """What the section says when the export has ended."""
        limit = time.monotonic() + PATIENCE
        while self.ui.finishCancelButton.enabled:
            assert time.monotonic() < limit
            self.application.processEvents()
            time.sleep(0.01)
        return self.ui.finishStateLabel.text

    def export_to(self, path: Path | str) -> None:
        import pythonqt

        pythonqt.QFileDialog.answer = str(path)
        self.ui.finishExportButton.click()
        pythonqt.QFileDialog.answer = ""

    def reasons(self) -> list[str]:
        """Why neither button can be pressed."""
        assert not any(getattr(self.ui, name).enabled for name in BUTTONS)
        return [getattr(self.ui, name).toolTip for name in BUTTONS]

    def picture(self, path: Path) -> None:
        self.application.processEvents()
        picture_of(self.application, self.panel.widget, path, 460)


@pytest.fixture
def finish_with_alarms(bench, tmp_path, monkeypatch):
    """The tiny training draws far too much femur on MRI, and says so."""
    import pythonqt

    monkeypatch.setenv("HIPICMSC_HOME", str(tmp_path / "home"))
    pythonqt.DIALOGS.clear()
    opened = Finish(bench[1], tmp_path)
    yield opened
    opened.panel.close()
    opened.panel.widget.deleteLater()


@pytest.fixture
def finish(finish_with_alarms, monkeypatch):
    from HipICMSCTrainingLib.run.alarm_watch import AlarmWatch

    monkeypatch.setattr(AlarmWatch, "look", lambda self, status: ())
    return finish_with_alarms


@pytest.fixture
def selected_modules(monkeypatch) -> list[str]:
    import slicer

    names: list[str] = []
    monkeypatch.setattr(slicer.util, "selectModule", names.append)
    return names


def write_card(finish) -> None:
    finish.ui.finishLicenceEdit.text = "CC BY 4.0"
    finish.ui.finishCitationsEdit.plainText = "Zeng et al. 2020\n\n  Somebody 2026  \n"
    finish.ui.finishDataEdit.plainText = "Two phantoms of each.\nNobody was harmed."
    finish.ui.finishLimitsEdit.plainText = "Of no use."


def method(*routes: str):
    from HipICMSCTrainingLib.settings.choices import Method

    return Method("Title", "Stage 1 trains this, stage 2 that.", routes, False, ())


def scored(finish, **scores: float) -> list[str]:
    """What is said of weights with these scores, in lines."""
    finish.run.checkpoints.save_selected({}, {"step": 24, "weights": "last", "scores": scores})
    finish.panel.attach(None)
    finish.panel.attach(finish.run)
    return finish.ui.finishScoresLabel.text.splitlines()


def test_without_a_run_it_says_what_is_missing(finish, pictures):
    assert finish.reasons() == ["Choose a run first."] * 2
    finish.picture(pictures / "finish-empty.png")


def test_the_weights_with_the_best_score_are_offered_first_with_their_scores(finish, pictures):
    selected = json.loads((finish.run.checkpoints.folder / "selected.json").read_text())
    finish.panel.attach(finish.run)
    box = finish.ui.finishWeightsComboBox
    assert box.currentIndex == 0 and box.currentText == f"Best label-free score (step {selected['step']})"
    title, *lines, limits = finish.ui.finishScoresLabel.text.splitlines()
    assert title == f"Scores of step {selected['step']}:"
    said = dict(line.removeprefix("• ").rsplit(": ", 1) for line in lines)
    scores = selected["scores"]

    def share(name: str) -> str:
        return f"{scores[name]:.2f}{'' if 0.5 <= scores[name] <= 2 else ', which is not usual'}"

    assert said == {
        "selection (the weights with the highest one are kept)": f"{scores['selection']:.2f}".replace("-", "−"),
        "Dice of F_s on held-out CT": f"{scores['dice_F_s']:.2f}",
        "Dice of F_t on held-out CT that looks like MRI": f"{scores['dice_F_t']:.2f}",
        "Dice between the two best ways to segment an MRI": f"{scores['agreement']:.2f}",
        "doubt on MRI (0 none, 1 a guess)": f"{scores['entropy']:.2f}",
        "hip bone on MRI, as a multiple of that on CT (0.5 to 2 is usual)": share("foreground_acetabulum"),
        "femur on MRI, as a multiple of that on CT (0.5 to 2 is usual)": share("foreground_femur"),
    }
    assert "do not measure accuracy on MRI" in limits
    assert finish.ui.finishExportButton.enabled and finish.ui.finishUseButton.enabled
    assert not finish.ui.finishCancelButton.enabled
    box.currentIndex = 2
    last = [line for line in finish.run.metrics() if line.get("weights") == "last"][-1]
    text = finish.ui.finishScoresLabel.text
    assert text.startswith("Scores of step 24:") and f"looks like MRI: {last['scores']['dice_F_t']:.2f}" in text
    write_card(finish)
    finish.picture(pictures / "finish.png")


def test_scores_of_any_method_are_said_with_their_meaning(finish, pictures):
    """As CycleGAN, SIFA and the target model are scored; what chose by labels of MRIs is not called label-free."""
    of_cyclegan = scored(finish, **{"dice_F_s": 0.91, "dice_F_s(G_ts)": 0.52, "entropy": 0.04, "selection": 0.52})
    assert "• Dice of F_s(G_ts) on held-out CT that looks like MRI: 0.52" in of_cyclegan
    assert "• Dice of S(E) on held-out CT that looks like MRI: 0.47" in scored(
        finish, **{"dice_S(E)": 0.47, "selection": 0.47}
    )
    of_target = scored(finish, entropy=0.1, foreground_femur=1.1, dice_MR=0.83, selection=0.83)
    assert "• Dice on held-out MRI: 0.83" in of_target
    assert of_target[-1].startswith("The Dice on MRI chose the weights;")
    assert finish.ui.finishWeightsComboBox.currentText == "Best Dice on held-out MRI (step 24)"
    finish.picture(pictures / "finish-target-model.png")


def test_a_model_is_exported_with_what_was_written_about_it(finish, tmp_path, pictures):
    from HipICMSCLib.models.archive import read_details

    finish.panel.attach(finish.run)
    write_card(finish)
    finish.export_to(tmp_path / "out")
    assert finish.reasons() == ["An export or a measurement is under way."] * 2
    finish.picture(pictures / "finish-exporting.png")
    path = tmp_path / "out.hipmodel"
    assert finish.wait_for_export() == f"The model is in {path}."
    details = read_details(path)
    assert (details.name, details.licence, details.method) == ("out", "CC BY 4.0", "icmsc")
    assert details.citations == ("Zeng et al. 2020", "Somebody 2026")
    for text in ("Two phantoms of each.\nNobody was harmed.", "Of no use.", "Research use only", "selected weights"):
        assert text in details.card
    assert finish.used == [] and finish.ui.finishExportButton.enabled


def test_a_model_is_used_in_hipicmsc(finish, selected_modules):
    import pythonqt
    from HipICMSCLib.models.archive import read_details
    from HipICMSCLib.models.chosen import find_model, is_users

    finish.panel.attach(finish.run)
    assert finish.ui.finishNameEdit.text == "hip-t2"
    finish.ui.finishWeightsComboBox.currentIndex = 1
    finish.panel.know_methods({"icmsc": method("F_t", "F_s(G_ts)", "F_s")})
    finish.ui.finishRouteComboBox.currentIndex = 1
    finish.ui.finishUseButton.click()
    sentence = finish.wait_for_export()
    assert sentence == ("hip-t2 is among your models and chosen in HipICMSC.")
    assert finish.used == ["hip-t2"]
    assert is_users(find_model("hip-t2"))
    card = read_details(find_model("hip-t2")).card
    assert "average weights" in card and "G_ts then F_s" in card
    assert pythonqt.DIALOGS == [("confirmYesNoDisplay", "hip-t2 is chosen in HipICMSC. Open it now?")]
    assert selected_modules == ["HipICMSC"]
    # Another model under the same name is refused, and the first one stays.
    before = find_model("hip-t2").read_bytes()
    finish.ui.finishWeightsComboBox.currentIndex = 0
    finish.ui.finishUseButton.click()
    assert "another one with the name hip-t2" in finish.wait_for_export()
    assert finish.used == ["hip-t2"] and find_model("hip-t2").read_bytes() == before


def test_an_export_is_cancelled(finish, tmp_path):
    finish.panel.attach(finish.run)
    finish.export_to(tmp_path / "out.hipmodel")
    finish.ui.finishCancelButton.click()
    assert finish.wait_for_export() == "Cancelled."
    assert finish.ui.finishExportButton.enabled and not (tmp_path / "out.hipmodel").exists()


def test_an_export_that_fails_says_why(finish, tmp_path):
    finish.panel.attach(finish.run)
    finish.run.checkpoints.last_file.write_bytes(b"damaged")
    finish.ui.finishWeightsComboBox.currentIndex = 2
    finish.ui.finishUseButton.click()
    assert "last.pt is damaged" in finish.wait_for_export()
    assert finish.ui.finishExportButton.enabled and finish.used == []


@pytest.mark.parametrize(
    ("file", "words"), [("nowhere/out.hipmodel", "does not exist"), (".hipmodel", "a name such as")]
)
def test_a_file_that_cannot_be_written_is_refused_at_once(finish, tmp_path, file, words):
    finish.panel.attach(finish.run)
    finish.export_to(tmp_path / file)
    assert not finish.ui.finishCancelButton.enabled and words in finish.ui.finishStateLabel.text


def test_a_model_is_not_replaced_unasked(finish, tmp_path, monkeypatch):
    """The dialogue asks about the name that is chosen there; one without its ending is another file's."""
    import slicer

    finish.panel.attach(finish.run)
    (tmp_path / "mine.hipmodel").write_text("precious")
    asked = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *rest, **more: asked.append(text))
    finish.export_to(tmp_path / "mine")
    assert asked == ["There is a file mine.hipmodel already. Replace it?"]
    assert not finish.ui.finishCancelButton.enabled and (tmp_path / "mine.hipmodel").read_text() == "precious"


def test_a_dialog_that_is_closed_exports_nothing(finish):
    finish.panel.attach(finish.run)
    finish.export_to("")
    assert not finish.ui.finishCancelButton.enabled and finish.ui.finishStateLabel.text == ""


def test_what_is_written_is_kept_in_the_run_folder(finish):
    from HipICMSCTrainingLib.gui.panels.finish_panel import FinishPanel

    finish.panel.attach(finish.run)
    assert not (finish.run.path / "about.json").exists(), "looking at a run changed it"
    write_card(finish)
    finish.panel.attach(None)
    assert finish.ui.finishLicenceEdit.text == "" and finish.ui.finishDataEdit.plainText == ""
    assert json.loads((finish.run.path / "about.json").read_text()) == {
        "licence": "CC BY 4.0",
        "citations": ["Zeng et al. 2020", "Somebody 2026"],
        "data": "Two phantoms of each.\nNobody was harmed.",
        "limits": "Of no use.",
    }
    again = FinishPanel(lambda name: str(RESOURCES / name), finish.used.append)
    again.attach(finish.run)
    assert again.ui.finishCitationsEdit.plainText == "Zeng et al. 2020\nSomebody 2026"
    again.ui.finishLimitsEdit.plainText = ""
    again.close()
    assert "limits" not in json.loads((finish.run.path / "about.json").read_text())


def test_a_run_in_stage_1_has_no_model_yet(finish):
    for path in finish.run.checkpoints.folder.glob("selected.*"):
        path.unlink()
    finish.run.write_status(replace(finish.run.status(), step=8))
    finish.panel.attach(finish.run)
    for index in range(3):
        finish.ui.finishWeightsComboBox.currentIndex = index
        assert all(reason.startswith("The run is in stage 1") for reason in finish.reasons())
        assert all("translat" not in reason for reason in finish.reasons()), "not every method does"
    finish.panel.know_methods({"icmsc": method("F_t")})
    assert all(reason.endswith("Stage 1 trains this, stage 2 that.") for reason in finish.reasons())
    # Stage 2 has begun: the weights as they are can be taken, a best score there is not.
    finish.run.write_status(replace(finish.run.status(), step=9))
    finish.panel.refresh()
    assert finish.ui.finishExportButton.enabled
    finish.ui.finishWeightsComboBox.currentIndex = 0
    assert all("No weights were scored yet" in reason for reason in finish.reasons())


def test_reasons_against_an_export_are_said(finish):
    finish.panel.attach(finish.run)
    for name, reason in (("", "Give the model a name."), ("a/b", "A name cannot"), (".a", "A name cannot")):
        finish.ui.finishNameEdit.text = name
        assert not finish.ui.finishUseButton.enabled and finish.ui.finishUseButton.toolTip.startswith(reason)
        assert finish.ui.finishExportButton.enabled
    finish.run.checkpoints.last_file.unlink()
    finish.panel.refresh()
    assert all("no checkpoint yet" in reason for reason in finish.reasons())
    shutil.rmtree(finish.run.path)
    finish.panel.refresh()
    assert all("holds no run" in reason for reason in finish.reasons())


def test_routes_are_offered_where_there_are_several(finish):
    finish.panel.attach(finish.run)
    assert not finish.ui.finishRouteComboBox.visible
    finish.panel.know_methods({"icmsc": method("F_t", "F_s"), "other": method("F")})
    assert finish.ui.finishRouteComboBox.visible and finish.ui.finishRouteComboBox.currentText == "F_t"
    finish.panel.attach(None)
    assert not finish.ui.finishRouteComboBox.visible


# Measuring.


def test_the_weights_are_measured_on_the_labelled_mri(finish, pictures):
    import re

    finish.panel.attach(finish.run)
    assert not finish.ui.finishMeasuredText.visible
    assert "never sees" in finish.ui.finishMeasureButton.toolTip
    finish.ui.finishMeasureButton.click()
    assert not finish.ui.finishMeasureButton.enabled
    assert finish.wait_for_export() == "Measured."
    title, *lines = finish.ui.finishMeasuredText.plainText.splitlines()
    assert title.startswith("hip-t2, Best label-free score (step ")
    assert finish.ui.finishMeasuredText.visible and len(lines) == 5
    number = r"(0\.\d{3}, \d+\.\d\d mm|0\.000, –)"
    assert re.fullmatch(f"labelled, hip bone: {number}", lines[1])
    assert re.fullmatch(f"labelled, proximal femur: {number}", lines[2])
    assert lines[3].removeprefix("Mean") == lines[1].removeprefix("labelled")
    finish.picture(pictures / "finish-measured.png")
    finish.panel.attach(None)
    assert not finish.ui.finishMeasuredText.visible


def test_without_labelled_mri_there_is_nothing_to_measure(finish):
    description = json.loads((finish.run.path / "run.json").read_text())
    cases = description["dataset"]["cases"]
    description["dataset"]["cases"] = [case for case in cases if case["role"] != "test"]
    (finish.run.path / "run.json").write_text(json.dumps(description))
    finish.panel.attach(finish.run)
    assert not finish.ui.finishMeasureButton.enabled
    assert "no labelled MRI" in finish.ui.finishMeasureButton.toolTip


def with_corrections(finish, tmp_path: Path, roles: tuple[str, ...]) -> Path:
    """Let the run have started from a model and learned from corrected MRIs; the folder of their cases."""
    from corrected_phantoms import corrected_phantom

    finish.panel.attach(finish.run)
    finish.export_to(tmp_path / "old")
    finish.wait_for_export()
    about = json.loads((finish.run.path / "run.json").read_text())
    phantoms = trained_run().parents[1] / "data"
    for number, role in enumerate(roles):
        case = corrected_phantom(phantoms, number, tmp_path / "cases")
        name = case.folder.name
        about["dataset"]["cases"].append(
            {"name": name, "modality": "MR", "role": role, "patient": name, "image": str(case.image), "label": None,
             "corrected": str(case.folder)}
        )  # fmt: skip
    about["settings"]["start_from"] = str(tmp_path / "old.hipmodel")
    (finish.run.path / "run.json").write_text(json.dumps(about))
    finish.panel.attach(None)
    finish.panel.attach(finish.run)
    return tmp_path / "cases"


def test_before_use_a_corrected_model_is_shown_beside_the_old_one(finish, tmp_path, pictures, monkeypatch):
    import slicer

    with_corrections(finish, tmp_path, ("train", "val"))
    questions: list[str] = []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: questions.append(text))
    finish.ui.finishUseButton.click()
    said = finish.wait_for_export()
    assert said.startswith("On 1 corrected MRI that no training has seen, mean Dice is ")
    assert str(finish.run.path / "comparison.html") in said
    assert "One MRI says little of others." in finish.ui.finishMeasuredText.plainText
    assert (
        "case-002" in finish.ui.finishMeasuredText.plainText
        and "case-001" not in finish.ui.finishMeasuredText.plainText
    )
    assert len(questions) == 1 and questions[0].endswith("Use the new model in HipICMSC?")
    assert finish.used == [], "who says no, keeps the old model"
    finish.picture(pictures / "finish-compared.png")


def test_worse_than_the_old_one_is_red_and_yes_uses_it_nonetheless(finish, tmp_path, pictures, monkeypatch):
    """The command's words are written by hand here: no training of the bench is ever good."""
    import slicer
    from HipICMSCLib.gui.panels.contrast import readable_red
    from HipICMSCTrainingLib.gui.panels import finish_panel

    cases = with_corrections(finish, tmp_path, ("train", "val"))
    started = []

    class Compared(finish_panel.Command):
        def __init__(self, arguments, on_line, on_end) -> None:
            started.append(arguments)
            if arguments[0] == "compare":
                on_line(
                    {
                        "compared": {
                            "verdict": "The new model is worse.",
                            "old": "old",
                            "new": "hip-t2",
                            "bones": [
                                {
                                    "case": "case-002",
                                    "bone": "right femur",
                                    "old": {"dice": 1.0, "asd_mm": 0.0},
                                    "new": {"dice": None, "asd_mm": None},
                                    "old_drew_it": True,
                                    "is_worse": False,
                                },
                                {
                                    "case": "case-002",
                                    "bone": "left femur",
                                    "old": {"dice": 0.95, "asd_mm": 0.5},
                                    "new": {"dice": 0.8, "asd_mm": 2.5},
                                    "old_drew_it": False,
                                    "is_worse": True,
                                },
                            ],
                            "notes": ["One MRI says little."],
                        }
                    }
                )
            super().__init__(arguments if arguments[0] != "compare" else ["describe"], lambda line: None, on_end)

    monkeypatch.setattr(finish_panel, "Command", Compared)
    questions: list[str] = []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: questions.append(text) or len(questions) == 1)
    seen = []
    say = finish.panel._say
    monkeypatch.setattr(
        finish.panel, "_say", lambda *of, **how: (say(*of, **how), seen.append(finish.ui.finishStateLabel.styleSheet))
    )
    finish.ui.finishUseButton.click()
    finish.wait_for_export()
    finish.picture(pictures / "finish-worse.png")
    assert "among your models" in finish.wait_for_export()
    first, second, meaning, note = finish.ui.finishMeasuredText.plainText.splitlines()
    assert first == "Worse: case-002, left femur: Dice 0.950 → 0.800, distance 0.50 → 2.50 mm."
    assert second == "case-002, right femur: Dice 1.000* → –, distance 0.00 → – mm."
    assert meaning.startswith("old → hip-t2. A Dice of 1 is perfect") and note == "One MRI says little."
    red = readable_red(finish.ui.finishMeasuredText)
    coloured = finish.ui.finishMeasuredText.html.split(red)
    assert len(coloured) == 2 and "Worse" in coloured[1] and "Worse" not in coloured[0]
    assert not finish.ui.finishMeasuredText.horizontalScrollBar().isVisible(), "it wraps"
    assert (
        any(readable_red(finish.ui.finishStateLabel) in style for style in seen)
        and finish.ui.finishStateLabel.styleSheet == ""
    )
    assert finish.used == ["hip-t2"]
    assert started[-1][:2] == ["compare", str(tmp_path / "old.hipmodel")] and str(cases / "case-002") in started[-1]
    assert str(cases / "case-001") not in started[-1]


def test_old_and_new_are_compared_also_when_another_run_is_looked_at_meanwhile(finish, tmp_path, monkeypatch):
    import slicer
    from HipICMSCTrainingLib.gui.panels import finish_panel
    from HipICMSCTrainingLib.run.folder import RunFolder

    other = RunFolder(shutil.copytree(trained_run(), tmp_path / "other"))
    with_corrections(finish, tmp_path, ("train", "val"))
    started: list[list[str]] = []

    class Noted(finish_panel.Command):
        def __init__(self, arguments, *listeners) -> None:
            started.append(arguments)
            super().__init__(arguments, *listeners)

    monkeypatch.setattr(finish_panel, "Command", Noted)
    questions: list[str] = []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: questions.append(text))
    finish.ui.finishUseButton.click()
    finish.panel.attach(other)
    finish.wait_for_export()
    assert [arguments[0] for arguments in started] == ["export", "compare"]
    assert str(finish.run.comparison_file) in started[1] and not other.comparison_file.exists()
    assert "that no training has seen" in questions[0] and finish.used == []


def test_a_model_of_a_training_with_alarms_is_used_only_after_a_question(finish_with_alarms, monkeypatch, pictures):
    import slicer

    finish = finish_with_alarms
    finish.panel.attach(finish.run)
    caution = finish.ui.finishScoresLabel.text.partition("\n")[0]
    assert caution.startswith("Caution: ") and "femur" in caution
    finish.picture(pictures / "finish-alarms.png")
    questions: list[str] = []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: questions.append(text))
    finish.ui.finishUseButton.click()
    assert questions[0].startswith(caution) and questions[0].endswith("Use this model in HipICMSC all the same?")
    assert not finish.ui.finishCancelButton.enabled, "who says no exports nothing"


def test_a_corrected_mri_that_was_held_out_is_measured_like_a_labelled_one(finish, tmp_path):
    with_corrections(finish, tmp_path, ("test",))
    about = json.loads((finish.run.path / "run.json").read_text())
    cases = about["dataset"]["cases"]
    about["dataset"]["cases"] = [case for case in cases if not (case["role"] == "test" and case["label"])]
    (finish.run.path / "run.json").write_text(json.dumps(about))
    finish.panel.attach(None)
    finish.panel.attach(finish.run)
    assert finish.ui.finishMeasureButton.enabled


@pytest.mark.parametrize("answer", [True, False])
def test_where_every_corrected_mri_taught_leave_one_out_is_offered(finish, tmp_path, monkeypatch, answer):
    import slicer
    from HipICMSCTrainingLib.gui.panels import finish_panel

    with_corrections(finish, tmp_path, ("train", "train"))
    started, questions = [], []

    class Started(finish_panel.Command):
        """No training of the bench reads slabs, so what would be started is looked at alone."""

        def __init__(self, arguments, on_line, on_end) -> None:
            started.append(arguments)
            left_out = arguments[0] == "leave-one-out"
            if left_out:
                compared = {"verdict": "On 2 corrected MRIs …", "old": "old", "new": "mine", "bones": [], "notes": []}
                on_line({"compared": compared})
            super().__init__(
                ["describe"] if left_out else arguments, (lambda line: None) if left_out else on_line, on_end
            )

    monkeypatch.setattr(finish_panel, "Command", Started)
    answers = iter([answer, False])
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: questions.append(text) or next(answers))
    finish.ui.finishUseButton.click()
    said = finish.wait_for_export()
    assert "trains 2 further models, each without one patient" in questions[0]
    assert "That takes about" in questions[0]
    if answer:
        page = ["-o", str(finish.run.path / "comparison.html"), "--overwrite", "--progress"]
        assert started[-1] == ["leave-one-out", str(finish.run.path), *page]
        assert said.startswith("On 2 corrected MRIs")
    else:
        assert "leave-one-out" not in [arguments[0] for arguments in started]
        assert said.startswith("The training saw all corrected MRIs")
    assert len(questions) == 2 and finish.used == []


def test_where_the_one_corrected_mri_taught_the_question_says_so(finish, tmp_path, monkeypatch):
    import slicer

    with_corrections(finish, tmp_path, ("train",))
    questions: list[str] = []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: questions.append(text))
    finish.ui.finishUseButton.click()
    assert finish.wait_for_export().startswith("The training saw all corrected MRIs")
    assert questions[0].startswith("The training saw all corrected MRIs") and finish.used == []
