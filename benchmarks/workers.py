"""Studies a minute against the number of worker processes where steps wait, as they do for a GPU elsewhere; and the
queries that one study costs the database.

The first shows what the queue, the locks and the books allow, not what inference needs: five steps of half a second
each, four at a time in each worker. Everything shares this machine's processors, so the ratio falls off where they are
full; `cpu_s_per_study` says what a study costs them.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from pipeline import store
from pipeline.queue import defer_step, deferring_app
from pipeline.status import StudyStatus
from server.installation import FIRST_TENANT, owner_connection
from tests.acceptance.many.cluster import Cluster
from tests.acceptance.many.load import Senders, make_studies, require_sound, wait_until_finished

WORKERS = (1, 2, 4, 6)
STUDIES_PER_WORKER = 60
CONCURRENCY = 4
STEPS, STEP_S = 5, 0.5
REAL_STUDIES, IDLE_S = 12, 20.0
_STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]*): (\w+)")
_TRANSACTION = {"BEGIN", "COMMIT", "ROLLBACK"}


def run() -> dict[str, Any]:
    return {"by_worker_count": [_waiting(count) for count in WORKERS], "queries": _queries()}


def _waiting(workers: int) -> dict[str, Any]:
    with Cluster.running(gateways=0, workers=0, portal=False, has_s3=False) as cluster:
        environment = cluster.environment_of("worker") | {"RADMETER_WORKER_CONCURRENCY": str(CONCURRENCY)}
        processes = [_start(environment) for _ in range(workers)]
        try:
            _wait_for_workers(cluster, workers)
            count = STUDIES_PER_WORKER * workers
            transactions, cpu_s = _transactions(cluster), _cpu_s(cluster, processes)
            began = time.monotonic()
            _put_in(cluster, count)
            while _delivered(cluster) < count:
                assert time.monotonic() - began < 600, f"{_delivered(cluster)} of {count}"
                time.sleep(0.1)
            took_s = time.monotonic() - began
            figures = {
                "worker_count": workers,
                "studies_per_min": round(count / took_s * 60, 1),
                "share_of_ideal": round(count / took_s / (workers * CONCURRENCY / (STEPS * STEP_S)), 3),
                "transactions_per_study": round((_transactions(cluster) - transactions) / count, 1),
                "cpu_s_per_study": round((_cpu_s(cluster, processes) - cpu_s) / count, 3),
            }
        finally:
            for process in processes:
                process.kill()
                process.wait()
    return figures


def _start(environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.waiting_worker", str(STEP_S)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def _wait_for_workers(cluster: Cluster, workers: int) -> None:
    def are_there() -> bool:
        return bool(cluster.rows("SELECT count(*) AS n FROM procrastinate_workers")[0]["n"] == 3 * workers)

    cluster.wait(are_there, 120, "the workers are there, each for three queues")


def _put_in(cluster: Cluster, count: int) -> None:
    """Assembled studies, all at once."""
    queue = deferring_app(cluster.url)
    with owner_connection(cluster.url) as conn:
        for number in range(count):
            row = conn.execute(
                "INSERT INTO study (tenant, study_instance_uid, ae_title) VALUES (%s, %s, 'PACS') RETURNING id",
                (FIRST_TENANT, f"1.2.3.{number}"),
            ).fetchone()
            assert row is not None
            study = store.lock_study(conn, FIRST_TENANT, row["id"])
            defer_step(queue, conn, store.advance(conn, study, StudyStatus.ASSEMBLED))
    queue.close()


def _delivered(cluster: Cluster) -> int:
    return int(cluster.rows("SELECT count(*) AS n FROM study WHERE status = 'delivered'")[0]["n"])


def _transactions(cluster: Cluster) -> int:
    """Committed so far; the figures of idle sessions come late by a second at most."""
    time.sleep(1.5)
    row = cluster.rows("SELECT xact_commit AS n FROM pg_stat_database WHERE datname = current_database()")[0]
    return int(row["n"])


def _cpu_s(cluster: Cluster, processes: list[subprocess.Popen[str]]) -> float:
    """Of the workers and of the database."""
    postmaster = psutil.Process(int((cluster.postgres.folder / "postmaster.pid").read_text().split()[0]))
    everything = [
        *(psutil.Process(process.pid) for process in processes),
        postmaster,
        *postmaster.children(recursive=True),
    ]
    used_s = 0.0
    for one in everything:
        with contextlib.suppress(psutil.NoSuchProcess):  # PostgreSQL's helpers come and go
            used_s += sum(one.cpu_times()[:2])
    return used_s


def _queries() -> dict[str, Any]:
    """Of the real path: four small radiographs a study, received, judged, delivered by one gateway and one worker."""
    with (
        tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder,
        Cluster.running(gateways=1, workers=1, portal=False, has_s3=False) as cluster,
    ):
        with owner_connection(cluster.url) as conn:
            conn.autocommit = True
            conn.execute("ALTER SYSTEM SET log_statement = 'all'")
            conn.execute("SELECT pg_reload_conf()")
        time.sleep(2)
        log = cluster.postgres.folder / "log"
        before = _statements(log)
        time.sleep(IDLE_S)
        idle = _statements(log)
        idle_per_s = {kind: (idle[kind] - before[kind]) / IDLE_S for kind in idle}
        studies = make_studies(Path(folder), 1, REAL_STUDIES)
        began = time.monotonic()
        Senders(cluster, studies, seed=1).start().join(120)
        _wait_quietly(cluster, REAL_STUDIES)
        took_s, after = time.monotonic() - began, _statements(log)
        wait_until_finished(cluster, studies, 60)
        require_sound(cluster, studies)
    return {
        "images_per_study": len(studies[0].files),
        **{
            f"{kind}_per_study": round(
                (after[kind] - idle[kind] - idle_per_s[kind] * took_s) / REAL_STUDIES, 1
            )
            for kind in after
        },
        **{f"idle_{kind}_per_s": round(idle_per_s[kind], 2) for kind in after},
    }


def _wait_quietly(cluster: Cluster, count: int) -> None:
    """Ask seldom: our own questions are counted too."""
    while _delivered(cluster) < count:
        time.sleep(3)


def _statements(log: Path) -> dict[str, int]:
    words = [match.upper() for match in _STATEMENT.findall(log.read_text(errors="replace"))]
    transactions = sum(word in _TRANSACTION for word in words)
    return {"queries": len(words) - transactions, "transaction_statements": transactions}
