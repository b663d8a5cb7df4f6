"""A case is charged for one event at a time: the database holds that, whoever asks at once, owner or not."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from yoyo import get_backend, read_migrations

from billing.books import ledger
from billing.contracts import store
from billing.errors import UsageEventNotFound, VoidRefused
from billing.metering import meter, voids
from billing.metering.usage import UsageEvent
from pipeline.migrations import MIGRATION_FOLDERS, migrate

TENANT = "hospital-a"
NOW = datetime(2027, 1, 1, tzinfo=UTC)
MakeEvent = Callable[..., UsageEvent]


@pytest.fixture
def contract_id(transact, per_case: str) -> int:
    with transact() as conn:
        return store.add_contract(conn, TENANT, per_case)


@pytest.mark.parametrize(
    ("statement_text", "error"),
    [
        ("UPDATE billing.case_claim SET ingest_sequence = NULL", psycopg.errors.RestrictViolation),
        ("UPDATE billing.case_claim SET ingest_sequence = 7", psycopg.errors.RestrictViolation),
        ("DELETE FROM billing.case_claim", psycopg.errors.RestrictViolation),
        (
            """INSERT INTO billing.event_decision (tenant, ingest_sequence, kind, revision, outcome, reason_code,
                explanation, policy, contract_id, contract_version, case_key, decided_by, decided_at)
            SELECT tenant, ingest_sequence, kind, 2, 'not_billable', 'dismissed', 'x', 'x', contract_id,
                contract_version, case_key, 'x', now() FROM billing.event_decision""",
            psycopg.errors.RestrictViolation,
        ),
        (
            """INSERT INTO billing.event_decision (tenant, ingest_sequence, kind, revision, outcome, reason_code,
                explanation, policy, contract_id, contract_version, case_key, decided_by, decided_at)
            SELECT tenant, ingest_sequence, kind, 2, 'not_billable', 'voided', 'x', 'x', contract_id,
                contract_version, 'another', 'x', now() FROM billing.event_decision""",
            psycopg.errors.RestrictViolation,
        ),
        *(
            (
                f"""INSERT INTO billing.event_decision (tenant, ingest_sequence, kind, revision, outcome, reason_code,
                    explanation, policy, contract_id, contract_version, case_key, decided_by, decided_at)
                SELECT tenant, {sequence}, {kind}, {revision}, 'not_billable', 'voided', 'x', 'x', contract_id,
                    {version}, case_key, 'x', now() FROM billing.event_decision""",
                psycopg.errors.ForeignKeyViolation,
            )
            for sequence, kind, revision, version in (
                ("ingest_sequence + 1", "kind", 1, "contract_version"),
                ("ingest_sequence", "'failed'", 2, "contract_version"),
                ("ingest_sequence", "kind", 2, "contract_version + 1"),
            )
        ),
    ],
    ids=[
        "freed",
        "given away",
        "deleted",
        "decided again",
        "voided elsewhere",
        "no event",
        "another kind",
        "no version",
    ],
)
def test_even_the_tables_owner_cannot_take_a_case_away(
    transact, contract_id: int, make_event: MakeEvent, owner, statement_text: str, error
) -> None:
    with transact() as conn:
        meter.record(conn, make_event(1))
    with pytest.raises(error):
        owner.execute(statement_text)


def test_cases_charged_before_are_held_after_the_migration(database_url: str, per_case: str) -> None:
    migrate(database_url)
    backend = get_backend(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    migrations = read_migrations(*(str(folder) for folder in MIGRATION_FOLDERS))
    later = migrations.filter(lambda one: one.id >= "billing-0031" and one.id.startswith("billing-"))
    with psycopg.connect(database_url) as conn:
        contract_id = store.add_contract(conn, TENANT, per_case)
    with backend.lock():
        backend.rollback_migrations(backend.to_rollback(later))
    with psycopg.connect(database_url) as conn:
        conn.execute(
            """INSERT INTO billing.usage_event (tenant, source, event_id, kind, product, quantity, occurred_at,
                received_at, study_ref, case_key, dimensions, evidence, payload_hash)
            VALUES (%s, 's', 'e', 'result_delivered', 'p', 1, now(), now(), 's', 'case', '{}', '{}', %s)""",
            (TENANT, bytes(32)),
        )
        conn.execute(
            """INSERT INTO billing.event_decision (tenant, ingest_sequence, kind, revision, outcome, reason_code,
                explanation, policy, contract_id, contract_version, case_key, decided_by, decided_at)
            SELECT tenant, ingest_sequence, kind, 1, 'billable', 'first_delivery', 'x', 'x', %s, 1, case_key, 'x',
                now() FROM billing.usage_event""",
            (contract_id,),
        )
    with backend.lock():
        backend.apply_migrations(backend.to_apply(migrations))
    backend.connection.close()
    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT case_key, ingest_sequence FROM billing.case_claim").fetchone() == (
            "case",
            1,
        )


@pytest.mark.parametrize("seed", range(3))
def test_whatever_two_sides_do_at_once_a_case_is_charged_once_while_a_delivery_stands(
    transact, contract_id: int, make_event: MakeEvent, seed: int
) -> None:
    """Duplicates, other deliveries, retries in batches and voids of few cases, from two connections."""
    rng = random.Random(seed)
    stream = [
        (rng.choice(["send", "send", "send", "void"]), rng.randrange(16), rng.random()) for _ in range(90)
    ]
    problems: list[Exception] = []
    barrier = threading.Barrier(2)

    def work(side: int) -> None:
        barrier.wait()
        try:
            for what, number, chance in stream[side::2]:
                with transact() as conn:
                    if what == "send":
                        numbers = [number, (number + 5) % 16, number][: 1 + int(chance * 3)]
                        batch = [make_event(n, case_key=f"case-{n % 3}") for n in numbers]
                        meter.record_many(conn, TENANT, batch, received_at=NOW)
                    else:
                        try:
                            voids.void(
                                conn, TENANT, "test", f"delivery:{number}", reason="x", by="a.person", now=NOW
                            )
                        except (UsageEventNotFound, VoidRefused):
                            conn.rollback()
                    if chance < 0.1:
                        conn.rollback()
        except Exception as problem:  # told by the test's own thread
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(side,)) for side in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with transact() as conn:
        recorded = [row for row in store.list_usage(conn, TENANT, 1000) if row.event.kind != "void"]
        assert ledger.check(conn, TENANT) == []
    standing, charged = defaultdict(int), defaultdict(int)
    for row in recorded:
        standing[row.event.case_key] += row.decision.reason_code != "voided"
        charged[row.event.case_key] += row.decision.is_billable
    assert charged == {case: min(count, 1) for case, count in standing.items()}
    outcomes = [row.decision.outcome.value for row in recorded]
    assert len(outcomes) == sum(map(outcomes.count, ("billable", "not_billable", "quarantined")))
