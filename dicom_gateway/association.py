"""One association as its acceptor lives it: negotiation, messages, end (PS3.8 sections 7 and 9.2)."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable

from dicom_gateway.acceptor_settings import AcceptorSettings
from dicom_gateway.connection import Connection, Handshake
from dicom_gateway.counters import Counters
from dicom_gateway.dimse_service import DimseService
from dicom_gateway.errors import (
    AssociationRefused,
    CalledAETitleNotRecognized,
    CallingAETitleNotRecognized,
    ConnectionLost,
    GatewayError,
    PeerTooSlow,
    ProtocolViolation,
    TemporarilyUnavailable,
    TLSHandshakeFailed,
    UnexpectedPDU,
)
from dicom_gateway.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_gateway.instance_sink import AssociationEnd, InstanceSink
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.negotiation import accepted_contexts, answer_contexts, answer_roles, check_request
from dicom_gateway.peers import Peer
from dicom_gateway.presentation_contexts import AcceptedContext
from dicom_gateway.security_alert import AlertKind, SecurityAlert
from dicom_gateway.service_desk import ServiceDesk
from dicom_gateway.upper_layer import (
    A_ABORT,
    A_ASSOCIATE_RQ,
    A_RELEASE_RQ,
    ABORT_BY_PROVIDER,
    P_DATA_TF,
    AssociateRequest,
    encode_abort,
    encode_associate_accept,
    encode_associate_reject,
    encode_release_reply,
    parse_associate_request,
    presentation_data_values,
)
from dicom_gateway.user_information import UserInformation

logger = logging.getLogger(__name__)

_NOT_SPECIFIED = 0  # A-ABORT reason
# Some peers count the header into the maximum length, some do not (PS3.8 annex D.1).
_PDU_LENGTH_SLACK = 12
# A peer that waits for a report on another association releases this one first.
_SILENCE_BEFORE_OUR_REQUEST_S = 1.0


class Association:
    """Runs in a thread of its own; holds one buffer of PDUs and one open file at most.

    handshake: run first, in that thread, so that a slow one holds up nobody else.
    on_open: told the number that the sink gave the association.
    """

    def __init__(
        self,
        sock: socket.socket,
        remote_host: str,
        settings: AcceptorSettings,
        store: InstanceStore,
        sink: InstanceSink,
        counters: Counters,
        handshake: Handshake | None = None,
        desk: ServiceDesk | None = None,
        on_open: Callable[[int, Peer], None] = lambda _number, _peer: None,
    ) -> None:
        self.remote_host = remote_host
        self._on_open = on_open
        self._handshake = handshake
        self._desk = desk
        self._settings = settings
        self._store = store
        self._sink = sink
        self._counters = counters
        self._connection = Connection(sock, settings.pdu_deadline_s)
        self._is_draining = False
        self._is_idle = True
        self._contexts: dict[int, AcceptedContext] = {}
        self._requestor = UserInformation()
        self._message_began_at = 0.0
        self._acceptance = b""
        self._titles = ("", "")  # calling, called

    def run(self) -> None:
        """Live from the first byte to the close of the connection; never raises."""
        last_pdu = b""
        try:
            if self._handshake is not None:
                self._connection.secure(self._handshake, self._settings.acse_timeout_s)
            peer = self._negotiate()
            last_pdu = self._serve(peer)
        except AssociationRefused as refusal:
            self._counters.add("associations_rejected", reason=type(refusal).__name__)
            logger.warning("association_rejected host=%s reason=%s", self.remote_host, refusal)
            if refusal.is_permanent:
                self._report("association_rejected", str(refusal))
            last_pdu = encode_associate_reject(refusal.result, refusal.source, refusal.reason)
        except TLSHandshakeFailed as failure:
            self._counters.add("tls_handshakes_failed")
            logger.warning("tls_handshake_failed host=%s reason=%s", self.remote_host, failure)
            self._report("tls_failed", str(failure))
        except GatewayError as error:
            last_pdu = self._abort_for(error)
        except Exception:
            logger.exception("association_crashed host=%s", self.remote_host)
            last_pdu = encode_abort(ABORT_BY_PROVIDER, _NOT_SPECIFIED)
        finally:
            self._connection.close(last_pdu)

    def drain(self) -> None:
        """End after the message in progress, at once when there is none."""
        self._is_draining = True
        if self._is_idle:
            self._connection.interrupt()

    def break_off(self) -> None:
        """End now, whatever is in progress."""
        self._is_draining = True
        self._connection.break_off()

    def _negotiate(self) -> Peer:
        request = self._read_request()
        if self._is_draining:
            raise TemporarilyUnavailable
        check_request(request)
        self._titles = (request.calling_ae_title, request.called_ae_title)
        try:
            if not self._sink.called_ae_title_exists(request.called_ae_title):
                raise CalledAETitleNotRecognized
            peer = self._sink.find_peer(
                request.calling_ae_title,
                request.called_ae_title,
                self.remote_host,
                self._connection.peer_certificate,
            )
        except AssociationRefused:
            raise
        except Exception as error:
            logger.error("peer_not_looked_up error=%s", type(error).__name__)
            raise TemporarilyUnavailable from error
        if peer is None:
            raise CallingAETitleNotRecognized
        answers = answer_contexts(request, has_desk=self._desk is not None)
        roles = answer_roles(request, answers)
        self._contexts = accepted_contexts(request, answers, roles)
        self._requestor = request.user_information
        self._acceptance = encode_associate_accept(
            request,
            answers,
            self._settings.pdu_length_max,
            IMPLEMENTATION_CLASS_UID,
            IMPLEMENTATION_VERSION_NAME,
            roles,
        )
        return peer

    def _read_request(self) -> AssociateRequest:
        connection, settings = self._connection, self._settings
        connection.wait(settings.acse_timeout_s)
        limits = {A_ASSOCIATE_RQ: settings.association_request_bytes_max, A_ABORT: 4}
        pdu_type, body = connection.read_pdu(limits)
        if pdu_type == A_ABORT:
            raise ConnectionLost("the peer aborted before it asked for an association")
        return parse_associate_request(body)

    def _serve(self, peer: Peer) -> bytes:
        """Accept, then take messages until the end; returns the last PDU to send."""
        try:
            association_id = self._sink.open_association(peer, self._requestor)
        except Exception as error:
            logger.error("association_not_recorded error=%s", type(error).__name__)
            raise TemporarilyUnavailable from error
        self._on_open(association_id, peer)
        self._counters.add("associations_accepted")
        logger.info("association_accepted association=%d tenant=%s", association_id, peer.tenant)
        service = DimseService(
            peer,
            association_id,
            self._contexts,
            self._requestor.pdu_length_max,
            self._settings.message_bytes_max,
            self._store,
            self._sink,
            self._counters,
            self._desk,
        )
        how: AssociationEnd = "lost"
        try:
            self._connection.send(self._acceptance)
            how, last_pdu = self._take_messages(service)
            return last_pdu
        except ProtocolViolation:
            how = "aborted"
            raise
        finally:
            service.close()
            self._close_in_sink(association_id, peer, how)

    def _take_messages(self, service: DimseService) -> tuple[AssociationEnd, bytes]:
        connection = self._connection
        limits = {
            P_DATA_TF: self._settings.pdu_length_max + _PDU_LENGTH_SLACK,
            A_RELEASE_RQ: 4,
            A_ABORT: 4,
        }
        while True:
            self._is_idle = service.is_idle
            if self._is_draining and self._is_idle:
                return "aborted", encode_abort(ABORT_BY_PROVIDER, _NOT_SPECIFIED)
            if self._is_idle:
                if service.has_request and not connection.is_readable(_SILENCE_BEFORE_OUR_REQUEST_S):
                    connection.send(service.next_request())
                connection.wait(self._settings.idle_timeout_s)
            was_idle, self._is_idle = self._is_idle, False
            if was_idle and self._is_draining:
                continue
            if was_idle:
                self._message_began_at = time.monotonic()
            elif time.monotonic() - self._message_began_at > self._settings.message_deadline_s:
                raise PeerTooSlow("a message did not arrive within its deadline")
            pdu_type, body = connection.read_pdu(limits)
            if pdu_type == P_DATA_TF:
                for context_id, control, fragment in presentation_data_values(body):
                    connection.send(service.take(context_id, control, fragment))
            elif pdu_type == A_ABORT:
                return "aborted", b""
            elif was_idle:
                return "released", encode_release_reply()
            else:
                raise UnexpectedPDU(pdu_type)

    def _abort_for(self, error: GatewayError) -> bytes:
        if isinstance(error, ConnectionLost) and not self._acceptance:
            # Load balancers and health checks connect and leave; that is not worth a line each.
            logger.debug("connection_closed_unused host=%s", self.remote_host)
            return b""
        self._counters.add("associations_aborted", reason=type(error).__name__)
        logger.warning("association_aborted host=%s reason=%s", self.remote_host, error)
        if isinstance(error, ConnectionLost):
            return b""
        reason = error.reason if isinstance(error, ProtocolViolation) else _NOT_SPECIFIED
        return encode_abort(ABORT_BY_PROVIDER, reason)

    def _report(self, kind: AlertKind, reason: str) -> None:
        certificate = self._connection.peer_certificate
        calling, called = self._titles
        self._sink.report(
            SecurityAlert(
                kind,
                reason,
                self.remote_host,
                calling,
                called,
                certificate.fingerprint if certificate else "",
            )
        )

    def _close_in_sink(self, association_id: int, peer: Peer, how: AssociationEnd) -> None:
        logger.info("association_closed association=%d how=%s", association_id, how)
        try:
            self._sink.close_association(association_id, peer, how)
        except Exception as error:
            # The instances are safe; only the note about the end is missing, and quiet time decides.
            logger.error("association_end_not_recorded error=%s", type(error).__name__)
