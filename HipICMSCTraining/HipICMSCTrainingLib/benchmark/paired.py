"""Each row beside ICMSC on the same MRIs with the same seeds: what chance says of the difference."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy import stats

from HipICMSCTrainingLib.evaluation.scores import CLASSES

if TYPE_CHECKING:
    from HipICMSCTrainingLib.benchmark.table import RowOfSeeds, SeedResult

REFERENCE = "icmsc"
MEANING = (
    "The mean Dice of both bones of each seed and test MRI, less that of ICMSC with the same seed on the same MRI; p "
    "by Wilcoxon's signed-rank test, two-sided. Seeds and MRIs stand in several pairs, so that p is rather too small, "
    "and with fewer than six pairs it cannot fall below 0.05."
)


@dataclass(frozen=True)
class PairedDifference:
    """A row less ICMSC.

    Attributes:
        pairs: how many (seed, test MRI) both have.
        mean: of the differences of Dice, a share.
        p: None where nothing differs.
    """

    pairs: int
    mean: float
    p: float | None


def against_icmsc(row: RowOfSeeds, rows: Sequence[RowOfSeeds], weights: str, result: str) -> PairedDifference | None:
    """
    Args:
        rows: those of the table, ICMSC's among them or not.
        weights, result: which scores are compared.

    Returns:
        None for ICMSC itself, and where both have no seed and MRI in common.
    """
    icmsc = next((other for other in rows if other.row.key == REFERENCE), None)
    if icmsc is None or row.row.key == REFERENCE:
        return None
    ours, theirs = _dice(row.measured, weights, result), _dice(icmsc.measured, weights, result)
    differences = [ours[pair] - theirs[pair] for pair in ours if pair in theirs]
    if not differences:
        return None
    p = float(stats.wilcoxon(differences).pvalue) if any(differences) else None
    return PairedDifference(len(differences), statistics.fmean(differences), p)


def _dice(seeds: Sequence[SeedResult], weights: str, result: str) -> dict[tuple[int, str], float]:
    """The mean Dice of both bones by seed and name of the test MRI, where both have one."""
    found = {}
    for seed in seeds:
        for volume in seed.scores[weights]["evaluation"]["volumes"]:
            of_bones = [volume["scores"][result][name]["dice"] for name in CLASSES]
            if None not in of_bones:
                found[seed.seed, volume["name"]] = statistics.fmean(of_bones)
    return found
