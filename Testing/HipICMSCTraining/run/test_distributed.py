"""Several processes under torchrun train as one: two gloo processes on the CPU."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from HipICMSCLib.models.package import read_package
from HipICMSCTrainingLib.data.batches import Batch
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.methods.icmsc import Icmsc, IcmscSettings
from HipICMSCTrainingLib.methods.method import Moment
from HipICMSCTrainingLib.run.export import export_package
from HipICMSCTrainingLib.run.folder import RunFolder
from tiny_training import child, set_arguments, tiny_settings
from torch import Tensor

STAGES = {"stage1": Moment(0, 1, 0.0), "stage2": Moment(100, 2, 0.0)}
CPU = torch.device("cpu")


def network_of(distribution: Distribution) -> Icmsc:
    """Group norm reads one image at a time, so that it does not matter which process an image is in."""
    settings = tiny_settings()
    settings = tiny_settings(segmenter=settings.segmenter.__class__(width=8, dilations=(1, 2), norm="group"))
    torch.manual_seed(4)
    return Icmsc(settings, IcmscSettings(), CPU, distribution)


def batch_of(rank: int) -> Batch:
    generator = torch.Generator().manual_seed(rank)
    x_s, x_t = (torch.rand(1, 1, 24, 32, generator=generator) * 2 - 1 for _ in range(2))
    return Batch(x_s, torch.randint(0, 3, (1, 24, 32), generator=generator), x_t)


def step(icmsc: Icmsc, batch: Batch, moment: Moment) -> dict[str, dict[str, Tensor]]:
    """The gradients of one step, which stay until the next, and the weights after it."""
    icmsc.train_step(batch, moment, np.random.default_rng(0))
    found = {"gradients": {}, "weights": {}}
    for name, network in icmsc.networks.items():
        for key, parameter in network.named_parameters():
            found["weights"][f"{name}/{key}"] = parameter.detach().clone()
            if parameter.grad is not None:
                found["gradients"][f"{name}/{key}"] = parameter.grad.clone()
    return found


def work(folder: Path) -> None:
    """What each of the two processes does: a first step in either stage, and two more after the second."""
    torch.set_num_threads(1)
    distribution = Distribution()
    for stage, moment in STAGES.items():
        icmsc = network_of(distribution)
        found = step(icmsc, batch_of(distribution.rank), moment)
        for more in (2, 4):
            found["later"] = step(icmsc, batch_of(distribution.rank + more), moment)["weights"]
        torch.save(found, folder / f"{stage}-{distribution.rank}.pt")
    distribution.close()


def torchrun(*arguments: object) -> subprocess.Popen:
    return child(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *map(str, arguments)]
    )


def finish(process: subprocess.Popen) -> str:
    try:
        out, err = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, err[-3000:]
    return out


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, list[dict]]:
    """What both processes found, by stage."""
    folder = tmp_path_factory.mktemp("ranks")
    finish(torchrun(Path(__file__), folder))
    return {stage: [torch.load(folder / f"{stage}-{rank}.pt") for rank in (0, 1)] for stage in STAGES}


def relative_error(got: dict[str, Tensor], expected: dict[str, Tensor], network: str) -> float:
    """Of all gradients of one network together."""
    keys = [key for key in expected if key.startswith(f"{network}/")]
    error = torch.stack([(got[key] - expected[key]).norm() for key in keys]).norm()
    return float(error / torch.stack([expected[key].norm() for key in keys]).norm())


TRAINED = {"stage1": ("G_st", "G_ts", "D_s", "D_t"), "stage2": ("G_st", "G_ts", "F_s", "F_t", "D_s", "D_t")}


@pytest.mark.parametrize("stage", STAGES)
def test_both_processes_keep_the_same_gradients_and_weights(found, stage):
    first, second = found[stage]
    for what in ("gradients", "weights", "later"):
        assert first[what].keys() == second[what].keys()
        assert all(torch.equal(first[what][key], second[what][key]) for key in first[what]), what
    assert any(not torch.equal(first["weights"][key], first["later"][key]) for key in first["weights"])


@pytest.mark.parametrize("stage", STAGES)
def test_their_gradient_is_the_mean_of_those_of_two_single_processes(found, stage):
    alone = [step(network_of(Distribution()), batch_of(rank), STAGES[stage])["gradients"] for rank in (0, 1)]
    mean = {key: (alone[0][key] + alone[1][key]) / 2 for key in alone[0]}
    for network in TRAINED[stage]:
        assert relative_error(found[stage][0]["gradients"], mean, network) < 1e-4, network
        assert relative_error(alone[0], mean, network) > 0.01, network  # so that the mean means something


def test_in_stage_1_two_processes_are_one_process_with_a_batch_of_two(found):
    """All terms of stage 1 are means over the batch; the Dice of stage 2 is none, so there it would not hold."""
    first, second = batch_of(0), batch_of(1)
    joint = Batch(
        torch.cat([first.x_s, second.x_s]), torch.cat([first.y_s, second.y_s]), torch.cat([first.x_t, second.x_t])
    )
    one = step(network_of(Distribution()), joint, STAGES["stage1"])
    two = found["stage1"][0]
    for network in TRAINED["stage1"]:
        assert relative_error(two["gradients"], one["gradients"], network) < 2e-3, network
    # Adam's first step is the sign of the gradient; only where that is next to nothing may it differ, as it is for the
    # biases that an instance norm takes away again.
    rate, keys = 2e-4, [key for key in one["weights"] if key.endswith("weight")]
    far = [(two["weights"][key] - one["weights"][key]).abs() > 0.01 * rate for key in keys]
    assert torch.cat([part.flatten() for part in far]).float().mean() < 0.01


def test_a_training_under_torchrun_finishes_and_exports(tiny_data, tmp_path):
    run = RunFolder(tmp_path / "run")
    tiny_data.lend_cache(run.path)
    cli = ["-m", "HipICMSCTrainingLib.cli"]
    out = finish(torchrun(*cli, "train", run.path, *tiny_data.arguments, *set_arguments(steps_per_epoch=2)))
    assert "finished: Trained to the end." in out
    status = run.status()
    assert (status.state, status.step) == ("finished", 6)
    assert [line["step"] for line in run.metrics() if "scores" in line] == [2, 2, 4, 4, 6, 6]
    file = tmp_path / "m.hipmodel"
    export_package(run, file)
    assert read_package(file).network()(torch.zeros(1, 1, 24, 32)).shape == (1, 3, 24, 32)


@pytest.mark.slow
def test_a_training_under_torchrun_stops_on_request_and_is_resumed(tiny_data, tmp_path):
    run = tiny_data.start(tmp_path / "run", steps_per_epoch=40)
    resume = ["-m", "HipICMSCTrainingLib.cli", "resume", run.path]
    process = torchrun(*resume)
    while not run.metrics():
        assert process.poll() is None
        time.sleep(0.05)
    run.request("STOP")
    assert "paused: " in finish(process)
    assert (run.status().state, run.checkpoints.last()["step"]) == ("paused", run.status().step)
    finish(torchrun(*resume))
    assert (run.status().state, run.checkpoints.last()["step"]) == ("finished", 120)


@pytest.mark.slow
def test_a_schedulers_time_limit_under_torchrun_saves_the_training(tiny_data, tmp_path):
    run = tiny_data.start(tmp_path / "run", steps_per_epoch=100_000)
    process = torchrun("-m", "HipICMSCTrainingLib.cli", "resume", run.path)
    while not run.metrics():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # to torchrun alone, which tells its processes
    process.communicate(timeout=600)
    status = run.status()
    assert (status.state, status.phase) == ("paused", "stopped")
    assert run.checkpoints.last()["step"] == status.step > 0
    assert not run.in_use()


if __name__ == "__main__":
    work(Path(sys.argv[1]))
