"""What is grey in a panel can be seen, in Slicer's light style and in its dark one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from main_window import dark_palette


@pytest.fixture(params=["light", "dark"])
def table(request, bench):
    """A list in one of Slicer's styles; it alone, since another style for the whole application would be given to all
    that earlier tests have left of their panels."""
    import qt

    table = qt.QTableWidget()
    if request.param == "dark":
        table.setPalette(dark_palette())
    return table


def test_what_is_not_to_be_relied_on_is_weaker_than_text_and_yet_readable(table):
    """WCAG asks for 4.5 : 1 between a text and its ground."""
    import qt
    from HipICMSCLib.gui.panels.contrast import contrast, weak_colour

    weak, palette = weak_colour(table), table.palette
    for ground in (qt.QPalette.Base, qt.QPalette.AlternateBase):
        assert contrast(weak, palette.color(ground)) >= 4.5
    base = palette.color(qt.QPalette.Base)
    assert contrast(weak, base) < 0.8 * contrast(palette.color(qt.QPalette.Text), base)


def test_red_is_readable_and_red(table):
    import qt
    from HipICMSCLib.gui.panels.contrast import contrast, readable_red

    red = qt.QColor(readable_red(table))
    for ground in (qt.QPalette.Base, qt.QPalette.Window):
        assert contrast(red, table.palette.color(ground)) >= 4.5
    assert red.red() > 1.5 * max(red.green(), red.blue())


def test_contrast_is_that_of_the_standard(bench):
    import qt
    from HipICMSCLib.gui.panels.contrast import contrast

    black, white, grey = qt.QColor(0, 0, 0), qt.QColor(255, 255, 255), qt.QColor(118, 118, 118)
    assert contrast(black, white) == contrast(white, black) == 21
    # Known as the lightest grey that is readable on white.
    assert 4.5 < contrast(grey, white) < 4.6


def test_grey_measures_are_readable(table):
    """As they stand in the table, not only as they were meant."""
    import qt
    from HipICMSCLib.gui.panels.contrast import contrast
    from HipICMSCLib.gui.panels.measures_view import MeasuresView
    from HipICMSCLib.gui.scene.measures_table import MeasureRow

    table.setColumnCount(4)
    view = MeasuresView(table, qt.QLabel())
    known = {"id": "x", "name": "X", "side": "right", "value": 1.0, "unit": "deg", "status": "stale"}
    empty = {"float": float("nan"), "str": "", "int": 0, "tuple[str, ...]": ()}
    view.show([MeasureRow(**{field.name: empty[field.type] for field in dataclasses.fields(MeasureRow)} | known)])
    shown = table.item(0, 1).foreground().color()
    assert contrast(shown, table.palette.color(qt.QPalette.Base)) >= 4.5


def test_an_empty_box_of_a_list_is_seen(bench, table):
    """Its frame stands out from the ground by 3 : 1, as WCAG asks of what one can click."""
    import qt
    from HipICMSCLib.gui.panels.contrast import contrast, show_boxes

    table.setColumnCount(1)
    table.setRowCount(1)
    cell = qt.QTableWidgetItem("")
    cell.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
    cell.setCheckState(qt.Qt.Unchecked)
    table.setItem(0, 0, cell)
    show_boxes(table)
    table.show()
    bench[1].processEvents()
    picture = table.viewport().grab().toImage()
    box = range(2, 20), range(2, 28)
    ratios = np.array(
        [[contrast(picture.pixelColor(x, y), table.palette.color(qt.QPalette.Base)) for x in box[0]] for y in box[1]]
    )
    table.hide()
    # All of its sides: a row or column of pixels that is seen for at least ten.
    assert ((ratios >= 3).sum(axis=0) >= 10).sum() >= 2 and ((ratios >= 3).sum(axis=1) >= 10).sum() >= 2
