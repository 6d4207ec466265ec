"""What several test files share: a small phantom dataset and one training on it, made once a session."""

from __future__ import annotations

import pytest
import torch
from HipICMSCTrainingLib.data.slice_cache import cached_volume
from HipICMSCTrainingLib.phantom.dataset import Resolution, write_dataset
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.trainer import Trainer
from tiny_training import TinyData, tiny_dataset, tiny_settings

COARSE = Resolution(ct_mm=(4.0, 5.0, 4.0), mri_in_plane_mm=4.0, mri_slice_mm=6.0)


@pytest.fixture
def one_thread():
    """Sums in the same order as in the child processes of these tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> TinyData:
    """Two labelled CTs and two MRIs of synthetic subjects; of each one to train on and one held out."""
    base = tmp_path_factory.mktemp("phantom")
    folder, cache = base / "data", base / "cache"
    write_dataset(folder, subjects=2, seed=3, resolution=COARSE)
    dataset = tiny_dataset(folder)
    for case in dataset.cases:
        cached_volume(case, tiny_settings(), cache)
    return TinyData(folder, cache, dataset)


@pytest.fixture(scope="session")
def finished_run(tiny_data, tmp_path_factory) -> RunFolder:
    """A run that nothing interrupted; tests only read it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    run = tiny_data.start(tmp_path_factory.mktemp("finished") / "run")
    assert Trainer(run).train().state == "finished"
    torch.set_num_threads(before)
    return run
