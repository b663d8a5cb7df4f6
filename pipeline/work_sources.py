"""Worklists of other systems that we take work from: look, claim, perform, and tell them how far it is.

Looked at every few seconds by one of the workers. What was claimed lies here as a workitem like those that were created
here; what the other system was told last is written down, so that it is told everything once and again when it did not
answer.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import httpx
import procrastinate
from psycopg.types.json import Jsonb
from pydicom.uid import generate_uid

from dicom_gateway import workitem, workitem_client
from dicom_gateway.dicom_json import DataSet, text
from dicom_gateway.dicomweb_client import DicomWebServer
from dicom_gateway.query_errors import DicomWebURLInvalid, ServerRefused
from dicom_gateway.workitem import PERFORMED, PROGRESS, State
from dicom_gateway.workitem_errors import WorkitemInvalid
from pipeline import peers, workitem_store
from pipeline.database import Connection, Database
from pipeline.perform_workitem import defer_perform
from pipeline.store import Row
from study.errors import InvalidUID
from study.identifiers import validate_uid

log = logging.getLogger("radmeter.workitems")

AT_ONCE = 20
"""Workitems of one source that are claimed in one look, and that are under way at a time."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_UNREACHABLE = (httpx.HTTPError, ServerRefused, DicomWebURLInvalid, OSError)


def look_for_work(database: Database, queue: procrastinate.App, secrets: Path | None, tenant: str) -> None:
    """Tell each source what is new, then claim what waits there for us. A source that is away costs only itself."""
    for source in list_sources(database, tenant):
        error: str | None = None
        try:
            server = DicomWebServer(source["url"], secret=_token(secrets, source["token_file"]))
            _resume(database, queue, server, source)
            _tell(database, server, source)
            _claim(database, queue, server, source)
        except _UNREACHABLE as problem:
            error = str(problem) if isinstance(problem, ServerRefused) else type(problem).__name__
            log.warning(
                "work_source_not_reached", extra={"tenant": tenant, "peer": source["name"], "error": error}
            )
        with database.transaction(tenant) as conn:
            conn.execute(
                "UPDATE work_source SET last_error = %s, asked_at = now() WHERE tenant = %s AND name = %s",
                (error, tenant, source["name"]),
            )


def list_sources(database: Database, tenant: str) -> list[Row]:
    """Those that are enabled and whose peer is."""
    with database.transaction(tenant) as conn:
        return conn.execute(
            """SELECT s.* FROM work_source s JOIN peer p USING (tenant, ae_title)
               WHERE s.tenant = %s AND s.enabled AND p.enabled ORDER BY s.name""",
            (tenant,),
        ).fetchall()


def _token(secrets: Path | None, name: str | None) -> str:
    return (secrets / name).read_text("utf-8").strip() if secrets is not None and name else ""


def _resume(database: Database, queue: procrastinate.App, server: DicomWebServer, source: Row) -> None:
    """Whatever was being claimed when a worker died: ours if the source takes a change under our Transaction UID."""
    tenant = source["tenant"]
    with database.transaction(tenant) as conn:
        rows = conn.execute(
            """SELECT * FROM workitem WHERE tenant = %s AND work_source = %s AND state = 'SCHEDULED'
                 AND updated_at < now() - interval '1 minute'""",
            (tenant, source["name"]),
        ).fetchall()
    for row in rows:
        changes: DataSet = {PROGRESS: workitem.progress(0, "Claimed.")}
        is_ours = workitem_client.update(server, row["uid"], row["transaction_uid"], changes)
        with database.transaction(tenant) as conn:
            if is_ours:
                _take(conn, queue, row)
            else:
                _forget(conn, row)


def _take(conn: Connection, queue: procrastinate.App, row: Row) -> None:
    workitem_store.set_state(conn, row, State.IN_PROGRESS, None, here=True)
    defer_perform(queue, conn, row["tenant"], row["uid"])
    log.info("workitem_claimed", extra={"tenant": row["tenant"], "peer": row["work_source"]})


def _forget(conn: Connection, row: Row) -> None:
    """Somebody else has it."""
    conn.execute("DELETE FROM workitem WHERE tenant = %s AND uid = %s", (row["tenant"], row["uid"]))


def _claim(database: Database, queue: procrastinate.App, server: DicomWebServer, source: Row) -> None:
    tenant = source["tenant"]
    with database.transaction(tenant) as conn:
        under_way = conn.execute(
            "SELECT uid FROM workitem WHERE tenant = %s AND work_source = %s AND state = 'IN PROGRESS'",
            (tenant, source["name"]),
        ).fetchall()
    free = AT_ONCE - len(under_way)
    if free <= 0:
        return
    for listed in workitem_client.scheduled_for(server, source["station_code"], free):
        try:
            uid = validate_uid(text(listed, "00080018"))
            item = workitem_client.whole(server, uid)
            inputs = workitem.inputs_of(item)
        except (InvalidUID, WorkitemInvalid):
            log.warning("workitem_not_readable", extra={"tenant": tenant, "peer": source["name"]})
            continue
        with database.transaction(tenant) as conn:
            # Here before it is claimed there: were we to die in between, it is known by its Transaction UID.
            study = inputs[0].study_instance_uid if inputs else None
            if not workitem_store.insert(
                conn, tenant, uid, item, ae_title=source["ae_title"], is_ours=False, study_instance_uid=study,
                work_source=source["name"], transaction_uid=str(generate_uid(prefix=None)),
            ):  # fmt: skip
                continue  # being claimed by another worker, or another workitem of this UID
            row = workitem_store.find(conn, tenant, uid)
        assert row is not None
        is_ours = workitem_client.change_state(server, uid, row["transaction_uid"], State.IN_PROGRESS)
        with database.transaction(tenant) as conn:
            if is_ours:
                _take(conn, queue, row)
            else:
                _forget(conn, row)


def _tell(database: Database, server: DicomWebServer, source: Row) -> None:
    """Progress and ends that the source was not told yet, oldest first."""
    tenant = source["tenant"]
    with database.transaction(tenant) as conn:
        rows = conn.execute(
            """SELECT * FROM workitem WHERE tenant = %s AND work_source = %s AND performed_here
                 AND told IS DISTINCT FROM jsonb_build_object('state', state, 'progress', attributes->%s)
               ORDER BY updated_at LIMIT 100""",
            (tenant, source["name"], PROGRESS),
        ).fetchall()
    for row in rows:
        changes: DataSet = {
            tag: row["attributes"][tag] for tag in (PROGRESS, PERFORMED) if tag in row["attributes"]
        }
        state = State(row["state"])
        is_heard = not changes or workitem_client.update(server, row["uid"], row["transaction_uid"], changes)
        if is_heard and state.is_final:
            is_heard = workitem_client.change_state(server, row["uid"], row["transaction_uid"], state)
        with database.transaction(tenant) as conn:
            _remember(conn, row)
            if not is_heard:
                log.warning("workitem_not_ours_any_more", extra={"tenant": tenant, "peer": source["name"]})


def _remember(conn: Connection, row: Row) -> None:
    told = {"state": row["state"], "progress": row["attributes"].get(PROGRESS)}
    conn.execute(
        "UPDATE workitem SET told = %s WHERE tenant = %s AND uid = %s",
        (Jsonb(told), row["tenant"], row["uid"]),
    )


def save_source(
    conn: Connection,
    tenant: str,
    name: str,
    *,
    url: str,
    ae_title: str,
    station_code: str,
    token_file: str | None,
) -> str | None:
    """Add or change a source; a sentence about what cannot be saved."""
    if _NAME.fullmatch(name) is None:
        return "a name has up to 32 letters, digits, - and _"
    if token_file is not None and _FILE.fullmatch(token_file) is None:
        return "the token is the name of a file in the folder of secrets"
    if not 1 <= len(station_code) <= 16 or len(url) > 1000:
        return "the code of a station has 1 to 16 characters, an address at most 1000"
    if peers.get_peer(conn, tenant, ae_title) is None:
        return f"no peer {ae_title}"
    conn.execute(
        """INSERT INTO work_source (tenant, name, url, ae_title, station_code, token_file)
           VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (tenant, name) DO UPDATE SET url = excluded.url,
             ae_title = excluded.ae_title, station_code = excluded.station_code, token_file = excluded.token_file,
             enabled = true""",
        (tenant, name, url, ae_title, station_code, token_file),
    )
    return None


def every_source(conn: Connection, tenant: str) -> list[Row]:
    """With the number of workitems under way."""
    return conn.execute(
        """SELECT s.*, (SELECT count(*) FROM workitem w WHERE w.tenant = s.tenant AND w.work_source = s.name
                          AND w.state = 'IN PROGRESS') AS under_way
           FROM work_source s WHERE tenant = %s ORDER BY name""",
        (tenant,),
    ).fetchall()


def remove_source(conn: Connection, tenant: str, name: str) -> bool:
    """False when there is none of this name."""
    return (
        conn.execute("DELETE FROM work_source WHERE tenant = %s AND name = %s", (tenant, name)).rowcount == 1
    )
