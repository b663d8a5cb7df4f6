"""Usage events by HTTP: in batches, each answered for itself, once whatever is sent again, within the key's limits."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from billing.books import ledger
from billing.contracts import store as billing_store
from portal.auth import create_api_key
from tests.portal.live_portal import live_portal
from tests.portal.portal_site import Site
from tests.portal.seeds import CONTRACT

DOCS = Path(__file__).resolve().parents[2] / "docs/usage_api.md"
EVENTS = "/api/v1/usage/events"
ADDED_RATES = """
  - product: annotation
    meter: annotated_image
    title: {en: Annotation, zh: 标注}
    unit: {en: image, zh: 张}
    price: {model: per_unit, unit_price: 0.5}
"""
PRICED_CALLS = """
  - product: api
    meter: api_call
    title: {en: Calls, zh: 调用}
    unit: {en: call, zh: 次}
    price: {model: per_unit, unit_price: 1}
"""


def add_contract(site: Site, more: str = "", tenant: str = "alpha") -> int:
    with site.database.transaction(tenant) as conn:
        text = CONTRACT.read_text("utf-8").rstrip() + ADDED_RATES.rstrip() + more.rstrip() + "\n"
        return billing_store.add_contract(conn, tenant, text)


def program(
    site: Site, tenant: str = "alpha", source: str | None = "annotation", **limits: int
) -> TestClient:
    """A client with a key of its own."""
    with site.database.transaction(tenant) as conn:
        key = create_api_key(conn, tenant, "test", usage_source=source, **limits)
    client = site.client()
    return TestClient(client.app, headers={"Authorization": f"Bearer {key}"})


def event(number: int, **changes: Any) -> dict[str, Any]:
    values = {
        "event_id": f"e{number}",
        "product": "annotation",
        "meter": "annotated_image",
        "occurred_at": f"2026-11-20T{number % 24:02d}:00:00+08:00",
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


def send(client: TestClient, *events: object) -> list[dict[str, Any]]:
    answer = client.post(EVENTS, json={"events": events})
    assert answer.status_code in (200, 409, 422), answer.text
    return answer.json()["results"]


def statuses(client: TestClient, *events: object) -> list[str]:
    return [one["status"] for one in send(client, *events)]


class TestAnswers:
    @pytest.fixture
    def client(self, site: Site) -> TestClient:
        add_contract(site)
        return program(site)

    def test_each_event_of_a_batch_is_answered_for_itself(self, client: TestClient) -> None:
        client.post(EVENTS, json={"events": [event(1)]})
        answers = send(
            client, event(1), event(1, quantity=2), event(2), event(2), event(3, product="annotaton"), 7
        )
        assert [one["status"] for one in answers] == [
            "known", "conflict", "created", "known", "refused", "refused"
        ]  # fmt: skip
        assert (answers[2]["outcome"], answers[2]["reason_code"]) == ("billable", "used")
        assert "no contract prices product 'annotaton'" in answers[4]["message"]
        assert [one["event_id"] for one in answers] == ["e1", "e1", "e2", "e2", "e3", None]

    def test_a_single_event_has_a_status_of_its_own(self, client: TestClient) -> None:
        codes = [
            client.post(EVENTS, json={"events": [one]}).status_code
            for one in (event(1), event(1), event(1, quantity=2), event(2, quantity=0))
        ]
        assert codes == [200, 200, 409, 422]

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"quantity": -1}, "above 0"),
            ({"quantity": 0.5}, "exact text"),
            ({"quantity": "1e99999999"}, "quantity"),
            ({"quantity": "many"}, "not a number"),
            ({"quantity": True}, "whole number"),
            ({"occurred_at": "2026-11-20T10:00:00"}, "time zone"),
            ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "ISO 8601"),
            ({"occurred_at": None}, "missing"),
            ({"event_id": "a\u0000b"}, "printable"),
            ({"event_id": "\ud800"}, "half a character"),
            ({"event_id": 5}, "text"),
            ({"meter": "unknown_meter"}, "no contract prices"),
            ({"meter": "outcome", "kind": "usage"}, "what was counted"),
            ({"meter": None}, "case_key"),
            ({"price": 1}, "unknown: price"),
            ({"dimensions": {"patient": "x"}}, "unknown: patient"),
            ({"dimensions": {"site": 1}}, "texts"),
            ({"dimensions": [1]}, "object"),
            ({"evidence": {"n": 2**70}}, "too large"),
            ({"evidence": {"study": "1.2.840.113619.2.55.3"}}, "UID"),
            ({"evidence": {"deep": [1]}}, "neither text"),
            ({"amount_minor": 5}, "amount_currency"),
            ({"amount_minor": "5", "amount_currency": "CNY"}, "integer"),
            ({"amount_minor": -5, "amount_currency": "CNY"}, "refunds"),
        ],
    )
    def test_what_is_wrong_is_refused_with_a_sentence_and_leaves_nothing(
        self, client: TestClient, changes: dict[str, Any], sentence: str
    ) -> None:
        body = json.dumps({"events": [event(1, **changes)]})
        answer = client.post(EVENTS, content=body, headers={"content-type": "application/json"})
        [refused] = answer.json()["results"]
        assert (answer.status_code, refused["status"], refused["sequence"]) == (422, "refused", None)
        assert sentence in refused["message"]
        assert client.get(EVENTS).json()["usage"] == []

    def test_what_is_no_batch_is_refused_as_a_whole(self, client: TestClient) -> None:
        codes = [
            client.post(EVENTS, content=body, headers={"content-type": "application/json"}).status_code
            for body in (
                "",
                "[]",
                '{"events": []}',
                '{"events": {}}',
                "[" * 100_000,
                '{"events": [9' + "9" * 5000,
            )
        ]
        assert set(codes) <= {400, 422}, codes
        too_many = client.post(EVENTS, json={"events": [event(n) for n in range(1001)]})
        assert (too_many.status_code, "1 to 1000" in too_many.text) == (422, True)
        assert client.post(EVENTS, content=b" " * (4 * 1024 * 1024 + 1)).status_code == 413
        assert client.get(EVENTS).json()["usage"] == []

    def test_an_event_from_the_future_waits_for_a_person(self, client: TestClient) -> None:
        at = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
        [answer] = send(client, event(1, occurred_at=at))
        assert (answer["status"], answer["outcome"], answer["reason_code"]) == (
            "created", "quarantined", "clock_ahead"
        )  # fmt: skip

    def test_a_void_and_a_new_event_correct_one(self, client: TestClient, site: Site) -> None:
        void = {
            "event_id": "v",
            "kind": "void",
            "voids": "e1",
            "reason": "x",
            "occurred_at": "2026-11-21T00:00Z",
        }
        assert statuses(client, event(1, quantity=3), void, event(2)) == ["created"] * 3
        assert statuses(client, void, {**void, "event_id": "v2"}) == ["known", "refused"]
        assert send(client, {**void, "voids": "e9", "event_id": "v3"})[0]["message"].startswith(
            "no usage event"
        )
        [voided] = client.get(EVENTS, params={"event_id": "e1"}).json()["usage"]
        assert (voided["outcome"], voided["reason_code"]) == ("not_billable", "voided")
        with site.database.transaction("alpha") as conn:
            assert ledger.check(conn, "alpha") == []

    def test_a_verdict_comes_after_its_delivery_of_the_same_batch(self, client: TestClient) -> None:
        result = {"product": "lung_nodule_ct", "meter": None, "case_key": "case"}
        said = {**result, "kind": "outcome", "dimensions": {"verdict": "accepted"}}
        verdict, delivery = send(client, event(2, **said), event(1, **result))
        assert (verdict["reason_code"], delivery["reason_code"]) == ("outcome", "first_delivery")
        assert verdict["sequence"] > delivery["sequence"]
        assert "verdict" in send(client, event(3, **{**said, "dimensions": {"verdict": "?"}}))[0]["message"]


class TestKeys:
    def test_a_key_records_and_sees_its_own_source_alone(self, site: Site) -> None:
        add_contract(site)
        one, other, reader = program(site), program(site, source="ris"), program(site, source=None)
        assert statuses(one, event(1)) == statuses(other, event(1, quantity=2)) == ["created"]
        void = {
            "event_id": "v",
            "kind": "void",
            "voids": "e1",
            "reason": "x",
            "occurred_at": "2026-11-21T00:00Z",
        }
        assert statuses(other, event(5), {**void, "voids": "e5"}) == ["created", "created"]
        assert statuses(one, {**void, "voids": "e5"}) == ["refused"]
        seen = {row["source"] for row in one.get(EVENTS).json()["usage"]}
        assert seen == {"annotation"}
        assert one.get(EVENTS, params={"source": "ris"}).json()["usage"] == []
        assert {row["source"] for row in reader.get(EVENTS).json()["usage"]} == {"annotation", "ris"}
        assert len(reader.get(EVENTS, params={"source": "ris", "event_id": "e1"}).json()["usage"]) == 1
        assert {one.get(path).status_code for path in ("/api/v1/studies", "/api/v1/usage")} == {403}
        assert reader.post(EVENTS, json={"events": [event(2)]}).status_code == 403
        assert site.client().post(EVENTS, json={"events": [event(2)]}).status_code == 401

    def test_another_tenant_has_its_own_ids_and_contracts(self, site: Site) -> None:
        add_contract(site)
        one, other = program(site), program(site, tenant="beta")
        assert statuses(one, event(1)) == ["created"]
        assert statuses(other, event(1, quantity=2)) == ["refused"]  # beta has no contract
        assert other.get(EVENTS).json()["usage"] == []

    def test_more_than_a_minutes_requests_are_told_to_wait(self, site: Site) -> None:
        client = program(site, requests_per_minute=2)
        assert [client.get(EVENTS).status_code for _ in range(3)] == [200, 200, 429]
        answer = client.get(EVENTS)
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        assert answer.json()["error"]["code"] == "too_many_requests"

    def test_each_answered_call_is_a_use_where_the_contract_prices_calls(self, site: Site) -> None:
        contract_id = add_contract(site, PRICED_CALLS)
        client = program(site)
        client.get(EVENTS)
        client.post(EVENTS, json={"events": [event(1)]}, headers={"Idempotency-Key": "a"})
        client.post(EVENTS, json={"events": [event(1)]}, headers={"Idempotency-Key": "a"})
        client.post(EVENTS, json={"events": []})  # was not answered well: counts nothing
        with site.database.transaction("alpha") as conn:
            calls = billing_store.list_usage(conn, "alpha", source="api")
        assert [call.event.dimensions["route"] for call in calls] == [EVENTS, EVENTS]
        assert {call.decision.contract_id for call in calls} == {contract_id}
        assert all(call.decision.is_billable for call in calls)


def test_the_same_batches_from_four_sides_at_once_are_recorded_once(site: Site) -> None:
    add_contract(site)
    client = program(site)
    batches = [[event(n, case_key=f"c{n % 7}") for n in range(start, start + 20)] for start in (0, 10, 20)]
    seen: list[tuple[str, str]] = []

    def work(side: int) -> None:
        for batch in batches[side % 3 :] + batches[: side % 3]:
            seen.extend(
                (one["event_id"], one["status"]) for one in send(client, *batch[:: 1 - 2 * (side % 2)])
            )

    threads = [threading.Thread(target=work, args=(side,)) for side in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    created = Counter(event_id for event_id, status in seen if status == "created")
    assert created == {f"e{n}": 1 for n in range(40)}
    assert len(seen) == 4 * 60
    assert {status for _, status in seen} == {"created", "known"}
    rows = client.get(EVENTS).json()["usage"]
    outcomes = Counter(row["outcome"] for row in rows)
    assert outcomes == {"billable": 7, "not_billable": 33}


def test_the_examples_of_the_page_run_as_they_stand(site: Site) -> None:
    add_contract(site)
    with site.database.transaction("alpha") as conn:
        key = create_api_key(conn, "alpha", "page", usage_source="annotation")
    examples = re.findall(r"```sh\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    with live_portal(site) as portal:
        told = [
            subprocess.run(
                ["sh", "-c", example],
                env={"URL": portal.url, "KEY": key, "PATH": "/usr/bin:/bin"},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for example in examples
        ]
    assert re.findall(r'"status":"(\w+)"', told[0]) == ["created", "created"]
    assert ('"status":"conflict"' in told[1], told[1].rstrip().endswith("409")) == (True, True)
    assert re.findall(r'"status":"(\w+)"', told[2]) == ["created", "created"]
    assert '"reason_code":"voided"' in told[3]
    assert len(told) == 4
