"""Retrieve: C-MOVE to ourselves and C-GET as service class user in the Study Root model (PS3.4 annex C)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.presentation import build_context, build_role

from dicom_gateway.acceptor_settings import KIB, MIB
from dicom_gateway.errors import InstanceRefused
from dicom_gateway.file_meta import FileMeta
from dicom_gateway.query_dimse import PENDING, UNCOMPRESSED, meaning_of, why_no_answer
from dicom_gateway.retrieved_instances import (
    USUAL_RETRIEVE_LIMITS,
    RetrievedInstances,
    RetrieveLimits,
    RetrieveOutcome,
)
from dicom_gateway.scu_association import AnswerLimits, Destination, cut, open_association
from dicom_gateway.status import status_of

logger = logging.getLogger(__name__)

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
_PIECE_BYTES = 256 * KIB

# An association has 128 presentation contexts: the images that are compared with, each of them in each syntax by
# itself, so that the archive need not transcode.
IMAGE_SOP_CLASSES = tuple(
    f"1.2.840.10008.5.1.4.1.1.{part}"
    for part in ("2", "2.1", "4", "4.1", "1", "1.1", "1.1.1", "1.2", "1.2.1", "128", "20", "6.1", "7")
)
_COMPRESSED = tuple(
    f"1.2.840.10008.1.2.{part}" for part in ("4.50", "4.51", "4.70", "4.80", "4.81", "4.90", "4.91", "5")
)


def move(
    destination: Destination, study_instance_uid: str, limits: RetrieveLimits = USUAL_RETRIEVE_LIMITS
) -> RetrieveOutcome:
    """Have the study sent to our acceptor, under the AE title that we call with. Never raises for the peer.

    The instances come over associations of the archive's own; the counts are those that it reports.
    """
    answer_limits = AnswerLimits(message_bytes_max=MIB, total_bytes_max=16 * MIB, time_s=limits.time_s)
    contexts = [build_context(STUDY_ROOT_MOVE, UNCOMPRESSED)]
    ends_at = time.monotonic() + limits.time_s
    with open_association(destination, contexts, limits=answer_limits) as link:
        if isinstance(link, str):
            return RetrieveOutcome(0, 0, link)
        try:
            responses = link.send_c_move(
                _identifier(study_instance_uid), destination.calling_ae_title, STUDY_ROOT_MOVE
            )
            outcome = _follow(link, responses, ends_at, limits.time_s)
        except Exception as error:  # pynetdicom raises many kinds where a peer breaks the rules
            outcome = RetrieveOutcome(0, 0, f"the move failed: {type(error).__name__}")
        if outcome.error is not None:
            cut(link)
    logger.info("study_moved completed=%d failed=%d", outcome.completed, outcome.failed)
    return outcome


def get(
    destination: Destination,
    study_instance_uid: str,
    instances: RetrievedInstances,
    sop_classes: Sequence[str] = IMAGE_SOP_CLASSES,
) -> RetrieveOutcome:
    """Have the study sent over our own association, on which we are the storage provider (role selection)."""
    limits = instances.limits
    answer_limits = AnswerLimits(
        message_bytes_max=limits.instance_bytes_max, total_bytes_max=limits.bytes_max, time_s=limits.time_s
    )
    contexts = [build_context(STUDY_ROOT_GET, UNCOMPRESSED)]
    for sop_class in sop_classes:
        contexts.append(build_context(sop_class, UNCOMPRESSED))
        contexts += [build_context(sop_class, syntax) for syntax in _COMPRESSED]
    roles = [build_role(sop_class, scp_role=True) for sop_class in sop_classes]
    ends_at = time.monotonic() + limits.time_s
    handlers = [(evt.EVT_C_STORE, lambda event: _take(event, instances))]
    with open_association(
        destination, contexts, limits=answer_limits, roles=roles, handlers=handlers
    ) as link:
        if isinstance(link, str):
            return RetrieveOutcome(0, 0, link)
        try:
            responses = link.send_c_get(_identifier(study_instance_uid), STUDY_ROOT_GET)
            told = _follow(link, responses, ends_at, limits.time_s)
        except Exception as error:
            told = RetrieveOutcome(0, 0, f"the retrieval failed: {type(error).__name__}")
        if told.error is not None:
            cut(link)
    # What we took is what counts; what the archive could not send is what it says beyond that.
    failed = max(instances.failed, told.failed)
    reason = told.error or (f"{failed} instances were not taken" if failed else None)
    logger.info("study_got completed=%d failed=%d", instances.completed, failed)
    return RetrieveOutcome(instances.completed, failed, reason)


def _take(event: Any, instances: RetrievedInstances) -> int:
    """A C-STORE sub-operation; its status."""
    request, context = event.request, event.context
    announced = FileMeta(
        str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID), str(context.transfer_syntax)
    )
    try:
        instances.take(announced, _pieces(request.DataSet))
    except InstanceRefused as refusal:
        return status_of(refusal)
    return 0x0000


def _pieces(data_set: Any) -> Iterator[bytes]:
    data_set.seek(0)
    while piece := data_set.read(_PIECE_BYTES):
        yield piece


def _identifier(study_instance_uid: str) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = study_instance_uid
    return identifier


def _follow(link: Any, responses: Any, ends_at: float, time_s: float) -> RetrieveOutcome:
    """Take responses until the last; the counts are those of the latest that has any."""
    completed = failed = 0
    for response, _ in responses:
        if "Status" not in response:
            return RetrieveOutcome(completed, failed, why_no_answer(link, ends_at, time_s))
        counts = [response.get(f"NumberOf{what}Suboperations") for what in ("Completed", "Warning", "Failed")]
        if any(count is not None for count in counts):
            completed, failed = int(counts[0] or 0) + int(counts[1] or 0), int(counts[2] or 0)
        if response.Status not in PENDING:
            return RetrieveOutcome(completed, failed, _error(response.Status, completed, failed))
        if time.monotonic() >= ends_at:
            return RetrieveOutcome(completed, failed, f"not complete within {time_s:g} s")
    return RetrieveOutcome(completed, failed, "the association ended before the answer")


def _error(status: int, completed: int, failed: int) -> str | None:
    if failed:
        return f"{failed} of {completed + failed} instances could not be sent"
    return None if status in (0x0000, 0xB000) else meaning_of(status)
