"""Checks of the work: who does it, what waits, what was given up, and whether a made-up study comes through."""

from __future__ import annotations

from datetime import timedelta
from typing import LiteralString

from pipeline import destinations, heartbeat, store
from pipeline.heartbeat import STAGES
from pipeline.heartbeat_pulse import pulse
from pipeline.nodes import list_nodes
from pipeline.send_objects import Sender
from server.checks.finding import Check, Finding, Ground

_QUEUE_LATE = timedelta(minutes=10)
_WORKER_GONE_S = 60
_SHOWN_MAX = 5


def workers(ground: Ground) -> Finding | None:
    row = ground.database.execute(
        "SELECT count(*) AS n FROM procrastinate_workers WHERE last_heartbeat > now() - make_interval(secs => %s)",
        (_WORKER_GONE_S,),
    ).fetchone()
    if row is not None and row["n"]:
        return None
    return Finding(
        "no worker is at work",
        "studies are received and wait; nothing is lost",
        "start one: `systemctl restart radmeter` on one box, `kubectl get pods` in a cluster; then look at its log",
    )


def nodes(ground: Ground) -> Finding | None:
    silent = [one for one in list_nodes(ground.database) if one.is_silent]
    if not silent:
        return None
    return Finding(
        f"not heard of: {', '.join(one.name for one in silent[:_SHOWN_MAX])}",
        "others do its work; what it had in hand is taken over within seconds",
        "look at that machine; its line goes after an hour, or when it comes back under this name",
    )


def versions(ground: Ground) -> Finding | None:
    found = sorted({one.newest_migration for one in list_nodes(ground.database) if not one.is_silent})
    if len(found) < 2:
        return None
    return Finding(
        f"processes of {len(found)} versions serve: they know {', '.join(found)}",
        "nothing while an upgrade rolls through",
        "end the upgrade, or go back with all of them (docs/upgrades.md)",
    )


def beats(ground: Ground) -> Finding | None:
    ground.see(heartbeat.TENANT)
    last = pulse(ground.database)
    minutes = ground.settings.heartbeat_minutes
    if not last.is_installed:
        if not minutes:
            return None
        return Finding(
            "the heartbeat is not installed",
            "nobody notices a path that is broken",
            "radmeter heartbeat install",
        )
    if last.stage is not None:
        return Finding(
            f"the last made-up study failed at {last.stage} ({STAGES[last.stage]}): {last.problem}",
            "studies of patients probably fail there too; a wrong answer means that results must not be trusted now",
            f"docs/operations.md, Heartbeat: {last.stage}; then `radmeter heartbeat run`",
        )
    row = ground.database.execute(
        "SELECT clock_timestamp() AS now, created_at FROM tenant WHERE tenant = %s", (heartbeat.TENANT,)
    ).fetchone()
    assert row is not None
    allowed = timedelta(minutes=3 * minutes) + heartbeat.GIVE_UP_AFTER
    if minutes and row["now"] - (last.last_success_at or row["created_at"]) > allowed:
        since = f" since {last.last_success_at:%Y-%m-%d %H:%M}" if last.last_success_at else " yet"
        return Finding(
            f"no made-up study came through{since}",
            "the path may be broken, or no worker sends them",
            "radmeter heartbeat run",
        )
    return None


def queue(ground: Ground) -> Finding | None:
    row = ground.database.execute(
        """SELECT count(*) AS jobs, min(due) AS oldest, clock_timestamp() - min(due) AS age FROM (
             SELECT coalesce(j.scheduled_at,
                             (SELECT min(e.at) FROM procrastinate_events e WHERE e.job_id = j.id)) AS due
             FROM procrastinate_jobs j
             WHERE j.status = 'todo' AND (j.scheduled_at IS NULL OR j.scheduled_at <= now())
           ) waiting"""
    ).fetchone()
    if row is None or row["age"] is None or row["age"] < _QUEUE_LATE:
        return None
    minutes = row["age"].total_seconds() / 60
    return Finding(
        f"{row['jobs']} jobs are due, the oldest for {minutes:.0f} minutes",
        "results are late; emergencies go first",
        "more workers (docs/capacity.md), or find what holds them: radmeter status",
    )


def stalled(ground: Ground) -> Finding | None:
    row = ground.database.execute(
        """SELECT count(*) AS n FROM procrastinate_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
           WHERE j.status = 'doing' AND (w.id IS NULL OR w.last_heartbeat < now() - make_interval(secs => %s))""",
        (_WORKER_GONE_S,),
    ).fetchone()
    if row is None or not row["n"]:
        return None
    return Finding(
        f"{row['n']} jobs are in the hands of workers that are gone",
        "these studies stand still; nothing is lost or charged twice",
        "start a worker: any one takes them over within 15 s",
    )


def _counted(query: LiteralString, what: str, means: str, do: str) -> Check:
    def look(ground: Ground) -> Finding | None:
        row = ground.database.execute(query).fetchone()
        return Finding(what.format(row["n"]), means, do) if row and row["n"] else None

    return Check(what.format("no").replace("no of", "none of"), look)


def destinations_answer(ground: Ground) -> Finding | None:
    # Not at the top: it brings everything that a worker needs.
    from server.common_wiring import mail_server

    silent = []
    for tenant in ground.tenants():
        calling = store.get_tenant(ground.database, tenant)["called_ae_title"]
        sender = Sender(calling, ground.settings.secrets_directory, mail_server(ground.settings))
        for target in destinations.list_destinations(ground.database, tenant):
            problem = sender.test(target) if target.enabled else None
            if problem is not None:
                silent.append(f"{target.name} of {tenant} ({target.address}): {problem}")
    if not silent:
        return None
    return Finding(
        f"{len(silent)} destinations do not answer: {'; '.join(silent[:_SHOWN_MAX])}",
        "results wait for them and are sent when they are back, for days",
        "call who runs it; test it again: radmeter destination test NAME --tenant TENANT",
    )


CHECKS = (
    Check("a worker is at work", workers),
    Check("a made-up study comes through with the right answer", beats),
    Check("the queue is not late", queue),
    Check("no job is in the hands of the dead", stalled),
    _counted(
        """SELECT count(*) AS n FROM study s JOIN tenant t USING (tenant) WHERE s.status = 'failed' AND NOT is_synthetic
           AND s.updated_at > now() - interval '1 day'""",
        "{} studies failed in the last day",
        "these patients have no result; their work list shows each reason, nothing is charged",
        "open the work list, view Problems; the reasons stand in docs/statuses.md",
    ),
    _counted(
        "SELECT count(*) AS n FROM procrastinate_jobs WHERE status = 'failed'",
        "{} jobs ended with an error of ours",
        "what they were about stands still",
        "radmeter doctor --bundle support.zip, to the makers",
    ),
    _counted(
        "SELECT count(*) AS n FROM arrival WHERE closed_at IS NULL AND decision->>'verdict' = 'ask'",
        "{} studies wait for a person to say process or discard",
        "these stand still until somebody decides: the force policy or the late policy is to ask",
        "radmeter study waiting; then process or discard, there or on the page of the study",
    ),
    _counted(
        """SELECT count(*) AS n FROM study s JOIN tenant t USING (tenant)
           WHERE s.status = 'encoded' AND NOT is_synthetic AND s.updated_at < now() - interval '10 minutes'""",
        "{} studies wait for their destination for more than ten minutes",
        "their results are made and not in the PACS; nothing is charged before they are",
        "radmeter delivery list; does the PACS accept C-STORE from us? radmeter destination test NAME",
    ),
    _counted(
        "SELECT count(*) AS n FROM delivery WHERE state IN ('refused', 'dead')",
        "{} objects were not taken by their destination",
        "these results are not where they should be",
        "radmeter delivery list tells why; then radmeter delivery retry",
    ),
    Check("every process is heard of", nodes),
    Check("all processes are of one version", versions),
    Check("each destination answers", destinations_answer, deep=True),
)
