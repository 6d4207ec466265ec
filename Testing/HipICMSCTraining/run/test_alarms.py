"""Alarms: what goes wrong in a training is said, and a training that goes well is left in peace."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from HipICMSCLib.common.settings import to_json
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.run.alarms import Alarm, alarms
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.method import RunMethod
from HipICMSCTrainingLib.run.status import Status
from HipICMSCTrainingLib.settings.training import TrainingSettings

Metrics = list[dict[str, Any]]
GOOD = {
    "dice_F_s": 0.93, "dice_F_t": 0.8, "agreement": 0.8, "entropy": 0.05,
    "foreground_acetabulum": 1.1, "foreground_femur": 0.9, "selection": 0.8,
}  # fmt: skip
LOSSES = {"rec_s": 0.1, "supervised": 0.3, "adv_G_t": 0.4, "adv_D_t": 0.2, "adv_D_s": 0.18}
STEPS_OF_AN_EPOCH, STAGE_1_EPOCHS, EPOCHS = 200, 2, 10


def status(state: str = "running", kind: str = "", sentence: str = "") -> Status:
    return Status(state, "stage 2", sentence, 0, STEPS_OF_AN_EPOCH * EPOCHS, 0.5, None, 1, 0.0, kind)


def losses_until(step: int, last: int = 0, **changes: float) -> Metrics:
    """A line each 20 steps; the last ones with some losses changed."""
    lines = [
        {"step": s, "stage": 1 if s <= STEPS_OF_AN_EPOCH * STAGE_1_EPOCHS else 2, "losses": dict(LOSSES)}
        for s in range(20, step + 1, 20)
    ]
    for line in lines[len(lines) - last :]:
        line["losses"] |= changes
    return lines


def scoring(epoch: int, average: dict[str, float] | None = None, **changes: float) -> Metrics:
    """What is written at the end of an epoch; ``changes`` concern the weights as they are and their average."""
    lines = [{"step": epoch * STEPS_OF_AN_EPOCH, "stage": 1 if epoch <= STAGE_1_EPOCHS else 2} for _ in range(2)]
    lines[0] |= {"scores": GOOD | changes, "weights": "last"}
    lines[1] |= {"scores": GOOD | changes | {"selection": 0.79} | (average or {}), "weights": "average"}
    return lines


@pytest.fixture(scope="module")
def methods(tmp_path_factory) -> dict[str, RunMethod]:
    """Each method as the run.json of a run with its usual settings tells it."""
    found = {}
    for name, method in METHODS.items():
        run = RunFolder(tmp_path_factory.mktemp("run") / name)
        shared, own = to_json(TrainingSettings()), to_json(method.Settings())
        run.create({"method": name, "settings": shared, "method_settings": own})
        found[name] = RunMethod.of(run)
    return found


#: Of a run whose settings make no difference.
ICMSC = RunMethod("icmsc", to_json(TrainingSettings()) | to_json(METHODS["icmsc"].Settings()))


def found_in(metrics: Metrics, now: Status | None = None, method: RunMethod = ICMSC) -> tuple[Alarm, ...]:
    found = alarms(metrics, now or status(), method)
    for alarm in found:
        assert alarm.sentence.endswith(".")
        assert alarm.advice.endswith(".")
        assert "\n" not in alarm.sentence + alarm.advice
    return found


def kinds(metrics: Metrics, now: Status | None = None, method: RunMethod = ICMSC) -> list[str]:
    return [alarm.kind for alarm in found_in(metrics, now, method)]


#: As preset "slabs" has them: most is simulation, and stage 2 is one epoch.
SLABS = RunMethod(
    "icmsc",
    ICMSC.settings | {"simulation_epochs": 4, "stage1_epochs": 1, "stage2_epochs": 1, "self_training_epochs": 4},
)


def self_training_scoring(epoch: int, **changes: float) -> Metrics:
    return [line | {"stage": 3} for line in scoring(epoch, **changes)]


@pytest.mark.parametrize(
    ("share", "kind"), [(0.02, "class_vanishing"), (0.3, "foreground_share"), (2.5, "foreground_share")]
)
def test_a_bone_that_self_training_loses_or_makes_too_much_of_is_named(share, kind):
    good = self_training_scoring(7)
    once = good + self_training_scoring(8, foreground_femur=share)
    assert kinds(good, method=SLABS) == kinds(once, method=SLABS) == []
    (alarm,) = found_in(once + self_training_scoring(9, foreground_femur=share), method=SLABS)
    assert (alarm.kind, "femur" in alarm.sentence) == (kind, True)


def test_a_bone_that_corrections_unlearn_is_named_and_one_that_simulation_has_not_learned_is_not():
    """Both are of the stage of simulation; what learns from corrected MRIs starts from a model that found it."""
    lost = [line | {"stage": 0} for epoch in (1, 2) for line in scoring(epoch, foreground_femur=0.02)]
    with_corrections = [line | {"stage": 0, "losses": {"corrections": 0.2}} for line in losses_until(200)]
    assert kinds(lost, method=SLABS) == []
    assert kinds(with_corrections + lost, method=SLABS) == ["class_vanishing"]


def test_half_of_stage_2_is_not_half_of_all_that_follows():
    """Stage 2 is 4 of 10 epochs, from step 400 to 1200; four epochs of self-training follow."""
    epochs = {"simulation_epochs": 1, "stage1_epochs": 1, "stage2_epochs": 4, "self_training_epochs": 4}
    method = replace(SLABS, settings=SLABS.settings | epochs)
    low = [line | {"stage": 2} for epoch in (2.1, 3) for line in scoring(epoch, dice_F_s=0.3)]
    lines = [line | {"stage": 2} for line in losses_until(820) if line["step"] > 600]
    assert kinds(low + lines[:9], method=method) == []
    assert kinds(low + lines, method=method) == ["slow_segmenter"]


def test_nothing_is_said_of_a_training_that_goes_well():
    metrics: Metrics = []
    for epoch in range(1, EPOCHS + 1):
        metrics += [*losses_until(epoch * STEPS_OF_AN_EPOCH)[len(losses_until((epoch - 1) * STEPS_OF_AN_EPOCH)) :]]
        metrics += scoring(epoch, agreement=0.8 - 0.04 * (epoch % 2))
        assert kinds(metrics) == []


def test_nothing_is_said_before_there_is_anything():
    assert kinds([]) == []
    assert kinds([], status("lost")) == []


def test_in_stage_1_the_segmenters_are_not_judged():
    untrained = {"foreground_femur": 0.0, "dice_F_s": 0.0, "agreement": 0.1}
    assert kinds([*scoring(1, **untrained), *scoring(2, **untrained)]) == []


def test_a_loss_that_is_no_number():
    failed = status("failed", "not_finite_loss", "The loss rec_s is no longer a number at step 7.")
    assert kinds([], failed) == ["not_finite_loss"]
    (alarm,) = found_in([], failed)
    assert alarm.sentence == failed.sentence
    assert "learning_rate_translation" in alarm.advice
    assert kinds([], status("failed", "disk_full", "The disk is full.")) == []


def test_a_class_vanishes_only_if_it_stays_away():
    gone, back = {"foreground_acetabulum": 0.03}, {"foreground_acetabulum": 0.8}
    assert kinds([*scoring(3), *scoring(4, **gone)]) == []
    assert kinds([*scoring(3, **gone), *scoring(4, **back)]) == []
    metrics = [*scoring(3), *scoring(4, **gone), *scoring(5, **gone)]
    assert kinds(metrics) == ["class_vanishing"]
    (alarm,) = found_in(metrics)
    assert "acetabulum" in alarm.sentence
    assert "femur" not in alarm.sentence
    assert "0.03" in alarm.sentence
    assert "cmsc_t_start" in alarm.advice


def test_the_better_of_weights_and_average_counts():
    lost = {"foreground_femur": 0.0, "selection": -0.5}
    recovered = {"foreground_femur": 1.0, "selection": 0.8}
    metrics = [*scoring(3, recovered, **lost), *scoring(4, recovered, **lost)]
    assert kinds(metrics) == []


@pytest.mark.parametrize(("share", "word"), [(0.4, "little"), (2.5, "much")])
def test_a_share_of_bone_that_cannot_be_right(share, word):
    off = {"foreground_femur": share}
    assert kinds([*scoring(3), *scoring(4, **off)]) == []
    metrics = [*scoring(3, **off), *scoring(4, **off)]
    assert kinds(metrics) == ["foreground_share"]
    assert f"Too {word} femur is found" in found_in(metrics)[0].sentence


def test_an_agreement_that_falls_and_does_not_come_back():
    values = [0.6, 0.8, 0.7, 0.69, 0.65]
    metrics = [line for epoch, value in enumerate(values, 3) for line in scoring(epoch, agreement=value)]
    assert kinds(metrics[:-2]) == []  # two scorings are not enough
    assert kinds(metrics) == ["agreement_falling"]
    assert "0.65" in found_in(metrics)[0].sentence
    assert kinds([*metrics, *scoring(8, agreement=0.75)]) == []


def test_a_segmenter_of_ct_that_has_not_learned_by_half_of_stage_2():
    metrics = [*losses_until(900), *scoring(3, dice_F_s=0.5), *scoring(4, dice_F_s=0.6)]
    assert kinds(metrics) == []  # too early to tell
    metrics += [*scoring(7, dice_F_s=0.6)]
    assert kinds(metrics) == ["slow_segmenter"]
    assert "0.60" in found_in(metrics)[0].sentence


def test_a_discriminator_that_always_wins():
    assert kinds(losses_until(600, last=5, adv_D_t=0.001)) == []
    metrics = losses_until(600, last=10, adv_D_t=0.001)
    assert kinds(metrics) == ["discriminator_saturated"]
    assert "D_t always tells translated CTs from real MRIs" in found_in(metrics)[0].sentence
    assert kinds(losses_until(600, last=10, adv_D_t=0.001, adv_D_s=0.01)) == ["discriminator_saturated"] * 2


def test_losses_that_explode():
    assert kinds(losses_until(800, last=1, rec_s=40.0)) == []
    metrics = losses_until(800, last=2, rec_s=40.0)
    assert kinds(metrics) == ["exploding_loss"]
    assert "rec_s rose to 40" in found_in(metrics)[0].sentence


def test_a_discriminator_that_recovers_does_not_explode():
    """Many times the usual loss, but one that any training has at its start."""
    metrics = losses_until(800, last=15, adv_D_t=0.03)
    for line in metrics[-2:]:
        line["losses"]["adv_D_t"] = 0.4
    assert kinds(metrics) == []


def test_terms_that_begin_later_are_not_compared_with_nothing():
    metrics = losses_until(800)
    for line in metrics[-3:]:
        line["losses"]["cmsc_t"] = 9.0
    assert kinds(metrics) == []


def test_the_worst_comes_first():
    gone = {"foreground_acetabulum": 0.0, "agreement": 0.1}
    metrics = [*losses_until(800, last=10, adv_D_t=0.0), *scoring(3), *scoring(4, agreement=0.3)]
    metrics += [line for epoch in (5, 6, 7) for line in scoring(epoch, **gone)]
    assert kinds(metrics) == ["class_vanishing", "agreement_falling", "discriminator_saturated"]


def test_lines_of_an_older_run_that_name_no_stage():
    metrics = [*losses_until(800), *scoring(5, dice_F_s=0.1), *scoring(6, dice_F_s=0.1)]
    for line in metrics:
        del line["stage"]
    assert kinds(metrics) == []


def test_a_real_run_of_a_few_steps(finished_run):
    """It has learned nothing: F_s is far from its labels at the end, and that is what is said at most."""
    found = kinds(finished_run.metrics(), finished_run.status(), RunMethod.of(finished_run))
    assert "slow_segmenter" in found
    assert set(found) <= {"slow_segmenter", "foreground_share", "class_vanishing"}


# Other methods.

#: Words that make no sense in a training that does not translate.
OF_TRANSLATION = ("translat", "generator", "contrast_prior", "G_st", "stage1_epochs", "adversarial_weight")


def scoring_of(epoch: int, **scores: float) -> Metrics:
    return [{"step": epoch * STEPS_OF_AN_EPOCH, "stage": 2, "scores": scores, "weights": "last"}]


def collapsed(**scores: float) -> Metrics:
    """Two scorings at the end of a training in which hardly any femur is found and too much hip bone."""
    shares = {"foreground_femur": 0.02, "foreground_acetabulum": 3.0, "selection": -1.0}
    return [*scoring_of(EPOCHS - 1, **scores, **shares), *scoring_of(EPOCHS, **scores, **shares)]


SCORES = {
    "icmsc": {"dice_F_s": 0.9, "dice_F_t": 0.6, "agreement": 0.5},
    "no_adaptation": {"dice_F_s": 0.9},
    "adda": {"dice_F_s": 0.9},
    "cyclegan": {"dice_F_s": 0.9, "dice_F_s(G_ts)": 0.6},
    "cycada": {"dice_F_s": 0.9, "dice_F_t": 0.6, "agreement": 0.5},
    "sifa": {"dice_S(E)": 0.9},
    "target_model": {"dice_MR": 0.9},
}


@pytest.mark.parametrize("name", METHODS)
def test_what_is_advised_names_only_settings_that_the_run_has(methods, name):
    method, everything = methods[name], {setting for each in methods.values() for setting in each.settings}
    failed = status("failed", "not_finite_loss", "The loss is no longer a number.")
    judges = [key for key in ("adv_D_t", "adv_D_s", "adv_D_f", "adv_D_P", "adv_D_P_low") if name != "no_adaptation"]
    exploding = losses_until(800, last=2, supervised=50.0)
    losing = losses_until(800, last=10, **dict.fromkeys(judges, 0.0))
    slow = [*losses_until(2000), *collapsed(**{key: 0.3 for key in SCORES[name]})]
    for metrics, now in (([], failed), (exploding, None), (losing, None), (slow, None)):
        for alarm in found_in(metrics, now, method):
            words = {word.strip(".,;()") for word in alarm.advice.split()}
            assert words & everything <= set(method.settings), alarm
            if alarm.kind != "discriminator_saturated" and not method.translates:
                assert not [word for word in OF_TRANSLATION if word in alarm.advice and "choose" not in alarm.advice]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("icmsc", "cmsc_t_start 0.5"), ("cyclegan", "contrast_prior t1"), ("cycada", "a smaller alignment_weight"),
        ("adda", "a smaller alignment.learning_rate"), ("sifa", "a smaller prediction_weight"),
        ("no_adaptation", "adapts nothing to MRI"), ("target_model", "label maps of the MRIs lie on them"),
    ],
)  # fmt: skip
def test_a_lost_class_has_another_remedy_with_each_method(methods, name, words):
    lost, wrong = found_in(collapsed(**SCORES[name]), method=methods[name])
    if lost.kind != "class_vanishing":
        lost, wrong = wrong, lost
    assert (lost.kind, wrong.kind) == ("class_vanishing", "foreground_share")
    assert words in lost.advice
    assert "F_t" not in lost.sentence + wrong.sentence, "not every method has one"
    assert not (name == "cyclegan" and "cmsc" in lost.advice)


@pytest.mark.parametrize(("name", "before"), [("adda", 0.5), ("cycada", 0.6), ("icmsc", 0.0), ("sifa", 0.0)])
def test_the_segmenter_of_mri_is_not_judged_before_it_learns(methods, name, before):
    """ADDA's and CyCADA's F_t is a copy of F_s until then, which knows nothing of MRI."""
    assert methods[name].share_before_mri == pytest.approx(before)
    early = [line | {"step": 100 * number} for number, line in enumerate(collapsed(**SCORES[name]), 1)]
    assert (kinds(early, method=methods[name]) == []) == (before > 0)
    assert "class_vanishing" in kinds(collapsed(**SCORES[name]), method=methods[name])


@pytest.mark.parametrize(
    ("name", "slices", "advice"),
    [
        ("cyclegan", "held-out CT,", "lie on their CTs"), ("adda", "held-out CT,", "pretraining_share"),
        ("target_model", "held-out MRI,", "lie on their MRIs"),
        ("sifa", "held-out CT that looks like MRI,", "raise learning_rate_translation"),
    ],
)  # fmt: skip
def test_what_learns_from_labels_is_judged_by_the_slices_it_learns_from(methods, name, slices, advice):
    usual = {"foreground_femur": 1.0, "selection": 0.5}
    poor = dict.fromkeys(SCORES[name], 0.4)
    metrics = [*losses_until(1800), *scoring_of(8, **poor, **usual), *scoring_of(9, **poor, **usual)]
    (alarm,) = found_in(metrics, method=methods[name])
    assert alarm.kind == "slow_segmenter"
    assert f"only 0.40 on {slices}" in alarm.sentence
    assert advice in alarm.advice


def test_precision_is_only_spoken_of_where_it_is_reduced():
    failed = status("failed", "not_finite_loss", "The loss is no longer a number.")
    assert "bf16" not in found_in([], failed)[0].advice
    reduced = replace(ICMSC, settings={**ICMSC.settings, "precision": "bf16"})
    assert "fp32 in place of bf16" in found_in([], failed, reduced)[0].advice


def test_a_run_whose_settings_cannot_be_read_is_watched_all_the_same(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create({"settings": 3, "method_settings": {"pretraining_share": "much", "target_share": 10**400}})
    assert RunMethod.of(run).phases == {}
    assert "class_vanishing" in kinds(collapsed(dice_F_s=0.9), method=RunMethod.of(run))


def test_phases_of_a_method_follow_each_other_over_the_whole_training(methods):
    at = [methods["cycada"].phase_at(share) for share in (0.0, 0.24, 0.25, 0.59, 0.61, 0.99, 1.0)]
    assert at == ["pretraining", "pretraining", "translation", "translation", "target", "alignment", "alignment"]
    assert methods["icmsc"].phase_at(0.5) == ""
    assert {name for name, method in methods.items() if method.translates} == {"icmsc", "cyclegan", "cycada", "sifa"}
    assert {name for name, method in methods.items() if not method.adapts} == {"no_adaptation", "target_model"}


def test_slicer_needs_no_torch_for_it():
    code = "import sys, HipICMSCTrainingLib.run.alarms; print([m for m in ('torch', 'skimage') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
