"""What the tests of all folders share. Its being here also lets them import the helpers beside it.

Torch is imported late, because Slicer's own process, whose part some tests play, has none.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ball_hips import write_ball_model

if TYPE_CHECKING:
    from HipICMSCTrainingLib.run.folder import RunFolder
    from tiny_training import TinyData


@pytest.fixture(scope="session")
def ball_model(tmp_path_factory) -> Path:
    """A model package that finds the bright balls of ball_hips."""
    return write_ball_model(tmp_path_factory.mktemp("model") / "balls.hipmodel")


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory):
    """Models and run times of the tests are not those of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIPICMSC_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("personal")))
        yield


@pytest.fixture
def one_thread():
    """Sums in the same order as in the child processes of these tests."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> TinyData:
    """Two labelled CTs and two MRIs of synthetic subjects; of each one to train on and one held out."""
    from HipICMSCTrainingLib.data.slice_cache import cached_volume
    from HipICMSCTrainingLib.phantom.dataset import Resolution, write_dataset
    from tiny_training import TinyData, tiny_dataset, tiny_settings

    base = tmp_path_factory.mktemp("phantom")
    folder, cache = base / "data", base / "cache"
    coarse = Resolution(ct_mm=(4.0, 5.0, 4.0), mri_in_plane_mm=4.0, mri_slice_mm=6.0)
    write_dataset(folder, subjects=2, seed=3, resolution=coarse)
    dataset = tiny_dataset(folder)
    for case in dataset.cases:
        cached_volume(case, tiny_settings(), cache)
    return TinyData(folder, cache, dataset)


@pytest.fixture(scope="session")
def slab_data(tiny_data, tmp_path_factory) -> TinyData:
    """The same subjects for a training on slabs in four stages."""
    from HipICMSCTrainingLib.data.training_data import prepared_case
    from tiny_training import SLAB_ASSIGNMENTS, tiny_settings

    cache = tmp_path_factory.mktemp("slabs") / "cache"
    for case in tiny_data.dataset.cases:
        prepared_case(case, tiny_settings(SLAB_ASSIGNMENTS), cache)
    return replace(tiny_data, cache=cache, assignments=SLAB_ASSIGNMENTS)


def _trained(data: TinyData, path: Path) -> RunFolder:
    """A run that nothing interrupted; tests only read it."""
    import torch
    from HipICMSCTrainingLib.run.trainer import Trainer

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    run = data.start(path)
    assert Trainer(run).train().state == "finished"
    torch.set_num_threads(before)
    return run


@pytest.fixture(scope="session")
def finished_run(tiny_data, tmp_path_factory) -> RunFolder:
    return _trained(tiny_data, tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="session")
def finished_slab_run(slab_data, tmp_path_factory) -> RunFolder:
    return _trained(slab_data, tmp_path_factory.mktemp("finished-slabs") / "run")
