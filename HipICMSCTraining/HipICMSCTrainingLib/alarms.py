"""Says in words when a training goes wrong, from what its run folder holds. Without torch, because Slicer shows it.

Nothing here looks at images. That the contrast is turned upside down, or that translated bone has moved, no number of a
run tells: both may go with good losses and scores, and only the previews show them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from HipICMSCTrainingLib.run_folder import Status

Metrics = list[dict[str, Any]]

#: One scoring may be a slip; what shows in two of them, an epoch apart, stays unless something is changed.
SCORINGS_IN_A_ROW = 2
#: F_t finds less than a tenth of the bone that CTs show: it is about to give the class up.
VANISHING_SHARE = 0.1
#: Fields of view differ, so that half or twice the share is possible; more is not (method.md).
SMALLEST_SHARE, LARGEST_SHARE = 0.5, 2.0
#: A discriminator that cannot tell has a loss of 0.25 (lsgan) or 0.69 (bce), one that always can has 0. A balanced
#: training stays above a tenth of that; below it, its gradient hardly says any more how to look real.
SATURATED_LOSS = 0.02
#: Lines of losses, each the mean of 20 steps: a discriminator may be ahead for a while.
SATURATED_LINES = 10
#: Agreement moves by some hundredths from epoch to epoch.
AGREEMENT_DROP = 0.1
AGREEMENT_SCORINGS = 3
#: F_s learns from labels and is measured on the same kind of CT; it reaches 0.9 within a few epochs.
LOW_DICE = 0.7
#: A loss five times as large as usual in its stage, and larger than any of them is at the start of a training.
EXPLODED_TIMES = 5.0
EXPLODED_LOSS = 3.0
#: Lines in a row, so that a single odd batch is no alarm, and lines before them that say what is usual.
EXPLODED_LINES, USUAL_LINES = 2, 5


@dataclass(frozen=True)
class Alarm:
    """Something that goes wrong.

    Attributes:
        kind: stable machine-readable word.
        sentence: what is seen, with numbers.
        advice: what to change, naming the settings.
    """

    kind: str
    sentence: str
    advice: str


def alarms(metrics: Metrics, status: Status) -> tuple[Alarm, ...]:
    """What is wrong now, the worst first; nothing where all is well or it is too early to tell.

    Args:
        metrics: all lines that the run wrote so far.
    """
    scorings = _scorings_of_stage_2(metrics)
    found = [
        *_not_finite(status),
        *_exploded(metrics),
        *_vanishing_or_off(scorings),
        *_falling_agreement(scorings),
        *_slow_segmenter(metrics, scorings, status),
        *_saturated(metrics),
    ]
    return tuple(found)


def _not_finite(status: Status) -> Iterator[Alarm]:
    if status.state == "failed" and status.kind == "not_finite_loss":
        yield Alarm(
            "not_finite_loss",
            status.sentence,
            "Resuming repeats the same steps. Duplicate the run with learning_rate_translation and "
            "learning_rate_segmentation halved, or with precision fp32 if it was bf16.",
        )


def _exploded(metrics: Metrics) -> Iterator[Alarm]:
    lines = [line for line in metrics if "losses" in line]
    lines = [line for line in lines if line.get("stage") == lines[-1].get("stage")]
    usual, last = lines[:-EXPLODED_LINES], lines[-EXPLODED_LINES:]
    if len(usual) < USUAL_LINES:
        return
    for name in last[-1]["losses"]:
        before = [line["losses"][name] for line in usual if name in line["losses"]]
        now = [line["losses"].get(name, 0.0) for line in last]
        if len(before) < USUAL_LINES:
            continue
        middle = statistics.median(before)
        if min(now) > max(EXPLODED_TIMES * middle, EXPLODED_LOSS):
            yield Alarm(
                "exploding_loss",
                f"The loss {name} rose to {now[-1]:.3g}; in this stage it was {middle:.3g} before.",
                "Stop and duplicate the run with learning_rate_translation and learning_rate_segmentation halved, or "
                "with precision fp32 if it is bf16.",
            )
            return


def _vanishing_or_off(scorings: Metrics) -> Iterator[Alarm]:
    if len(scorings) < SCORINGS_IN_A_ROW:
        return
    for key in scorings[-1]:
        if not key.startswith("foreground_"):
            continue
        shares = [scores[key] for scores in scorings[-SCORINGS_IN_A_ROW:]]
        name = key.removeprefix("foreground_")
        if max(shares) < VANISHING_SHARE:
            yield Alarm(
                "class_vanishing",
                f"F_t hardly finds any {name} on MRI any more: {shares[-1]:.2f} of the share that the CTs show.",
                "A class that is lost does not come back. Duplicate the run with cmsc_t_start 0.5, so that F_s has "
                "learned before it teaches F_t, and with contrast_prior t1 and contrast_prior_segmenter_weight 0.1 "
                "where the MRIs are T1-weighted.",
            )
        elif max(shares) < SMALLEST_SHARE or min(shares) > LARGEST_SHARE:
            much = "little" if shares[-1] < SMALLEST_SHARE else "much"
            yield Alarm(
                "foreground_share",
                f"F_t finds too {much} {name} on MRI: {shares[-1]:.2f} times the share that the CTs show.",
                "If CTs and MRIs show different parts of the body, lower position_window_mm and keep "
                "share_field_of_view on. Otherwise look at the previews: where the translations are wrong, duplicate "
                "the run with contrast_prior t1 for T1-weighted MRIs or with more stage1_epochs.",
            )


def _falling_agreement(scorings: Metrics) -> Iterator[Alarm]:
    values = [scores["agreement"] for scores in scorings if "agreement" in scores]
    if len(values) <= AGREEMENT_SCORINGS:
        return
    best = max(values)
    if max(values[-AGREEMENT_SCORINGS:]) <= best - AGREEMENT_DROP:
        yield Alarm(
            "agreement_falling",
            f"F_t and F_s agree less and less on MRI: {values[-1]:.2f}, after {best:.2f} at best.",
            "The selected weights are those of the best score, so nothing is lost by stopping here. For another run, "
            "lower learning_rate_segmentation or stage2_epochs, or set cmsc_t_start to 0.5.",
        )


def _slow_segmenter(metrics: Metrics, scorings: Metrics, status: Status) -> Iterator[Alarm]:
    start = next((line["step"] for line in metrics if line.get("stage") == 2), None)
    last = metrics[-1]["step"] if metrics else 0
    if start is None or not status.total_steps or last < (start + status.total_steps) / 2:
        return
    if len(scorings) < SCORINGS_IN_A_ROW:
        return
    dice = scorings[-1].get("dice_F_s")
    if dice is not None and dice < LOW_DICE:
        yield Alarm(
            "slow_segmenter",
            f"F_s reaches a Dice of only {dice:.2f} on held-out CT, although half of stage 2 is over.",
            "Check that the label maps lie on their CTs. Then train longer (stage2_epochs), raise "
            "learning_rate_segmentation, or set segmenter.norm to group if it is batch and batch_size is small.",
        )


def _saturated(metrics: Metrics) -> Iterator[Alarm]:
    lines = [line["losses"] for line in metrics if "losses" in line][-SATURATED_LINES:]
    if len(lines) < SATURATED_LINES:
        return
    for name, (translations, domain) in {"adv_D_t": ("G_st", "MRIs"), "adv_D_s": ("G_ts", "CTs")}.items():
        if all(losses.get(name, 1.0) < SATURATED_LOSS for losses in lines):
            yield Alarm(
                "discriminator_saturated",
                f"The discriminator tells every translation of {translations} from real {domain}: its loss {name} has "
                f"been below {SATURATED_LOSS} for long.",
                "It teaches the generator nothing any more. Look at the previews; if the translations are poor, "
                "duplicate the run with a smaller discriminator_width, with share_field_of_view on, or with a larger "
                "adversarial_weight.",
            )


def _scorings_of_stage_2(metrics: Metrics) -> Metrics:
    """The scores at each step, of those weights (as they are, or their average) that scored best then; these are what
    a user would get. In stage 1 the segmenters have learned nothing that a score could tell."""
    best: dict[int, dict[str, float]] = {}
    for line in _scored(metrics):
        scores = line["scores"]
        if line["step"] not in best or scores["selection"] > best[line["step"]]["selection"]:
            best[line["step"]] = scores
    return [best[step] for step in sorted(best)]


def _scored(metrics: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (line for line in metrics if "scores" in line and line.get("stage") == 2)
