"""What lists say of an arriving study: performed procedure steps (MPPS), and the counts of the sender's archive."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from dicom_gateway.archive_memory import ArchiveMemory
from dicom_gateway.arrival_evidence import Counts, SeriesEvidence
from pipeline.archives import has_archive
from pipeline.ask_counts import WHOLE_STUDY, archive_answer, archive_counts
from pipeline.database import Connection

Row = dict[str, Any]
SeriesByUID = dict[str, SeriesEvidence]

_STEPS = """SELECT count(*) FILTER (WHERE p.status = 'IN PROGRESS') AS in_progress,
                   count(*) FILTER (WHERE p.status <> 'IN PROGRESS') AS ended
            FROM performed_procedure_step p JOIN study s USING (tenant, study_instance_uid)
            WHERE s.tenant = %s AND s.id = %s"""
# A discontinued step lists what was made, and nobody knows whether it will be sent.
_LISTED = """
SELECT listed.series_uid, count(*) AS listed, count(i.sop_instance_uid) AS here
FROM (SELECT DISTINCT p.tenant, s.id AS study_id, one->>'series_instance_uid' AS series_uid, uid
      FROM performed_procedure_step p JOIN study s USING (tenant, study_instance_uid),
           jsonb_array_elements(p.series) one, jsonb_array_elements_text(one->'sop_instance_uids') uid
      WHERE s.tenant = %s AND s.id = %s AND p.status <> 'DISCONTINUED') listed
LEFT JOIN instance i ON i.tenant = listed.tenant AND i.sop_instance_uid = listed.uid
    AND i.study_id = listed.study_id AND i.series_instance_uid = listed.series_uid
GROUP BY listed.series_uid"""


@dataclass(frozen=True)
class Steps:
    """Performed procedure steps of a study."""

    in_progress: int
    ended: int


def add_steps(conn: Connection, row: Row, series: SeriesByUID) -> Steps:
    """Put what MPPS lists into `series`."""
    of = (row["tenant"], row["study_id"])
    steps = conn.execute(_STEPS, of).fetchone()
    assert steps is not None
    if steps["in_progress"] or steps["ended"]:
        for one in conn.execute(_LISTED, of).fetchall():
            known = series.get(one["series_uid"], SeriesEvidence(one["series_uid"]))
            series[one["series_uid"]] = replace(known, listed=one["listed"], listed_here=one["here"])
    return Steps(steps["in_progress"], steps["ended"])


@dataclass(frozen=True)
class ArchiveState:
    """grew: see `ArrivalEvidence`. should_ask: the archive has not been asked since the latest instance."""

    counts: Counts = Counts.NONE
    grew: bool = False
    should_ask: bool = False


def add_counts(conn: Connection, row: Row, series: SeriesByUID, memory: Row) -> ArchiveState:
    """Put the archive's counts into `series`; remember in `memory` how they have changed while the study arrives."""
    tenant, study_id = row["tenant"], row["study_id"]
    if not has_archive(conn, tenant, row["ae_title"]):
        return ArchiveState()
    last_at = row["last_at"].isoformat()
    should_ask = memory.get("asked_after") != last_at
    memory["asked_after"] = last_at
    answer = archive_answer(conn, tenant, study_id)
    counts = (
        archive_counts(conn, tenant, study_id) if answer and answer["asked_at"] >= row["first_at"] else {}
    )
    if answer is None or (not counts and answer["state"] not in ("answered", "unknown_study")):
        return ArchiveState(Counts.STALE, should_ask=should_ask)
    if not counts:
        return ArchiveState(
            Counts.STALE if answer["asked_at"] < row["last_at"] else Counts.NONE, should_ask=should_ask
        )
    seen = ArchiveMemory(**memory.get("archive", {})).after(counts)
    memory["archive"] = asdict(seen)
    for uid, count in counts.items():
        known = series.get(uid) or SeriesEvidence(uid, here=_all_here(series) if uid == WHOLE_STUDY else 0)
        series[uid] = replace(known, counted=count)
    is_fresh = answer["state"] == "answered" and answer["asked_at"] > row["last_at"]
    return ArchiveState(
        Counts.FRESH if is_fresh else Counts.STALE,
        seen.grew,
        should_ask and not is_fresh,
    )


def _all_here(series: SeriesByUID) -> int:
    return sum(one.here for one in series.values())
