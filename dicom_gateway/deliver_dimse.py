"""Deliver: C-STORE as service class user (PS3.4 annex B), one association for a list of files.

pynetdicom initiates; files go out as they are, byte for byte, unless the peer takes only the other of the
two uncompressed encodings. What a peer does wrong is an outcome, never an exception.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pynetdicom import AE, _config, evt
from pynetdicom.presentation import build_context

from dicom_gateway.command_set import VERIFICATION_SOP_CLASS
from dicom_gateway.errors import NotAPart10File
from dicom_gateway.file_meta import FileMeta, read_file_meta
from dicom_gateway.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_gateway.presentation_contexts import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicom_gateway.status import SUCCESS, describe, is_stored
from study.identifiers import AETitle

# A file is read in pieces while it is sent, never decoded and encoded again.
_config.STORE_SEND_CHUNKED_DATASET = True
# Its own handlers would format every PDU for a log that must not hold patient data.
_config.LOG_HANDLER_LEVEL = "none"

logger = logging.getLogger(__name__)

_CONTEXTS_MAX = 128
_PDU_LENGTH_MAX = 128 * 1024
_LOOK_UP_S = 0.5
_UNCOMPRESSED = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


@dataclass(frozen=True)
class Destination:
    """Where to send, under which names, and how long to wait for what.

    dimse_timeout_s: for each response; archives index before they answer.
    """

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str
    connect_timeout_s: float = 10.0
    acse_timeout_s: float = 30.0
    dimse_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        AETitle(self.called_ae_title)
        AETitle(self.calling_ae_title)


@dataclass(frozen=True)
class DeliveryOutcome:
    """What became of one file.

    status: of the peer's C-STORE response; None where there was none.
    acknowledged: the peer said that it keeps the instance.
    error: why not, for people; None when acknowledged.
    """

    sop_instance_uid: str
    status: int | None
    acknowledged: bool
    error: str | None
    path: Path


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
    with _association(destination, [item for item in items if isinstance(item, _Item)]) as link:
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
    with _association(destination, []) as link:
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


@contextlib.contextmanager
def _association(destination: Destination, items: Sequence[_Item]) -> Iterator[Any]:
    """An open association, or the sentence that says why there is none."""
    connected = threading.Event()

    def on_open(event: Any) -> None:
        connected.set()
        # Nagle's algorithm would hold the last bytes of each message for about 40 ms.
        event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    entity = AE(ae_title=destination.calling_ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.connection_timeout = destination.connect_timeout_s
    entity.acse_timeout = destination.acse_timeout_s
    entity.dimse_timeout = destination.dimse_timeout_s
    entity.network_timeout = destination.dimse_timeout_s
    try:
        link = entity.associate(
            destination.host,
            destination.port,
            contexts=_contexts(items),
            ae_title=destination.called_ae_title,
            max_pdu=_PDU_LENGTH_MAX,
            evt_handlers=[(evt.EVT_CONN_OPEN, on_open)],
        )
    except Exception as error:
        yield f"no association: {type(error).__name__}"
        return
    if not link.is_established:
        yield _why_not_established(link) if connected.is_set() else "no connection to the peer"
        return
    _notice_the_end_while_waiting(link, destination.dimse_timeout_s)
    try:
        yield link
    finally:
        with contextlib.suppress(Exception):
            link.release() if link.is_established else link.abort()


def _notice_the_end_while_waiting(link: Any, timeout_s: float) -> None:
    """Let a wait for a response end soon after the association has.

    When a peer aborts between two messages, pynetdicom's own thread takes the mark that it leaves in the
    queue of messages, and the sender would wait for the response until its timeout.
    """
    take_message, messages = link.dimse.get_msg, link.dimse.msg_queue

    def get_msg(block: bool = False) -> Any:
        if not block:
            return take_message(block=False)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                return messages.get(timeout=_LOOK_UP_S)
            if not link.is_established or not link.dul.is_alive():
                break
        return None, None

    link.dimse.get_msg = get_msg


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


def _why_not_established(link: Any) -> str:
    if link.is_rejected:
        answer = link.acceptor.primitive
        return f"association rejected: {answer.reason_str}" if answer else "association rejected"
    if link.rejected_contexts:
        return "the peer accepts none of the SOP classes and transfer syntaxes"
    return "association aborted" if link.is_aborted else "no answer to the association request"


def _send(item: _Item, link: Any) -> DeliveryOutcome:
    def failed(reason: str, status: int | None = None) -> DeliveryOutcome:
        return DeliveryOutcome(item.meta.sop_instance_uid, status, False, reason, item.path)

    if isinstance(link, str):
        return failed(link)
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
            return failed("the peer does not accept this SOP class in this transfer syntax")
    except Exception as error:
        return failed(f"not sent: {type(error).__name__}")
    if "Status" not in response:
        return failed("no response from the peer")
    status = int(response.Status)
    if not is_stored(status):
        return failed(f"{describe(status)} ({status:04X}H)", status)
    return DeliveryOutcome(item.meta.sop_instance_uid, status, True, None, item.path)
