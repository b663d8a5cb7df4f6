"""One node among others: told to stop under load, with a full disk, with a clock that is an hour off."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.acceptance.many.cluster import Cluster
from tests.acceptance.many.load import (
    Senders,
    make_studies,
    require_sound,
    send_study,
    unfinished,
    wait_until_finished,
)
from tests.conftest import missing

HOUR_S = 3600


@pytest.mark.soak
def test_nodes_that_are_replaced_one_after_the_other_lose_nothing_and_no_sender_gives_up(
    cluster: Cluster, tmp_path: Path
) -> None:
    """SIGTERM while studies come: each ends by itself with code 0, and is started again as a new version would be."""
    studies = make_studies(tmp_path, random.SystemRandom().randrange(1_000_000, 2_000_000), 6)
    senders = Senders(cluster, studies, seed=1, pause_s=1.0).start()
    exits = {node.name: len(node.exits) for node in cluster.nodes}
    for node in (*cluster.of("gateway")[:2], *cluster.of("worker")[:2]):
        assert node.stop() == 0, node.log[-2000:]
        node.start()
        cluster.wait(lambda node=node: cluster.is_up(node), 60, f"{node.name} is up")  # type: ignore[misc]
    senders.join(120)
    wait_until_finished(cluster, studies, 120)
    require_sound(cluster, studies)
    assert exits == {node.name: len(node.exits) for node in cluster.nodes}, "a node ended by itself"


@pytest.fixture
def clock_library(tmp_path: Path) -> Path:
    if shutil.which("gcc") is None:
        missing("not installed: gcc, which builds the library that shifts a clock", "RADMETER_REQUIRE_PEERS")
    source = Path(__file__).with_name("skewed_clock.c")
    library = tmp_path / "skewed_clock.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.mark.soak
def test_nodes_whose_clocks_are_hours_apart_do_their_work_at_once(
    tmp_path: Path, clock_library: Path
) -> None:
    """The gateway an hour behind, the worker an hour ahead: with jobs due by their clocks nothing would go on today.

    The database is stopped once, so that a job is tried again, too: that has a time of its own.
    """
    with Cluster.running(gateways=0, workers=0, portal=False) as cluster:
        behind = {"LD_PRELOAD": str(clock_library), "LD_SKEW_S": str(-HOUR_S)}
        ahead = {"LD_PRELOAD": str(clock_library), "LD_SKEW_S": str(HOUR_S)}
        cluster.add("gateway", "gateway-behind", **behind)
        cluster.add("worker", "worker-ahead", **ahead)
        cluster.wait_until_up()
        studies = make_studies(tmp_path, random.SystemRandom().randrange(3_000_000, 4_000_000), 2)
        problems: list[str] = []
        send_study(cluster, studies[0], random.Random(1), problems)
        cluster.wait(lambda: "study " in str(unfinished(cluster)), 30, "the study is on its way")
        cluster.postgres.stop_at_once()
        time.sleep(1)
        cluster.postgres.start()
        send_study(cluster, studies[1], random.Random(2), problems)
        wait_until_finished(cluster, studies, 120)
        assert problems == []
        require_sound(cluster, studies)
        (usage,) = cluster.rows(
            "SELECT max(abs(extract(epoch FROM now() - received_at))) AS off_s FROM billing.usage_event"
        )
        assert usage["off_s"] < HOUR_S / 2, "the usage event has the node's time"
