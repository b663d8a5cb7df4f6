"""Send a webhook, signed after Standard Webhooks; several secrets sign while one replaces another."""

from __future__ import annotations

import base64
import ssl
from datetime import datetime

from standardwebhooks import Webhook

from pipeline.destinations import DestinationRecord
from pipeline.errors import SecretUnusable
from pipeline.ways_out.guarded_http import request, require_success

_SECRETS_MAX = 4
_KEY_BYTES = range(24, 65)


def send_webhook(
    payload: str,
    message_uid: str,
    target: DestinationRecord,
    secrets: str,
    tls: ssl.SSLContext | None,
    now: datetime,
) -> None:
    """Send one event. Raises `NotReached` unless the answer is 2xx; its body is not read.

    message_uid: `webhook-id`, the same in every attempt. secrets: one whsec_… on each line. now: UTC, of this attempt.
    """
    signers = _signers(secrets, target.token_file or "")
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(payload.encode())),
        "User-Agent": "radmeter",
        "webhook-id": message_uid,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(one.sign(message_uid, now, payload) for one in signers),
    }
    answer = request(
        "POST",
        target.url or "",
        headers,
        payload.encode(),
        private_hosts=target.private_hosts,
        tls=tls,
        timeout_s=target.response_timeout_s,
        answer_bytes_max=0,
    )
    require_success(answer)


def _signers(secrets: str, file_name: str) -> list[Webhook]:
    lines = secrets.split()
    try:
        keys = [_key(line) for line in lines]
    except ValueError:
        raise SecretUnusable(file_name) from None
    if not (1 <= len(keys) <= _SECRETS_MAX and all(len(key) in _KEY_BYTES for key in keys)):
        raise SecretUnusable(file_name)
    return [Webhook(key) for key in keys]


def _key(line: str) -> bytes:
    """The library takes anything that looks like Base64; a secret that was cut or mistyped must not sign."""
    text = line.removeprefix("whsec_")
    if text == line:
        raise ValueError("no whsec_")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
