"""One ICMSC step against a plain port of equation 1 that computes every forward anew; same networks, losses, fp32.

`training_step.py` runs both and prints JSON.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from HipICMSCLib.networks.paper_segmenter import CLASS_NAMES, Segmenter
from HipICMSCLib.networks.translator import Translator
from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.icmsc import Icmsc, IcmscSettings
from HipICMSCTrainingLib.methods.losses import (
    adversarial_loss,
    discriminator_loss,
    one_hot,
    prediction_target,
    reconstruction_loss,
    segmentation_loss,
)
from HipICMSCTrainingLib.methods.method import Moment
from HipICMSCTrainingLib.networks.gan import PatchDiscriminator
from HipICMSCTrainingLib.networks.parameters import frozen, parameters_of
from HipICMSCTrainingLib.settings.training import PRESETS, TrainingSettings
from measuring import SMALLEST, in_child, measured

SETTINGS = PRESETS["smoke" if SMALLEST else "paper"]
ROWS, COLUMNS = SETTINGS.crop.size[2], SETTINGS.crop.size[0]


def batch(slices: int = 1, rows: int = ROWS, columns: int = COLUMNS) -> Batch:
    random = torch.Generator().manual_seed(0)
    x_s, x_t = (torch.rand(slices, 1, rows, columns, generator=random) * 2 - 1 for _ in range(2))
    y_s = torch.randint(0, len(CLASS_NAMES), (slices, rows, columns), generator=random)
    return Batch(x_s, y_s, x_t)


def ours(settings: TrainingSettings = SETTINGS, slices: int = 1) -> dict[str, float]:
    method = Icmsc(settings, IcmscSettings(), torch.device("cpu"), Distribution())
    columns, _, rows = settings.crop.size
    random, moment, drawn = np.random.default_rng(0), Moment(0, 2, 0.0), batch(slices, rows, columns)
    return measured(lambda: method.train_step(drawn, moment, random), repeats=2)


def plain() -> dict[str, float]:
    own = IcmscSettings()
    G_st, G_ts = Translator(SETTINGS.translator), Translator(SETTINGS.translator)
    F_s, F_t = Segmenter(SETTINGS.segmenter), Segmenter(SETTINGS.segmenter)
    D_s, D_t = (PatchDiscriminator(SETTINGS.discriminator_width) for _ in range(2))
    betas, rate = SETTINGS.adam_betas_translation, SETTINGS.learning_rate_translation
    optimizers = [
        torch.optim.Adam(parameters_of(G_st, G_ts), rate, betas),
        torch.optim.Adam(parameters_of(F_s, F_t), SETTINGS.learning_rate_segmentation),
        torch.optim.Adam(parameters_of(D_s, D_t), rate, betas),
    ]
    drawn = batch()
    x_s, x_t, y_s = drawn.x_s, drawn.x_t, one_hot(drawn.y_s, len(CLASS_NAMES))

    def adversarial() -> torch.Tensor:
        return adversarial_loss(D_t(G_st(x_s)), True, own.gan_loss) + adversarial_loss(
            D_s(G_ts(x_t)), True, own.gan_loss
        )

    def reconstruction() -> torch.Tensor:
        return reconstruction_loss(G_ts(G_st(x_s)), x_s) + reconstruction_loss(G_st(G_ts(x_t)), x_t)

    def intra() -> torch.Tensor:
        return segmentation_loss(F_s(G_ts(G_st(x_s))), prediction_target(F_s(x_s), "hard")) + segmentation_loss(
            F_t(G_st(G_ts(x_t))), prediction_target(F_t(x_t), "hard")
        )

    def cross() -> torch.Tensor:
        return segmentation_loss(F_t(G_st(x_s)), y_s) + segmentation_loss(
            F_t(x_t), prediction_target(F_s(G_ts(x_t)), "hard")
        )

    def step() -> None:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        with frozen(D_s, D_t):
            total = segmentation_loss(F_s(x_s), y_s) + adversarial() + 10 * reconstruction()
            (total + 0.1 * intra() + 0.1 * cross()).backward()
        optimizers[0].step()
        optimizers[1].step()
        for judge, real, translated in ((D_t, x_t, G_st(x_s).detach()), (D_s, x_s, G_ts(x_t).detach())):
            discriminator_loss(judge(real), judge(translated), own.gan_loss).backward()
        optimizers[2].step()

    return measured(step, repeats=2)


MEASUREMENTS = {"ICMSC step": ours, "plain port": plain}


def main() -> dict[str, object]:
    results: dict[str, object] = {name: in_child(__file__, name) for name in MEASUREMENTS}
    mine, theirs = results.values()
    results["plain seconds / ours"] = theirs["seconds"] / mine["seconds"]
    results["our peak memory / plain"] = mine["peak_mib"] / theirs["peak_mib"]
    return results


if __name__ == "__main__":
    print(json.dumps(MEASUREMENTS[sys.argv[1]]() if sys.argv[1:] and sys.argv[1] in MEASUREMENTS else main()))
