"""The network over a volume's slices: same result however it is computed, and a way on when memory runs out."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.networks import inference as inference_module
from HipICMSCLib.networks.devices import choose_device
from HipICMSCLib.networks.inference import (
    BF16,
    FIRST_BATCH,
    FP32,
    LARGEST_CHANGE,
    Precision,
    SliceInference,
    fast_precision,
)
from HipICMSCLib.networks.paper_segmenter import Segmenter, SegmenterSettings
from packages import random_network, slab_threshold_network, threshold_network
from torch import nn

CPU = torch.device("cpu")


def slices(count: int = 7, seed: int = 0) -> np.ndarray:
    """Smooth random images."""
    rough = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (count, 1, 6, 7)).astype(np.float32))
    smooth = nn.functional.interpolate(rough, size=(48, 56), mode="bicubic")
    return smooth.squeeze(1).clamp(-1, 1).numpy()


def run(inference: SliceInference, images: np.ndarray) -> np.ndarray:
    return inference.foreground(images, lambda share: None, lambda: False)


def plain(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """The same without any of the engine's shortcuts."""
    with torch.inference_mode():
        return network(torch.from_numpy(images)[:, None]).softmax(1).numpy()[:, 1:].swapaxes(0, 1)


@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
def test_probabilities_are_those_of_the_network(norm):
    network = random_network(SegmenterSettings(width=8, norm=norm))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    inference = SliceInference(network, CPU, FP32)
    found = run(inference, slices())
    assert found.shape == (2, 7, 48, 56)
    assert found.dtype == np.float32
    assert np.abs(found - plain(network, slices())).max() < 1e-5
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    # Batch norms are merged into the convolutions, other norms cannot be.
    assert any(isinstance(m, nn.BatchNorm2d | nn.GroupNorm) for m in inference.network.modules()) == (norm != "batch")


@pytest.mark.parametrize("batch", [1, 3, 7, 16])
def test_how_slices_are_batched_changes_nothing(batch):
    network = random_network(SegmenterSettings(width=8, norm="batch"))
    inference = SliceInference(network, CPU, FP32)
    inference.batch = batch
    assert np.abs(run(inference, slices()) - plain(network, slices())).max() < 1e-5


def test_progress_rises_to_one():
    shares: list[float] = []
    inference = SliceInference(threshold_network(), CPU, FP32)
    inference.foreground(slices(), shares.append, lambda: False)
    assert shares == sorted(shares)
    assert len(shares) == 4
    assert shares[-1] == 1


def test_reduced_precision_changes_next_to_nothing():
    images = slices()
    inference = SliceInference(threshold_network(), CPU)
    inference.precision = BF16  # whether or not this processor gains from it
    found = run(inference, images)
    changed = (labels(found) != labels(plain(threshold_network(), images))).mean()
    if inference.precision is BF16:
        assert changed <= 2 * LARGEST_CHANGE
    else:
        assert changed == 0
        assert len(inference.fallbacks) == 1


def labels(foreground: np.ndarray) -> np.ndarray:
    return np.stack([1 - foreground.sum(0), *foreground]).argmax(0)


def test_where_reduced_precision_would_change_the_result_it_is_not_used():
    # All pixels lie at the threshold, closer than bf16 can tell.
    images = (0.5 + 1e-3 * slices()).astype(np.float32)
    inference = SliceInference(threshold_network(), CPU)
    inference.precision = BF16
    found = run(inference, images)
    assert inference.precision is FP32
    assert (labels(found) == labels(plain(threshold_network(), images))).all()
    assert len(inference.fallbacks) == 1
    assert "fp32" in inference.fallbacks[0]
    run(inference, images)
    assert len(inference.fallbacks) == 1


def test_each_volume_is_tried_anew_whatever_the_last_one_needed(monkeypatch):
    monkeypatch.setattr(inference_module, "fast_precision", lambda device: BF16)
    close, far = (0.5 + 1e-3 * slices()).astype(np.float32), np.where(slices() > 0.5, 1, -1).astype(np.float32)
    inference = SliceInference(threshold_network(), CPU)
    run(inference, close)
    assert inference.precision is FP32 and len(inference.fallbacks) == 1
    inference.forget_volume()
    run(inference, far)
    assert inference.precision is BF16 and inference.fallbacks == []


def test_values_too_large_for_a_fast_precision_are_computed_exactly():
    """Beside the trial slice; the model is not to blame."""

    class Large(nn.Module):
        def forward(self, images):
            logits = torch.cat([1 - images, images, images - 1], 1) * 4e4
            return logits.to(torch.get_autocast_dtype("cpu")) * 1 if torch.is_autocast_enabled("cpu") else logits

    images = np.zeros((7, 8, 8), np.float32)
    images[5] = 3.0
    inference = SliceInference(Large(), CPU)
    inference.precision = Precision("fp16", torch.float16)
    found = run(inference, images)
    assert np.isfinite(found).all() and (labels(found)[5] == 1).all()
    assert inference.precision is FP32 and "too large" in inference.fallbacks[0]


def test_a_named_precision_is_kept():
    images = (0.5 + 1e-3 * slices()).astype(np.float32)
    inference = SliceInference(threshold_network(), CPU, BF16)
    run(inference, images)
    assert inference.precision is BF16
    assert inference.fallbacks == []


@pytest.mark.parametrize("reads", [0, 1, 2])
def test_a_slab_is_a_slice_with_its_neighbours_and_the_outermost_slices_are_repeated(reads):
    images = slices()
    inference = SliceInference(slab_threshold_network(reads), CPU, FP32, neighbours=1)
    found = run(inference, images)
    seen = images[np.clip(np.arange(7) + reads - 1, 0, 6)]
    assert found.shape == (2, 7, 48, 56)
    sure = np.abs(np.abs(seen) - 0.5) > 1e-3
    assert (labels(found) == by_brightness(seen))[sure].all()


def by_brightness(images: np.ndarray) -> np.ndarray:
    return np.where(images > 0.5, 2, np.where(images < -0.5, 1, 0))


def test_a_single_slice_is_its_own_neighbour():
    images = slices(1)
    networks = [SliceInference(slab_threshold_network(reads), CPU, FP32, neighbours=1) for reads in (0, 1, 2)]
    before, itself, after = (run(network, images) for network in networks)
    assert np.array_equal(before, itself)
    assert np.array_equal(after, itself)


def test_mirrored_readings_are_the_mean_of_a_slice_and_its_mirror_image():
    network = random_network(SegmenterSettings(width=8, norm="group"))
    inference = SliceInference(network, CPU, FP32)
    images = slices(3)
    found = inference.foreground(images, lambda share: None, lambda: False, mirrored=True)
    again = plain(network, np.ascontiguousarray(images[..., ::-1]))[..., ::-1]
    assert np.abs(found - (plain(network, images) + again) / 2).max() < 1e-5
    mirror = inference.foreground(np.ascontiguousarray(images[..., ::-1]), lambda s: None, lambda: False, mirrored=True)
    assert np.abs(mirror[..., ::-1] - found).max() < 1e-5


@pytest.mark.parametrize("reads", [0, 1, 2])
def test_some_slices_can_be_read_in_the_mirror_with_their_neighbours(reads):
    images = slices()
    inference = SliceInference(slab_threshold_network(reads), CPU, FP32, neighbours=1)
    found = inference.in_the_mirror(images, [0, 3, 6], lambda: False)
    # A network that reads single pixels draws the same in the mirror, turned back.
    assert np.abs(found - run(inference, images)[:, [0, 3, 6]]).max() < 1e-5
    lopsided = SliceInference(random_network(SegmenterSettings(width=8, norm="group")), CPU, FP32)
    again = plain(lopsided.network, np.ascontiguousarray(images[[2, 5], :, ::-1]))[..., ::-1]
    assert np.abs(lopsided.in_the_mirror(images, [2, 5], lambda: False) - again).max() < 1e-5


def test_memory_that_runs_out_loses_no_slab_and_no_neighbour():
    inference = SliceInference(Hungry(3, network=slab_threshold_network(2)), CPU, FP32, neighbours=1)
    inference.batch = 16
    images = slices(9)
    found = inference.foreground(images, lambda share: None, lambda: False, mirrored=True)
    seen = images[np.clip(np.arange(9) + 1, 0, 8)]
    sure = np.abs(np.abs(seen) - 0.5) > 1e-3
    assert (labels(found) == by_brightness(seen))[sure].all()
    assert len(inference.fallbacks) == 3


class Hungry(nn.Module):
    """Stands for a network on hardware with room for ``most`` slices at once; ``seen`` are the batches it was given."""

    seen: ClassVar[list[int]] = []

    def __init__(
        self, most: int, error: type[Exception] = torch.cuda.OutOfMemoryError, network: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.network, self.most, self.error = network or threshold_network(), most, error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Hungry.seen.append(len(x))
        if len(x) > self.most:
            raise self.error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return self.network(x)


@pytest.fixture(autouse=True)
def no_batches_seen():
    Hungry.seen.clear()


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError, MemoryError, RuntimeError])
def test_memory_that_runs_out_halves_the_batch_and_loses_no_slice(error):
    inference = SliceInference(Hungry(3, error), CPU, FP32)
    inference.batch = 16
    found = run(inference, slices(9))
    assert np.abs(found - plain(threshold_network(), slices(9))).max() < 1e-5
    assert Hungry.seen == [9, 8, 4, 2, 2, 2, 2, 1]
    assert inference.fallbacks == [f"Memory ran out, so {number} slices are computed at once." for number in (8, 4, 2)]
    # The next volume starts where this one ended.
    Hungry.seen.clear()
    run(inference, slices(2))
    assert Hungry.seen == [2]


def test_without_room_for_a_single_slice_there_is_an_end():
    inference = SliceInference(Hungry(0), CPU, FP32)
    with pytest.raises(HipError) as raised:
        run(inference, slices())
    assert raised.value.kind == "out_of_memory"
    assert inference.fallbacks == ["Memory ran out, so one slice is computed at once."]
    assert Hungry.seen == [2, 1]


class FullAccelerator(SliceInference):
    """Stands for a machine whose CUDA device has no room for even one slice."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, CPU)
        self.device, self.batch = torch.device("cuda"), FIRST_BATCH["cuda"]
        self.tried: list[int] = []

    def _probabilities(self, images, precision):
        if self.device.type == "cuda":
            self.tried.append(len(images))
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return super()._probabilities(images, precision)


def test_a_full_accelerator_hands_over_to_the_cpu_and_says_so():
    inference = FullAccelerator(threshold_network())
    found = run(inference, slices(20))
    assert inference.tried[-5:] == [16, 8, 4, 2, 1]
    assert inference.device == CPU
    assert inference.batch == FIRST_BATCH["cpu"]
    assert inference.precision == fast_precision(CPU)
    assert "CPU" in inference.fallbacks[-1]
    assert (labels(found) != labels(plain(threshold_network(), slices(20)))).mean() <= LARGEST_CHANGE


class Broken(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_another_error_is_not_taken_for_lack_of_memory():
    with pytest.raises(RuntimeError, match="mat1"):
        run(SliceInference(Broken(), CPU, FP32), slices())


def test_cancellation_takes_effect_before_the_next_batch():
    inference = SliceInference(Hungry(16), CPU, FP32)
    shares: list[float] = []
    with pytest.raises(HipError) as raised:
        inference.foreground(slices(9), shares.append, lambda: len(shares) == 2)
    assert raised.value.kind == "cancelled"
    assert Hungry.seen == [2, 2]
    # Nothing of the cancelled volume is left in the next one.
    assert np.abs(run(inference, slices(3, seed=5)) - plain(threshold_network(), slices(3, seed=5))).max() < 1e-5


def test_the_threshold_network_of_these_tests_does_what_it_says():
    images = np.zeros((1, 48, 64), np.float32)
    images[0, 16:32, 8:24], images[0, 16:32, 40:56] = 1, -1
    found = labels(plain(threshold_network(), images))[0]
    assert (found[18:30, 10:22] == 2).all()
    assert (found[18:30, 42:54] == 1).all()
    assert (found == 2).sum() == pytest.approx(256, rel=0.1)
    assert (found == 1).sum() == pytest.approx(256, rel=0.1)
    assert isinstance(threshold_network(), Segmenter)


def test_devices_are_chosen_by_name():
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(HipError, match="auto, cpu, cuda, mps") as raised:
        choose_device("gpu")
    assert raised.value.kind == "unknown_device"


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_refused(name):
    here = torch.cuda.is_available() if name == "cuda" else torch.backends.mps.is_available()
    if here:
        pytest.skip(f"this computer has a {name} device")
    with pytest.raises(HipError) as raised:
        choose_device(name)
    assert raised.value.kind == "no_such_device"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_result():
    network = threshold_network()
    inference = SliceInference(network, torch.device("cuda"))
    found = run(inference, slices(40))
    assert (labels(found) != labels(plain(network, slices(40)))).mean() <= 2 * LARGEST_CHANGE
