"""What of a corrected MRI counts, and what is said of cases that teach nothing or are not there any more."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from corrected import case_in
from corrected_phantoms import ALL, corrected_phantom
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.preprocessing.geometry import CropSettings
from HipICMSCTrainingLib.data.batches import BatchSource, SliceStack
from HipICMSCTrainingLib.data.cases_of_folders import corrected_cases, dataset_from_folders, suggest_roles
from HipICMSCTrainingLib.data.check import check_dataset
from HipICMSCTrainingLib.data.corrections import DRAWN_WEIGHT, KNOWN_MM, counted, read_corrections
from HipICMSCTrainingLib.data.corrections_cache import cached_corrections
from HipICMSCTrainingLib.data.dataset import Case, Dataset
from HipICMSCTrainingLib.data.dataset_file import dataset_from_file, write_dataset_file
from HipICMSCTrainingLib.data.slab_source import SlabSource
from HipICMSCTrainingLib.data.slice_cache import cached_volume
from HipICMSCTrainingLib.settings.augmentation import AugmentationSettings
from HipICMSCTrainingLib.settings.stages import SELF_TRAINING, SIMULATION, TOGETHER, TRANSLATION
from test_slab_source import block, mri
from tiny_training import SLAB_ASSIGNMENTS, tiny_settings

RIGHT_HIP, LEFT_HIP, RIGHT_FEMUR, LEFT_FEMUR = range(1, 5)
SPACING = (2.0, 2.0, 2.0)
UNMOVED = AugmentationSettings(scaling=0, rotation_deg=0, shift=0, contrast=0)


def row_of_bones() -> np.ndarray:
    """(1, 1, 200) voxels of 2 mm: right femur and hip bone, 20 mm apart, then far off the left ones."""
    labels = np.zeros((1, 1, 200), np.uint8)
    labels[..., 20:30], labels[..., 40:50] = RIGHT_FEMUR, RIGHT_HIP
    labels[..., 120:130], labels[..., 140:150] = LEFT_HIP, LEFT_FEMUR
    return labels


def test_all_four_bones_completed_vouch_for_everything():
    classes, weights = counted(row_of_bones(), {1, 2, 3, 4}, SPACING)
    assert (weights == 1).all()
    assert classes[0, 0, [25, 45, 125, 145, 80]].tolist() == [2, 1, 1, 2, 0]


def test_background_counts_about_what_is_completed_and_not_about_the_rest():
    _, weights = counted(row_of_bones(), {RIGHT_HIP, RIGHT_FEMUR}, SPACING)
    known = int(KNOWN_MM / 2)
    right = weights[0, 0, :100]
    assert (right[20 - known : 50 + known] == 1).all()
    assert (right[: 20 - known] == 0).all() and (right[50 + known :] == 0).all()
    left = weights[0, 0, 100:]
    assert np.unique(left[20:30]) == np.unique(left[40:50]) == pytest.approx(DRAWN_WEIGHT)
    assert (np.delete(left, [*range(20, 30), *range(40, 50)]) == 0).all()


def test_about_a_bone_that_is_not_completed_nobody_knows_the_background():
    labels = row_of_bones()
    labels[..., 33:40] = RIGHT_HIP  # 6 mm from the femur
    _, weights = counted(labels, {RIGHT_HIP}, SPACING)
    assert (weights[0, 0, 30:33] == 0).all()
    assert (weights[0, 0, 50:55] == 1).all()


def test_where_the_partner_in_the_joint_is_missing_no_background_counts():
    labels = row_of_bones()
    labels[labels == RIGHT_FEMUR] = 0
    _, weights = counted(labels, {RIGHT_HIP}, SPACING)
    assert (weights[labels == RIGHT_HIP] == 1).all()
    assert (weights[labels == 0] == 0).all()
    # A person who completes the empty segment says that there is none.
    _, weights = counted(labels, {RIGHT_HIP, RIGHT_FEMUR}, SPACING)
    assert weights[0, 0, 38] == 1


def case_of(folder: Path, name: str = "a") -> Case:
    return Case(name, "MR", "train", name, str(folder / "mri.nii.gz"), corrected=str(folder))


def test_a_case_is_read_with_what_was_done_to_it(tmp_path):
    kept = case_in(tmp_path)
    corrections = read_corrections(case_of(kept.folder))
    assert corrections.completed == {"RightFemur"}
    labels, weights = (sitk.GetArrayFromImage(image) for image in (corrections.labels, corrections.weights))
    assert (weights[labels == 3] == 1).all() and weights[labels == 4].tolist() == pytest.approx(
        [DRAWN_WEIGHT] * int((labels == 4).sum())
    )
    assert np.array_equal(sitk.GetArrayFromImage(corrections.not_counted) == 0, weights == 1)


def broken(kind: str, folder: Path) -> None:
    if kind == "moved":
        folder.rename(folder.with_name("elsewhere"))
    elif kind == "half copied":
        label = (folder / "label.nii.gz").read_bytes()
        (folder / "label.nii.gz").write_bytes(label[: len(label) // 2])
    elif kind == "label missing":
        (folder / "label.nii.gz").unlink()
    else:
        (folder / "case.json").unlink()


@pytest.mark.parametrize("kind", ["moved", "half copied", "label missing", "unfinished"])
def test_a_case_that_is_not_whole_is_said_in_a_sentence(tmp_path, kind):
    case = case_of(case_in(tmp_path / "cases").folder)
    broken(kind, Path(case.corrected))
    with pytest.raises(HipError) as refused:
        read_corrections(case)
    assert refused.value.kind == "bad_case" and refused.value.sentence.endswith(".")
    # A training says it with the name of the case, and names no folder of the user.
    with pytest.raises(HipError) as refused:
        cached_corrections(case, tiny_settings(SLAB_ASSIGNMENTS), tmp_path / "cache")
    assert "Case a: " in refused.value.sentence and str(tmp_path) not in refused.value.sentence
    report = check_dataset(Dataset((case,)), CropSettings())
    assert "bad_case" in [stop.kind for stop in report.stops]


def test_a_case_without_a_completed_bone_teaches_nothing(tiny_data, tmp_path):
    kept = corrected_phantom(tiny_data.folder, 0, tmp_path, completed=())
    with pytest.raises(HipError, match="No bone of the corrected case a is marked as completed"):
        read_corrections(case_of(kept.folder))
    report = check_dataset(Dataset((case_of(kept.folder),)), CropSettings())
    assert "nothing_corrected" in [stop.kind for stop in report.stops]


def test_a_check_knows_what_is_completed(tiny_data, tmp_path):
    some = corrected_phantom(tiny_data.folder, 0, tmp_path, completed={"RightFemur", "RightHipBone"} & ALL)
    whole = corrected_phantom(tiny_data.folder, 1, tmp_path)
    report = check_dataset(Dataset((case_of(some.folder, "some"), case_of(whole.folder, "whole"))), CropSettings())
    (caution,) = [caution for caution in report.cautions if caution.kind == "partly_completed"]
    assert caution.case == "some" and "left hip bone" in caution.sentence and "right" not in caution.sentence
    of_whole = next(case for case in report.cases if case.name == "whole")
    assert of_whole.femur_ml > 50 and of_whole.acetabulum_ml > 100
    assert {stop.kind for stop in report.stops} == {"too_few_volumes"}


def test_a_folder_of_cases_is_a_source_beside_the_others(tiny_data, tmp_path):
    for number in (0, 1):
        corrected_phantom(tiny_data.folder, number, tmp_path / "cases")
    data = dataset_from_folders(tiny_data.folder / "ct", None, 0, corrected=tmp_path / "cases")
    assert [case.name for case in data.cases if case.corrected] == ["case-001", "case-002"]
    assert {case.role for case in data.cases if case.corrected} == {"train", "val"}
    assert all(case.label is None for case in data.of("MR", "train") + data.of("MR", "val"))
    # One more MRI, which is not corrected, leaves one of both to teach and one held out.
    both = dataset_from_folders(tiny_data.folder / "ct", tiny_data.folder / "mri", 0, corrected=tmp_path / "cases")
    assert len(both.corrected("train")) == len(both.corrected("val")) == 1


def test_the_only_corrected_case_is_never_held_out(tmp_path):
    cases = [Case(str(n), "MR", "train", str(n), f"{n}.nii.gz") for n in range(9)]
    only = Case("c", "MR", "train", "c", "c/mri.nii.gz", corrected="c")
    for seed in range(20):
        roles = {case.name: case.role for case in suggest_roles([*cases, only], seed)}
        assert roles["c"] == "train" and "val" in roles.values()


def test_a_dataset_file_names_the_folder_of_a_case(tiny_data, tmp_path):
    kept = corrected_phantom(tiny_data.folder, 0, tmp_path / "cases")
    (case,) = corrected_cases(kept.folder)
    file = tmp_path / "dataset.json"
    dataset = Dataset((*tiny_data.dataset.cases, case))
    write_dataset_file(dataset, file)
    assert dataset_from_file(file) == dataset
    entry = json.loads(file.read_text())["cases"][-1]
    assert entry["corrected"] == "cases/case-001" and not {"image", "label", "label_values"} & entry.keys()
    # Moved as a whole it is found again; without its case the sentence says so.
    moved = shutil.move(tmp_path, tmp_path.with_name("moved"))
    assert dataset_from_file(Path(moved) / "dataset.json").cases[-1].image.startswith(str(moved))
    shutil.rmtree(Path(moved) / "cases")
    with pytest.raises(HipError, match="it was moved, renamed or deleted"):
        dataset_from_file(Path(moved) / "dataset.json")


@pytest.mark.parametrize("change", [{"modality": "CT"}, {"label": "x.nii.gz"}])
def test_a_corrected_case_is_an_mri_with_its_labels_in_its_folder(change):
    with pytest.raises(HipError, match="name neither a CT nor a label map"):
        replace(Case("a", "MR", "train", "a", "a/mri.nii.gz", corrected="a"), **change)


def test_a_folder_without_cases_is_refused(tmp_path):
    with pytest.raises(HipError, match="holds no corrected case"):
        corrected_cases(tmp_path)


def corrected_mri() -> dict[str, np.ndarray]:
    """Of nine slices the middle one alone counts, within a square; the class there is the femur."""
    volume = mri(size=(9, 90, 120))
    weights, classes = np.zeros((9, 90, 120), np.float16), np.zeros((9, 90, 120), np.uint8)
    weights[4, 20:40, 30:60], classes[4, 20:40, 30:60] = 1, 2
    return volume | {"weights": weights, "classes": classes}


@pytest.mark.parametrize("stage", [SIMULATION, SELF_TRAINING])
def test_corrected_slabs_lie_beside_simulated_ones_and_show_what_counts(stage):
    settings = tiny_settings(SLAB_ASSIGNMENTS, batch_size=4, corrections_share=0.5, augmentation=UNMOVED)
    source = SlabSource([block()], [1.0], [mri()], [1.0], settings, corrected=[corrected_mri()])
    try:
        for step in range(3):
            batch = source.draw(step, stage)
            assert len(batch.x_s) == len(batch.x_c) == 2
            assert batch.x_c.shape[1:] == batch.x_s.shape[1:]
            assert batch.w_c.sum() > 0 and (batch.y_c[batch.w_c > 0] == 2).all()
            # The slab's middle is the slice that counts: brightness grows with slice and column.
            assert 4 / 20 <= batch.x_c[:, 1][batch.w_c > 0].min() <= batch.x_c[:, 1][batch.w_c > 0].max() < 0.5
        again = SlabSource([block()], [1.0], [mri()], [1.0], settings, corrected=[corrected_mri()])
        drawn = again.draw(2, stage)
        again.close()
        assert (drawn.x_c == batch.x_c).all() and (drawn.y_c == batch.y_c).all()
        # The paper's losses keep their pairs; where F_t learns nothing, no correction is read.
        pairs = source.draw(0, TOGETHER)
        assert len(pairs.x_s) == len(pairs.x_t) == 4 and len(pairs.x_c) == 2
        assert source.draw(0, TRANSLATION).x_c is None
    finally:
        source.close()


def test_each_corrected_mri_has_its_turn_before_one_has_the_next():
    volumes = [corrected_mri() for _ in range(3)]
    for number, volume in enumerate(volumes):
        volume["slices"][:] = number / 10
    settings = tiny_settings(SLAB_ASSIGNMENTS, batch_size=2, corrections_share=0.5, augmentation=UNMOVED)
    # One of two processes, which take every other turn each.
    drawn = []
    for rank in (0, 1):
        source = SlabSource([block()], [1.0], [mri()], [1.0], settings, rank, 2, volumes)
        drawn.append([float(source.draw(step, SIMULATION).x_c.max()) for step in range(6)])
        source.close()
    in_turn = np.round(10 * np.array(drawn).T.ravel()).reshape(-1, 3)
    assert (np.sort(in_turn, 1) == [0, 1, 2]).all()
    assert len(np.unique(in_turn, axis=0)) > 1


def test_corrected_slabs_are_mostly_about_a_bone_and_about_the_smaller_one_as_often():
    volume = mri(size=(60, 200, 200)) | {"weights": np.ones((60, 200, 200), np.float16)}
    volume["classes"] = np.zeros((60, 200, 200), np.uint8)
    volume["classes"][20:40, 20:60, 20:60], volume["classes"][50, 150:154, 150:154] = 1, 2
    settings = tiny_settings(SLAB_ASSIGNMENTS, batch_size=2, corrections_share=0.5)
    source = SlabSource([block()], [1.0], [mri()], [1.0], settings, corrected=[volume])
    shown = [set(source.draw(step, SIMULATION).y_c.unique().tolist()) for step in range(60)]
    source.close()
    with_hip, with_femur = (sum(value in classes for classes in shown) for value in (1, 2))
    # 4 of 60 000 pixels of bone are the femur's: at random hardly a slab would show it.
    assert with_hip >= 15 and with_femur >= 12 and with_hip + with_femur < 60


def test_a_corrected_slab_is_turned_and_scaled_with_its_classes():
    volume = corrected_mri()
    volume["slices"][:] = np.where(volume["classes"] == 2, 0.8, -0.4)
    still, moved = (
        SlabSource([block()], [1.0], [mri()], [1.0], settings, corrected=[volume])
        for settings in (
            tiny_settings(SLAB_ASSIGNMENTS, augmentation=UNMOVED),
            tiny_settings(SLAB_ASSIGNMENTS, augmentation=replace(UNMOVED, scaling=0.3, rotation_deg=30)),
        )
    )
    areas = set()
    for step in range(8):
        batch = moved.draw(step, SIMULATION)
        bright, bone = batch.x_c[0, 1] > 0.2, batch.y_c[0] == 2
        # Images are interpolated and classes are not, so their borders may differ by half a pixel.
        assert (bright != bone).sum() <= 0.2 * bone.sum()
        areas.add(int(bone.sum()) - int((still.draw(step, SIMULATION).y_c == 2).sum()))
    still.close(), moved.close()
    assert min(areas) < 0 < max(areas)


def test_a_simulated_slab_stays_in_a_batch_of_one_or_of_corrections_alone():
    for size, share, expected in ((1, 0.5, (1, 1)), (4, 1.0, (1, 4)), (4, 0.25, (3, 1)), (4, 0.0, (4, 0))):
        settings = tiny_settings(SLAB_ASSIGNMENTS, batch_size=size, corrections_share=share)
        source = SlabSource([block()], [1.0], [mri()], [1.0], settings, corrected=[corrected_mri()])
        batch = source.draw(0, SIMULATION)
        source.close()
        assert (len(batch.x_s), 0 if batch.x_c is None else len(batch.x_c)) == expected


def test_on_a_crop_each_pixel_is_what_a_person_drew_there(tiny_data, tmp_path):
    settings = tiny_settings()
    kept = corrected_phantom(tiny_data.folder, 0, tmp_path / "cases", completed=ALL)
    volume = cached_corrections(case_of(kept.folder), settings, tmp_path / "cache")
    truth = next(case for case in tiny_data.with_labels_of_mri.cases if case.name == "mri00")
    by_label_map = cached_volume(replace(truth, role="test"), settings, tmp_path / "cache")["labels"]
    assert np.array_equal(volume["classes"], by_label_map) and set(np.unique(by_label_map)) == {0, 1, 2}
    assert np.array_equal(volume["weights"] == 1, volume["covered"])


def sliced(size: tuple[int, int, int] = (9, 24, 32), **more: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "slices": np.full(size, -0.4, np.float16),
        "covered": np.ones(size, bool),
        "position_mm": np.arange(size[0], dtype=np.float32),
        **more,
    }


def corrected_slices(brightness: float = 0.8) -> dict[str, np.ndarray]:
    """Of nine slices one shows a bright femur that counts; about it nothing does."""
    classes, weights = np.zeros((9, 24, 32), np.uint8), np.zeros((9, 24, 32), np.float16)
    classes[4, 8:16, 8:20], weights[4, 6:18, 6:22] = 2, 1
    volume = sliced(classes=classes, weights=weights)
    volume["slices"][classes == 2] = brightness
    return volume


def crop_source(corrected: list[dict[str, np.ndarray]], rank: int = 0, processes: int = 1, **changes) -> BatchSource:
    ct = SliceStack([sliced(labels=np.ones((9, 24, 32), np.uint8))])
    return BatchSource(ct, SliceStack([sliced()]), tiny_settings(**changes), rank, processes, corrected)


def test_on_crops_corrected_slices_come_beside_the_pairs_where_F_t_learns():
    moved = AugmentationSettings(scaling=0.2, rotation_deg=20, contrast=0)
    source, without = (
        crop_source(corrected, batch_size=4, augmentation=moved) for corrected in ([corrected_slices()], [])
    )
    for step in range(5):
        batch, pairs = source.draw(step, TOGETHER), without.draw(step, TOGETHER)
        assert torch.equal(batch.x_s, pairs.x_s) and torch.equal(batch.x_t, pairs.x_t) and pairs.x_c is None
        assert batch.x_c.shape == (2, 1, 24, 32) and batch.y_c.shape == batch.w_c.shape == (2, 24, 32)
        # What a person drew is moved with the image, to within half a pixel.
        bright, bone = batch.x_c[:, 0] > 0.2, batch.y_c == 2
        assert bone.any() and (bright != bone).sum() <= 0.2 * bone.sum() and (batch.w_c[bone] == 1).all()
        assert torch.equal(source.draw(step, TOGETHER).x_c, batch.x_c)
        assert source.draw(step, TRANSLATION).x_c is None


def test_on_crops_too_each_corrected_mri_has_its_turn():
    volumes = [corrected_slices(brightness) for brightness in (0.1, 0.4, 0.7)]
    sources = [crop_source(volumes, rank, 2, augmentation=UNMOVED) for rank in (0, 1)]
    drawn = [float(source.draw(step, TOGETHER).x_c.max()) for step in range(6) for source in sources]
    assert (np.sort(np.reshape(drawn, (-1, 3)), 1) == np.float16([0.1, 0.4, 0.7])).all()


def test_what_lies_nowhere_on_the_slices_is_said(tmp_path):
    # The balls lie within 100 mm; the crop is no larger than a voxel of theirs.
    kept = case_in(tmp_path / "cases")
    far = tiny_settings(crop=CropSettings(spacing_mm=(0.5, 0.5, 0.5), size=(4, 4, 4)))
    with pytest.raises(HipError, match="Case a: nothing of what is marked as completed lies where"):
        cached_corrections(case_of(kept.folder), far, tmp_path / "cache")
