"""What the own tests of both modules look with sees what it is there to see."""

from __future__ import annotations

import pytest


@pytest.fixture
def box(bench):
    """A widget with a button and a label below each other, on the screen."""
    import qt
    from PySide6 import QtWidgets

    widget, button, label = qt.QWidget(), qt.QPushButton("Segment hip"), qt.QLabel("A sentence of some words")
    button.name, label.name = "button", "label"
    label.wordWrap = True
    column = QtWidgets.QVBoxLayout(widget)
    column.addWidget(button)
    column.addWidget(label)
    widget.resize(300, 200)
    widget.show()
    bench[1].processEvents()
    yield widget, button, label
    widget.hide()


def test_what_has_room_is_not_named(box):
    from HipICMSCLib.gui.trial import room

    assert room.cut(box[0]) == [] and room.wider_than(box[0], 290) == []


def test_what_is_cut_covered_or_too_wide_is_named(box):
    from HipICMSCLib.gui.trial import room

    widget, button, label = box
    assert room.wider_than(widget, 20)[0].startswith("button ")
    button.resize(20, button.height)
    assert room.cut(widget) == ["button"]
    label.move(0, 0)
    assert "label button" in room.cut(widget)
    label.resize(40, 10)
    assert "label" in room.cut(widget)


def test_what_is_hidden_is_not_looked_at(box):
    from HipICMSCLib.gui.trial import room

    box[1].resize(20, 5)
    box[1].visible = False
    assert room.cut(box[0]) == []


def test_the_longer_language_has_our_texts_and_no_others_and_is_gone_afterwards(bench):
    import slicer
    import slicer_stand_ins
    from HipICMSCLib.gui.trial.longer_language import longer, longer_language

    with longer_language(slicer_stand_ins.module_file("HipICMSC").parent):
        assert slicer.app.translate("HipICMSC", "Segment hip") == longer("Segment hip") != "Segment hip"
        assert slicer.app.translate("panels.segment_button", "Cancel") == longer("Cancel")
        assert slicer.app.translate("qSlicerApplication", "Cancel") == "Cancel"
        # What Slicer reads of a panel is no text.
        assert slicer.app.translate("HipICMSC", "Ctrl+Shift+H") == "Ctrl+Shift+H"
        assert slicer.app.translate("HipICMSC", "inputVolume") == "inputVolume"
    assert slicer.app.translate("HipICMSC", "Segment hip") == "Segment hip"
