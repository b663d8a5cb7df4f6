"""Runs the simulations of docs/capacity.md, and writes its plots and tables; the sentences between them stay."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import traces
from benchmarks.capacity import plots, sizing, tables, validate
from benchmarks.capacity.arrivals import SLICES_MEDIAN, SLICES_SIGMA, Region
from benchmarks.capacity.site import Site
from benchmarks.capacity.sizing import Outcome
from benchmarks.capacity.step_times import RESULTS, STEPS, Source, StepTimes, load, newest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "capacity.md"
IMAGES = ROOT / "docs" / "images"
SEED = 20261127
STUDIES_OF_A_HOSPITAL = 30_000.0
HOSPITALS = (1, 10)
"""Beside the region itself."""
SENSITIVITY_MONDAYS = 2
IMAGE_MIB = {"CT": 0.5, "CR": 7.5}
"""A CT slice of 512 × 512 pixels, and a radiograph of 1760 × 2140, two bytes each, not compressed."""
IMAGES_OF_CR = 2


def run() -> dict[str, Any]:
    """Everything on the page, as data; the page and the plots are written on the way."""
    times, sources = load()
    measured = newest(RESULTS, "capacity_steps")[1]["results"]["capacity_steps"]
    region = Region()
    sites = {name: _site(region, times.times(factor), gpus, broken) for name, gpus, broken, factor in _CASES}
    site = sites["processors, faults"][0]
    fewer = Site(max(1, site.workers - 1))
    held = validate.rush(measured, SEED)
    result = {
        "seed": SEED,
        "sources": [asdict(one) for one in sources],
        "load_when_steps_were_measured": newest(RESULTS, "capacity_steps")[1]["machine"]["load_average_1min"],
        "steps_s": _step_seconds(times),
        "completeness": {
            known: _waits(traces.waits_s(known)) for known in ("both", "mpps", "counts", "nothing")
        },
        "region": {
            name: {"workers": s.workers, "gpus": s.gpus, **asdict(o)} for name, (s, o) in sites.items()
        },
        "sizes": [
            *(_size(Region(count, count * STUDIES_OF_A_HOSPITAL), times, measured) for count in HOSPITALS),
            _size(region, times, measured, (sites["processors, faults"], sites["with GPUs, faults"])),
        ],
        "sensitivity": {
            name: asdict(o) for name, o in sizing.sensitivity(region, site, times, SENSITIVITY_MONDAYS)
        },
        "batches": {name: asdict(o) for name, o in sizing.batches(region, times, SENSITIVITY_MONDAYS)},
        "database": _database(region, measured),
        "held_against_the_server": {
            kind: {name: _waits(values) for name, values in of.items()} for kind, of in held.items()
        },
    }
    _draw(region, site, fewer, times, held)
    write_page(result)
    return result


_CASES = (
    ("processors", 0, False, 1.0),
    ("processors, faults", 0, True, 1.0),
    ("with GPUs", 1, False, 1.0),
    ("with GPUs, faults", 2, True, 1.0),
    ("every step three times as long, faults", 0, True, 3.0),
)
"""Name, GPUs, whether a worker, a GPU and an archive are lost on the way, and a factor on all seconds."""


def _site(region: Region, times: StepTimes, gpus: int, broken: bool) -> tuple[Site, Outcome]:
    return sizing.smallest(region, times, gpus, sizing.faults(region) if broken else lambda site: site)


def _step_seconds(times: StepTimes) -> dict[str, dict[str, dict[str, float]]]:
    return {
        modality: {step: _waits(list(of[step])) for step in ("assemble", *STEPS, "send")}
        for modality, of in times.seconds.items()
    }


def _waits(values: list[float]) -> dict[str, float]:
    return {
        "count": len(values),
        "median_s": round(float(np.median(values)), 3),
        "p95_s": round(float(np.percentile(values, 95)), 3),
        "max_s": round(max(values), 3),
        "over_60_s": round(float(np.mean(np.array(values) > sizing.EMERGENCY_S)), 4),
    }


def _size(
    region: Region, times: StepTimes, measured: dict[str, Any], known: Sequence[tuple[Site, Outcome]] = ()
) -> dict[str, Any]:
    """What so many hospitals need, faults included, and what of it reaches gateways, PostgreSQL and the disk."""
    (processors, first), (with_gpus, second) = known or (
        _site(region, times, 0, True),
        _site(region, times, 2, True),
    )
    peak = sizing.peak_per_s(region)
    images, mib = _images(region)
    return {
        "hospitals": region.hospitals,
        "studies_per_year": region.studies_per_year,
        "busiest_hour_studies_per_s": peak,
        "workers": processors.workers,
        "workers_with_2_gpus": with_gpus.workers,
        "is_kept": first.is_kept and second.is_kept,
        "busiest_hour_images_per_s": peak * images,
        "gib_per_day": region.studies_per_year / 365.25 * mib / 1024,
        **{f"busiest_hour_{key}_per_s": value for key, value in _load(region, measured).items()},
    }


def _images(region: Region) -> tuple[float, float]:
    """Images and MiB of a study, on average."""
    slices = SLICES_MEDIAN * np.exp(SLICES_SIGMA**2 / 2)
    ct, cr = region.ct_share, 1 - region.ct_share
    return ct * slices + cr * IMAGES_OF_CR, ct * slices * IMAGE_MIB["CT"] + cr * IMAGES_OF_CR * IMAGE_MIB[
        "CR"
    ]


def _load(region: Region, measured: dict[str, Any]) -> dict[str, float]:
    """What PostgreSQL gets in a second of the busiest hour."""
    costs = measured["database_per_study"]
    peak, share = sizing.peak_per_s(region), region.ct_share
    return {key: peak * (share * costs["CT"][key] + (1 - share) * costs["CR"][key]) for key in costs["CT"]}


def _database(region: Region, measured: dict[str, Any]) -> dict[str, Any]:
    """The load of the busiest hour beside what this machine's PostgreSQL takes, and receiving beside the gateway's."""
    limit = newest(RESULTS, "capacity_database")[1]["results"]["capacity_database"]
    received = newest(RESULTS, "receive")[1]["results"]["receive"]["radmeter_database"]["ct_512kib"]
    needed = _load(region, measured)
    statements = max(limit["statements_per_s"].values())
    transactions = max(limit["transactions_per_s"].values())
    images = sizing.peak_per_s(region) * _images(region)[0]
    gateway = received["senders_4"]["images_per_s"]
    return {
        "per_study": measured["database_per_study"],
        "busiest_hour_per_s": needed,
        "limit_statements_per_s": statements,
        "limit_transactions_per_s": transactions,
        "share_of_statements": needed["statements"] / statements,
        "share_of_transactions": needed["transactions"] / transactions,
        "find_a_study_ms": limit["find_a_study_ms"],
        "studies_in_it": limit["studies"],
        "images_per_s": images,
        "gateway_images_per_s": gateway,
        "share_of_gateway": images / gateway,
    }


def _draw(region: Region, site: Site, fewer: Site, times: StepTimes, held: dict[str, Any]) -> None:
    plots.week(region, IMAGES / "capacity-week.svg")
    days = {
        "with the workers of the table": sizing.monday(region, site, times, 1),
        "with one worker fewer, none lost": sizing.monday(region, fewer, times, 1),
    }
    for day in days.values():  # what waits for an archive that is away says nothing of the size
        day.studies = [one for one in day.studies if one.hospital not in sizing.away(site)]
    plots.waiting(days, IMAGES / "capacity-monday.svg")
    day = next(iter(days.values()))
    samples = {
        "emergencies": day.turnaround_s(emergencies=True),
        "routine": day.turnaround_s(emergencies=False),
    }
    plots.turnaround(samples, IMAGES / "capacity-turnaround.svg", limit_s=sizing.EMERGENCY_S)
    pairs = [
        (name, held["measured"][kind], held["simulated"][kind])
        for name, kind in (("emergencies", "emergency"), ("routine", "normal"))
    ]
    plots.measured_and_simulated(pairs, IMAGES / "capacity-held.svg")


def write_page(result: dict[str, Any], page: Path = PAGE) -> None:
    """Put each table between its marks. Raises ValueError for a page that lacks one."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables.all_of(result).items():
        marks = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = marks.subn(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"{page.name} has {count} places for the table {name}; it needs one")
    page.write_text(text, encoding="utf-8")


__all__ = ["Source", "run", "write_page"]
