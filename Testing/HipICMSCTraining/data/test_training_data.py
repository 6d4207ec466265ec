"""What a training reads: batches in each of several processes, what is held out in the one that scores."""

from __future__ import annotations

import pytest
from HipICMSCTrainingLib.data import training_data as training_data_module
from HipICMSCTrainingLib.data.training_data import training_data
from HipICMSCTrainingLib.settings.stages import SIMULATION
from tiny_training import tiny_settings


@pytest.mark.parametrize("data", ["tiny_data", "slab_data"])
def test_only_the_process_that_scores_reads_and_simulates_what_is_held_out(data, request, monkeypatch):
    data = request.getfixturevalue(data)
    settings, read = tiny_settings(data.assignments), []
    prepare = training_data_module.prepared_case
    monkeypatch.setattr(
        training_data_module, "prepared_case", lambda case, *rest: read.append(case) or prepare(case, *rest)
    )
    first, second = (
        training_data(data.dataset.cases, settings, data.cache, rank, 2, lambda sentence: None, 1) for rank in (0, 1)
    )
    cases, trained = data.dataset.cases, [case for case in data.dataset.cases if case.role == "train"]
    assert len(trained) < len(cases) and read == [*cases, *trained]
    assert min(map(len, (first.mr_train, first.ct_val, first.mr_val))) > 0
    assert [second.mr_train, second.ct_val, second.mr_val, second.simulated_val] == [None] * 4
    assert second.batches.steps_per_epoch == first.batches.steps_per_epoch
    assert second.batches.draw(0, SIMULATION).x_s.shape == first.batches.draw(0, SIMULATION).x_s.shape
    for each in (first, second):
        each.batches.close()
