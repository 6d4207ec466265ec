"""The scripts of real_data/, which import one another by their bare names, for tests."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

REAL_DATA = Path(__file__).parent / "real_data"


@contextlib.contextmanager
def real_data_script(name: str) -> Iterator[ModuleType]:
    """The script as a module, forgotten afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REAL_DATA)
        yield importlib.import_module(name)
    sys.modules.pop(name)
