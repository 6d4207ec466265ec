"""Averages the weights of models that learned apart from one start: `python average_models.py OUT MODEL MODEL …`

As long as they have a start in common, weights between two of them serve as well, and often better on MRIs that neither
saw (Wortsman 2022, model soups). OUT is for a training to start from: its card is that of the last one.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.models.package import ModelPackage, read_package, write_package
from torch import Tensor

#: The first convolution of a slab U-Net, whose input channels are slices.
_FIRST = "down.0.0.weight"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    chosen = parser.parse_args()
    try:
        if chosen.output.exists():
            raise HipError("exists", f"There is {chosen.output} already; choose another name.")
        average_models([read_package(path) for path in chosen.models], chosen.output)
    except HipError as error:
        print(f"average_models: {error.sentence}", file=sys.stderr)
        return 2
    return 0


def average_models(packages: list[ModelPackage], output: Path) -> None:
    """Write a package whose F_t has the mean weights of several slab U-Nets; of several numbers of slices it has the
    largest, to which the others give no weight beyond their own.

    Raises:
        HipError: ``start_does_not_fit`` if they differ otherwise; as for writing a package.
    """
    last = packages[-1].manifest
    slices = max(package.manifest.slab_unet.slices for package in packages)
    shape = replace(last.slab_unet, slices=slices)
    if any(replace(package.manifest.slab_unet, slices=slices) != shape for package in packages):
        raise HipError("start_does_not_fit", "These models differ in more than the number of slices that they read.")
    weights = [_of_slices(package, slices) for package in packages]
    mean = {name: torch.stack([each[name] for each in weights]).mean(0) for name in weights[0]}
    manifest = replace(last, name=output.stem, slab_unet=shape)
    write_package(output, manifest, {"F_t": mean}, packages[-1].card)


def _of_slices(package: ModelPackage, slices: int) -> dict[str, Tensor]:
    """F_t's weights as those of a network that reads so many slices and gives the outer ones no weight."""
    weights = {name.removeprefix("F_t/"): value.float() for name, value in package.weights.items()}
    first = weights[_FIRST]
    before = (slices - first.shape[1]) // 2
    weights[_FIRST] = torch.zeros(len(first), slices, *first.shape[2:])
    weights[_FIRST][:, before : before + first.shape[1]] = first
    return weights


if __name__ == "__main__":
    sys.exit(main())
