"""The model that ships, and the engine with the full-size F, against nnU-Net v2's 3-D predictor.

But for the model that ships, weights are random on both sides: they do not change the time. `inference.py` runs all and
prints JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from measuring import SMALLEST, in_child, measured

#: The paper's crop (left-right, front-back, head-foot) and a usual coronal MRI.
FULL_SIZE, FULL_SPACING = ((300, 160, 240), (1.25, 1.25, 1.0)) if not SMALLEST else ((100, 16, 80), (3.75, 12.5, 3.0))
THICK_SIZE, THICK_SPACING = (384, 40, 384), (0.911, 5.2, 0.911)
#: nnU-Net's default 3d_fullres network for a patch of 128³.
PATCH = (128, 128, 128) if not SMALLEST else (64, 64, 64)
#: Where its planner begins for thick slices: as many voxels as a patch of 128³ has, at the volume's own proportions.
THICK_PATCH = (40, 224, 224) if not SMALLEST else (40, 64, 64)
SAMPLE = Path(__file__).parents[2] / "HipICMSC/Resources/SampleData/HipICMSC-MRI-CPTAC-C3N-01875.nii.gz"
FEATURES = (32, 64, 128, 256, 320, 320)


def volume(size: tuple[int, ...], spacing: tuple[float, ...]) -> sitk.Image:
    """Noise with the extent of a pelvis, centred on the world's origin; the heads are given, not looked for."""
    voxels = np.random.default_rng(0).gamma(2.0, 100.0, size[::-1]).astype(np.int16)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    image.SetOrigin([-(n - 1) / 2 * s for n, s in zip(size, spacing, strict=True)])
    return image


def engine(
    size: tuple[int, ...], spacing: tuple[float, ...], reduced: bool = False, width: int = 64, whole: bool = False
) -> dict[str, object]:
    """Everything from image to four bones, model already loaded; the stages also name reading and writing the files.

    The classes of random weights are near ties, so the engine's own check refuses bf16 for them; ``reduced`` insists on
    it, as trained weights pass. The network reads the paper's crop, or the ``whole`` volume as it is.
    """
    from HipICMSCLib.anatomy.femoral_heads import FemoralHeads
    from HipICMSCLib.engine import HipSegmenter
    from HipICMSCLib.models.package import ModelManifest, write_package
    from HipICMSCLib.networks.inference import BF16
    from HipICMSCLib.networks.paper_segmenter import Segmenter, SegmenterSettings
    from HipICMSCLib.preprocessing.geometry import CropSettings
    from HipICMSCLib.preprocessing.intensity import IntensitySettings
    from HipICMSCLib.reading.volume import read_volume
    from HipICMSCLib.results.segmentation_file import write_segmentation

    torch.manual_seed(0)
    settings = SegmenterSettings(width=width)
    crop = CropSettings(spacing, size) if whole or SMALLEST else CropSettings()
    F_t = Segmenter(settings)
    manifest = ModelManifest("benchmark", ("F_t",), crop, IntensitySettings(), settings, None, "none", "benchmark")
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "benchmark.hipmodel"
        write_package(package, manifest, {"F_t": F_t.state_dict()}, "")
        segmenter = HipSegmenter(package, "cpu", BF16 if reduced else None)
        heads = FemoralHeads((-88.0, 0.0, 0.0), (88.0, 0.0, 0.0))
        file, output = Path(folder) / "mri.nii.gz", Path(folder) / "bones.seg.nrrd"
        sitk.WriteImage(volume(size, spacing), str(file))
        started = time.perf_counter()
        image = read_volume(file)
        reading = time.perf_counter() - started
        results = []
        numbers = measured(lambda: results.append(segmenter.segment(image, heads)))
        started = time.perf_counter()
        write_segmentation(results[-1].labels, output, {})
        stages = {"reading": reading} | results[-1].seconds | {"writing": time.perf_counter() - started}
    return numbers | {"precision": results[-1].precision, "slices": results[-1].slices, "stages": stages}


def thick_mri() -> sitk.Image:
    """The sample MRI as 384 × 384 × 40 voxels."""
    mri = sitk.ReadImage(str(SAMPLE))
    columns, rows, slices = mri.GetSize()
    spacing = [*mri.GetSpacing()[:2], mri.GetSpacing()[2] * slices / THICK_SIZE[1]]
    size = [columns, rows, THICK_SIZE[1]]
    return sitk.Resample(
        mri, size, sitk.Transform(), sitk.sitkLinear, mri.GetOrigin(), spacing, mri.GetDirection(), 0.0, sitk.sitkInt16
    )


def shipped() -> dict[str, object]:
    """The whole process of `hipicmsc segment`: start, model, reading, network, bones, writing; the stages of its last
    run."""
    with tempfile.TemporaryDirectory() as folder:
        mri, result, about = (Path(folder) / name for name in ("mri.nii.gz", "bones.seg.nrrd", "about.json"))
        sitk.WriteImage(thick_mri(), str(mri))
        command = [
            sys.executable,
            "-m",
            "HipICMSCTrainingLib.cli",
            "segment",
            str(mri),
            "-o",
            str(result),
            "--report",
            str(about),
            "--overwrite",
        ]
        numbers = measured(lambda: subprocess.run(command, check=True, capture_output=True), repeats=3, child=True)
        told = json.loads(about.read_text(encoding="utf-8"))
    return numbers | {"precision": told["precision"], "stages": told["seconds"]}


def nnunet_thick() -> dict[str, float]:
    """nnU-Net's default 3-D network for such an MRI, as its planner has it, on the same voxels."""
    from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

    mri = thick_mri()
    _, strides, kernels, patch, _ = get_pool_and_conv_props(mri.GetSpacing()[::-1], THICK_PATCH, 4, 999)
    voxels = sitk.GetArrayFromImage(mri).astype(np.float32)
    return nnunet(voxels, tuple(map(int, patch)), strides[: len(FEATURES)], kernels[: len(FEATURES)])


def nnunet_even() -> dict[str, float]:
    """As many voxels as the paper's crop has."""
    strides = [1] + [2] * (len(FEATURES) - 1)
    return nnunet(sitk.GetArrayFromImage(volume(FULL_SIZE, FULL_SPACING)).astype(np.float32), PATCH, strides, 3)


def nnunet(voxels: np.ndarray, patch: tuple[int, ...], strides: list, kernels: list | int) -> dict[str, float]:
    """nnU-Net's sliding window with Gaussian weighting, step 0.5, no mirroring."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    class Configuration:
        patch_size = patch

    class Labels:
        num_segmentation_heads = 3

    stages = min(len(FEATURES), len(strides))
    network = PlainConvUNet(
        1, stages, FEATURES[:stages], torch.nn.Conv3d, kernels, strides, 2, 3, 2, conv_bias=True,
        norm_op=torch.nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=torch.nn.LeakyReLU, nonlin_kwargs={"inplace": True},
    ).eval()  # fmt: skip
    predictor = nnUNetPredictor(0.5, True, False, False, torch.device("cpu"), allow_tqdm=False)
    predictor.network, predictor.configuration_manager, predictor.label_manager = network, Configuration(), Labels()
    predictor.allowed_mirroring_axes = None
    image = torch.from_numpy(voxels)[None]
    if SMALLEST:
        image = image[:, : patch[0], : patch[1] + 8, : patch[2] + 8]
    image = (image - image.mean()) / image.std()
    return measured(lambda: predictor.predict_sliding_window_return_logits(image))


MEASUREMENTS = {
    "engine, 300 × 160 × 240": lambda: engine(FULL_SIZE, FULL_SPACING),
    "engine, 300 × 160 × 240, bf16": lambda: engine(FULL_SIZE, FULL_SPACING, reduced=True),
    "engine, 384 × 384 × 40 thick slices": lambda: engine(THICK_SIZE, THICK_SPACING),
    "nnU-Net v2 3-D predictor, 300 × 160 × 240": nnunet_even,
    "hipicmsc segment, whole process, 384 × 384 × 40": shipped,
    "nnU-Net v2 3-D predictor, 384 × 384 × 40": nnunet_thick,
}


def main() -> dict[str, object]:
    results: dict[str, object] = {name: in_child(__file__, name) for name in MEASUREMENTS}
    ours, reduced, _, theirs, process, theirs_thick = results.values()
    results["nnU-Net seconds / engine seconds"] = theirs["seconds"] / ours["seconds"]
    results["nnU-Net seconds / engine seconds in bf16"] = theirs["seconds"] / reduced["seconds"]
    results["nnU-Net seconds / seconds of the whole process"] = theirs_thick["seconds"] / process["seconds"]
    return results


if __name__ == "__main__":
    print(
        json.dumps(MEASUREMENTS[sys.argv[1]]() if sys.argv[1:] and sys.argv[1] in MEASUREMENTS else main(), indent=None)
    )
