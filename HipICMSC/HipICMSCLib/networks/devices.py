"""Which processor the networks run on."""

from __future__ import annotations

import torch

from HipICMSCLib.common.errors import HipError

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str) -> torch.device:
    """The device called ``name``, or for "auto" the fastest that is here.

    Raises:
        HipError: ``unknown_device`` or ``no_such_device``.
    """
    if name not in DEVICES:
        raise HipError("unknown_device", f"There is no device {name}; choose one of {', '.join(DEVICES)}.")
    available = available_devices()
    if name == "auto":
        name = available[0]
    if name not in available:
        raise HipError(
            "no_such_device", f"This computer has no {name} device that PyTorch can use; choose auto or cpu."
        )
    return torch.device(name)


def available_devices() -> list[str]:
    """Kinds of devices that are here, the fastest first."""
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [name for name, is_here in here.items() if is_here]


def device_name(device: torch.device) -> str:
    """A device as a user would call it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
