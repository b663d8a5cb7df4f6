"""Way: how one destination that is no PACS is told something, or asked whether it is there."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pipeline.destinations import DestinationRecord
from pipeline.errors import NotReached
from pipeline.ways_out import send_fhir, send_mail, send_oru, send_webhook
from pipeline.ways_out.event_message import event_mail, event_payload
from pipeline.ways_out.told import Told, message_uid

# Larger reports are named by their address: receivers have limits of their own.
PDF_BYTES_MAX = 8 << 20


@dataclass(frozen=True)
class Way:
    """token: content of the destination's secret file: a bearer token, or the secrets of a webhook.

    facility: who we are, to HL7 receivers. now: UTC, of this attempt.
    """

    target: DestinationRecord
    tls: ssl.SSLContext | None
    token: str = field(repr=False)
    facility: str
    mail: send_mail.MailServer | None
    now: datetime

    def tell(self, told: Told, folder: Path) -> str | None:
        """Tell it, with the files that lie in `folder`; a warning, or None. Raises `NotReached`."""
        target = self.target
        if target.kind == "fhir":
            # Not at the top: the definitions of FHIR are needed by nobody else.
            from pipeline.ways_out.fhir_bundle import fhir_bundle

            bundle = fhir_bundle(told, target, self._pdf(told, folder))
            send_fhir.send_bundle(bundle, target, self.token, self.tls)
        elif target.kind == "hl7":
            from pipeline.ways_out.oru_message import oru_message

            message = oru_message(told, target, self.facility, self._pdf(told, folder))
            send_oru.send_oru(message, target, self.tls)
        elif target.kind == "webhook":
            payload = event_payload(told, target)
            send_webhook.send_webhook(payload, told.message_uid, target, self.token, self.tls, self.now)
        else:
            return self._send_mail(told)
        return None

    def probe(self) -> None:
        """Whether it is there and takes what we say; a webhook gets a message of type `ping`. Raises `NotReached`."""
        target = self.target
        if target.kind == "fhir":
            send_fhir.probe(target, self.token, self.tls)
        elif target.kind == "hl7":
            send_oru.probe(target, self.tls)
        elif target.kind == "webhook":
            uid = message_uid("ping", target.tenant, target.name, self.now.isoformat())
            send_webhook.send_webhook(
                '{"type": "ping", "data": {}}', uid, target, self.token, self.tls, self.now
            )
        else:
            send_mail.probe(self._mail_server(), target.response_timeout_s)

    def _pdf(self, told: Told, folder: Path) -> bytes | None:
        path = folder / told.pdf
        if not (self.target.with_pdf and told.pdf) or path.stat().st_size > PDF_BYTES_MAX:
            return None
        return path.read_bytes()

    def _send_mail(self, told: Told) -> str | None:
        subject, text = event_mail(told, self.target)
        return send_mail.send_mail(
            self._mail_server(),
            self.target.recipients,
            subject,
            text,
            message_uid=told.message_uid,
            at=told.at,
            timeout_s=self.target.response_timeout_s,
        )

    def _mail_server(self) -> send_mail.MailServer:
        if self.mail is None:
            raise NotReached("no mail server is set up: RADMETER_SMTP_URL and RADMETER_SMTP_FROM")
        return self.mail
