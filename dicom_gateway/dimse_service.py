"""DIMSE messages of one association: requests in, responses out, now and then a request of ours (PS3.7)."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

from dicom_gateway.command_set import (
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_STORE_RQ,
    COMMAND_SET_BYTES_MAX,
    VERIFICATION_SOP_CLASS,
    Command,
    encode_response,
    parse_command,
)
from dicom_gateway.commitment_reports import CommitmentReports
from dicom_gateway.counters import Counters
from dicom_gateway.desk_message import DESK_OPERATIONS, DeskMessage
from dicom_gateway.errors import (
    InstanceNotAllowed,
    InvalidMessage,
    MessageTooLong,
    OperationNotSupported,
    RequestRefused,
)
from dicom_gateway.instance_sink import InstanceSink
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.peers import Peer
from dicom_gateway.presentation_contexts import AcceptedContext
from dicom_gateway.security_alert import refused_instance
from dicom_gateway.service_desk import ServiceDesk
from dicom_gateway.service_errors import OperationOfAnotherSOPClass
from dicom_gateway.status import SUCCESS, status_of
from dicom_gateway.store_message import StoreMessage
from dicom_gateway.upper_layer import COMMAND_FRAGMENT, LAST_FRAGMENT, encode_command

logger = logging.getLogger(__name__)


class DimseService:
    """Takes fragments one by one; holds one command set and one open file at most.

    peer_pdu_length_max: the longest P-DATA-TF body the peer reads; 0 means no limit.
    data_set_bytes_max: a longer data set ends the association.
    """

    def __init__(
        self,
        peer: Peer,
        association_id: int,
        contexts: Mapping[int, AcceptedContext],
        peer_pdu_length_max: int,
        data_set_bytes_max: int,
        store: InstanceStore,
        sink: InstanceSink,
        counters: Counters,
        desk: ServiceDesk | None = None,
    ) -> None:
        self._peer = peer
        self._association_id = association_id
        self._contexts = contexts
        self._peer_pdu_length_max = peer_pdu_length_max
        self._data_set_bytes_max = data_set_bytes_max
        self._store = store
        self._sink = sink
        self._counters = counters
        self._desk = desk
        self._reports = CommitmentReports(peer, desk, peer_pdu_length_max)
        self._context_id = 0
        self._command = bytearray()
        self._request: Command | None = None
        self._message: StoreMessage | DeskMessage | None = None
        self._data_set_bytes = 0

    @property
    def is_idle(self) -> bool:
        """Whether no message has begun that has not been answered."""
        return not self._command and self._request is None

    @property
    def has_request(self) -> bool:
        """Whether there is something that we want to ask the peer."""
        return self._reports.has_next

    def next_request(self) -> bytes:
        """The PDUs of our next request; its response is taken as any message."""
        return self._reports.next_pdus()

    def take(self, context_id: int, control: int, fragment: memoryview) -> bytes:
        """Take one presentation data value; returns the PDUs to answer with, often none.

        control: the message control header (PS3.8 annex E.2).
        """
        is_last = bool(control & LAST_FRAGMENT)
        if control & COMMAND_FRAGMENT:
            self._take_command(context_id, fragment, is_last)
            is_whole = is_last and self._request is not None and not self._request.has_data_set
        else:
            self._take_data_set(context_id, fragment)
            is_whole = is_last
        return self._answer() if is_whole else b""

    def close(self) -> None:
        """Forget a message that was not finished, and its file."""
        if self._message is not None:
            self._message.discard()
            self._message = None

    def _take_command(self, context_id: int, fragment: memoryview, is_last: bool) -> None:
        if self._request is not None:
            raise InvalidMessage("a command arrives inside a data set")
        if self._command and context_id != self._context_id:
            raise InvalidMessage("a command changes its presentation context")
        if context_id not in self._contexts:
            raise InvalidMessage("the presentation context was not accepted")
        self._context_id = context_id
        self._command += fragment
        if len(self._command) > COMMAND_SET_BYTES_MAX:
            raise InvalidMessage("a command set is too long")
        if is_last:
            command = parse_command(self._command)
            self._command.clear()
            self._begin(command)

    def _begin(self, command: Command) -> None:
        if command.is_response:
            self._reports.take_response(command)
            # The data set of a response, if it brings one, passes by unread.
            self._request = command if command.has_data_set else None
            return
        if command.command_field == C_CANCEL_RQ:
            return  # nothing that we do can be cancelled, and a cancel has no response
        if command.command_field == C_STORE_RQ and not command.has_data_set:
            raise InvalidMessage("C-STORE without a data set")
        self._request = command
        self._data_set_bytes = 0
        context = self._contexts[self._context_id]
        if command.command_field == C_STORE_RQ:
            self._message = StoreMessage(command, context, self._peer, self._store)
        elif command.command_field in DESK_OPERATIONS and self._desk is not None:
            self._message = DeskMessage(command, context, self._peer, self._desk)

    def _take_data_set(self, context_id: int, fragment: memoryview) -> None:
        if self._request is None or context_id != self._context_id:
            raise InvalidMessage("a data set arrives without its command")
        self._data_set_bytes += len(fragment)
        if self._data_set_bytes > self._data_set_bytes_max:
            raise MessageTooLong(self._data_set_bytes_max)
        if self._message is not None:
            self._message.append(fragment)

    def _answer(self) -> bytes:
        request, self._request = self._request, None
        assert request is not None
        if request.is_response:
            return b""
        status, comment, error_id = SUCCESS, "", 0
        try:
            request = self._carry_out(request)
        except RequestRefused as refusal:
            status, comment, error_id = status_of(refusal), str(refusal), refusal.error_id
            what = "instance" if request.command_field == C_STORE_RQ else "request"
            self._counters.add(f"{what}s_refused_{status:04X}H", reason=type(refusal).__name__)
            logger.warning(
                "%s_refused association=%d status=%04XH reason=%s",
                what,
                self._association_id,
                status,
                refusal,
            )
            if isinstance(refusal, InstanceNotAllowed):
                self._sink.report(refused_instance(self._peer, refusal))
        finally:
            self.close()
        response = encode_response(request, status, comment, error_id)
        return encode_command(self._context_id, response, self._peer_pdu_length_max)

    def _carry_out(self, request: Command) -> Command:
        """Do what is asked; returns the request with the SOP Instance UID that the response names."""
        if isinstance(self._message, StoreMessage):
            outcome, size_bytes = self._message.finish(self._sink, self._association_id)
            self._counters.add(f"instances_{outcome.value}")
            self._counters.add("bytes_stored", size_bytes)
        elif self._message is not None:
            uid, result = self._message.finish()
            self._counters.add("requests_carried_out")
            if result is not None:
                self._reports.add(self._contexts[self._context_id], result)
            return dataclasses.replace(request, sop_instance_uid=uid)
        elif request.sop_class_uid != self._contexts[self._context_id].sop_class_uid:
            raise OperationOfAnotherSOPClass("SOP class differs from the presentation context")
        elif request.command_field != C_ECHO_RQ or request.sop_class_uid != VERIFICATION_SOP_CLASS:
            raise OperationNotSupported("the SOP class does not have this operation here")
        return request
