"""What the DICOM acceptor asks of the database: who is calling, and the row of each received instance."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import PurePosixPath

import procrastinate

from dicom_gateway.errors import CertificateNotAllowed, HostNotAllowed
from dicom_gateway.hosts import HostBook
from dicom_gateway.instance_sink import AssociationEnd, ReceivedInstance, RecordOutcome
from dicom_gateway.peer_certificate import PeerCertificate
from dicom_gateway.peers import Peer
from dicom_gateway.security_alert import SecurityAlert
from dicom_gateway.user_information import NOTHING_SAID, UserInformation
from pipeline.alert_desk import AlertDesk
from pipeline.database import Connection, Database
from pipeline.group_commit import GroupCommit
from pipeline.look_again import look_after_association
from pipeline.own_peer import peer_of
from pipeline.queue import defer_assembly
from pipeline.receive_observer import ReceiveObserver
from pipeline.store import Row
from pipeline.tracing import NO_TRACING, Place, Tracing


class DatabaseSink:
    """Records received instances (the acceptor's `InstanceSink`). Called from many threads.

    node: the process that lives the associations, by its name in the register of nodes.
    """

    def __init__(
        self,
        database: Database,
        queue: procrastinate.App,
        observer: ReceiveObserver | None = None,
        tracing: Tracing = NO_TRACING,
        node: str | None = None,
    ) -> None:
        self._database = database
        self._node = node
        self._queue = queue
        self._observer = observer or ReceiveObserver()
        self._tracing = tracing
        self._hosts = HostBook()
        self._alerts = AlertDesk(database)
        self._commits = GroupCommit(database.url)

    def called_ae_title_exists(self, called_ae_title: str) -> bool:
        with self._database.system_transaction() as conn:
            row = conn.execute("SELECT called_ae_title_exists(%s) AS known", (called_ae_title,)).fetchone()
        return row is not None and bool(row["known"])

    def find_peer(
        self,
        calling_ae_title: str,
        called_ae_title: str,
        remote_host: str,
        certificate: PeerCertificate | None = None,
    ) -> Peer | None:
        """The enabled peer of the tenant that owns `called_ae_title`; None, or why it is refused."""
        with self._database.system_transaction() as conn:
            row = conn.execute(
                "SELECT * FROM find_peer(%s, %s)", (called_ae_title, calling_ae_title)
            ).fetchone()
        if row is None:
            return None
        hosts = [*row["hosts"], *([row["host"]] if row["check_host"] else [])]
        if hosts and not self._hosts.is_one_of(remote_host, hosts):
            raise HostNotAllowed
        if row["certificates"] and not (certificate and certificate.names & set(row["certificates"])):
            raise CertificateNotAllowed
        return peer_of(row)

    def report(self, alert: SecurityAlert) -> None:
        """Into the audit trail, bounded in number."""
        self._observer.alerted(alert)
        self._alerts.report(alert)

    def close(self) -> None:
        """Write what is known and not yet written."""
        self._alerts.close()
        self._commits.close()

    def open_association(self, peer: Peer, requestor: UserInformation = NOTHING_SAID) -> int:
        with self._database.transaction(peer.tenant) as conn:
            row = conn.execute(
                """INSERT INTO association (tenant, ae_title, implementation_class_uid, implementation_version_name,
                                            node)
                   VALUES (%s, %s, %s, %s, %s) RETURNING id""",
                (
                    peer.tenant,
                    peer.ae_title,
                    requestor.implementation_class_uid,
                    requestor.implementation_version_name,
                    self._node,
                ),
            ).fetchone()
        assert row is not None
        self._observer.associated()
        return int(row["id"])

    def record(self, association_id: int, peer: Peer, received: ReceivedInstance) -> RecordOutcome:
        """Commit the instance's row, together with what other associations have ready."""
        began = time.monotonic()
        outcome = self._commits.record(peer.tenant, association_id, received)
        if outcome is None:
            return self.record_many(association_id, peer, [received])[0]
        self._observer.received(outcome, received.size_bytes, time.monotonic() - began)
        return outcome

    def record_many(
        self, association_id: int, peer: Peer, received: Sequence[ReceivedInstance]
    ) -> list[RecordOutcome]:
        """One transaction: instances, their arrivals and, for the first of an arrival, the job that assembles."""
        # Always in the same order, so that two senders of the same studies wait, not deadlock.
        began = time.monotonic()
        order = sorted(range(len(received)), key=lambda place: received[place].study_instance_uid)
        with self._database.transaction(peer.tenant) as conn:
            rows = _record(conn, association_id, peer, [received[place] for place in order])
            for row in rows:
                if row["is_new_arrival"]:
                    defer_assembly(self._queue, conn, peer.tenant, row["recorded_arrival_id"], 0.0)
        outcomes = {
            place: RecordOutcome[row["outcome"].upper()] for place, row in zip(order, rows, strict=True)
        }
        seconds = time.monotonic() - began
        for place, outcome in outcomes.items():
            self._observer.received(outcome, received[place].size_bytes, seconds)
        for row in rows:
            if row["is_new_arrival"]:
                self._tracing.note(Place(peer.tenant, row["recorded_study_id"]), "receive", seconds)
            if row["outcome"] == "conflict":
                self._alert(peer, str(row["recorded_study_id"] or ""))
        return [outcomes[place] for place in range(len(received))]

    def _alert(self, peer: Peer, study: str) -> None:
        """Other bytes under a known UID are a mistake of the sender or an attack; a person must look."""
        reason = "different bytes under a known SOP Instance UID"
        self.report(
            SecurityAlert(
                "instance_differs", reason, calling_ae_title=peer.ae_title, tenant=peer.tenant, study=study
            )
        )

    def close_association(self, association_id: int, peer: Peer, how: AssociationEnd) -> None:
        with self._database.transaction(peer.tenant) as conn:
            conn.execute(
                "UPDATE association SET closed_at = now(), how = %s WHERE tenant = %s AND id = %s",
                (how, peer.tenant, association_id),
            )
            look_after_association(self._queue, conn, peer.tenant, association_id)
        self._observer.association_ended(how)


def _record(
    conn: Connection, association_id: int, peer: Peer, received: Sequence[ReceivedInstance]
) -> list[Row]:
    """A row of `record_instance` for each, in one round trip."""
    rows = conn.execute(
        """SELECT recorded.* FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                                         %s::text[], %s::text[], %s::bigint[])
             WITH ORDINALITY AS r(study, series, sop, sop_class, syntax, modality, location, blake3, size_bytes, place),
           LATERAL record_instance(%s, %s, %s, study, series, sop, sop_class, syntax, modality, location, blake3,
                                   size_bytes) AS recorded
           ORDER BY place""",
        (
            *(
                [getattr(each, field) for each in received]
                for field in (
                    "study_instance_uid", "series_instance_uid", "sop_instance_uid", "sop_class_uid",
                    "transfer_syntax_uid", "modality", "location", "blake3", "size_bytes",
                )
            ),
            peer.tenant, association_id, peer.ae_title,
        ),
    ).fetchall()  # fmt: skip
    for row, each in zip(rows, received, strict=True):
        if row["outcome"] == "conflict":
            _quarantine(conn, peer.tenant, row["recorded_study_id"], each)
    return rows


def _quarantine(conn: Connection, tenant: str, study_id: object, received: ReceivedInstance) -> None:
    conn.execute(
        """INSERT INTO quarantined_instance (tenant, study_id, sop_instance_uid, location, blake3, reason)
           VALUES (%s, %s, %s, %s, %s, %s)""",
        (
            tenant,
            study_id,
            received.sop_instance_uid,
            f"quarantine/{PurePosixPath(received.location).name}",  # where the acceptor moves it
            received.blake3,
            "other bytes under a SOP Instance UID that was received before",
        ),
    )
