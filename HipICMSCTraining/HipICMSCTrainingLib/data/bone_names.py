"""Which bone a segment is by its name, in the words that people and programs use."""

from __future__ import annotations

import re

from HipICMSCLib.anatomy.segments import FEMUR, HIP_BONE

_SIDES = {"left", "right", "l", "r", "lt", "rt", "bilateral"}
#: Names of bones also name what lies about them.
_OTHER_PARTS = re.compile(
    r"cartilage|muscle|arter|vein|nerve|vessel|joint|capsule|labrum|ligament|tendon|implant|prosthe|screw|nail|stem"
    r"|fat|skin|floor|marrow|canal|center|centre|tumou?r|lesion|cyst"
)
_HIP_BONE = re.compile(
    r"acetabul|hemi ?pelvis|pelvis|pelvic bone|hip ?bone|os cox|coxal bone|innominat|\b(ili|ischi)um\b|\bpubis\b"
)
_FEMUR = re.compile(r"femur|femora\b|femoral|thigh ?bone|trochanter")


def class_of_name(name: str) -> int | None:
    """1 hip bone, 2 femur; None where the name says neither, or what is no bone.

    >>> class_of_name("hip_left"), class_of_name("Right proximal femur"), class_of_name("femoral_artery_right")
    (1, 2, None)
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.sub(r"[\W_]+", " ", apart).strip().lower()
    if _OTHER_PARTS.search(words):
        return None
    is_hip_bone = bool(_HIP_BONE.search(words)) or set(words.split()) - _SIDES in ({"hip"}, {"hips"})
    is_femur = bool(_FEMUR.search(words))
    if is_hip_bone == is_femur:
        return None
    return FEMUR if is_femur else HIP_BONE
