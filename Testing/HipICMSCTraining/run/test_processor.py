"""The cores of a training on the CPU: networks leave some to the threads that simulate slabs, and get them back."""

from __future__ import annotations

import os
import threading

import pytest
import torch
from HipICMSCTrainingLib.methods.icmsc import IcmscSettings
from HipICMSCTrainingLib.run.description import RunDescription, start_run
from HipICMSCTrainingLib.run.processor import making_threads, networks_beside
from HipICMSCTrainingLib.run.trainer import Trainer
from HipICMSCTrainingLib.settings.stages import STAGES
from tiny_training import POOL, SLAB_ASSIGNMENTS, tiny_settings


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(("cores", "making", "networks"), [(1, 1, 1), (2, 2, 1), (4, 3, 2), (8, 5, 4), (64, 8, 57)])
def test_networks_and_those_that_make_batches_share_the_cores(threads, cores, making, networks):
    threads(cores)
    cpu = torch.device("cpu")
    assert making_threads(cpu) == making
    with networks_beside(making - 1, cpu):
        assert torch.get_num_threads() == networks
    assert torch.get_num_threads() == cores


def test_networks_on_a_gpu_take_no_thread_from_anybody(threads):
    threads(3)
    with networks_beside(2, torch.device("cuda")):
        assert torch.get_num_threads() == 3


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system tells no process which cores are its own")
def test_beside_a_gpu_a_job_uses_the_cores_that_it_was_given(monkeypatch):
    """A cluster gives a job four cores of a machine's 64, and torchrun shares them."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    assert making_threads(torch.device("cuda")) == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert making_threads(torch.device("cuda")) == 1


def test_an_error_in_a_step_takes_no_thread_from_who_comes_after(threads):
    threads(4)
    with pytest.raises(ZeroDivisionError), networks_beside(2, torch.device("cpu")):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 4


@pytest.mark.slow
def test_a_training_shares_them_while_slabs_are_simulated_and_only_then(threads, slab_data, tmp_path, monkeypatch):
    threads(2)
    settings = tiny_settings(SLAB_ASSIGNMENTS, device="cpu")
    described = RunDescription("icmsc", settings, IcmscSettings(image_pool=POOL), slab_data.dataset)
    trainer = Trainer(start_run(tmp_path / "run", described))
    trainer.prepare()
    seen: dict[str, int] = {}
    step = trainer.method.train_step

    def looked_at(batch, moment, random):
        seen[STAGES[moment.stage]] = torch.get_num_threads()
        return step(batch, moment, random)

    monkeypatch.setattr(trainer.method, "train_step", looked_at)
    try:
        for first in (0, trainer.schedule.steps_per_epoch):
            trainer.pace.step = first
            trainer.do_step()
        crew = sum(thread.name.startswith("ThreadPoolExecutor") for thread in threading.enumerate())
    finally:
        trainer.close()
    assert seen == {"simulation": 1, "stage 1": 2}
    assert (crew, torch.get_num_threads()) == (2, 2)
