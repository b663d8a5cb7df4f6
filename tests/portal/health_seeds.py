"""What the rounds of a model's health have counted at a busy site."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from pipeline import health_store
from pipeline.health_figures import Key, latency_bucket
from pipeline.health_rules import find_alarms
from tests.portal.portal_site import Site

KEY = Key("lung_nodule_ct", "0.2.0", "north")


def watch_model(site: Site, tenant: str = "alpha", *, days: int = 60, seed: int = 0) -> None:
    """Sixty days of a busy site, in the last week with another kernel; figures and alarms as the round leaves them."""
    rng = np.random.default_rng(seed)
    today = datetime.now(UTC).date()
    rows: list[tuple[Any, ...]] = []
    for back in range(days, -1, -1):
        kernels = {"B30f": 14, "B50f": 6} if back > 7 else {"B80s <new>": 18, "B50f": 2}
        completed, positive = sum(kernels.values()), int(rng.binomial(20, 0.3))
        counts: dict[tuple[str, str], int] = {
            ("status", "completed"): completed, ("status", "refused"): int(rng.poisson(1)),
            ("status", "failed"): int(rng.random() < 0.1), ("positive", "yes"): positive,
            ("positive", "no"): completed - positive, ("score", "none"): completed - positive,
            ("score", "0.5"): positive // 2, ("score", "0.8"): positive - positive // 2,
            ("latency:infer", latency_bucket(1.1)): 15, ("latency:infer", latency_bucket(2.4)): 5,
            ("thickness", "to 1 mm"): completed, ("slices", "150 to 399"): completed, ("vendor", "ACME"): completed,
            ("sex", "F"): 11, ("sex", "M"): 9, ("sex_positive", "F"): positive // 2, ("verdict", "accepted"): 7,
            ("verdict", "rejected"): 1, ("said_accepted", "0.8"): 4, ("said_rejected", "0.5"): 1,
            ("age", "65 and older"): completed - (back == 3), ("refusal", "LUNGS_NOT_FOUND"): 1,
            **{("kernel", kernel): count for kernel, count in kernels.items()},
        }  # fmt: skip
        if back == 3:
            counts["age", "under 18"] = 1
        day = today - timedelta(days=back)
        rows += [(tenant, day, *_place(), *what, count) for what, count in counts.items() if count]
    with site.owner.cursor() as cursor:
        cursor.executemany("INSERT INTO model_health_day VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", rows)
    with site.database.transaction(tenant) as conn:
        health = health_store.health_of(conn, tenant, KEY, last=today)
        health_store.save_figures(conn, tenant, [health], now=datetime.now(UTC))
        health_store.save_alarms(conn, tenant, KEY, find_alarms(health), now=datetime.now(UTC))


def _place() -> tuple[str, str, str]:
    return KEY.product, KEY.version, KEY.site
