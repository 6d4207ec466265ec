"""What comes of a training on slabs: a package that the engine runs, an estimate of all stages, a start for others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.models.package import read_package
from HipICMSCLib.networks.inference import FP32
from HipICMSCLib.networks.slab_unet import SlabUNet
from HipICMSCLib.preprocessing.slabs import acquisition_plane, prepare_slices
from HipICMSCTrainingLib.data.dataset import Dataset
from HipICMSCTrainingLib.data.slab_cache import cached_slices, slices_file
from HipICMSCTrainingLib.data.training_data import mr_stack_of
from HipICMSCTrainingLib.methods.icmsc import IcmscSettings
from HipICMSCTrainingLib.methods.registry import METHODS
from HipICMSCTrainingLib.run import estimate as estimate_module
from HipICMSCTrainingLib.run.description import RunDescription, start_run
from HipICMSCTrainingLib.run.estimate import estimate
from HipICMSCTrainingLib.run.export import export_package
from HipICMSCTrainingLib.run.starting_weights import with_settings_of
from HipICMSCTrainingLib.run.trainer import Trainer
from HipICMSCTrainingLib.settings.stages import STAGES
from HipICMSCTrainingLib.settings.training import TrainingSettings
from HipICMSCTrainingLib.simulation.anatomy import anatomy_of, shape_of
from simple_patient import simple_patient
from tiny_training import POOL, SLAB_ASSIGNMENTS, tiny_settings

SETTINGS = tiny_settings(SLAB_ASSIGNMENTS)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def package(finished_slab_run, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("package") / "slabs.hipmodel"
    export_package(finished_slab_run, file)
    return file


@pytest.fixture(scope="module")
def mri(slab_data) -> sitk.Image:
    return sitk.ReadImage(slab_data.dataset.of("MR", "val")[0].image)


def own_network(run) -> SlabUNet:
    network = SlabUNet(SETTINGS.slab_unet)
    network.load_state_dict(run.checkpoints.selected()["F_t"])
    return network.eval()


def test_the_package_says_how_slabs_are_read_and_nothing_of_a_crop(package):
    manifest = read_package(package).manifest
    assert (manifest.slab, manifest.slab_unet) == (SETTINGS.slab, SETTINGS.slab_unet)
    assert (manifest.crop, manifest.segmenter, manifest.translator) == (None, None, None)
    assert (manifest.route, manifest.plane) == (("F_t",), "any")
    assert "any plane" in read_package(package).card
    assert "4 mm" in read_package(package).card


def test_the_engine_says_of_an_mri_what_the_runs_own_network_says_of_its_slices(package, finished_slab_run, mri):
    segmenter = HipSegmenter(package, "cpu", FP32)
    plane = acquisition_plane(mri) or "coronal"
    multiple = SETTINGS.slab_unet.multiple
    slices = prepare_slices(mri, plane, "MR", SETTINGS.slab, SETTINGS.intensity, multiple).slices
    found = segmenter.inference.foreground(slices, lambda share: None, lambda: False)
    number = len(slices) // 2
    slab = torch.from_numpy(slices[[number - 1, number, number + 1]])[None]
    with torch.no_grad():
        expected = own_network(finished_slab_run)(slab).softmax(1)[0, 1:].numpy()
    assert np.abs(found[:, number] - expected).max() < 1e-4


def test_the_engine_ends_in_bones_or_in_the_sentence_that_there_are_none(package, mri):
    try:
        result = HipSegmenter(package, "cpu", FP32).segment(mri)
    except HipError as error:
        assert error.kind == "no_hip"
    else:
        assert result.labels.GetSize() == mri.GetSize()
        assert any(result.volumes_ml.values())


@pytest.mark.parametrize("weights", ["selected", "average", "last"])
@pytest.mark.parametrize("route", ["F_t", "F_s(G_ts)"])
def test_each_kind_of_weights_and_each_way_can_be_exported(finished_slab_run, slab_data, tmp_path, weights, route):
    file = tmp_path / "m.hipmodel"
    manifest = export_package(finished_slab_run, file, weights, route)
    assert (manifest.translator is None) == (route == "F_t")
    stack = mr_stack_of(slab_data.dataset.of("MR", "train"), SETTINGS, slab_data.cache)
    with torch.no_grad():
        logits = read_package(file).network()(stack.images([0, 3]))
    assert logits.shape == (2, 3, 64, 64)
    assert torch.isfinite(logits).all()


def test_an_estimate_names_all_four_stages(slab_data, monkeypatch):
    monkeypatch.setattr(estimate_module, "TIMED_SECONDS", 0.0)
    told = estimate(
        RunDescription("icmsc", SETTINGS, IcmscSettings(image_pool=POOL), slab_data.dataset), slab_data.cache
    )
    assert list(told.steps) == list(told.seconds_per_step) == list(STAGES)
    assert set(told.steps.values()) == {4}
    for stage in STAGES:
        assert told.seconds[stage] == pytest.approx(4 * told.seconds_per_step[stage])
        assert f"\n{stage} " in told.table()
    kept = sum(path.stat().st_size for path in slab_data.cache.iterdir())
    assert told.disk_bytes["preprocessed slices"] == pytest.approx(kept, rel=0.01)
    assert 0 < told.seconds["reading of the MRIs"] < told.total_seconds


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_a_ct_that_nobody_prepared_counts_with_the_size_that_it_will_have(order):
    """Of a CT whose lowest slice shows a shaft, whatever axis runs along the patient."""
    patient = simple_patient((2.0, 2.0, 3.0))
    ct, labels = (sitk.PermuteAxes(image, order) for image in (patient.ct, patient.labels))
    assert shape_of(ct) == anatomy_of(ct, labels).shape


@pytest.mark.slow
def test_ready_and_other_cts_are_counted_alike(slab_data, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate_module, "TIMED_SECONDS", 0.0)
    described = RunDescription("icmsc", SETTINGS, IcmscSettings(image_pool=POOL), slab_data.dataset)
    told, ready = estimate(described), estimate(described, slab_data.cache)
    key = "preprocessed slices"
    assert told.disk_bytes[key] == pytest.approx(ready.disk_bytes[key], rel=0.3)


@pytest.mark.slow
def test_an_mri_counts_for_its_field_of_view(slab_data, tmp_path, monkeypatch):
    """Nobody has prepared it, and a smaller one is timed."""
    monkeypatch.setattr(estimate_module, "TIMED_SECONDS", 0.0)
    small = slab_data.dataset.of("MR", "train")[0]
    image = sitk.ConstantPad(sitk.ReadImage(small.image), [80, 80, 0], [80, 80, 0])
    wide = replace(small, name="wide", patient="wide", image=str(tmp_path / "wide.nrrd"))
    sitk.WriteImage(image, wide.image)
    without, told = (
        estimate(
            RunDescription("icmsc", SETTINGS, IcmscSettings(image_pool=POOL), Dataset(cases)), slab_data.cache
        ).disk_bytes["preprocessed slices"]
        for cases in (slab_data.dataset.cases, (*slab_data.dataset.cases, wide))
    )
    cached_slices(wide, SETTINGS, tmp_path)
    assert told - without == pytest.approx(slices_file(wide, SETTINGS, tmp_path).stat().st_size, rel=0.05)


def test_an_estimate_counts_the_steps_that_the_training_does(slab_data, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate_module, "TIMED_SECONDS", 0.0)
    settings = replace(SETTINGS, steps_per_epoch=None, stage1_epochs=0, stage2_epochs=0, self_training_epochs=0)
    described = RunDescription("icmsc", settings, IcmscSettings(image_pool=POOL), slab_data.dataset)
    mr_slices = len(mr_stack_of(slab_data.dataset.of("MR", "train"), settings, slab_data.cache))
    told = estimate(described, slab_data.cache)
    # A CT has no slices of its own.
    assert told.steps_per_epoch == mr_slices
    assert told.steps["simulation"] == sum(told.steps.values()) == mr_slices


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"icmsc"}))
def test_no_other_method_starts_on_slabs_and_no_folder_is_left(slab_data, tmp_path, name):
    with pytest.raises(HipError, match="reads the paper's crop alone") as refused:
        start_run(tmp_path / "run", RunDescription(name, SETTINGS, METHODS[name].Settings(), slab_data.dataset))
    assert refused.value.kind == "bad_setting"
    assert not (tmp_path / "run").exists()


def test_a_training_can_start_from_the_package_and_takes_its_way_of_reading(slab_data, package, tmp_path):
    taken = with_settings_of(read_package(package), TrainingSettings())
    assert (taken.reads, taken.slab, taken.slab_unet) == ("slabs", SETTINGS.slab, SETTINGS.slab_unet)
    started = slab_data.start(tmp_path / "run", start_from=str(package))

    trainer = Trainer(started)
    try:
        with started.locked():
            trainer.prepare()
        weights = read_package(package).weights
        for name, value in trainer.method.networks["F_t"].state_dict().items():
            assert torch.equal(value, weights[f"F_t/{name}"])
    finally:
        trainer.close()


def test_crops_and_slabs_are_no_start_for_one_another(tiny_data, package, tmp_path):
    with pytest.raises(HipError, match="reads slabs") as refused:
        tiny_data.start(tmp_path / "run", start_from=str(package))
    assert refused.value.kind == "start_does_not_fit"
