"""Gathers what the database knows about an arrival into the evidence that `dicom_gateway.assemble` decides on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from dicom_gateway.arrival_evidence import (
    ArrivalEvidence,
    AssociationState,
    CompletionPolicy,
    ForcePolicy,
    Order,
    SeriesEvidence,
)
from dicom_gateway.series_gaps import SLICES_MIN
from pipeline.ask_counts import WHOLE_STUDY
from pipeline.completion_lists import add_counts, add_steps
from pipeline.database import Connection
from pipeline.pauses import habits_of, quiet_times

Row = dict[str, Any]


@dataclass(frozen=True)
class ArrivalState:
    """An open arrival, locked: its row, what is known of it, and how long to wait.

    memory: what later looks need to know of this one; saved with the decision.
    should_ask: the sender's archive is to be asked for its counts.
    """

    row: Row
    evidence: ArrivalEvidence
    policy: CompletionPolicy
    modality: str
    memory: Row
    should_ask: bool = False


def lock_open_arrival(conn: Connection, tenant: str, arrival_id: int) -> Row | None:
    """The arrival with its association and peer; None once it is closed. Instances wait while it is locked.

    An association that has gone on to another study is done with this one.
    """
    return conn.execute(
        """SELECT a.*, clock_timestamp() AS now,
                  coalesce(s.how, CASE WHEN EXISTS (
                      SELECT 1 FROM arrival other
                      WHERE other.tenant = a.tenant AND other.association_id = a.association_id
                        AND other.last_at > a.last_at) THEN 'released' ELSE 'open' END) AS association,
                  st.started_with, p.quiet_time_s, p.quiet_time_max_s, p.force_after_s, p.force_policy, p.archive_habit
           FROM arrival a JOIN study st ON st.tenant = a.tenant AND st.id = a.study_id
           LEFT JOIN association s ON s.id = a.association_id
           LEFT JOIN peer p ON p.tenant = a.tenant AND p.ae_title = a.ae_title
           WHERE a.tenant = %s AND a.id = %s AND a.closed_at IS NULL FOR UPDATE OF a""",
        (tenant, arrival_id),
    ).fetchone()


def gather(conn: Connection, row: Row, headers: Row | None = None) -> ArrivalState:
    """headers: by Series Instance UID what `read_headers` has just read; else None."""
    tenant = row["tenant"]
    series = {one.series_instance_uid: one for one in _received(conn, row)}
    memory = dict(row["memory"])
    facts = memory["headers"] = memory.get("headers", {}) | (headers or {})
    for uid, one in series.items():
        known = facts.get(uid, {"here": 0, "number": None, "missing": 0})
        is_current = known["here"] == one.here
        series[uid] = replace(
            one,
            number=known["number"],
            missing_slices=known["missing"] if is_current else 0,
            is_read=is_current or one.here < SLICES_MIN,
        )
    modality = _main_modality(series.values())
    steps = add_steps(conn, row, series)
    archive = add_counts(conn, row, series, memory)
    evidence = ArrivalEvidence(
        instance_count=row["new_count"] + row["identical_count"] + row["conflict_count"],
        silence_s=max(0.0, (row["now"] - row["last_at"]).total_seconds()),
        association=AssociationState(row["association"]),
        series=tuple(series.values()),
        geometry_is_known=all(
            one.is_read or not one.here for one in series.values() if one.series_instance_uid != WHOLE_STUDY
        ),
        steps_in_progress=steps.in_progress,
        steps_ended=steps.ended,
        counts=archive.counts,
        archive_grew=archive.grew,
        order=Order(row["ordered"]) if row["ordered"] else None,
    )
    policy = _policy(conn, tenant, row, modality)
    return ArrivalState(row, evidence, policy, modality, memory, archive.should_ask)


def _received(conn: Connection, row: Row) -> Iterable[SeriesEvidence]:
    rows = conn.execute(
        """SELECT series_instance_uid, min(modality) AS modality, count(*) AS here, max(received_at) AS last_at
           FROM instance WHERE tenant = %s AND study_id = %s
           GROUP BY series_instance_uid ORDER BY min(received_at), series_instance_uid""",
        (row["tenant"], row["study_id"]),
    ).fetchall()
    for one in rows:
        yield SeriesEvidence(
            one["series_instance_uid"],
            modality=one["modality"],
            here=one["here"],
            silence_s=max(0.0, (row["now"] - one["last_at"]).total_seconds()),
        )


def _main_modality(series: Iterable[SeriesEvidence]) -> str:
    """Of the series with the most instances: a CT study with a dose report is a CT study."""
    return max(series, key=lambda one: one.here, default=SeriesEvidence("")).modality


def _policy(conn: Connection, tenant: str, row: Row, modality: str) -> CompletionPolicy:
    if row["quiet_time_s"] is None:  # the peer was removed while its study arrived
        return CompletionPolicy()
    quiet, broken = quiet_times(
        conn,
        tenant,
        row["ae_title"],
        modality,
        configured_s=row["quiet_time_s"],
        max_s=row["quiet_time_max_s"],
    )
    learned = habits_of(conn, tenant, row["ae_title"])
    is_learned = row["archive_habit"] == "learned"
    return CompletionPolicy(
        quiet,
        broken,
        row["quiet_time_max_s"],
        row["force_after_s"],
        ForcePolicy(row["force_policy"]),
        archive_fills=learned.archive_fills if is_learned else row["archive_habit"] == "fills",
        steps_list_less=learned.steps_list_less,
        series_not_sent=learned.series_not_sent,
        series_never_sent=learned.series_never_sent,
    )
