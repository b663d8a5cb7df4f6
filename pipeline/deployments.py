"""Which versions of a model a tenant runs: active, canary, shadow, thresholds, way back. In the caller's transaction.

Every change is an event of the audit trail in the same transaction; `history` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from models.errors import ModelNotFound, ModelVersionNotFound
from models.registry import Catalogue
from pipeline import audit, store
from pipeline.database import Connection
from pipeline.errors import DeploymentRefused

Row = dict[str, Any]
DEFAULT = ""
"""The version that comes with the software, else the one that was installed first."""
_FORMER_MAX = 50


@dataclass(frozen=True)
class Deployment:
    """What a tenant runs of one model. former: the versions that were active before, the latest last."""

    model: str
    active: str = DEFAULT
    former: tuple[str, ...] = ()
    canary: str | None = None
    canary_percent: int | None = None
    shadow: str | None = None

    @property
    def versions(self) -> frozenset[str]:
        """Every version that is in use."""
        return frozenset(one for one in (self.active, self.canary, self.shadow) if one is not None)


@dataclass(frozen=True)
class Threshold:
    """An operating threshold for one version: of a peer, of a site, or, where both are empty, of the whole tenant."""

    model: str
    version: str
    threshold: float
    site: str = ""
    ae_title: str = ""


_DEPLOYMENTS = """SELECT model, active_version, former_versions, canary_version, canary_percent, shadow_version
                  FROM model_deployment WHERE tenant = %s AND (%s::text IS NULL OR model = %s) ORDER BY model"""


def list_deployments(conn: Connection, tenant: str) -> dict[str, Deployment]:
    """By name of the model; one that is not here runs in its default version."""
    rows = conn.execute(_DEPLOYMENTS, (tenant, None, None)).fetchall()
    return {row["model"]: _deployment(row) for row in rows}


def get_deployment(conn: Connection, tenant: str, model: str) -> Deployment:
    row = conn.execute(_DEPLOYMENTS, (tenant, model, model)).fetchone()
    return Deployment(model) if row is None else _deployment(row)


def _deployment(row: Row) -> Deployment:
    return Deployment(
        row["model"], row["active_version"], tuple(row["former_versions"]), row["canary_version"],
        row["canary_percent"], row["shadow_version"],
    )  # fmt: skip


def activate(
    conn: Connection, tenant: str, catalogue: Catalogue, model: str, version: str, *, by: str
) -> Deployment:
    """Let this version read the studies from now on; a canary or shadow of the same version ends.

    version: `DEFAULT` follows the software. Raises `ModelNotFound` or `ModelVersionNotFound`.
    """
    model = _known(catalogue, model, version)
    before = _locked(conn, tenant, model)
    if before.active == version:
        return before
    after = replace(before, active=version, former=(*before.former, before.active)[-_FORMER_MAX:])
    if version == before.canary:
        after = replace(after, canary=None, canary_percent=None)
    if version == before.shadow:
        after = replace(after, shadow=None)
    return _save(conn, tenant, after, by, {"change": "activated", "version": version or "default"})


def roll_back(conn: Connection, tenant: str, catalogue: Catalogue, model: str, *, by: str) -> Deployment:
    """End the canary; where there is none, the version that was active before is active again.

    Raises `DeploymentRefused` when there is no way back, `ModelVersionNotFound` when that version was removed.
    """
    before = _locked(conn, tenant, _known(catalogue, model, DEFAULT))
    if before.canary is not None:
        detail = {"change": "rolled back", "from": before.canary, "version": before.active or "default"}
        return _save(conn, tenant, replace(before, canary=None, canary_percent=None), by, detail)
    if not before.former:
        raise DeploymentRefused(
            f"no other version of {before.model} was active before, so there is no way back"
        )
    version = before.former[-1]
    _known(catalogue, before.model, version)
    after = replace(before, active=version, former=before.former[:-1])
    detail = {"change": "rolled back", "from": before.active or "default", "version": version or "default"}
    return _save(conn, tenant, after, by, detail)


def set_canary(
    conn: Connection,
    tenant: str,
    catalogue: Catalogue,
    model: str,
    version: str | None,
    percent: int = 0,
    *,
    by: str,
) -> Deployment:
    """Give this version `percent` of the studies, 1 to 99; None ends the canary.

    Which studies is a stable choice by their id: those that it had at 5 % it keeps at 20 %.
    """
    model = _known(catalogue, model, version or DEFAULT)
    before = _locked(conn, tenant, model)
    if version is None:
        if before.canary is None:
            return before
        after = replace(before, canary=None, canary_percent=None)
        return _save(conn, tenant, after, by, {"change": "canary ended", "version": before.canary})
    if not 1 <= percent <= 99:
        raise DeploymentRefused(
            "a canary gets 1 to 99 percent of the studies; activate the version to give it all"
        )
    _refuse_active(before, version)
    after = replace(before, canary=version, canary_percent=percent)
    return _save(conn, tenant, after, by, {"change": "canary", "version": version, "percent": percent})


def set_shadow(
    conn: Connection, tenant: str, catalogue: Catalogue, model: str, version: str | None, *, by: str
) -> Deployment:
    """Run this version beside the others: its results are kept, not delivered and not charged. None ends it."""
    model = _known(catalogue, model, version or DEFAULT)
    before = _locked(conn, tenant, model)
    if version is not None:
        _refuse_active(before, version)
    elif before.shadow is None:
        return before
    what = {"change": "shadow", "version": version} if version else {"change": "shadow ended"}
    return _save(conn, tenant, replace(before, shadow=version), by, {"version": before.shadow, **what})


def set_threshold(
    conn: Connection, tenant: str, catalogue: Catalogue, wanted: Threshold, *, remove: bool = False, by: str
) -> None:
    """Set or remove the operating threshold of a version for a peer, a site or the whole tenant."""
    if not 0 <= wanted.threshold <= 1:
        raise DeploymentRefused("an operating threshold lies in [0, 1]")
    if wanted.site and wanted.ae_title:
        raise DeploymentRefused("a threshold is of a site or of a peer, not of both")
    if not wanted.version:
        raise DeploymentRefused("name the version: scores of another one mean something else")
    _known(catalogue, wanted.model, wanted.version)
    key = (tenant, wanted.model, wanted.version, wanted.site, wanted.ae_title)
    detail: Row = {"version": wanted.version, "site": wanted.site, "peer": wanted.ae_title}
    if remove:
        deleted = conn.execute(
            """DELETE FROM model_threshold
               WHERE tenant = %s AND model = %s AND version = %s AND site = %s AND ae_title = %s""",
            key,
        )
        if deleted.rowcount:
            _audit(conn, tenant, wanted.model, by, {"change": "threshold removed", **detail})
        return
    conn.execute(
        """INSERT INTO model_threshold (tenant, model, version, site, ae_title, threshold, changed_by)
           VALUES (%s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (tenant, model, version, site, ae_title)
           DO UPDATE SET threshold = excluded.threshold, changed_by = excluded.changed_by, changed_at = now()""",
        (*key, wanted.threshold, by),
    )
    _audit(conn, tenant, wanted.model, by, {"change": "threshold", **detail, "threshold": wanted.threshold})


def list_thresholds(conn: Connection, tenant: str) -> list[Threshold]:
    rows = conn.execute(
        """SELECT model, version, threshold, site, ae_title FROM model_threshold
           WHERE tenant = %s ORDER BY model, version, site, ae_title""",
        (tenant,),
    ).fetchall()
    return [Threshold(**row) for row in rows]


def set_enabled(
    conn: Connection, tenant: str, catalogue: Catalogue, name: str, is_enabled: bool, *, by: str
) -> None:
    """Let a model read the tenant's studies where no routing rules are in force, or no longer."""
    listed = list(store.get_tenant(conn, tenant)["models"])
    if is_enabled and not catalogue.versions_of(name):
        raise ModelNotFound(name)
    if (name in listed) == is_enabled:
        return
    after = [*listed, name] if is_enabled else [one for one in listed if one != name]
    conn.execute("SELECT set_tenant_models(%s, %s)", (tenant, after))
    _audit(conn, tenant, name, by, {"change": "enabled" if is_enabled else "disabled"})


def history(conn: Connection, tenant: str, model: str, *, limit: int = 50) -> list[Row]:
    """What was changed, newest first: at, and detail with by, change, version and what else belongs to it."""
    return conn.execute(
        """SELECT at, detail FROM audit_event
           WHERE tenant = %s AND action = %s AND detail->>'model' = %s ORDER BY sequence DESC LIMIT %s""",
        (tenant, audit.AuditEvent.MODEL_CHANGED.action, model, limit),
    ).fetchall()


def change_text(detail: Row) -> str:
    """`canary 1.1.0, 10 %`."""
    places = {"site": detail.get("site"), "peer": detail.get("peer")}
    parts = [
        " ".join(str(detail[key]) for key in ("change", "version") if key in detail),
        f"from {detail['from']}" if "from" in detail else "",
        f"{detail['percent']} %" if "percent" in detail else "",
        f"{detail['threshold']:g}" if "threshold" in detail else "",
        *(f"{name} {value}" for name, value in places.items() if value),
    ]
    return ", ".join(part for part in parts if part)


def _known(catalogue: Catalogue, name: str, version: str) -> str:
    """The model's own name, after it was found in this version."""
    versions = catalogue.versions_of(name)
    if not versions:
        raise ModelNotFound(name)
    there = [one.version for one in versions]
    if version != DEFAULT and version not in there:
        raise ModelVersionNotFound(name, version, there)
    return versions[0].name


def _refuse_active(deployment: Deployment, version: str) -> None:
    if version == deployment.active:
        raise DeploymentRefused(f"{deployment.model} {version} is the active version already")


def _locked(conn: Connection, tenant: str, model: str) -> Deployment:
    """Two people who change the same model do it one after the other."""
    key = f"radmeter.model.{tenant}.{model}"
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (key,))
    return get_deployment(conn, tenant, model)


def _save(conn: Connection, tenant: str, after: Deployment, by: str, detail: Row) -> Deployment:
    conn.execute(
        """INSERT INTO model_deployment (tenant, model, active_version, former_versions, canary_version,
                                         canary_percent, shadow_version, changed_by)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (tenant, model) DO UPDATE SET
               active_version = excluded.active_version, former_versions = excluded.former_versions,
               canary_version = excluded.canary_version, canary_percent = excluded.canary_percent,
               shadow_version = excluded.shadow_version, changed_at = now(), changed_by = excluded.changed_by""",
        (
            tenant,
            after.model,
            after.active,
            list(after.former),
            after.canary,
            after.canary_percent,
            after.shadow,
            by,
        ),
    )
    _audit(conn, tenant, after.model, by, detail)
    return after


def _audit(conn: Connection, tenant: str, model: str, by: str, detail: Row) -> None:
    audit.record(conn, tenant, audit.AuditEvent.MODEL_CHANGED, {"model": model, "by": by, **detail})
