"""Audit events as messages of PS3.15 A.5, valid by the standard's schema, and by syslog to a server that listens."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from lxml import etree
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from pipeline import audit
from pipeline.audit import AuditEvent
from pipeline.audit_message import EVENT_CODES, AuditSource, audit_message, studies_of
from pipeline.audit_syslog import SyslogServer, send_round
from pipeline.database import Database
from pipeline.errors import AuditServerInvalid
from tests.tls_files import Authority

SCHEMA = etree.RelaxNG(etree.parse(str(Path(__file__).parent / "audit_message.rng")))
STUDY = str(uuid.uuid4())


@pytest.fixture
def owner(migrated_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(migrated_url, autocommit=True, row_factory=dict_row) as conn:
        conn.execute("INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('alpha', 'A', 'ALPHA')")
        header = {"patient_name": "SECRET^NAME", "patient_id": "PID-7"}
        conn.execute(
            """INSERT INTO study (id, tenant, study_instance_uid, ae_title, header)
               VALUES (%s, 'alpha', '1.2.3.4', 'PACS', %s)""",
            (STUDY, Jsonb(header)),
        )
        yield conn


def messages(owner: psycopg.Connection, *, with_patients: bool = False) -> list[etree._Element]:
    rows = list(audit.every(owner))
    studies = studies_of(owner, rows, with_patients=with_patients)
    return [etree.fromstring(audit_message(row, AuditSource("site-1"), studies)) for row in rows]


def identifiers(message: etree._Element) -> list[tuple[str, str]]:
    objects = message.iter("ParticipantObjectIdentification")
    return [
        (
            str(one.find("ParticipantObjectIDTypeCode").get("originalText")),
            str(one.get("ParticipantObjectID")),
        )
        for one in objects
    ]


def test_every_kind_of_event_is_a_valid_message_whatever_it_tells(owner: psycopg.Connection) -> None:
    details = (
        {"user": "anna", "host": "192.0.2.7", "study": STUDY, "route": "/studies/{study_id}"},
        {"by": "王伟", "host": "pacs.test", "peer": "PACS", "changes": {"a": [1, None]}},
        {"user": "a\x07<b>&]]>\ud800😀", "reason": "\x00\x1b[31m" + "x" * 2000, "host": "  "},
        {},
    )
    kinds = [(event, detail) for event in AuditEvent for detail in details]
    for event, detail in kinds:
        audit.record(owner, "alpha", event, detail)
    for (event, _), message in zip(kinds, messages(owner), strict=True):
        SCHEMA.assertValid(message)
        identified = message.find("EventIdentification/EventID")
        assert identified is not None
        assert identified.get("csd-code") == EVENT_CODES[event.event]
        assert identified.get("originalText") == event.event
    assert audit.find_problems(owner) == []


def test_who_saw_what_from_where_is_in_the_places_of_the_standard(owner: psycopg.Connection) -> None:
    detail = {"user": "anna", "host": "192.0.2.7", "study": STUDY, "route": "/studies/{study_id}"}
    audit.record(owner, "alpha", AuditEvent.STUDY_VIEWED, detail)
    (message,) = messages(owner)
    event = message.find("EventIdentification")
    assert event is not None
    assert (event.get("EventActionCode"), event.get("EventOutcomeIndicator")) == ("R", "0")
    person, application = message.findall("ActiveParticipant")
    assert dict(person.attrib) == {
        "UserID": "anna", "UserIsRequestor": "true",
        "NetworkAccessPointID": "192.0.2.7", "NetworkAccessPointTypeCode": "2",
    }  # fmt: skip
    assert application.get("UserIsRequestor") == "false"
    source = message.find("AuditSourceIdentification")
    assert source is not None
    assert (source.get("AuditSourceID"), source.get("AuditEnterpriseSiteID")) == ("site-1", "alpha")
    assert identifiers(message) == [("Study Instance UID", "1.2.3.4")]
    details = {
        one.get("type"): base64.b64decode(str(one.get("value"))).decode()
        for one in message.iter("ParticipantObjectDetail")
    }
    assert json.loads(details["radmeter detail"]) == detail
    assert details["radmeter hash"] == audit.head(owner).split(":")[1]


def test_a_patient_is_named_by_number_where_it_is_asked_for_and_never_by_name(
    owner: psycopg.Connection,
) -> None:
    audit.record(owner, "alpha", AuditEvent.IMAGES_VIEWED, {"user": "anna", "study": STUDY})
    (plain,) = messages(owner)
    (asked,) = messages(owner, with_patients=True)
    assert b"PID-7" not in etree.tostring(plain)
    assert identifiers(asked) == [("Study Instance UID", "1.2.3.4"), ("Patient Number", "PID-7")]
    SCHEMA.assertValid(asked)
    assert b"SECRET" not in etree.tostring(asked)


def test_a_study_that_is_gone_keeps_our_own_name_for_it(owner: psycopg.Connection) -> None:
    gone = str(uuid.uuid4())
    audit.record(owner, "alpha", AuditEvent.STUDY_VIEWED, {"user": "anna", "study": gone})
    (message,) = messages(owner)
    SCHEMA.assertValid(message)
    assert identifiers(message) == [("Node ID", gone)]


class Listener:
    """A syslog server that keeps what it is told, octet counted over TLS."""

    def __init__(self, certificate: Path, key: Path) -> None:
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trust.load_cert_chain(certificate, key)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._trust = trust
        self.port = self._socket.getsockname()[1]
        self.received = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        plain, _ = self._socket.accept()
        with (
            contextlib.suppress(ssl.SSLError),
            plain,
            self._trust.wrap_socket(plain, server_side=True) as secure,
        ):
            while piece := secure.recv(65536):
                self.received += piece
        self._socket.close()

    def messages(self) -> list[bytes]:
        self._thread.join(10)
        left, found = self.received, []
        while left:
            count, _, left = left.partition(b" ")
            found.append(left[: int(count)])
            left = left[int(count) :]
        return found


def body(message: bytes) -> etree._Element:
    header, _, xml = message.partition(b"\xef\xbb\xbf")
    assert header.startswith((b"<85>1 2", b"<84>1 2"))
    assert b" radmeter - DICOM+RFC3881 - " in header
    return etree.fromstring(xml)


class TestSyslog:
    def test_each_event_is_sent_once_in_order_over_tls(
        self, owner: psycopg.Connection, migrated_url: str, tmp_path: Path
    ) -> None:
        authority = Authority(tmp_path)
        files = authority.sign("127.0.0.1")
        listener = Listener(files.certificate, files.key)
        server = SyslogServer(f"tls://127.0.0.1:{listener.port}", authority.path)
        database = Database(migrated_url, pool_size_max=2)
        audit.record(owner, "alpha", AuditEvent.SIGNED_IN, {"user": "before the server was named"})
        assert send_round(database, server, AuditSource()) == 0, "a new server is told from now on"
        for number in range(3):
            audit.record(owner, "alpha", AuditEvent.STUDY_VIEWED, {"user": f"u{number}", "study": STUDY})
        assert send_round(database, server, AuditSource()) == 3
        sent = [body(message) for message in listener.messages()]
        assert [one.find("ActiveParticipant").get("UserID") for one in sent] == ["u0", "u1", "u2"]
        assert identifiers(sent[0]) == [("Study Instance UID", "1.2.3.4")]
        for one in sent:
            SCHEMA.assertValid(one)
        assert send_round(database, server, AuditSource()) == 0, "nothing is sent twice"
        database.close()

    def test_a_server_that_cannot_be_reached_or_trusted_gets_it_later(
        self, owner: psycopg.Connection, migrated_url: str, tmp_path: Path
    ) -> None:
        authority, stranger = Authority(tmp_path / "a"), Authority(tmp_path / "b")
        files = stranger.sign("127.0.0.1")
        listener = Listener(files.certificate, files.key)
        server = SyslogServer(f"tls://127.0.0.1:{listener.port}", authority.path)
        database = Database(migrated_url, pool_size_max=2)
        send_round(database, server, AuditSource())
        audit.record(owner, "alpha", AuditEvent.SIGNED_IN, {"user": "anna"})
        with pytest.raises(ssl.SSLError):
            send_round(database, server, AuditSource())
        nobody = SyslogServer("tls://127.0.0.1:1", authority.path)
        send_round(database, nobody, AuditSource())
        audit.record(owner, "alpha", AuditEvent.SIGNED_IN, {"user": "anna"})
        with pytest.raises(ConnectionRefusedError):
            send_round(database, nobody, AuditSource())
        row = owner.execute(
            "SELECT count(*) AS n FROM unsent_audit_events(%s, 10)", (server.address,)
        ).fetchone()
        assert row == {"n": 2}
        database.close()

    def test_udp_carries_one_message_in_a_datagram(
        self, owner: psycopg.Connection, migrated_url: str
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
            listener.bind(("127.0.0.1", 0))
            listener.settimeout(10)
            server = SyslogServer(f"udp://127.0.0.1:{listener.getsockname()[1]}")
            database = Database(migrated_url, pool_size_max=2)
            send_round(database, server, AuditSource())
            audit.record(owner, "alpha", AuditEvent.SIGN_IN_FAILED, {"user": "anna"})
            assert (
                send_round(database, server, AuditSource(), clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
                == 1
            )
            SCHEMA.assertValid(body(listener.recv(65536)))
            database.close()

    @pytest.mark.parametrize(
        "address", ["", "host", "tcp://host:1", "tls://host", "udp://:514", "tls://[x", "tls://h:x"]
    )
    def test_an_address_that_is_none_is_refused(self, address: str) -> None:
        with pytest.raises(AuditServerInvalid):
            SyslogServer(address)
