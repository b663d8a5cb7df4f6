"""Replay: what a draft of rules would have made of the studies of the last days, and what that would have cost.

Nothing is stored and no image is read: the facts that routing saw of each study are asked again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.contracts import store as billing_store
from billing.metering.usage import Kind, Purpose, UsageEvent
from billing.money import Money
from billing.rating import rate
from models.manifest import Manifest
from pipeline import rule_store, store
from pipeline.database import Connection
from pipeline.route import Route, choose
from pipeline.route_rules import route_by_rules
from pipeline.rules import RuleSet
from pipeline.study_facts import restore

DAYS_MAX = 366
STUDIES_MAX = 5000
_DIFFERENCES_SHOWN = 50


@dataclass(frozen=True)
class Difference:
    """A study whose products differ. before, after: (product, in shadow) in order."""

    study_id: str
    before: tuple[tuple[str, bool], ...]
    after: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Cost:
    """What a contract would charge, tax excluded, by the draft and by what is in force."""

    contract: str
    draft: Money
    in_force: Money


@dataclass(frozen=True)
class Replay:
    """studies: how many were asked again. left_out: studies of the period without facts, or beyond `STUDIES_MAX`.

    matched: studies by rule of the draft. unmatched: studies that none takes. unfit: that are taken and that no model
    can read. products: results that would be delivered; shadows: results that would be kept only.
    """

    studies: int
    left_out: int
    matched: dict[str, int]
    unmatched: int
    unfit: int
    products: dict[str, int]
    shadows: dict[str, int]
    different: int
    differences: tuple[Difference, ...]
    costs: tuple[Cost, ...]


def replay(
    conn: Connection,
    tenant: str,
    draft: RuleSet,
    days: int,
    find_manifest: Callable[[str], Manifest],
    default_time_zone: str = "UTC",
) -> Replay:
    """Ask the draft about every study of the last `days`, newest first. Raises `EvaluationTooLong`."""
    in_force = rule_store.active_rules(conn, tenant, default_time_zone)
    models = list(store.get_tenant(conn, tenant)["models"])
    manifests: dict[str, Manifest] = {}

    def manifest_of(name: str) -> Manifest:
        if name not in manifests:
            manifests[name] = find_manifest(name)
        return manifests[name]

    rows = _studies(conn, tenant, days)
    matched: Counter[str] = Counter({rule.name: 0 for rule in draft.rules})
    unmatched = unfit = 0
    differences: list[Difference] = []
    events: dict[str, list[UsageEvent]] = {"draft": [], "in force": []}
    results: Counter[tuple[str, bool]] = Counter()
    for row in rows:
        study, arrival = restore(row["facts"])
        routing = route_by_rules(draft, study, arrival, manifest_of)
        matched.update(rule.name for rule in routing.matched)
        unmatched += not routing.matched
        unfit += bool(routing.matched) and not routing.choices
        after = tuple((choice.route.product, choice.rule.shadow) for choice in routing.choices)
        if in_force is not None:
            now = route_by_rules(in_force, study, arrival, manifest_of).choices
            before = tuple((choice.route.product, choice.rule.shadow) for choice in now)
        else:
            chosen = [choose(study, manifest_of(name)) for name in models]
            before = tuple((one.product, False) for one in chosen if isinstance(one, Route))
        results.update(after)
        if sorted(before) != sorted(after):
            differences.append(Difference(str(row["id"]), before, after))
        events["draft"] += _events(tenant, row, after)
        events["in force"] += _events(tenant, row, before)
    return Replay(
        studies=len(rows),
        left_out=_count(conn, tenant, days) - len(rows),
        matched=dict(matched),
        unmatched=unmatched,
        unfit=unfit,
        products={product: count for (product, is_shadow), count in results.items() if not is_shadow},
        shadows={product: count for (product, is_shadow), count in results.items() if is_shadow},
        different=len(differences),
        differences=tuple(differences[:_DIFFERENCES_SHOWN]),
        costs=_costs(conn, tenant, events["draft"], events["in force"]),
    )


def _studies(conn: Connection, tenant: str, days: int) -> list[dict[str, Any]]:
    return conn.execute(
        """SELECT s.id, s.created_at, f.facts, coalesce(p.is_test, false) AS is_test
           FROM study_facts f JOIN study s ON s.tenant = f.tenant AND s.id = f.study_id
           LEFT JOIN peer p ON p.tenant = s.tenant AND p.ae_title = s.ae_title
           WHERE f.tenant = %s AND s.created_at >= now() - make_interval(days => %s)
           ORDER BY s.created_at DESC LIMIT %s""",
        (tenant, days, STUDIES_MAX),
    ).fetchall()


def _count(conn: Connection, tenant: str, days: int) -> int:
    row = conn.execute(
        """SELECT count(*) AS studies FROM study
           WHERE tenant = %s AND created_at >= now() - make_interval(days => %s) AND status <> 'prior'""",
        (tenant, days),
    ).fetchone()
    assert row is not None
    return int(row["studies"])


def _events(tenant: str, row: dict[str, Any], products: Iterable[tuple[str, bool]]) -> Iterable[UsageEvent]:
    at: datetime = row["created_at"]
    for product, is_shadow in products:
        purpose = Purpose.SHADOW if is_shadow else Purpose.TEST_PEER if row["is_test"] else Purpose.CLINICAL
        key = f"{row['id']}:{product}"
        yield UsageEvent(
            tenant, "replay", key, Kind.RESULT_DELIVERED, product, Decimal(1), at, str(row["id"]), key,
            {"purpose": purpose},
        )  # fmt: skip


def _costs(
    conn: Connection, tenant: str, draft: list[UsageEvent], in_force: list[UsageEvent]
) -> tuple[Cost, ...]:
    """By the latest version of each contract, rated as a statement is."""
    contracts = [stored.contract for stored in billing_store.list_contracts(conn, tenant)]
    return tuple(
        Cost(one.name, rate.simulate(one, draft).total, rate.simulate(one, in_force).total)
        for one in contracts
    )
