"""The history of translated images that a discriminator sees (method.md, Losses: 50 images)."""

from __future__ import annotations

import numpy as np
import torch
from HipICMSCLib.common.errors import HipError
from torch import Tensor


def check_capacity(capacity: int) -> None:
    """
    Raises:
        HipError: ``bad_setting``.
    """
    if capacity < 0:
        raise HipError("bad_setting", f"image_pool is {capacity}; give a number from 0.")


class ImagePool:
    """Keeps up to ``capacity`` translated images; half of those it returns are older ones, exchanged for the new.

    One without capacity returns what it is given.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.images: list[Tensor] = []

    def exchange(self, images: Tensor, random: np.random.Generator) -> Tensor:
        """(batch, 1, rows, columns) in, as many out, without gradient."""
        if not self.capacity:
            return images.detach()
        returned = []
        for image in images.detach():
            if len(self.images) < self.capacity:
                self.images.append(image.clone())
                returned.append(image)
            elif random.random() < 0.5:
                place = int(random.integers(self.capacity))
                # After a resume the history lies where the checkpoint was read.
                returned.append(self.images[place].to(image.device))
                self.images[place] = image.clone()
            else:
                returned.append(image)
        return torch.stack(returned)
