"""What a file or folder holds, how it would be read, and what is doubtful about it: `hipicmsc info`."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from HipICMSCLib.batch.files import volumes_of
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.volume_names import dicom_files, exists, volume_files
from HipICMSCLib.preprocessing.geometry import obliquity_deg
from HipICMSCLib.preprocessing.image_check import no_mri
from HipICMSCLib.reading.volume import read_with_notes


def lines_about(path: Path, series: str | None = None) -> tuple[list[str], bool]:
    """Lines for a person, and whether there is a volume to segment, or several in a folder of such.

    Raises:
        HipError: ``missing_file``, or as for a DICOM folder that cannot be read.
    """
    if not exists(path):
        raise HipError("missing_file", f"There is no file {path}.")
    lines: list[str] = []
    holds_dicom = path.is_dir() and next(dicom_files(path), None) is not None
    if path.is_dir() and (volume_files(path) or not holds_dicom):
        volumes = volumes_of(path)
        lines += [f"{path}: {len(volumes)} volumes to segment"]
        lines += [
            f"  {volume.relative_to(path) if volume != path else 'DICOM in the folder itself'}" for volume in volumes
        ]
        return lines, bool(volumes)
    if path.is_dir():
        lines += _about_series(path)
    try:
        image, notes = read_with_notes(path, series)
    except HipError as error:
        return [*lines, error.sentence], False
    return lines + _about_image(path, image) + [f"Note: {sentence}" for sentence in notes], True


def _about_series(path: Path) -> list[str]:
    # Loaded here: Slicer's own process has no such library.
    from HipICMSCLib.reading.dicom import volumes_in

    volumes, aside, damaged = volumes_in(path)
    lines = [f"{path}: {len(volumes)} DICOM volume{'s' * (len(volumes) != 1)}"]
    for volume in volumes:
        lines.append(f"  {volume}{', a localizer' if volume.is_localizer else ''}; UID {volume.uid}")
        lines += [f"    {volume.damaged.sentence}"] if volume.damaged else []
    if aside:
        lines.append(f"  left aside, as they are no slices of a volume: {len(aside)} file{'s' * (len(aside) != 1)}")
    if damaged:
        lines.append(f"  left aside, as they are cut off or damaged: {len(damaged)} file{'s' * (len(damaged) != 1)}")
    return lines


def _about_image(path: Path, image: sitk.Image) -> list[str]:
    voxels = sitk.GetArrayViewFromImage(image)
    size, spacing = (" × ".join(f"{number:g}" for number in numbers) for numbers in (
        image.GetSize(), [round(step, 3) for step in image.GetSpacing()]))  # fmt: skip
    letters = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
    lines = [
        f"{path.name} is read as {size} voxels of {spacing} mm, {image.GetPixelIDTypeAsString()}, "
        f"{voxels.min():g} to {voxels.max():g}.",
        f"Axes {letters} (towards), turned by up to {obliquity_deg(image):.1f}°; first voxel at "
        f"{', '.join(f'{mm:.1f}' for mm in image.GetOrigin())} mm (LPS).",
    ]
    judged = no_mri(image)
    if judged is not None:
        lines.append(f"Doubtful: {judged.sentence}")
    return lines
