"""What the tests of all folders share. Its being here also lets them import the helpers beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ball_hips import write_ball_model


@pytest.fixture(scope="session")
def ball_model(tmp_path_factory) -> Path:
    """A model package that finds the bright balls of ball_hips."""
    return write_ball_model(tmp_path_factory.mktemp("model") / "balls.hipmodel")


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory):
    """Models and run times of the tests are not those of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIPICMSC_HOME", str(tmp_path_factory.mktemp("home")))
        yield
