"""Usage events as JSON values, as programs send them: every field checked, exact numbers, nothing unknown taken."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from billing.errors import InvalidUsageEvent
from billing.metering.usage import RESULT_METER, Kind, UsageEvent, require_text
from billing.metering.voids import VoidRequest

ENTRIES_MAX = 40
INTEGER_MAX = 2**63 - 1
FIELDS = frozenset(
    {"event_id", "kind", "product", "meter", "quantity", "occurred_at", "study_ref", "case_key"}
    | {"dimensions", "evidence", "amount_minor", "amount_currency"}
)
_VOID_FIELDS = frozenset({"event_id", "kind", "occurred_at", "voids", "reason"})


def read_item(item: object, tenant: str, source: str) -> UsageEvent | VoidRequest:
    """One event of a batch; raises `InvalidUsageEvent`.

    Needs event_id, product and occurred_at (ISO 8601 with offset). quantity: text or integer, 1 without it. kind:
    result_delivered without it, or `usage` where a meter is named. A result needs the case_key that its question is
    charged once by; without one, a use counts by itself. A void has event_id, occurred_at, voids (an event id of the
    same source) and reason.
    """
    if not isinstance(item, Mapping):
        raise InvalidUsageEvent("event", "needs to be an object")
    is_void = item.get("kind") == Kind.VOID
    if unknown := item.keys() - (_VOID_FIELDS if is_void else FIELDS):
        names = sorted(str(name)[:40] for name in unknown)
        raise InvalidUsageEvent("fields", f"unknown: {', '.join(names[:ENTRIES_MAX])}")
    event_id, occurred_at = _text(item, "event_id"), _instant(item)
    if is_void:
        require_text("event_id", event_id)
        target, reason = _text(item, "voids"), _text(item, "reason")
        for name, text in (("voids", target), ("reason", reason)):
            require_text(name, text)
        return VoidRequest(source, event_id, (source, target), reason, occurred_at)
    meter = _text(item, "meter", "")
    kind = _text(item, "kind", kind_of_meter(meter))
    if kind != Kind.USAGE and "case_key" not in item:
        raise InvalidUsageEvent("case_key", "is missing: the keyed token of the case, which is charged once")
    return UsageEvent(
        tenant=tenant,
        source=source,
        event_id=event_id,
        kind=kind,
        product=_text(item, "product"),
        quantity=read_quantity(item.get("quantity", 1)),
        occurred_at=occurred_at,
        study_ref=_text(item, "study_ref", "none"),
        case_key=_text(item, "case_key", own_case(source, event_id)),
        dimensions=_entries(item, "dimensions"),
        evidence=_entries(item, "evidence"),
        amount_minor=item.get("amount_minor"),
        amount_currency=item.get("amount_currency"),
        meter=meter,
    )


def kind_of_meter(meter: str) -> Kind:
    """What an event is that does not say: a use where it names a meter of its own."""
    return Kind.USAGE if meter not in ("", RESULT_METER) else Kind.RESULT_DELIVERED


def own_case(source: str, event_id: str) -> str:
    """The case key of a use that counts by itself."""
    return hashlib.sha256(f"{source}:{event_id}".encode("utf-8", "replace")).hexdigest()


def _text(item: Mapping[str, object], name: str, default: str | None = None) -> str:
    value = item.get(name, default)
    if value is None:
        raise InvalidUsageEvent(name, "is missing")
    if not isinstance(value, str):
        raise InvalidUsageEvent(name, "needs to be text")
    return value


def _instant(item: Mapping[str, object]) -> datetime:
    try:
        instant = datetime.fromisoformat(_text(item, "occurred_at"))
        if instant.tzinfo is None:
            raise InvalidUsageEvent("occurred_at", "needs a time zone, as in 2026-11-26T08:00:00+08:00")
        return instant.astimezone(UTC)
    except (ValueError, OverflowError) as problem:
        if isinstance(problem, InvalidUsageEvent):
            raise
        raise InvalidUsageEvent("occurred_at", "is not an ISO 8601 time") from None


def read_quantity(value: object) -> Decimal:
    """Exact, or `InvalidUsageEvent`; whether it may be counted the event itself knows."""
    if not isinstance(value, str | int) or isinstance(value, bool) or len(str(value)) > 30:
        raise InvalidUsageEvent("quantity", 'needs a whole number, or exact text like "2.5"')
    try:
        return Decimal(value)
    except InvalidOperation:
        raise InvalidUsageEvent("quantity", "is not a number") from None


def _entries(item: Mapping[str, object], name: str) -> Mapping[str, Any]:
    value = item.get(name, {})
    if not isinstance(value, Mapping) or len(value) > ENTRIES_MAX:
        raise InvalidUsageEvent(name, f"needs to be an object of at most {ENTRIES_MAX} entries")
    if any(isinstance(one, int) and abs(one) > INTEGER_MAX for one in value.values()):
        raise InvalidUsageEvent(name, "has a number that is too large")
    if name == "dimensions" and not all(isinstance(one, str) for one in value.values()):
        raise InvalidUsageEvent(name, "needs texts")
    return value
