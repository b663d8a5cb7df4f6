"""TLS contexts for both directions, after the BCP 195 profiles of PS3.15 annex B.

TLS 1.2 and 1.3, never renegotiated, never compressed, suites with forward secrecy and authenticated encryption only.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dicom_gateway.errors import TLSFilesUnusable, TLSHandshakeFailed

logger = logging.getLogger(__name__)

ClientCertificate = Literal["none", "optional", "required"]
TLSProfile = Literal["bcp195", "bcp195-extended"]

_ECDHE = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
)
# Security level 2: RSA from 2048 bits, curves from 224, no SHA-1 in signatures.
SUITES: dict[TLSProfile, str] = {
    # PS3.15 B.12, the four suites that RFC 9325 section 4.2 recommends.
    "bcp195": f"{_ECDHE}:@SECLEVEL=2",
    # Beside them the DHE suites of the retired PS3.15 B.10 and B.11, for peers that know nothing newer.
    "bcp195-extended": f"{_ECDHE}:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=2",
}
"""Suites of TLS 1.2 in our order; those of TLS 1.3 are OpenSSL's, all of which the profiles allow."""

_VERIFY: dict[ClientCertificate, ssl.VerifyMode] = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_CERTIFICATE_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED
# The group ffdhe2048 of RFC 7919: PS3.15 B.10 wants 2048 bits or more.
_DH_PARAMETERS = Path(__file__).with_name("ffdhe2048.pem")


@dataclass(frozen=True)
class TLSFiles:
    """What the acceptor proves itself with, and whom it believes. All files are PEM.

    certificate: ours, followed by the intermediate ones.
    key: of `certificate`, without a password.
    authorities: who may have signed a peer's certificate; a self-signed one is its own authority.
    client_certificate: whether peers are asked for a certificate, and whether they may have none.
    """

    certificate: Path
    key: Path
    authorities: Path | None = None
    client_certificate: ClientCertificate = "optional"
    profile: TLSProfile = "bcp195"

    def __post_init__(self) -> None:
        if self.client_certificate != "none" and self.authorities is None:
            raise ValueError("client certificates cannot be checked without their authorities")

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.certificate, self.key, *([self.authorities] if self.authorities else []))


def server_context(files: TLSFiles) -> ssl.SSLContext:
    """The acceptor's context. Raises `TLSFilesUnusable`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _apply_profile(context, files.profile)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0  # associations are long; a resumed session would skip the client's certificate
    context.verify_mode = _VERIFY[files.client_certificate]
    if files.profile == "bcp195-extended":
        context.load_dh_params(str(_DH_PARAMETERS))
    _load(context, files.certificate, files.key, files.authorities)
    return context


def client_context(
    *,
    authorities: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    profile: TLSProfile = "bcp195",
    check_name: bool = True,
) -> ssl.SSLContext:
    """A context for associations that we initiate. Raises `TLSFilesUnusable`.

    For pynetdicom: `ae.associate(…, tls_args=(client_context(…), server_name))`, where `server_name` is what the
    peer's certificate must name, the host unless the peer is set otherwise.

    authorities: who may have signed the peer's certificate; None trusts what the system trusts.
    certificate, key: ours, if the peer asks for one; a key inside the certificate's file needs no `key`.
    check_name: False takes any certificate that an authority signed, whatever name it carries.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _apply_profile(context, profile)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.check_hostname = check_name
    if authorities is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    _load(context, certificate, key, authorities)
    return context


def days_left(files: TLSFiles) -> int:
    """Whole days until our certificate ends, negative after it. Raises `TLSFilesUnusable`."""
    server = server_context(replace(files, client_certificate="none"))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    # Only a verified certificate is decoded; for itself ours is authority enough.
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(files.certificate)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    for _ in range(4):  # a handshake in memory takes two turns of each
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                if error.verify_code == _CERTIFICATE_EXPIRED:
                    return -1
                raise TLSFilesUnusable(f"{files.certificate}: {error.verify_message}") from None
    found: Any = ends[0].getpeercert()
    return int((ssl.cert_time_to_seconds(found["notAfter"]) - time.time()) // 86_400)


def _apply_profile(context: ssl.SSLContext, profile: TLSProfile) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION
    context.set_ciphers(SUITES[profile])


def _load(
    context: ssl.SSLContext, certificate: Path | None, key: Path | None, authorities: Path | None
) -> None:
    path = certificate
    try:
        if certificate is not None:
            context.load_cert_chain(certificate, key, password=_refuse_to_ask)
        path = authorities
        if authorities is not None:
            context.load_verify_locations(authorities)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise TLSFilesUnusable(f"{path}: {error}") from None


def _refuse_to_ask() -> str:
    raise ValueError("the key has a password")


class TLSContexts:
    """The acceptor's context, made anew when one of its files changes: certificates are renewed without a restart.

    Files that cannot be used, half-written ones say, leave the former context in force.
    """

    def __init__(self, files: TLSFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._stamps = self._look()
        self._context = server_context(files)

    def current(self) -> ssl.SSLContext:
        """The context for the next connection. Called from many threads."""
        with self._lock:
            stamps = self._look()
            if stamps != self._stamps:
                self._stamps = stamps
                try:
                    self._context = server_context(self._files)
                    logger.info("certificates_loaded_again")
                except TLSFilesUnusable as error:
                    logger.error("certificates_not_loaded reason=%s", error)
            return self._context

    def _look(self) -> list[tuple[int, int] | None]:
        return [_stamp(path) for path in self._files.paths]


def secure_as_server(contexts: TLSContexts) -> Callable[[socket.socket, float], socket.socket]:
    """(connected socket, seconds) → the TLS socket. Takes no longer than that; raises `TLSHandshakeFailed`."""

    def handshake(sock: socket.socket, timeout_s: float) -> socket.socket:
        sock.settimeout(timeout_s)
        try:
            return contexts.current().wrap_socket(sock, server_side=True)
        except (OSError, ValueError) as error:
            raise TLSHandshakeFailed(why_tls_failed(error)) from None

    return handshake


def why_tls_failed(error: Exception) -> str:
    """Why a handshake failed, without anything that the peer may choose."""
    if isinstance(error, TimeoutError):
        return "no TLS handshake within its deadline"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not believed: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS handshake failed: {error.reason.lower().replace('_', ' ')}"
    return "the connection broke during the TLS handshake"


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino
