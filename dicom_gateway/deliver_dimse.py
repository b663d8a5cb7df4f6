"""Deliver: C-STORE as service class user (PS3.4 annex B), one association for a list of files.

pynetdicom initiates; files go out as they are, byte for byte, unless the peer takes only the other of the
two uncompressed encodings. What a peer does wrong is an outcome, never an exception.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pynetdicom.presentation import build_context

from dicom_gateway.command_set import VERIFICATION_SOP_CLASS
from dicom_gateway.delivery_outcome import DeliveryOutcome
from dicom_gateway.errors import NotAPart10File
from dicom_gateway.file_meta import FileMeta, read_file_meta
from dicom_gateway.presentation_contexts import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicom_gateway.scu_association import NO_COMMON_CONTEXT, AnswerLimits, Destination, open_association
from dicom_gateway.status import SUCCESS, describe, is_refusal, is_stored

logger = logging.getLogger(__name__)

_CONTEXTS_MAX = 128
_UNCOMPRESSED = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


@dataclass(frozen=True)
class _Item:
    path: Path
    meta: FileMeta


def send_instances(
    paths: Sequence[Path],
    destination: Destination,
    on_progress: Callable[[DeliveryOutcome], None] | None = None,
) -> list[DeliveryOutcome]:
    """Send Part 10 files; one outcome for each, in their order. Never raises for what a peer does.

    on_progress: called with each outcome as it is known.
    """
    if not paths:
        return []
    items = [_read_item(path) for path in paths]
    outcomes: list[DeliveryOutcome] = []
    contexts = _contexts([item for item in items if isinstance(item, _Item)])
    # A peer that stops reading holds us no longer than one that does not answer.
    limits = AnswerLimits(pdu_deadline_s=min(AnswerLimits.pdu_deadline_s, destination.dimse_timeout_s))
    with open_association(destination, contexts, limits=limits) as link:
        for item in items:
            outcome = item if isinstance(item, DeliveryOutcome) else _send(item, link)
            outcomes.append(outcome)
            if on_progress is not None:
                on_progress(outcome)
    acknowledged = sum(outcome.acknowledged for outcome in outcomes)
    logger.info("instances_sent count=%d acknowledged=%d", len(outcomes), acknowledged)
    return outcomes


def echo(destination: Destination) -> str | None:
    """Ask the peer for a C-ECHO; None when it answers, else the reason as a sentence."""
    with open_association(destination, _contexts([])) as link:
        if isinstance(link, str):
            return link
        try:
            status = link.send_c_echo()
        except Exception as error:
            return f"C-ECHO failed: {type(error).__name__}"
        if "Status" not in status:
            return "no answer to C-ECHO"
        return None if status.Status == SUCCESS else describe(status.Status)


def _read_item(path: Path) -> _Item | DeliveryOutcome:
    try:
        return _Item(path, read_file_meta(path))
    except NotAPart10File as error:
        return DeliveryOutcome("", None, False, str(error), path)


def _contexts(items: Sequence[_Item]) -> list[Any]:
    """One context for each pair in use, so that the peer answers for each syntax by itself."""
    pairs = dict.fromkeys((item.meta.sop_class_uid, item.meta.transfer_syntax_uid) for item in items)
    others = [
        (sop_class_uid, other)
        for sop_class_uid, syntax in pairs
        if syntax in _UNCOMPRESSED
        for other in _UNCOMPRESSED
    ]
    pairs |= dict.fromkeys(others)
    if not pairs:
        pairs = {(VERIFICATION_SOP_CLASS, IMPLICIT_VR_LITTLE_ENDIAN): None}
    return [build_context(sop_class, syntax) for sop_class, syntax in list(pairs)[:_CONTEXTS_MAX]]


def _send(item: _Item, link: Any) -> DeliveryOutcome:
    def failed(reason: str, status: int | None = None, *, is_refusal: bool = False) -> DeliveryOutcome:
        return DeliveryOutcome(item.meta.sop_instance_uid, status, False, reason, item.path, is_refusal)

    if isinstance(link, str):
        return failed(link, is_refusal=link == NO_COMMON_CONTEXT)
    if not link.is_established:
        return failed("the association ended before this instance was sent")
    accepted = {
        syntax
        for context in link.accepted_contexts
        if context.abstract_syntax == item.meta.sop_class_uid
        for syntax in context.transfer_syntax
    }
    try:
        if item.meta.transfer_syntax_uid in accepted:
            response = link.send_c_store(item.path)
        elif item.meta.transfer_syntax_uid in _UNCOMPRESSED and accepted.intersection(_UNCOMPRESSED):
            response = link.send_c_store(pydicom.dcmread(item.path))
        else:
            reason = "the peer does not accept this SOP class in this transfer syntax"
            return failed(reason, is_refusal=True)
    except Exception as error:
        return failed(f"not sent: {type(error).__name__}")
    if "Status" not in response:
        return failed("no response from the peer")
    status = int(response.Status)
    words = f"{describe(status)} ({status:04X}H)"
    if not is_stored(status):
        return failed(words, status, is_refusal=is_refusal(status))
    warning = None if status == SUCCESS else words
    return DeliveryOutcome(item.meta.sop_instance_uid, status, True, None, item.path, warning=warning)
