"""Which processor the networks run on."""

from __future__ import annotations

import torch

from HipICMSCLib.errors import HipError

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str) -> torch.device:
    """The device called ``name``, or for "auto" the fastest that is here.

    Raises:
        HipError: ``unknown_device`` or ``no_such_device``.
    """
    if name not in DEVICES:
        raise HipError("unknown_device", f"There is no device {name}; choose one of {', '.join(DEVICES)}.")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, here in available.items() if here)
    if not available[name]:
        raise HipError(
            "no_such_device", f"This computer has no {name} device that PyTorch can use; choose auto or cpu."
        )
    return torch.device(name)
