"""Reminder: what of a statement is overdue, and its one canonical text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime

from billing.contracts.party_terms import Party
from billing.money import Money
from billing.statements.statement_record import party_from

FORMAT = 1
_MONEY = ("total", "still_open", "disputed")


@dataclass(frozen=True)
class Reminder:
    """level: from 1, as the contract's `dunning` counts. as_of: the local day it speaks of.

    total: of the statement. still_open: of it on that day; disputed: of that. text: by language.
    """

    tenant: str
    statement_id: int
    statement_number: str
    level: int
    as_of: date
    due_on: date
    seller: Party
    payer: Party
    currency: str
    time_zone: str
    total: Money
    still_open: Money
    disputed: Money
    text: Mapping[str, str]
    written_at: datetime

    @property
    def number(self) -> str:
        return f"{self.statement_number}-R{self.level}"

    @property
    def payable(self) -> Money:
        """What is overdue: nothing that is in dispute."""
        return self.still_open - self.disputed

    @property
    def days_overdue(self) -> int:
        return (self.as_of - self.due_on).days


def to_text(reminder: Reminder) -> str:
    """As canonical JSON: what is stored and never changes. Without row ids."""
    values = {
        "format": FORMAT,
        "tenant": reminder.tenant,
        "statement_number": reminder.statement_number,
        "level": reminder.level,
        "as_of": reminder.as_of.isoformat(),
        "due_on": reminder.due_on.isoformat(),
        "seller": asdict(reminder.seller),
        "payer": asdict(reminder.payer),
        "currency": reminder.currency,
        "time_zone": reminder.time_zone,
        **{name: getattr(reminder, name).amount_minor for name in _MONEY},
        "text": dict(reminder.text),
        "written_at": reminder.written_at.isoformat(),
    }
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def from_text(text: str, statement_id: int) -> Reminder:
    """The inverse of `to_text`."""
    values = json.loads(text)
    assert values.pop("format") == FORMAT, "reminders are stored in this format"
    for name in ("as_of", "due_on"):
        values[name] = date.fromisoformat(values[name])
    for name in ("seller", "payer"):
        values[name] = party_from(values[name])
    for name in _MONEY:
        values[name] = Money(values[name], values["currency"])
    values["written_at"] = datetime.fromisoformat(values["written_at"])
    return Reminder(**values, statement_id=statement_id)
