"""Send a mail through the installation's SMTP server, with STARTTLS or TLS from the start."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from pipeline.errors import MailServerInvalid, NotReached

_PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
_ANSWER_BYTES_MAX = 256 * 1024


@dataclass(frozen=True)
class MailServer:
    """smtp://user@host (STARTTLS is insisted on), smtps://… (TLS from the start) or smtp+plain://… (neither).

    sender: the address that mails come from.
    """

    url: str
    sender: str
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            has_form = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
        except ValueError:
            has_form = False
        if not has_form or parts.password or parts.path.strip("/") or parts.query:
            raise MailServerInvalid("the SMTP server is smtp://, smtps:// or smtp+plain://[user@]host[:port]")
        if "@" not in self.sender or not self.sender.isprintable() or " " in self.sender:
            raise MailServerInvalid("mails need the address that they come from")
        if self.password and parts.scheme == "smtp+plain":
            raise MailServerInvalid("a password is sent over TLS only")

    @contextlib.contextmanager
    def connected(self, timeout_s: float) -> Iterator[smtplib.SMTP]:
        """A session that is signed in, ended after `timeout_s` whatever the server does."""
        parts = urlsplit(self.url)
        where = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
        context = ssl.create_default_context()
        if parts.scheme == "smtps":
            session: smtplib.SMTP = _TLSSession(*where, timeout=timeout_s, context=context)
        else:
            session = _Session(*where, timeout=timeout_s)
        try:
            if parts.scheme == "smtp":
                session.starttls(context=context)
            if parts.username and self.password:
                session.login(unquote(parts.username), self.password)
            yield session
        finally:
            session.close()


def send_mail(
    server: MailServer,
    recipients: tuple[str, ...],
    subject: str,
    text: str,
    *,
    message_uid: str,
    at: datetime,
    timeout_s: float,
) -> str | None:
    """Send one mail; a warning where some recipients were refused. Raises `NotReached`.

    message_uid, at: Message-ID and Date are the same in every attempt, so that a repeat is seen as one.
    """
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = subject, server.sender, ", ".join(recipients)
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = f"<{message_uid}@{server.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text)
    with _told(), server.connected(timeout_s) as session:
        refused = session.send_message(mail)
    return f"{len(refused)} recipients were refused" if refused else None


def probe(server: MailServer, timeout_s: float) -> None:
    """Whether the server lets us in. No mail is sent. Raises `NotReached`."""
    with _told(), server.connected(timeout_s) as session:
        session.ehlo_or_helo_if_needed()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What smtplib raises, as a sentence; the server's own words may name people and stay out."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused:
        raise NotReached("the mail server refuses every recipient", is_refusal=True) from None
    except smtplib.SMTPAuthenticationError:
        raise NotReached(
            "the mail server does not let us in: check user and password", is_refusal=True
        ) from None
    except smtplib.SMTPNotSupportedError:
        raise NotReached(
            "the mail server does not offer what is set up: STARTTLS or sign-in", is_refusal=True
        ) from None
    except smtplib.SMTPResponseException as error:
        raise NotReached(
            f"the mail server answers {error.smtp_code}", is_refusal=500 <= error.smtp_code < 600
        ) from None
    except ssl.SSLCertVerificationError:
        raise NotReached("the mail server's certificate is not trusted") from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise NotReached(f"no mail could be handed over: {type(error).__name__}") from None


def _end(session: smtplib.SMTP) -> None:
    with contextlib.suppress(OSError, AttributeError):
        session.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]


class _BoundedFile:
    """Lines of the server's answers, all together not more than we take."""

    def __init__(self, inner: BinaryIO) -> None:
        self._inner = inner
        self._left = _ANSWER_BYTES_MAX

    def readline(self, size: int = -1) -> bytes:
        line = self._inner.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise smtplib.SMTPServerDisconnected("the server sends more than we take")
        return line

    def close(self) -> None:
        self._inner.close()


class _Session(smtplib.SMTP):
    """One that ends when its time is over, however slowly the server speaks."""

    watch: threading.Timer | None = None

    def getreply(self) -> Any:
        if self.watch is None:  # from the greeting on
            self.watch = threading.Timer(self.timeout, _end, (self,))
            self.watch.daemon = True
            self.watch.start()
        if self.file is None:
            self.file = _BoundedFile(self.sock.makefile("rb"))  # type: ignore[union-attr]
        return super().getreply()

    def close(self) -> None:
        if self.watch is not None:
            self.watch.cancel()
        super().close()


class _TLSSession(_Session, smtplib.SMTP_SSL):
    pass
