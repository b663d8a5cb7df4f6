"""What a report says of a nodule in the prior study: rows of plain values, made and read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from study.findings import Finding
from study.nodule import PriorRead


@dataclass(frozen=True)
class PriorRow:
    """The same nodule in the prior study; see `study.nodule.Comparison` and `Growth`."""

    state: str
    mean_diameter_mm: float | None = None
    volume_mm3: float | None = None
    trend: str | None = None
    change_percent: float | None = None
    change_percent_interval: tuple[float, float] | None = None
    doubling_days: float | None = None
    doubling_days_interval: tuple[float, float | None] | None = None


@dataclass(frozen=True)
class ResolvedRow:
    """A finding of the prior study that is no longer seen."""

    mean_diameter_mm: float
    volume_mm3: float
    lobe: str | None = None


def prior_row(finding: Finding) -> PriorRow | None:
    """The row of a finding's comparison, if it has one."""
    then = finding.comparison
    if then is None:
        return None
    growth = then.growth
    if growth is None:
        return PriorRow(then.state, then.mean_diameter_mm, then.volume_mm3)
    return PriorRow(
        then.state,
        then.mean_diameter_mm,
        then.volume_mm3,
        growth.trend.value,
        growth.change_percent,
        growth.change_percent_interval,
        growth.doubling_days,
        growth.doubling_days_interval,
    )


def resolved_rows(prior: PriorRead | None) -> tuple[ResolvedRow, ...]:
    """The findings of the prior that are no longer seen."""
    gone = prior.resolved if prior is not None else ()
    return tuple(ResolvedRow(one.mean_diameter_mm, one.volume_mm3, one.lobe) for one in gone)


def prior_from_json(record: dict[str, Any] | None) -> PriorRow | None:
    """The inverse of `asdict`."""
    if record is None:
        return None
    values: dict[str, Any] = {
        key: tuple(one) if isinstance(one, list) else one for key, one in record.items()
    }
    return PriorRow(**values)
