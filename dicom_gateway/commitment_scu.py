"""Ask a peer to commit to the safekeeping of what we delivered (PS3.4 annex J), as service class user.

The result comes by N-EVENT-REPORT: on the same association while we wait for it, or later on an association
of the peer's to our acceptor, which hands it to `ServiceDesk.take_commitment_result`.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.presentation import build_context

from dicom_gateway.acceptor_settings import MIB
from dicom_gateway.command_set import STORAGE_COMMITMENT_SOP_CLASS, STORAGE_COMMITMENT_SOP_INSTANCE
from dicom_gateway.errors import RequestRefused
from dicom_gateway.scu_association import AnswerLimits, Destination, open_association
from dicom_gateway.status import SUCCESS, describe
from dicom_gateway.storage_commitment import REQUEST_COMMITMENT, CommitmentResult, Reference, read_result
from dicom_gateway.transfer_syntaxes import UNCOMPRESSED_LITTLE_ENDIAN

logger = logging.getLogger(__name__)

_LOOK_UP_S = 0.2
_LIMITS = AnswerLimits(message_bytes_max=4 * MIB, total_bytes_max=16 * MIB)
_PROCESSING_FAILURE = 0x0110
_NO_SUCH_EVENT_TYPE = 0x0113

# PS3.3 section C.14.1.1
_FAILURE_REASONS = {
    0x0110: "the peer could not process it",
    0x0112: "the peer does not have it",
    0x0119: "the peer has it under another SOP class",
    0x0122: "the peer does not support its SOP class",
    0x0131: "the transaction UID was used before",
    0x0213: "the peer is out of resources",
}


@dataclass(frozen=True)
class CommitmentAnswer:
    """What a request came to.

    accepted: the peer took the request. result: what it says of each instance; None while that is still to
    come. error: why the request was not accepted.
    """

    accepted: bool
    result: CommitmentResult | None
    error: str | None


def request_commitment(
    destination: Destination, references: Sequence[Reference], transaction_uid: str, wait_s: float = 10.0
) -> CommitmentAnswer:
    """N-ACTION, then wait up to `wait_s` on the same association for the result. Never raises for the peer."""
    reports: queue.Queue[CommitmentResult] = queue.Queue(maxsize=1)
    context = build_context(STORAGE_COMMITMENT_SOP_CLASS, list(UNCOMPRESSED_LITTLE_ENDIAN))
    handlers = [(evt.EVT_N_EVENT_REPORT, lambda event: _take_report(event, transaction_uid, reports))]
    with open_association(destination, [context], limits=_LIMITS, handlers=handlers) as link:
        if isinstance(link, str):
            return CommitmentAnswer(False, None, link)
        try:
            status, _ = link.send_n_action(
                _action_information(references, transaction_uid),
                REQUEST_COMMITMENT,
                STORAGE_COMMITMENT_SOP_CLASS,
                STORAGE_COMMITMENT_SOP_INSTANCE,
            )
        except Exception as error:  # pynetdicom raises many kinds where a peer breaks the rules
            return CommitmentAnswer(False, None, f"not asked: {type(error).__name__}")
        if "Status" not in status:
            return CommitmentAnswer(False, None, "no response from the peer")
        if status.Status != SUCCESS:
            return CommitmentAnswer(False, None, f"{describe(status.Status)} ({status.Status:04X}H)")
        result = _wait(link, reports, wait_s)
    logger.info("commitment_requested instances=%d answered=%s", len(references), result is not None)
    return CommitmentAnswer(True, result, None)


def failure_of(reference: Reference, result: CommitmentResult) -> str | None:
    """Why the peer does not keep an instance; None when it has committed to it."""
    if reference in result.failed:
        reason = result.failed[reference]
        return _FAILURE_REASONS.get(reason, f"the peer does not keep it ({reason:04X}H)")
    return None if reference in result.committed else "the peer says nothing of it"


def _take_report(
    event: Any, transaction_uid: str, reports: queue.Queue[CommitmentResult]
) -> tuple[int, Dataset | None]:
    """Answer an N-EVENT-REPORT; only a result of our transaction is kept."""
    if event.event_type not in (1, 2):
        return _NO_SUCH_EVENT_TYPE, None
    try:
        information = event.request.EventInformation.getvalue()
        result = read_result(information, str(event.context.transfer_syntax))
    except (RequestRefused, AttributeError):
        return _PROCESSING_FAILURE, None
    if result.transaction_uid != transaction_uid or reports.full():
        return _PROCESSING_FAILURE, None
    reports.put_nowait(result)
    return SUCCESS, None


def _wait(link: Any, reports: queue.Queue[CommitmentResult], wait_s: float) -> CommitmentResult | None:
    deadline = time.monotonic() + wait_s
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            return reports.get(timeout=min(_LOOK_UP_S, left_s))
        except queue.Empty:
            if not link.is_established:
                break
    return None if reports.empty() else reports.get_nowait()


def _action_information(references: Sequence[Reference], transaction_uid: str) -> Dataset:
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = []
    for reference in references:
        item = Dataset()
        item.ReferencedSOPClassUID = reference.sop_class_uid
        item.ReferencedSOPInstanceUID = reference.sop_instance_uid
        information.ReferencedSOPSequence.append(item)
    return information
