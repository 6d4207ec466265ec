"""Runs a network over the slices of one volume: precision, batches, and what to do when memory runs out."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from HipICMSCLib.common.errors import HipError

#: Slices at once. On a CPU larger batches leave the cache and gain nothing.
FIRST_BATCH = {"cpu": 2, "cuda": 16, "mps": 8}
#: Reduced precision is used only if it changes the class of no more than this share of a trial slice's pixels.
LARGEST_CHANGE = 1e-3

#: What PyTorch, its libraries and ITK say where memory does not suffice, and what tells that it is a graphics card's.
_OUT_OF_MEMORY = (
    "out of memory", "can't allocate memory", "not enough memory", "alloc_failed", "bad_alloc", "bad allocation",
    "failed to allocate memory",
)  # fmt: skip
_GRAPHICS_CARD = ("cuda", "cudnn", "cublas", "hip out of memory", "miopen", "mps backend")


@dataclass(frozen=True)
class Precision:
    """``dtype`` of the convolutions; None is fp32."""

    name: str
    dtype: torch.dtype | None


FP32 = Precision("fp32", None)
BF16 = Precision("bf16", torch.bfloat16)
FP16 = Precision("fp16", torch.float16)


def fast_precision(device: torch.device) -> Precision:
    """The precision in which ``device`` computes convolutions fastest."""
    if device.type == "cuda":
        return BF16 if torch.cuda.is_bf16_supported(including_emulation=False) else FP16
    if device.type == "mps":
        return FP16
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return BF16 if native() else FP32


class SliceInference:
    """A network on a device, ready for volumes.

    Attributes:
        precision: of the volume that is read.
    """

    def __init__(
        self, network: nn.Module, device: torch.device, precision: Precision | None = None, neighbours: int = 0
    ) -> None:
        """
        Args:
            precision: None chooses the device's fast one and checks it on each volume.
            neighbours: slices on either side that the network reads as channels beside the one that it segments.
        """
        self.neighbours = neighbours
        self.network = _fused(network).to(memory_format=torch.channels_last)
        self.fixed_precision = precision
        self._steps_down: list[str] = []
        self._of_volume: list[str] = []
        try:
            self._use(device)
        except (MemoryError, RuntimeError) as error:
            # Another program, another Slicer for instance, may hold all of the card.
            if device.type == "cpu" or not is_out_of_memory(error):
                raise
            self._use_processor(device)

    @property
    def fallbacks(self) -> list[str]:
        """What did not go as planned, as sentences: where memory ran out since the network was loaded, which is not
        taken back, and which precision this volume needed."""
        return [*self._steps_down, *self._of_volume]

    def forget_volume(self) -> None:
        """Another volume may do with less precision than the last one."""
        self._of_volume = []
        self.precision = self.fixed_precision or fast_precision(self.device)

    def foreground(
        self,
        slices: np.ndarray,
        progress: Callable[[float], None],
        cancelled: Callable[[], bool],
        mirrored: bool = False,
    ) -> np.ndarray:
        """Softmax probabilities of the foreground classes.

        Args:
            slices: (slice, row, column) float32 in [-1, 1].
            progress: called with the share that is done.
            cancelled: asked before every batch.
            mirrored: read each slice a second time with its columns reversed, and take the mean.

        Returns:
            (class - 1, slice, row, column) float32.

        Raises:
            HipError: ``cancelled``, ``out_of_memory`` or ``not_finite_output``.
        """
        slabs = self._slabs(slices)
        self._choose_precision(slabs[len(slabs) // 2 :][:1])
        return self._read(slabs, progress, cancelled, mirrored)

    def in_the_mirror(self, slices: np.ndarray, numbers: list[int], cancelled: Callable[[], bool]) -> np.ndarray:
        """As :meth:`foreground` of the slices with these numbers, read with their columns reversed and turned back."""
        slabs = self._slabs(slices)[numbers, ..., ::-1]
        return self._read(slabs, lambda share: None, cancelled)[..., ::-1]

    def _read(
        self,
        slabs: np.ndarray,
        progress: Callable[[float], None],
        cancelled: Callable[[], bool],
        mirrored: bool = False,
    ) -> np.ndarray:
        parts: list[np.ndarray] = []
        done = 0
        while done < len(slabs):
            if cancelled():
                raise HipError("cancelled", "The segmentation was cancelled; nothing was changed.")
            try:
                part = self._probabilities(slabs[done : done + self.batch], self.precision)
                if mirrored:
                    again = self._probabilities(slabs[done : done + self.batch, ..., ::-1], self.precision)
                    part = (part + again[..., ::-1]) / 2
                parts.append(part[:, 1:])
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._make_room(error)
                continue
            if not np.isfinite(parts[-1]).all():
                if self._take_exact_precision(f"some values are too large for {self.precision.name}"):
                    parts, done = [], 0
                    continue
                raise HipError(
                    "not_finite_output",
                    "The model gives values that are no numbers for this volume; choose another model.",
                    f"on {self.device} in {self.precision.name}",
                )
            done += len(parts[-1])
            progress(done / len(slabs))
        return np.concatenate(parts).swapaxes(0, 1)

    def _slabs(self, slices: np.ndarray) -> np.ndarray:
        """A view (slice, channel, row, column); beyond the first and the last slice these are repeated."""
        padded = np.pad(slices, ((self.neighbours, self.neighbours), (0, 0), (0, 0)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * self.neighbours + 1, axis=0)
        return np.moveaxis(windows, -1, 1)

    def _use(self, device: torch.device) -> None:
        self.network = self.network.to(device)
        self.device = device
        self.precision = self.fixed_precision or fast_precision(device)
        self.batch = FIRST_BATCH[device.type]

    def _use_processor(self, instead_of: torch.device) -> None:
        self._steps_down.append(f"The memory of the {instead_of.type} device is too small, so the CPU computes.")
        self._use(torch.device("cpu"))

    def _choose_precision(self, trial: np.ndarray) -> None:
        if self.fixed_precision is not None or self.precision is FP32:
            return
        try:
            exact, fast = (self._probabilities(trial, p).argmax(1) for p in (FP32, self.precision))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return  # the batches below step down
        changed = float((exact != fast).mean())
        if changed > LARGEST_CHANGE:
            self._take_exact_precision(f"{self.precision.name} would have changed {changed:.2%} of a trial slice")

    def _take_exact_precision(self, why: str) -> bool:
        """Whether there was a faster one to give up."""
        if self.fixed_precision is not None or self.precision is FP32:
            return False
        self._of_volume.append(f"Computed in fp32, since {why}.")
        self.precision = FP32
        return True

    @torch.inference_mode()
    def _probabilities(self, slabs: np.ndarray, precision: Precision) -> np.ndarray:
        images = torch.from_numpy(np.array(slabs)).to(self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        reduced = torch.autocast(self.device.type, precision.dtype) if precision.dtype else contextlib.nullcontext()
        with reduced:
            logits: Tensor = self.network(images)
        return logits.float().softmax(1).cpu().numpy()

    def _make_room(self, error: BaseException) -> None:
        """Halve the batch; at a single slice move to the CPU; there is nothing below that."""
        if self.batch > 1:
            self.batch //= 2
            at_once = f"{self.batch} slices are" if self.batch > 1 else "one slice is"
            self._steps_down.append(f"Memory ran out, so {at_once} computed at once.")
        elif self.device.type != "cpu":
            self._use_processor(self.device)
        else:
            raise HipError(
                "out_of_memory", "There is not enough free memory for this model; close other programs and try again."
            ) from error
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the computer or of its graphics card did not suffice; PyTorch has many ways to say so."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    text = str(error).lower()
    return any(words in text for words in _OUT_OF_MEMORY)


def is_of_graphics_card(error: BaseException) -> bool:
    """Whether it was the graphics card's memory that did not suffice, where :func:`is_out_of_memory`."""
    text = str(error).lower()
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(word in text for word in _GRAPHICS_CARD)


def _fused(network: nn.Module) -> nn.Module:
    """A copy in which every batch norm is part of the convolution before it: the same function, less work."""
    network = copy.deepcopy(network).eval()
    for module in network.modules():
        children = list(module.named_children())
        for (name, first), (next_name, second) in itertools.pairwise(children):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(first, second))
                setattr(module, next_name, nn.Identity())
    return network
