"""Share out: the lines of one service period divided among their payees, exactly; pure, no database.

What a period's lines give is computed as a whole, because tiers, caps and fixed amounts are about the whole.
Late usage then books the difference to what was stored before, so allocations add up to one full division
of the period, however many corrections there were.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from billing.money import push_down, round_half_away_from_zero
from billing.splits.terms import Claim, PayeeKind, Split

Members = Mapping[str, Mapping[str, Decimal]]
"""Pool → party → weight above zero."""
_NOTHING, _ALL = Fraction(0), Fraction(1)


@dataclass(frozen=True)
class Base:
    """What is divided of one line of a service period.

    key: the line's key, unique in the period. amount_minor: minor units, tax excluded, of either sign.
    quantity: units charged. publisher: whose model the line is for, where the rate says so.
    """

    key: str
    amount_minor: int
    quantity: Decimal
    publisher: str | None = None


def share_out(
    split: Split, bases: Sequence[Base], members: Members, minor_per_major: int
) -> dict[str, dict[str, int]]:
    """Line key → party → minor units; each line's parts sum to its amount, and the order does not matter."""
    volume = sum((base.quantity for base in bases), Decimal(0))
    taken = [_take(claim, bases, volume, minor_per_major) for claim in split.claims]
    weight_sum = sum((Fraction(claim.weight) for claim in split.claims), _NOTHING)
    claims = [
        _Ready(claim, first, Fraction(claim.weight) / weight_sum if claim.weight else _NOTHING, members)
        for claim, first in zip(split.claims, taken, strict=True)
    ]
    return {base.key: _share_line(base, claims) for base in bases}


class _Ready:
    """A claim with all that is the same for every line of the period.

    first: by line key, before the rest is divided. of_rest: the fraction of the rest.
    """

    def __init__(
        self, claim: Claim, first: Mapping[str, Fraction | int], of_rest: Fraction, members: Members
    ) -> None:
        self.first, self.of_rest = first, of_rest
        self._parties = _parties_of(claim, members)

    def parties(self, base: Base) -> Mapping[str, Fraction]:
        """Who is behind the claim, each with the fraction of it."""
        if self._parties is not None:
            return self._parties
        assert base.publisher is not None, "a split to publishers covers lines that have one"
        return {base.publisher: _ALL}


def _take(
    claim: Claim, bases: Sequence[Base], volume: Decimal, minor_per_major: int
) -> dict[str, Fraction | int]:
    """What one claim takes of each line before the rest is divided by weight, exact."""
    if not claim.tiers and claim.fixed is None:
        return dict.fromkeys((base.key for base in bases), 0)
    share = Fraction(claim.share_at(volume))
    fixed = Fraction(claim.fixed or 0) * minor_per_major
    exact = {
        base.key: share * base.amount_minor + (fixed * Fraction(base.quantity) if base.amount_minor else 0)
        for base in bases
    }
    if claim.cap is None:
        return dict(exact)
    cap = round_half_away_from_zero(Fraction(claim.cap) * minor_per_major)
    return _capped(exact, cap)


def _capped(exact: Mapping[str, Fraction], cap: int) -> dict[str, Fraction | int]:
    """A capped claim is rounded over the whole period, so that it cannot pass its cap line by line."""
    whole = sum(exact.values(), _NOTHING)
    total = max(-cap, min(cap, round_half_away_from_zero(whole)))
    if abs(whole) > cap:
        exact = {key: part * total / whole for key, part in exact.items()}
    return dict(zip(exact, push_down(total, list(exact.values()), list(exact)), strict=True))


def _share_line(base: Base, claims: Sequence[_Ready]) -> dict[str, int]:
    rest = base.amount_minor - sum((claim.first[base.key] for claim in claims), _NOTHING)
    parts: dict[str, Fraction] = defaultdict(Fraction)
    for claim in claims:
        amount = claim.first[base.key] + rest * claim.of_rest
        for party, part in claim.parties(base).items():
            parts[party] += amount if part == 1 else amount * part
    names = sorted(parts)
    amounts = push_down(base.amount_minor, [parts[name] for name in names], names)
    return dict(zip(names, amounts, strict=True))


def _parties_of(claim: Claim, members: Members) -> dict[str, Fraction] | None:
    """Who is behind a claim, each with the fraction of it; None where each line names its publisher."""
    match claim.payee.kind:
        case PayeeKind.PARTY:
            return {claim.payee.name: _ALL}
        case PayeeKind.PUBLISHER:
            return None
        case PayeeKind.POOL:
            weights = members[claim.payee.name]
            total = sum((Fraction(weight) for weight in weights.values()), _NOTHING)
            return {party: Fraction(weight) / total for party, weight in weights.items()}
