"""Webhooks: signed as Standard Webhooks says, without a patient, and never followed to another address."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from pipeline.destinations import problems_of
from pipeline.errors import NotReached, SecretUnusable
from pipeline.send_objects import Sender
from pipeline.ways_out.event_message import event_payload
from pipeline.ways_out.send_webhook import send_webhook
from tests.pipeline.ways_out.builders import destination, told
from tests.pipeline.ways_out.http_receiver import HttpReceiver, answer, http_receiver

OLD, NEW = (f"whsec_{base64.b64encode(bytes([number]) * 32).decode()}" for number in (1, 2))
EVENT = told(report_url="https://portal.test/studies/1").without_patient()


def send(receiver: HttpReceiver, secrets: str = OLD, now: datetime | None = None, **changes: Any) -> None:
    target = destination("webhook", url=f"{receiver.url}/hook?team=1", token_file="hook", **changes)
    payload = event_payload(EVENT, target)
    send_webhook(payload, EVENT.message_uid, target, secrets, None, now or datetime.now(UTC))


def test_the_receiver_verifies_it_with_the_library_of_the_standard() -> None:
    with http_receiver(answer(204)) as receiver:
        send(receiver)
    ((method, path, headers, body),) = receiver.requests
    assert (method, path) == ("POST", "/hook?team=1")
    assert Webhook(OLD).verify(body, headers) == {
        "type": "study.result",
        "timestamp": "2026-11-26T12:00:05+00:00",
        "data": {
            "study_id": EVENT.study_id, "revision": 1, "product": "lung_nodule_ct",
            "report_url": "https://portal.test/studies/1",
        },
    }  # fmt: skip
    for changed in (body + b" ", body.replace(b"result", b"failed")):
        with pytest.raises(WebhookVerificationError):
            Webhook(OLD).verify(changed, headers)


def test_an_old_message_that_somebody_sends_again_is_not_verified() -> None:
    with http_receiver(answer()) as receiver:
        send(receiver, now=datetime.now(UTC) - timedelta(minutes=6))
    _, _, headers, body = receiver.requests[0]
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(OLD).verify(body, headers)


def test_while_secrets_change_both_verify() -> None:
    with http_receiver(answer()) as receiver:
        send(receiver, f"{OLD}\n{NEW}\n")
    _, _, headers, body = receiver.requests[0]
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(body, headers)


def test_each_attempt_has_the_same_id_and_body_and_its_own_time() -> None:
    now = datetime.now(UTC)
    with http_receiver(answer(503)) as receiver:
        for minutes in (0, 1):
            with pytest.raises(NotReached, match="HTTP 503"):
                send(receiver, now=now + timedelta(minutes=minutes))
    (_, _, first, one), (_, _, second, two) = receiver.requests
    assert (first["webhook-id"], one) == (second["webhook-id"], two)
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 60


def test_it_names_no_patient_and_the_accession_only_where_that_is_wanted() -> None:
    silent = event_payload(EVENT, destination("webhook"))
    assert not any(word in silent for word in ("P-42", "Yamada", "山田", "1958", "A-1", "1.2.3"))
    assert (
        json.loads(event_payload(EVENT, destination("webhook", with_accession=True)))["data"][
            "accession_number"
        ]
        == "A-1"
    )


@pytest.mark.parametrize(
    ("status", "words", "is_refusal", "after_s"),
    [
        (302, "redirects", True, None),
        (307, "redirects", True, None),
        (410, "HTTP 410", True, 7.0),
        (429, "HTTP 429", False, 7.0),
        (500, "HTTP 500", False, 7.0),
    ],
)
def test_what_is_no_success_is_tried_again_or_refused(
    status: int, words: str, is_refusal: bool, after_s: float | None
) -> None:
    def give(handler: Any, body: bytes) -> None:
        # Where a redirect leads it would be let in, and heard.
        elsewhere = f"http://127.0.0.1:{handler.server.server_address[1]}/latest/meta-data"
        answer(status, Location=elsewhere, Retry_After="7")(handler, body)

    with http_receiver(give) as receiver:
        with pytest.raises(NotReached, match=words) as raised:
            send(receiver)
        assert len(receiver.requests) == 1
    assert (raised.value.is_refusal, raised.value.retry_after_s) == (is_refusal, after_s)


def test_of_an_endless_answer_the_status_is_enough() -> None:
    def endless(handler: Any, _: bytes) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        while True:
            handler.wfile.write(bytes(1 << 20))

    with http_receiver(endless) as receiver:
        started = time.monotonic()
        send(receiver)
        assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "secrets",
    ["", "whsec_", "secret", "whsec_!!!!", "whsec_c2hvcnQ=", f"{OLD}\nnot one", "\n".join([OLD] * 5)],
)
def test_a_secret_that_is_none_sends_nothing(secrets: str) -> None:
    with http_receiver(answer()) as receiver:
        with pytest.raises(SecretUnusable, match="the file hook must hold") as raised:
            send(receiver, secrets)
        assert receiver.requests == []
    assert OLD not in str(raised.value)


def test_a_webhook_needs_https_and_a_secret() -> None:
    assert set(problems_of(destination("webhook", url="http://x.test/", allow_plain_http=False))) == {
        "url",
        "token_file",
    }
    assert problems_of(destination("webhook", url="https://x.test/hook?a=b", token_file="hook")) == {}


def test_whether_it_is_there_is_asked_by_a_signed_ping(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text(f"{OLD}\n")
    with http_receiver(answer()) as receiver:
        target = destination("webhook", url=receiver.url, token_file="hook")
        assert Sender("RADMETER", tmp_path).test(target) is None
        _, _, headers, body = receiver.requests[0]
        assert Webhook(OLD).verify(body, headers)["type"] == "ping"
        assert "private network" in str(Sender("RADMETER", tmp_path).test(replace(target, private_hosts=())))
        assert "no file other in the folder" in str(
            Sender("RADMETER", tmp_path).test(replace(target, token_file="other"))
        )
        assert len(receiver.requests) == 1
