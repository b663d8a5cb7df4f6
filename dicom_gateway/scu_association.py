"""An association that we open, as service class user: bounded, with reasons instead of exceptions.

pynetdicom speaks the protocol. It believes every length that a peer announces and waits as long as the peer
likes, so the socket below it is watched: no PDU, no message and no answer as a whole may be longer than its
limit, and each PDU has its deadline.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dicom_gateway.acceptor_settings import KIB, MIB
from dicom_gateway.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_gateway.reactor_pause import settle_reactor
from dicom_gateway.tls import why_tls_failed
from study.identifiers import AETitle

# A file is read in pieces while it is sent, never decoded and encoded again.
_config.STORE_SEND_CHUNKED_DATASET = True
# Its own handlers would format every PDU for a log that must not hold patient data.
_config.LOG_HANDLER_LEVEL = "none"

PDU_LENGTH_MAX = 128 * KIB
NO_COMMON_CONTEXT = "the peer accepts none of the SOP classes and transfer syntaxes"
_LOOK_UP_S = 0.5
_QUEUED_MESSAGES_MAX = 16
_WAIT_FOR_ROOM_S = 0.002


@dataclass(frozen=True)
class Destination:
    """Which DICOM node to call, under which names, and how long to wait for what.

    dimse_timeout_s: for each response; archives index before they answer.
    tls: how to speak DICOM over TLS (`tls.client_context`), None for plain DICOM.
    """

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str
    connect_timeout_s: float = 10.0
    acse_timeout_s: float = 30.0
    dimse_timeout_s: float = 120.0
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        AETitle(self.called_ae_title)
        AETitle(self.calling_ae_title)


@dataclass(frozen=True)
class AnswerLimits:
    """How much of a peer's talk we take before the association is cut.

    pdu_bytes_max: of one PDU; we announce half of it.
    message_bytes_max: of one data set, which pynetdicom keeps in memory.
    total_bytes_max: of everything that is received on the association.
    time_s: for the association as a whole; None leaves only the deadlines of PDUs and responses.
    pdu_deadline_s: from the first byte of a PDU to its last, and for sending one.
    """

    pdu_bytes_max: int = 2 * PDU_LENGTH_MAX
    message_bytes_max: int = 16 * MIB
    total_bytes_max: int = 64 * MIB
    time_s: float | None = None
    pdu_deadline_s: float = 30.0


@contextlib.contextmanager
def open_association(
    destination: Destination,
    contexts: Sequence[Any],
    *,
    limits: AnswerLimits = AnswerLimits(),
    roles: Sequence[Any] = (),
    handlers: Sequence[Any] = (),
) -> Iterator[Any]:
    """An open association, or the sentence that says why there is none.

    contexts, roles: presentation contexts and role selections (PS3.7 annex D.3.3.4) to propose.
    handlers: of pynetdicom's events, for requests that the peer makes on our association.
    """
    watches: list[_WatchedSocket] = []

    def on_open(event: Any) -> None:
        # Nagle's algorithm would hold the last bytes of each message for about 40 ms.
        event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        watches.append(_WatchedSocket(event.assoc, limits))

    tls = _ExplainedTLS(destination.tls) if destination.tls is not None else None
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
            contexts=list(contexts),
            ae_title=destination.called_ae_title,
            max_pdu=PDU_LENGTH_MAX,
            ext_neg=list(roles),
            tls_args=(tls, destination.host) if tls is not None else None,
            evt_handlers=[(evt.EVT_CONN_OPEN, on_open), *handlers],
        )
    except socket.gaierror:
        yield f"no address is known for the host {destination.host}"
        return
    except Exception as error:
        yield f"no association: {type(error).__name__}"
        return
    if not link.is_established:
        why_no_connection = (tls.problem if tls is not None else None) or "no connection to the peer"
        yield _why_not_established(link, watches[0], tls is not None) if watches else why_no_connection
        return
    settle_reactor(link)
    _notice_the_end_while_waiting(link, destination.dimse_timeout_s, limits.time_s)
    try:
        yield link
    finally:
        with contextlib.suppress(Exception):
            link.release() if link.is_established else link.abort()


def cut(link: Any) -> None:
    """End an association at once, also when its thread waits for bytes that do not come."""
    with contextlib.suppress(Exception):
        link.dul.socket.socket.shutdown(socket.SHUT_RD)
    with contextlib.suppress(Exception):
        link.abort()


class _ExplainedTLS:
    """Takes the place of a TLS context: pynetdicom shakes hands within `connect` and tells only that it failed."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.problem: str | None = None

    def wrap_socket(self, sock: socket.socket, **options: Any) -> ssl.SSLSocket:
        secured = self._context.wrap_socket(sock, **options)
        connect = secured.connect

        def explained_connect(address: Any) -> None:
            try:
                connect(address)
            except (ssl.SSLError, ConnectionResetError) as error:
                self.problem = why_tls_failed(error)
                raise

        secured.connect = explained_connect  # type: ignore[assignment,method-assign]
        return secured


class _TooMuch(OSError):
    """A limit is passed; pynetdicom takes an OSError as the end of the connection."""


class _WatchedSocket:
    """Takes the place of pynetdicom's `recv`, which reads whatever length a PDU announces.

    What ends the association is left on it as `why_cut`. is_heard: whether the peer has said anything.
    """

    def __init__(self, link: Any, limits: AnswerLimits) -> None:
        self._link = link
        self._limits = limits
        self._received = 0
        self.is_heard = False
        self._ends_at = time.monotonic() + limits.time_s if limits.time_s is not None else float("inf")
        link.dul.socket.socket.settimeout(limits.pdu_deadline_s)
        link.dul.socket.recv = self._explained_recv
        self._take_primitive = link.dimse.receive_primitive
        link.dimse.receive_primitive = self._receive_primitive

    def _receive_primitive(self, primitive: Any) -> None:
        """A message that pynetdicom cannot read is aborted (PS3.8 AA-8) instead of ending its thread."""
        try:
            self._take_primitive(primitive)
        except Exception:
            self._link.why_cut = "the peer sent a message that cannot be read"
            self._link.dul.event_queue.put("Evt19")

    def _explained_recv(self, count: int) -> bytearray:
        """Exactly `count` bytes, fewer at the end of the connection; an OSError ends the association."""
        try:
            return self._recv(count)
        except TimeoutError:
            self._link.why_cut = "the peer was too slow"
            raise
        except ssl.SSLError as error:  # in TLS 1.3 it refuses our certificate after our handshake
            self._link.why_cut = why_tls_failed(error)
            raise
        except _TooMuch as error:
            self._link.why_cut = str(error)
            raise

    def _recv(self, count: int) -> bytearray:
        limits, message = self._limits, self._link.dimse.message
        begun = message.data_set.tell() + message.encoded_command_set.tell() if message is not None else 0
        self._received += count
        if count > limits.pdu_bytes_max:
            raise _TooMuch("a PDU is longer than we take")
        if begun + count > limits.message_bytes_max or self._received > limits.total_bytes_max:
            raise _TooMuch("the peer sends more than we take")
        deadline = min(self._ends_at, time.monotonic() + limits.pdu_deadline_s)
        self._wait_for_room(deadline)
        connection = self._link.dul.socket.socket
        data = bytearray(count)
        filled = 0
        while filled < count:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            got = connection.recv_into(memoryview(data)[filled:])
            if not got:
                return data[:filled]
            self.is_heard = True
            filled += got
            if filled < count and time.monotonic() >= deadline:
                raise TimeoutError("a PDU did not arrive in time")
        connection.settimeout(limits.pdu_deadline_s)
        return data

    def _wait_for_room(self, deadline: float) -> None:
        """A peer that sends faster than its messages are read waits in TCP, not in our memory."""
        while self._link.dimse.msg_queue.qsize() >= _QUEUED_MESSAGES_MAX and not self._link._kill:
            if time.monotonic() >= deadline:
                raise TimeoutError("messages are not taken in time")
            time.sleep(_WAIT_FOR_ROOM_S)


def _notice_the_end_while_waiting(link: Any, timeout_s: float, whole_s: float | None) -> None:
    """Let a wait for a response end soon after the association has, and with its time.

    When a peer aborts between two messages, pynetdicom's own thread takes the mark that it leaves in the
    queue of messages, and the sender would wait for the response until its timeout.
    """
    take_message, messages = link.dimse.get_msg, link.dimse.msg_queue
    ends_at = time.monotonic() + whole_s if whole_s is not None else float("inf")

    def get_msg(block: bool = False) -> Any:
        if not block:
            return take_message(block=False)
        deadline = min(ends_at, time.monotonic() + timeout_s)
        while (left_s := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                return messages.get(timeout=min(_LOOK_UP_S, left_s))
            if not link.is_established or not link.dul.is_alive():
                break
        return None, None

    link.dimse.get_msg = get_msg


def _why_not_established(link: Any, watch: _WatchedSocket, is_tls: bool) -> str:
    # pynetdicom takes a refusal that has come before it looked for a connection that failed, and aborts it.
    answer = link.acceptor.primitive or link.dul.peek_next_pdu()
    if isinstance(answer, A_ASSOCIATE) and answer.result in (1, 2):  # PS3.8 table 9-21: permanent, transient
        return f"association rejected: {answer.reason_str}"
    if link.rejected_contexts:
        return NO_COMMON_CONTEXT
    why_cut: str | None = getattr(link, "why_cut", None)
    if why_cut is not None:
        return why_cut
    if link.is_aborted and not watch.is_heard:
        hint = "" if is_tls else "; it may speak TLS only"
        return f"the peer closed the connection without an answer{hint}"
    return "association aborted" if link.is_aborted else "no answer to the association request"
