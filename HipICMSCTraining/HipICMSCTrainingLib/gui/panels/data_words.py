"""What is said of a data set: how many volumes are for what, and what is wrong, with the button that mends it."""

from __future__ import annotations

from collections.abc import Sequence

from slicer.i18n import tr as _

from HipICMSCTrainingLib.data.dataset import Case, only_measures
from HipICMSCTrainingLib.data.dataset_problems import Problem


def no_cases() -> Problem:
    """Of a data set that is still empty."""
    add = _("Add labelled CTs and MRIs from the scene or from folders.")
    return Problem("stop", "no_cases", "", _("The data set has no volumes yet."), add)


def counts(cases: Sequence[Case], labelled_mri: bool) -> list[str]:
    """Sentences on what the volumes are for.

    Args:
        labelled_mri: the method is trained on labelled MRIs.
    """
    ct, mr = ([case.role for case in cases if case.modality == modality] for modality in ("CT", "MR"))
    lines = [
        _("CTs: {train} to train on, {val} held out for validation.").format(
            train=ct.count("train"), val=ct.count("val")
        ),
        _("MRIs: {train} to train on, {val} held out for validation.").format(
            train=mr.count("train"), val=mr.count("val")
        ),
    ]
    corrected = [case.role for case in cases if case.corrected]
    if corrected:
        held_out = len(corrected) - corrected.count("train")
        lines.append(
            _("Of the MRIs, corrected ones: {train} teach, {held_out} are held out to compare models on.").format(
                train=corrected.count("train"), held_out=held_out
            )
        )
    if labelled_mri:
        lines.append(_("The chosen method learns from labelled MRIs; those with the role test only measure."))
    elif any(map(only_measures, cases)):
        lines.append(
            _(
                "Labelled MRIs are for measuring only: they may take no part in the training, because the chosen "
                "method does not learn from labels of MRIs."
            )
        )
    return lines


def in_words(problem: Problem, cases: Sequence[Case], labelled_mri: bool) -> str:
    """A problem, what to do about it, and where."""
    return " ".join(filter(None, [problem.sentence, problem.fix, _hint(problem, cases, labelled_mri)]))


def _hint(problem: Problem, cases: Sequence[Case], labelled_mri: bool) -> str:
    if problem.kind == "labelled_mri_in_training":
        return _("The button Only measure with labelled MRIs does that for all of them.")
    if problem.kind != "too_few_volumes":
        return ""
    if labelled_mri and any(case.role == "test" and only_measures(case) for case in cases):
        return _("Labelled MRIs that are now for testing can be given another role in the table.")
    patients = [{case.patient for case in cases if case.modality == kind} for kind in ("CT", "MR")]
    return _("Press Suggest roles to hold some out.") if min(map(len, patients)) > 1 else ""
