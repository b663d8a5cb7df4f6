"""Shares: which payer owes how much of each line of a rating, and which site each part belongs to.

A line's amount lies on the cases behind it in proportion to their quantity (a share of carried amounts, to the
amounts); each case's part is divided by the payer rule that matches it. The exact parts are rounded once, by
largest remainder, so that the payers of a line sum to it and the sites of a payer's part sum to that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from billing.contracts.contract import Contract
from billing.contracts.rate_terms import Rate
from billing.metering.usage import plain
from billing.metering.usage_totals import UsageGroup
from billing.money import Money, allocate, exponent, push_down, round_half_away_from_zero
from billing.pricing.percentage import Percentage
from billing.rating.rate import RatedLine, Rating
from billing.rating.site_parts import Place, SitePart


@dataclass(frozen=True)
class SharedLine:
    """A payer's part of a rated line. sites: its parts before tax, where the contract has statements by site."""

    rated: RatedLine
    sites: tuple[SitePart, ...] = ()


class _Slice(NamedTuple):
    """A payer's exact part of a line at one place, and the cases that it is for."""

    payer: str
    place: Place
    amount: Fraction
    cases: Fraction


def payers_of(contract: Contract) -> tuple[str, ...]:
    """Ids of everyone who may owe a part; the first always gets a statement."""
    return contract.payers.payers or (contract.buyer.id,)


def share(contract: Contract, rating: Rating) -> dict[str, tuple[SharedLine, ...]]:
    """The rating's lines by payer, in its order. Every payer is a key; amounts sum to the rating's."""
    if not contract.payers.rules and contract.site_statements is None:  # nothing to share: thousands of lines
        return {contract.buyer.id: tuple(SharedLine(line) for line in rating.lines)}
    parts: dict[str, list[SharedLine]] = {payer: [] for payer in payers_of(contract)}
    groups = _groups_by_key(rating)
    everything = [group for taken in rating.taken.values() for group in taken]
    for line in rating.lines:
        behind = groups.get(line.key) or groups.get(line.key.split("/")[0]) or []
        for payer, part in _share_line(contract, line, behind, everything).items():
            parts[payer].append(part)
    return {payer: tuple(lines) for payer, lines in parts.items()}


def _groups_by_key(rating: Rating) -> dict[str, list[UsageGroup]]:
    """The usage behind each line: by rate, and by line where a case rule gave it a line of its own."""
    found: dict[str, list[UsageGroup]] = defaultdict(list)
    for rate_id, groups in rating.taken.items():
        for group in groups:
            item, key = group.treatment.item or rate_id, group.treatment.key
            found[f"{item}/{key}" if key else item].append(group)
    return found


def _share_line(
    contract: Contract, line: RatedLine, behind: Sequence[UsageGroup], everything: Sequence[UsageGroup]
) -> dict[str, SharedLine]:
    cases = sum((Fraction(group.quantity) for group in behind), Fraction(0))
    slices = list(_slices(contract, line, behind, everything, cases))
    parts = {payer: [one for one in slices if one.payer == payer] for payer in payers_of(contract)}
    sums = {payer: sum((one.amount for one in own), Fraction(0)) for payer, own in parts.items()}
    amounts = _round(line.amount, list(sums.values()), list(sums))
    found = {}
    for (payer, own), exact, amount_minor in zip(parts.items(), sums.values(), amounts, strict=True):
        if not own:
            continue
        own_cases = sum((one.cases for one in own), Fraction(0))
        rated = _part_of(line, Money(amount_minor, line.amount.currency), exact, own_cases, cases)
        found[payer] = SharedLine(rated, _site_parts(rated, own) if contract.site_statements else ())
    return found


def _slices(
    contract: Contract,
    line: RatedLine,
    behind: Sequence[UsageGroup],
    everything: Sequence[UsageGroup],
    cases: Fraction,
) -> Iterator[_Slice]:
    """The exact parts of a line by payer and place, in major units; their amounts sum to its own."""
    weights = _weights(contract, line, behind)
    for group, part_of_line in zip(behind if cases else (), weights, strict=False):
        amount, units = line.exact * part_of_line, Fraction(line.quantity) * part_of_line
        for payer, part in _divide(contract, group.dimensions, amount, units).items():
            yield _Slice(payer, _place(contract, group), part, Fraction(group.quantity))
    if not cases:
        for payer, part in _divide(contract, {}, line.exact, Fraction(0)).items():
            for place, weight in _fee_weights(contract, everything).items():
                yield _Slice(payer, place, part * weight, Fraction(0))


def _weights(contract: Contract, line: RatedLine, behind: Sequence[UsageGroup]) -> list[Fraction]:
    """How a line lies on the usage behind it: by the amounts that it is a share of, else by quantity; sums to 1."""
    source = contract.source_of(line.key)
    amounts = [Fraction(group.amount_minor) for group in behind]
    is_share = isinstance(source, Rate) and isinstance(source.pricing, Percentage)
    quantities = [Fraction(group.quantity) for group in behind]
    weights = amounts if is_share and sum(amounts, Fraction(0)) else quantities
    total = sum(weights, Fraction(0))
    return [weight / total for weight in weights]


def _round(total: Money, exact: Sequence[Fraction], keys: Sequence[str]) -> tuple[int, ...]:
    """Exact parts in major units, rounded to minor units that sum to `total`."""
    scale = 10 ** exponent(total.currency)
    return push_down(total.amount_minor, [part * scale for part in exact], keys)


def _divide(
    contract: Contract, dimensions: Mapping[str, str], amount: Fraction, units: Fraction
) -> Mapping[str, Fraction]:
    """Each payer's part of `amount`; a line at zero is told once, to the payer who gets every statement."""
    if not contract.payers.rules or not amount:
        return {payers_of(contract)[0]: amount}
    parts = contract.payers.rule_for(dimensions).divide(amount, units)
    return {payer: part for payer, part in parts.items() if part}


def _place(contract: Contract, group: UsageGroup) -> Place:
    by = contract.site_statements.by if contract.site_statements else ()
    return (
        group.dimensions.get("site", "") if by else "",
        group.dimensions.get("department", "") if "department" in by else "",
    )


def _fee_weights(contract: Contract, everything: Iterable[UsageGroup]) -> dict[Place, Fraction]:
    """How a line that no usage decides lies on the places; the weights sum to 1."""
    terms = contract.site_statements
    weights: dict[Place, Fraction] = defaultdict(Fraction)
    if terms is not None and terms.weights:
        weights.update({(site, ""): weight for site, weight in terms.weights.items()})
    elif terms is not None:
        for group in everything:
            weights[_place(contract, group)] += Fraction(group.quantity)
    total = sum(weights.values())
    return {place: weight / total for place, weight in weights.items()} if total else {("", ""): Fraction(1)}


def _part_of(
    line: RatedLine, amount: Money, exact: Fraction, own_cases: Fraction, cases: Fraction
) -> RatedLine:
    """The line as one payer sees it: the cases it takes part in, and what the whole line came to."""
    if amount == line.amount and own_cases == cases:
        return line
    quantity = line.quantity
    if own_cases != cases:
        quantity = _from_millionths(round_half_away_from_zero(Fraction(quantity) * own_cases / cases * 10**6))
    explanation = {**line.explanation, "shared_amount": str(line.amount)}
    return replace(line, quantity=quantity, amount=amount, exact=exact, explanation=explanation)


def _site_parts(line: RatedLine, slices: Sequence[_Slice]) -> tuple[SitePart, ...]:
    """The line's amount and quantity by place; both sum to the line's."""
    amounts: dict[Place, Fraction] = defaultdict(Fraction)
    cases: dict[Place, Fraction] = defaultdict(Fraction)
    for one in slices:
        amounts[one.place] += one.amount
        cases[one.place] += one.cases
    places = sorted(amounts)
    keys = ["\0".join(place) for place in places]
    by_cases = [cases[place] for place in places]
    parts = _round(line.amount, [amounts[place] for place in places], keys)
    counts = [0] * len(places)
    if any(by_cases):
        counts = list(allocate(int(line.quantity * 10**6), by_cases, keys))
    currency = line.amount.currency
    return tuple(
        SitePart(*place, _from_millionths(count), Money(amount_minor, currency), Money.zero(currency))
        for place, count, amount_minor in zip(places, counts, parts, strict=True)
    )


def _from_millionths(count: int) -> Decimal:
    return Decimal(plain(Decimal(count).scaleb(-6)))
