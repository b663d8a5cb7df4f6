import math

import pytest

from models.ops.growth import Sized, growth
from study.nodule import Growth, NoduleKind, Trend, growth_from_json


def ball(diameter_mm: float, slice_mm: float = 1.0, kind: NoduleKind = NoduleKind.SOLID) -> Sized:
    return Sized(math.pi / 6 * diameter_mm**3, slice_mm, kind)


def test_a_doubled_volume_doubles_in_the_time_between() -> None:
    found = growth(ball(12.6), ball(10.0), 100)
    assert found.trend is Trend.GROWN
    assert found.change_percent == pytest.approx(100, abs=1)
    assert found.doubling_days == pytest.approx(100, abs=1)


def test_the_interval_holds_the_doubling_time_and_opens_where_no_growth_is_possible_too() -> None:
    sure = growth(ball(12.6), ball(10.0), 100).doubling_days_interval
    assert sure is not None
    assert sure[1] is not None
    assert sure[0] < 100 < sure[1]
    unsure = growth(ball(6.3), ball(6.0), 100)
    assert unsure.trend is Trend.UNCHANGED
    assert unsure.doubling_days is not None
    assert unsure.doubling_days_interval is not None
    assert unsure.doubling_days_interval[1] is None
    assert unsure.change_percent_interval[0] < 0 < unsure.change_percent < unsure.change_percent_interval[1]


def test_what_shrank_has_no_doubling_time() -> None:
    found = growth(ball(8.0), ball(12.0), 100)
    assert (found.trend, found.doubling_days, found.doubling_days_interval) == (Trend.SHRUNK, None, None)
    assert found.change_percent == pytest.approx(100 * ((8 / 12) ** 3 - 1))


@pytest.mark.parametrize("days", [0, -5, None])
def test_no_time_between_gives_a_change_and_no_doubling_time(days: int | None) -> None:
    found = growth(ball(12.6), ball(10.0), days)
    assert found.change_percent == pytest.approx(100, abs=1)
    assert (found.doubling_days, found.doubling_days_interval) == (None, None)


@pytest.mark.parametrize(
    ("wider", "narrower"),
    [
        (ball(10.0, 5.0), ball(10.0, 1.0)),
        (ball(5.0), ball(10.0)),
        (ball(10.0, kind=NoduleKind.GROUND_GLASS), ball(10.0)),
    ],
    ids=["thick slices", "small", "faint"],
)
def test_the_interval_widens_with(wider: Sized, narrower: Sized) -> None:
    widths = [
        growth(one, one, 100).change_percent_interval[1] - growth(one, one, 100).change_percent_interval[0]
        for one in (wider, narrower)
    ]
    assert widths[0] > 1.3 * widths[1]


def test_a_nodule_of_6_mm_on_1_mm_slices_repeats_within_30_percent() -> None:
    """As repeated scans of patients did: ± 27 % at 98 mm³."""
    low, high = growth(ball(6.0), ball(6.0), 100).change_percent_interval
    assert -30 < low < -20
    assert 25 < high < 42


def test_a_stored_growth_is_read_back() -> None:
    found = growth(ball(6.3), ball(6.0), 100)
    stored = {
        "trend": "unchanged",
        "change_percent": found.change_percent,
        "change_percent_interval": list(found.change_percent_interval),
        "doubling_days": found.doubling_days,
        "doubling_days_interval": list(found.doubling_days_interval or ()),
    }
    assert growth_from_json(stored) == found
    assert isinstance(growth_from_json(stored), Growth)


def test_a_volume_of_nothing_is_no_volume() -> None:
    with pytest.raises(ValueError, match="has a volume"):
        growth(Sized(0.0, 1.0), ball(5.0), 100)
