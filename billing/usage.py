"""UsageEvent: one thing that happened and may be worth money, with the key that makes it count once."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from billing.errors import IdentifierInUsage, InvalidUsageEvent

QUANTITY_MAX = Decimal(10) ** 12
QUANTITY_DECIMALS_MAX = 6
TEXT_LENGTH_MAX = 200
DIMENSIONS = frozenset(
    {
        "legal_entity",
        "campus",
        "department",
        "referring_site",
        "modality",
        "payer_class",
        "patient_class",
        "purpose",
        "model",
        "model_version",
        "route",
        "sending_peer",
        "revision",
    }
)
_KEY = re.compile(r"[a-z][a-z0-9_]{0,40}")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]+")
# Five components and more are a UID by form (PS3.5 section 9.1); versions and decimals have fewer.
_UID_LIKE = re.compile(r"(?<![0-9.])[0-9]+(?:\.[0-9]+){4,}(?![0-9.])")


class Kind(StrEnum):
    """What happened. Only a delivered result can ever be billable."""

    RESULT_DELIVERED = "result_delivered"
    """Every object of the result was acknowledged by its destination."""
    SEEN_AGAIN = "seen_again"
    """The same input came again; nothing new was made."""
    REFUSED = "refused"
    """The input was unfit for the product."""
    FAILED = "failed"
    """A step could not be done."""


class Purpose(StrEnum):
    """Value of the dimension `purpose`; anything but clinical is recorded and not billed."""

    CLINICAL = "clinical"
    TEST_PEER = "test_peer"
    SHADOW = "shadow"


@dataclass(frozen=True)
class UsageEvent:
    """One occurrence, as its source tells it.

    source, event_id: unique together within the tenant; derived from the fact, never random.
    quantity: greater than zero, at most 6 decimals.
    occurred_at: the instant of the fact, fixed once by the source; decides the billing period.
    study_ref: our opaque study id. case_key: see `meter.case_key`.
    dimensions: values a price may depend on, keys from `DIMENSIONS`.
    evidence: opaque references that let a line be opened down to its proof.
    """

    tenant: str
    source: str
    event_id: str
    kind: str
    product: str
    quantity: Decimal
    occurred_at: datetime
    study_ref: str
    case_key: str
    dimensions: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("tenant", "source", "event_id", "product", "study_ref", "case_key"):
            _require_text(name, getattr(self, name))
        if self.kind not in set(Kind):
            raise InvalidUsageEvent("kind", f"{self.kind!r} is none of {', '.join(Kind)}")
        _require_quantity(self.quantity)
        if self.occurred_at.tzinfo is None:
            raise InvalidUsageEvent("occurred_at", "needs a time zone")
        # PostgreSQL keeps microseconds in UTC; the hash must not depend on how the instant was written.
        object.__setattr__(self, "occurred_at", self.occurred_at.astimezone(UTC))
        unknown = sorted(set(self.dimensions) - DIMENSIONS)
        if unknown:
            raise InvalidUsageEvent("dimensions", f"unknown: {', '.join(unknown)}")
        for group in (self.dimensions, self.evidence):
            for key, value in group.items():
                _require_entry(key, value)
        if self.purpose not in set(Purpose):
            raise InvalidUsageEvent("dimensions", f"purpose {self.purpose!r} is none of {', '.join(Purpose)}")

    @property
    def purpose(self) -> str:
        return self.dimensions.get("purpose", Purpose.CLINICAL)

    @property
    def payload_hash(self) -> bytes:
        """SHA-256 of everything the event says; the same fact gives the same hash however it is spelled."""
        return hashlib.sha256(
            json.dumps(self._payload(), sort_keys=True, ensure_ascii=True).encode()
        ).digest()

    def _payload(self) -> dict[str, object]:
        return {
            "tenant": self.tenant,
            "source": self.source,
            "event_id": self.event_id,
            "kind": str(self.kind),
            "product": self.product,
            "quantity": plain(self.quantity),
            "occurred_at": self.occurred_at.isoformat(),
            "study_ref": self.study_ref,
            "case_key": self.case_key,
            "dimensions": dict(self.dimensions),
            "evidence": dict(self.evidence),
        }


def plain(value: Decimal) -> str:
    """`1.5` for 1.50, `100` for 1E+2: one spelling for each number."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _require_text(name: str, value: str) -> None:
    if not isinstance(value, str) or len(value) > TEXT_LENGTH_MAX or not _PRINTABLE.fullmatch(value):
        raise InvalidUsageEvent(name, f"needs 1 to {TEXT_LENGTH_MAX} printable characters")
    if _UID_LIKE.search(value):
        raise IdentifierInUsage(name)


def _require_entry(key: str, value: str | int) -> None:
    if not _KEY.fullmatch(key):
        raise InvalidUsageEvent(key[:40], "is not a key of lower-case letters, digits and underscores")
    if isinstance(value, str):
        _require_text(key, value)
    elif not isinstance(value, int) or isinstance(value, bool):
        raise InvalidUsageEvent(key, "is neither text nor an integer")


def _require_quantity(quantity: Decimal) -> None:
    if not isinstance(quantity, Decimal) or not quantity.is_finite() or not 0 < quantity <= QUANTITY_MAX:
        raise InvalidUsageEvent("quantity", f"needs a Decimal above 0 and at most {QUANTITY_MAX:f}")
    decimals = -int(quantity.normalize().as_tuple().exponent)
    if decimals > QUANTITY_DECIMALS_MAX:
        raise InvalidUsageEvent("quantity", f"has more than {QUANTITY_DECIMALS_MAX} decimals")


CSV_COLUMNS = ("event_id", "product", "quantity", "occurred_at", "case_key", "kind")


def read_csv(text: str, tenant: str = "simulation") -> list[UsageEvent]:
    """Usage events of a CSV file with a heading, for simulations.

    Needs the columns product and occurred_at (ISO 8601 with offset); event_id and case_key default
    to the row's number, quantity to 1, kind to result_delivered.
    """
    events = []
    for number, row in enumerate(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))), start=2):
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
    return UsageEvent(
        tenant=tenant,
        source="csv",
        event_id=cell("event_id", f"row-{number}"),
        kind=cell("kind", Kind.RESULT_DELIVERED),
        product=cell("product", ""),
        quantity=quantity,
        occurred_at=occurred_at,
        study_ref=f"row-{number}",
        case_key=cell("case_key", f"row-{number}"),
    )
