"""Statement: what a buyer owes for a period, and its one canonical text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from billing.contracts.party_terms import Party
from billing.money import Money
from billing.period import Period
from billing.rating.price_list import PatientCharge, charge_from, charge_values
from billing.rating.rate import RatedLine, line_from, line_values
from billing.rating.site_parts import SitePart, SiteTotal, total_from, total_values
from billing.rating.tax import TaxLine

FORMAT = 1


@dataclass(frozen=True)
class StatementLine:
    """number: from 1. tax: this line's stored part of its group's tax.

    sites: each site's part of both; only while composing and issuing, see `sites.of_statement` for later.
    """

    number: int
    rated: RatedLine
    tax: Money
    sites: tuple[SitePart, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Statement:
    """A draft (`statement_id`, `number`, `issued_at` and `due_on` are None) or an issued statement.

    not_charged: how many events of the period were not charged, by reason code.
    cutoff_sequence: every decision up to this sequence is in it. quarantined_count: events that still wait.
    is_closed_early: issued before the period's end; later usage of the period comes as a correction.
    due_on: local day, inclusive.
    payer: who owes it; the buyer, unless the contract has `payers`. site_totals: its sums by site and department,
        where the contract has `site_statements`. patient_charges: what the hospital may charge patients for the
        period's results, where the contract has a `price_list`; no part of the total.
    """

    tenant: str
    contract_id: int
    contract_name: str
    contract_version: int
    contract_sha256: str
    seller: Party
    buyer: Party
    payer: Party
    currency: str
    period: Period
    lines: tuple[StatementLine, ...]
    taxes: tuple[TaxLine, ...]
    not_charged: Mapping[str, int]
    charged_event_count: int
    quarantined_count: int
    cutoff_sequence: int
    inputs_digest: str
    output_digest: str
    payment_terms_days: int
    is_closed_early: bool = False
    statement_id: int | None = None
    number: str | None = None
    issued_at: datetime | None = None
    due_on: date | None = None
    site_totals: tuple[SiteTotal, ...] = ()
    patient_charges: tuple[PatientCharge, ...] = ()

    @property
    def status(self) -> str:
        return "draft" if self.number is None else "issued"

    @property
    def subtotal(self) -> Money:
        """Sum of the lines, tax excluded."""
        return sum((line.rated.amount for line in self.lines), Money.zero(self.currency))

    @property
    def tax(self) -> Money:
        return sum((tax.tax for tax in self.taxes), Money.zero(self.currency))

    @property
    def total(self) -> Money:
        return self.subtotal + self.tax

    def evolve(self, **changes: Any) -> Statement:
        return replace(self, **changes)


def to_text(statement: Statement) -> str:
    """The statement as canonical JSON: what is stored at issue and never changes. Without its row id."""
    values = {
        "format": FORMAT,
        "tenant": statement.tenant,
        "contract_id": statement.contract_id,
        "contract_name": statement.contract_name,
        "contract_version": statement.contract_version,
        "contract_sha256": statement.contract_sha256,
        "seller": asdict(statement.seller),
        "buyer": asdict(statement.buyer),
        "payer": asdict(statement.payer),
        "currency": statement.currency,
        "period": _period_values(statement.period),
        "lines": [
            {**line_values(line.rated), "tax_minor": line.tax.amount_minor} for line in statement.lines
        ],
        "taxes": [tax_values(tax) for tax in statement.taxes],
        "not_charged": dict(statement.not_charged),
        "charged_event_count": statement.charged_event_count,
        "quarantined_count": statement.quarantined_count,
        "cutoff_sequence": statement.cutoff_sequence,
        "inputs_digest": statement.inputs_digest,
        "output_digest": statement.output_digest,
        "payment_terms_days": statement.payment_terms_days,
        "is_closed_early": statement.is_closed_early,
        "site_totals": [total_values(total) for total in statement.site_totals],
        "patient_charges": [charge_values(charge) for charge in statement.patient_charges],
        "number": statement.number,
        "issued_at": statement.issued_at.isoformat() if statement.issued_at else None,
        "due_on": statement.due_on.isoformat() if statement.due_on else None,
    }
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def digest(text: str) -> str:
    """SHA-256 (hex) of a statement's canonical text."""
    return hashlib.sha256(text.encode()).hexdigest()


def from_text(text: str, statement_id: int | None) -> Statement:
    """The inverse of `to_text`."""
    values = json.loads(text)
    assert values.pop("format") == FORMAT, "statements are stored in this format"
    currency = values["currency"]
    values["seller"], values["buyer"] = party_from(values["seller"]), party_from(values["buyer"])
    # Statements from before there were payers and sites say nothing of them.
    values["payer"] = party_from(values["payer"]) if "payer" in values else values["buyer"]
    values["site_totals"] = tuple(total_from(one, currency) for one in values.get("site_totals", ()))
    values["patient_charges"] = tuple(charge_from(one, currency) for one in values.get("patient_charges", ()))
    values["period"] = _period(values["period"])
    values["lines"] = tuple(
        StatementLine(number, line_from(line), Money(line["tax_minor"], currency))
        for number, line in enumerate(values["lines"], start=1)
    )
    values["taxes"] = tuple(tax_line_from(tax, currency) for tax in values["taxes"])
    values["issued_at"] = datetime.fromisoformat(values["issued_at"]) if values["issued_at"] else None
    values["due_on"] = date.fromisoformat(values["due_on"]) if values["due_on"] else None
    return Statement(**values, statement_id=statement_id)


def tax_values(tax: TaxLine) -> dict[str, Any]:
    return {
        "name": tax.name,
        "rate": f"{tax.rate:f}",
        "base_minor": tax.base.amount_minor,
        "tax_minor": tax.tax.amount_minor,
    }


def tax_line_from(values: dict[str, Any], currency: str) -> TaxLine:
    base, tax = Money(values["base_minor"], currency), Money(values["tax_minor"], currency)
    return TaxLine(values["name"], Decimal(values["rate"]), base, tax)


def _period_values(period: Period) -> dict[str, Any]:
    return {
        "starts_on": period.starts_on.isoformat(),
        "ends_on": period.ends_on.isoformat(),
        "time_zone": period.time_zone,
        "full_days": period.full_days,
    }


def _period(values: dict[str, Any]) -> Period:
    starts_on, ends_on = date.fromisoformat(values["starts_on"]), date.fromisoformat(values["ends_on"])
    return Period(starts_on, ends_on, values["time_zone"], values["full_days"])


def party_from(values: dict[str, Any]) -> Party:
    lists = {key: tuple(values[key]) for key in ("address", "bank_details")}
    return Party(**{**values, **lists})
