"""Statements for each site of a payer: the key `site_statements`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from billing.contracts.party_terms import Party
from billing.contracts.yaml_reader import YamlMap

SITE_ROLE = "site"


@dataclass(frozen=True)
class SiteTerms:
    """by: the dimensions of usage that name a place, `site` alone or `site` and `department`.

    weights: by site, how lines are shared out that no usage decides, such as a fee; without them by the
        usage of the whole statement.
    """

    by: tuple[str, ...] = ("site",)
    weights: Mapping[str, Fraction] = field(default_factory=dict)


def read(top: YamlMap, parties: Sequence[Party]) -> SiteTerms | None:
    """None where the contract wants no statements by site."""
    if not top.has("site_statements"):
        return None
    source = top.map("site_statements")
    by = source.one_of("by", ("site", "department"), default="site")
    weights: dict[str, Fraction] = {}
    if source.has("weights"):
        sites = {party.id for party in parties if party.role == SITE_ROLE}
        listed = source.map("weights")
        for name in listed.names:
            if name not in sites:
                listed.problem(name, "is no party of role site")
            weights[name] = Fraction(listed.decimal(name))
        listed.finish()
        if not any(weights.values()):
            source.problem("weights", "need at least one above 0")
    source.finish()
    return SiteTerms(("site",) if by == "site" else ("site", "department"), weights)
