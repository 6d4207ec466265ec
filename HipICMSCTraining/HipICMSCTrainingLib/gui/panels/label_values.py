"""What the values of label maps in files meant when the user said so last, for the next time."""

from __future__ import annotations

import json

from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.settings import from_json

from HipICMSCTrainingLib.data.dataset import LabelValues

_SETTING = "HipICMSCTraining/LastLabelValues"
_LISTS = ("acetabulum", "femur")


def last_values() -> LabelValues:
    """Those that were given last, or the usual ones."""
    import qt

    try:
        kept = json.loads(qt.QSettings().value(_SETTING, ""))
        return from_json(LabelValues, {name: kept[name] for name in _LISTS})
    except (HipError, KeyError, TypeError, ValueError, RecursionError):
        return LabelValues()


def remember_values(values: LabelValues) -> None:
    """Keep which values are which bone, in place of what was kept before."""
    import qt

    qt.QSettings().setValue(_SETTING, json.dumps({name: getattr(values, name) for name in _LISTS}))
