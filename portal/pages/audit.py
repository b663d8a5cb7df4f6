"""The audit trail of the tenant: who was refused, what was changed, who signed in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from pipeline import audit
from portal.context import SEES_AUDIT, Identity
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

PAGE_SIZE = 100

# action → (words, icon, tone); an action without words here is shown by its name.
ACTION_LOOK = {
    "association_rejected": ("Association rejected", "cross", "bad"),
    "tls_failed": ("TLS handshake failed", "cross", "bad"),
    "instance_refused": ("Images refused", "bar", "warning"),
    "instance_differs": ("Different images under a known UID", "cross", "bad"),
    "peer_added": ("Peer added", "file", "plain"),
    "peer_changed": ("Peer changed", "file", "plain"),
    "peer_removed": ("Peer removed", "file", "plain"),
    "destination_changed": ("Destination changed", "file", "plain"),
    "destination_removed": ("Destination removed", "file", "plain"),
    "signed_in": ("Signed in", "check", "good"),
    "sign_in_failed": ("Sign-in failed", "bar", "warning"),
    "limit_reached": ("Limit reached", "bar", "warning"),
    "calls_refused": ("API calls refused by a limit", "bar", "warning"),
    "model_alarm": ("Model raised an alarm", "bar", "warning"),
    "model_paused": ("Model paused", "cross", "bad"),
    "model_rule_changed": ("Bound of a model rule changed", "file", "plain"),
    "model_resumed": ("Model resumed", "check", "plain"),
    "retention_changed": ("Retention policy changed", "file", "plain"),
    "hold_placed": ("Legal hold placed", "file", "plain"),
    "hold_released": ("Legal hold released", "file", "plain"),
    "objects_removed": ("Removed by policy", "file", "plain"),
    "object_rotten": ("A stored file has rotted", "cross", "bad"),
    "backup_restored": ("Installation restored from a backup", "file", "plain"),
    "signed_out": ("Signed out", "file", "plain"),
    "user_changed": ("User changed", "file", "plain"),
    "key_changed": ("API key changed", "file", "plain"),
    "link_changed": ("Shared link changed", "file", "plain"),
    "link_refused": ("Shared link refused", "bar", "warning"),
    "studies_queried": ("Studies listed", "file", "plain"),
    "study_viewed": ("Study viewed", "file", "plain"),
    "verdict_given": ("Verdict given", "check", "plain"),
    "review_finished": ("Review finished", "check", "good"),
    "verdicts_exported": ("Verdicts exported", "arrow-out", "plain"),
    "model_changed": ("Model changed", "file", "plain"),
    "study_changed": ("Study changed", "file", "plain"),
    "images_viewed": ("Images viewed", "file", "plain"),
    "report_exported": ("Report downloaded", "arrow-out", "plain"),
    "studies_imported": ("Studies uploaded", "arrow-in", "plain"),
    "audit_viewed": ("Audit trail viewed", "file", "plain"),
    "function_used": ("Change made", "file", "plain"),
    "instances_received": ("Images received", "arrow-in", "plain"),
    "instances_sent": ("Results sent", "arrow-out", "plain"),
    "study_erased": ("Study erased", "cross", "plain"),
    "tenant_erased": ("Tenant erased", "cross", "bad"),
    "tenant_exported": ("All data exported", "arrow-out", "plain"),
    "application_started": ("Started", "check", "plain"),
    "application_stopped": ("Stopped", "bar", "plain"),
}
# What the page shows of a detail by words of its own; the rest is shown by its name.
SHOWN_APART = ("reason", "count", "study", "changes")


@router.get("/audit")
def show(
    request: Request,
    context: Context,
    identity: Annotated[Identity, Depends(signed_in(SEES_AUDIT))],
    before: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        rows = audit.recent(conn, identity.tenant, limit=PAGE_SIZE + 1, before=before)
    shown = rows[:PAGE_SIZE]
    older = shown[-1]["sequence"] if len(rows) > PAGE_SIZE else None
    return page(
        request,
        "audit.html",
        rows=shown,
        older=older,
        before=before,
        action_look=ACTION_LOOK,
        shown_apart=SHOWN_APART,
    )
