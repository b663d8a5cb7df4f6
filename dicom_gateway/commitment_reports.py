"""The commitment results that one association still has to tell its peer (N-EVENT-REPORT, PS3.4 section J.3.3)."""

from __future__ import annotations

import logging
from collections import deque

from dicom_gateway.command_set import (
    N_EVENT_REPORT_RQ,
    RESPONSE,
    STORAGE_COMMITMENT_SOP_CLASS,
    STORAGE_COMMITMENT_SOP_INSTANCE,
    Command,
    encode_event_report,
)
from dicom_gateway.errors import InvalidMessage
from dicom_gateway.peers import Peer
from dicom_gateway.presentation_contexts import AcceptedContext
from dicom_gateway.service_desk import ServiceDesk
from dicom_gateway.status import SUCCESS
from dicom_gateway.storage_commitment import CommitmentResult, encode_result
from dicom_gateway.upper_layer import encode_command, encode_data_set

logger = logging.getLogger(__name__)

# Each result holds up to 4 MiB; what is not told here is told on an association that we open.
_WAITING_MAX = 4
# A report cut into smaller PDUs than this would cost more memory than it is worth.
_PDU_LENGTH_MIN = 1024


class CommitmentReports:
    """One report at a time: the next waits for the response to the one before (no asynchronous window)."""

    def __init__(self, peer: Peer, desk: ServiceDesk | None, peer_pdu_length_max: int) -> None:
        self._peer = peer
        self._desk = desk
        self._peer_pdu_length_max = peer_pdu_length_max
        self._waiting: deque[tuple[AcceptedContext, CommitmentResult]] = deque()
        self._asked: tuple[int, str] | None = None  # message ID, Transaction UID
        self._message_id = 0

    @property
    def has_next(self) -> bool:
        return bool(self._waiting) and self._asked is None

    def add(self, context: AcceptedContext, result: CommitmentResult) -> None:
        is_readable = self._peer_pdu_length_max == 0 or self._peer_pdu_length_max >= _PDU_LENGTH_MIN
        if is_readable and len(self._waiting) < _WAITING_MAX:
            self._waiting.append((context, result))

    def next_pdus(self) -> bytes:
        """N-EVENT-REPORT-RQ with its data set."""
        context, result = self._waiting.popleft()
        self._message_id = self._message_id % 0xFFFF + 1
        self._asked = (self._message_id, result.transaction_uid)
        command = encode_event_report(
            self._message_id,
            STORAGE_COMMITMENT_SOP_CLASS,
            STORAGE_COMMITMENT_SOP_INSTANCE,
            result.event_type,
        )
        data_set = encode_result(result, context.transfer_syntax_uid)
        length_max = self._peer_pdu_length_max
        return encode_command(context.context_id, command, length_max) + encode_data_set(
            context.context_id, data_set, length_max
        )

    def take_response(self, response: Command) -> None:
        """Note what the peer took; a response to nothing that we asked ends the association."""
        if (
            self._asked is None
            or self._desk is None
            or response.command_field != N_EVENT_REPORT_RQ | RESPONSE
            or response.message_id != self._asked[0]
        ):
            raise InvalidMessage("a response arrives although nothing was asked")
        transaction_uid, self._asked = self._asked[1], None
        if response.status != SUCCESS:
            logger.warning("commitment_report_refused status=%04XH", response.status)
            return
        try:
            self._desk.commitment_was_reported(self._peer, transaction_uid)
        except Exception as error:
            # It will be reported again, on another association; a peer takes the same report twice.
            logger.error("commitment_report_not_noted error=%s", type(error).__name__)
