"""The heartbeat: a made-up study with a known answer takes the whole path every few minutes, and is never billed.

It lives in a tenant of its own that is marked synthetic: its peer is a test peer, so what it uses is recorded as not
charged, and the database refuses that tenant a contract. Its results go to a sink, which reads them and keeps nothing.
What it should find is known, so a wrong answer is an alarm like a missing one. All instants are the database's.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from billing.contracts import store as billing_store
from billing.metering.decide import Outcome, Reason
from pipeline import peers, store
from pipeline.database import Connection
from pipeline.heartbeat_errors import HeartbeatNotInstalled, HeartbeatTenantTaken
from pipeline.status import StudyStatus
from pipeline.store import Row

TENANT = "heartbeat"
SINK = "sink"
GIVE_UP_AFTER = timedelta(minutes=5)
"""A study that has come to no end by then is an alarm: at rest the path takes seconds."""
STUDIES_KEPT = 12
_QUIET_TIME_S = 1.0
_SIZE_TOLERANCE = 0.4
_EXTRA_FINDINGS_MAX = 1

STAGES = {
    "send": "the gateway did not take it",
    "receive": "the gateway took it, and no study came of it",
    "assemble": "the study was not seen to be complete",
    "route": "no model was chosen for it",
    "decode": "its images were not read",
    "infer": "the model did not run",
    "encode": "no result objects were made, or the gate before delivery held them",
    "deliver": "the results were not delivered",
    "answer": "the model's answer is wrong",
    "meter": "its use was not recorded as not charged",
}
"""Where a heartbeat can fail, in the order of the path, and what that means."""
_NEXT_STAGE = {
    StudyStatus.RECEIVING: "assemble",
    StudyStatus.ASSEMBLED: "route",
    StudyStatus.ROUTED: "decode",
    StudyStatus.HELD: "decode",
    StudyStatus.DECODED: "infer",
    StudyStatus.INFERRED: "encode",
    StudyStatus.ENCODED: "deliver",
}
_ENDS = frozenset({StudyStatus.DELIVERED, StudyStatus.REJECTED, StudyStatus.FAILED, StudyStatus.SHADOWED})


@dataclass(frozen=True)
class Names:
    """The AE titles of the heartbeat. They are random: who does not know them gets nothing analysed for nothing."""

    called_ae_title: str
    calling_ae_title: str


@dataclass(frozen=True)
class Expected:
    """The one nodule of the made-up study; centre in patient LPS, mm."""

    center_lps_mm: tuple[float, float, float]
    diameter_mm: float


@dataclass(frozen=True)
class Beat:
    """One made-up study on its way."""

    id: int
    study_instance_uid: str
    started_at: datetime


@dataclass(frozen=True)
class Ending:
    """What became of one: `stage` where it failed, or the seconds that it took."""

    seconds: float | None = None
    stage: str | None = None
    problem: str | None = None


def install(conn: Connection, *, port: int) -> bool:
    """Make the tenant, its peer and its sink, as the schema's owner; False when they were there.

    port: of our own gateway; the peer needs one and nothing is sent there. Raises `HeartbeatTenantTaken`.
    """
    conn.execute("SELECT set_config('radmeter.tenant', %s, false)", (TENANT,))
    called, calling = (f"HB{secrets.token_hex(7).upper()}" for _ in range(2))
    conn.execute(
        """INSERT INTO tenant (tenant, name, called_ae_title, is_synthetic)
           VALUES (%s, 'Heartbeat (made-up studies, never billed)', %s, true) ON CONFLICT (tenant) DO NOTHING""",
        (TENANT, called),
    )
    if not store.get_tenant(conn, TENANT)["is_synthetic"]:
        raise HeartbeatTenantTaken(TENANT)
    if names(conn) is not None:
        return False
    conn.execute(
        "INSERT INTO destination (tenant, name, kind) VALUES (%s, %s, 'sink') ON CONFLICT DO NOTHING",
        (TENANT, SINK),
    )
    peers.save_peer(
        conn, TENANT, ae_title=calling, host="127.0.0.1", port=port, quiet_time_s=_QUIET_TIME_S,
        quiet_time_max_s=_QUIET_TIME_S, result_destination=SINK, is_test=True, archive_habit="complete",
        modalities=("CT",), changed_by="heartbeat",
    )  # fmt: skip
    return True


def remove(conn: Connection) -> bool:
    """Let nothing more come in; False when it was not installed. The records of what was not charged stay."""
    conn.execute("SELECT set_config('radmeter.tenant', %s, false)", (TENANT,))
    found = names(conn)
    if found is None:
        return False
    peers.remove_peer(conn, TENANT, found.calling_ae_title, changed_by="heartbeat")
    conn.execute("DELETE FROM destination WHERE tenant = %s", (TENANT,))
    conn.execute("DELETE FROM heartbeat WHERE tenant = %s", (TENANT,))
    return True


def names(conn: Connection) -> Names | None:
    """None where it is not installed. The connection is that of the heartbeat's tenant."""
    row = conn.execute(
        """SELECT called_ae_title, ae_title FROM tenant JOIN peer USING (tenant)
           WHERE tenant = %s AND is_synthetic AND is_test AND enabled ORDER BY ae_title LIMIT 1""",
        (TENANT,),
    ).fetchone()
    return Names(row["called_ae_title"], row["ae_title"]) if row else None


def begin(conn: Connection, study_instance_uid: str, *, every: timedelta) -> Beat | None:
    """A new one, unless one is under way or the last began less than `every` ago. Several workers make one.

    Raises `HeartbeatNotInstalled`.
    """
    conn.execute("SELECT pg_advisory_xact_lock(hashtext('heartbeat'))")
    if names(conn) is None:
        raise HeartbeatNotInstalled
    row = conn.execute(
        """INSERT INTO heartbeat (tenant, study_instance_uid)
           SELECT %(tenant)s, %(uid)s WHERE NOT EXISTS (
               SELECT 1 FROM heartbeat WHERE tenant = %(tenant)s
               AND (ended_at IS NULL OR started_at > clock_timestamp() - %(every)s))
           RETURNING id, study_instance_uid, started_at""",
        {"tenant": TENANT, "uid": study_instance_uid, "every": every},
    ).fetchone()
    return Beat(**row) if row else None


def under_way(conn: Connection) -> Beat | None:
    row = conn.execute(
        "SELECT id, study_instance_uid, started_at FROM heartbeat WHERE tenant = %s AND ended_at IS NULL",
        (TENANT,),
    ).fetchone()
    return Beat(**row) if row else None


def judge(conn: Connection, beat: Beat, expected: Expected) -> Ending | None:
    """What became of it; None while it is under way and has time left."""
    study = conn.execute(
        """SELECT id, status, revision, reason_code, reason_text, updated_at FROM study
           WHERE tenant = %s AND study_instance_uid = %s""",
        (TENANT, beat.study_instance_uid),
    ).fetchone()
    status = StudyStatus(study["status"]) if study else None
    if study is not None and status in _ENDS:
        return _judge_end(conn, beat, study, expected)
    row = conn.execute("SELECT clock_timestamp() AS now").fetchone()
    assert row is not None
    if row["now"] - beat.started_at < GIVE_UP_AFTER:
        return None
    stage = _NEXT_STAGE.get(status, "receive") if status else "receive"
    minutes = GIVE_UP_AFTER.total_seconds() / 60
    return Ending(stage=stage, problem=f"no end within {minutes:g} minutes: {STAGES[stage]}")


def _judge_end(conn: Connection, beat: Beat, study: Row, expected: Expected) -> Ending:
    if study["status"] != StudyStatus.DELIVERED:
        stage = _stage_of_failure(conn, study)
        words = f"{study['reason_code']}: {study['reason_text']}" if study["reason_code"] else study["status"]
        return Ending(stage=stage, problem=words[:500])
    results = store.results(conn, TENANT, study["id"], study["revision"])
    findings = [finding for result in results for finding in result["findings"]]
    wrong = wrong_answer(findings, expected)
    if wrong is not None:
        return Ending(stage="answer", problem=wrong)
    charged = _charged_wrong(conn, str(study["id"]))
    if charged is not None:
        return Ending(stage="meter", problem=charged)
    return Ending(seconds=(study["updated_at"] - beat.started_at).total_seconds())


def _stage_of_failure(conn: Connection, study: Row) -> str:
    """The step after the last status that the study had reached."""
    reached = {f"study_{status.value}": stage for status, stage in _NEXT_STAGE.items()}
    row = conn.execute(
        """SELECT event FROM study_event WHERE tenant = %s AND study_id = %s AND event = ANY(%s)
           ORDER BY id DESC LIMIT 1""",
        (TENANT, study["id"], list(reached)),
    ).fetchone()
    return reached[row["event"]] if row else "assemble"


def wrong_answer(findings: Sequence[dict[str, Any]], expected: Expected) -> str | None:
    """What is wrong with what the model found, as a sentence; None when it is as expected."""
    near = [
        one
        for one in findings
        if math.dist(one["center_lps_mm"], expected.center_lps_mm) <= expected.diameter_mm / 2
    ]
    if not near:
        return f"the known nodule was not found, among {len(findings)} findings"
    size = float(near[0]["mean_diameter_mm"])
    if abs(size - expected.diameter_mm) > _SIZE_TOLERANCE * expected.diameter_mm:
        return f"the known nodule of {expected.diameter_mm:.1f} mm was measured as {size:.1f} mm"
    if len(findings) > 1 + _EXTRA_FINDINGS_MAX:
        return f"{len(findings)} findings where one nodule is"
    return None


def _charged_wrong(conn: Connection, study_id: str) -> str | None:
    recorded = billing_store.usage_for_study(conn, TENANT, study_id)
    decisions = [(one.decision.outcome, one.decision.reason_code) for one in recorded]
    if decisions == [(Outcome.NOT_BILLABLE, Reason.TEST_PEER)]:
        return None
    said = ", ".join(f"{outcome} ({reason})" for outcome, reason in decisions) or "nothing"
    return f"its use should be recorded once as not charged, and is recorded as: {said}"


def end(conn: Connection, beat: Beat, ending: Ending) -> bool:
    """Store what became of it; False when another worker has."""
    closed = conn.execute(
        """UPDATE heartbeat SET ended_at = clock_timestamp(), seconds = %s, stage = %s, problem = %s
           WHERE tenant = %s AND id = %s AND ended_at IS NULL""",
        (ending.seconds, ending.stage, ending.problem, TENANT, beat.id),
    )
    if closed.rowcount and ending.stage is not None:
        conn.execute(
            """INSERT INTO heartbeat_failure (tenant, stage, failures) VALUES (%s, %s, 1)
               ON CONFLICT (tenant, stage) DO UPDATE SET failures = heartbeat_failure.failures + 1""",
            (TENANT, ending.stage),
        )
    return closed.rowcount > 0
