"""Colours that can be seen in Slicer's light style and in its dark one: a grey of text that is not to be relied on, a
red of what is bad, and the boxes to tick in lists. Contrast is that of WCAG 2."""

from __future__ import annotations

import qt

#: Of text on its ground, as WCAG asks it.
READABLE = 4.5
#: Percent of the colour of text; the rest is that of the ground.
_WEAKEST, _STEP = 50, 5
#: Qt draws the frame of a box in a darker shade of the window's colour, which in a dark style nobody sees. Of this grey
#: it makes one that differs from white and from the ground of the dark style alike.
_WINDOW = (165, 165, 165)
_RED = (217, 48, 37)


def weak_colour(view):
    """The weakest colour (QColor) that can be read on a list's ground and on that of each second row."""
    palette = view.palette
    text, base = palette.color(qt.QPalette.Text), palette.color(qt.QPalette.Base)
    grounds = base, palette.color(qt.QPalette.AlternateBase)
    for percent in range(_WEAKEST, 100, _STEP):
        colour = _between(text, base, percent)
        if all(contrast(colour, ground) >= READABLE for ground in grounds):
            return colour
    return text


def readable_red(widget) -> str:
    """A red, as #rrggbb, that can be read on a widget's ground and on that of a text in it."""
    palette = widget.palette
    text = palette.color(qt.QPalette.Text)
    grounds = palette.color(qt.QPalette.Window), palette.color(qt.QPalette.Base)
    shades = (_between(text, qt.QColor(*_RED), percent) for percent in range(0, 100, _STEP))
    found = next((red for red in shades if all(contrast(red, ground) >= READABLE for ground in grounds)), text)
    return found.name()


def show_boxes(view) -> None:
    """Let the frames of a list's boxes be seen, ticked or not."""
    palette = view.palette
    palette.setColor(qt.QPalette.Window, qt.QColor(*_WINDOW))
    view.setPalette(palette)


def contrast(one, other) -> float:
    """From 1 (none) to 21 (black on white), of two QColors."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour) -> float:
    parts = (part / 255 for part in (colour.red(), colour.green(), colour.blue()))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _between(one, other, percent: int):
    pairs = ((one.red(), other.red()), (one.green(), other.green()), (one.blue(), other.blue()))
    return qt.QColor(*((percent * first + (100 - percent) * second) // 100 for first, second in pairs))
