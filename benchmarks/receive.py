"""Receiving by C-STORE: radmeter beside storescp, Orthanc and pynetdicom, in one run.

Senders are processes with pre-encoded PDUs and TCP_NODELAY, each with a study of its own. Receivers take turns, each in
fresh processes and a fresh folder; the median of the rounds counts. CPU is that of all processes of a receiver,
PostgreSQL's included, without senders and start.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import sync_limit
from benchmarks.machine import flush_count, touch_memory
from benchmarks.receiving import Running, is_installed, remove_folders, running
from benchmarks.senders import Load, send_all
from benchmarks.store_sender import PIXEL_BYTES

RECEIVERS = (
    "radmeter_database", "radmeter_database_observed", "radmeter_database_tls",
    "radmeter", "radmeter_no_fsync", "radmeter_no_fsync_tls",
    "storescp_default", "storescp_best", "storescp_best_tls", "orthanc", "orthanc_no_fsync",
    "pynetdicom", "pynetdicom_raw",
)  # fmt: skip
OBJECTS = {"ct_512kib": (PIXEL_BYTES, 160), "small_8kib": (8 * 1024, 480)}
"""Name → bytes of pixels, images in all of a cell of one or two senders; four and eight send more in all."""
SENDERS = {1: 1.0, 2: 1.0, 4: 1.5, 8: 3.0}
"""How many at once → how many times as many images: at least 60 slices in an association, a small study."""
ROUNDS = 3
_GIB = 1024**3
_SETTLED_S = 0.3
_SPARE_BYTES = 64 * 1024**2

Cell = dict[str, float]


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """`summary`: what is wanted of us; receiver → object → senders → figures; `ratios`: ours to the others.

    `sync_limit`: images/s of the machine.
    """
    names = [name for name in RECEIVERS if is_installed(name)]
    taken: dict[str, list[dict[str, dict[str, Cell]]]] = {name: [] for name in names}
    limits: list[dict[str, dict[str, Cell]]] = []
    memory: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    try:
        for _ in range(rounds):
            for name in names:
                with running(name) as receiver:
                    taken[name].append(_cells(receiver))
                    memory[name].append(receiver.peak_rss_mib())
            limits.append(_limits())
    finally:
        remove_folders()
    figures = {name: _median(each) for name, each in taken.items()}
    limit = _median(limits)
    for name in names:
        figures[name]["peak_rss_mib"] = {
            kind: max(one[kind] for one in memory[name]) for kind in memory[name][0]
        }
    compared = ratios(figures, limit)
    return {
        "rounds": rounds,
        "summary": summary(compared),
        **figures,
        "sync_limit": limit,
        "ratios": compared,
    }


def _cells(receiver: Running) -> dict[str, dict[str, Cell]]:
    send_all(receiver.port, 2, 10, PIXEL_BYTES, is_tls=receiver.is_tls)  # what is loaded or allocated once
    return {
        kind: {
            f"senders_{count}": _cell(receiver, count, round(images * times), size)
            for count, times in SENDERS.items()
        }
        for kind, (size, images) in OBJECTS.items()
    }


def _cell(receiver: Running, sender_count: int, image_count: int, pixel_bytes: int) -> Cell:
    time.sleep(_SETTLED_S)
    touch_memory(_touched(image_count, pixel_bytes))
    folder = Path(tempfile.gettempdir())
    before_s, flushes = receiver.cpu_s(), flush_count(folder)
    load: Load = send_all(receiver.port, sender_count, image_count, pixel_bytes, is_tls=receiver.is_tls)
    time.sleep(_SETTLED_S)
    cpu_s = receiver.cpu_s() - before_s
    return {
        "images_per_s": load.images_per_s,
        "cpu_s_per_gib": cpu_s / (load.data_set_bytes / _GIB),
        "flushes_per_image": (flush_count(folder) - flushes) / image_count,
        "dropped": load.dropped_count,
    }


def _touched(image_count: int, pixel_bytes: int) -> int:
    """Bytes of memory to touch before a cell: what its files and its sender take, and some more."""
    return 3 * image_count * pixel_bytes + _SPARE_BYTES


def _limits() -> dict[str, dict[str, Cell]]:
    limits: dict[str, dict[str, Cell]] = {kind: {} for kind in OBJECTS}
    with running("radmeter_database") as receiver:
        for kind, (size, images) in OBJECTS.items():
            for count, times in SENDERS.items():
                image_count = round(images * times)
                touch_memory(_touched(image_count, size))
                reached = sync_limit.images_per_s(receiver.database_url, count, image_count, size)
                limits[kind][f"senders_{count}"] = {"images_per_s": reached}
    return limits


def _median(rounds: list[dict[str, dict[str, Cell]]]) -> dict[str, Any]:
    first = rounds[0]
    return {
        kind: {
            senders: {
                field: statistics.median(one[kind][senders][field] for one in rounds)
                for field in first[kind][senders]
            }
            for senders in first[kind]
        }
        for kind in first
    }


_WANTED = {
    "times_orthanc": ("radmeter_database_to_orthanc", {1: 2.5, 4: 4.0, 8: 4.0}),
    "of_sync_limit": ("radmeter_database_to_sync_limit", dict.fromkeys(SENDERS, 0.7)),
    "no_fsync_times_storescp": ("radmeter_no_fsync_to_storescp_best", dict.fromkeys(SENDERS, 1.0)),
    "no_fsync_tls_times_storescp": (
        "radmeter_no_fsync_tls_to_storescp_best_tls",
        dict.fromkeys(SENDERS, 1.0),
    ),
    "no_fsync_times_pynetdicom": ("radmeter_no_fsync_to_pynetdicom", dict.fromkeys(SENDERS, 8.0)),
}
"""What is measured → the ratio of images/s, and by number of senders how much is wanted."""


def summary(compared: dict[str, Any]) -> dict[str, dict[str, str]]:
    """what → object → "reached (wanted)" with 1, 2, 4 and 8 senders, a star at what falls short."""
    made: dict[str, dict[str, str]] = {}
    for what, (pair, wanted) in _WANTED.items():
        for kind, by_senders in compared.get(pair, {}).items():
            made.setdefault(what, {})[kind] = " / ".join(
                _shown(by_senders[f"senders_{count}"]["images_per_s"], wanted.get(count)) for count in SENDERS
            )
    return made


def _shown(reached: float, wanted: float | None) -> str:
    if wanted is None:
        return f"{reached:.2f}"
    return f"{reached:.2f} ({wanted:g}){'' if reached >= wanted else ' *'}"


def ratios(figures: dict[str, Any], limit: dict[str, Any]) -> dict[str, Any]:
    """ours to theirs, images/s for each object and number of senders; CPU is theirs to ours, so above 1 is cheaper."""
    pairs = (
        ("radmeter_no_fsync", "storescp_best"), ("radmeter_no_fsync_tls", "storescp_best_tls"),
        ("radmeter_no_fsync", "pynetdicom"), ("radmeter_no_fsync", "pynetdicom_raw"),
        ("radmeter_no_fsync", "orthanc_no_fsync"), ("radmeter_database", "orthanc"),
        ("radmeter_database_observed", "radmeter_database"),
    )  # fmt: skip
    made: dict[str, Any] = {}
    for ours, theirs in pairs:
        if theirs in figures:
            made[f"{ours}_to_{theirs}"] = _compared(
                figures[ours], figures[theirs], ("images_per_s", "cpu_s_per_gib")
            )
    made["radmeter_database_to_sync_limit"] = _compared(
        figures["radmeter_database"], limit, ("images_per_s",)
    )
    return made


def _compared(ours: dict[str, Any], theirs: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    def ratio(kind: str, senders: str, field: str) -> float:
        one, other = ours[kind][senders][field], theirs[kind][senders][field]
        above, below = (other, one) if field == "cpu_s_per_gib" else (one, other)
        return float(above / below) if below else 0.0

    return {
        kind: {senders: {field: ratio(kind, senders, field) for field in fields} for senders in ours[kind]}
        for kind in OBJECTS
    }
