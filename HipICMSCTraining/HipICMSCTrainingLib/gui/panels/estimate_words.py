"""What `hipicmsc estimate` found, in sentences, with a caution where this computer has too little of something."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from HipICMSCLib.common.terminal import duration
from HipICMSCLib.networks.memory import free_bytes
from slicer.i18n import tr as _


def estimate_in_words(found: Mapping[str, Any], runs_folder: Path) -> list[str]:
    """A line each for time, memory and disk.

    Args:
        found: the command's own ``estimate``.
        runs_folder: where the run will write; the folder may still have to be made.
    """
    return [_time(found), *_memory(found), _disk(found["total_disk_bytes"], runs_folder)]


def _time(found: Mapping[str, Any]) -> str:
    steps = "; ".join(
        _("{stage}: {count} steps of {seconds} s").format(
            stage=stage, count=found["steps"][stage], seconds=f"{seconds:.3g}"
        )
        for stage, seconds in found["seconds_per_step"].items()
    )
    return _("Time: about {total} on {device} ({steps}), if nothing else works here meanwhile.").format(
        total=duration(found["total_seconds"]), device=found["device"], steps=steps or _("no steps")
    )


def _memory(found: Mapping[str, Any]) -> list[str]:
    lines = []
    if found["memory_bytes"] is not None:
        advice = _("Close other programs, choose a smaller preset, or lower the batch size or the widths (Advanced).")
        lines.append(_need(_("Memory"), found["memory_bytes"], free_bytes(), advice))
    if found["device_memory_bytes"] is not None:
        # What is free of it only torch can tell; that the steps could be timed says that it was enough.
        lines.append(_("Memory of the graphics card: {need}.").format(need=_size(found["device_memory_bytes"])))
    return lines


def _disk(need: int, folder: Path) -> str:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return _need(_("Disk"), need, shutil.disk_usage(there).free, _("Choose another folder for the runs."))


def _need(of_what: str, need: int, free: int | None, advice: str) -> str:
    if free is None:
        return _("{of_what}: {need}.").format(of_what=of_what, need=_size(need))
    if need <= free:
        return _("{of_what}: {need}; {free} are free.").format(of_what=of_what, need=_size(need), free=_size(free))
    return _("Caution, {of_what}: {need}, but only {free} are free. {advice}").format(
        of_what=of_what.lower(), need=_size(need), free=_size(free), advice=advice
    )


def _size(number: int) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"
