"""Correct the parts of payers and sites: what each owes now for a billed period, less what it was billed for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from billing.contracts.contract import Contract
from billing.money import Money
from billing.period import Period
from billing.rating.aggregate import Billed
from billing.rating.correct import correct
from billing.rating.shares import SharedLine
from billing.rating.site_parts import Place, SitePart

Places = Mapping[Place, Billed]
_NOTHING = Billed(Decimal(0), 0)


def correct_shares(
    contract: Contract,
    period: Period,
    lines: Sequence[SharedLine],
    billed: Mapping[str, Billed],
    sited: Mapping[str, Places],
) -> tuple[SharedLine, ...]:
    """One payer's correction lines, each with the difference for every site.

    lines: the payer's part of the period as it is rated now. billed, sited: by line key, what its statements hold.
    """
    now = {line.rated.key: _places(line) for line in lines}
    changes = {key: _changes(now.get(key, {}), sited.get(key, {})) for key in now.keys() | sited.keys()}
    moved = {key for key, change in changes.items() if change}
    corrections = correct(contract, period, [line.rated for line in lines], billed, moved)
    zero = Money.zero(contract.currency)
    return tuple(
        SharedLine(
            line,
            tuple(
                SitePart(*place, change.quantity, Money(change.amount_minor, contract.currency), zero)
                for place, change in sorted(changes.get(line.key, {}).items())
            ),
        )
        for line in corrections
    )


def _places(line: SharedLine) -> Places:
    return {part.place: Billed(part.quantity, part.amount.amount_minor) for part in line.sites}


def _changes(now: Places, before: Places) -> Places:
    """The places whose part is another than before, and by how much."""
    found = {}
    for place in now.keys() | before.keys():
        new, old = now.get(place, _NOTHING), before.get(place, _NOTHING)
        change = Billed(new.quantity - old.quantity, new.amount_minor - old.amount_minor)
        if change != _NOTHING:
            found[place] = change
    return found
