"""The simulation of a region: laws that every run obeys, and queues whose answer is known in closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.capacity.arrivals import (
    MONDAY_FACTOR,
    OUTSIDE_SHARE,
    Region,
    Trace,
    hourly_weights,
    make_trace,
)
from benchmarks.capacity.model import Model
from benchmarks.capacity.site import Outage, Result, Site
from benchmarks.capacity.step_times import STEPS, StepTimes, constant

DAY = {"first_s": 0.0, "last_s": 86_400.0}


def times(
    step_s: np.ndarray | float, *, step: str = "infer", others_s: float = 0.0, on_gpu: bool = False
) -> StepTimes:
    """One step takes the time, the model all of it on the GPU where there is one."""
    seconds = constant(others_s)
    samples = np.atleast_1d(np.asarray(step_s, float))
    for of in seconds.values():
        of[step] = samples
    return StepTimes(
        seconds,
        network_s=float(samples.max()) if on_gpu else 0.0,
        gpu_s=samples,
        growth=((0.0, 1.0), (1e6, 1.0)),
        measured_slices=1.0,
        waits_s=np.zeros(1),
    )


def poisson(rate: float, count: int, *, emergencies: float = 0.0, seed: int = 1) -> Trace:
    rng = np.random.default_rng(seed)
    everyone = np.ones(count, bool)
    return Trace(
        np.cumsum(rng.exponential(1 / rate, count)),
        rng.integers(0, 5, count),
        everyone,
        rng.uniform(size=count) < emergencies,
        everyone.astype(float),
    )


def region_day() -> Result:
    """A Monday of three hospitals on too few workers, with everything that breaks."""
    trace = make_trace(Region(hospitals=3, studies_per_year=90_000, emergency_share=0.1), 3, **DAY)
    outages = [
        Outage("worker", 0, 9 * 3600.0, 1800.0),
        Outage("gpu", 0, 9.5 * 3600.0, 900.0),
        Outage("gpu", 1, 9.6 * 3600.0, 900.0),
        Outage("pacs", 1, 10 * 3600.0, 1200.0),
    ]
    site = Site(workers=2, gpus=2, max_batch=4, batch_growth=0.5, outages=outages)
    rng = np.random.default_rng(5)
    measured = times(rng.gamma(2.0, 30.0, 500), others_s=12.0, on_gpu=True)
    return Model(trace, site, replace(measured, network_s=20.0), seed=3).run()


@pytest.fixture(scope="module")
def day() -> Result:
    return region_day()


class TestLaws:
    def test_no_study_is_lost_though_workers_gpus_and_archives_go_away(self, day: Result) -> None:
        assert len(day.studies) > 200
        assert [
            one.number for one in day.studies if one.delivered_s < one.arrived_s or one.step != len(STEPS)
        ] == []

    def test_no_resource_takes_a_routine_job_while_an_emergency_waits_for_it(self, day: Result) -> None:
        for resource in ("worker", "gpu"):
            takes = [one for one in day.takes if one.resource == resource]
            for take in takes:
                passed = [
                    other
                    for other in takes
                    if other.rank > take.rank and other.put_s < take.taken_s < other.taken_s
                ]
                assert passed == [], take

    def test_somebody_had_to_wait_or_the_law_before_says_nothing(self, day: Result) -> None:
        waited = [one.taken_s - one.put_s for one in day.takes if one.rank == 10]
        assert max(waited) > 0
        assert {one.resource for one in day.takes} == {"worker", "gpu"}

    def test_no_resource_is_used_for_more_than_all_of_its_time(self, day: Result) -> None:
        assert 0 < day.worker_busy_s <= 2 * day.ended_s
        assert 0 < day.gpu_busy_s <= 2 * day.ended_s

    def test_what_waits_on_average_is_the_rate_times_the_wait(self, day: Result) -> None:
        """Little's law; the two sides are counted apart, one as time goes, one job by job."""
        waited = sum(one.taken_s - one.put_s for one in day.takes if one.resource == "worker")
        assert day.queue_area_s == pytest.approx(waited, rel=1e-9)

    def test_no_batch_is_larger_than_allowed(self, day: Result) -> None:
        assert max(day.batches) <= 4

    def test_the_same_seed_gives_the_same_day(self, day: Result) -> None:
        again = region_day()
        assert [one.delivered_s for one in again.studies] == [one.delivered_s for one in day.studies]

    def test_results_for_an_archive_that_is_away_wait_for_it_and_others_do_not(self, day: Result) -> None:
        away = [one for one in day.studies if 36_000 <= one.delivered_s < 37_200]
        assert 1 not in {one.hospital for one in away}
        assert {one.hospital for one in away} == {0, 2}


class TestQueueingTheory:
    """Means of one run of a stated seed; the tolerance is a few of its standard errors.

    The step that takes time is the last one: after an earlier one a study stands in line again.
    """

    def test_workers_that_share_a_queue_are_m_m_c(self) -> None:
        servers, rho, service = 3, 0.75, 2.0
        exponential = np.random.default_rng(2).exponential(service, 20_000)
        result = Model(
            poisson(rho * servers / service, 12_000),
            Site(workers=servers),
            times(exponential, step="deliver"),
            4,
        ).run()
        offered = rho * servers
        waiting = offered**servers / math.factorial(servers) / (1 - rho)
        probability = waiting / (sum(offered**n / math.factorial(n) for n in range(servers)) + waiting)
        expected = probability * service / (servers * (1 - rho)) + service
        assert result.turnaround_s(emergencies=False).mean() == pytest.approx(expected, rel=0.06)
        assert result.worker_busy_s / (servers * result.ended_s) == pytest.approx(rho, rel=0.03)

    def test_a_gpu_that_takes_one_run_at_a_time_is_m_d_1(self) -> None:
        service, rho = 0.02, 0.8
        result = Model(
            poisson(rho / service, 12_000), Site(workers=300, gpus=1), times(service, on_gpu=True), 4
        ).run()
        expected = rho * service / (2 * (1 - rho)) + service
        assert result.turnaround_s(emergencies=False).mean() == pytest.approx(expected, rel=0.06)
        assert set(result.batches) == {1}

    def test_emergencies_and_others_wait_as_cobham_says(self) -> None:
        """M/G/1 with two priorities and no interruption."""
        service, rate, share = 1.0, 0.8, 0.2
        trace = poisson(rate, 15_000, emergencies=share)
        result = Model(trace, Site(workers=1), times(service, step="deliver"), 4).run()
        residual = rate * service**2 / 2
        urgent, all_of_it = rate * share * service, rate * service
        expected = residual / (1 - urgent) + service
        assert result.turnaround_s(emergencies=True).mean() == pytest.approx(expected, rel=0.06)
        others = residual / ((1 - urgent) * (1 - all_of_it)) + service
        assert result.turnaround_s(emergencies=False).mean() == pytest.approx(others, rel=0.08)

    def test_batches_that_cost_nothing_more_serve_what_one_by_one_would_not(self) -> None:
        trace = poisson(2.0 / 0.02, 4_000)
        batched = Model(
            trace, Site(workers=300, gpus=1, max_batch=16, batch_growth=0.0), times(0.02, on_gpu=True), 4
        ).run()
        assert batched.turnaround_s(emergencies=False).mean() < 3 * 0.02
        assert max(batched.batches) > 1


class TestArrivals:
    def test_the_week_has_the_shares_that_were_published(self) -> None:
        week = hourly_weights().reshape(7, 24)
        assert week.sum() == pytest.approx(1.0)
        assert 1 - week[:5, 8:17].sum() == pytest.approx(OUTSIDE_SHARE)
        assert week[0].sum() > week[1].sum() > week[5].sum()
        assert week[0, 10] / week[1, 10] == pytest.approx(MONDAY_FACTOR)
        assert week[0].argmax() in (9, 10)

    def test_a_trace_has_the_volume_the_mix_and_the_sizes_that_were_asked_for(self) -> None:
        trace = make_trace(Region(), 1)
        assert len(trace) == pytest.approx(3e6 / 365.25 * 7, rel=0.02)
        assert trace.is_ct.mean() == pytest.approx(0.2, abs=0.01)
        assert trace.is_emergency.mean() == pytest.approx(0.02, abs=0.002)
        assert trace.slices[trace.is_ct].mean() == pytest.approx(340, rel=0.03)
        assert (np.diff(trace.arrived_s) >= 0).all()
