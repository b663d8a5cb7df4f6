"""The pauses of a sender inside its studies, kept for `dicom_gateway.quiet_time`."""

from __future__ import annotations

from dicom_gateway.archive_memory import archive_fills
from dicom_gateway.quiet_time import PAUSE_MAX_S, SAMPLES_MAX, QuietTime, learn
from pipeline.database import Connection
from pipeline.store import StudyRecord


def quiet_time(
    conn: Connection, tenant: str, ae_title: str, modality: str, *, configured_s: float, max_s: float
) -> QuietTime:
    """What was learned from the newest studies of this peer and modality, not older than 30 days."""
    rows = conn.execute(
        """SELECT pause_s FROM longest_pause
           WHERE tenant = %s AND ae_title = %s AND modality = %s AND seen_at > now() - interval '30 days'
           ORDER BY seen_at DESC LIMIT %s""",
        (tenant, ae_title, modality, SAMPLES_MAX),
    ).fetchall()
    return learn([row["pause_s"] for row in rows], configured_s, max_s)


def habit_of_archive(conn: Connection, tenant: str, ae_title: str) -> bool:
    """Whether the peer's archive is known to fill while it sends, from the same studies of any modality."""
    rows = conn.execute(
        """SELECT archive_grew FROM longest_pause
           WHERE tenant = %s AND ae_title = %s AND archive_grew IS NOT NULL AND seen_at > now() - interval '30 days'
           ORDER BY seen_at DESC LIMIT %s""",
        (tenant, ae_title, SAMPLES_MAX),
    ).fetchall()
    return archive_fills([row["archive_grew"] for row in rows])


def record_pause(
    conn: Connection, study: StudyRecord, ae_title: str, modality: str, *, archive_grew: bool | None
) -> None:
    """Keep the longest pause between two instances of the study, those of earlier arrivals included.

    So a study that was closed too early, and went on, lengthens the quiet time of its sender.
    """
    conn.execute(
        """INSERT INTO longest_pause (tenant, ae_title, modality, study_id, pause_s, archive_grew)
           SELECT %(tenant)s, %(ae_title)s, %(modality)s, %(study)s, coalesce(max(pause_s), 0), %(grew)s
           FROM (SELECT extract(epoch FROM received_at - lag(received_at) OVER (ORDER BY received_at)) AS pause_s
                 FROM instance WHERE tenant = %(tenant)s AND study_id = %(study)s) pauses
           WHERE pause_s BETWEEN 0 AND %(longest)s
           ON CONFLICT (study_id, ae_title, modality) DO UPDATE SET pause_s = excluded.pause_s, seen_at = now()""",
        {
            "tenant": study.tenant,
            "study": study.id,
            "ae_title": ae_title,
            "modality": modality,
            "longest": PAUSE_MAX_S,
            "grew": archive_grew,
        },
    )
