"""What a spreadsheet would take for a formula."""

from __future__ import annotations

import pytest
from HipICMSCLib.common.tables import as_text


@pytest.mark.parametrize("cell", ["=1+1", "+C T1", "-1", "@SUM(A1)", "\t=1+1", "\r=1+1", "\n=1+1"])
def test_what_could_be_a_formula_is_text(cell):
    assert as_text(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "hips, cor T1", "a=b", "'quoted'"])
def test_any_other_text_is_as_it_was(cell):
    assert as_text(cell) == cell
