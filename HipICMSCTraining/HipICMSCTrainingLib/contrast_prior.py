"""A first guess of what a CT would look like on MRI, from Hounsfield units alone (ours; not in the paper).

Left to itself, a CycleGAN may start with the contrast upside down: bright bone becomes dark, dark fat becomes bright,
and muscle and marrow change places (method.md, What goes wrong). A pointwise guess in stage 1, fading out, puts the
generators on the right side of that decision; what tissue really looks like they learn from the images.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

ContrastPrior = Literal["none", "t1"]

#: (HU, brightness on MR from -1 to 1), linear in between. T1: fat bright, muscle dark, marrow (trabecular bone)
#: between them, cortex as black as air.
_KNOTS = {
    "t1": (
        (-200, -1.0), (-150, 0.3), (-100, 0.7), (-50, 0.5), (20, -0.5), (70, -0.5),
        (130, 0.1), (300, 0.2), (450, 0.0), (600, -0.8), (1000, -1.0),
    ),
}  # fmt: skip


def guessed_mr(x_s: Tensor, ct_window_hu: tuple[float, float], prior: ContrastPrior) -> Tensor:
    """Map CT slices in [-1, 1] pointwise to an MR-like contrast in [-1, 1]; padding stays padding.

    Args:
        x_s: (batch, 1, rows, columns), rescaled from ``ct_window_hu``.
    """
    hu, brightness = np.array(_KNOTS[prior]).T
    lowest, highest = ct_window_hu
    knots = (hu - lowest) / (highest - lowest) * 2 - 1
    mapped = np.interp(x_s.detach().cpu().numpy(), knots, brightness)
    return torch.from_numpy(mapped.astype(np.float32)).to(x_s.device)
