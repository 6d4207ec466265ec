"""What is written down beside a result: which model, on what, how, and what to be careful about."""

from __future__ import annotations

import platform
import time
from typing import Any

import SimpleITK as sitk
import torch

from HipICMSCLib.anatomy.segments import SEGMENTS
from HipICMSCLib.common.settings import to_json
from HipICMSCLib.common.version import VERSION
from HipICMSCLib.engine import Result
from HipICMSCLib.models.package import ModelPackage
from HipICMSCLib.results.research_use import RESEARCH_USE


def report(result: Result, package: ModelPackage) -> dict[str, Any]:
    """A JSON object without any patient data."""
    return {
        "use": RESEARCH_USE,
        "model": {"name": package.manifest.name, "sha256": package.sha256, "licence": package.manifest.licence},
        "versions": versions(),
        "device": result.device,
        "precision": result.precision,
        "fallbacks": list(result.fallbacks),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "femoral_heads_lps_mm": {"right": result.heads.right, "left": result.heads.left},
        "volumes_ml": {segment.name: round(result.volumes_ml[segment.value], 1) for segment in SEGMENTS},
        "doubt": {name: value and round(value, 3) for name, value in to_json(result.doubt).items()},
        "warnings": [{"kind": notice.kind, "sentence": notice.sentence} for notice in result.notices],
        "seconds": {stage: round(seconds, 2) for stage, seconds in result.seconds.items()},
    }


def versions() -> dict[str, str]:
    """Of this program and of what it computes with."""
    return {
        "HipICMSC": VERSION,
        "torch": torch.__version__,
        "SimpleITK": sitk.Version.VersionString(),
        "python": platform.python_version(),
    }
