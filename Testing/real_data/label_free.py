"""What can be said of packages without a label of an MRI: `python label_free.py DATA MODEL [MODEL …]`

By these numbers and by pictures the model that ships is chosen:

- `simulated`: Dice on simulated MRI of the held-out CTs, 160 slabs that no training saw.
- `coronal`, `axial`: Dice of a model's two views of one MRI, as it is, and in the mirror and darker; of the coronal
  MRIs that are held out, and of the axial ones that teach without labels. The mean of both bones, as above.
- `muscle`: of what is drawn on T1-weighted MRIs, how much of its inside is as bright as muscle, hip bone and femur, in
  coronal and in axial MRIs. Views may well agree on a muscle that both call bone: self-training makes itself sure of
  it. Red marrow and what slices blur is as bright here and there, so that 0 is not the best, but more is worse.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE, SEGMENTS
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.preprocessing.slabs import prepare_slices
from HipICMSCTrainingLib.data.slab_cache import plane_to_read
from HipICMSCTrainingLib.data.slab_stack import simulated_stack
from HipICMSCTrainingLib.run.muscle import as_bright_as_muscle
from HipICMSCTrainingLib.run.scores import mean_dice, other_view, predicted
from HipICMSCTrainingLib.settings.training import PRESETS
from make_dataset import HELD_OUT, SAMPLE, TRAINED
from scipy import ndimage
from simulated_table import anatomy

_BONES = {"hip bone": HIP_BONE, "femur": FEMUR}
_SLABS = 160
#: What lies this far inside a bone, pixels, has neither cortex nor the blur of its surface.
_INSIDE = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    chosen = parser.parse_args()
    try:
        stack = simulated_slabs(chosen.data)
        for model in chosen.models:
            print(f"{model.stem}: {in_words(HipSegmenter(model, 'cpu'), chosen.data, *stack)}", flush=True)
    except HipError as error:
        print(f"label_free: {error.sentence}", file=sys.stderr)
        return 2
    return 0


def simulated_slabs(data: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """(slab, slices, rows, columns) and classes (slab, rows, columns)."""
    held_out = [anatomy(data, f"ct_sim/{name}") for name in sorted(HELD_OUT) if name.startswith("ctsim")]
    preset = PRESETS["slabs"]
    stack = simulated_stack(held_out, preset.simulation, preset.slab_shape, _SLABS)
    return stack.images(range(_SLABS)), torch.from_numpy(stack.labels)


def in_words(segmenter: HipSegmenter, data: Path, slabs: torch.Tensor, labels: torch.Tensor) -> str:
    coronal = sorted((data / "mri_unlabelled").glob("*.nii.gz"))
    held_out = [path for path in coronal if path.name.partition(".")[0] in HELD_OUT]
    taught = [path for path in coronal if path not in held_out and path.name.partition(".")[0] != SAMPLE]
    axial = [data / "sts" / f"sts_{patient}_t1.nii.gz" for patient in TRAINED]
    with torch.no_grad():
        on_simulated = predicted(segmenter.inference.network, slabs, torch.device("cpu")).argmax(1)
    said = [f"simulated {mean_dice(on_simulated, labels):.3f}"]
    for plane, paths in (("coronal", held_out), ("axial", axial)):
        said.append(f"{plane} {agreement_of_views(segmenter, [sitk.ReadImage(str(path)) for path in paths]):.3f}")
    for plane, paths in (("coronal", held_out + taught), ("axial", axial)):
        found = [drawn(segmenter, sitk.ReadImage(str(path))) for path in paths]
        for bone in _BONES:
            inside, muscle = (sum(one[bone][which] for one in found) for which in (0, 1))
            share = muscle / max(inside, 1e-9)
            said.append(f"muscle in {plane} {bone} {share:.3f} ({muscle:.0f} of {inside:.0f} ml)")
    return ", ".join(said)


def agreement_of_views(segmenter: HipSegmenter, images: list[sitk.Image]) -> float:
    """Dice over all slices of all images."""
    as_they_are, other_views, read_as = [], [], segmenter.package.manifest
    for image in images:
        plane = plane_to_read(image)
        slices = prepare_slices(image, plane, "MR", read_as.slab, read_as.intensity, read_as.slab_unet.multiple).slices
        as_they_are.append(classes_of_slices(segmenter, slices).flatten())
        other = other_view(torch.from_numpy(slices)).numpy()
        other_views.append(classes_of_slices(segmenter, other).flip(-1).flatten())
    return mean_dice(torch.cat(as_they_are), torch.cat(other_views))


def classes_of_slices(segmenter: HipSegmenter, slices: np.ndarray) -> torch.Tensor:
    """(slice, row, column) as the slices are."""
    bones = torch.from_numpy(segmenter.inference.foreground(slices, lambda share: None, lambda: False))
    return torch.cat([1 - bones.sum(0, keepdim=True), bones]).argmax(0)


def drawn(segmenter: HipSegmenter, image: sitk.Image) -> dict[str, tuple[float, float]]:
    """Of each bone of a T1-weighted MRI, ml: what lies inside it, and what of that is as bright as muscle."""
    labels = sitk.GetArrayFromImage(segmenter.segment(image).labels)
    voxel_ml = float(np.prod(image.GetSpacing())) / 1000
    like_muscle = as_bright_as_muscle(sitk.GetArrayFromImage(image).astype(np.float32))
    found = {}
    for bone, value in _BONES.items():
        here = np.isin(labels, [segment.value for segment in SEGMENTS if segment.bone == value])
        inside = np.stack([ndimage.binary_erosion(slice_, iterations=_INSIDE) for slice_ in here])
        found[bone] = (inside.sum() * voxel_ml, (inside & like_muscle).sum() * voxel_ml)
    return found


if __name__ == "__main__":
    sys.exit(main())
