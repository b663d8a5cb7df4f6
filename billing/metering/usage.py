"""UsageEvent: one thing that happened and may be worth money, with the key that makes it count once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from json.encoder import encode_basestring_ascii as quoted

from billing.errors import CurrencyUnknown, IdentifierInUsage, InvalidUsageEvent
from billing.money import exponent

QUANTITY_MAX = Decimal(10) ** 12
QUANTITY_DECIMALS_MAX = 6
AMOUNT_MINOR_MAX = 10**15
TEXT_LENGTH_MAX = 200
DIMENSIONS = frozenset(
    {
        "legal_entity",
        "site",
        "campus",
        "department",
        "referring_site",
        "region",
        "grade",
        "specialty",
        "modality",
        "payer_class",
        "patient_class",
        "member",
        "request",
        "trial",
        "item_code",
        "purpose",
        "model",
        "model_version",
        "publisher",
        "api_key",
        "route",
        "sending_peer",
        "revision",
        "verdict",
    }
)
RESULT_METER = "result"
CALL_PRODUCT, CALL_METER = "api", "api_call"
SIGNED_METERS = frozenset({"revenue"})
"""Meters whose carried amount may be negative: income that a share is taken of, and its refunds."""
KEY = re.compile(r"[a-z][a-z0-9_]{0,40}")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]+")
# Five components and more are a UID by form (PS3.5 section 9.1); versions and decimals have fewer.
UID_DOTS_MIN = 4
_UID_LIKE = re.compile(r"(?<![0-9.])[0-9]+(?:\.[0-9]+){4,}(?![0-9.])")


class Kind(StrEnum):
    """What happened. Only a delivered result, a use and an outcome can ever be billable."""

    RESULT_DELIVERED = "result_delivered"
    """Every object of the result was acknowledged by its destination."""
    SEEN_AGAIN = "seen_again"
    """The same input came again; nothing new was made."""
    REFUSED = "refused"
    """The input was unfit for the product."""
    FAILED = "failed"
    """A step could not be done."""
    USAGE = "usage"
    """Use of something that is no study: an API call, an annotated image, a data product, beds. Names its meter."""
    OUTCOME = "outcome"
    """What became of a delivered result; dimension `verdict`."""
    VOID = "void"
    """Another event should not have been recorded; see `billing.void`."""


class Verdict(StrEnum):
    """Value of the dimension `verdict` of an outcome."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NONE = "none"
    """Nobody gave a verdict within the contract's window."""


class Purpose(StrEnum):
    """Value of the dimension `purpose`; anything but clinical is recorded and not billed."""

    CLINICAL = "clinical"
    TEST_PEER = "test_peer"
    SHADOW = "shadow"


_KINDS, PURPOSES, _VERDICTS = frozenset(Kind), frozenset(Purpose), frozenset(Verdict)


@dataclass(frozen=True)
class UsageEvent:
    """One occurrence, as its source tells it.

    source, event_id: unique together within the tenant; derived from the fact, never random.
    quantity: greater than zero, at most 6 decimals.
    occurred_at: the instant of the fact, fixed once by the source; decides the billing period.
    study_ref: our opaque study id, or another opaque reference. case_key: see `meter.case_key`.
    dimensions: values a price may depend on, keys from `DIMENSIONS`.
    evidence: opaque references that let a line be opened down to its proof.
    amount_minor, amount_currency: an amount that the price is taken of, in minor units (ISO 4217); below zero
        only for the meters in `SIGNED_METERS`.
    meter: what was counted; a kind other than `usage` has its own and needs none given.
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
    amount_minor: int | None = None
    amount_currency: str | None = None
    meter: str = ""

    def __post_init__(self) -> None:
        for name in ("tenant", "source", "event_id", "product", "study_ref", "case_key"):
            require_text(name, getattr(self, name))
        if self.kind not in _KINDS:
            raise InvalidUsageEvent("kind", f"{self.kind!r} is none of {', '.join(Kind)}")
        if not self.meter:
            object.__setattr__(self, "meter", METER_OF_KIND.get(self.kind, ""))
        require_meter(self.kind, self.meter)
        _require_amount(self.amount_minor, self.amount_currency, self.meter)
        require_quantity(self.quantity)
        if self.occurred_at.tzinfo is None:
            raise InvalidUsageEvent("occurred_at", "needs a time zone")
        # PostgreSQL keeps microseconds in UTC; the hash must not depend on how the instant was written.
        object.__setattr__(self, "occurred_at", self.occurred_at.astimezone(UTC))
        if not self.dimensions.keys() <= DIMENSIONS:
            unknown = sorted(self.dimensions.keys() - DIMENSIONS)
            raise InvalidUsageEvent("dimensions", f"unknown: {', '.join(unknown)}")
        for group in (self.dimensions, self.evidence):
            for key, value in group.items():
                _require_entry(key, value)
        if self.purpose not in PURPOSES:
            raise InvalidUsageEvent("dimensions", f"purpose {self.purpose!r} is none of {', '.join(Purpose)}")
        verdict = self.dimensions.get("verdict")
        if (verdict not in _VERDICTS) if self.kind == Kind.OUTCOME else verdict is not None:
            raise InvalidUsageEvent("dimensions", f"an outcome alone has a verdict: {', '.join(Verdict)}")

    @classmethod
    def of_checked(cls, fields: Iterable[tuple[str, object]]) -> UsageEvent:
        """One whose every field was checked, with the meter and the instant as they end up above, in UTC."""
        event = object.__new__(cls)
        event.__dict__.update(fields)
        return event

    @property
    def priced_meter(self) -> str:
        """The meter of the rates that speak of this event: whatever becomes of a result speaks of the result."""
        return self.meter if self.kind == Kind.USAGE else RESULT_METER

    @property
    def purpose(self) -> str:
        return self.dimensions.get("purpose", Purpose.CLINICAL)

    @cached_property
    def quantity_text(self) -> str:
        return plain(self.quantity)

    @cached_property
    def occurred_text(self) -> str:
        return self.occurred_at.isoformat()

    @cached_property
    def dimensions_json(self) -> str:
        return json.dumps(dict(self.dimensions), sort_keys=True)

    @cached_property
    def evidence_json(self) -> str:
        return json.dumps(dict(self.evidence), sort_keys=True)

    @cached_property
    def payload_hash(self) -> bytes:
        """SHA-256 of everything the event says; the same fact gives the same hash however it is spelled."""
        return hashlib.sha256(self._payload().encode()).digest()

    def _payload(self) -> str:
        """Everything the event says, as JSON in ASCII with sorted keys. What came into being later is named only
        where it is said, so that the hash of an event recorded before is what it was."""
        amount = ""
        if self.amount_minor is not None:
            amount = f'"amount_currency": "{self.amount_currency}", "amount_minor": {self.amount_minor}, '
        return PAYLOAD % (
            amount,
            quoted(self.case_key),
            self.dimensions_json,
            quoted(self.event_id),
            self.evidence_json,
            kind_said(self.kind, self.meter),
            self.occurred_text,
            quoted(self.product),
            self.quantity_text,
            quoted(self.source),
            quoted(self.study_ref),
            quoted(self.tenant),
        )


PAYLOAD = (
    '{%s"case_key": %s, "dimensions": %s, "event_id": %s, "evidence": %s, %s"occurred_at": "%s", "product": %s, '
    '"quantity": "%s", "source": %s, "study_ref": %s, "tenant": %s}'
)


def kind_said(kind: str, meter: str) -> str:
    """The part of a payload that says the kind, and the meter of a use."""
    return f'"kind": "{kind}", ' + (f'"meter": "{meter}", ' if kind == Kind.USAGE else "")


METER_OF_KIND: Mapping[str, str] = {
    **dict.fromkeys((Kind.RESULT_DELIVERED, Kind.SEEN_AGAIN, Kind.REFUSED, Kind.FAILED), RESULT_METER),
    Kind.OUTCOME: "outcome",
    Kind.VOID: "void",
}


def is_priced_meter(name: str) -> bool:
    """Whether a price can count it: delivered results, or what a use names; never a verdict or a void."""
    return name == RESULT_METER or (bool(KEY.fullmatch(name)) and name not in METER_OF_KIND.values())


def plain(value: Decimal) -> str:
    """`1.5` for 1.50, `100` for 1E+2: one spelling for each number."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def require_text(name: str, value: str) -> None:
    if not isinstance(value, str) or len(value) > TEXT_LENGTH_MAX or not _PRINTABLE.fullmatch(value):
        raise InvalidUsageEvent(name, f"needs 1 to {TEXT_LENGTH_MAX} printable characters")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidUsageEvent(name, "holds half a character")
    if value.count(".") >= UID_DOTS_MIN and _UID_LIKE.search(value):
        raise IdentifierInUsage(name)


def _require_entry(key: str, value: str | int) -> None:
    if not KEY.fullmatch(key):
        raise InvalidUsageEvent(key[:40], "is not a key of lower-case letters, digits and underscores")
    if isinstance(value, str):
        require_text(key, value)
    elif not isinstance(value, int) or isinstance(value, bool):
        raise InvalidUsageEvent(key, "is neither text nor an integer")


def require_quantity(quantity: Decimal) -> None:
    if not isinstance(quantity, Decimal) or not quantity.is_finite() or not 0 < quantity <= QUANTITY_MAX:
        raise InvalidUsageEvent("quantity", f"needs a Decimal above 0 and at most {QUANTITY_MAX:f}")
    decimals = -int(quantity.normalize().as_tuple().exponent)
    if decimals > QUANTITY_DECIMALS_MAX:
        raise InvalidUsageEvent("quantity", f"has more than {QUANTITY_DECIMALS_MAX} decimals")


def require_meter(kind: str, meter: str) -> None:
    """A use names a meter of its own, so that it can never pass for a delivered result."""
    if kind == Kind.USAGE and (not is_priced_meter(meter) or meter == RESULT_METER):
        raise InvalidUsageEvent(
            "meter", "a use names what was counted, in lower-case letters, digits and underscores"
        )
    if kind != Kind.USAGE and meter != METER_OF_KIND[kind]:
        raise InvalidUsageEvent("meter", f"is {METER_OF_KIND[kind]!r} for the kind {str(kind)!r}")


def _require_amount(amount_minor: int | None, currency: str | None, meter: str) -> None:
    if amount_minor is None and currency is None:
        return
    if not isinstance(amount_minor, int) or isinstance(amount_minor, bool) or not isinstance(currency, str):
        raise InvalidUsageEvent("amount_minor", "needs an integer of minor units and amount_currency")
    try:
        exponent(currency)
    except CurrencyUnknown as error:
        raise InvalidUsageEvent("amount_currency", str(error)) from None
    if abs(amount_minor) > AMOUNT_MINOR_MAX:
        raise InvalidUsageEvent("amount_minor", f"is beyond {AMOUNT_MINOR_MAX}")
    if amount_minor < 0 and meter not in SIGNED_METERS:
        raise InvalidUsageEvent("amount_minor", f"is negative, and the meter {meter!r} knows no refunds")
