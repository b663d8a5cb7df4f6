"""Tiers, shared by graduated and volume pricing."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from billing.contracts.yaml_reader import YamlMap


@dataclass(frozen=True)
class Tier:
    """up_to: inclusive upper end in units; None for the last tier, which has none.

    unit_price: major units for each unit; flat_fee: major units once, when the tier is reached.
    """

    up_to: Decimal | None
    unit_price: Decimal
    flat_fee: Decimal = Decimal(0)


def read_tiers(source: YamlMap) -> tuple[Tier, ...]:
    """The key `tiers`, each with `up_to`, `unit_price` and perhaps `flat_fee`."""
    tiers = []
    for item in source.maps("tiers"):
        up_to = item.decimal("up_to") if item.has("up_to") else None
        tiers.append(Tier(up_to, item.decimal("unit_price"), item.decimal("flat_fee", default=Decimal(0))))
        item.finish()
    problem = find_tier_problem(tuple(tiers))
    if tiers and problem:
        source.problem("tiers", f": {problem}")
    return tuple(tiers)


def find_tier_problem(tiers: tuple[Tier, ...]) -> str | None:
    """Why these tiers cannot price every quantity; None when they can."""
    if not tiers:
        return "needs at least one tier"
    if any(tier.up_to is None for tier in tiers[:-1]) or tiers[-1].up_to is not None:
        return "every tier but the last needs up_to, the last must not have one"
    ends = [tier.up_to for tier in tiers[:-1] if tier.up_to is not None]
    if any(end <= 0 for end in ends) or any(a >= b for a, b in pairwise(ends)):
        return "up_to must rise from tier to tier"
    return None
