"""How a result came about, in the short form that travels with it as tags. Without torch, for Slicer's own process."""

from __future__ import annotations

from typing import Any


def provenance(report: dict[str, Any]) -> dict[str, str]:
    """The gist of a report (see report.py), by name."""
    return {
        "Use": report["use"],
        "ModelName": report["model"]["name"],
        "ModelSha256": report["model"]["sha256"],
        "Version": report["versions"]["HipICMSC"],
        "TorchVersion": report["versions"]["torch"],
        "Device": f"{report['device']}, {report['precision']}",
        "Fallbacks": " ".join(report["fallbacks"]),
        "Date": report["date"],
        "Warnings": " ".join(warning["sentence"] for warning in report["warnings"]),
    }
