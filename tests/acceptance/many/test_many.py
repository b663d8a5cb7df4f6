"""Many processes, killed at random: no acknowledged image lost, each study delivered and billed once, nothing left."""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.many.cluster import Cluster
from tests.acceptance.many.load import Senders, make_studies, require_sound, wait_until_finished

SEED = int(os.environ.get("MANY_SEED", "0")) or random.SystemRandom().randrange(1, 100_000)
SOAK_S = float(os.environ.get("MANY_SOAK_S", "1200"))


def say(words: str) -> None:
    sys.stderr.write(f"{words}\n")


def harm(cluster: Cluster, kind: str, rng: random.Random) -> str:
    """Kill one of them as a power cut would; what was killed."""
    if kind == "database":
        cluster.postgres.stop_at_once()
        time.sleep(rng.uniform(0.0, 2.0))
        cluster.postgres.start()
        return kind
    victim = rng.choice([node for node in cluster.of(kind) if node.tree()])
    victim.kill()
    return victim.name


def test_killed_at_random_they_lose_nothing_and_do_nothing_twice(cluster: Cluster, tmp_path: Path) -> None:
    """Six studies, half of each by one gateway and half by another, and six deaths."""
    say(f"MANY_SEED={SEED}")
    rng = random.Random(SEED)
    studies = make_studies(tmp_path, SEED, 6)
    senders = Senders(cluster, studies, SEED, pause_s=1.0).start()
    deaths = ["worker", "gateway", "database", "worker", "gateway", "worker"]
    rng.shuffle(deaths)
    for kind in deaths:
        time.sleep(rng.uniform(0.2, 1.5))
        harm(cluster, kind, rng)
    senders.join(120)
    wait_until_finished(cluster, studies, 120)
    require_sound(cluster, studies)


@pytest.mark.soak
def test_killed_at_random_for_twenty_minutes(tmp_path: Path) -> None:
    """Deaths of one or two at a time while studies come without end; the books are compared each time all is done."""
    say(f"MANY_SEED={SEED} MANY_SOAK_S={SOAK_S:g}")
    rng, deaths, number = random.Random(SEED), Counter[str](), 0
    until = time.monotonic() + SOAK_S
    all_studies = []
    with Cluster.running(gateways=3, workers=6) as cluster:
        while time.monotonic() < until:
            number += 1
            studies = make_studies(tmp_path / str(number), SEED * 1000 + number, 20)
            all_studies += studies
            senders = Senders(cluster, studies, SEED + number, pause_s=0.5).start()
            while not senders.are_done:
                time.sleep(rng.uniform(0.5, 6.0))
                for kind in rng.sample(
                    ("worker", "worker", "gateway", "database", "portal"), rng.randint(1, 2)
                ):
                    deaths[harm(cluster, kind, rng).split("-")[0]] += 1
            senders.join(300)
            wait_until_finished(cluster, all_studies, 300)
            require_sound(cluster, all_studies)
            say(f"round {number}: {len(all_studies)} studies, deaths {dict(deaths)}")
    assert {"worker", "gateway", "database"} <= set(deaths)
