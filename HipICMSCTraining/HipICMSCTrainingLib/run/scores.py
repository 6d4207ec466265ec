"""Scores that choose a checkpoint without a single MR label (method.md, What goes wrong in training such models)."""

from __future__ import annotations

import math

import torch
from HipICMSCLib.networks.paper_segmenter import CLASS_NAMES
from torch import Tensor, nn

from HipICMSCTrainingLib.data.slab_stack import SlabStack
from HipICMSCTrainingLib.data.training_data import Stack
from HipICMSCTrainingLib.methods.ways import Networks, Ways, route_name, through


@torch.no_grad()
def label_free_scores(
    networks: Networks,
    ways: Ways,
    ct: Stack,
    mr: Stack,
    count: int,
    device: torch.device,
    simulated: SlabStack | None = None,
) -> dict[str, float]:
    """Score deployable networks on held-out slices, as far as their ways go.

    Args:
        simulated: simulated MRI with labels, where the training has any.

    Returns:
        ``dice_F_s`` (or what else segments CT): on CT against its labels.
        ``dice_F_t`` (or what else segments MR best): on G_st(CT) against the CT's labels.
        ``agreement``: on MR, Dice of the two best adapted routes, F_t(x_t) with F_s(G_ts(x_t)).
        ``dice_simulated``: the best route on simulated MRI against its labels.
        ``agreement_of_views``: on MR, Dice of the best route with itself on the slices in a mirror and in another
            contrast.
        ``entropy``: of the best route on MR, mean over pixels, 0 to 1.
        ``foreground_<class>``: the best route's share of pixels on MR over the share in the CT labels.
        ``dice_MR``: the best route on MR against its labels; only a method that learns from such labels has any.
        ``selection``: what the selected checkpoint maximises: the mean of ``dice_simulated`` and
            ``agreement_of_views`` where there are such, or else of ``dice_F_t`` and ``agreement``, or the one of them
            that there is, minus a penalty for a class whose share leaves 0.5 … 2, up to 1 at 0.25 and 4: MRIs may show
            more or less than CTs, but not so much (method.md has 1 from the first step beyond). An adapted route with
            neither has 1 - ``entropy`` in their place. What was not adapted is selected on CT, by ``dice_F_s`` alone,
            and what learned from labels of MRIs by ``dice_MR``.
    """
    chosen_ct, chosen_mr = ct.evenly(count), mr.evenly(count)
    x_s, x_t = ct.images(chosen_ct), mr.images(chosen_mr)
    y_s = torch.from_numpy(ct.labels[chosen_ct]).long()

    def labels(route: tuple[str, ...], images: Tensor) -> Tensor:
        return predicted(through(networks, route), images, device).argmax(1)

    scores, evidence = {}, []
    p_t = predicted(through(networks, ways.best), x_t, device).softmax(1)
    labels_t = p_t.argmax(1)
    if ways.segment_ct:
        on_ct = scores[f"dice_{route_name(ways.segment_ct)}"] = mean_dice(labels(ways.segment_ct, x_s), y_s)
    if ways.ct_to_mr:
        on_translated = mean_dice(labels((*ways.ct_to_mr, *ways.best), x_s), y_s)
        scores[f"dice_{route_name(ways.best)}"] = on_translated
        evidence.append(on_translated)
    if len(ways.adapted) > 1:
        scores["agreement"] = mean_dice(labels_t, labels(ways.adapted[1], x_t))
        evidence.append(scores["agreement"])
    if simulated is not None:
        chosen = simulated.evenly(count)
        truth = torch.from_numpy(simulated.labels[chosen]).long()
        scores["dice_simulated"] = mean_dice(labels(ways.best, simulated.images(chosen)), truth)
        scores["agreement_of_views"] = mean_dice(labels_t, labels(ways.best, other_view(x_t)).flip(-1))
        evidence = [scores["dice_simulated"], scores["agreement_of_views"]]
    scores["entropy"] = float(
        -(p_t * p_t.clamp_min(1e-9).log()).sum(1).mean() / torch.tensor(float(len(CLASS_NAMES))).log()
    )
    penalty = 0.0
    for value, name in list(enumerate(CLASS_NAMES))[1:]:
        prior = float((y_s == value).float().mean())
        share = float((labels_t == value).float().mean()) / max(prior, 1e-9)
        scores[f"foreground_{name}"] = share
        penalty += _penalty(share)
    if mr.labels is not None:
        scores["dice_MR"] = scores["selection"] = mean_dice(labels_t, torch.from_numpy(mr.labels[chosen_mr]).long())
    elif ways.best == ways.segment_ct:
        scores["selection"] = on_ct
    else:
        evidence = evidence or [1 - scores["entropy"]]
        scores["selection"] = sum(evidence) / len(evidence) - penalty
    return scores


def _penalty(share: float) -> float:
    """None within a factor of two of what is expected, 1 beyond a factor of four."""
    return min(1.0, max(0.0, abs(math.log2(max(share, 1e-9))) - 1))


def other_view(x: Tensor) -> Tensor:
    """The same slices in a mirror and darker, as another scanner might give them."""
    return ((x.flip(-1) + 1) / 2) ** 1.4 * 2 - 1


def predicted(network: nn.Module, images: Tensor, device: torch.device) -> Tensor:
    """What ``network`` says of many slices, a few at a time."""
    return torch.cat([network(part.to(device)).float().cpu() for part in images.split(8)])


def mean_dice(found: Tensor, truth: Tensor) -> float:
    """Mean over foreground classes of the Dice over all slices together; a class that is in neither counts as 1."""
    values = []
    for value in range(1, len(CLASS_NAMES)):
        p, t = found == value, truth == value
        total = int(p.sum() + t.sum())
        values.append(2 * int((p & t).sum()) / total if total else 1.0)
    return sum(values) / len(values)
