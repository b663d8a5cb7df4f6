"""The books of verdicts: what people said of a result, appended and never changed, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from pipeline.database import Connection
from pipeline.store import Row
from study.nodule import NoduleKind
from study.review import Review, ReviewState, Verdict, VerdictKind

_OF_FINDINGS = frozenset(kind.value for kind in VerdictKind)
COMPLETE, UNDO, FINISH = "complete", "undo", "finish"


@dataclass(frozen=True)
class ResultKey:
    """Which result is spoken of: that of one model in one revision of a study."""

    tenant: str
    study_id: UUID
    revision: int
    product: str

    @property
    def values(self) -> dict[str, object]:
        return {
            "tenant": self.tenant,
            "study_id": self.study_id,
            "revision": self.revision,
            "product": self.product,
        }


@dataclass(frozen=True)
class Books:
    """All that was said of a result. version: the number of the last row, 0 without any; it grows with each word.

    counting: by finding the row that counts for it. completed: the row that says that nothing was missed.
    touched: by finding the last row that changed what counts for it, one that took a word back too.
    """

    review: Review
    version: int
    counting: dict[str, Row]
    touched: dict[str, Row]
    completed: Row | None = None


def read(conn: Connection, key: ResultKey, *, is_superseded: bool = False) -> Books:
    """What stands of all that was said of the result."""
    books = fold(_rows(conn, key))
    if is_superseded:
        books = replace(books, review=replace(books.review, state=ReviewState.SUPERSEDED))
    return books


def read_finished(conn: Connection, key: ResultKey, number: int) -> Review | None:
    """The review as it stood when it was finished for the `number`th time; None where it was not."""
    rows = _rows(conn, key)
    end = next((index for index, row in enumerate(rows) if row["review"] == number), None)
    return fold(rows[: end + 1]).review if end is not None else None


def fold(rows: Sequence[Row]) -> Books:
    """What stands of rows in the order in which they were written.

    The last word on a finding counts that was not taken back; whoever speaks after the end opens the review again.
    """
    undone = {row["undoes"] for row in rows}
    standing = [row for row in rows if row["id"] not in undone and row["kind"] not in (UNDO, FINISH)]
    counting: dict[str, Row] = {}
    completed: Row | None = None
    for row in standing:
        if row["kind"] in _OF_FINDINGS:
            counting.pop(row["finding_uid"], None)
            counting[row["finding_uid"]] = row
        if row["kind"] in (COMPLETE, VerdictKind.MISSED):  # whoever adds one says that it was not complete
            completed = row if row["kind"] == COMPLETE else None
    finishes = [row for row in rows if row["kind"] == FINISH]
    is_finished = bool(finishes) and rows[-1]["kind"] == FINISH
    state = ReviewState.IN_REVIEW if standing or finishes else ReviewState.NOT_REVIEWED
    review = Review(
        state=ReviewState.REVIEWED if is_finished else state,
        by=finishes[-1]["said_by"] if is_finished else None,
        at=finishes[-1]["said_at"] if is_finished else None,
        verdicts=tuple(_verdict(row) for row in counting.values()),
        number=finishes[-1]["review"] if finishes else 0,
        nothing_missed=completed is not None,
    )
    return Books(review, rows[-1]["id"] if rows else 0, counting, _touched(rows), completed)


def _touched(rows: Sequence[Row]) -> dict[str, Row]:
    finding_of = {row["id"]: row["finding_uid"] for row in rows}
    found = {}
    for row in rows:
        finding_uid = row["finding_uid"] or finding_of.get(row["undoes"])
        if finding_uid is not None:
            found[finding_uid] = row
    return found


def _verdict(row: Row) -> Verdict:
    place = (row["sop_instance_uid"], row["column_px"], row["row_px"]) if row["sop_instance_uid"] else None
    return Verdict(
        finding_uid=row["finding_uid"],
        kind=VerdictKind(row["kind"]),
        by=row["said_by"],
        at=row["said_at"],
        note=row["note"],
        size_mm=row["size_mm"],
        nodule_kind=NoduleKind(row["nodule_kind"]) if row["nodule_kind"] else None,
        place=place,
        label=row["label"],
        frame_number=row["frame_number"],
    )


def say(conn: Connection, key: ResultKey, verdict: Verdict) -> int:
    """Append a verdict; its number. The study is locked by the caller, so that two do not speak at once."""
    sop_instance_uid, column, row = verdict.place or (None, None, None)
    return _insert(
        conn,
        key,
        verdict.kind,
        verdict.by,
        verdict.at,
        finding_uid=verdict.finding_uid,
        note=verdict.note,
        size_mm=verdict.size_mm,
        nodule_kind=verdict.nodule_kind,
        label=verdict.label,
        sop_instance_uid=sop_instance_uid,
        frame_number=verdict.frame_number,
        column_px=column,
        row_px=row,
    )


def say_complete(conn: Connection, key: ResultKey, *, by: str, at: datetime) -> int:
    """Append that the whole study shows no further finding."""
    return _insert(conn, key, COMPLETE, by, at)


def undo(conn: Connection, key: ResultKey, said: int, *, by: str, at: datetime) -> int:
    """Append that the row `said` does not count any more; what was said before it counts again."""
    return _insert(conn, key, UNDO, by, at, undoes=said)


def finish(conn: Connection, key: ResultKey, review: int, *, by: str, at: datetime) -> int:
    """Append that the review is done, for the `review`th time."""
    return _insert(conn, key, FINISH, by, at, review=review)


def _insert(conn: Connection, key: ResultKey, kind: str, by: str, at: datetime, **values: object) -> int:
    row = {
        **dict.fromkeys(
            ("finding_uid", "size_mm", "nodule_kind", "sop_instance_uid", "frame_number", "column_px"), None
        ),
        "row_px": None,
        "undoes": None,
        "review": None,
        "note": "",
        "label": "",
        **values,
        **key.values,
        "kind": str(kind),
        "said_by": by,
        "said_at": at,
    }
    inserted = conn.execute(
        """INSERT INTO verdict (tenant, study_id, revision, product, kind, finding_uid, said_by, said_at, note,
                                size_mm, nodule_kind, label, sop_instance_uid, frame_number, column_px, row_px, undoes,
                                review)
           VALUES (%(tenant)s, %(study_id)s, %(revision)s, %(product)s, %(kind)s, %(finding_uid)s, %(said_by)s,
                   %(said_at)s, %(note)s, %(size_mm)s, %(nodule_kind)s, %(label)s, %(sop_instance_uid)s,
                   %(frame_number)s, %(column_px)s, %(row_px)s, %(undoes)s, %(review)s) RETURNING id""",
        row,
    ).fetchone()
    assert inserted is not None
    return int(inserted["id"])


def _rows(conn: Connection, key: ResultKey) -> list[Row]:
    return conn.execute(
        """SELECT id, kind, finding_uid, said_by, said_at, note, size_mm, nodule_kind, label, sop_instance_uid,
                  frame_number, column_px, row_px, undoes, review
           FROM verdict WHERE tenant = %(tenant)s AND study_id = %(study_id)s AND revision = %(revision)s
             AND product = %(product)s ORDER BY id""",
        key.values,
    ).fetchall()
