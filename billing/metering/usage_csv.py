"""Usage events of a CSV file, each cell checked, each mistake named by its row."""

from __future__ import annotations

import csv
import io
from typing import Any

from billing.errors import InvalidUsageEvent
from billing.metering.usage import DIMENSIONS, TEXT_LENGTH_MAX, UsageEvent
from billing.metering.usage_json import read_item

_FIELDS = ("event_id", "kind", "product", "meter", "quantity", "occurred_at", "study_ref", "case_key")
CSV_COLUMNS = (*_FIELDS, "amount_minor", "amount_currency", "received_at", "adjudicator", *sorted(DIMENSIONS))


def read_items(text: str) -> list[dict[str, Any]]:
    """The rows of a CSV file with a heading, in the form that `usage_json.read_item` takes; empty cells say nothing."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    try:
        unknown = sorted(set(reader.fieldnames or ()) - set(CSV_COLUMNS))
        if unknown:
            raise InvalidUsageEvent("row 1", f"no such column: {', '.join(unknown)[:TEXT_LENGTH_MAX]}")
        return [_item(row) for row in reader]
    except csv.Error as problem:
        raise InvalidUsageEvent(f"row {reader.line_num}", f"is not CSV: {problem}") from None


def read_csv(text: str, tenant: str = "simulation") -> list[UsageEvent]:
    """Usage events for simulations.

    Needs the columns product and occurred_at (ISO 8601 with offset); event_id, study_ref and case_key default
    to the row's number, quantity to 1, kind to result_delivered. Other columns are those of `CSV_COLUMNS`;
    adjudicator is the evidence of an outcome.
    """
    events = []
    for number, item in enumerate(read_items(text), start=2):
        own = dict.fromkeys(("event_id", "study_ref", "case_key"), f"row-{number}")
        try:
            event = read_item(own | item, tenant, "csv")
        except InvalidUsageEvent as error:
            raise InvalidUsageEvent(f"row {number}", str(error)) from error
        assert isinstance(event, UsageEvent), "a row has no column for what it voids"
        events.append(event)
    return events


def _item(row: dict[str | None, Any]) -> dict[str, Any]:
    cells = {name: value.strip() for name, value in row.items() if isinstance(value, str) and value.strip()}
    item: dict[str, Any] = {name: cells[name] for name in (*_FIELDS, "amount_currency") if name in cells}
    item["dimensions"] = {name: cells[name] for name in sorted(DIMENSIONS) if name in cells}
    item["evidence"] = {name: cells[name] for name in ("adjudicator",) if name in cells}
    amount = cells.get("amount_minor")
    if amount is not None:
        # Text that is no integer stays text, which is refused with its row.
        item["amount_minor"] = int(amount) if amount.lstrip("-").isdecimal() and len(amount) < 20 else amount
    return item
