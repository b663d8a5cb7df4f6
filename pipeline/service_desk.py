"""The books of storage commitment and of procedure steps (the acceptor's `ServiceDesk`). Called from many threads."""

from __future__ import annotations

import procrastinate

from dicom_gateway.peers import Peer
from dicom_gateway.procedure_step import ProcedureStep, ProcedureStepChange
from dicom_gateway.storage_commitment import CommitmentRequest, CommitmentResult
from pipeline import commitment, procedure_steps
from pipeline.database import Database
from pipeline.look_again import look_again


class DatabaseServiceDesk:
    """One transaction for each request.

    kept_of: of locations of the instance store those that have a file.
    """

    def __init__(self, database: Database, queue: procrastinate.App, kept_of: commitment.KeptOf) -> None:
        self._database = database
        self._queue = queue
        self._kept_of = kept_of

    def commit(self, peer: Peer, request: CommitmentRequest) -> CommitmentResult:
        with self._database.transaction(peer.tenant) as conn:
            result = commitment.decide(conn, peer, request, self._kept_of)
            commitment.defer_report(self._queue, conn, peer, request.transaction_uid)
        return result

    def commitment_was_reported(self, peer: Peer, transaction_uid: str) -> None:
        with self._database.transaction(peer.tenant) as conn:
            commitment.note_report(conn, peer.tenant, peer.ae_title, transaction_uid, error=None)

    def take_commitment_result(self, peer: Peer, result: CommitmentResult) -> None:
        # Not at the top: a gateway that never gets such a report has no use for pynetdicom's memory.
        from pipeline import confirm_delivery

        with self._database.transaction(peer.tenant) as conn:
            confirm_delivery.take_commitment_result(conn, peer, result)

    def begin_step(self, peer: Peer, step: ProcedureStep) -> None:
        with self._database.transaction(peer.tenant) as conn:
            procedure_steps.begin(conn, peer, step)

    def change_step(self, peer: Peer, change: ProcedureStepChange) -> None:
        with self._database.transaction(peer.tenant) as conn:
            study_instance_uid = procedure_steps.change(conn, peer, change)
            look_again(self._queue, conn, peer.tenant, study_instance_uid)
