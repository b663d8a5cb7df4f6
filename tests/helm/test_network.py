"""Who may talk to whom: the policies are evaluated as a cluster would, and compared with a table of flows."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from tests.helm_chart import VARIANTS, Object, of_kind, pods, rendered, selects

OUTSIDE = "203.0.113.9"
PEER, DATABASE, STORE, OPENID, TRACES = "10.1.2.3", "10.2.0.5", "10.2.0.6", "10.3.0.1", "10.4.0.1"
DATABASE_AND_STORE = {(DATABASE, 5432), (STORE, 443), (TRACES, 4318)}


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return rendered(VARIANTS["region with everything"])


def labels_of(objects: list[Object], component: str) -> dict[str, str]:
    return next(
        t["metadata"]["labels"]
        for _, t in pods(objects)
        if t["metadata"]["labels"]["app.kubernetes.io/component"] == component
    )


def allows(rules: list[Any], side: str, other: Any, port: int) -> bool:
    """other: an address, a pod's labels, or ("namespace", name)."""
    return any(
        any(is_peer(peer, other) for peer in rule.get(side, [{}]))
        and any(
            p["port"] == port and p["protocol"] == "TCP"
            for p in rule.get("ports", [{"port": port, "protocol": "TCP"}])
        )
        for rule in rules
    )


def is_peer(peer: Object, other: Any) -> bool:
    if not peer:
        return True
    if isinstance(other, str):
        return "ipBlock" in peer and ipaddress.ip_address(other) in ipaddress.ip_network(
            peer["ipBlock"]["cidr"]
        )
    if isinstance(other, tuple):
        wanted = peer.get("namespaceSelector")
        return wanted is not None and selects({"kubernetes.io/metadata.name": other[1]}, wanted)
    return "podSelector" in peer and selects(other, peer["podSelector"])


def may(objects: list[Object], component: str, direction: str, other: Any, port: int) -> bool:
    labels = labels_of(objects, component)
    policies = [
        one["spec"]
        for one in of_kind(objects, "NetworkPolicy").values()
        if selects(labels, one["spec"]["podSelector"]) and direction in one["spec"]["policyTypes"]
    ]
    assert policies, f"{component}: nothing is closed"
    side = {"Ingress": "from", "Egress": "to"}[direction]
    return any(allows(one.get(direction.lower(), []), side, other, port) for one in policies)


OUT = {
    "gateway": DATABASE_AND_STORE,
    "worker": DATABASE_AND_STORE | {(PEER, 104), (PEER, 11112)},
    "portal": DATABASE_AND_STORE | {(OPENID, 443)},
    "triton": set(),
    "migrate": {(DATABASE, 5432)},
    "ledger-check": DATABASE_AND_STORE,
    "objects-check": DATABASE_AND_STORE,
    "reconcile": DATABASE_AND_STORE,
    "backup": DATABASE_AND_STORE,
    "backup-base": DATABASE_AND_STORE,
    "backup-prune": DATABASE_AND_STORE,
    "backup-verify": DATABASE_AND_STORE,
}
IN = {
    "gateway": {(PEER, 11112), (PEER, 2762), ("pod:worker", 11112), ("namespace:monitoring", 9100)},
    "worker": {("namespace:monitoring", 9100)},
    "portal": {("namespace:ingress-nginx", 8080), ("namespace:monitoring", 8080)},
    "triton": {("pod:worker", 8001), ("namespace:monitoring", 8002), ("namespace:monitoring", 9100)},
    "migrate": set(),
    "ledger-check": set(),
    "objects-check": set(),
    "reconcile": set(),
    "backup": {("namespace:monitoring", 9100)},
    "backup-base": set(),
    "backup-prune": set(),
    "backup-verify": set(),
}
PORTS = (104, 443, 2762, 4318, 5432, 8001, 8002, 8080, 9100, 11112)


def test_the_table_has_every_kind_of_pod(objects: list[Object]) -> None:
    there = {t["metadata"]["labels"]["app.kubernetes.io/component"] for _, t in pods(objects)}
    assert there == set(IN) == set(OUT)


@pytest.mark.parametrize("component", OUT)
def test_a_pod_reaches_what_it_needs_and_nothing_else(objects: list[Object], component: str) -> None:
    addresses = (PEER, DATABASE, STORE, OPENID, TRACES, OUTSIDE)
    reached = {
        (to, port) for to in addresses for port in PORTS if may(objects, component, "Egress", to, port)
    }
    assert reached == OUT[component]
    inside = {
        (other, port)
        for other in IN
        for port in PORTS
        if may(objects, component, "Egress", labels_of(objects, other), port)
    }
    assert inside == ({("triton", 8001), ("gateway", 11112)} if component == "worker" else set())


@pytest.mark.parametrize("component", IN)
def test_a_pod_is_reached_by_whom_it_serves_and_nobody_else(objects: list[Object], component: str) -> None:
    others: dict[str, Any] = {address: address for address in (PEER, OUTSIDE)}
    others |= {
        f"namespace:{name}": ("namespace", name) for name in ("monitoring", "ingress-nginx", "default")
    }
    others |= {f"pod:{name}": labels_of(objects, name) for name in IN}
    reached = {
        (name, port)
        for name, other in others.items()
        for port in PORTS
        if may(objects, component, "Ingress", other, port)
    }
    assert reached == IN[component]


def test_without_addresses_only_ports_bind() -> None:
    """The profiles know no address: what an installation does not name stays open by port, never by more."""
    objects = rendered(VARIANTS["hospital"])
    assert may(objects, "gateway", "Egress", OUTSIDE, 5432)
    assert may(objects, "gateway", "Ingress", OUTSIDE, 11112)
    assert not may(objects, "gateway", "Egress", OUTSIDE, 8080)
    assert may(objects, "worker", "Egress", OUTSIDE, 104), "where results go is not known before it is named"
    assert not may(objects, "portal", "Ingress", OUTSIDE, 8080)
