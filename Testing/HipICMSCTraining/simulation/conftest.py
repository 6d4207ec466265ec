from __future__ import annotations

import pytest
from HipICMSCTrainingLib.simulation.anatomy import Anatomy, anatomy_of
from simple_patient import SimplePatient, simple_patient


@pytest.fixture(scope="session")
def patient() -> SimplePatient:
    """A right hip alone, so that a mirror changes it; its CT ends below the head and cuts the ischium."""
    return simple_patient(sides=("right",), ischium=True)


@pytest.fixture(scope="session")
def anatomy(patient) -> Anatomy:
    return anatomy_of(patient.ct, patient.labels)
