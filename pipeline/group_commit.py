"""Rows of received instances, committed together: what several associations have ready shares one transaction.

C-STORE is one at a time per association, so only several associations can share a commit. Whoever finds no commit
in progress makes the next one, for all who wait; a lone sender waits for nobody and pays one round trip.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg

from dicom_gateway.instance_sink import ReceivedInstance, RecordOutcome
from pipeline.bounded_connection import BoundedConnection, DatabaseSilent
from pipeline.database import connection_arguments

logger = logging.getLogger(__name__)

_GROUP_SIZE_MAX = 32
# Most senders wait half a minute for an answer: better A700H than none.
LOCK_TIMEOUT_S = 3.0
# Nor does a database that is frozen, or whose disk is, keep senders waiting that have no time-out of their own.
ANSWER_WITHIN_S = 10.0
# A receiver that stands still in the middle of a transaction must not hold up the senders of others for longer.
LET_GO_AFTER_S = 10.0


@dataclass
class _Entry:
    """One instance that waits for its commit, in the thread of its association."""

    tenant: str
    association_id: int
    received: ReceivedInstance
    is_done: bool = False
    outcome: RecordOutcome | None = None
    error: Exception | None = None


@dataclass
class GroupCommit:
    """Called from many threads; holds one connection.

    url: of the database. connect_timeout_s: for each attempt to reach it.
    """

    url: str
    connect_timeout_s: float = 5.0
    _condition: threading.Condition = field(default_factory=threading.Condition)
    _waiting: list[_Entry] = field(default_factory=list)
    _is_committing: bool = False
    _conn: BoundedConnection[tuple[Any, ...]] | None = None
    _tenant: str = ""
    """The one that the connection's session is of."""

    def record(self, tenant: str, association_id: int, received: ReceivedInstance) -> RecordOutcome | None:
        """STORED or IDENTICAL once the row is committed; None when the instance needs a transaction of its own."""
        entry = _Entry(tenant, association_id, received)
        with self._condition:
            self._waiting.append(entry)
        while not entry.is_done:
            group = self._next_group(entry)
            if group:
                try:
                    self._commit(group)
                finally:
                    with self._condition:
                        self._is_committing = False
                        self._condition.notify_all()
        if entry.error is not None:
            raise entry.error
        return entry.outcome

    def close(self) -> None:
        with self._condition:
            self._disconnect()

    def _next_group(self, entry: _Entry) -> list[_Entry]:
        """The entries that this thread is to commit; none when another thread has done its own in the meantime."""
        with self._condition:
            while self._is_committing and not entry.is_done:
                self._condition.wait()
            if entry.is_done:
                return []
            self._is_committing = True
            # One tenant, and no instance twice: the statement cannot tell which of the two it stored.
            group: dict[str, _Entry] = {}
            for one in self._waiting:
                if one.tenant == self._waiting[0].tenant and len(group) < _GROUP_SIZE_MAX:
                    group.setdefault(one.received.sop_instance_uid, one)
            taken = {id(one) for one in group.values()}
            self._waiting = [one for one in self._waiting if id(one) not in taken]
            return list(group.values())

    def _commit(self, group: list[_Entry]) -> None:
        try:
            self._record(group)
        except Exception as error:
            left = [one for one in group if one.outcome is None]
            if len(left) == 1 or self._conn is None:
                for one in left:
                    one.error = error
            else:
                self._commit_by_study(left, error)
        for one in group:
            one.is_done = True

    def _commit_by_study(self, group: list[_Entry], error: Exception) -> None:
        """One of the group spoils it for all: each study by itself, then each instance of those that fail again."""
        logger.warning("group_not_committed count=%d error=%s", len(group), type(error).__name__)
        studies: dict[str, list[_Entry]] = {}
        for one in group:
            studies.setdefault(one.received.study_instance_uid, []).append(one)
        for study in studies.values():
            try:
                self._record(study)
            except (
                psycopg.OperationalError
            ) as failure:  # a lock is held, or nobody answers: the same for all of it
                for one in study:
                    one.error = failure
            except Exception:
                for one in study:
                    self._commit_alone(one)

    def _commit_alone(self, entry: _Entry) -> None:
        try:
            self._record([entry])
        except Exception as failure:
            entry.error = failure

    def _record(self, group: list[_Entry]) -> None:
        """One statement, and so one transaction, for what is new; a second one for the rest."""
        stored = {
            sop_instance_uid for (sop_instance_uid,) in self._execute(group[0].tenant, *_new_rows(group))
        }
        rest: list[_Entry] = []
        for one in group:
            if one.received.sop_instance_uid in stored:
                one.outcome = RecordOutcome.STORED
            else:
                rest.append(one)
        if rest:
            outcomes = dict(self._execute(rest[0].tenant, *_known_rows(rest)))
            for one in rest:
                if found := outcomes.get(one.received.sop_instance_uid):
                    one.outcome = RecordOutcome(found)

    def _execute(
        self, tenant: str, statement: LiteralString, arguments: Sequence[str]
    ) -> list[tuple[Any, ...]]:
        """Once more on a new connection when an old one turns out to be dead; what was committed is then identical."""
        is_new = self._conn is None
        try:
            return self._rows(tenant, statement, arguments)
        except DatabaseSilent:  # the senders have waited long enough
            self._disconnect()
            raise
        except psycopg.OperationalError:
            if self._conn is None or not self._conn.broken:
                raise
            self._disconnect()
            if is_new:
                raise
            return self._rows(tenant, statement, arguments)

    def _rows(self, tenant: str, statement: LiteralString, arguments: Sequence[str]) -> list[tuple[Any, ...]]:
        conn = self._connection()
        if tenant != self._tenant:
            conn.execute("SELECT set_config('radmeter.tenant', %s, false)", (tenant,))
            self._tenant = tenant
        return conn.execute(statement, arguments).fetchall()

    def _connection(self) -> BoundedConnection[tuple[Any, ...]]:
        if self._conn is None or self._conn.closed:
            self._conn = BoundedConnection.connect(
                self.url,
                autocommit=True,
                **connection_arguments(lock_timeout_s=LOCK_TIMEOUT_S, let_go_after_s=LET_GO_AFTER_S),
                connect_timeout=round(self.connect_timeout_s),
                application_name="radmeter-receive",
                prepare_threshold=0,
            )
            self._conn.answer_within_s = ANSWER_WITHIN_S
            self._tenant = ""
        return self._conn

    def _disconnect(self) -> None:
        with contextlib.suppress(psycopg.Error):
            if self._conn is not None:
                self._conn.close()
        self._conn = None


def _new_rows(group: list[_Entry]) -> tuple[LiteralString, list[str]]:
    """Stores what is new and whose study has an open arrival; returns the SOP Instance UIDs of that. One tenant."""
    tenant = group[0].tenant
    arrivals = {one.received.study_instance_uid: one.association_id for one in group}
    arguments: list[str] = []
    for study_instance_uid, association_id in arrivals.items():
        arguments += (study_instance_uid, str(association_id))
    arguments.append(tenant)
    for one in group:
        arguments += _values(one.received)
    arguments += (tenant, tenant)
    return _new_rows_statement(len(arrivals), len(group)), arguments


@functools.cache
def _new_rows_statement(study_count: int, instance_count: int) -> LiteralString:
    """Arrivals are locked in the order of their ids, so that two processes never wait for one another.

    What holds a lock before us may have closed the arrival: locking asks again. Single texts, not arrays: those the
    client puts together in Python, one by one.
    """
    studies: LiteralString = ", ".join(["(%s, %s::bigint)"] * study_count)
    instances: LiteralString = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s, %s::bigint)"] * instance_count)
    return "".join(
        (
            """WITH open AS (
                 SELECT a.tenant, a.id AS arrival_id, a.study_id, sent.study_uid, sent.association_id
                 FROM study s JOIN arrival a ON a.tenant = s.tenant AND a.study_id = s.id AND a.closed_at IS NULL
                 JOIN (VALUES """, studies, """) sent (study_uid, association_id)
                   ON sent.study_uid = s.study_instance_uid
                 WHERE s.tenant = %s ORDER BY a.id FOR NO KEY UPDATE OF a
               ), stored AS (
                 INSERT INTO instance (tenant, study_id, arrival_id, series_instance_uid, sop_instance_uid,
                                       sop_class_uid, transfer_syntax_uid, modality, location, blake3, size_bytes)
                 SELECT tenant, study_id, arrival_id, series_uid, sop_uid, sop_class_uid, syntax, modality, location,
                        blake3, size_bytes
                 FROM (VALUES """, instances, """) received (study_uid, series_uid, sop_uid, sop_class_uid, syntax,
                                                             modality, location, blake3, size_bytes)
                 JOIN open USING (study_uid)
                 -- our own result, sent back, is known
                 WHERE NOT EXISTS (SELECT 1 FROM result_object r WHERE r.tenant = %s AND r.sop_instance_uid = sop_uid)
                 ORDER BY sop_uid
                 ON CONFLICT (tenant, sop_instance_uid) DO NOTHING RETURNING sop_instance_uid, arrival_id
               ), counted AS (
                 UPDATE arrival a SET last_at = clock_timestamp(), association_id = open.association_id,
                   new_count = a.new_count + (SELECT count(*) FROM stored WHERE stored.arrival_id = a.id)
                 FROM open WHERE a.tenant = %s AND a.id = open.arrival_id
               )
               SELECT sop_instance_uid FROM stored""",
        )
    )  # fmt: skip


def _known_rows(group: list[_Entry]) -> tuple[LiteralString, list[str]]:
    """The outcomes of what came before with the same bytes; of whatever needs more than a row, nothing."""
    columns = zip(*((str(one.association_id), *_values(one.received)) for one in group), strict=True)
    return _known_rows_statement(len(group)), [group[0].tenant, *itertools.chain.from_iterable(columns)]


@functools.cache
def _known_rows_statement(count: int) -> LiteralString:
    texts: LiteralString = f"ARRAY[{', '.join(['%s'] * count)}]"
    numbers: LiteralString = f"{texts}::bigint[]"
    columns: LiteralString = ", ".join([numbers, *[f"{texts}::text[]"] * 8, numbers])
    return "".join(("SELECT * FROM record_instances(%s, ", columns, ")"))


def _values(received: ReceivedInstance) -> tuple[str, ...]:
    """In the order of both statements; numbers as text, whose type does not vary with their size."""
    return (
        received.study_instance_uid,
        received.series_instance_uid,
        received.sop_instance_uid,
        received.sop_class_uid,
        received.transfer_syntax_uid,
        received.modality,
        received.location,
        received.blake3,
        str(received.size_bytes),
    )
