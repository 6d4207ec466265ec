"""What is said about memory holds: what is free is what the system says, what is needed is what a real run takes."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk
from ball_hips import ball_image
from HipICMSCLib.anatomy.femoral_heads import find_femoral_heads
from HipICMSCLib.models.chosen import find_model
from HipICMSCLib.models.package import read_package
from HipICMSCLib.networks import memory
from HipICMSCLib.networks.memory import activation_bytes, free_bytes, needed_bytes
from HipICMSCLib.networks.paper_segmenter import Segmenter, SegmenterSettings
from HipICMSCLib.preprocessing.geometry import crop_grid

MIB = 2**20
REAL_MRI = Path(__file__).resolve().parents[4] / "shared" / "data" / "mri_val" / "cptac_C3N-01003_t1cor.nii.gz"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/meminfo")

#: Segments a volume and prints by how many bytes the peak exceeds what the process held when model and volume were
#: loaded: the system's own count. (getrusage would count the process that started this one, too.)
_PEAK = """
import re, sys
from pathlib import Path
import SimpleITK as sitk
from HipICMSCLib.engine import HipSegmenter
from HipICMSCLib.models.chosen import find_model
def count(name):
    return 1024 * int(re.search(rf"^{name}:\\s+(\\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)[1])
segmenter, image = HipSegmenter(find_model("hip-t1-mri"), "cpu"), sitk.ReadImage(sys.argv[1])
held = count("VmRSS")
segmenter.segment(image)
print(count("VmHWM") - held)
"""


def memory_info(name: str) -> int:
    return 1024 * int(re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)[1])


@linux_only
def test_free_memory_is_what_the_system_says_unless_a_limit_is_lower(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CONTROL_GROUPS", ())
    before, free, after = memory_info("MemAvailable"), free_bytes(), memory_info("MemAvailable")
    slack = 200 * MIB  # others work on this computer, too
    assert min(before, after) - slack <= free <= max(before, after) + slack


@linux_only
def test_free_memory_is_within_bounds_in_whatever_container_this_is():
    assert 0 < free_bytes() <= memory_info("MemTotal")


CONTROL_GROUPS = {
    # Version 2: this process's group has no limit, the one above it has 3 GB with 1 GB left, 0.5 GB of it files.
    "version 2": (
        "0::/job/step\n",
        {
            "v2/job/step/memory.max": "max\n",
            "v2/job/step/memory.current": "5\n",
            "v2/job/step/memory.stat": "inactive_file 0\n",
            "v2/job/memory.max": f"{3000 * MIB}\n",
            "v2/job/memory.current": f"{2000 * MIB}\n",
            "v2/job/memory.stat": f"anon 7\ninactive_file {500 * MIB}\nactive_file 9\n",
        },
    ),
    # Version 1 in a container: the path is the host's, the files are at the root of what is mounted.
    "version 1": (
        "5:cpu:/\n4:memory:/docker/abc\n0::/\n",
        {
            "v1/memory.limit_in_bytes": f"{3000 * MIB}\n",
            "v1/memory.usage_in_bytes": f"{2000 * MIB}\n",
            "v1/memory.stat": f"inactive_file 3\ntotal_inactive_file {500 * MIB}\n",
        },
    ),
}


@linux_only
@pytest.mark.parametrize("version", CONTROL_GROUPS)
def test_the_limit_of_a_container_or_a_batch_job_counts(version, monkeypatch, tmp_path):
    groups, files = CONTROL_GROUPS[version]
    for name, text in ({"groups": groups} | files).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_PROCESS_GROUPS", tmp_path / "groups")
    roots = [(tmp_path / name, *rest) for name, (_, *rest) in zip(("v2", "v1"), memory._CONTROL_GROUPS, strict=True)]
    monkeypatch.setattr(memory, "_CONTROL_GROUPS", tuple(roots))
    assert free_bytes() == 1500 * MIB


def test_the_answer_of_macos_is_understood():
    """As vm_stat of macOS 14 on Apple silicon writes it."""
    text = (
        "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"
        "Pages free:                                5013.\n"
        "Pages active:                            386283.\n"
        "Pages inactive:                          384325.\n"
        "Pages speculative:                         1000.\n"
        "Pages wired down:                        122338.\n"
        '"Translation faults":                 3108203512.\n'
    )
    assert memory._free_in_vm_stat(text) == (5013 + 384325 + 1000) * 16384
    assert memory._free_in_vm_stat("") is None


def test_windows_fills_a_structure_of_its_own_size():
    """GlobalMemoryStatusEx refuses any other size than that of MEMORYSTATUSEX, 64 bytes; ullAvailPhys is at byte 16."""
    assert ctypes.sizeof(memory._MemoryStatus) == 64
    assert memory._MemoryStatus.available.offset == 16


def real_mri(folder: Path) -> Path:
    if not REAL_MRI.is_file():
        pytest.skip(f"the real MRI {REAL_MRI.name} is not on this computer")
    return REAL_MRI


def fine_phantom(folder: Path) -> Path:
    """Balls in 2 million voxels of 1.5 mm, as a 3-D acquisition has them."""
    sitk.WriteImage(ball_image(spacing=(1.5, 1.5, 1.5)), str(folder / "balls.nrrd"))
    return folder / "balls.nrrd"


@linux_only
@pytest.mark.parametrize("volume", [real_mri, pytest.param(fine_phantom, marks=pytest.mark.slow)])
def test_what_is_said_to_be_needed_suffices_and_is_not_far_off(volume, tmp_path):
    path = volume(tmp_path)
    environment = {"PYTHONPATH": str(Path(memory.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", _PEAK, path], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout)

    image, package = sitk.ReadImage(str(path)), read_package(find_model("hip-t1-mri"))
    grid = crop_grid(image, find_femoral_heads(image).midpoint(), package.manifest.crop)
    columns, _, rows = grid.size
    needed = needed_bytes(image, grid, 3, activation_bytes(package.network(), (2, 1, rows, columns)))
    assert peak <= needed <= 2.5 * peak


def test_activations_grow_with_batch_and_width_and_take_no_memory_themselves():
    """The widest layers of F have ``width`` channels at full resolution."""
    narrow, wide = Segmenter(SegmenterSettings(width=8)), Segmenter(SegmenterSettings(width=16))
    assert activation_bytes(narrow, (2, 1, 240, 300)) == 3 * 2 * 8 * 240 * 300 * 4
    # A thousand times this computer's patience, if anything were computed.
    assert activation_bytes(wide, (20_000, 1, 240, 300)) == 3 * 20_000 * 16 * 240 * 300 * 4
