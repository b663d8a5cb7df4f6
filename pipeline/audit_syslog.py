"""Audit messages to a syslog server: RFC 5424 over TLS (RFC 5425) or UDP (RFC 5426), as PS3.15 annex A.6 has it.

The trail itself is the queue: what was sent last is noted, and the next round goes on from there. Syslog acknowledges
nothing; a server that is away costs a delay, one that takes and loses a message costs that copy, never the trail.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.audit_message import AuditSource, StudyNames, audit_message
from pipeline.database import Database
from pipeline.errors import AuditServerInvalid
from pipeline.store import Row

_FACILITY = 10  # security and authorization
_NOTICE, _WARNING = 5, 4
_UDP_BYTES_MAX = 60_000
_BATCH = 200
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class SyslogServer:
    """address: tls://host:port or udp://host:port. authorities: PEM file of who may have signed its certificate;
    None = the system's. certificate: PEM file with ours and its key. Raises `AuditServerInvalid`."""

    address: str
    authorities: Path | None = None
    certificate: Path | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.address)
            is_known = parts.scheme in ("tls", "udp") and parts.hostname and parts.port
        except ValueError:
            is_known = False
        if not is_known:
            raise AuditServerInvalid(self.address)

    @property
    def is_udp(self) -> bool:
        return self.address.startswith("udp:")

    @property
    def place(self) -> tuple[str, int]:
        parts = urlsplit(self.address)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port


def syslog_message(row: Row, source: AuditSource, studies: dict[str, StudyNames], host: str) -> bytes:
    """Header of RFC 5424 and the XML, which is UTF-8 as the byte order mark says."""
    priority = _FACILITY * 8 + (_NOTICE if row["outcome"] == 0 else _WARNING)
    at = row["at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    header = f"<{priority}>1 {at} {host or '-'} radmeter - DICOM+RFC3881 - ".encode("ascii", "replace")
    return header + b"\xef\xbb\xbf" + audit_message(row, source, studies)


def send_round(
    database: Database,
    server: SyslogServer,
    source: AuditSource,
    *,
    host: str = "",
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> int:
    """Send what has not been sent, in order; how many. Raises `OSError` when the server cannot be reached.

    One process at a time: whoever comes second finds the place taken and sends nothing.
    """
    sent = 0
    with contextlib.ExitStack() as stack:
        send: Callable[[bytes], None] | None = None
        while True:
            with database.system_transaction() as conn:
                rows = conn.execute(
                    "SELECT * FROM unsent_audit_events(%s, %s)", (server.address, _BATCH)
                ).fetchall()
                if not rows:
                    return sent
                send = send or stack.enter_context(_connected(server))
                for row in rows:
                    names = (
                        {row["study"]: StudyNames(row["study_instance_uid"])}
                        if row["study_instance_uid"]
                        else {}
                    )
                    send(syslog_message(row, source, names, host))
                conn.execute(
                    "SELECT note_audit_sent(%s, %s, %s)", (server.address, rows[-1]["sequence"], clock())
                )
                sent += len(rows)


@contextlib.contextmanager
def _connected(server: SyslogServer) -> Iterator[Callable[[bytes], None]]:
    """What sends one message."""
    if server.is_udp:
        family, kind, protocol, _, place = socket.getaddrinfo(*server.place, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as datagrams:
            # What does not fit into a datagram is cut, as RFC 5426 allows; TLS cuts nothing.
            yield lambda message: _nothing(datagrams.sendto(message[:_UDP_BYTES_MAX], place))
        return
    trust = ssl.create_default_context(cafile=str(server.authorities) if server.authorities else None)
    trust.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.certificate:
        trust.load_cert_chain(server.certificate)
    with (
        socket.create_connection(server.place, _TIMEOUT_S) as plain,
        trust.wrap_socket(plain, server_hostname=server.place[0]) as secure,
    ):
        yield lambda message: secure.sendall(b"%d %s" % (len(message), message))
        # Closed in order, so that what lies in its buffers is read before the end.
        with contextlib.suppress(OSError):
            secure.unwrap().close()


def _nothing(_sent: int) -> None:
    """A datagram is sent whole or not at all."""
