"""The habits of a sender, seen in its studies: how it pauses, what its archive and its MPPS are worth as lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dicom_gateway.archive_memory import archive_fills
from dicom_gateway.quiet_time import PAUSE_MAX_S, SAMPLES_MAX, QuietTime, learn
from dicom_gateway.series_gaps import longest_pause_s
from dicom_gateway.step_habits import series_never_sent, series_not_sent, steps_list_less
from pipeline.database import Connection
from pipeline.store import StudyRecord
from study.study import Study

Row = dict[str, Any]


@dataclass(frozen=True)
class Habits:
    """What one study showed. archive_grew: None where the archive was not asked; the others: None without MPPS."""

    archive_grew: bool | None = None
    steps_listed_less: bool | None = None
    series_not_sent: int | None = None


@dataclass(frozen=True)
class Learned:
    """See `CompletionPolicy`."""

    archive_fills: bool
    steps_list_less: bool | None
    series_not_sent: int
    series_never_sent: int


def quiet_times(
    conn: Connection, tenant: str, ae_title: str, modality: str, *, configured_s: float, max_s: float
) -> tuple[QuietTime, QuietTime]:
    """What was learned from the newest studies of this peer and modality, not older than 30 days.

    The second is that after an association that broke off.
    """
    rows = conn.execute(
        """SELECT pause_s, broken_pause_s FROM longest_pause
           WHERE tenant = %s AND ae_title = %s AND modality = %s AND seen_at > now() - interval '30 days'
           ORDER BY seen_at DESC LIMIT %s""",
        (tenant, ae_title, modality, SAMPLES_MAX),
    ).fetchall()
    broken = [row["broken_pause_s"] for row in rows if row["broken_pause_s"] is not None]
    return learn([row["pause_s"] for row in rows], configured_s, max_s), learn(broken, configured_s, max_s)


def habits_of(conn: Connection, tenant: str, ae_title: str) -> Learned:
    """What the same studies, of any modality, showed of the lists that the peer and its archive give."""

    rows = conn.execute(
        """SELECT archive_grew, steps_listed_less, series_not_sent FROM longest_pause
           WHERE tenant = %s AND ae_title = %s AND seen_at > now() - interval '30 days'
             AND (archive_grew IS NOT NULL OR steps_listed_less IS NOT NULL)
           ORDER BY seen_at DESC LIMIT %s""",
        (tenant, ae_title, SAMPLES_MAX),
    ).fetchall()

    def seen(column: str) -> list[Any]:
        return [row[column] for row in rows if row[column] is not None]

    return Learned(
        archive_fills(seen("archive_grew")),
        steps_list_less(seen("steps_listed_less")),
        series_not_sent(seen("series_not_sent")),
        series_never_sent(seen("series_not_sent")),
    )


def record_habits(conn: Connection, study: StudyRecord, arrival: Row, modality: str, habits: Habits) -> None:
    """Keep what the study showed, with the longest pause between two of its instances, earlier arrivals included.

    So a study that was closed too early, and went on, lengthens the quiet time of its sender and takes the trust from
    its MPPS. What somebody adds after a pause that no sender makes does neither.
    """
    conn.execute(
        """WITH pause AS (
               SELECT since, received_at, extract(epoch FROM received_at - since) AS seconds
               FROM (SELECT received_at, lag(received_at) OVER (ORDER BY received_at) AS since FROM instance
                     WHERE tenant = %(tenant)s AND study_id = %(study)s) received),
           judged AS (
               SELECT seconds, EXISTS (
                   SELECT FROM association
                   WHERE tenant = %(tenant)s AND ae_title = %(ae_title)s AND how IN ('aborted', 'lost')
                     AND closed_at BETWEEN since AND received_at) AS is_broken
               FROM pause WHERE seconds BETWEEN 0 AND %(longest)s)
           INSERT INTO longest_pause AS known (tenant, ae_title, modality, study_id, pause_s, broken_pause_s,
                                               archive_grew, steps_listed_less, series_not_sent)
           SELECT %(tenant)s, %(ae_title)s, %(modality)s, %(study)s,
                  coalesce(max(seconds) FILTER (WHERE NOT is_broken), 0),
                  coalesce(max(seconds) FILTER (WHERE is_broken), CASE WHEN %(ends_broken)s THEN 0 END),
                  %(grew)s, %(less)s, %(not_sent)s
           FROM judged
           ON CONFLICT (study_id, ae_title, modality) DO UPDATE
           SET pause_s = excluded.pause_s, broken_pause_s = excluded.broken_pause_s, seen_at = now(),
               series_not_sent = least(known.series_not_sent, excluded.series_not_sent),
               steps_listed_less = known.steps_listed_less OR excluded.steps_listed_less AND EXISTS (
                   SELECT FROM arrival WHERE tenant = %(tenant)s AND study_id = %(study)s AND id <> %(arrival)s
                     AND last_at BETWEEN %(first_at)s - make_interval(secs => %(longest)s) AND %(first_at)s)""",
        {
            "tenant": study.tenant,
            "study": study.id,
            "ae_title": arrival["ae_title"],
            "modality": modality,
            "longest": PAUSE_MAX_S,
            "ends_broken": arrival["association"] in ("aborted", "lost"),
            "grew": habits.archive_grew,
            "less": habits.steps_listed_less,
            "not_sent": habits.series_not_sent,
            "arrival": arrival["id"],
            "first_at": arrival["first_at"],
        },
    )


def longest_pause_of(study: Study, instances: Sequence[Row]) -> float:
    """Seconds; now that the headers are known, without the pauses that a hole in a series gave away."""
    headers = {
        one.location: (series.series_instance_uid, one) for series in study.series for one in series.instances
    }
    arrived = [
        (row["received_at"].timestamp(), *headers[row["location"]])
        for row in instances
        if row["location"] in headers
    ]
    return longest_pause_s(arrived, PAUSE_MAX_S)


def keep_pause(conn: Connection, study: StudyRecord, pause_s: float) -> None:
    """In place of what `record_habits` took for the longest, while it knew no headers."""
    conn.execute(
        "UPDATE longest_pause SET pause_s = least(pause_s, %s) WHERE tenant = %s AND study_id = %s",
        (pause_s, study.tenant, study.id),
    )
