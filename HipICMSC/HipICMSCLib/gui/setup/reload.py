"""Lets a module's "Reload" button also reload our libraries."""

from __future__ import annotations

import sys


def forget_libraries() -> None:
    """Drop our libraries from Python's cache, so that the next import reads the files again."""
    for name in list(sys.modules):
        if name.split(".")[0] in ("HipICMSCLib", "HipICMSCTrainingLib"):
            del sys.modules[name]
