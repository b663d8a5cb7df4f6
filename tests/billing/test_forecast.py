"""The forecast to the month's end: each day left brings what its weekday brought lately, with its range."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from billing.contracts import store
from billing.guarding import forecast
from billing.metering import meter
from tests.billing.conftest import TENANT
from tests.billing.limits_builders import with_limits

# Sunday 15 November 2026, noon in Shanghai: fifteen days are left, of which Mondays to Fridays eleven.
NOW = datetime(2026, 11, 15, 4, tzinfo=UTC)


@pytest.fixture
def forecast_of(transact, per_case: str, make_event):
    """`forecast_of(by_weekday)`: four weeks before now bring that many cases on each weekday (0 = Monday)."""

    def make(
        brought: dict[int, tuple[int, int, int, int]], today: int = 0, text: str = per_case
    ) -> forecast.Forecast:
        with transact() as conn:
            contract_id = store.add_contract(conn, TENANT, text)
            number = 0
            for back in range(28, -1, -1):
                at = NOW - timedelta(days=back)
                week, weekday = divmod(28 - back, 7)[0], at.weekday()
                count = today if back == 0 else brought.get(weekday, (0, 0, 0, 0))[week]
                for _ in range(count):
                    number += 1
                    meter.record(conn, make_event(number, occurred_at=at), received_at=at)
            stored = store.contract_at(conn, TENANT, contract_id, NOW)
            found = forecast.to_month_end(conn, TENANT, stored, now=NOW)
        assert found is not None
        return found

    return make


def test_each_day_brings_the_mean_of_its_weekday_and_the_range_is_the_least_and_the_most(forecast_of) -> None:
    """Mondays brought 1, 2, 3, 6: three on average; the Mondays 16, 23 and 30 November are left."""
    found = forecast_of({0: (1, 2, 3, 6)})
    assert found.days_seen == 28
    assert found.so_far.quantity == 3 + 6  # the Mondays 2 and 9 November
    assert [one.quantity for one in (found.low, found.expected, found.high)] == [9 + 3, 9 + 9, 9 + 18]
    assert [str(one.amount) for one in (found.so_far, found.low, found.expected, found.high)] == [
        "900.00", "1,200.00", "1,800.00", "2,700.00",
    ]  # fmt: skip


def test_what_today_brought_counts_as_it_is_or_as_expected_if_that_is_more(forecast_of) -> None:
    sundays = {6: (2, 2, 2, 2)}
    assert (
        forecast_of(sundays, today=5).expected.quantity == (2 + 2 + 5) + 2 * 2
    )  # 1 and 8 November, two are left
    assert forecast_of(sundays, today=5).so_far.quantity == 9


def test_today_still_expects_the_rest_of_its_usual_number(forecast_of) -> None:
    assert forecast_of({6: (4, 4, 4, 4)}, today=1).expected.quantity == (4 + 4 + 4) + 2 * 4


def test_a_contract_of_two_days_knows_two_days(forecast_of, per_case: str) -> None:
    """Friday brought 3, Saturday none: a weekday that has not occurred is the mean of what has."""
    found = forecast_of({4: (0, 0, 0, 3)}, text=per_case.replace("2026-01-01", "2026-11-13"))
    assert found.days_seen == 2
    assert (found.low.quantity, found.high.quantity) == (
        3 + 2 * 3,
        3 + 2 * 3 + 12 * 3,
    )
    assert (
        found.expected.quantity == 3 + 2 * 3 + 18
    )  # Fridays 20 and 27; twelve other days of one and a half each


def test_without_usage_there_is_nothing_to_expect(forecast_of) -> None:
    found = forecast_of({})
    assert (found.high.quantity, str(found.high.amount)) == (0, "0.00")


def test_before_the_contract_there_is_no_forecast(transact, per_case: str) -> None:
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, with_limits(per_case))
        stored = store.contract_at(conn, TENANT, contract_id, NOW)
        assert forecast.to_month_end(conn, TENANT, stored, now=datetime(2025, 1, 1, tzinfo=UTC)) is None
