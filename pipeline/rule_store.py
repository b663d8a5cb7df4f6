"""Versions of a tenant's routing rules in PostgreSQL. Every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from pipeline.database import Connection
from pipeline.errors import DestinationInUse
from pipeline.rule_document import read_rules
from pipeline.rule_errors import RuleSetNotFound
from pipeline.rules import RuleSet


@dataclass(frozen=True)
class StoredRuleSet:
    """One version as it is listed. state: draft, active, retired. matched: studies that it routed."""

    version: int
    state: str
    author: str
    note: str
    created_at: datetime
    activated_at: datetime | None
    activated_by: str | None
    document: str
    matched: int


_VERSIONS = """SELECT version, state, author, note, created_at, activated_at, activated_by, document,
                      (SELECT count(*) FROM study s
                        WHERE s.tenant = r.tenant AND s.rule_set_version = r.version) AS matched
               FROM route_rule_set r WHERE tenant = %s AND (%s::int IS NULL OR version = %s)
               ORDER BY version DESC LIMIT 200"""


def active_rules(conn: Connection, tenant: str, default_time_zone: str = "UTC") -> RuleSet | None:
    """The rules in force; None for a tenant without, which is routed by its list of models."""
    row = conn.execute(
        "SELECT version, document FROM route_rule_set WHERE tenant = %s AND state = 'active'", (tenant,)
    ).fetchone()
    return None if row is None else read_rules(row["document"], default_time_zone, row["version"])


def list_rule_sets(conn: Connection, tenant: str) -> list[StoredRuleSet]:
    """The latest versions, newest first."""
    return [StoredRuleSet(**row) for row in conn.execute(_VERSIONS, (tenant, None, None)).fetchall()]


def get_rule_set(conn: Connection, tenant: str, version: int) -> StoredRuleSet:
    """Raises `RuleSetNotFound`."""
    row = conn.execute(_VERSIONS, (tenant, version, version)).fetchone()
    if row is None:
        raise RuleSetNotFound(f"there is no version {version} of the routing rules")
    return StoredRuleSet(**row)


def add_rule_set(
    conn: Connection,
    tenant: str,
    document: str,
    *,
    author: str,
    note: str = "",
    known_models: Collection[str] | None = None,
    known_destinations: Collection[str] | None = None,
) -> int:
    """Store a checked document as the next version, a draft; the same text as the newest version makes none.

    Raises `RulesInvalid`.
    """
    read_rules(document, known_models=known_models, known_destinations=known_destinations)
    _lock(conn, tenant)
    newest = conn.execute(
        "SELECT version, document FROM route_rule_set WHERE tenant = %s ORDER BY version DESC LIMIT 1",
        (tenant,),
    ).fetchone()
    if newest is not None and newest["document"] == document:
        return int(newest["version"])
    version = 1 if newest is None else int(newest["version"]) + 1
    conn.execute(
        "INSERT INTO route_rule_set (tenant, version, document, author, note) VALUES (%s, %s, %s, %s, %s)",
        (tenant, version, document, author, note),
    )
    return version


def activate(
    conn: Connection,
    tenant: str,
    version: int | None,
    *,
    by: str,
    known_destinations: Collection[str] | None = None,
) -> None:
    """Put a version in force in place of the one that is; None = no rules. Any earlier version may come back.

    known_destinations: names that results can be sent to now; since the version was stored some may have gone.
    Raises `RuleSetNotFound`, `RulesInvalid`.
    """
    _lock(conn, tenant)
    if version is not None:
        read_rules(get_rule_set(conn, tenant, version).document, known_destinations=known_destinations)
    conn.execute(
        "UPDATE route_rule_set SET state = 'retired' WHERE tenant = %s AND state = 'active'", (tenant,)
    )
    if version is not None:
        conn.execute(
            """UPDATE route_rule_set SET state = 'active', activated_at = now(), activated_by = %s
               WHERE tenant = %s AND version = %s""",
            (by, tenant, version),
        )


def require_unnamed(conn: Connection, tenant: str, destination: str) -> None:
    """Raises `DestinationInUse` where a rule in force or another peer sends results to what alone has this name."""
    _lock(conn, tenant)
    bearers = conn.execute(
        """SELECT FROM destination WHERE tenant = %(tenant)s AND name = %(name)s
           UNION ALL SELECT FROM peer WHERE tenant = %(tenant)s AND ae_title = %(name)s""",
        {"tenant": tenant, "name": destination},
    ).fetchall()
    if len(bearers) != 1:
        return
    active = active_rules(conn, tenant)
    naming = [rule.name for rule in active.rules if destination in rule.destinations] if active else []
    senders = conn.execute(
        """SELECT ae_title FROM peer WHERE tenant = %(tenant)s AND result_destination = %(name)s
                                       AND ae_title <> %(name)s ORDER BY ae_title""",
        {"tenant": tenant, "name": destination},
    ).fetchall()
    if naming or senders:
        raise DestinationInUse(destination, naming, [row["ae_title"] for row in senders])


def _lock(conn: Connection, tenant: str) -> None:
    """Two people who save or activate at once do it one after the other."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('radmeter.rules.' || %s, 0))", (tenant,))
