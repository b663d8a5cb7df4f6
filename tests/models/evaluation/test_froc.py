"""FROC: a case counted by hand, and intervals against plain resampling."""

import numpy as np
import pytest

from models.evaluation.froc import RATES, Marked, Real, froc_interval, interval_at, match

Scan = tuple[list[Marked], list[Real]]


def made_scans(count: int, seed: int) -> list[Scan]:
    """Scans with 0 to 3 nodules that are mostly found, and a few false marks."""
    rng = np.random.default_rng(seed)
    scans = []
    for _ in range(count):
        truths = [Real((60.0 * i, 0, 0), 10, "solid") for i in range(rng.integers(0, 4))]
        marks = [Marked(t.center_mm, 9, float(rng.beta(5, 2))) for t in truths if rng.random() < 0.8]
        marks += [Marked((0, 500.0, 9.0 * i), 5, float(rng.beta(1, 5))) for i in range(rng.poisson(3))]
        scans.append((marks, truths))
    return scans


def test_froc_of_a_case_counted_by_hand() -> None:
    truths = [Real((0, 0, 0), 10, "solid"), Real((50, 0, 0), 6, "solid")]
    marks = [
        Marked((1, 1, 0), 9, 0.9),  # hit
        Marked((0, 3, 0), 9, 0.8),  # second hit on the same nodule: counts as nothing
        Marked((50, 4, 0), 6, 0.7),  # 4 mm from a nodule of 3 mm radius: false positive
        Marked((50, 1, 0), 6, 0.6),  # hit, found after one false positive
    ]
    result = match([(marks, truths)])
    assert result.false_positive_scores.tolist() == [0.7]
    assert result.sensitivity(result.threshold_at(0.5)) == 0.5
    assert result.sensitivity(result.threshold_at(1.0)) == 1.0
    assert result.false_positives_per_scan(0.65) == 1.0


def test_the_interval_is_that_of_resampling_the_scans_themselves() -> None:
    scans = made_scans(25, seed=1)
    matches = match(scans)
    found = froc_interval(matches, seed=7, repeats=300)
    rng = np.random.default_rng(7)
    weights = rng.multinomial(25, np.full(25, 1 / 25), 300)
    plain = [
        match([scan for scan, n in zip(scans, w, strict=True) for _ in range(n)]).froc() for w in weights
    ]
    for rate in RATES:
        low, high = np.quantile([one[rate] for one in plain], (0.025, 0.975))
        assert (found.sensitivity[rate].low, found.sensitivity[rate].high) == pytest.approx((low, high))
        assert found.sensitivity[rate].value == matches.froc()[rate]
    assert found.cpm.low <= found.cpm.value <= found.cpm.high
    assert found.cpm.count == 25


def test_more_scans_narrow_the_interval() -> None:
    few, many = (froc_interval(match(made_scans(n, seed=2))).cpm for n in (15, 240))
    assert many.high - many.low < (few.high - few.low) / 2


def test_an_operating_point_has_intervals_of_both_of_its_sides() -> None:
    matches = match(made_scans(40, seed=3))
    sensitivity, false = interval_at(matches, 0.4)
    assert sensitivity.value == matches.sensitivity(0.4)
    assert false.value == matches.false_positives_per_scan(0.4)
    assert sensitivity.low < sensitivity.value < sensitivity.high
    assert false.low < false.value < false.high


def test_some_of_the_scans_are_counted_as_if_there_were_no_others() -> None:
    scans = made_scans(12, seed=4)
    chosen = frozenset({1, 5, 6, 10})
    part, alone = match(scans).only(chosen), match([scans[i] for i in sorted(chosen)])
    assert part.nodules == alone.nodules
    assert part.false_positive_scans.tolist() == alone.false_positive_scans.tolist()
    assert part.froc() == alone.froc()


def test_scans_without_nodules_have_no_sensitivity() -> None:
    matches = match([([Marked((0, 0, 0), 5, 0.5)], []), ([], [])])
    assert np.isnan(matches.cpm())
    assert np.isnan(froc_interval(matches).cpm.low)
    assert matches.false_positives_per_scan(0.5) == 0.5


def test_no_scan_at_all_measures_nothing() -> None:
    assert np.isnan(match([]).false_positives_per_scan(0.5))
