"""How far two engines' findings on the same image lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from study.findings import Finding


@dataclass(frozen=True)
class Agreement:
    """Of findings that both have, the largest differences; `unmatched` holds scores of those that only one has.

    A finding whose score lies at the operating threshold may be on one side of it here and on the other there.
    """

    matched: int
    score_max: float
    center_mm_max: float
    diameter_mm_max: float
    unmatched: tuple[float, ...]


def agreement(some: Sequence[Finding], others: Sequence[Finding]) -> Agreement:
    """Each finding is matched with the nearest of the others whose centre lies within its own radius."""
    left = list(others)
    differences: list[tuple[float, float, float]] = []
    unmatched: list[float] = []
    for finding in some:
        gaps = [float(np.linalg.norm(np.subtract(finding.center_lps_mm, one.center_lps_mm))) for one in left]
        nearest = int(np.argmin(gaps)) if gaps else 0
        if not gaps or gaps[nearest] > finding.mean_diameter_mm / 2:
            unmatched.append(finding.score)
            continue
        other = left.pop(nearest)
        differences.append(
            (
                abs(finding.score - other.score),
                gaps[nearest],
                abs(finding.mean_diameter_mm - other.mean_diameter_mm),
            )
        )
    unmatched.extend(one.score for one in left)
    worst = np.max(differences, axis=0) if differences else np.zeros(3)
    return Agreement(
        len(differences), float(worst[0]), float(worst[1]), float(worst[2]), tuple(sorted(unmatched))
    )
