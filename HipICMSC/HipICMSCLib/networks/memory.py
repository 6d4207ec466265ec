"""How much memory is free on this computer, and how much a segmentation takes.

Without torch at file scope, because Slicer's own process loads this file.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from HipICMSCLib.anatomy.femoral_heads import COARSE
from HipICMSCLib.preprocessing.geometry import Grid

if TYPE_CHECKING:
    from torch import nn

# Fitted to peaks above what the loaded worker holds, measured on a CPU.
#: What any volume takes.
FIXED_BYTES = 100 * 2**20
#: Finding the hips, by voxel of its own coarse grid: 156 MiB for 0.3 million of them, 407 for 1.7, 500 for 2.4.
HEAD_FINDING_BYTES = 200
#: Mapping back, by voxel of the input within the crop: 242 MiB for 4.1 million of them, 706 for 17, 1335 for 33.
MAPPING_BYTES = 40
#: A layer's input, its output and the working space of its convolution.
ACTIVATIONS_AT_ONCE = 3
#: Allocators keep more than they hand out, and other programs go on working.
SAFETY = 1.5

_PROCESS_GROUPS = Path("/proc/self/cgroup")
#: Where control groups are (version 2, version 1), with the names of limit, usage and what can be given back of it.
_CONTROL_GROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def free_bytes() -> int | None:
    """The memory that a process can take without others being swapped out; None where that is not known."""
    if sys.platform == "win32":
        return _free_on_windows()
    if sys.platform == "darwin":
        return _free_on_macos()
    return _free_on_linux()


def needed_bytes(image: sitk.Image, grid: Grid, classes: int, activations: int) -> int:
    """What segmenting a volume takes of the computer's memory at its peak, with a margin of ``SAFETY``.

    The stages follow one another, so the largest counts: finding the hips, the network, steadying what it says of
    slices, mapping back.

    Args:
        grid: what the network reads of it (geometry.crop_grid).
        classes: how many it tells apart; a float32 probability each.
        activations: bytes of :func:`activation_bytes` where the processor computes, 0 where a graphics card does.
    """
    field_mm3, voxel_mm3 = _volume_mm3(image.GetSize(), image.GetSpacing()), _volume_mm3((1, 1, 1), image.GetSpacing())
    voxels_in_crop = min(field_mm3, _volume_mm3(grid.size, grid.spacing)) / voxel_mm3
    probabilities = 4 * classes * float(np.prod(grid.size))
    finding = HEAD_FINDING_BYTES * field_mm3 / COARSE**3
    network = probabilities + activations
    mapping = probabilities + MAPPING_BYTES * voxels_in_crop
    return round(SAFETY * (FIXED_BYTES + max(finding, network, 2 * probabilities, mapping)))


def activation_bytes(network: nn.Module, shape: tuple[int, int, int, int]) -> int:
    """What a network's layers hold at once in fp32: thrice the largest output of a layer.

    The network is turned into a shell without weights; give one that nobody else uses.

    Args:
        shape: what it reads at once: batch, channels, rows, columns.
    """
    import torch

    sizes: list[int] = []
    network = network.to("meta")
    for module in network.modules():
        module.register_forward_hook(lambda layer, inputs, output: sizes.append(4 * output.numel()))
    with torch.inference_mode():
        network(torch.empty(shape, device="meta"))
    return ACTIVATIONS_AT_ONCE * max(sizes)


def _volume_mm3(size: Sequence[int], spacing: Sequence[float]) -> float:
    return float(np.prod(np.array(size) * spacing))


def _free_on_linux() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    available = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return min([int(available[1]) * 1024, *_left_in_control_groups()]) if available else None


def _left_in_control_groups() -> Iterator[int]:
    """What each limit of a container or a batch system leaves to this process."""
    try:
        lines = _PROCESS_GROUPS.read_text().splitlines()
    except OSError:
        return
    # A line is number:controllers:path; no controllers stand for version 2.
    paths = [path for _, controllers, path in (line.split(":", 2) for line in lines) if controllers in ("", "memory")]
    for root, limit, usage, cache in _CONTROL_GROUPS:
        for path in paths:
            own = root / path.lstrip("/")
            # In a container the path is the host's, but the container's group is mounted as the root.
            for group in (own, *own.parents):
                if group.is_relative_to(root):
                    left = _left_in_group(group / limit, group / usage, group / "memory.stat", cache)
                    if left is not None:
                        yield left


def _left_in_group(limit: Path, usage: Path, statistics: Path, cache: str) -> int | None:
    """None where there is no limit."""
    try:
        most, used = int(limit.read_text()), int(usage.read_text())
        cached = re.search(rf"^{cache} (\d+)$", statistics.read_text(), re.MULTILINE)
    except (OSError, ValueError):  # not here, or the word "max"
        return None
    return max(0, most - used + (int(cached[1]) if cached else 0))


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load_percent", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("total", "available", "total_page", "available_page")),
        *((name, ctypes.c_uint64) for name in ("total_virtual", "available_virtual", "available_extended")),
    )


def _free_on_windows() -> int | None:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    return status.available if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None


def _free_on_macos() -> int | None:
    try:
        done = subprocess.run(["/usr/bin/vm_stat"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _free_in_vm_stat(done.stdout)


def _free_in_vm_stat(text: str) -> int | None:
    """Free pages and those that macOS gives up at once."""
    page = re.search(r"page size of (\d+) bytes", text)
    pages = re.findall(r"^Pages (?:free|inactive|speculative):\s+(\d+)\.", text, re.MULTILINE)
    return int(page[1]) * sum(map(int, pages)) if page and pages else None
