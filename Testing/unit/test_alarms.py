"""Alarms: what goes wrong in a training is said, and a training that goes well is left in peace."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from HipICMSCTrainingLib.alarms import alarms
from HipICMSCTrainingLib.run_folder import Status

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


def kinds(metrics: Metrics, now: Status | None = None) -> list[str]:
    found = alarms(metrics, now or status())
    for alarm in found:
        assert alarm.sentence.endswith(".")
        assert alarm.advice.endswith(".")
        assert "\n" not in alarm.sentence + alarm.advice
    return [alarm.kind for alarm in found]


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
    (alarm,) = alarms([], failed)
    assert alarm.sentence == failed.sentence
    assert "learning_rate_translation" in alarm.advice
    assert kinds([], status("failed", "disk_full", "The disk is full.")) == []


def test_a_class_vanishes_only_if_it_stays_away():
    gone, back = {"foreground_acetabulum": 0.03}, {"foreground_acetabulum": 0.8}
    assert kinds([*scoring(3), *scoring(4, **gone)]) == []
    assert kinds([*scoring(3, **gone), *scoring(4, **back)]) == []
    metrics = [*scoring(3), *scoring(4, **gone), *scoring(5, **gone)]
    assert kinds(metrics) == ["class_vanishing"]
    (alarm,) = alarms(metrics, status())
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
    assert f"too {word} femur" in alarms(metrics, status())[0].sentence


def test_an_agreement_that_falls_and_does_not_come_back():
    values = [0.6, 0.8, 0.7, 0.69, 0.65]
    metrics = [line for epoch, value in enumerate(values, 3) for line in scoring(epoch, agreement=value)]
    assert kinds(metrics[:-2]) == []  # two scorings are not enough
    assert kinds(metrics) == ["agreement_falling"]
    assert "0.65" in alarms(metrics, status())[0].sentence
    assert kinds([*metrics, *scoring(8, agreement=0.75)]) == []


def test_a_segmenter_of_ct_that_has_not_learned_by_half_of_stage_2():
    metrics = [*losses_until(900), *scoring(3, dice_F_s=0.5), *scoring(4, dice_F_s=0.6)]
    assert kinds(metrics) == []  # too early to tell
    metrics += [*scoring(7, dice_F_s=0.6)]
    assert kinds(metrics) == ["slow_segmenter"]
    assert "0.60" in alarms(metrics, status())[0].sentence


def test_a_discriminator_that_always_wins():
    assert kinds(losses_until(600, last=5, adv_D_t=0.001)) == []
    metrics = losses_until(600, last=10, adv_D_t=0.001)
    assert kinds(metrics) == ["discriminator_saturated"]
    assert "G_st" in alarms(metrics, status())[0].sentence
    assert kinds(losses_until(600, last=10, adv_D_t=0.001, adv_D_s=0.01)) == ["discriminator_saturated"] * 2


def test_losses_that_explode():
    assert kinds(losses_until(800, last=1, rec_s=40.0)) == []
    metrics = losses_until(800, last=2, rec_s=40.0)
    assert kinds(metrics) == ["exploding_loss"]
    assert "rec_s rose to 40" in alarms(metrics, status())[0].sentence


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
    found = kinds(finished_run.metrics(), finished_run.status())
    assert "slow_segmenter" in found
    assert set(found) <= {"slow_segmenter", "foreground_share", "class_vanishing"}


def test_slicer_needs_no_torch_for_it():
    code = "import sys, HipICMSCTrainingLib.alarms; print([m for m in ('torch', 'skimage') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
