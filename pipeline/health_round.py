"""The round of the models' health: count the last days, compute the figures, ask the rules, pause what must stop."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta

from pipeline import audit, health_store, model_pause
from pipeline.database import Connection, Database
from pipeline.health_bounds import bounds_of
from pipeline.health_figures import Health, Key
from pipeline.health_rules import Bounds, find_alarms
from pipeline.health_tally import tally

log = logging.getLogger("radmeter.model_health")
# Verdicts and events of other systems arrive late; after these days a day's counts are final.
DAYS_COUNTED_AGAIN = 7


def look_at_models(database: Database, tenant: str, *, now: datetime) -> int:
    """Returns how many alarms are new. Safe to repeat; two at once count the same."""
    today = now.astimezone(UTC).date()
    for back in range(DAYS_COUNTED_AGAIN, -1, -1):
        with database.transaction(tenant) as conn:
            _one_at_a_time(conn, tenant)
            tally(conn, tenant, today - timedelta(days=back))
    with database.transaction(tenant) as conn:
        _one_at_a_time(conn, tenant)
        healths = [
            health_store.health_of(conn, tenant, key, last=today)
            for key in health_store.keys(conn, tenant, last=today)
        ]
        health_store.save_figures(conn, tenant, healths, now=now)
        in_use, bounds = _in_use(healths), bounds_of(conn, tenant)
        health_store.clear_others(conn, tenant, [health.key for health in in_use], now=now)
        return sum(_judge(conn, tenant, health, today, now, bounds) for health in in_use)


def _in_use(healths: list[Health]) -> list[Health]:
    """Without the versions that nothing came to while another version of the product was at work at the site."""
    at_work = {(one.key.product, one.key.site) for one in healths if one.now.attempts}
    return [one for one in healths if one.now.attempts or (one.key.product, one.key.site) not in at_work]


def _one_at_a_time(conn: Connection, tenant: str) -> None:
    conn.execute("SELECT pg_advisory_xact_lock(hashtext('model_health'), hashtext(%s))", (tenant,))


def _judge(conn: Connection, tenant: str, health: Health, today: date, now: datetime, bounds: Bounds) -> int:
    """Store what the rules say of one version at one site; returns how many alarms are new."""
    key = health.key
    is_paused = key.product in model_pause.paused_products(conn, tenant, key.site)
    # That nothing comes to a paused model is known.
    found = [alarm for alarm in find_alarms(health, bounds) if not (is_paused and alarm.rule == "volume")]
    new = health_store.save_alarms(conn, tenant, key, found, now=now)
    for alarm in new:
        log.warning("model_alarm_raised", extra={"tenant": tenant, "model": key.product, "rule": alarm.rule})
        detail = {"product": key.product, "version": key.version, "site": key.site, "rule": alarm.rule}
        audit.record(conn, tenant, audit.AuditEvent.MODEL_ALARM, {**detail, "sentence": alarm.sentence})
    _stop(conn, tenant, key, health, today, now, bounds)
    return len(new)


def _stop(
    conn: Connection, tenant: str, key: Key, health: Health, today: date, now: datetime, bounds: Bounds
) -> None:
    """Pause the product where a rule says so of the days since it was last resumed."""
    resumed = model_pause.last_resumed(conn, tenant, key.product, key.site)
    first = health.now.first
    if resumed is not None and resumed.date() >= first:
        first = resumed.date() + timedelta(days=1)
        if first > today:
            return
    window = health_store.window_of(conn, tenant, key, first, today)
    stopping = next((a for a in find_alarms(Health(key, window, None), bounds) if a.stops), None)
    if stopping is None:
        return
    reason = f"{stopping.sentence} (since {first})"
    if model_pause.pause(
        conn, tenant, key.product, key.site, reason=reason, by=f"rule {stopping.rule}", now=now
    ):
        log.error("model_paused", extra={"tenant": tenant, "model": key.product, "rule": stopping.rule})
