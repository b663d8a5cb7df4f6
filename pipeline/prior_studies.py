"""Priors in the tables: what was found for a study, what we expect to come, what was a prior and what was not.

A study is a prior only while we fetch it. What comes of it at another time was sent by somebody who wants it analysed:
then it becomes a clinical study like any other, although all of its images may be here already.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from pipeline import store
from pipeline.database import Connection
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord

# The last instances may be recorded after the archive has said that it is done.
GRACE_S = 30.0

Row = dict[str, Any]


def expect(conn: Connection, tenant: str, study_instance_uid: str, for_s: float) -> None:
    """From now on what comes of this study is a prior, for `for_s` at most."""
    conn.execute(
        """INSERT INTO expected_prior (tenant, study_instance_uid, from_at, until_at)
           VALUES (%s, %s, clock_timestamp(), clock_timestamp() + %s)
           ON CONFLICT (tenant, study_instance_uid)
           DO UPDATE SET from_at = excluded.from_at, until_at = excluded.until_at""",
        (tenant, study_instance_uid, timedelta(seconds=for_s)),
    )


def expect_no_more(conn: Connection, tenant: str, study_instance_uid: str) -> None:
    """The retrieval has ended."""
    conn.execute(
        """UPDATE expected_prior SET until_at = least(until_at, clock_timestamp() + %s)
           WHERE tenant = %s AND study_instance_uid = %s""",
        (timedelta(seconds=GRACE_S), tenant, study_instance_uid),
    )


def is_retrieved(conn: Connection, study: StudyRecord, first_at: datetime, last_at: datetime) -> bool:
    """Whether everything that arrived between these instants is what we fetched ourselves."""
    row = conn.execute(
        """SELECT 1 FROM expected_prior WHERE tenant = %s AND study_instance_uid = %s
             AND %s >= from_at AND %s <= until_at""",
        (study.tenant, study.study_instance_uid, first_at, last_at),
    ).fetchone()
    return row is not None


def keep(conn: Connection, study: StudyRecord, instances: int) -> None:
    """A prior has arrived: it is kept under its own status, linked with the studies that wanted it."""
    candidate = conn.execute(
        "SELECT header FROM prior_candidate WHERE tenant = %s AND study_instance_uid = %s LIMIT 1",
        (study.tenant, study.study_instance_uid),
    ).fetchone()
    if candidate is not None:
        store.set_header(conn, study, candidate["header"])
    if study.status is StudyStatus.RECEIVING:
        store.advance(conn, study, StudyStatus.PRIOR, detail={"instances": instances})
    link(conn, study.tenant, study.study_instance_uid)


def promote(conn: Connection, study: StudyRecord, ae_title: str) -> StudyRecord:
    """Somebody sent it as a study of its own: from here on it is one."""
    conn.execute(
        "UPDATE study SET purpose = 'clinical', ae_title = %s WHERE tenant = %s AND id = %s",
        (ae_title, study.tenant, study.id),
    )
    after = store.get_study(conn, study.tenant, study.id)
    store.note(conn, after, "study_promoted", detail={"peer": ae_title})
    return store.advance(conn, after, StudyStatus.RECEIVING) if after.status is StudyStatus.PRIOR else after


def link(conn: Connection, tenant: str, study_instance_uid: str) -> None:
    """Tie a study that is here to those that want it as a prior; does nothing while it is not here."""
    conn.execute(
        """INSERT INTO prior_of (tenant, study_id, prior_study_id)
           SELECT c.tenant, c.study_id, s.id FROM prior_candidate c
           JOIN study s ON s.tenant = c.tenant AND s.study_instance_uid = c.study_instance_uid
           WHERE c.tenant = %s AND c.study_instance_uid = %s AND c.state IN ('wanted', 'here')
           ON CONFLICT DO NOTHING""",
        (tenant, study_instance_uid),
    )


def save_candidate(
    conn: Connection,
    study: StudyRecord,
    study_instance_uid: str,
    header: Mapping[str, str],
    state: str,
    reason: str | None,
) -> None:
    conn.execute(
        """INSERT INTO prior_candidate (tenant, study_id, study_instance_uid, header, state, reason)
           VALUES (%s, %s, %s, %s, %s, %s)
           ON CONFLICT (tenant, study_id, study_instance_uid) DO UPDATE SET header = excluded.header,
             state = excluded.state, reason = excluded.reason, updated_at = excluded.updated_at""",
        (study.tenant, study.id, study_instance_uid, Jsonb(dict(header)), state, reason),
    )


def set_state(
    conn: Connection, tenant: str, study_id: UUID, study_instance_uid: str, state: str, reason: str | None
) -> None:
    conn.execute(
        """UPDATE prior_candidate SET state = %s, reason = %s, updated_at = clock_timestamp()
           WHERE tenant = %s AND study_id = %s AND study_instance_uid = %s""",
        (state, reason, tenant, study_id, study_instance_uid),
    )


def find_by_uid(conn: Connection, tenant: str, study_instance_uid: str) -> Row | None:
    """id, status and purpose of a study that is here."""
    return conn.execute(
        "SELECT id, status, purpose FROM study WHERE tenant = %s AND study_instance_uid = %s",
        (tenant, study_instance_uid),
    ).fetchone()


def candidates(conn: Connection, tenant: str, study_id: UUID) -> list[Row]:
    """What the rule found, newest first: header, state, reason, and the id of the study where it is here."""
    return conn.execute(
        """SELECT c.study_instance_uid, c.header, c.state, c.reason, c.updated_at, s.id AS prior_study_id
           FROM prior_candidate c
           LEFT JOIN study s ON s.tenant = c.tenant AND s.study_instance_uid = c.study_instance_uid
           WHERE c.tenant = %s AND c.study_id = %s
           ORDER BY c.header->>'study_date' DESC, c.study_instance_uid""",
        (tenant, study_id),
    ).fetchall()


def here(conn: Connection, tenant: str, study_id: UUID) -> list[Row]:
    """The priors of a study that are here, newest first: id and study_date (DA text)."""
    return conn.execute(
        """SELECT s.id, coalesce(s.header->>'study_date', '') AS study_date
           FROM prior_of p JOIN study s ON s.tenant = p.tenant AND s.id = p.prior_study_id
           WHERE p.tenant = %s AND p.study_id = %s
           ORDER BY s.header->>'study_date' DESC, s.header->>'study_time' DESC, s.id""",
        (tenant, study_id),
    ).fetchall()


def not_here(conn: Connection, tenant: str, study_id: UUID) -> list[Row]:
    """The priors that are wanted and have not come: study_date and why."""
    return conn.execute(
        """SELECT coalesce(header->>'study_date', '') AS study_date,
                  coalesce(reason, 'it was still being fetched') AS why
           FROM prior_candidate WHERE tenant = %s AND study_id = %s AND state IN ('wanted', 'failed')
           ORDER BY header->>'study_date' DESC""",
        (tenant, study_id),
    ).fetchall()
