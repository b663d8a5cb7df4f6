"""Mondays of a region on sites of several sizes: which is the smallest that keeps the promises, and what upsets it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.capacity.arrivals import DAY_S, HOUR_S, Region, Trace, hourly_weights, make_trace
from benchmarks.capacity.model import Model
from benchmarks.capacity.site import Outage, Result, Site
from benchmarks.capacity.step_times import StepTimes

EMERGENCY_S, EMERGENCY_SHARE = 60.0, 0.999
NOON_S, OLDEST_AT_NOON_S = 12 * HOUR_S, 300.0
MONDAYS = 10
_MORE_WORKERS_MAX = 8


@dataclass(frozen=True)
class Outcome:
    """Of several Mondays together. Seconds run from a study's last instance to the answer of its archive.

    oldest_at_noon_s: of the worst Monday, how long the study that has waited longest is there. busy_hour: share of the
    workers' time that the arrivals of the busiest hour need.
    """

    emergencies: int
    emergency_p50_s: float
    emergency_p999_s: float
    within_60_s: float
    routine_p50_s: float
    routine_p99_s: float
    oldest_at_noon_s: float
    busy_hour: float
    gpu_use: float

    @property
    def is_kept(self) -> bool:
        return self.within_60_s >= EMERGENCY_SHARE and self.oldest_at_noon_s <= OLDEST_AT_NOON_S


def mondays(region: Region, site: Site, times: StepTimes, count: int = MONDAYS) -> Outcome:
    """Simulate Mondays of seeds 1, 2, …; results for an archive that is away are not counted against the 60 s."""
    runs = [monday(region, site, times, seed) for seed in range(1, count + 1)]
    absent = away(site)
    urgent, routine = (
        np.array([o.delivered_s - o.arrived_s for r in runs for o in r.studies
                  if o.is_emergency == wanted and o.hospital not in absent])
        for wanted in (True, False)
    )  # fmt: skip
    return Outcome(
        emergencies=len(urgent),
        emergency_p50_s=_percentile(urgent, 50),
        emergency_p999_s=_percentile(urgent, 99.9),
        within_60_s=float((urgent <= EMERGENCY_S).mean()),
        routine_p50_s=_percentile(routine, 50),
        routine_p99_s=_percentile(routine, 99),
        oldest_at_noon_s=max(oldest_s(run, NOON_S, absent) for run in runs),
        busy_hour=work_per_s(region, times, on_gpu=site.gpus > 0) / site.workers,
        gpu_use=sum(run.gpu_busy_s for run in runs) / (count * DAY_S * site.gpus) if site.gpus else 0.0,
    )


def away(site: Site) -> set[int]:
    """Hospitals whose archive is away at some time."""
    return {outage.number for outage in site.outages if outage.what == "pacs"}


def monday(region: Region, site: Site, times: StepTimes, seed: int) -> Result:
    return Model(monday_trace(region, seed), site, times, seed).run()


def monday_trace(region: Region, seed: int) -> Trace:
    return make_trace(region, seed, last_s=DAY_S)


def oldest_s(run: Result, at_s: float, without: set[int] = frozenset()) -> float:  # type: ignore[assignment]
    """Age of the study that has waited longest of those that are complete and not delivered."""
    there = [
        one.assembled_s
        for one in run.studies
        if 0 <= one.assembled_s <= at_s < one.delivered_s and one.hospital not in without
    ]
    return at_s - min(there, default=at_s)


def peak_per_s(region: Region) -> float:
    """Studies a second in the busiest hour of the week."""
    return float(hourly_weights().max()) * region.studies_per_year / (365.25 / 7) / HOUR_S


def work_per_s(region: Region, times: StepTimes, *, on_gpu: bool) -> float:
    """Seconds of workers that arrive each second in the busiest hour."""
    slices = monday_trace(replace(region, studies_per_year=3e6), 1).slices
    ct = float(np.mean([times.mean_s(is_ct=True, slices=one) for one in slices[slices > 0][:200]]))
    if on_gpu:
        ct -= times.network_s * times.factor
    return peak_per_s(region) * (region.ct_share * ct + (1 - region.ct_share) * times.mean_s(is_ct=False))


def faults(region: Region) -> Callable[[Site], Site]:
    """A worker is lost at nine, a GPU at ten, each for half an hour, and an archive from nine to eleven."""
    largest = int(np.bincount(monday_trace(region, 1).hospital).argmax())

    def with_faults(site: Site) -> Site:
        outages = [Outage("worker", 0, 9 * HOUR_S, 0.5 * HOUR_S)]
        if region.hospitals > 1:
            outages.append(Outage("pacs", largest, 9 * HOUR_S, 2 * HOUR_S))
        outages += [Outage("gpu", 0, 10 * HOUR_S, 0.5 * HOUR_S)] if site.gpus else []
        return replace(site, outages=outages)

    return with_faults


def smallest(
    region: Region, times: StepTimes, gpus: int, prepare: Callable[[Site], Site] = lambda site: site
) -> tuple[Site, Outcome]:
    """The fewest workers that keep both promises; where even many do not, so many and what came of it."""
    fewest = (
        int(work_per_s(region, times, on_gpu=gpus > 0)) + 1
    )  # fewer cannot do what the busiest hour brings
    for workers in range(fewest, fewest + _MORE_WORKERS_MAX + 1):
        site = prepare(Site(workers, gpus))
        outcome = mondays(region, site, times)
        if outcome.is_kept:
            break
    return site, outcome


def sensitivity(region: Region, site: Site, times: StepTimes, count: int) -> list[tuple[str, Outcome]]:
    """The same site when an assumption is off."""
    cases: Sequence[tuple[str, Region, Site, StepTimes]] = (
        ("as assumed", region, site, times),
        ("30 % more studies", replace(region, studies_per_year=region.studies_per_year * 1.3), site, times),
        ("30 % fewer studies", replace(region, studies_per_year=region.studies_per_year * 0.7), site, times),
        ("steps take 30 % longer", region, site, times.times(1.3)),
        ("steps take 30 % less", region, site, times.times(0.7)),
        ("half of the studies are CTs", replace(region, ct_share=0.5), site, times),
        ("one emergency in ten", replace(region, emergency_share=0.1), site, times),
        ("both 30 % worse", replace(region, studies_per_year=region.studies_per_year * 1.3), site, times.times(1.3)),
        ("one worker fewer", region, replace(site, workers=max(1, site.workers - 1)), times),
    )  # fmt: skip
    return [(name, mondays(*case, count)) for name, *case in cases]  # type: ignore[arg-type]


SLOW_GPU, MANY_WORKERS = 400.0, 8


def batches(region: Region, times: StepTimes, count: int) -> list[tuple[str, Outcome]]:
    """One GPU that a much larger model keeps busy, with and without batches, and workers enough to fill them."""
    slow = replace(times, gpu_s=[one * SLOW_GPU for one in times.gpu_s])
    cases = (
        ("one run at a time", 1, 1.0),
        ("up to 8, a second run costs half of the first", 8, 0.5),
        ("up to 8, further runs cost nothing", 8, 0.0),
    )
    return [
        (name, mondays(region, Site(MANY_WORKERS, 1, size, growth), slow, count))
        for name, size, growth in cases
    ]


def _percentile(values: np.ndarray, percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else 0.0
