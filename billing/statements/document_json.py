"""Documents as JSON for other programs; the schema is described in docs/documents.md and only ever grows.

Amounts come as exact text in major units and as an integer of minor units; days of a span are inclusive. Nothing is
in it that is not on the printed document, except the ids that tie lines together.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

from billing.claims.credit_note_record import CreditNote
from billing.claims.reminder_record import Reminder
from billing.contracts.party_terms import Party
from billing.metering.usage import plain
from billing.money import Money
from billing.period import Period
from billing.rating import explain
from billing.rating.price_list import PatientCharge
from billing.rating.site_parts import SiteTotal
from billing.rating.sites import SiteStatement
from billing.rating.tax import TaxLine
from billing.splits.payout_record import PayoutStatement
from billing.statements.paper import last_day
from billing.statements.statement_paper import StatementContext
from billing.statements.statement_record import Statement, StatementLine

Json = dict[str, Any]


def to_bytes(values: Json) -> bytes:
    """UTF-8, keys in the order of the schema, one line feed at the end."""
    return (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode()


def of_statement(statement: Statement, context: StatementContext) -> Json:
    return {
        "schema": "radmeter.statement/1",
        "number": statement.number,
        "status": statement.status,
        "issued_at": _instant(statement.issued_at),
        "due_on": _day(statement.due_on),
        "contract": {"name": statement.contract_name, "version": statement.contract_version},
        "seller": _party(statement.seller),
        "buyer": _party(statement.buyer),
        "payer": _party(statement.payer),
        "period": _period(statement.period),
        "currency": statement.currency,
        "lines": [_statement_line(line) for line in statement.lines],
        "taxes": [_tax(tax) for tax in statement.taxes],
        "subtotal": _money(statement.subtotal),
        "tax": _money(statement.tax),
        "total": _money(statement.total),
        "not_charged": dict(statement.not_charged),
        "sites": [_site_total(one) for one in statement.site_totals],
        "patient_charges": [_patient_charge(one) for one in statement.patient_charges],
        "closed_early": statement.is_closed_early,
        "inputs_sha256": statement.inputs_digest,
        "lines_sha256": statement.output_digest,
        "credit_notes": [
            {"number": note.number, "issued_at": _instant(note.issued_at), "total": _money(note.total)}
            for note in context.credit_notes
        ],
        "open": None if context.open_amount is None else _money(context.open_amount),
        "disputed": None if context.disputed is None else _money(context.disputed),
        "liability": [{"party": name, "share": plain(share)} for name, share in context.liability],
    }


def of_credit_note(note: CreditNote) -> Json:
    return {
        "schema": "radmeter.credit_note/1",
        "number": note.number,
        "statement": note.statement_number,
        "issued_at": _instant(note.issued_at),
        "contract": {"name": note.contract_name},
        "seller": _party(note.seller),
        "buyer": _party(note.buyer),
        "currency": note.currency,
        "reason": note.reason,
        "lines": [
            {
                "line": line.number,
                "key": line.key,
                "product": line.product,
                "title": dict(line.title),
                **_span(line.service_start, line.service_end),
                "line_amount": _money(line.line_amount),
                "fraction_credited_so_far": str(line.fraction),
                "amount": _money(line.amount),
                "tax": _money(line.tax),
            }
            for line in note.lines
        ],
        "taxes": [_tax(tax) for tax in note.taxes],
        "subtotal": _money(note.subtotal),
        "tax": _money(note.tax),
        "total": _money(note.total),
    }


def of_site(part: SiteStatement) -> Json:
    statement = part.statement
    return {
        "schema": "radmeter.site_statement/1",
        "statement": statement.number,
        "site": {"id": part.site, "name": part.name},
        "contract": {"name": statement.contract_name, "version": statement.contract_version},
        "period": _period(statement.period),
        "currency": statement.currency,
        "lines": [
            {
                "line": line.number,
                "kind": line.kind,
                "department": line.department,
                "product": line.product,
                "title": dict(line.title),
                "unit": dict(line.unit),
                **_span(line.service_start, line.service_end),
                "quantity": plain(line.quantity),
                "amount": _money(line.amount),
                "tax": _money(line.tax),
            }
            for line in part.lines
        ],
        "subtotal": _money(part.amount),
        "tax": _money(part.tax),
        "total": _money(part.total),
    }


def of_reminder(reminder: Reminder) -> Json:
    return {
        "schema": "radmeter.reminder/1",
        "number": reminder.number,
        "statement": reminder.statement_number,
        "level": reminder.level,
        "as_of": _day(reminder.as_of),
        "due_on": _day(reminder.due_on),
        "days_overdue": reminder.days_overdue,
        "seller": _party(reminder.seller),
        "payer": _party(reminder.payer),
        "currency": reminder.currency,
        "text": dict(reminder.text),
        "total": _money(reminder.total),
        "open": _money(reminder.still_open),
        "disputed": _money(reminder.disputed),
        "payable": _money(reminder.payable),
    }


def of_payout_statement(statement: PayoutStatement) -> Json:
    return {
        "schema": "radmeter.payout_statement/1",
        "number": statement.number,
        "status": statement.status,
        "issued_at": _instant(statement.issued_at),
        "seller": _party(statement.seller),
        "payee": _party(statement.payee),
        "period": _period(statement.period),
        "currency": statement.currency,
        "lines": [
            {
                "contract": line.contract_name,
                "split": line.split,
                "title": dict(line.title),
                "unit": dict(line.unit),
                **_span(line.service_start, line.service_end),
                "quantity": plain(line.quantity),
                **{
                    name: _money(getattr(line, name))
                    for name in ("base", "earned", "reversed", "released_before", "waiting", "amount")
                },
            }
            for line in statement.lines
        ],
        "guarantees": [
            {
                "contract": line.contract_name,
                "split": line.split,
                **_span(line.period_start, line.period_end),
                "guaranteed": _money(line.guaranteed),
                "earned": _money(line.earned),
                "top_up": _money(line.top_up),
            }
            for line in statement.guarantees
        ],
        **{
            name: _money(getattr(statement, name))
            for name in ("opening", "shares", "guaranteed", "recouped", "paid", "closing", "pending", "to_pay",
                         "advance_outstanding")
        },
    }  # fmt: skip


def _statement_line(line: StatementLine) -> Json:
    rated = line.rated
    return {
        "line": line.number,
        "kind": rated.kind,
        "key": rated.key,
        "product": rated.product,
        "title": dict(rated.title),
        "unit": dict(rated.unit),
        **_span(rated.service_start, rated.service_end),
        "quantity": plain(rated.quantity),
        "unit_price": None if rated.unit_price is None else f"{rated.unit_price:f}",
        "explanation": {language: explain.line(rated.explanation, language) for language in ("en", "zh")},
        "amount": _money(rated.amount),
        "tax": _money(line.tax),
    }


def _site_total(one: SiteTotal) -> Json:
    amounts = {"subtotal": _money(one.amount), "tax": _money(one.tax), "total": _money(one.total)}
    return {"site": one.site, "department": one.department, **amounts}


def _patient_charge(one: PatientCharge) -> Json:
    return {
        "jurisdiction": one.jurisdiction,
        "code": one.code,
        "reason": one.reason,
        "cases": plain(one.cases),
        "unit_amount": _money(one.unit_amount),
        "amount": _money(one.amount),
    }


def _money(amount: Money) -> Json:
    return {"amount": f"{amount.amount:f}", "minor": amount.amount_minor}


def _tax(tax: TaxLine) -> Json:
    return {"name": tax.name, "rate": plain(tax.rate), "base": _money(tax.base), "tax": _money(tax.tax)}


def _party(party: Party) -> Json:
    return {"id": party.id, "name": party.name, "address": list(party.address), "tax_id": party.tax_id}


def _period(period: Period) -> Json:
    return {**_span(period.starts_on, period.ends_on, ""), "time_zone": period.time_zone}


def _span(start: date, end: date, prefix: str = "service_") -> Json:
    return {f"{prefix}first_day": start.isoformat(), f"{prefix}last_day": last_day(end).isoformat()}


def _instant(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _day(value: date | None) -> str | None:
    return None if value is None else value.isoformat()
