"""A study moves on, and the workitems that asked for it say so: progress, results, or why there are none.

Called with each change of a study's status, in its transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dicom_gateway import workitem
from dicom_gateway.dicom_json import DataSet, code, items
from dicom_gateway.workitem import State
from pipeline import workitem_store
from pipeline.database import Connection
from pipeline.status import StudyStatus

if TYPE_CHECKING:
    from pipeline.store import StudyRecord

Row = dict[str, Any]

STATION = "RADMETER"
_DETECTION = code("110004", "DCM", "Computer Aided Detection")
# How far a study is, in per cent, and in words.
_PROGRESS = {
    StudyStatus.RECEIVING: (5, "Images arrive."),
    StudyStatus.ASSEMBLED: (10, "The study is complete."),
    StudyStatus.ROUTED: (20, "Models and series are chosen."),
    StudyStatus.HELD: (20, "A limit of the contract is reached; it goes on by itself."),
    StudyStatus.DECODED: (40, "The images are read; the models run."),
    StudyStatus.INFERRED: (80, "The models have answered."),
    StudyStatus.ENCODED: (90, "The results are on their way."),
}


def follow(conn: Connection, study: StudyRecord) -> None:
    """Bring the workitems that we perform on this study up to date."""
    rows = conn.execute(
        """SELECT * FROM workitem WHERE tenant = %s AND study_instance_uid = %s AND state = 'IN PROGRESS'
             AND performed_here ORDER BY uid FOR UPDATE""",
        (study.tenant, study.study_instance_uid),
    ).fetchall()
    for row in rows:
        if row["study_id"] is None:
            workitem_store.set_study(conn, row, study.id)
        say(conn, row, study)


def say(conn: Connection, row: Row, study: StudyRecord) -> None:
    """Write the study's present status into a locked workitem."""
    now = now_of(conn)
    if study.status in _PROGRESS:
        percent, sentence = _PROGRESS[study.status]
        said: DataSet = {workitem.PROGRESS: workitem.progress(percent, sentence)}
        workitem_store.save(conn, row, {**row["attributes"], **said})
        workitem_store.notify(conn, row, workitem_store.PROGRESS_REPORT, said)
    elif study.status in (StudyStatus.DELIVERED, StudyStatus.SHADOWED):
        complete(conn, row, _outputs(conn, study), now)
    elif study.status in (StudyStatus.REJECTED, StudyStatus.FAILED):
        give_up(conn, row, study.reason_code or "FAILED", study.reason_text or "", now)


def complete(conn: Connection, row: Row, outputs: list[DataSet], now: datetime) -> None:
    """End a workitem that we perform, with what came of it."""
    began = row["claimed_at"] or row["created_at"]
    station = station_of(row["attributes"])
    done: dict[str, Mapping[str, Any]] = {
        workitem.PROGRESS: workitem.progress(100, "The results are delivered."),
        workitem.PERFORMED: workitem.performed(
            station, began, now, _workitem_code(row["attributes"]), outputs
        ),
    }
    workitem_store.save(conn, row, {**row["attributes"], **done})
    workitem_store.set_state(conn, row, State.COMPLETED, None)


def give_up(conn: Connection, row: Row, reason_code: str, sentence: str, now: datetime) -> None:
    """End a workitem without a result; why is told to those who watch it."""
    said: DataSet = {workitem.PROGRESS: workitem.cancelled(reason_code, sentence, now)}
    workitem_store.save(conn, row, {**row["attributes"], **said})
    workitem_store.set_state(conn, row, State.CANCELED, None)


def station_of(attributes: DataSet) -> str:
    """The code of the station that was asked to do it."""
    return next(
        (value for value, _ in workitem.codes_of(attributes, workitem.STATION_CODE) if value), STATION
    )


def _workitem_code(attributes: DataSet) -> DataSet:
    """What was asked for is what was done."""
    return next(iter(items(attributes, workitem.WORKITEM_CODE)), _DETECTION)


def _outputs(conn: Connection, study: StudyRecord) -> list[DataSet]:
    """An item for each series of ours, of the latest revision of each product."""
    rows = conn.execute(
        """SELECT o.series_instance_uid, array_agg(o.sop_class_uid ORDER BY o.sop_instance_uid) AS classes,
                  array_agg(o.sop_instance_uid ORDER BY o.sop_instance_uid) AS instances
           FROM result_object o
           WHERE o.tenant = %s AND o.study_id = %s AND o.series_instance_uid IS NOT NULL
             AND o.revision = (SELECT max(latest.revision) FROM result_object latest
                               WHERE latest.tenant = o.tenant AND latest.study_id = o.study_id
                                 AND latest.product = o.product)
           GROUP BY o.product, o.series_instance_uid ORDER BY o.product, o.series_instance_uid""",
        (study.tenant, study.id),
    ).fetchall()
    return [
        workitem.output(
            study.study_instance_uid,
            row["series_instance_uid"],
            list(zip(row["classes"], row["instances"], strict=True)),
        )
        for row in rows
    ]


def now_of(conn: Connection) -> datetime:
    """The database's clock, at the beginning of the transaction."""
    row = conn.execute("SELECT now() AS now").fetchone()
    assert row is not None
    now = row["now"]
    assert isinstance(now, datetime)
    return now
