"""What HipICMSC adds to Slicer's module Data."""

from __future__ import annotations

from pathlib import Path

import slicer

_PLUGIN = Path(__file__).parents[1] / "HipICMSCSubjectHierarchyPlugin.py"


def register_right_click() -> None:
    """Let a right click on a volume offer "Segment hip"; Slicer keeps the plugin to its end."""
    plugin = slicer.qSlicerSubjectHierarchyScriptedPlugin(None)
    plugin.setPythonSource(str(_PLUGIN))
