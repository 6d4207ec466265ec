"""Says in words when a training goes wrong, from what its run folder holds. Without torch, because Slicer shows it.

What is watched follows from the losses and scores that there are, and what is advised from the settings that the run
has, so that no method is known by its name.

Nothing here looks at images. That the contrast is turned upside down, or that translated bone has moved, no number of a
run tells: both may go with good losses and scores, and only the previews show them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from HipICMSCTrainingLib.run.method import RunMethod
from HipICMSCTrainingLib.run.status import Status
from HipICMSCTrainingLib.settings.stages import SELF_TRAINING, SIMULATION, TOGETHER

Metrics = list[dict[str, Any]]
#: Scores by name, of one step after the other.
Scorings = list[dict[str, float]]

#: One scoring may be a slip; what shows in two of them, an epoch apart, stays unless something is changed.
SCORINGS_IN_A_ROW = 2
#: Less than a tenth of the bone that CTs show is found on MRI: the class is about to be given up.
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
#: What learns from labels and is measured on slices of the same kind reaches 0.9 within a few epochs.
LOW_DICE = 0.7
#: Between scorings it moves by a hundredth or two.
FORGOTTEN_DICE = 0.05
#: A loss five times as large as usual in its stage, and larger than any of them is at the start of a training.
EXPLODED_TIMES = 5.0
EXPLODED_LOSS = 3.0
#: Lines in a row, so that a single odd batch is no alarm, and lines before them that say what is usual.
EXPLODED_LINES, USUAL_LINES = 2, 5

#: By discriminator: what it tells apart, and the setting by which the others listen to it more.
_JUDGES = {
    "D_t": ("translated CTs from real MRIs", "adversarial_weight"),
    "D_s": ("translated MRIs from real CTs", "adversarial_weight"),
    "D_f": ("what the networks make of MRIs from what they make of CTs", "alignment_weight"),
    "D_P": ("segmentations of MRIs from those of translated CTs", "prediction_weight"),
    "D_P_low": ("segmentations of MRIs in a lower layer from those of translated CTs", "lower_prediction_weight"),
}
#: What may help, by the setting that a run must have for it.
_AGAINST_LOST_CLASSES = {
    "cmsc_t_start": "cmsc_t_start 0.5, so that F_s has learned before it teaches F_t",
    "prediction_weight": "a smaller prediction_weight",
    "alignment_weight": "a smaller alignment_weight",
    "alignment.learning_rate": "a smaller alignment.learning_rate",
    "contrast_prior": "contrast_prior t1 or fat-suppressed, as the MRIs are",
    "contrast_prior_segmenter_weight": "contrast_prior_segmenter_weight 0.1 beside that",
}
_AGAINST_DISAGREEMENT = {
    "cmsc_t_start": "cmsc_t_start 0.5",
    "alignment_weight": "a smaller alignment_weight",
    "learning_rate_segmentation": "a lower learning_rate_segmentation",
    "stage2_epochs": "fewer stage2_epochs",
}


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


def alarms(metrics: Metrics, status: Status, method: RunMethod) -> tuple[Alarm, ...]:
    """What is wrong now, the worst first; nothing where all is well or it is too early to tell.

    Args:
        metrics: all lines that the run wrote so far.
    """
    scorings = _best_scorings(metrics, TOGETHER)
    before_mri = method.share_before_mri * status.total_steps
    of_mri = [scores for step, scores in scorings if step > before_mri]
    # What starts from a model that works knows MRIs before stage 2.
    others = (SIMULATION, SELF_TRAINING) if _learns_corrections(metrics) else (SELF_TRAINING,)
    of_other_stages = [scores for stage in others for _, scores in _best_scorings(metrics, stage)]
    found = [
        *_not_finite(status, method),
        *_exploded(metrics, method),
        *_vanishing_or_off([*of_mri, *of_other_stages], method),
        *_falling_agreement(of_mri, method),
        *_slow_segmenter(
            metrics, [scores for _, scores in scorings], method.share_to_stage_2 * status.total_steps, method
        ),
        *_saturated(metrics, method),
        *_forgetting(metrics),
    ]
    return tuple(found)


def _not_finite(status: Status, method: RunMethod) -> Iterator[Alarm]:
    if status.state == "failed" and status.kind == "not_finite_loss":
        yield Alarm(
            "not_finite_loss",
            status.sentence,
            f"Resuming repeats the same steps. Duplicate the run with {_calmer(method)}.",
        )


def _exploded(metrics: Metrics, method: RunMethod) -> Iterator[Alarm]:
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
                f"Stop and duplicate the run with {_calmer(method)}.",
            )
            return


def _calmer(method: RunMethod) -> str:
    """The changes that let a training take smaller and more exact steps."""
    of_alignment = "alignment.learning_rate"
    rates = ["learning_rate_translation"] if method.translates else []
    rates += [rate for rate in (method.segmenter_rate,) if rate not in rates]
    rates += [of_alignment] if of_alignment in method.settings else []
    exact = ", or with precision fp32 in place of bf16" if method.settings.get("precision") == "bf16" else ""
    return f"{' and '.join(rates)} halved{exact}"


def _vanishing_or_off(scorings: Scorings, method: RunMethod) -> Iterator[Alarm]:
    if len(scorings) < SCORINGS_IN_A_ROW:
        return
    for key in scorings[-1]:
        if not key.startswith("foreground_"):
            continue
        shares = [scores[key] for scores in scorings[-SCORINGS_IN_A_ROW:] if key in scores]
        name = key.removeprefix("foreground_")
        if max(shares) < VANISHING_SHARE:
            yield Alarm(
                "class_vanishing",
                f"Hardly any {name} is found on MRI any more: {shares[-1]:.2f} of the share that the CTs show.",
                _unless_it_adapts(scorings, method)
                or f"A class that is lost does not come back. {_duplicate_with(_AGAINST_LOST_CLASSES, method)}",
            )
        elif max(shares) < SMALLEST_SHARE or min(shares) > LARGEST_SHARE:
            much = "little" if shares[-1] < SMALLEST_SHARE else "much"
            yield Alarm(
                "foreground_share",
                f"Too {much} {name} is found on MRI: {shares[-1]:.2f} times the share that the CTs show.",
                _unless_it_adapts(scorings, method) or _against_wrong_shares(method),
            )


def _unless_it_adapts(scorings: Scorings, method: RunMethod) -> str:
    """What to do about a method that does badly on MRI, but does not adapt to it; empty for one that does."""
    if "dice_MR" in scorings[-1]:
        return (
            "Look whether the label maps of the MRIs lie on them and whether the MRIs show the same parts of the body "
            "as the CTs. Then train longer (stage2_epochs)."
        )
    if not method.adapts:
        return "This method adapts nothing to MRI, and that is how far it goes; choose one that adapts."
    return ""


def _against_wrong_shares(method: RunMethod) -> str:
    if method.translates:
        otherwise = (
            "look at the previews: where the translations are wrong, duplicate the run with contrast_prior t1 or "
            "fat-suppressed, as the MRIs are, or with more stage1_epochs"
        )
    else:
        otherwise = "duplicate the run with a smaller alignment.learning_rate, or choose a method that translates"
    return (
        "If CTs and MRIs show different parts of the body, lower position_window_mm and keep share_field_of_view on. "
        f"Otherwise {otherwise}."
    )


def _falling_agreement(scorings: Scorings, method: RunMethod) -> Iterator[Alarm]:
    values = [scores["agreement"] for scores in scorings if "agreement" in scores]
    if len(values) <= AGREEMENT_SCORINGS:
        return
    best = max(values)
    if max(values[-AGREEMENT_SCORINGS:]) <= best - AGREEMENT_DROP:
        yield Alarm(
            "agreement_falling",
            f"The two best ways to segment an MRI agree less and less: {values[-1]:.2f}, after {best:.2f} at best.",
            "The selected weights are those of the best score, so nothing is lost by stopping here. "
            + _duplicate_with(_AGAINST_DISAGREEMENT, method),
        )


def _slow_segmenter(metrics: Metrics, scorings: Scorings, end: float, method: RunMethod) -> Iterator[Alarm]:
    """
    Args:
        end: the last step of stage 2.
    """
    start = next((line["step"] for line in metrics if line.get("stage") == TOGETHER), None)
    last = metrics[-1]["step"] if metrics else 0
    if start is None or not end or last < (start + end) / 2:
        return
    if len(scorings) < SCORINGS_IN_A_ROW:
        return
    # The first one is of what learns from labels; the others are of what is derived from it.
    name, dice = next(((name, value) for name, value in scorings[-1].items() if name.startswith("dice_")), ("", 1.0))
    if dice >= LOW_DICE:
        return
    slices = {"dice_F_s": "held-out CT", "dice_MR": "held-out MRI"}.get(name, "held-out CT that looks like MRI")
    labelled = "MRIs" if name == "dice_MR" else "CTs"
    longer = "pretraining_share, stage2_epochs" if "pretraining_share" in method.settings else "stage2_epochs"
    by_batch = method.settings.get("segmenter.norm") == "batch"
    norm = ", or set segmenter.norm to group if batch_size is small" if by_batch else ""
    yield Alarm(
        "slow_segmenter",
        f"What learns from labels reaches a Dice of only {dice:.2f} on {slices}, although half of stage 2 is over.",
        f"Check that the label maps lie on their {labelled}. Then train longer ({longer}) or raise "
        f"{method.segmenter_rate}{norm}.",
    )


def _saturated(metrics: Metrics, method: RunMethod) -> Iterator[Alarm]:
    lines = [line["losses"] for line in metrics if "losses" in line][-SATURATED_LINES:]
    if len(lines) < SATURATED_LINES:
        return
    for judge, (what, weight) in _JUDGES.items():
        name = f"adv_{judge}"
        if all(losses.get(name, 1.0) < SATURATED_LOSS for losses in lines):
            of_images = weight == "adversarial_weight"
            look = " Look at the previews; where the translations are poor, it matters." if of_images else ""
            more = f", or with a larger {weight}" if weight in method.settings else ""
            yield Alarm(
                "discriminator_saturated",
                f"The discriminator {judge} always tells {what}: its loss {name} has been below {SATURATED_LOSS} for "
                "long.",
                f"The others learn nothing from it any more.{look} Duplicate the run with a smaller "
                f"discriminator_width, with share_field_of_view on{more}.",
            )


def _forgetting(metrics: Metrics) -> Iterator[Alarm]:
    """Of a run that learns from corrected MRIs: what it knew of simulated ones."""
    if not _learns_corrections(metrics):
        return
    scored = [line["scores"] for line in metrics if "scores" in line and line.get("weights") == "average"]
    known = [scores["dice_simulated"] for scores in scored if "dice_simulated" in scores]
    if len(known) > 1 and known[-1] < max(known) - FORGOTTEN_DICE:
        yield Alarm(
            "forgetting",
            f"While corrected MRIs are learned, Dice on simulated MRIs fell from {max(known):.2f} to {known[-1]:.2f}.",
            "The model unlearns other contrasts. Duplicate the run with a larger corrections_towards_start, a smaller "
            "corrections_share or corrections_weight, or fewer simulation_epochs.",
        )


def _learns_corrections(metrics: Metrics) -> bool:
    return any("corrections" in line.get("losses", {}) for line in metrics)


def _duplicate_with(remedies: Mapping[str, str], method: RunMethod) -> str:
    """Those of them whose settings the run has, in a sentence; empty if it has none."""
    helpful = [text for setting, text in remedies.items() if setting in method.settings]
    return f"Duplicate the run with one or more of these: {'; '.join(helpful)}." if helpful else ""


def _best_scorings(metrics: Metrics, stage: int) -> list[tuple[int, dict[str, float]]]:
    """Each step of a stage with the scores of those weights (as they are, or their average) that scored best then.

    These are what a user would get.
    """
    best: dict[int, dict[str, float]] = {}
    for line in metrics:
        if "scores" not in line or line.get("stage") != stage:
            continue
        scores = line["scores"]
        if line["step"] not in best or scores["selection"] > best[line["step"]]["selection"]:
            best[line["step"]] = scores
    return sorted(best.items())
