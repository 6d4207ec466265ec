"""What becomes of the cases of a data set when the user changes one of them: a patient has one role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from HipICMSCTrainingLib.data.dataset import Case, only_measures


def with_role(cases: Sequence[Case], chosen: Case, role: str, labelled_mri: bool) -> list[Case]:
    """All volumes of the patient of ``chosen`` in another role; what only measures stays what it is.

    Args:
        labelled_mri: the method is trained on labelled MRIs.
    """

    def changed(case: Case) -> Case:
        is_measured = only_measures(case, labelled_mri) and case != chosen
        return replace(case, role=role) if case.patient == chosen.patient and not is_measured else case

    return [changed(case) for case in cases]


def with_patient(
    cases: Sequence[Case], chosen: Case, patient: str, role_there: str | None, labelled_mri: bool
) -> list[Case]:
    """``chosen`` as a volume of another patient, in that one's role.

    Args:
        patient: empty for one of its own.
        role_there: of the patient's other volumes; None where there are none.
    """
    role = None if only_measures(chosen, labelled_mri) else role_there
    changed = replace(chosen, patient=patient or chosen.name, role=role or chosen.role)
    return [changed if case == chosen else case for case in cases]


def with_labelled_only_measured(cases: Sequence[Case]) -> list[Case]:
    """The patients of labelled MRIs for testing alone."""
    patients = {case.patient for case in cases if only_measures(case)}
    return [replace(case, role="test") if case.patient in patients else case for case in cases]
