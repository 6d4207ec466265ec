"""Scores that choose a checkpoint without a single MR label (method.md, What goes wrong in training such models)."""

from __future__ import annotations

import torch
from HipICMSCLib.segmenter import CLASS_NAMES
from torch import Tensor, nn

from HipICMSCTrainingLib.batches import SliceStack

Networks = dict[str, nn.Module]


@torch.no_grad()
def label_free_scores(
    networks: Networks, ct: SliceStack, mr: SliceStack, count: int, device: torch.device
) -> dict[str, float]:
    """Score deployable networks on held-out slices.

    Returns:
        ``dice_F_s``: F_s on CT against its labels.
        ``dice_F_t``: F_t on G_st(CT) against the CT's labels.
        ``agreement``: Dice of F_t(x_t) with F_s(G_ts(x_t)).
        ``entropy``: of F_t(x_t), mean over pixels, 0 to 1.
        ``foreground_<class>``: F_t's share of pixels on MR over the share in the CT labels.
        ``selection``: what the selected checkpoint maximises: the mean of ``dice_F_t`` and ``agreement``, minus a
        penalty for a class whose share leaves 0.5 … 2.
    """
    chosen_ct, chosen_mr = ct.evenly(count), mr.evenly(count)
    x_s, x_t = ct.images(chosen_ct), mr.images(chosen_mr)
    y_s = torch.from_numpy(ct.labels[chosen_ct]).long()
    F_s, F_t = _predictor(networks["F_s"], device), _predictor(networks["F_t"], device)
    G_st, G_ts = _predictor(networks["G_st"], device), _predictor(networks["G_ts"], device)
    p_t = F_t(x_t).softmax(1)
    labels_t = p_t.argmax(1)
    scores = {
        "dice_F_s": _dice(F_s(x_s).argmax(1), y_s),
        "dice_F_t": _dice(F_t(G_st(x_s)).argmax(1), y_s),
        "agreement": _dice(labels_t, F_s(G_ts(x_t)).argmax(1)),
        "entropy": float(
            -(p_t * p_t.clamp_min(1e-9).log()).sum(1).mean() / torch.tensor(float(len(CLASS_NAMES))).log()
        ),
    }
    penalty = 0.0
    for value, name in list(enumerate(CLASS_NAMES))[1:]:
        prior = float((y_s == value).float().mean())
        share = float((labels_t == value).float().mean()) / max(prior, 1e-9)
        scores[f"foreground_{name}"] = share
        penalty += float(not 0.5 <= share <= 2)
    scores["selection"] = (scores["dice_F_t"] + scores["agreement"]) / 2 - penalty
    return scores


def _predictor(network: nn.Module, device: torch.device):
    """``network`` over many slices, a few at a time."""

    def predict(images: Tensor) -> Tensor:
        return torch.cat([network(part.to(device)).float().cpu() for part in images.split(8)])

    return predict


def _dice(predicted: Tensor, truth: Tensor) -> float:
    """Mean over foreground classes of the Dice over all slices together; a class that is in neither counts as 1."""
    values = []
    for value in range(1, len(CLASS_NAMES)):
        p, t = predicted == value, truth == value
        total = int(p.sum() + t.sum())
        values.append(2 * int((p & t).sum()) / total if total else 1.0)
    return sum(values) / len(values)
