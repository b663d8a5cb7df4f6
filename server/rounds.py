"""What a worker looks after each minute, beside its steps.

Each by itself, in a thread of its own; all share one pool, in which most of them hold one connection for a moment.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from billing.metering.outcomes import settle_every_tenant
from billing.rails.run import run_rails
from pipeline import unbilled, work_list
from pipeline.audit_message import AuditSource
from pipeline.audit_syslog import SyslogServer, send_round
from pipeline.database import Database
from pipeline.errors import AuditServerInvalid
from pipeline.limit_gate import tenants as every_tenant
from pipeline.lost_associations import close_lost
from pipeline.protection.erase_objects import remove_objects
from pipeline.queue import deferring_app
from pipeline.retention_run import run_retention, sweep_work
from pipeline.scrub import Pace, scrub
from server import places
from server.erased_copies import copies_round
from server.errors import SettingInvalid
from server.object_store import durable_store
from server.protection import seal_anew
from server.settings import Settings

SETTLE_EVERY = timedelta(hours=1)
_SCRUB_BYTES_S = 20e6
# What all of them can hold at once, so that none waits for another.
_CONNECTIONS_MAX = 16


def rounds(settings: Settings) -> tuple[Callable[[], object], ...]:
    """One call of each is one look. Raises `SettingInvalid`."""
    pool = places.database(settings, pool_size_max=_CONNECTIONS_MAX)
    return (
        _billing(settings, pool),
        lambda: work_list.look_after(pool, now=pool.now()),
        _audit(settings, pool),
        _erasure(settings, pool),
        _heartbeat(settings, pool),
        _associations(settings, pool),
        _retention(settings, pool),
        _sealing(settings, pool),
        lambda: unbilled.figure_every_tenant(pool, lambda: datetime.now(UTC)),
    )


def _billing(settings: Settings, pool: Database) -> Callable[[], object]:
    """For billing: the rails, see `billing.rails.run`; each hour, windows that passed without a verdict."""
    settled_at = datetime.min.replace(tzinfo=UTC)

    def look_after() -> None:
        nonlocal settled_at
        run_rails(pool.transaction, stripe_api_key=settings.stripe_api_key, clock=pool.now)
        now = pool.now()
        if now - settled_at >= SETTLE_EVERY:
            settled_at = now
            settle_every_tenant(pool.transaction, now=settled_at)

    return look_after


def _audit(settings: Settings, pool: Database) -> Callable[[], object]:
    """For the audit trail, see `pipeline.audit_syslog`. Raises `SettingInvalid`.

    Whom TLS trusts and our own certificate with its key lie in the folder of secrets, where there are any.
    """
    if not settings.audit_syslog:
        return lambda: None
    names = ("audit-authority.pem", "audit-certificate.pem")
    files = (path if (path := settings.secrets_directory / name).exists() else None for name in names)
    try:
        server = SyslogServer(settings.audit_syslog, *files)
    except AuditServerInvalid as error:
        raise SettingInvalid("audit_syslog", settings.audit_syslog, str(error)) from None
    return lambda: send_round(pool, server, AuditSource(), host=socket.gethostname())


def _erasure(settings: Settings, pool: Database) -> Callable[[], object]:
    """For erasures: objects that could not go at once, and this node's copies."""
    remove_own_copies = copies_round(settings, pool)

    def look_after() -> None:
        remove_objects(pool, durable_store(settings), now=datetime.now(UTC))
        remove_own_copies()

    return look_after


def _heartbeat(settings: Settings, pool: Database) -> Callable[[], object]:
    """For the heartbeat, see `server.heartbeat`."""
    if settings.heartbeat_minutes == 0:
        return lambda: None
    from server.heartbeat import look_after  # not at the top: nobody else makes studies up

    return lambda: look_after(pool, settings)


def _associations(settings: Settings, pool: Database) -> Callable[[], object]:
    """For associations of processes that are gone, see `pipeline.lost_associations`."""
    queue = deferring_app(settings.database_url)

    def look_after() -> None:
        for tenant in every_tenant(pool):
            close_lost(pool, queue, tenant)

    return look_after


def _retention(settings: Settings, pool: Database) -> Callable[[], object]:
    """With what is stored, see `pipeline.retention_run` and `pipeline.scrub`."""
    made = places.folders(settings)

    def look_after() -> None:
        for tenant in every_tenant(pool):
            run_retention(pool, made, tenant, now=datetime.now(UTC))
            sweep_work(pool, made, tenant, now=datetime.now(UTC))
            pace = Pace(_SCRUB_BYTES_S, settings.scrub_mib_per_minute << 20)
            if settings.scrub_mib_per_minute:
                scrub(pool, made, tenant, pace, now=datetime.now(UTC))

    return look_after


def _sealing(settings: Settings, pool: Database) -> Callable[[], object]:
    """For rotated data keys: some studies of each tenant are sealed anew."""
    sealing = seal_anew(settings, pool)
    if sealing is None:
        return lambda: None

    def look_after() -> None:
        for tenant in every_tenant(pool):
            sealing.look_after(tenant, now=datetime.now(UTC))

    return look_after
