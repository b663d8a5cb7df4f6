"""A reader before a seeded result; each call is a transaction of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline import reissue, reviews
from pipeline.reviews import ReviewedResult
from pipeline.verdict_store import Books
from study.review import Verdict, VerdictKind
from tests.pipeline.conftest import ALPHA, Clinic
from tests.review_seed import DELIVERED_AT, PRODUCT, Seeded

AT = DELIVERED_AT + timedelta(days=2)


@dataclasses.dataclass
class Desk:
    """root: the data folder."""

    clinic: Clinic
    seeded: Seeded
    root: Path

    def with_result(self, do: Callable[[Any, ReviewedResult], Any], *, revision: int = 1) -> Any:
        with self.clinic.database.transaction(ALPHA) as conn:
            return do(
                conn, reviews.open_result(conn, ALPHA, self.seeded.study_id, revision, PRODUCT, lock=True)
            )

    def books(self) -> Books:
        return self.with_result(lambda _, result: result.books)

    def say(
        self, number: int, kind: str, *, by: str = "dr chen", seen: int | None = None, **values: Any
    ) -> Books:
        verdict = Verdict(self.seeded.uids[number - 1], VerdictKind(kind), by, AT, **values)
        return self.with_result(
            lambda conn, result: reviews.say(
                conn, result, verdict, seen=result.books.version if seen is None else seen
            )
        )

    def miss(self, uid: str = "2.25.77", *, image: int = 4, by: str = "dr chen", **values: Any) -> Books:
        place = (str(self.seeded.headers[image - 1].SOPInstanceUID), 20.0, 30.0)
        verdict = Verdict(uid, VerdictKind.MISSED, by, AT, place=place, label="nodule", **values)
        return self.with_result(
            lambda conn, result: reviews.say(conn, result, verdict, seen=result.books.version)
        )

    def take_back(self, uid: str, *, by: str = "dr chen") -> Books:
        return self.with_result(
            lambda conn, result: reviews.take_back(conn, result, uid, by=by, at=AT, seen=result.books.version)
        )

    def finish(self, *, by: str = "dr chen", at: datetime = AT, party: str | None = None) -> Books:
        return self.with_result(
            lambda conn, result: reviews.finish(
                self.clinic.queue, conn, result, by=by, at=at, seen=result.books.version, party_id=party
            )
        )

    def issue(self) -> None:
        """What the worker does with the jobs that wait."""
        for job in self.clinic.jobs("reissue"):
            values = job["args"]
            reissue.reissue(
                self.clinic.services, values["tenant"], values["study_id"], values["revision"],
                values["product"], values["review"],
            )  # fmt: skip

    def outcomes(self) -> list[tuple[str, str]]:
        return [
            (row["verdict"], row["reason_code"])
            for row in self.clinic.rows(
                """SELECT dimensions->>'verdict' AS verdict, reason_code FROM billing.current_usage
                   WHERE kind = 'outcome' ORDER BY ingest_sequence"""
            )
        ]
