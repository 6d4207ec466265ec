"""What every method promises, whichever it is: trained, interrupted, scored, shown, exported and used alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.models.package import read_package
from HipICMSCLib.networks.inference import FP32
from HipICMSCTrainingLib.data.batches import Batch, SliceStack
from HipICMSCTrainingLib.data.distribution import Distribution
from HipICMSCTrainingLib.data.slice_cache import cached_volume
from HipICMSCTrainingLib.methods.adda import AddaSettings
from HipICMSCTrainingLib.methods.alignment import AlignmentSettings
from HipICMSCTrainingLib.methods.cycada import CycadaSettings
from HipICMSCTrainingLib.methods.cyclegan import CycleGanSettings
from HipICMSCTrainingLib.methods.icmsc import IcmscSettings, table2_rows
from HipICMSCTrainingLib.methods.method import Method, Moment, decay, phase_of
from HipICMSCTrainingLib.methods.no_adaptation import NoAdaptationSettings
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.methods.sifa import SifaSettings
from HipICMSCTrainingLib.methods.target_model import TargetModelSettings
from HipICMSCTrainingLib.methods.ways import through
from HipICMSCTrainingLib.run import watchers
from HipICMSCTrainingLib.run.description import RunDescription, start_run
from HipICMSCTrainingLib.run.export import export_package
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.trainer import Trainer
from skimage.io import imread
from tiny_training import POOL, TinyData, at_step, differences, tiny_settings

CPU = torch.device("cpu")
STAGE_1_STEPS, STEPS = 4, 12
#: One in each phase of every method.
MOMENTS = (Moment(0, 1, 0.0), Moment(4, 2, 0.0), Moment(8, 2, 0.5), Moment(11, 2, 0.875))

#: Settings that suit the tiny run; the method follows from them.
METHODS_UNDER_TEST: dict[str, Any] = {
    "icmsc": IcmscSettings(image_pool=POOL),
    "icmsc, no consistency": IcmscSettings(
        image_pool=POOL, imsc_s=False, imsc_t=False, cmsc_s=False, cmsc_t=False
    ),
    "no_adaptation": NoAdaptationSettings(),
    "adda": AddaSettings(alignment=AlignmentSettings(least_accuracy=0.0, accuracy_steps=1)),
    "cyclegan": CycleGanSettings(image_pool=POOL),
    "cycada": CycadaSettings(
        image_pool=POOL, pretraining_share=0.25, translation_share=0.25, target_share=0.25,
        alignment=AlignmentSettings(least_accuracy=0.0, accuracy_steps=1),
    ),
    "sifa": SifaSettings(image_pool=POOL),
    "target_model": TargetModelSettings(),
}  # fmt: skip

#: Each takes up to a minute; these two, with and without batch norms re-estimated, are enough for `make test`.
QUICK = ("icmsc", "no_adaptation")
every_method = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in METHODS_UNDER_TEST]
)
pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Finished:
    """A run that nothing interrupted, and its method."""

    run: RunFolder
    method: Method


def made(own: Any, distribution: Distribution | None = None, **changes: Any) -> Method:
    """A method with the tiny settings, as a run of it starts."""
    torch.manual_seed(tiny_settings().seed)
    method = next(method for method in METHODS.values() if method.Settings is type(own))
    return method(tiny_settings(**changes), own, CPU, distribution or Distribution())


def batch_of(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x_s, x_t = (torch.rand(1, 1, 24, 32, generator=generator) * 2 - 1 for _ in range(2))
    y_s, y_t = (torch.randint(0, 3, (1, 24, 32), generator=generator) for _ in range(2))
    return Batch(x_s, y_s, x_t, y_t)


@pytest.fixture(scope="module")
def finished(tiny_data: TinyData, tmp_path_factory):
    """By name of METHODS_UNDER_TEST; trained when it is asked for first."""
    runs: dict[str, Finished] = {}

    def of(name: str) -> Finished:
        if name not in runs:
            own = METHODS_UNDER_TEST[name]
            run = tiny_data.start(tmp_path_factory.mktemp("method") / "run", own)
            assert Trainer(run).train().state == "finished"
            runs[name] = Finished(run, made(own))
        return runs[name]

    return of


def test_every_method_is_tested_here():
    assert {type(made(own)) for own in METHODS_UNDER_TEST.values()} == set(METHODS.values())


# Training.


@every_method
@pytest.mark.parametrize("step", [STAGE_1_STEPS // 2, STAGE_1_STEPS, (STAGE_1_STEPS + STEPS) // 2])
def test_stopped_and_resumed_it_ends_in_the_weights_of_an_unbroken_run(
    tiny_data, finished, tmp_path, monkeypatch, name, step
):
    monkeypatch.setattr(watchers, "HEARTBEAT_SECONDS", 0.0)
    unbroken = finished(name).run
    run = tiny_data.start(tmp_path / "run", METHODS_UNDER_TEST[name])
    assert Trainer(run, at_step(step, lambda: run.request("STOP"))).train().step == step
    assert Trainer(run).train().state == "finished"
    assert differences(unbroken.checkpoints.last(), run.checkpoints.last()) == []
    assert differences(unbroken.checkpoints.selected(), run.checkpoints.selected()) == []


@every_method
def test_each_network_learns_something_by_the_end(finished, name):
    done = finished(name)
    after = done.run.checkpoints.last()["networks"]
    silent = {"F_t"} if name == "icmsc, no consistency" else set()
    learned = {
        network
        for network, module in made(METHODS_UNDER_TEST[name]).networks.items()
        if any(not torch.equal(parameter, after[network][key]) for key, parameter in module.named_parameters())
    }
    assert learned == after.keys() - silent
    if "D_f" in after:  # F_t began as a copy of F_s
        assert differences(dict(after["F_s"]), dict(after["F_t"])) != []


@every_method
def test_the_checkpoint_holds_what_the_method_has(finished, name):
    done = finished(name)
    state = done.run.checkpoints.last()
    assert state["step"] == STEPS
    assert set(state["networks"]) == set(done.method.networks)
    assert set(state["average"]) == set(done.method.deployable) == set(done.run.checkpoints.selected())
    assert set(state["optimizers"]) == set(done.method.optimizers)


@every_method
@pytest.mark.parametrize("stages", [(1, 0), (0, 1)])
def test_a_stage_may_be_left_out(tiny_data, tmp_path, name, stages):
    run = tiny_data.start(
        tmp_path / "run", METHODS_UNDER_TEST[name], stage1_epochs=stages[0], stage2_epochs=stages[1], steps_per_epoch=2
    )
    assert Trainer(run).train().step == 2
    assert (run.checkpoints.selected() is None) == (stages[1] == 0)


@every_method
def test_losses_are_finite_in_bf16_too(name):
    method = made(METHODS_UNDER_TEST[name], precision="bf16")
    for moment in MOMENTS:
        losses = method.train_step(batch_of(1), moment, np.random.default_rng(0))
        assert losses
        assert all(isinstance(value, float) and math.isfinite(value) for value in losses.values())


@every_method
def test_only_a_method_that_says_so_touches_labels_of_mri(name):
    """An MRI label that a method does not read changes nothing, whatever it says."""
    method, other = made(METHODS_UNDER_TEST[name]), made(METHODS_UNDER_TEST[name])
    batch = batch_of(1)
    otherwise_labelled = Batch(batch.x_s, batch.y_s, batch.x_t, 2 - batch.y_t)
    for moment in MOMENTS:
        losses = method.train_step(batch, moment, np.random.default_rng(0))
        assert (losses == other.train_step(otherwise_labelled, moment, np.random.default_rng(0))) == (
            not method.reads_mr_labels
        )


# What the networks can do.


@every_method
def test_its_ways_pass_networks_that_are_kept(name):
    method = made(METHODS_UNDER_TEST[name])
    ways = method.ways()
    routes = [*ways.segment_mr, ways.segment_ct, ways.ct_to_mr, ways.mr_to_ct]
    assert {network for route in routes if route for network in route} <= set(method.deployable)
    x = torch.rand(2, 1, 24, 32) * 2 - 1
    with torch.no_grad():
        for route in filter(None, (*ways.segment_mr, ways.segment_ct)):
            assert through(method.networks, route)(x).shape == (2, 3, 24, 32)
        for route in filter(None, (ways.ct_to_mr, ways.mr_to_ct)):
            image = through(method.networks, route)(x)
            assert image.shape == x.shape
            assert image.abs().max() <= 1


@every_method
def test_its_scores_are_numbers_and_choose_the_best_of_stage_2(finished, name):
    lines = [line for line in finished(name).run.metrics() if "scores" in line]
    assert [(line["step"], line["weights"]) for line in lines] == [
        (step, weights) for step in (4, 8, 12) for weights in ("last", "average")
    ]
    assert all(math.isfinite(value) for line in lines for value in line["scores"].values())
    best = max(line["scores"]["selection"] for line in lines if line["stage"] == 2)
    assert finished(name).run.checkpoints.selection()["scores"]["selection"] == best


@every_method
def test_its_pictures_have_two_halves_of_the_same_size(finished, name):
    pictures = finished(name).run.previews_of()
    assert len(pictures) == 3
    height, width, _ = imread(pictures[-1]).shape
    assert height % 2 == width % 2 == 0
    assert imread(pictures[-1]).std() > 5


# From the run to the user.


@every_method
@pytest.mark.parametrize("weights", ["selected", "average", "last"])
def test_a_package_of_each_route_is_what_the_run_has_trained(finished, tmp_path, name, weights):
    done = finished(name)
    description = RunDescription.read(done.run)
    mri = [cached_volume(case, description.settings, done.run.cache) for case in description.dataset.of("MR", "val")]
    x_t = SliceStack(mri).images(range(3))
    for number, (route, networks) in enumerate(done.method.routes().items()):
        file = tmp_path / f"{number}.hipmodel"
        manifest = export_package(done.run, file, weights, route)
        assert manifest.route == networks
        package = read_package(file)
        for network in networks:
            own = done.run.checkpoints.selected() if weights == "selected" else None
            own = own or done.run.checkpoints.last()["average" if weights == "average" else "networks"]
            for key, value in own[network].items():
                is_statistic = "running" in key or "num_batches" in key
                assert is_statistic or torch.equal(package.weights[f"{network}/{key}"], value), (network, key)
        with torch.no_grad():
            assert package.network()(x_t).shape == (3, 3, 24, 32)


@every_method
def test_the_engine_segments_an_mri_with_its_package(finished, tiny_data, tmp_path, name):
    file = tmp_path / "hip.hipmodel"
    manifest = export_package(finished(name).run, file)
    assert manifest.training["method"] == RunDescription.read(finished(name).run).method
    assert ("MRIs\nwithout labels" in read_package(file).card) == (not finished(name).method.reads_mr_labels)
    image = sitk.ReadImage(tiny_data.dataset.of("MR", "val")[0].image)
    result = HipSegmenter(file, "cpu", FP32).segment(image)
    assert result.labels.GetSize() == image.GetSize()
    assert set(np.unique(sitk.GetArrayFromImage(result.labels))) <= {0, 1, 2, 3, 4}


# Labels of MRIs.


@every_method
def test_labelled_mris_in_training_are_refused_by_all_but_the_method_that_learns_from_them(tiny_data, tmp_path, name):
    own = METHODS_UNDER_TEST[name]
    method = type(made(own))
    key = next(key for key, value in METHODS.items() if value is method)
    wrong = tiny_data.dataset if method.reads_mr_labels else tiny_data.with_labels_of_mri
    with pytest.raises(HipError) as refused:
        start_run(tmp_path / "run", RunDescription(key, tiny_settings(), own, wrong))
    assert refused.value.kind == ("mri_without_label" if method.reads_mr_labels else "labelled_mri_in_training")
    assert refused.value.sentence.endswith(".")
    assert not (tmp_path / "run").exists()


def test_a_run_whose_description_was_given_labels_of_mris_later_is_refused_too(tiny_data, tmp_path):
    run = tiny_data.start(tmp_path / "run")
    text = run.path.joinpath("run.json").read_text()
    case = next(case for case in tiny_data.with_labels_of_mri.cases if case.modality == "MR" and case.role == "train")
    named = f'"image": "{case.image}"'
    assert named in text
    run.path.joinpath("run.json").write_text(
        text.replace(f'{named},\n        "label": null', f'{named},\n        "label": "{case.label}"')
    )
    assert case.label in run.path.joinpath("run.json").read_text()
    with pytest.raises(HipError) as refused:
        Trainer(run).train()
    assert refused.value.kind == "labelled_mri_in_training"


# Phases and rates.


def test_phases_follow_each_other_and_each_goes_from_0_to_1():
    shares = {"first": 0.25, "left out": 0.0, "second": 0.75}
    found = [phase_of(Moment(0, 2, fraction), shares) for fraction in (0.0, 0.125, 0.25, 0.625, 1.0)]
    assert found == [("first", 0.0), ("first", 0.5), ("second", 0.0), ("second", 0.5), ("second", 1.0)]


def test_rates_are_constant_in_stage_1_and_fall_in_stage_2():
    assert [decay(Moment(0, *at)) for at in ((1, 0.0), (1, 0.9), (2, 0.0), (2, 0.75), (2, 1.0))] == [1, 1, 1, 0.25, 0]


# Table 2.


def test_table_2_adds_a_term_a_row_and_is_scored_by_F_t_once_F_t_learns():
    switches = ("imsc_s", "cmsc_s", "imsc_t", "cmsc_t")
    rows = table2_rows()
    assert [sum(getattr(own, switch) for switch in switches) for own in rows.values()] == [0, 1, 2, 3, 4]
    assert list(rows.values())[-1] == IcmscSettings()
    added = [
        {switch for switch in switches if getattr(after, switch) != getattr(before, switch)}
        for before, after in zip(list(rows.values()), list(rows.values())[1:], strict=False)
    ]
    assert added == [{switch} for switch in switches]
    through_ct, itself = ("G_ts", "F_s"), ("F_t",)
    assert [made(own).ways().best for own in rows.values()] == [through_ct, through_ct, itself, itself, itself]
