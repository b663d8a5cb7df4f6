"""The tables of docs/capacity.md from the figures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_LOAD_MAX = 2.5


def all_of(result: dict[str, Any]) -> dict[str, str]:
    """Name of the mark on the page → table."""
    return {
        "state": _state(result),
        "sources": _sources(result),
        "steps": _steps(result),
        "completeness": _completeness(result),
        "sizes": _sizes(result),
        "region": _outcomes(result["region"], "site", with_site=True),
        "sensitivity": _outcomes(result["sensitivity"], "what is different"),
        "batches": _outcomes(result["batches"], "GPU"),
        "database": _database(result["database"]),
        "held": _held(result["held_against_the_server"]),
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _state(result: dict[str, Any]) -> str:
    """A warning where the steps were measured on a machine that had other things to do."""
    load = result["load_when_steps_were_measured"]
    if load <= _LOAD_MAX:
        return ""
    return (
        f"**Measure again before planning**: the machine had other things to do while the steps were measured (load "
        f"{load:.0f} on two cores), and their seconds are scaled down to what the processors spent."
    )


def _sources(result: dict[str, Any]) -> str:
    rows = [
        [one["figure"], f"[{one['file']}](../benchmarks/results/{one['file']})", one["machine"]]
        for one in result["sources"]
    ]
    return table(["figures", "file", "machine"], rows)


def _steps(result: dict[str, Any]) -> str:
    steps = list(next(iter(result["steps_s"].values())))
    rows = [
        [modality, *(f"{of[step]['median_s']:.2f} ({of[step]['max_s']:.2f})" for step in steps)]
        for modality, of in result["steps_s"].items()
    ]
    return table(["seconds: median (greatest)", *steps], rows)


_KNOWN = {
    "both": "MPPS and the archive's counts",
    "mpps": "MPPS",
    "counts": "the archive's counts",
    "nothing": "nothing",
}


def _completeness(result: dict[str, Any]) -> str:
    rows = [
        [_KNOWN[known], f"{of['median_s']:.1f}", f"{of['p95_s']:.1f}", f"{100 * of['over_60_s']:.0f} %"]
        for known, of in result["completeness"].items()
    ]
    return table(["what is known of a study", "median s", "95 % s", "longer than 60 s"], rows)


def _sizes(result: dict[str, Any]) -> str:
    rows = [
        [
            f"{one['hospitals']}", f"{one['studies_per_year']:,.0f}", f"{one['busiest_hour_studies_per_s']:.3f}",
            f"{one['workers']}" + ("" if one["is_kept"] else " (not kept)"), f"{one['workers_with_2_gpus']}",
            f"{one['busiest_hour_images_per_s']:.1f}",
            f"{one['busiest_hour_statements_per_s']:,.0f}", f"{one['gib_per_day']:,.0f}",
        ]
        for one in result["sizes"]
    ]  # fmt: skip
    head = [
        "hospitals",
        "studies a year",
        "studies/s",
        "workers of two cores",
        "workers beside two GPUs",
        "images/s",
        "statements/s",
        "GiB a day",
    ]
    return table(head, rows)


def _outcomes(outcomes: dict[str, dict[str, Any]], what: str, *, with_site: bool = False) -> str:
    head = [
        what, *(["workers", "GPUs"] if with_site else []), "emergencies", "median, 99.9 % s", "within 60 s",
        "others: median, 99 % s", "oldest at noon, s", "busiest hour", "GPU",
    ]  # fmt: skip
    rows = [
        [
            name, *([f"{one['workers']}", f"{one['gpus']}"] if with_site else []),
            f"{one['emergencies']:,}",
            f"{one['emergency_p50_s']:.1f}, {one['emergency_p999_s']:.1f}", _percent(one["within_60_s"], 2),
            f"{one['routine_p50_s']:.1f}, {one['routine_p99_s']:.0f}", f"{one['oldest_at_noon_s']:.0f}",
            _percent(one["busy_hour"], 0), _percent(one["gpu_use"], 1) if one["gpu_use"] else "–",
        ]
        for name, one in outcomes.items()
    ]  # fmt: skip
    return table(head, rows)


def _database(one: dict[str, Any]) -> str:
    per, needed = one["per_study"], one["busiest_hour_per_s"]
    rows = [
        [
            name, f"{per['CT'][key]:,.0f}", f"{per['CR'][key]:,.0f}", f"{needed[key]:,.0f}/s",
            f"{one[f'limit_{key}_per_s']:,.0f}/s", _percent(one[f"share_of_{key}"], 1),
        ]
        for name, key in (("statements", "statements"), ("transactions", "transactions"))
    ]  # fmt: skip
    spent, wal = "processor_s", "wal_bytes"
    rows += [
        ["seconds of a core", f"{per['CT'][spent]:.2f}", f"{per['CR'][spent]:.2f}", f"{needed[spent]:.2f}/s", "2/s",
         _percent(needed[spent] / 2, 1)],
        ["WAL, KiB", *(_kib(one) for one in (per["CT"][wal], per["CR"][wal], needed[wal])), "–", "–"],
        ["images received", "–", "–", f"{one['images_per_s']:.1f}/s", f"{one['gateway_images_per_s']:.0f}/s",
         _percent(one["share_of_gateway"], 1)],
    ]  # fmt: skip
    return table(["", "a CT", "a radiograph", "busiest hour", "limit of the machine", "share"], rows)


def _kib(size: float) -> str:
    """A difference below nothing was not a measurement."""
    return f"{size / 1024:,.0f}" if size > 0 else "–"


def _held(held: dict[str, dict[str, dict[str, float]]]) -> str:
    rows = []
    for name, kind in (("emergencies", "emergency"), ("routine", "normal")):
        real, made = held["measured"][kind], held["simulated"][kind]
        figures = [f"{one[key]:.1f}" for key in ("median_s", "p95_s") for one in (real, made)]
        rows.append([name, f"{real['count']:.0f}", *figures])
    return table(["complete to delivered", "studies", "median s", "simulated", "95 % s", "simulated"], rows)


def _percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f} %"
