"""Stripe's messages at the portal: no sign-in, only the signature; kept once, for nobody to see."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest
import stripe
from fastapi.testclient import TestClient

from billing.rails import inbox
from portal.app import create_app
from tests.portal.portal_site import Site

SECRET = "whsec_portal_secret"
PATH = "/api/v1/rails/stripe/webhook"
BODY = json.dumps({"id": "evt_1", "type": "invoice.paid", "data": {"object": {"id": "in_1"}}})


@pytest.fixture
def client(site: Site) -> TestClient:
    context = dataclasses.replace(site.context, stripe_webhook_secrets=(SECRET,))
    assert SECRET not in repr(context)
    return TestClient(create_app(context), base_url="http://portal.test")


def post(client: TestClient, body: str = BODY, secret: str = SECRET, late_s: int = 0) -> int:
    header = stripe.WebhookSignature.generate_signature_header(body, secret, int(time.time()) + late_s)
    return client.post(PATH, content=body.encode(), headers={"Stripe-Signature": header}).status_code


def kept(site: Site) -> list[str]:
    with site.database.transaction(inbox.INBOX_TENANT) as conn:
        return [row["event_id"] for row in conn.execute("SELECT event_id FROM billing.webhook_inbox")]


def test_a_signed_message_is_kept_once(site: Site, client: TestClient) -> None:
    assert [post(client), post(client)] == [200, 200]
    assert kept(site) == ["evt_1"]


def test_what_stripe_did_not_sign_now_is_refused_and_not_kept(site: Site, client: TestClient) -> None:
    assert post(client, secret="whsec_other") == 422
    assert [post(client, late_s=late_s) for late_s in (-400, 400)] == [422, 422]
    assert post(client, body="{}") == 422
    assert post(client, body=BODY + " " * 300_000) == 422
    assert post(client, body=BODY + " " * 2_000_000) == 413
    assert client.post(PATH, content=b"\xff").status_code == 422
    assert client.get(PATH).status_code == 405
    assert kept(site) == []


def test_where_stripe_is_not_used_there_is_nothing(site: Site) -> None:
    client = site.client()
    assert client.post(PATH, content=BODY).status_code == 404
