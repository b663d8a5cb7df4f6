"""Routes without an event by `portal/access_audit.py`, and why. A new route stands somewhere, or a test fails."""

from __future__ import annotations

RECORDS_ITSELF = {
    "POST /sign-in",
    "POST /sign-out",
    "POST /sign-in/second-factor",
    "GET /sign-in/openid/back",
    "POST /studies/{study_id}/links",
    "POST /studies/{study_id}/links/revoke",
    "POST /shared/{token}",
    "GET /shared/{token}/report.pdf",
    "POST /account/language",
    "POST /account/password",
    "POST /account/second-factor",
    "POST /account/second-factor/remove",
    "POST /account/sessions/end",
    "POST /users",
    "POST /users/change",
    "POST /users/policy",
    "POST /keys",
    "POST /keys/revoke",
    "POST /peers",
    "POST /peers/remove",
    "POST /destinations",
    "POST /destinations/remove",
    "POST /models",
    "POST /retention/policy",
    "POST /retention/hold",
    "POST /retention/release",
    "POST /models/health/pause",
    "POST /models/health/resume",
    "POST /studies/{study_id}/verdicts",
    "POST /studies/{study_id}/missed",
    # instances_received when the study is assembled
    "POST /dicom-web/studies",
    "POST /dicom-web/studies/{study_instance_uid}",
    # no person and no patient: the ledger tells of it
    "POST /api/v1/rails/stripe/webhook",
}
"""The event is written with the change itself."""

CHANGES_NOTHING = {
    "GET /sign-in/openid/{tenant}/out",
    "GET /studies/{study_id}/links",  # who was given links, not what they show
    "GET /shared/{token}",
    # what was opened, and recorded as it was: the view is the opening
    "GET /shared/{token}/report",
    "GET /shared/{token}/images/{name}",
    "POST /search",  # leads to the work list, which is recorded
}


def shows_no_patient(method: str, path: str) -> bool:
    """Pages about money, settings, models and the service itself."""
    return method == "GET" and path.startswith(
        (
            "/sign-in", "/continue", "/account", "/users", "/keys",
            "/usage", "/overview", "/contracts", "/wallets", "/statements", "/credit-notes", "/payments",
            "/payouts", "/books", "/reconciliations", "/peers", "/destinations", "/routing", "/models", "/upload",
            "/ohif/", "/api/v1/usage", "/retention",
            "/api/v1/statements", "/api/openapi.json", "/api/docs", "/healthz", "/readyz", "/metrics",
        )
    )  # fmt: skip
