"""Mail: over a real SMTP server, with TLS, without a patient."""

from __future__ import annotations

import contextlib
import email
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from pipeline.errors import MailServerInvalid, NotReached
from pipeline.ways_out.event_message import event_mail
from pipeline.ways_out.send_mail import MailServer, probe, send_mail
from tests.pipeline.ways_out.builders import destination, told

FROM, TO = "radmeter@hospital.test", ("duty@hospital.test", "it@hospital.test")
EVENT = told(report_url="https://portal.test/studies/1", event="critical").without_patient()


class Box:
    """Keeps what comes; refuses recipients whose address begins with no."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.is_encrypted: list[bool] = []

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: Any) -> str:  # noqa: N802
        if address.startswith("no"):
            return "550 nobody of this name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.mails.append(envelope)
        self.is_encrypted.append(session.ssl is not None)
        return "250 OK"


def authenticate(_: SMTP, __: Session, ___: Envelope, ____: str, data: Any) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"radmeter", b"secret"), handled=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


@contextlib.contextmanager
def smtp(box: Box, authority: trustme.CA | None = None, **options: Any) -> Iterator[int]:
    """A server on the loopback interface; with an authority it offers STARTTLS and asks for a sign-in."""
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        options |= {"tls_context": context, "require_starttls": True, "auth_required": True}
        options |= {"authenticator": authenticate}
    controller = Controller(box, hostname="localhost", port=free(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop(no_assert=True)


def free() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return int(one.getsockname()[1])


def send(
    server: MailServer, recipients: tuple[str, ...] = TO, timeout_s: float = 5.0, **changes: Any
) -> str | None:
    subject, text = event_mail(EVENT, destination("email", recipients=recipients, **changes))
    return send_mail(
        server, recipients, subject, text, message_uid=EVENT.message_uid, at=EVENT.at, timeout_s=timeout_s
    )


@pytest.mark.usefixtures("trusted")
def test_a_mail_goes_out_over_starttls_after_a_sign_in(authority: trustme.CA) -> None:
    box = Box()
    with smtp(box, authority) as port:
        assert send(MailServer(f"smtp://radmeter@localhost:{port}", FROM, "secret")) is None
        with pytest.raises(NotReached, match="does not let us in"):
            send(MailServer(f"smtp://radmeter@localhost:{port}", FROM, "wrong"))
    assert box.is_encrypted == [True]
    mail = email.message_from_bytes(box.mails[0].content)  # type: ignore[arg-type]
    assert mail["Subject"] == "radmeter: A result has a critical finding"
    assert (mail["From"], mail["To"]) == (FROM, ", ".join(TO))
    assert mail["Message-ID"] == f"<{EVENT.message_uid}@hospital.test>"
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert EVENT.study_id in text
    assert "https://portal.test/studies/1" in text
    whole = box.mails[0].content.decode()  # type: ignore[union-attr]
    assert not any(word in whole for word in ("P-42", "Yamada", "1958", "A-1", "1.2.3"))


def test_a_server_whose_certificate_is_not_trusted_gets_nothing(authority: trustme.CA) -> None:
    box = Box()
    with smtp(box, authority) as port, pytest.raises(NotReached, match="not trusted"):
        send(MailServer(f"smtp://radmeter@localhost:{port}", FROM, "secret"))
    assert box.mails == []


def test_where_tls_is_insisted_on_and_not_offered_nothing_is_sent() -> None:
    box = Box()
    with smtp(box) as port, pytest.raises(NotReached, match="STARTTLS"):
        send(MailServer(f"smtp://localhost:{port}", FROM))
    assert box.mails == []


def test_the_accession_number_only_where_that_is_wanted_and_chinese_where_the_tenant_is() -> None:
    assert "A-1" in event_mail(EVENT, destination("email", with_accession=True))[1]
    chinese = told(
        event="refused", report=None, language="zh", reason_code="NO_AXIAL_SERIES"
    ).without_patient()
    subject, text = event_mail(chinese, destination("email"))
    assert subject == "radmeter: 检查未分析"
    assert "原因: NO_AXIAL_SERIES" in text


def test_recipients_that_are_refused_are_told_of() -> None:
    box = Box()
    with smtp(box) as port:
        server = MailServer(f"smtp+plain://localhost:{port}", FROM)
        assert send(server, ("duty@hospital.test", "no@hospital.test")) == "1 recipients were refused"
        with pytest.raises(NotReached, match="every recipient") as raised:
            send(server, ("no@hospital.test",))
    assert raised.value.is_refusal
    assert box.mails[0].rcpt_tos == ["duty@hospital.test"]


def test_whether_the_server_lets_us_in_is_asked_without_a_mail(free_port: int) -> None:
    box = Box()
    with smtp(box) as port:
        probe(MailServer(f"smtp+plain://localhost:{port}", FROM), 5.0)
    assert box.mails == []
    with pytest.raises(NotReached, match="ConnectionRefusedError"):
        probe(MailServer(f"smtp+plain://localhost:{free_port}", FROM), 5.0)


@pytest.mark.parametrize("behaviour", ["hang", "close", "garbage", "drip", "endless"])
def test_whatever_the_server_does_it_ends_soon_with_a_sentence(behaviour: str) -> None:
    listener = socket.create_server(("localhost", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                if behaviour == "garbage":
                    connection.sendall(bytes(range(256)) * 10)
                while behaviour == "endless":
                    connection.sendall(b"220-welcome\r\n" * 1000)
                while behaviour == "drip":
                    connection.sendall(b"2")
                    time.sleep(0.05)
                if behaviour == "hang":
                    time.sleep(3)

    threading.Thread(target=serve, daemon=True).start()
    started = time.monotonic()
    with pytest.raises(NotReached, match="mail"):
        send(MailServer(f"smtp+plain://localhost:{listener.getsockname()[1]}", FROM), timeout_s=1.0)
    assert time.monotonic() - started < 3
    listener.close()


@pytest.mark.parametrize(
    ("url", "sender", "password"),
    [
        ("http://x", FROM, ""),
        ("smtp://", FROM, ""),
        ("smtp://user:secret@x", FROM, ""),
        ("smtp://x:99999", FROM, ""),
        ("smtp://x", "nobody", ""),
        ("smtp://x", "a@b\r\nBcc: c@d", ""),
        ("smtp+plain://user@x", FROM, "secret"),
    ],
)
def test_a_server_that_cannot_be_used_is_said_at_the_start(url: str, sender: str, password: str) -> None:
    with pytest.raises(MailServerInvalid):
        MailServer(url, sender, password)
    assert "secret" not in repr(MailServer("smtp://x", FROM, "secret"))
