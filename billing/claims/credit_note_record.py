"""Credit note: what is taken back of an issued statement, and its one canonical text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.contracts.party_terms import Party
from billing.money import Money
from billing.rating.tax import TaxLine
from billing.statements.statement_record import party_from, tax_line_from, tax_values

FORMAT = 1


@dataclass(frozen=True)
class CreditNoteLine:
    """number: of the statement's line. amount, tax: what this note takes back, with the line's sign.

    line_amount: the line before any credit, tax excluded. fraction: of the line, credited up to and with this note.
    """

    number: int
    key: str
    product: str
    title: Mapping[str, str]
    service_start: date
    service_end: date
    line_amount: Money
    amount: Money
    tax: Money
    tax_name: str
    tax_rate: Decimal
    fraction: Fraction


@dataclass(frozen=True)
class CreditNote:
    """requested_by, approved_by: who asked for it, and who else approved it; not printed."""

    tenant: str
    credit_note_id: int
    number: str
    statement_id: int
    statement_number: str
    contract_id: int
    contract_name: str
    seller: Party
    buyer: Party
    currency: str
    time_zone: str
    lines: tuple[CreditNoteLine, ...]
    taxes: tuple[TaxLine, ...]
    reason: str
    requested_by: str
    approved_by: str | None
    issued_at: datetime

    @property
    def subtotal(self) -> Money:
        """Sum of the lines, tax excluded."""
        return sum((line.amount for line in self.lines), Money.zero(self.currency))

    @property
    def tax(self) -> Money:
        return sum((line.tax for line in self.lines), Money.zero(self.currency))

    @property
    def total(self) -> Money:
        return self.subtotal + self.tax


def to_text(note: CreditNote) -> str:
    """The credit note as canonical JSON: what is stored at issue and never changes. Without row ids."""
    values = {
        "format": FORMAT,
        "tenant": note.tenant,
        "number": note.number,
        "statement_number": note.statement_number,
        "contract_id": note.contract_id,
        "contract_name": note.contract_name,
        "seller": asdict(note.seller),
        "buyer": asdict(note.buyer),
        "currency": note.currency,
        "time_zone": note.time_zone,
        "lines": [_line_values(line) for line in note.lines],
        "taxes": [tax_values(tax) for tax in note.taxes],
        "reason": note.reason,
        "requested_by": note.requested_by,
        "approved_by": note.approved_by,
        "issued_at": note.issued_at.isoformat(),
    }
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def from_text(text: str, credit_note_id: int, statement_id: int) -> CreditNote:
    """The inverse of `to_text`."""
    values = json.loads(text)
    assert values.pop("format") == FORMAT, "credit notes are stored in this format"
    currency = values["currency"]
    values["seller"], values["buyer"] = party_from(values["seller"]), party_from(values["buyer"])
    values["lines"] = tuple(_line_from(line, currency) for line in values["lines"])
    values["taxes"] = tuple(tax_line_from(tax, currency) for tax in values["taxes"])
    values["issued_at"] = datetime.fromisoformat(values["issued_at"])
    return CreditNote(**values, credit_note_id=credit_note_id, statement_id=statement_id)


def _line_values(line: CreditNoteLine) -> dict[str, Any]:
    return {
        "number": line.number,
        "key": line.key,
        "product": line.product,
        "title": dict(line.title),
        "service_start": line.service_start.isoformat(),
        "service_end": line.service_end.isoformat(),
        "line_amount_minor": line.line_amount.amount_minor,
        "amount_minor": line.amount.amount_minor,
        "tax_minor": line.tax.amount_minor,
        "tax_name": line.tax_name,
        "tax_rate": f"{line.tax_rate:f}",
        "fraction": str(line.fraction),
    }


def _line_from(values: dict[str, Any], currency: str) -> CreditNoteLine:
    return CreditNoteLine(
        number=values["number"],
        key=values["key"],
        product=values["product"],
        title=values["title"],
        service_start=date.fromisoformat(values["service_start"]),
        service_end=date.fromisoformat(values["service_end"]),
        line_amount=Money(values["line_amount_minor"], currency),
        amount=Money(values["amount_minor"], currency),
        tax=Money(values["tax_minor"], currency),
        tax_name=values["tax_name"],
        tax_rate=Decimal(values["tax_rate"]),
        fraction=Fraction(values["fraction"]),
    )
