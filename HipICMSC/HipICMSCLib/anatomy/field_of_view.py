"""What an image shows of a hip joint: how far it reaches from a head, and where it cuts bone."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.common.voxels import patient_axis

#: An image that is narrower shows one hip.
_WIDEST_SINGLE_HIP_MM = 280.0
#: A joint is cut if the image ends nearer to the head centre than the outline of a large femoral head ...
HEAD_ROOM_MM = 30.0
#: ... or if bone meets the image border this near to the head centre (the shaft does so much farther below).
JOINT_RADIUS_MM = 40.0
#: What an image must show of a hip for its bones to have their usual volume: so far about the head.
_WHOLE_WITHIN_MM = 60.0
#: By patient axis (LPS): what lies at its beginning and at its end.
_BORDERS = (
    ("on the patient's right", "on the patient's left"),
    ("at the front", "at the back"),
    ("at the bottom", "at the top"),
)


def shows_one_hip(image: sitk.Image) -> bool:
    """Whether an image is too narrow for both hips, along its axis from right to left; a tilt makes it no wider."""
    across = next(axis for axis in range(3) if patient_axis(image, axis) == 0)
    return image.GetSize()[across] * image.GetSpacing()[across] < _WIDEST_SINGLE_HIP_MM


def border_in_words(image: sitk.Image, axis: int, end: int) -> str:
    """What lies at the beginning (0) or the end (1) of an image axis, such as "at the top"."""
    along = np.array(image.GetDirection()).reshape(3, 3)[:, axis]
    of_patient = patient_axis(image, axis)
    return _BORDERS[of_patient][end if along[of_patient] > 0 else 1 - end]


def room_mm(image: sitk.Image, head: tuple[float, float, float]) -> np.ndarray:
    """How far the image reaches from a point.

    Args:
        head: a femoral head's centre, LPS mm.

    Returns:
        (3, 2) mm: along each image axis to its beginning and to its end; negative where the point lies beyond it.
    """
    index = np.array(image.TransformPhysicalPointToContinuousIndex(head))
    size = np.array(image.GetSize())
    return np.stack([index + 0.5, size - 0.5 - index], axis=1) * np.array(image.GetSpacing())[:, None]


def is_cut(labels: sitk.Image, head: tuple[float, float, float]) -> bool:
    """Whether the image ends at the joint whose head is at ``head`` (LPS mm).

    Args:
        labels: bone is whatever is not 0.
    """
    if room_mm(labels, head).min() < HEAD_ROOM_MM:
        return True
    index = np.array(labels.TransformPhysicalPointToContinuousIndex(head))
    spacing, size = np.array(labels.GetSpacing()), np.array(labels.GetSize())
    array = sitk.GetArrayViewFromImage(labels)
    for axis in range(3):
        for border in (0, size[axis] - 1):
            if abs(border - index[axis]) * spacing[axis] > JOINT_RADIUS_MM:
                continue
            bone = np.argwhere(np.take(array, border, axis=2 - axis) != 0)[:, ::-1]
            away = np.insert(bone, axis, border, axis=1) - index
            if (np.linalg.norm(away * spacing, axis=1) <= JOINT_RADIUS_MM).any():
                return True
    return False


def share_in_view(image: sitk.Image, head: tuple[float, float, float] | None) -> float:
    """How much of a 60 mm ball about the head lies in the image, 0 to 1; 1 if the head is not known."""
    if head is None:
        return 1.0
    ticks = np.linspace(-_WHOLE_WITHIN_MM, _WHOLE_WITHIN_MM, 13)
    ball = np.stack(np.meshgrid(ticks, ticks, ticks), -1).reshape(-1, 3)
    ball = ball[np.linalg.norm(ball, axis=1) <= _WHOLE_WITHIN_MM]
    # The image's own axes serve as well as the patient's: a ball looks the same along any.
    index = np.array(image.TransformPhysicalPointToContinuousIndex(head)) + ball / image.GetSpacing()
    return float(np.all((index >= -0.5) & (index <= np.array(image.GetSize()) - 0.5), axis=1).mean())
