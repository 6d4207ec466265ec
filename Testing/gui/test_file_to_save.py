"""What is proposed for a file is a name that the user's system takes, whatever a volume is called."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def proposed(bench, monkeypatch):
    """The path that the dialogue opens with, for a name."""
    import qt
    from HipICMSCLib.gui.panels.file_to_save import file_to_save

    asked = []
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *values: asked.append(values[2]) or "")

    def of(name: str) -> Path:
        assert file_to_save(None, "Save", name, {".dcm": "DICOM"}) is None
        return Path(asked.pop())

    return of


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Hüfte 90° (t1) hips", "Hüfte 90° (t1) hips.dcm"),
        ("5: t1_tse_cor hips", "5_ t1_tse_cor hips.dcm"),
        ("T1/T2 hips", "T1_T2 hips.dcm"),
        ('a<b>c"d\\e|f?g*h\ti', "a_b_c_d_e_f_g_h_i.dcm"),
        (" .hips. . ", "hips.dcm"),
        ("../..", "_.dcm"),
        ("", "_.dcm"),
        ("con", "_con.dcm"),
        ("COM1.5", "_COM1.5.dcm"),
        ("contrast", "contrast.dcm"),
    ],
)
def test_a_proposed_name_is_possible_on_every_system(proposed, name, file):
    """As of volumes that came from DICOM, where a series is called as somebody liked."""
    assert proposed(name) == Path.home() / file
