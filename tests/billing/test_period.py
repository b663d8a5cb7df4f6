"""Periods are [local midnight, next local midnight) in the contract's zone."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.period import anchor_in, period_of, periods_between

ZONES = [
    "Asia/Shanghai",
    "America/New_York",
    "Europe/Berlin",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "UTC",
]
LONG_AGO = date(2000, 1, 1)
BOUNDS = (datetime(2015, 1, 1), datetime(2040, 1, 1))  # noqa: DTZ001 - hypothesis wants naive bounds


def hours(zone: str, year: int, month: int) -> float:
    period = period_of(datetime(year, month, 15, tzinfo=UTC), zone, 1, LONG_AGO)
    assert period is not None
    return (period.end_at - period.start_at) / timedelta(hours=1)


def test_november_2026_has_721_hours_in_new_york_and_720_in_shanghai() -> None:
    assert hours("America/New_York", 2026, 11) == 721
    assert hours("Asia/Shanghai", 2026, 11) == 720
    assert hours("America/New_York", 2026, 3) == 743


def test_a_millisecond_decides_the_month() -> None:
    midnight = datetime(2026, 11, 30, 16, tzinfo=UTC)  # 1 December in Shanghai
    before = period_of(midnight - timedelta(milliseconds=1), "Asia/Shanghai", 1, LONG_AGO)
    after = period_of(midnight, "Asia/Shanghai", 1, LONG_AGO)
    assert before is not None
    assert after is not None
    assert (before.starts_on, after.starts_on) == (date(2026, 11, 1), date(2026, 12, 1))
    assert before.end_at == after.start_at == midnight


def test_a_day_without_midnight_begins_at_the_change() -> None:
    # São Paulo went from 00:00 to 01:00 on 4 November 2018.
    period = period_of(datetime(2018, 11, 10, tzinfo=UTC), "America/Sao_Paulo", 4, LONG_AGO)
    assert period is not None
    assert period.starts_on == date(2018, 11, 4)
    assert period.start_at == datetime(2018, 11, 4, 3, tzinfo=UTC)


@pytest.mark.parametrize("anchor", [29, 30, 31])
def test_late_anchors_clamp_from_the_anchor_not_from_the_last_period(anchor: int) -> None:
    assert anchor_in(2026, 2, anchor) == date(2026, 2, 28)
    assert anchor_in(2026, 3, anchor) == date(2026, 3, anchor)
    february = period_of(datetime(2026, 3, 5, tzinfo=UTC), "UTC", anchor, LONG_AGO)
    assert february is not None
    assert (february.starts_on, february.ends_on) == (date(2026, 2, 28), date(2026, 3, anchor))


def test_the_first_period_is_short_where_the_contract_began_inside_a_month() -> None:
    period = period_of(datetime(2026, 1, 10, tzinfo=UTC), "UTC", 15, date(2026, 1, 5))
    assert period is not None
    assert (period.starts_on, period.ends_on) == (date(2026, 1, 5), date(2026, 1, 15))
    assert (period.days, period.full_days) == (10, 31)
    assert period_of(datetime(2026, 1, 4, 23, tzinfo=UTC), "UTC", 15, date(2026, 1, 5)) is None


@given(
    st.datetimes(*BOUNDS, timezones=st.just(UTC)),
    st.sampled_from(ZONES),
    st.integers(1, 31),
)
def test_every_instant_lies_in_one_period_and_periods_touch(
    instant: datetime, zone: str, anchor: int
) -> None:
    period = period_of(instant, zone, anchor, LONG_AGO)
    assert period is not None
    assert instant in period
    following = period_of(period.end_at, zone, anchor, LONG_AGO)
    assert following is not None
    assert following.start_at == period.end_at
    assert period_of(period.end_at - timedelta(microseconds=1), zone, anchor, LONG_AGO) == period


def test_periods_between_two_instants_leave_no_gap() -> None:
    first, last = datetime(2026, 1, 20, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)
    grid = periods_between(first, last, "Europe/Berlin", 31, date(2026, 1, 5))
    assert all(a.ends_on == b.starts_on for a, b in itertools.pairwise(grid))
    assert first in grid[0]
    assert last in grid[-1]
