"""Who uses a version of a model: asked over all tenants before it is removed. For the schema's owner."""

from __future__ import annotations

from collections.abc import Iterator

from models.registry import Catalogue
from pipeline import deployments, rule_store
from pipeline.database import Connection
from pipeline.deployments import DEFAULT
from pipeline.rule_errors import RulesInvalid
from pipeline.status import TERMINAL


def users_of(conn: Connection, catalogue: Catalogue, model: str, version: str) -> list[str]:
    """One sentence for each use; empty when the version may go. Leaves the connection at the last tenant."""
    versions = catalogue.versions_of(model)
    is_default = bool(versions) and versions[0].version == version
    found: list[str] = []
    for tenant in _each_tenant(conn):
        found += [f"tenant {tenant}: {use}" for use in _uses(conn, tenant, model, version)]
        if is_default and _runs_default(conn, tenant, catalogue, model):
            found.append(f"tenant {tenant}: the default version, and the model is enabled")
    return found


def missing_versions(conn: Connection, catalogue: Catalogue) -> list[str]:
    """One sentence for each version that a tenant runs and that is not installed."""
    there = {(one.name, one.version) for one in catalogue.models} | {
        (one.name, DEFAULT) for one in catalogue.models
    }
    return [
        f"tenant {tenant}: {one.model} {version or 'in its default version'}"
        for tenant in _each_tenant(conn)
        for one in deployments.list_deployments(conn, tenant).values()
        for version in sorted(one.versions)
        if (one.model, version) not in there
    ]


def _each_tenant(conn: Connection) -> Iterator[str]:
    """The tenants by name; while one is in hand, its rows are what the connection sees."""
    for row in conn.execute("SELECT tenant FROM every_tenant() ORDER BY tenant").fetchall():
        tenant = str(row["tenant"])
        conn.execute("SELECT set_config('radmeter.tenant', %s, false)", (tenant,))
        yield tenant


def _uses(conn: Connection, tenant: str, model: str, version: str) -> list[str]:
    deployment = deployments.get_deployment(conn, tenant, model)
    uses = []
    if deployment.active == version:
        uses.append("active")
    if deployment.canary == version:
        uses.append(f"canary of {deployment.canary_percent} %")
    if deployment.shadow == version:
        uses.append("shadow")
    waiting = conn.execute(
        """SELECT count(*) AS studies FROM study
           WHERE tenant = %s AND NOT status = ANY(%s)
             AND (route @> jsonb_build_array(jsonb_build_object('model', %s::text, 'model_version', %s::text))
                  OR route @> jsonb_build_array(
                         jsonb_build_object('uses', jsonb_build_object(%s::text, %s::text))))""",
        (tenant, [one.value for one in TERMINAL], model, version, model, version),
    ).fetchone()
    if waiting is not None and waiting["studies"]:
        uses.append(f"{waiting['studies']} unfinished studies")
    return uses


def _runs_default(conn: Connection, tenant: str, catalogue: Catalogue, model: str) -> bool:
    """Whether the tenant's list or its rules name the model, and no version of it was chosen."""
    if deployments.get_deployment(conn, tenant, model).active != DEFAULT:
        return False
    row = conn.execute("SELECT models FROM tenant WHERE tenant = %s", (tenant,)).fetchone()
    named = set(row["models"] if row else ())
    try:
        rules = rule_store.active_rules(conn, tenant)
    except RulesInvalid:  # written by another release: nobody can say what they name
        return True
    named |= {name for rule in rules.rules for name in rule.models} if rules else set()
    return any(one.name == model for name in named for one in catalogue.versions_of(name)[:1])
