"""Case rules: what becomes of each billable event when the rest of its clinical request is known.

Pure, and the same whatever the order of the events: who is first in a request follows from what the events
say, never from when they came. A late event may change who is first; rating the period again sets it right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from billing.contracts.case_rules_terms import Bundle, CaseRule, Exclusion, RequiresPrimary, SequenceDiscount
from billing.rating.treatment import FULL_PRICE, Treatment


@dataclass(frozen=True)
class Case:
    """A billable event as the rules see it. request: the opaque clinical request; "" stands alone."""

    source: str
    event_id: str
    product: str
    quantity: Decimal
    occurred_at: datetime
    request: str = ""

    @property
    def order(self) -> tuple[datetime, str, str]:
        """Earliest delivery first; the id decides between two at one instant."""
        return self.occurred_at, self.source, self.event_id


def treat(cases: Sequence[Case], rules: Sequence[CaseRule]) -> tuple[Treatment, ...]:
    """The treatment of each case, in the order given. cases: all billable ones of a contract and period."""
    requests: dict[str, list[int]] = defaultdict(list)
    found = [FULL_PRICE] * len(cases)
    for index, case in enumerate(cases):
        # A case without a request is alone with itself: rules that need company may still apply.
        requests[case.request or f"\0{case.source}\0{case.event_id}"].append(index)
    for indices in requests.values():
        for index, treatment in zip(indices, treat_request([cases[i] for i in indices], rules), strict=True):
            found[index] = treatment
    return tuple(found)


def treat_request(cases: Sequence[Case], rules: Iterable[CaseRule]) -> list[Treatment]:
    """The treatment of each case of one request.

    Bundles come first, in the contract's order, then what is free, then discounts on what is left; the first
    rule that says something about a case is the one that counts. Any billable case of the request makes its
    product present, also one that costs nothing itself.
    """
    found: dict[int, Treatment] = {}
    present = {case.product for case in cases}
    ordered = sorted(range(len(cases)), key=lambda index: cases[index].order)
    by_kind = sorted(rules, key=_precedence)
    for rule in by_kind:
        left = [index for index in ordered if index not in found and cases[index].product in rule.products]
        left.sort(key=lambda index: rule.products.index(cases[index].product))  # stable: then by time
        match rule:
            case Bundle():
                found.update(_bundle(rule, {index: cases[index] for index in left}))
            case RequiresPrimary() if not present & set(rule.primary):
                found.update(dict.fromkeys(left, Treatment("no_primary", rule.id, Fraction(0))))
            case Exclusion() if present & set(rule.inside):
                found.update(dict.fromkeys(left, Treatment("included", rule.id, Fraction(0))))
            case SequenceDiscount():
                found.update(_sequence(rule, left))
            case _:
                pass
    return [found.get(index, FULL_PRICE) for index in range(len(cases))]


def _precedence(rule: CaseRule) -> int:
    match rule:
        case Bundle():
            return 0
        case RequiresPrimary() | Exclusion():
            return 1
        case SequenceDiscount():
            return 2


def _sequence(rule: SequenceDiscount, ranked: Sequence[int]) -> dict[int, Treatment]:
    found = {}
    for place, index in enumerate(ranked):
        fraction = rule.fractions[min(place, len(rule.fractions) - 1)]
        full = Treatment("", "", fraction) if fraction == 1 else None
        found[index] = full or Treatment("sequence_discount", rule.id, fraction)
    return found


def _bundle(rule: Bundle, cases: Mapping[int, Case]) -> dict[int, Treatment]:
    """Cases in rank order. Whole cases only: another quantity than 1 keeps its own price."""
    whole = {index: case for index, case in cases.items() if case.quantity == 1}
    if not rule.needs_all:
        return _one_bundle(rule, list(whole), whole)
    by_product: dict[str, list[int]] = {product: [] for product in rule.products}
    for index, case in whole.items():
        by_product[case.product].append(index)
    found: dict[int, Treatment] = {}
    for members in zip(*by_product.values(), strict=False):  # as many bundles as the rarest product allows
        found.update(_one_bundle(rule, members, whole))
    return found


def _one_bundle(rule: Bundle, members: Sequence[int], cases: Mapping[int, Case]) -> dict[int, Treatment]:
    if rule.shares:
        return {
            index: Treatment("bundle_share", rule.id, rule.shares[cases[index].product]) for index in members
        }
    found = {index: Treatment("in_bundle", rule.id, Fraction(0)) for index in members}
    if members:
        found[members[0]] = Treatment("bundle", rule.id, Fraction(1), item=rule.id)
    return found
