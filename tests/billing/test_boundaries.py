"""A month is as long as its zone makes it, and a microsecond decides which one an event belongs to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from billing.books import ledger
from billing.contracts import store
from billing.metering import meter
from billing.metering.usage import UsageEvent
from billing.statements import statement

TENANT = "hospital-a"
MICROSECOND = timedelta(microseconds=1)
MakeEvent = Callable[..., UsageEvent]


@pytest.mark.parametrize(
    ("zone", "month", "hours"),
    [
        ("Asia/Shanghai", 11, 720),
        ("America/New_York", 11, 721),
        ("America/New_York", 3, 743),
        ("Europe/London", 3, 743),
        ("Europe/London", 10, 745),
        ("Asia/Kolkata", 2, 672),
    ],
)
def test_first_and_last_microsecond_are_billed_in_their_month(
    transact, make_event: MakeEvent, per_case: str, zone: str, month: int, hours: int
) -> None:
    text = per_case.replace("Asia/Shanghai", zone).replace("2026-01-01", "2025-12-01")
    start = datetime(2026, month, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    end = start + timedelta(hours=hours)
    now = end + timedelta(days=70)
    instants = [start - MICROSECOND, start, end - MICROSECOND, end, end + MICROSECOND]
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, text)
        for number, at in enumerate(instants):
            meter.record(
                conn, make_event(number, occurred_at=at, quantity=Decimal(10) ** number), received_at=now
            )
        billed = [
            statement.issue(conn, TENANT, contract_id, at, now=now).lines[0].rated.quantity
            for at in (start - MICROSECOND, start, end)
        ]
        assert billed == [1, 110, 11000]
        assert ledger.check(conn, TENANT) == []


@pytest.mark.parametrize(
    ("currency", "price", "lines", "tax", "total"),
    [
        ("JPY", "0.50000000", "2", "0", "2"),  # 3 × 0.5 = 1.5, a half away from zero; tax 0.13
        ("CNY", "0.33333333", "1.00", "0.07", "1.07"),
        ("KWD", "1.23456789", "3.704", "0.241", "3.945"),
        ("KWD", "0.00000001", "0.000", "0.000", "0.000"),
    ],
)
def test_eight_decimals_become_the_minor_unit_once(
    transact,
    make_event: MakeEvent,
    per_case: str,
    currency: str,
    price: str,
    lines: str,
    tax: str,
    total: str,
) -> None:
    text = per_case.replace("currency: CNY", f"currency: {currency}").replace("100.00", price)
    noon = datetime(2026, 11, 10, 4, tzinfo=UTC)
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, text.replace("rate: 0.06", "rate: 0.065"))
        for number in range(3):
            meter.record(conn, make_event(number), received_at=noon + timedelta(days=1))
        issued = statement.issue(conn, TENANT, contract_id, noon, now=noon + timedelta(days=40))
        assert (str(issued.subtotal), str(issued.tax), str(issued.total)) == (lines, tax, total)
        assert ledger.check(conn, TENANT) == []
