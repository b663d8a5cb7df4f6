"""Usage events of a CSV file, each cell checked, each mistake named by its row."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from decimal import Decimal, InvalidOperation

from billing.errors import InvalidUsageEvent
from billing.usage import DIMENSIONS, TEXT_LENGTH_MAX, Kind, UsageEvent

CSV_COLUMNS = (
    *("event_id", "kind", "product", "meter", "quantity", "occurred_at", "study_ref", "case_key"),
    *("amount_minor", "amount_currency", "received_at", "adjudicator", *sorted(DIMENSIONS)),
)


def read_csv(text: str, tenant: str = "simulation") -> list[UsageEvent]:
    """Usage events of a CSV file with a heading, for simulations.

    Needs the columns product and occurred_at (ISO 8601 with offset); event_id, study_ref and case_key default
    to the row's number, quantity to 1, kind to result_delivered. Other columns are those of `CSV_COLUMNS`;
    adjudicator is the evidence of an outcome.
    """
    events = []
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    unknown = sorted(set(reader.fieldnames or ()) - set(CSV_COLUMNS))
    if unknown:
        raise InvalidUsageEvent("row 1", f"no such column: {', '.join(unknown)[:TEXT_LENGTH_MAX]}")
    for number, row in enumerate(reader, start=2):
        try:
            events.append(_read_row(row, number, tenant))
        except InvalidUsageEvent as error:
            raise InvalidUsageEvent(f"row {number}", str(error)) from error
    return events


def _read_row(row: dict[str, str | None], number: int, tenant: str) -> UsageEvent:
    def cell(name: str, default: str) -> str:
        return (row.get(name) or "").strip() or default

    try:
        quantity = Decimal(cell("quantity", "1"))
    except InvalidOperation:
        raise InvalidUsageEvent("quantity", "is not a number") from None
    try:
        occurred_at = datetime.fromisoformat(cell("occurred_at", ""))
    except ValueError:
        raise InvalidUsageEvent("occurred_at", "is not an ISO 8601 time") from None
    try:
        amount_minor = int(cell("amount_minor", "0")) if cell("amount_minor", "") else None
    except ValueError:
        raise InvalidUsageEvent("amount_minor", "is not an integer of minor units") from None
    return UsageEvent(
        tenant=tenant,
        source="csv",
        event_id=cell("event_id", f"row-{number}"),
        kind=cell("kind", Kind.RESULT_DELIVERED),
        product=cell("product", ""),
        quantity=quantity,
        occurred_at=occurred_at,
        study_ref=cell("study_ref", f"row-{number}"),
        case_key=cell("case_key", f"row-{number}"),
        dimensions={name: cell(name, "") for name in sorted(DIMENSIONS) if cell(name, "")},
        evidence={"adjudicator": cell("adjudicator", "")} if cell("adjudicator", "") else {},
        amount_minor=amount_minor,
        amount_currency=cell("amount_currency", "") or None,
        meter=cell("meter", ""),
    )
