"""What the acceptor needs from whoever keeps the books of commitments and procedure steps."""

from __future__ import annotations

from typing import Protocol

from dicom_gateway.peers import Peer
from dicom_gateway.procedure_step import ProcedureStep, ProcedureStepChange
from dicom_gateway.storage_commitment import CommitmentRequest, CommitmentResult


class ServiceDesk(Protocol):
    """Called from the acceptor's threads, several at once. A `RequestRefused` becomes its status; any other
    exception means "not now" (0110H)."""

    def commit(self, peer: Peer, request: CommitmentRequest) -> CommitmentResult:
        """Decide what we keep; when this returns, the decision and its report to the peer are durable."""

    def commitment_was_reported(self, peer: Peer, transaction_uid: str) -> None:
        """Note that the peer took our report, so that it is not sent again."""

    def take_commitment_result(self, peer: Peer, result: CommitmentResult) -> None:
        """Note what the peer keeps of what we asked it to keep."""

    def begin_step(self, peer: Peer, step: ProcedureStep) -> None:
        """Record a new procedure step."""

    def change_step(self, peer: Peer, change: ProcedureStepChange) -> None:
        """Change a procedure step of this peer that is not final."""
