"""Random months of usage, late and repeated, against a naive rater that knows none of this code."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

import pytest

from billing.books import ledger
from billing.contracts import store
from billing.errors import StatementIsNegative
from billing.metering import meter
from billing.metering.usage import UsageEvent
from billing.statements import statement

TENANT = "hospital-a"
SHANGHAI = ZoneInfo("Asia/Shanghai")
MakeEvent = Callable[..., UsageEvent]


def naive_graduated(units: Decimal) -> Decimal:
    """Fen for a month of the graduated example, unit by unit in thousandths: plain loops, no shared code."""
    priced = max(Decimal(0), units - 10)
    tiers = (
        (Decimal(100), Decimal(8000)),
        (Decimal(400), Decimal(6000)),
        (Decimal("Infinity"), Decimal(4550)),
    )
    fen = Decimal(0)
    for size, price in tiers:
        in_tier = min(priced, size)
        fen += (in_tier * price).quantize(Decimal(1), ROUND_HALF_UP)
        priced -= in_tier
    return fen


def naive_per_case(units: Decimal) -> Decimal:
    return (units * 10000).quantize(Decimal(1), ROUND_HALF_UP)


def naive_package(units: Decimal) -> Decimal:
    packages = 0
    while packages * 50 < units:
        packages += 1
    return Decimal(packages * 350000)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("fixture", "naive", "anchor", "fee"),
    [
        ("per_case", naive_per_case, 1, 0),
        ("graduated", naive_graduated, 1, 0),
        ("package", naive_package, 15, 50000),
    ],
)
def test_corrections_add_up_to_one_full_rating(
    transact,
    make_event: MakeEvent,
    request: pytest.FixtureRequest,
    fixture,
    naive,
    anchor: int,
    fee: int,
    seed: int,
) -> None:
    rng = random.Random(f"{fixture}{seed}")
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, request.getfixturevalue(fixture))
    sent: dict[str, UsageEvent] = {}
    charged: dict[tuple[int, int], Decimal] = defaultdict(Decimal)
    cases: set[str] = set()
    billed: list[tuple[int, int]] = []
    for month in range(2, 8):
        with transact() as conn:
            for _ in range(rng.randrange(40)):
                event = _some_event(rng, make_event, sent, month)
                decision = meter.record(conn, event, received_at=datetime(2027, 1, 1, tzinfo=UTC))
                if event.event_id in sent:
                    continue  # sent again: nothing new
                sent[event.event_id] = event
                expected = event.kind == "result_delivered" and event.case_key not in cases
                assert decision.is_billable == expected
                if expected:
                    cases.add(event.case_key)
                    charged[_period(event.occurred_at, anchor)] += event.quantity
        at = datetime(2026, month, 20, tzinfo=SHANGHAI)
        with transact() as conn:
            try:
                statement.issue(conn, TENANT, contract_id, at, now=datetime(2027, 1, 1, tzinfo=UTC), nil=True)
            except StatementIsNegative:
                continue
        billed.append(_period(at, anchor))
    _compare(transact, billed, charged, naive, fee)


def _some_event(
    rng: random.Random, make_event: MakeEvent, sent: dict[str, UsageEvent], month: int
) -> UsageEvent:
    """A delivery of this month or an earlier one; sometimes a repeat, a case seen before, or a refusal."""
    if sent and rng.random() < 0.1:
        return rng.choice(list(sent.values()))
    late = rng.choice([0, 0, 0, 1, 2])
    start = datetime(2026, max(2, month - late), 15, tzinfo=SHANGHAI)
    number = len(sent)
    return make_event(
        number,
        event_id=f"e{number}",
        occurred_at=start + timedelta(minutes=rng.randrange(13 * 24 * 60)),
        quantity=rng.choice([Decimal(1), Decimal(1), Decimal(30), Decimal("2.5"), Decimal("0.333333")]),
        case_key=rng.choice([f"case-{number}", f"case-{number}", "case-1"]),
        kind=rng.choice(["result_delivered"] * 5 + ["refused"]),
    )


def _period(instant: datetime, anchor: int) -> tuple[int, int]:
    local = instant.astimezone(SHANGHAI)
    if local.day >= anchor:
        return local.year, local.month
    return (local.year, local.month - 1) if local.month > 1 else (local.year - 1, 12)


def _compare(transact, billed, charged, naive, fee: int) -> None:
    """Periods up to the last billed one hold exactly what a full rating of them gives."""
    with transact() as conn:
        issued = store.list_statements(conn, TENANT)
        assert ledger.check(conn, TENANT) == []
    by_service: dict[tuple[int, int], int] = defaultdict(int)
    for one in issued:
        assert one.subtotal.amount_minor == sum(line.rated.amount.amount_minor for line in one.lines)
        assert one.tax.amount_minor == sum(line.tax.amount_minor for line in one.lines)
        for line in one.lines:
            start = line.rated.service_start
            by_service[start.year, start.month] += line.rated.amount.amount_minor
    expected = {period: int(naive(charged[period])) + fee for period in billed}
    assert {period: by_service[period] for period in billed} == expected
