"""`radmeter status`: how an installation is, gathered once; `status_screen` draws it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg

from billing.books import outstanding
from dicom_gateway.errors import GatewayError
from dicom_gateway.tls import days_left
from pipeline import heartbeat
from pipeline.heartbeat_pulse import Pulse, pulse
from pipeline.nodes import Node, list_nodes
from server.checks.finding import Ground
from server.doctor import verdicts
from server.gateway import tls_files

_MONEY_TIMEOUT = "SET LOCAL statement_timeout = '5s'"
Rows = list[dict[str, Any]]

# Over all tenants of patients. A study of today is one that began to come in since midnight of the database's day.
_QUEUES = """
    SELECT j.queue_name AS queue, count(*) FILTER (WHERE j.status = 'doing') AS doing,
           count(*) FILTER (WHERE j.status = 'failed') AS failed,
           count(*) FILTER (WHERE j.status = 'todo' AND due <= now()) AS due,
           count(*) FILTER (WHERE j.status = 'todo' AND due > now()) AS later,
           round(extract(epoch FROM now() - min(due) FILTER (WHERE j.status = 'todo' AND due <= now())))::int
             AS oldest_s
    FROM procrastinate_jobs j, LATERAL (SELECT coalesce(j.scheduled_at,
             (SELECT min(e.at) FROM procrastinate_events e WHERE e.job_id = j.id), now()) AS due) t
    WHERE j.status IN ('todo', 'doing', 'failed') GROUP BY j.queue_name ORDER BY j.queue_name"""
_TODAY = """
    SELECT s.status, count(*) AS studies FROM study s JOIN tenant t USING (tenant)
    WHERE NOT is_synthetic AND s.created_at >= date_trunc('day', now()) GROUP BY s.status ORDER BY s.status"""
_REFUSALS = """
    SELECT s.reason_code AS reason, count(*) AS studies FROM study s JOIN tenant t USING (tenant)
    WHERE NOT is_synthetic AND s.status IN ('rejected', 'failed') AND s.created_at >= date_trunc('day', now())
    GROUP BY s.reason_code ORDER BY count(*) DESC, s.reason_code LIMIT 6"""
_DELIVERIES = """
    SELECT d.state, count(*) AS objects, max(d.acknowledged_at) AS last_at FROM delivery d JOIN tenant t USING (tenant)
    WHERE NOT is_synthetic
      AND (d.state IN ('waiting', 'refused', 'dead') OR d.acknowledged_at > now() - interval '1 day')
    GROUP BY d.state ORDER BY d.state"""
_ARRIVING = """
    SELECT count(DISTINCT s.id) AS studies, coalesce(sum(a.new_count), 0)::bigint AS instances
    FROM study s LEFT JOIN arrival a ON a.tenant = s.tenant AND a.study_id = s.id
    WHERE s.tenant = current_setting('radmeter.tenant') AND s.created_at > now() - interval '1 hour'"""
_ASIDE = "SELECT count(*) AS n FROM quarantined_instance WHERE tenant = current_setting('radmeter.tenant')"
_ALERTS = """
    SELECT coalesce(sum(coalesce((detail->>'count')::int, 1)), 0)::bigint AS n FROM audit_event
    WHERE event = 'Security Alert' AND outcome > 0 AND at > now() - interval '1 day'"""


@dataclass(frozen=True)
class Attention:
    """What a quick check found."""

    what: str
    means: str
    do: str


@dataclass
class Status:
    """What one screen shows. An empty part could not be asked; `attention` says why."""

    at: datetime
    database: str = "away"
    attention: list[Attention] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    queues: Rows = field(default_factory=list)
    today: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    deliveries: Rows = field(default_factory=list)
    studies_in_hour: int = 0
    instances_in_hour: int = 0
    instances_aside: int = 0
    security_alerts: int = 0
    pulse: Pulse | None = None
    heartbeat_minutes: int = 0
    free_bytes: int = 0
    size_bytes: int = 0
    certificate_days: int | None = None
    unbilled: list[str] = field(default_factory=list)


def gather(ground: Ground, *, with_money: bool = True) -> Status:
    """Ask everything once. What fails leaves its part empty; the checks tell of it."""
    settings = ground.settings
    found = Status(datetime.now(UTC), heartbeat_minutes=settings.heartbeat_minutes)
    found.attention = [
        Attention(one.finding.what, one.finding.means, one.finding.do)
        for one in verdicts(ground, deep=False)
        if one.finding is not None
    ]
    disk = shutil.disk_usage(settings.data_directory)
    found.free_bytes, found.size_bytes = disk.free, disk.total
    files = tls_files(settings)
    try:
        found.certificate_days = days_left(files) if files else None
    except (GatewayError, OSError):
        found.certificate_days = None  # a check tells of it
    if ground.conn is not None:
        version = ground.conn.info.server_version
        found.database = f"PostgreSQL {version // 10_000}.{version % 10_000}"
        parts = [_work, _studies, _received, _pulse, *([_money] if with_money else [])]
        for part in parts:
            _ask(ground, part, found)
    return found


def _ask(ground: Ground, part: Callable[[Ground, Status], None], found: Status) -> None:
    try:
        part(ground, found)
    except psycopg.Error:
        pass  # a part that this schema has not, or that takes too long, stays empty
    finally:
        ground.database.rollback()


def _rows(ground: Ground, query: LiteralString) -> Rows:
    return ground.database.execute(query).fetchall()


def _work(ground: Ground, found: Status) -> None:
    found.queues = _rows(ground, _QUEUES)
    found.nodes = list_nodes(ground.database)


def _studies(ground: Ground, found: Status) -> None:
    found.today = {row["status"]: row["studies"] for row in _rows(ground, _TODAY)}
    found.refusals = {row["reason"]: row["studies"] for row in _rows(ground, _REFUSALS)}
    found.deliveries = _rows(ground, _DELIVERIES)
    found.security_alerts = _rows(ground, _ALERTS)[0]["n"]


def _received(ground: Ground, found: Status) -> None:
    for _ in ground.tenants():
        (row,) = _rows(ground, _ARRIVING)
        found.studies_in_hour += row["studies"]
        found.instances_in_hour += row["instances"]
        found.instances_aside += _rows(ground, _ASIDE)[0]["n"]


def _pulse(ground: Ground, found: Status) -> None:
    ground.see(heartbeat.TENANT)
    found.pulse = pulse(ground.database)


def _money(ground: Ground, found: Status) -> None:
    """What no statement has asked for yet, by contract; the running period is part of it."""
    ground.database.execute(_MONEY_TIMEOUT)
    for tenant in ground.tenants():
        for one in outstanding.accrued_unbilled(ground.database, tenant, found.at):
            state = "ended" if one.is_over else "running"
            found.unbilled.append(f"{one.amount} {one.contract_name} ({tenant}), period {state}")
