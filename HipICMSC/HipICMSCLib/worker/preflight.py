"""What can be said before a segmentation: will it work on this volume, how well, and how long will it take?

Without torch at file scope, because Slicer's own process says what is known at once (:func:`image_findings`,
:func:`model_findings`, :func:`verdict`). :func:`inspect` needs the engine and runs in the worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.anatomy.femoral_heads import FemoralHeads, find_femoral_heads
from HipICMSCLib.anatomy.field_of_view import HEAD_ROOM_MM, JOINT_RADIUS_MM, border_in_words, room_mm
from HipICMSCLib.anatomy.segments import SIDES
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import to_json
from HipICMSCLib.common.terminal import duration
from HipICMSCLib.common.voxels import patient_axis
from HipICMSCLib.networks.memory import SAFETY, activation_bytes, free_bytes, needed_bytes
from HipICMSCLib.preprocessing.geometry import (
    PLANES,
    CropSettings,
    Grid,
    crop_grid,
    obliquity_deg,
    slice_axis,
)
from HipICMSCLib.preprocessing.image_check import check_volume, no_mri
from HipICMSCLib.preprocessing.slabs import acquisition_plane, slice_grid
from HipICMSCLib.results.research_use import RESEARCH_USE
from HipICMSCLib.worker.ground import differences, grounds_of
from HipICMSCLib.worker.run_times import RunTimes

if TYPE_CHECKING:
    import torch

    from HipICMSCLib.engine import HipSegmenter

Level = Literal["fine", "caution", "stop"]
#: What takes a stop away: installing what is missing, marking the femoral heads, or, where the stop is a judgement on
#: the image, the user who knows better.
Remedy = Literal["", "install", "mark_heads", "insist"]

#: Coarser pixels in the network's coronal slices blur the joint space.
COARSEST_PIXEL_MM = 2.5
#: Between slices farther apart the outlines are anyone's guess.
WIDEST_SLICE_STEP_MM = 6.0


@dataclass(frozen=True)
class Finding:
    """One line of the card.

    Attributes:
        subject: what it is about, in a word or two.
        sentence: whole sentences for a clinician.
        brief: the figure in it that the headline repeats, such as "about 9 s"; empty for none.
        remedy: of a stop.
        of_image: False where model or computer are at fault, so that no other image could be segmented either.
    """

    level: Level
    subject: str
    sentence: str
    brief: str = ""
    remedy: Remedy = ""
    of_image: bool = True


@dataclass(frozen=True)
class Inspection:
    """What the worker finds; ``heads`` is None where no hip was found."""

    findings: tuple[Finding, ...]
    heads: FemoralHeads | None


def image_findings(image: sitk.Image, name: str) -> tuple[Finding, ...]:
    """What the volume itself tells at once: can it be used at all, its voxels and modality.

    Args:
        image: any orientation and spacing, in patient coordinates (LPS).
        name: what the user calls it.
    """
    try:
        check_volume(image, name)
    except HipError as error:
        return (Finding("stop", "Image", error.sentence),)
    return _voxel_finding(image), _modality_finding(image)


def model_findings(licence: str, intended_use: str) -> tuple[Finding, ...]:
    """What the model may be used for."""
    if licence.strip():
        of_licence = Finding("fine", "Licence", f"The model's licence is {licence}.")
    else:
        of_licence = Finding(
            "caution", "Licence", "The model states no licence; ask its maker before you use or share its results."
        )
    use = f"{intended_use.strip().rstrip('.')}."
    if "research use only" not in use.lower():
        use = f"{use} {RESEARCH_USE}"
    return of_licence, Finding("fine", "Intended use", use)


def ground_findings(manifest: Mapping[str, Any], image: sitk.Image) -> tuple[Finding, ...]:
    """Whether the model was measured on MRIs like this one.

    Args:
        manifest: model.json.
        image: an MRI that :func:`image_findings` does not stop.
    """
    grounds = grounds_of(manifest)
    if not grounds:
        sentence = "Nobody has said on which MRIs this model was measured; look through the whole result."
        return (Finding("caution", "Measured", sentence),)
    # Of several grounds the one that is most like the image.
    unlike, ground = min(((differences(image, ground), ground) for ground in grounds), key=lambda pair: len(pair[0]))
    measured = f" {ground.measured}" if ground.measured else ""
    if not unlike:
        sentence = (
            f"The model was measured on MRIs like this one in {_listed(ground.judged_by())}: "
            f"{ground.in_words()}.{measured}"
        )
        return (Finding("fine", "Measured", sentence),)
    sentence = (
        f"Not measured on such an MRI: {_listed(unlike)}. The model was measured on {ground.in_words()}.{measured} "
        "Look through the whole result before you use it."
    )
    return (Finding("caution", "Measured", sentence),)


def overruled(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings as they count for a user who insists: a judgement on the image is to be minded and stops nothing."""
    sentence = "It looks like a CT, but the model segments MRI; on a CT its result is worth nothing."
    return tuple(
        replace(finding, level="caution", sentence=sentence) if finding.remedy == "insist" else finding
        for finding in findings
    )


def inspect(
    image: sitk.Image, segmenter: HipSegmenter, run_times: RunTimes, heads: FemoralHeads | None = None
) -> Inspection:
    """What needs the engine: whether the hips are found and in view, whether memory suffices, how long it takes.

    Args:
        image: an MRI that :func:`image_findings` does not stop.
        heads: femoral head centres where the user marked them; otherwise they are looked for.
    """
    manifest = segmenter.package.manifest
    if manifest.crop is None:
        of_hips = "Not looked for before the segmentation; the result says which bones were found."
        in_view: tuple[Finding, ...] = (Finding("fine", "Hips", of_hips),)
        grid = slice_grid(image, acquisition_plane(image) or "coronal", manifest.slab, manifest.slab_unet.multiple)
        columns, rows, slices = grid.size
    else:
        try:
            heads = heads or find_femoral_heads(image)
        except HipError as error:
            return Inspection((Finding("stop", "Field of view", error.sentence, remedy="mark_heads"),), None)
        in_view = field_of_view_findings(image, heads)
        grid = crop_grid(image, heads.midpoint(), manifest.crop)
        columns, slices, rows = grid.size
    findings = (
        orientation_finding(image, manifest.crop),
        *ground_findings(to_json(manifest), image),
        *in_view,
        device_finding(image, grid, (rows, columns), segmenter),
        time_finding(run_times, segmenter.package.sha256, segmenter.device_name, slices),
    )
    return Inspection(findings, heads)


def field_of_view_findings(image: sitk.Image, heads: FemoralHeads) -> tuple[Finding, ...]:
    """Which hips are in the image, and whether it holds the whole of their joints.

    Args:
        heads: femoral head centres, LPS mm; at least one.
    """
    found = [side for side in SIDES if getattr(heads, side) is not None]
    if len(found) == 2:
        of_sides = Finding("fine", "Hips", "Both femoral heads were found.")
    else:
        other = "left" if found == ["right"] else "right"
        of_sides = Finding(
            "caution",
            "Hips",
            f"Only the {found[0]} femoral head was found: the {other} hip lies outside the image or was not "
            "recognised, and will be missing in the result.",
        )
    cut = [finding for side in found if (finding := _cut_finding(image, side, getattr(heads, side)))]
    if cut:
        return of_sides, *cut
    return of_sides, Finding(
        "fine",
        "Field of view",
        f"The image reaches {JOINT_RADIUS_MM:.0f} mm or more to all sides of each femoral head's centre, so it holds "
        "the whole joint.",
    )


def device_finding(image: sitk.Image, grid: Grid, slice_shape: tuple[int, int], segmenter: HipSegmenter) -> Finding:
    """What computes, and whether there is memory enough for it.

    Args:
        grid: what the network reads of the image.
        slice_shape: rows and columns of a slice on it.
    """
    inference, package = segmenter.inference, segmenter.package
    shape = (inference.batch, 2 * package.neighbours + 1, *slice_shape)
    activations = activation_bytes(package.network(), shape)
    with_card = inference.device.type == "cuda"
    needed = needed_bytes(image, grid, len(package.manifest.labels), 0 if with_card else activations)
    free = free_bytes()
    level: Level = "caution" if _is_short(free, needed) else "fine"
    sentences = [f"{_computer(segmenter)} computes.", f"Memory: {_compared(free, needed)}."]
    if level == "caution":
        sentences.append("That may not be enough; close other programs first.")
    if with_card:
        free_there, needed_there = _free_on_card(inference.device), round(SAFETY * activations)
        sentences.append(f"Memory of the card: {_compared(free_there, needed_there)}.")
        if _is_short(free_there, needed_there):
            level = "caution"
            sentences.append("Where that is not enough, fewer slices are computed at once or the processor computes.")
    return Finding(level, "Device", " ".join(sentences), brief=f"needs {_gigabytes(needed)} of memory")


def time_finding(run_times: RunTimes, model_sha256: str, device: str, slices: int) -> Finding:
    """How long it takes by earlier runs of this model on this device (by its name)."""
    seconds = run_times.expected_seconds(model_sha256, device, slices)
    if seconds is None:
        sentence = (
            f"The network reads {slices} slices; how long that takes is not known until the first run has been "
            "measured on this computer."
        )
        return Finding("fine", "Time", sentence)
    # Nothing takes "about 0 s".
    about = f"about {duration(max(seconds, 1.0))}"
    sentence = f"{about.capitalize()} for {slices} slices, as measured in earlier runs on this computer."
    return Finding("fine", "Time", sentence, brief=about)


def verdict(findings: Iterable[Finding]) -> Finding:
    """All findings in one line: whether it can start, after how many cautions, how long it takes and in what memory."""
    findings = tuple(findings)
    stops = [finding for finding in findings if finding.level == "stop"]
    if stops:
        of_image = all(stop.of_image for stop in stops)
        sentence = "This cannot be segmented as it is." if of_image else "Nothing can be segmented yet."
        return Finding("stop", "Verdict", sentence)
    if any(finding.remedy == "insist" for finding in findings):
        return Finding("caution", "Verdict", "Will be segmented on your word, although it looks like a CT.")
    cautions = sum(finding.level == "caution" for finding in findings)
    figures = _figures(findings)
    if not cautions:
        return Finding("fine", "Verdict", f"Ready: {figures}." if figures else "Ready.")
    with_cautions = "Ready, with one caution" if cautions == 1 else f"Ready, with {cautions} cautions"
    return Finding("caution", "Verdict", f"{with_cautions}: {figures}." if figures else f"{with_cautions}.")


def orientation_finding(image: sitk.Image, crop: CropSettings | None) -> Finding:
    """How the slices lie, and whether they are what the network reads.

    Args:
        crop: of a network that reads coronal slices; None for one that reads those of any plane as they were acquired.
    """
    angle = obliquity_deg(image)
    turned = f", turned by {angle:.0f}° against the patient's axes" if angle >= 0.5 else ""
    axis = slice_axis(image)
    if crop is None:
        slices = "A volume without thick slices" if axis is None else _plane_of(image, axis) + " slices"
        return Finding("fine", "Orientation", f"{slices}{turned}, which the network reads as they are.")
    if axis is None:
        return Finding(
            "fine",
            "Orientation",
            f"A volume without thick slices{turned}; the coronal slices that the network reads are cut from it.",
        )
    plane, step = _plane_of(image, axis), image.GetSpacing()[axis]
    if plane == "Coronal" and angle <= crop.largest_obliquity_deg:
        return Finding("fine", "Orientation", f"{plane} slices{turned}, as the network reads them.")
    if step <= COARSEST_PIXEL_MM:
        return Finding(
            "fine",
            "Orientation",
            f"{plane} slices{turned}, close enough for the coronal slices that the network reads to be cut from them.",
        )
    return Finding(
        "caution",
        "Orientation",
        f"{plane} slices{turned}. The network reads coronal slices along the patient's axes: they are cut across these "
        f"slices, which lie {step:.1f} mm apart, so outlines are less exact; a coronal series does better.",
    )


def _figures(findings: Sequence[Finding]) -> str:
    """Time and memory, which are looked at together; empty before that."""
    briefs = {finding.subject: finding.brief for finding in findings}
    time, memory = briefs.get("Time", ""), briefs.get("Device", "")
    if memory and not time:
        return f"{memory}; how long it takes is not known yet"
    return ", ".join(filter(None, (time, memory)))


def _plane_of(image: sitk.Image, axis: int) -> str:
    return PLANES[patient_axis(image, axis)].capitalize()


def _voxel_finding(image: sitk.Image) -> Finding:
    spacing, axis = list(image.GetSpacing()), slice_axis(image)
    doubts = []
    if axis is None:
        measured = f"Voxels of {_times(spacing)} mm."
    else:
        step = spacing.pop(axis)
        measured = f"Pixels of {_times(spacing)} mm in slices {step:.1f} mm apart."
        if step > WIDEST_SLICE_STEP_MM:
            doubts.append(f"Between slices more than {WIDEST_SLICE_STEP_MM:g} mm apart outlines are uncertain.")
    if max(spacing) > COARSEST_PIXEL_MM:
        doubts.append(f"Pixels of more than {COARSEST_PIXEL_MM:g} mm blur the joint space.")
    return Finding("caution" if doubts else "fine", "Voxels", " ".join([measured, *doubts]))


def _modality_finding(image: sitk.Image) -> Finding:
    judged = no_mri(image)
    if judged is not None:
        return Finding("stop", "Modality", judged.sentence, remedy="insist" if judged.kind == "ct_given" else "")
    return Finding("fine", "Modality", "By its intensities it looks like an MRI.")


def _cut_finding(image: sitk.Image, side: str, head: tuple[float, float, float]) -> Finding | None:
    """Where the image ends before a joint does; None where it holds all of it."""
    room = room_mm(image, head)
    missing = np.round(JOINT_RADIUS_MM - room)
    places = [f"{missing[end]:.0f} mm {border_in_words(image, *end)}" for end in np.ndindex(3, 2) if missing[end] > 0]
    if not places:
        return None
    cut, incomplete = ("is cut", "are") if room.min() < HEAD_ROOM_MM else ("may be cut", "may be")
    return Finding(
        "caution",
        "Field of view",
        f"The {side} hip joint {cut} by the border of the image: of the {JOINT_RADIUS_MM:.0f} mm about the centre of "
        f"its femoral head, {_listed(places)} are missing. Shape and volume {incomplete} incomplete there.",
    )


def _computer(segmenter: HipSegmenter) -> str:
    own = {"cpu": "The processor (cpu)", "mps": "The Mac's graphics processor (mps)"}
    return own.get(segmenter.inference.device.type, f"The graphics card {segmenter.device_name}")


def _free_on_card(device: torch.device) -> int:
    """What the driver has left, and what this process holds of the card without using it."""
    import torch

    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


def _is_short(free: int | None, needed: int) -> bool:
    return free is not None and free < needed


def _compared(free: int | None, needed: int) -> str:
    is_free = "how much is free is not known" if free is None else f"{_gigabytes(free)} are free"
    return f"about {_gigabytes(needed)} are needed, {is_free}"


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GB"


def _times(numbers: Iterable[float]) -> str:
    return " × ".join(f"{round(number, 2):g}" for number in numbers)
