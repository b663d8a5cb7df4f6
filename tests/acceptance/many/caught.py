"""Workers caught in the middle of something, and what happens to them: they stand still, or are cut off."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from server.installation import owner_connection
from tests.acceptance.many.cluster import TAKEOVER_S, Cluster, Node
from tests.acceptance.many.load import Study, make_studies, send_study

# As docs/many_machines.md has it, and the same again for a machine that does much else.
BOUND_S = 2 * (1.2 * TAKEOVER_S + 6)


def node_of_session(cluster: Cluster, query: str) -> Node | None:
    """The worker whose session `query` finds: client_addr, client_port of pg_stat_activity."""
    for row in cluster.rows(query):
        for node in cluster.of("worker"):
            if cluster.network.is_apart:
                if str(row["client_addr"]) == node.address:
                    return node
            elif row["client_port"] in {c.laddr.port for p in node.tree() for c in p.net_connections()}:
                return node
    return None


HOLDS_A_DELIVERY = """SELECT DISTINCT a.client_addr, a.client_port FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND a.application_name = 'radmeter'"""
WAITS_FOR_A_STUDY = """SELECT client_addr, client_port FROM pg_stat_activity
    WHERE application_name = 'radmeter' AND wait_event_type = 'Lock'"""


def sent(cluster: Cluster, folder: Path) -> Study:
    (study,) = make_studies(folder, random.SystemRandom().randrange(10_000, 1_000_000), 1)
    problems: list[str] = []
    send_study(cluster, study, random.Random(1), problems)
    assert problems == []
    return study


@contextmanager
def in_the_middle_of_its_delivery(cluster: Cluster, folder: Path) -> Iterator[tuple[Study, Node]]:
    """The PACS has one of two objects and keeps the sender of the second waiting; at the end it answers."""
    pacs = cluster.pacs
    pacs.held.clear()
    pacs.release.clear()
    (study,) = make_studies(folder, random.SystemRandom().randrange(10_000, 1_000_000), 1)
    pacs.hold = study.uid
    send_study(cluster, study, random.Random(1), [])
    try:
        assert pacs.held.wait(120), cluster.logs()
        node = node_of_session(cluster, HOLDS_A_DELIVERY)
        assert node is not None
        yield study, node
    finally:
        pacs.hold = ""
        pacs.release.set()


@contextmanager
def in_a_transaction_of_a_step(cluster: Cluster, folder: Path) -> Iterator[tuple[Study, Node]]:
    """It waits for the study's row; at the end it gets the row, and cannot go on."""
    study = sent(cluster, folder)
    with owner_connection(cluster.url) as conn:
        while not conn.execute(
            "SELECT 1 FROM study WHERE study_instance_uid = %s AND status = 'decoded' FOR UPDATE",
            (study.uid,),
        ).fetchone():
            conn.rollback()
            time.sleep(0.02)
        node = None
        deadline = time.monotonic() + 120
        while node is None:
            assert time.monotonic() < deadline, cluster.logs()
            node = node_of_session(cluster, WAITS_FOR_A_STUDY)
        yield study, node
        conn.rollback()


def freeze(cluster: Cluster, node: Node) -> None:
    node.signal(signal.SIGSTOP)
    cluster.wait(
        lambda: all(one.status() == psutil.STATUS_STOPPED for one in node.tree()),
        10,
        f"{node.name} stands still",
    )


def thaw(_cluster: Cluster, node: Node) -> None:
    node.signal(signal.SIGCONT)


def cut_off(cluster: Cluster, node: Node) -> None:
    if not cluster.network.is_apart:
        pytest.skip("no network namespaces here: a machine cannot be cut off")
    cluster.network.cut_off(node.address, True)


def join_again(cluster: Cluster, node: Node) -> None:
    cluster.network.cut_off(node.address, False)
