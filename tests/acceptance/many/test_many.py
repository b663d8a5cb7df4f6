"""Many processes, killed at random: no acknowledged image lost, each study delivered and billed once, nothing left."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicom_gateway.deliver_dimse import echo, send_instances
from tests.acceptance.many.caught import (
    BOUND_S,
    cut_off,
    freeze,
    in_a_transaction_of_a_step,
    in_the_middle_of_its_delivery,
    join_again,
    thaw,
)
from tests.acceptance.many.cluster import TAKEOVER_S, Cluster, Node
from tests.acceptance.many.load import (
    Senders,
    Study,
    make_studies,
    require_sound,
    send_study,
    wait_until_finished,
)

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
    # Workers that lost the database end, and are started again one by one.
    cluster.wait(lambda: any(node.tree() for node in cluster.of(kind)), 60, f"a {kind} is there to be killed")
    victim = rng.choice([node for node in cluster.of(kind) if node.tree()])
    victim.kill()
    return victim.name


def test_killed_at_random_they_lose_nothing_and_do_nothing_twice(cluster: Cluster, tmp_path: Path) -> None:
    """Three studies, half of each by one gateway and half by another, and a death of each kind."""
    say(f"MANY_SEED={SEED}")
    rng = random.Random(SEED)
    studies = make_studies(tmp_path, SEED, 3)
    senders = Senders(cluster, studies, SEED, pause_s=1.0).start()
    deaths = ["worker", "gateway", "database"]
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
        # Locks are taken in one order, whoever dies.
        assert [node.name for node in cluster.nodes if "DeadlockDetected" in node.log] == []
    assert {"worker", "gateway", "database"} <= set(deaths)


@pytest.mark.parametrize(
    ("moment", "harm", "mend"),
    [
        pytest.param(in_the_middle_of_its_delivery, freeze, thaw, id="frozen while it delivers"),
        pytest.param(
            in_the_middle_of_its_delivery,
            cut_off,
            join_again,
            id="cut off while it delivers",
            marks=pytest.mark.soak,
        ),
        pytest.param(
            in_a_transaction_of_a_step, freeze, thaw, id="frozen in a transaction", marks=pytest.mark.soak
        ),
    ],
)
def test_others_take_over_in_time_and_who_comes_back_does_nothing_again(
    cluster: Cluster,
    tmp_path: Path,
    moment: Callable[..., Iterator[tuple[Study, Node]]],
    harm: Callable[[Cluster, Node], None],
    mend: Callable[[Cluster, Node], None],
) -> None:
    def status(study: Study) -> str:
        (row,) = cluster.rows("SELECT status FROM study WHERE study_instance_uid = %s", study.uid)
        return str(row["status"])

    with moment(cluster, tmp_path) as (study, node):
        exits, before = len(node.exits), status(study)
        harm(cluster, node)
        began = time.monotonic()
    try:
        cluster.wait(lambda: status(study) != before, BOUND_S, "others have taken the step")
        cluster.wait(lambda: status(study) == "delivered", 120, "others have delivered it")
        received = list(cluster.pacs.received[study.uid])
    finally:
        harmed_s = time.monotonic() - began
        mend(cluster, node)
    assert harmed_s > TAKEOVER_S
    # It goes on with what it was at: a job that is another's by now, over connections that the database has ended.
    time.sleep(TAKEOVER_S)
    assert cluster.pacs.received[study.uid] == received, "it sent again what others had delivered"
    wait_until_finished(cluster, [study], 60)
    require_sound(cluster, [study])
    # It serves on, or ended by itself because it counts as gone, and was started again.
    cluster.wait(lambda: bool(node.tree()), 30, f"{node.name} runs")
    assert all(code >= 0 for code in node.exits[exits:])


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of 32 MiB at `folder`."""
    folder.mkdir(parents=True)
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder], check=True, capture_output=True
        )
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("mounting a small file system is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_gateway_whose_disk_is_full_refuses_for_now_and_the_others_go_on(
    cluster: Cluster, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "small"):
        full = cluster.add("gateway", "gateway-full", DATA=str(tmp_path / "small"))
        try:
            cluster.wait(lambda: "gateway_started" in full.log, 90, "it runs")
            cluster.wait(lambda: "rejected" in (echo(full.destination) or ""), 30, "it refuses")
            (study,) = make_studies(tmp_path, random.SystemRandom().randrange(2_000_000, 3_000_000), 1)
            assert not any(one.acknowledged for one in send_instances(study.files, full.destination))
            full.is_wanted = False  # senders go to the others, as a load balancer has them do
            problems: list[str] = []
            send_study(cluster, study, random.Random(1), problems)
            assert (problems, study.refused) == ([], 0)
            subprocess.run(["mount", "-o", "remount,size=2g", tmp_path / "small"], check=True)
            cluster.wait(lambda: echo(full.destination) is None, 30, "with room again it takes associations")
        finally:
            full.stop()
            cluster.nodes.remove(full)
    wait_until_finished(cluster, [study], 120)
    require_sound(cluster, [study])
