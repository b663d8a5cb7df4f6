"""Several senders at once, each a process with an association and a study of its own."""

from __future__ import annotations

import itertools
import multiprocessing
import statistics
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

from benchmarks.store_sender import Sent, ct_objects, send

_TIMEOUT_S = 120.0
_studies = itertools.count(1)
_context = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Load:
    """What several senders saw together. images_per_s: of what was acknowledged, first byte to last answer."""

    images_per_s: float
    data_set_bytes: int
    latency_ms: dict[str, float]
    dropped_count: int


def send_all(
    port: int, sender_count: int, image_count: int, pixel_bytes: int, *, is_tls: bool = False
) -> Load:
    """Split `image_count` images over the senders; they begin together."""
    each = max(image_count // sender_count, 1)
    barrier, results = _context.Barrier(sender_count), _context.SimpleQueue()
    senders = [
        _context.Process(
            target=_send,
            args=(port, each, pixel_bytes, f"1.2.826.0.1.3680043.10.{number}", is_tls, barrier, results),
        )
        for number in itertools.islice(_studies, sender_count)
    ]
    for sender in senders:
        sender.start()
    sent = [results.get() for _ in senders]
    for sender in senders:
        sender.join()
    return _together([one for one in sent if isinstance(one, Sent)], each * sender_count)


def _send(
    port: int, count: int, pixel_bytes: int, study: str, is_tls: bool, barrier: Barrier, results: Any
) -> None:
    try:
        objects = ct_objects(count, pixel_bytes, study)
        results.put(send(port, objects, is_tls=is_tls, when_ready=lambda: barrier.wait(_TIMEOUT_S)))
    except Exception as error:  # all of it is dropped; the others must not wait for this one
        barrier.abort()
        results.put(repr(error))


def _together(sent: list[Sent], image_count: int) -> Load:
    acknowledged = sum(one.image_count - one.dropped_count for one in sent)
    if not acknowledged:
        return Load(0.0, 1, {}, image_count)
    seconds = max(one.ended_at for one in sent) - min(one.began_at for one in sent)
    latencies_ms = sorted(1000 * latency for one in sent for latency in one.latencies_s)
    cuts = statistics.quantiles(latencies_ms, n=100, method="inclusive")
    return Load(
        images_per_s=acknowledged / seconds,
        data_set_bytes=sum(one.data_set_bytes for one in sent),
        latency_ms={"p50": cuts[49], "p95": cuts[94], "p99": cuts[98]},
        dropped_count=image_count - acknowledged,
    )
