"""One request of storage commitment or of a procedure step while its data set arrives, and what becomes of it."""

from __future__ import annotations

import logging
import uuid

from dicom_gateway.command_set import (
    N_ACTION_RQ,
    N_CREATE_RQ,
    N_EVENT_REPORT_RQ,
    N_SET_RQ,
    PROCEDURE_STEP_SOP_CLASS,
    STORAGE_COMMITMENT_SOP_CLASS,
    STORAGE_COMMITMENT_SOP_INSTANCE,
    Command,
)
from dicom_gateway.errors import InvalidObjectInstance, OperationNotSupported, RequestRefused
from dicom_gateway.peers import Peer
from dicom_gateway.presentation_contexts import AcceptedContext
from dicom_gateway.procedure_step import read_change, read_step
from dicom_gateway.service_desk import ServiceDesk
from dicom_gateway.service_errors import (
    NoSuchActionType,
    NoSuchEventType,
    NoSuchSOPInstance,
    RequestNotCarriedOut,
    RequestTooLarge,
    RequestUnreadable,
    SOPClassNotInContext,
)
from dicom_gateway.storage_commitment import (
    ALL_COMMITTED,
    FAILURES_EXIST,
    REQUEST_COMMITMENT,
    CommitmentResult,
    read_request,
    read_result,
)
from study.errors import InvalidUID
from study.identifiers import validate_uid

logger = logging.getLogger(__name__)

# 40,000 references in their longest encoding; a request stays in memory while it arrives.
DATA_SET_BYTES_MAX = 4 * 1024 * 1024
DESK_OPERATIONS = frozenset((N_ACTION_RQ, N_EVENT_REPORT_RQ, N_CREATE_RQ, N_SET_RQ))


class DeskMessage:
    """Takes fragments of the data set; `finish` carries the request out or raises why not."""

    def __init__(self, command: Command, context: AcceptedContext, peer: Peer, desk: ServiceDesk) -> None:
        self._command = command
        self._context = context
        self._peer = peer
        self._desk = desk
        self._data = bytearray()
        self._is_too_large = False

    def append(self, fragment: memoryview) -> None:
        """Take a part of the data set; of one that is too large nothing is kept."""
        if len(self._data) + len(fragment) > DATA_SET_BYTES_MAX:
            self._is_too_large = True
            self._data.clear()
        if not self._is_too_large:
            self._data += fragment

    def finish(self) -> tuple[str, CommitmentResult | None]:
        """The SOP Instance UID for the response, and a commitment to report, if that was asked for."""
        if self._is_too_large:
            raise RequestTooLarge(f"the data set exceeds {DATA_SET_BYTES_MAX} bytes")
        if self._command.sop_class_uid != self._context.sop_class_uid:
            raise SOPClassNotInContext("SOP class differs from the presentation context")
        operation = _OPERATIONS.get((self._context.sop_class_uid, self._command.command_field))
        if operation is None:
            raise OperationNotSupported("the SOP class does not have this operation")
        try:
            return operation(self)
        except RequestRefused:
            raise
        except Exception as error:
            logger.error("request_not_carried_out error=%s", type(error).__name__)
            raise RequestNotCarriedOut("the request cannot be carried out now") from error

    def discard(self) -> None:
        self._data.clear()

    def _commit(self) -> tuple[str, CommitmentResult | None]:
        """N-ACTION of storage commitment (PS3.4 section J.3.2)."""
        self._check_well_known_instance()
        if self._command.type_id != REQUEST_COMMITMENT:
            raise NoSuchActionType("storage commitment has no such action")
        request = read_request(bytes(self._data), self._context.transfer_syntax_uid)
        return self._command.sop_instance_uid, self._desk.commit(self._peer, request)

    def _take_result(self) -> tuple[str, CommitmentResult | None]:
        """N-EVENT-REPORT of storage commitment (PS3.4 section J.3.3), from a requestor in the role of SCP."""
        self._check_well_known_instance()
        if not self._context.requestor_is_scp:
            raise OperationNotSupported("the requestor did not take the role of an SCP")
        if self._command.type_id not in (ALL_COMMITTED, FAILURES_EXIST):
            raise NoSuchEventType("storage commitment has no such event")
        result = read_result(bytes(self._data), self._context.transfer_syntax_uid)
        self._desk.take_commitment_result(self._peer, result)
        return self._command.sop_instance_uid, None

    def _begin_step(self) -> tuple[str, CommitmentResult | None]:
        """N-CREATE of a procedure step (PS3.4 section F.7.2.1); we name it where the peer does not."""
        uid = self._command.sop_instance_uid or f"2.25.{uuid.uuid4().int}"
        self._desk.begin_step(self._peer, read_step(*self._step_arguments(uid)))
        return uid, None

    def _change_step(self) -> tuple[str, CommitmentResult | None]:
        """N-SET of a procedure step (PS3.4 section F.7.2.2)."""
        uid = self._command.sop_instance_uid
        self._desk.change_step(self._peer, read_change(*self._step_arguments(uid)))
        return uid, None

    def _step_arguments(self, uid: str) -> tuple[bytes, str, str]:
        if not self._data:
            raise RequestUnreadable("the request has no data set")
        try:
            return bytes(self._data), self._context.transfer_syntax_uid, validate_uid(uid)
        except InvalidUID:
            raise InvalidObjectInstance("the SOP Instance UID is not a UID") from None

    def _check_well_known_instance(self) -> None:
        if self._command.sop_instance_uid != STORAGE_COMMITMENT_SOP_INSTANCE:
            raise NoSuchSOPInstance("storage commitment has one well-known instance")


_OPERATIONS = {
    (STORAGE_COMMITMENT_SOP_CLASS, N_ACTION_RQ): DeskMessage._commit,
    (STORAGE_COMMITMENT_SOP_CLASS, N_EVENT_REPORT_RQ): DeskMessage._take_result,
    (PROCEDURE_STEP_SOP_CLASS, N_CREATE_RQ): DeskMessage._begin_step,
    (PROCEDURE_STEP_SOP_CLASS, N_SET_RQ): DeskMessage._change_step,
}
