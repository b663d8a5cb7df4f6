"""A usage event that exists is whole, and holds no identifier of a study."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from billing.errors import IdentifierInUsage, InvalidUsageEvent
from billing.metering.usage import UsageEvent
from billing.metering.usage_csv import read_csv

MakeEvent = Callable[..., UsageEvent]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "delivered"},
        {"quantity": Decimal(0)},
        {"quantity": Decimal(-1)},
        {"quantity": Decimal("NaN")},
        {"quantity": Decimal("0.0000001")},
        {"quantity": Decimal(10) ** 13},
        {"quantity": 1.5},
        {"occurred_at": datetime(2026, 11, 1)},  # noqa: DTZ001 - the missing zone is the point
        {"event_id": ""},
        {"event_id": "a\nb"},
        {"study_ref": "x" * 201},
        {"dimensions": {"patient_name": "x"}},
        {"dimensions": {"purpose": "fun"}},
        {"evidence": {"Bad Key": "x"}},
        {"evidence": {"score": 0.5}},
    ],
)
def test_an_event_cannot_be_built_wrong(make_event: MakeEvent, changes: dict[str, object]) -> None:
    with pytest.raises(InvalidUsageEvent):
        make_event(1, **changes)


@pytest.mark.parametrize("field", ["study_ref", "event_id", "case_key", "product"])
def test_a_uid_is_refused_wherever_it_stands_and_not_repeated(make_event: MakeEvent, field: str) -> None:
    """Invariant 5: no UIDs or accession numbers in billing."""
    uid = "1.2.840.113619.2.55.3.604688119"
    with pytest.raises(IdentifierInUsage) as caught:
        make_event(1, **{field: f"study {uid}"})
    assert uid not in str(caught.value)
    with pytest.raises(IdentifierInUsage):
        make_event(1, evidence={"object": uid})


def test_versions_addresses_and_our_own_ids_pass(make_event: MakeEvent) -> None:
    event = make_event(
        1,
        study_ref="7f0c2f52-1a0c-4d63-bb3b-0a4c4f3f2b11",
        dimensions={"model_version": "1.2.0", "sending_peer": "PACS_1"},
        evidence={"revision": 2, "destination": "10.0.0.5"},
    )
    assert event.purpose == "clinical"


def test_the_same_fact_has_the_same_hash_however_it_is_spelled(make_event: MakeEvent) -> None:
    event = make_event(1, quantity=Decimal("1.50"))
    elsewhere = event.occurred_at.astimezone(timezone(timedelta(hours=8)))
    same = make_event(1, quantity=Decimal("1.5"), occurred_at=elsewhere)
    assert same.payload_hash == event.payload_hash
    assert make_event(1, quantity=Decimal("1.51")).payload_hash != event.payload_hash


def test_usage_is_read_from_csv_with_defaults() -> None:
    events = read_csv(
        "\ufeffproduct,occurred_at,quantity\nct,2026-11-01T00:00:00+08:00,2\nct,2026-11-02T00:00Z,\n"
    )
    assert [event.quantity for event in events] == [Decimal(2), Decimal(1)]
    assert len({event.case_key for event in events}) == 2


@pytest.mark.parametrize(
    "row", ["ct,yesterday,1", "ct,2026-11-01T00:00:00,1", "ct,2026-11-01T00:00Z,many", ",2026-11-01T00:00Z,1"]
)
def test_a_bad_row_is_named(row: str) -> None:
    with pytest.raises(InvalidUsageEvent, match="row 2"):
        read_csv(f"product,occurred_at,quantity\n{row}\n")


CARRIED = {"amount_minor": 12_50, "amount_currency": "CNY"}
VERDICT = {"kind": "outcome", "dimensions": {"verdict": "accepted"}}


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": 1},
        {"amount_currency": "CNY"},
        {"amount_minor": 1, "amount_currency": "cny"},
        {"amount_minor": True, "amount_currency": "CNY"},
        {"amount_minor": 1.5, "amount_currency": "CNY"},
        {"amount_minor": 10**16, "amount_currency": "CNY"},
        {"amount_minor": -1, "amount_currency": "CNY"},
        {"kind": "usage"},
        {"kind": "usage", "meter": "result"},
        {"kind": "usage", "meter": "Calls"},
        {"meter": "api_call"},
        {"kind": "outcome"},
        {"kind": "outcome", "dimensions": {"verdict": "perhaps"}},
        {"dimensions": {"verdict": "accepted"}},
        {"dimensions": {"verdict": "perhaps"}},
    ],
)
def test_amounts_meters_and_verdicts_are_whole(make_event: MakeEvent, changes: dict[str, object]) -> None:
    with pytest.raises(InvalidUsageEvent):
        make_event(1, **changes)


def test_only_income_may_be_negative(make_event: MakeEvent) -> None:
    refund = {"amount_minor": -12_50, "amount_currency": "CNY", "kind": "usage"}
    assert make_event(1, **refund, meter="revenue").amount_minor == -12_50
    with pytest.raises(InvalidUsageEvent, match="refunds"):
        make_event(1, **refund, meter="api_call")


def test_each_kind_has_its_meter(make_event: MakeEvent) -> None:
    assert make_event(1).meter == make_event(1, kind="failed").meter == "result"
    assert make_event(1, kind="usage", meter="bed").priced_meter == "bed"
    assert (make_event(1, **VERDICT).meter, make_event(1, **VERDICT).priced_meter) == ("outcome", "result")


def test_what_an_event_could_not_say_before_leaves_its_hash_as_it_was(make_event: MakeEvent) -> None:
    """The hash of this event as it was stored before there were amounts and meters."""
    event = make_event(1, dimensions={"purpose": "clinical"}, evidence={"study": "s", "revision": 2})
    assert event.payload_hash.hex() == "1b4a8f8a84408ff29b118d4a8c09761752496ecf0359827109f2fb4e029c7496"
    said = [make_event(1), make_event(1, **CARRIED), make_event(1, **{**CARRIED, "amount_currency": "EUR"})]
    said += [make_event(1, kind="usage", meter=meter) for meter in ("bed", "api_call")]
    assert len({one.payload_hash for one in said}) == 5


def test_a_csv_carries_dimensions_amounts_and_meters() -> None:
    [event] = read_csv(
        "product,occurred_at,kind,meter,amount_minor,amount_currency,site\n"
        "share,2026-11-01T00:00Z,usage,revenue,-500,CNY,campus-1\n"
    )
    assert (event.meter, event.amount_minor, event.dimensions) == ("revenue", -500, {"site": "campus-1"})
    with pytest.raises(InvalidUsageEvent, match="no such column: price"):
        read_csv("product,occurred_at,price\nct,2026-11-01T00:00Z,1\n")
