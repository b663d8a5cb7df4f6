"""A contract with limits and packages in the middle of a month, for the pages about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from billing.contracts import store as billing_store
from billing.guarding import call_guard, guard, limits
from billing.guarding.limit_worth import Work
from billing.metering import meter
from billing.metering.usage import UsageEvent
from portal.auth import create_api_key
from tests.billing.limits_builders import MEMBERSHIP, with_limits
from tests.portal.portal_site import Site

LIMITED = with_limits(
    MEMBERSHIP,
    "budgets: {id: month, amount: 60000.00, when_reached: wait}",
    "budgets: {id: north, amount: 9000.00, for: {site: north}}",
    "quotas: {id: daily, units: 12, per: day, for: {product: screening}, when_reached: wait}",
)
# Cases on each weekday from Monday on; the weekend is quiet.
WEEK = (9, 8, 7, 8, 6, 2, 1)


def busy_month(site: Site, tenant: str, *, now: datetime | None = None) -> int:
    """Six weeks of screenings from three sites, one member's package, alerts, and a study that waits."""
    now = now or datetime.now(UTC)
    with site.database.transaction(tenant) as conn:
        contract_id = billing_store.add_contract(conn, tenant, LIMITED)
        events = [_event(tenant, "m-1", "member_year", now - timedelta(days=20), {"member": "token-1"})]
        for back in range(42, -1, -1):
            at = now - timedelta(days=back)
            for number in range(WEEK[at.weekday()] + back % 3):
                place = ("north", "south", "east")[(number + back) % 3]
                member = {"member": "token-1"} if number == 0 and back < 20 else {}
                dimensions = {
                    "site": place,
                    "department": f"CT {number % 2 + 1}",
                    "sending_peer": "PACS",
                    **member,
                }
                events.append(_event(tenant, f"{back}-{number}", "screening", at, dimensions))
        meter.record_many(conn, tenant, events, received_at=now)
    # As autovacuum does in the first minute: without statistics the totals are joined row by row, for seconds.
    site.owner.execute("ANALYZE billing.usage_event, billing.event_decision")
    with site.database.transaction(tenant) as conn:
        limits.watch(conn, tenant, now=now)
        limits.change(
            conn,
            tenant,
            contract_id,
            "daily",
            Decimal(1),
            by="finance",
            reason="a test of the limit",
            now=now,
        )
        found = guard.may_run(
            conn, tenant, "screening", is_urgent=False, now=now, under_way=[Work("screening", {})]
        )
        guard.note(conn, tenant, "8d6f0f0c-study", 1, "screening", found, now=now)
    return contract_id


def _event(tenant: str, name: str, product: str, at: datetime, dimensions: dict[str, str]) -> UsageEvent:
    return UsageEvent(
        tenant=tenant,
        source="test",
        event_id=name,
        kind="result_delivered",
        product=product,
        quantity=Decimal(1),
        occurred_at=at,
        study_ref=f"study-{name}",
        case_key=f"case-{name}",
        dimensions=dimensions,
    )


def refused_call(site: Site, tenant: str, contract_id: int) -> None:
    """An API key whose calls a quota of the contract refuses until tomorrow."""
    now = datetime.now(UTC)
    with site.database.transaction(tenant) as conn:
        prefix = create_api_key(conn, tenant, "worklist of the north").split("_")[1]
        stored = billing_store.contract_at(conn, tenant, contract_id, now)
        why = "The quota calls of contract alpha is used up: 200 of 200 today. Calls are refused until it is raised."
        refused = call_guard.Refused("calls", why, now + timedelta(days=1))
        assert call_guard.note(conn, tenant, stored, prefix, refused, now=now)
