"""What a contract says about the bounds beyond which its account is parked and a person looks."""

from __future__ import annotations

from dataclasses import dataclass

from billing.contracts.yaml_reader import YamlMap


@dataclass(frozen=True)
class SafetyTerms:
    """events_per_day_max: billable events of one local day. lines_max: of one statement.

    variance_percent_max: how far, in percent, a period may be from the mean of the periods before it; None: anywhere.
    """

    events_per_day_max: int = 1_000_000
    lines_max: int = 100_000
    variance_percent_max: int | None = None


DEFAULT = SafetyTerms()


def read(top: YamlMap) -> SafetyTerms:
    """The section `safety` of a contract; each of its keys is optional."""
    if not top.has("safety"):
        return DEFAULT
    source = top.map("safety")
    variance = (
        source.integer("variance_percent_max", 1, 100_000) if source.has("variance_percent_max") else None
    )
    terms = SafetyTerms(
        source.integer("events_per_day_max", 1, 999_999_999, DEFAULT.events_per_day_max),
        source.integer("lines_max", 1, 999_999_999, DEFAULT.lines_max),
        variance,
    )
    source.finish()
    return terms
