"""Drift: known values, and that chance alone gives p-values that are spread evenly."""

import math

import numpy as np
import pytest

from models.evaluation.drift import drift, shares_differ


def test_psi_of_two_values_by_hand() -> None:
    found = drift({"a": 5000, "b": 5000}, {"a": 8000, "b": 2000})
    wanted = (0.8 - 0.5) * math.log(0.8 / 0.5) + (0.2 - 0.5) * math.log(0.2 / 0.5)
    assert found.psi == pytest.approx(wanted, rel=1e-3)
    assert found.p_value < 1e-100
    assert (found.before, found.now) == (10_000, 10_000)


def test_equal_counts_have_not_drifted() -> None:
    found = drift({"a": 70, "b": 30}, {"a": 70, "b": 30})
    assert found.psi == pytest.approx(0)
    assert found.p_value == pytest.approx(1)


def test_rare_values_are_put_together_so_that_one_new_kernel_is_no_drift() -> None:
    before = {"B30f": 200, **{f"rare {i}": 1 for i in range(8)}}
    assert drift(before, {"B30f": 60, "new": 2}).p_value > 0.5


def test_a_value_that_was_never_seen_is_large_drift_and_finite() -> None:
    found = drift({"A": 200}, {"B": 60})
    assert math.isfinite(found.psi)
    assert found.psi > 3
    assert found.p_value < 1e-20


def test_nothing_cannot_be_compared() -> None:
    assert math.isnan(drift({}, {"a": 5}).psi)
    assert drift({"a": 5}, {"a": 9}).psi == 0


def test_chance_alone_gives_small_p_values_as_rarely_as_they_say() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(8))
    names = [str(i) for i in range(8)]
    values = []
    for _ in range(2000):
        before, now = (dict(zip(names, rng.multinomial(n, shares).tolist(), strict=True)) for n in (250, 80))
        values.append(drift(before, now).p_value)
    assert np.mean(np.array(values) < 0.05) == pytest.approx(0.05, abs=0.02)
    assert np.mean(np.array(values) < 0.01) < 0.025


def test_shares_are_compared_exactly() -> None:
    assert shares_differ((1, 10), (1, 10)) == pytest.approx(1)
    assert shares_differ((10, 100), (40, 100)) < 1e-5
    assert shares_differ((0, 0), (5, 10)) == 1
