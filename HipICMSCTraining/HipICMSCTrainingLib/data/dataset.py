"""The cases of a training: which volumes, in which role, from which patient, and what their label maps mean."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from HipICMSCLib.common.errors import HipError

Role = Literal["train", "val", "test"]

#: What a case of a role is for, within a sentence.
PURPOSES: dict[Role, str] = {"train": "training", "val": "validation", "test": "testing"}


@dataclass(frozen=True)
class LabelValues:
    """Which values of a label map mean which class; 0 is background.

    Left and right bones of a map may thus keep values of their own, and so may the bones of a map that shows more.

    Attributes:
        acetabulum: values of the hip bone.
        femur: values of the proximal femur.
        ignore_others: all other values are background, too; otherwise they are an error.

    Raises:
        HipError: ``bad_label_values`` for a class without a value, a value of two classes, or 0.
    """

    acetabulum: tuple[int, ...] = (1,)
    femur: tuple[int, ...] = (2,)
    ignore_others: bool = False

    def __post_init__(self) -> None:
        values = (*self.acetabulum, *self.femur)
        if not self.acetabulum or not self.femur or 0 in values or len(set(values)) < len(values):
            raise HipError(
                "bad_label_values",
                "Hip bone and femur each need label values of their own, other than 0, which is background; "
                f"given were {list(self.acetabulum)} and {list(self.femur)}.",
            )


@dataclass(frozen=True)
class Case:
    """One volume.

    Attributes:
        role: train; val is held out for the label-free scores; test takes no part in a training and is only measured.
        patient: all cases of a patient have one role.
        label: label map of a CT. A labelled MRI serves measuring only, so its role is test: of an MRI in training or
            validation no label is even named here. The one exception is a method that is trained on labelled MRIs and
            adapts nothing, such as the target model; for it all of them have labels.
        label_values: what the values of ``label`` mean.
        weight: how often a training on slabs draws from it, compared with the other cases of its kind.
        corrected: the case folder of an MRI whose result a person corrected; ``image`` is the MRI in there, and what
            was corrected is read from the folder alone (`data/corrections.py`).
    """

    name: str
    modality: Literal["CT", "MR"]
    role: Role
    patient: str
    image: str
    label: str | None = None
    label_values: LabelValues = LabelValues()
    weight: float = 1.0
    corrected: str | None = None

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise HipError("bad_setting", f"The weight of case {self.name} is {self.weight}; give a number above 0.")
        if self.corrected and (self.modality != "MR" or self.label):
            raise HipError(
                "bad_dataset",
                f"The corrected case {self.name} is an MRI and has its labels in its folder; name neither a CT nor a "
                "label map.",
            )


@dataclass(frozen=True)
class Dataset:
    """All cases; paths are absolute."""

    cases: tuple[Case, ...]

    def of(self, modality: str, role: str) -> list[Case]:
        return [case for case in self.cases if case.modality == modality and case.role == role]

    def corrected(self, *roles: str) -> list[Case]:
        return [case for case in self.cases if case.corrected and case.role in roles]

    def measured(self) -> list[Case]:
        """The MRIs that a run is measured on: labelled or corrected ones that take no part in a training."""
        return [case for case in self.of("MR", "test") if case.label or case.corrected]

    def in_training(self) -> list[Case]:
        """The cases that a training reads: all but the test cases."""
        return [case for case in self.cases if case.role != "test"]

    def to_json(self) -> dict:
        return asdict(self)


def only_measures(case: Case, labelled_mri: bool = False) -> bool:
    """Whether a case is an MRI with labels that takes no part in a training, so that its role must be test.

    Args:
        labelled_mri: the method is trained on labelled MRIs, which may then have any role.
    """
    return case.modality == "MR" and bool(case.label) and not labelled_mri
