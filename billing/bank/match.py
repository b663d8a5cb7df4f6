"""What a payment by bank pays: proposed from what its line says, certain only where it can mean one thing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from billing.bank.line import BankLine
from billing.cash.payment_record import OpenStatement
from billing.money import Money

SUBSET_STATEMENTS_MAX = 12
"""Sums of several statements are looked for among so many; more have too many sums to mean anything."""


@dataclass(frozen=True)
class Proposal:
    """payer_id: who paid; None where nothing tells. pays: statement id and minor units; the rest is unapplied.

    is_certain: nothing else fits, so it is applied without a person. sentence: why, or why not.
    """

    payer_id: str | None
    pays: tuple[tuple[int, int], ...]
    is_certain: bool
    sentence: str


def propose(
    line: BankLine, statements: Sequence[OpenStatement], payer_accounts: Mapping[str, str]
) -> Proposal:
    """statements: open and paid ones of the tenant. payer_accounts: account → party that paid from it before."""
    brought = line.amount + line.charges
    owner = payer_accounts.get(line.counterparty_account)
    named = find_named(line.remittance, statements)
    if named:
        return _by_number(line, brought, named, owner)
    still_open = [one for one in statements if one.still_open.amount_minor > 0]
    if owner is None:
        return _by_amount_alone(line, brought, still_open)
    return _by_account(brought, owner, [one for one in still_open if one.payer_id == owner])


def find_named(text: str, statements: Sequence[OpenStatement]) -> list[OpenStatement]:
    """The statements whose number stands in a text, however banks broke it into lines or left out signs."""
    bare = _bare(text)
    return [
        one for one in statements if _bare(one.number) in bare and _pattern(one.number).search(text.upper())
    ]


def _by_number(line: BankLine, brought: Money, named: list[OpenStatement], owner: str | None) -> Proposal:
    numbers = ", ".join(one.number for one in named)
    payers = {one.payer_id for one in named}
    if len(payers) > 1:
        return _unsure(owner, f"names {numbers}, which have different payers")
    payer = payers.pop()
    if owner not in (None, payer):
        return _unsure(None, f"names {numbers} of {payer}, but comes from the account of {owner}")
    if any(one.still_open.currency != brought.currency for one in named):
        return _unsure(payer, f"names {numbers}, which is not in {brought.currency}")
    asking = [one for one in named if one.still_open.amount_minor > 0]
    if not asking:
        return _unsure(payer, f"names {numbers}, of which nothing is open: paid twice?")
    asked = sum((one.still_open for one in asking), Money.zero(brought.currency))
    if len(asking) > 1 and brought.amount_minor < asked.amount_minor:
        return _unsure(payer, f"names {numbers}, which ask {asked} together; {brought} came: which is paid?")
    pays = tuple((one.statement_id, min(one.still_open.amount_minor, brought.amount_minor)) for one in asking)
    return Proposal(payer, pays, True, f"names {numbers}{_difference(line, brought, asked)}")


def _difference(line: BankLine, brought: Money, asked: Money) -> str:
    fee = f", of which the bank kept {line.charges}" if line.charges else ""
    if brought == asked:
        return f" and pays exactly what is open{fee}"
    if brought.amount_minor > asked.amount_minor:
        return f" and pays {brought - asked} more than is open, which stays unapplied{fee}"
    return f" and pays {brought} of {asked}; if the bank kept the rest as a fee, say so{fee}"


def _by_account(brought: Money, owner: str, mine: list[OpenStatement]) -> Proposal:
    """No number, but the account of a payer: certain where one statement, or one set of them, asks exactly that."""
    mine = [one for one in mine if one.still_open.currency == brought.currency]
    sizes = range(1, len(mine) + 1) if len(mine) <= SUBSET_STATEMENTS_MAX else (1, len(mine))
    fitting = [
        chosen
        for size in sizes
        for chosen in combinations(mine, size)
        if sum(one.still_open.amount_minor for one in chosen) == brought.amount_minor
    ]
    if not fitting:
        return _unsure(owner, f"names no statement, and no open statements of {owner} ask exactly {brought}")
    if len(fitting) > 1:
        sets = " or ".join(" + ".join(one.number for one in chosen) for chosen in fitting[:4])
        return _unsure(owner, f"names no statement, and {brought} is what {sets} ask")
    pays = tuple((one.statement_id, one.still_open.amount_minor) for one in fitting[0])
    numbers = " + ".join(one.number for one in fitting[0])
    return Proposal(
        owner, pays, True, f"comes from the account of {owner} and is exactly what {numbers} asks"
    )


def _by_amount_alone(line: BankLine, brought: Money, still_open: list[OpenStatement]) -> Proposal:
    exact = [one for one in still_open if one.still_open == brought]
    whose = f"account {line.counterparty_account}" if line.counterparty_account else "no account"
    if len(exact) == 1:
        pays = ((exact[0].statement_id, brought.amount_minor),)
        sentence = f"is exactly what {exact[0].number} asks, but names no statement and {whose} is not known"
        return Proposal(exact[0].payer_id, pays, False, sentence)
    return _unsure(None, f"names no statement, and {whose} is not known as a payer's")


def _unsure(payer: str | None, sentence: str) -> Proposal:
    return Proposal(payer, (), False, sentence)


def _bare(text: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", text.upper())


def _pattern(number: str) -> re.Pattern[str]:
    """The number with any signs or blanks between its characters, not within a longer number."""
    characters = r"[^A-Z0-9]*".join(re.escape(one) for one in _bare(number))
    return re.compile(rf"(?<![A-Z0-9]){characters}(?![0-9])")
