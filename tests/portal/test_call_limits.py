"""Calls by API key that a contract refuses beyond its quota, budget or package: as many pass as there is room for."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from billing.books import ledger
from billing.contracts import store as billing_store
from billing.guarding import limits, wallet_sale
from pipeline import audit
from portal.app import create_app
from portal.context import Role
from tests.portal.live_portal import live_portal
from tests.portal.portal_site import Site
from tests.portal.test_usage_api import EVENTS, PRICED_CALLS, add_contract, event, program

OF_ALL = "\nquotas:\n  - {id: calls, units: 5, for: {product: api}, when_reached: refuse}\n"


def test_a_used_up_quota_says_what_why_and_until_when(site: Site) -> None:
    contract_id = add_contract(site, PRICED_CALLS + OF_ALL)
    client, other = program(site), program(site)
    assert [client.get(EVENTS).status_code for _ in range(4)] == [200] * 4
    assert client.post(EVENTS, json={"events": []}).status_code == 422  # counts nothing
    named = {"Idempotency-Key": "a"}
    assert other.post(EVENTS, json={"events": [event(1)]}, headers=named).status_code == 200
    refused = client.get(EVENTS)
    error = refused.json()["error"]
    opens_at = datetime.fromisoformat(error["opens_at"])
    assert (refused.status_code, error["code"], error["limit"]) == (402, "quota_used_up", "calls")
    assert error["message"] == (
        "The quota calls of contract per-case-2026 for product api is reached: 5 of 5 in this month are used. "
        f"Calls are refused until {opens_at:%Y-%m-%d %H:%M} UTC, when it begins anew, or until it is raised."
    )
    wait_s = (opens_at - datetime.now(UTC)).total_seconds()
    assert abs(int(refused.headers["retry-after"]) - wait_s) < 60
    # The answer to a call that counts already was lost: it is given again.
    assert other.post(EVENTS, json={"events": [event(1)]}, headers=named).status_code == 200
    assert client.get(EVENTS).status_code == 402
    with site.database.transaction("alpha") as conn:
        told = [one["detail"] for one in audit.recent(conn, "alpha") if one["action"] == "calls_refused"]
        assert [one["limit"] for one in told] == ["calls"]  # once, however often it asks
        now = datetime.now(UTC)
        limits.change(conn, "alpha", contract_id, "calls", Decimal(6), by="finance", reason="x", now=now)
    shown = site.signed_in("alpha", Role.FINANCE).get(f"/overview?contract_id={contract_id}").text
    assert ("calls are refused" in shown, error["message"] in shown) == (True, True)
    assert "refused: calls" in site.signed_in("alpha").get("/keys").text
    assert [client.get(EVENTS).status_code for _ in range(2)] == [200, 402]
    with site.database.transaction("alpha") as conn:
        assert ledger.check(conn, "alpha") == []


@pytest.mark.parametrize(
    "limit",
    [
        OF_ALL.replace("units: 5", "units: 7"),
        "\nbudgets:\n  - {id: calls, amount: 7.00, for: {product: api}, when_reached: refuse}\n",
    ],
)
def test_of_many_calls_in_one_moment_by_two_portals_as_many_pass_as_there_is_room_for(
    site: Site, limit: str
) -> None:
    add_contract(site, PRICED_CALLS + limit)
    keys = [program(site, concurrent_max=50).headers["authorization"] for _ in range(2)]
    together = threading.Barrier(20)

    def call(url: str, key: str) -> int:
        together.wait()
        return httpx.get(url + EVENTS, headers={"authorization": key}, timeout=60).status_code

    with live_portal(site) as one, live_portal(site) as other, ThreadPoolExecutor(20) as threads:
        asked = [threads.submit(call, (one, other)[n % 2].url, keys[n // 2 % 2]) for n in range(20)]
        assert Counter(one.result() for one in asked) == {200: 7, 402: 13}
    with site.database.transaction("alpha") as conn:
        assert len(billing_store.list_usage(conn, "alpha", source="api")) == 7


def test_a_prepaid_package_is_refused_beyond_until_more_is_bought(site: Site) -> None:
    sold = PRICED_CALLS.replace("product: api", "product: thousand").replace("api_call", "package")
    more = PRICED_CALLS + sold + (
        "\nprepaid:\n  - {id: credit, sold_by: thousand, quantity: 2, takes: [{product: api, units: 1}], valid_days: 9,"
        " when_empty: refuse}\n"
    )  # fmt: skip
    contract_id = add_contract(site, more)
    client = program(site)

    def buy(name: str) -> None:
        with site.database.transaction("alpha") as conn:
            now = datetime.now(UTC)
            wallet_sale.sell(conn, "alpha", contract_id, "credit", name, quantity=Decimal(1), now=now)

    assert client.get(EVENTS).status_code == 402
    buy("first")
    assert [client.get(EVENTS).status_code for _ in range(3)] == [200, 200, 402]
    refused: dict[str, Any] = client.get(EVENTS).json()["error"]
    assert (refused["limit"], refused["opens_at"]) == ("credit", None)
    assert refused["message"].endswith("Calls are refused until it is raised or more is bought.")
    assert "retry-after" not in client.get(EVENTS).headers
    buy("second")
    assert client.get(EVENTS).status_code == 200


def test_the_description_tells_of_both_refusals(site: Site) -> None:
    schema = create_app(site.context).openapi()
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            assert {"402", "429"} <= operation["responses"].keys(), path
    assert "opens_at" in schema["components"]["schemas"]["Problem"]["properties"]
