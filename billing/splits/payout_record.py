"""Payout statement: what a payee earned and is paid, and its one canonical text. The seller writes it (self-billed)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from billing.contracts.party_terms import Party
from billing.metering.usage import plain
from billing.money import Money
from billing.period import Period
from billing.statements.statement_record import party_from

FORMAT = 1


@dataclass(frozen=True)
class PayoutLine:
    """What one rate of one service period of a contract brought the payee.

    service_start, service_end: local days of the contract's zone, [start, end).
    quantity: units on the customer's statement. base: what was divided, tax excluded.
    earned: the payee's part of it, reversals not taken off. reversed: taken back by credit notes.
    released_before: told by earlier payout statements. amount: what this statement adds.
    waiting: earned, and not yet collected from the customer.
    """

    contract_name: str
    split: str
    title: Mapping[str, str]
    unit: Mapping[str, str]
    service_start: date
    service_end: date
    quantity: Decimal
    base: Money
    earned: Money
    reversed: Money
    released_before: Money
    amount: Money

    @property
    def waiting(self) -> Money:
        return self.earned - self.reversed - self.released_before - self.amount


@dataclass(frozen=True)
class GuaranteeLine:
    """A minimum guarantee and what it adds. period_start, period_end: local days, [start, end)."""

    contract_name: str
    split: str
    period_start: date
    period_end: date
    guaranteed: Money
    earned: Money
    top_up: Money


@dataclass(frozen=True)
class PayoutStatement:
    """A draft (`payout_statement_id`, `number` and `issued_at` are None) or an issued payout statement.

    period: a month of the books; what its services brought and is payable by now is told, once.
    opening: the closing balance of the last one; negative where more was taken back than earned.
    recouped: kept back for an advance, zero or less. advance_outstanding: what is still to be recouped after it.
    paid: payouts since the last one, less what came back, zero or less as a rule. pending: on its way.
    """

    tenant: str
    seller: Party
    payee: Party
    currency: str
    period: Period
    opening: Money
    lines: tuple[PayoutLine, ...]
    guarantees: tuple[GuaranteeLine, ...]
    recouped: Money
    advance_outstanding: Money
    paid: Money
    pending: Money
    payout_statement_id: int | None = None
    number: str | None = None
    issued_at: datetime | None = None

    @property
    def status(self) -> str:
        return "draft" if self.number is None else "issued"

    @property
    def shares(self) -> Money:
        """What the lines add."""
        return sum((line.amount for line in self.lines), Money.zero(self.currency))

    @property
    def guaranteed(self) -> Money:
        """What guarantees add."""
        return sum((line.top_up for line in self.guarantees), Money.zero(self.currency))

    @property
    def moved(self) -> Money:
        return self.shares + self.guaranteed + self.recouped + self.paid

    @property
    def closing(self) -> Money:
        """What is owed to the payee after this statement."""
        return self.opening + self.moved

    @property
    def to_pay(self) -> Money:
        """The closing balance less what is on its way; nothing where that is negative: it is carried forward."""
        return Money(max(0, (self.closing - self.pending).amount_minor), self.currency)

    def evolve(self, **changes: Any) -> PayoutStatement:
        return replace(self, **changes)


_MONEY = ("opening", "recouped", "advance_outstanding", "paid", "pending")
_LINE_MONEY = ("base", "earned", "reversed", "released_before", "amount")
_GUARANTEE_MONEY = ("guaranteed", "earned", "top_up")


def to_text(statement: PayoutStatement) -> str:
    """As canonical JSON: what is stored at issue and never changes. Without its row id."""
    period = statement.period
    values = {
        "format": FORMAT,
        "tenant": statement.tenant,
        "seller": asdict(statement.seller),
        "payee": asdict(statement.payee),
        "currency": statement.currency,
        "period": [period.starts_on.isoformat(), period.ends_on.isoformat(), period.time_zone],
        "full_days": period.full_days,
        "lines": [_line_values(line) for line in statement.lines],
        "guarantees": [_guarantee_values(line) for line in statement.guarantees],
        **{name: getattr(statement, name).amount_minor for name in _MONEY},
        "number": statement.number,
        "issued_at": statement.issued_at.isoformat() if statement.issued_at else None,
    }
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def from_text(text: str, payout_statement_id: int | None) -> PayoutStatement:
    """The inverse of `to_text`."""
    values = json.loads(text)
    assert values.pop("format") == FORMAT, "payout statements are stored in this format"
    currency, (starts_on, ends_on, time_zone) = values["currency"], values["period"]
    values["seller"], values["payee"] = party_from(values["seller"]), party_from(values["payee"])
    values["period"] = Period(
        date.fromisoformat(starts_on), date.fromisoformat(ends_on), time_zone, values.pop("full_days")
    )
    values["lines"] = tuple(_line_from(line, currency) for line in values["lines"])
    values["guarantees"] = tuple(_guarantee_from(line, currency) for line in values["guarantees"])
    values.update({name: Money(values[name], currency) for name in _MONEY})
    values["issued_at"] = datetime.fromisoformat(values["issued_at"]) if values["issued_at"] else None
    return PayoutStatement(**values, payout_statement_id=payout_statement_id)


def _line_values(line: PayoutLine) -> dict[str, Any]:
    return {
        "contract_name": line.contract_name,
        "split": line.split,
        "title": dict(line.title),
        "unit": dict(line.unit),
        "service_start": line.service_start.isoformat(),
        "service_end": line.service_end.isoformat(),
        "quantity": plain(line.quantity),
        **{name: getattr(line, name).amount_minor for name in _LINE_MONEY},
    }


def _line_from(values: dict[str, Any], currency: str) -> PayoutLine:
    days = {name: date.fromisoformat(values[name]) for name in ("service_start", "service_end")}
    money = {name: Money(values[name], currency) for name in _LINE_MONEY}
    return PayoutLine(**{**values, **days, **money, "quantity": Decimal(values["quantity"])})


def _guarantee_values(line: GuaranteeLine) -> dict[str, Any]:
    return {
        "contract_name": line.contract_name,
        "split": line.split,
        "period_start": line.period_start.isoformat(),
        "period_end": line.period_end.isoformat(),
        **{name: getattr(line, name).amount_minor for name in _GUARANTEE_MONEY},
    }


def _guarantee_from(values: dict[str, Any], currency: str) -> GuaranteeLine:
    days = {name: date.fromisoformat(values[name]) for name in ("period_start", "period_end")}
    money = {name: Money(values[name], currency) for name in _GUARANTEE_MONEY}
    return GuaranteeLine(**{**values, **days, **money})
