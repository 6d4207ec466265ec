"""Hips whose every angle is known, measured by the real worker once, in the scene and in the section."""

from __future__ import annotations

from dataclasses import replace

import pytest
import SimpleITK as sitk
from HipICMSCTrainingLib.phantom.hip_labels import hip_labels
from measured_hips import BOX, SHAPES, MeasuresSection, report_of, with_measures
from section import opened


@pytest.fixture(scope="session")
def labels() -> sitk.Image:
    return hip_labels({"right": SHAPES, "left": SHAPES}, BOX)


@pytest.fixture(scope="session")
def right_labels() -> sitk.Image:
    """The right hip alone, which is measured in half the time."""
    return hip_labels({"right": SHAPES}, replace(BOX, low=(-150, -60, -125), high=(0, 60, 60)))


@pytest.fixture
def section(bench):
    with opened(bench, MeasuresSection) as section:
        yield section
        section.scene.SetUndoOff()
        section.scene.ClearUndoStack()


@pytest.fixture(scope="session")
def report(labels, tmp_path_factory) -> dict:
    return report_of(labels, tmp_path_factory.mktemp("labels") / "labels.nrrd")


@pytest.fixture(scope="session")
def pelvis(tmp_path_factory) -> tuple[sitk.Image, dict]:
    """Both hips with their iliac spines and pubic tubercles, and what the worker says of them."""
    shapes = replace(SHAPES, pelvis=True)
    box = replace(BOX, low=(-150, -110, -125), high=(150, 70, 130))
    labels = hip_labels({"right": shapes, "left": shapes}, box)
    return labels, report_of(labels, tmp_path_factory.mktemp("pelvis") / "labels.nrrd")


@pytest.fixture
def measured_pelvis(section, pelvis):
    return with_measures(section, *pelvis)


@pytest.fixture(scope="session")
def right_report(right_labels, tmp_path_factory) -> dict:
    return report_of(right_labels, tmp_path_factory.mktemp("right") / "labels.nrrd")


@pytest.fixture
def measured_right(section, right_labels, right_report):
    return with_measures(section, right_labels, right_report)


@pytest.fixture
def measured(section, labels, report):
    return with_measures(section, labels, report)
