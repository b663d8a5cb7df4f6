"""What the audit page shows, to whom, and what leaves a line on it."""

from __future__ import annotations

from pipeline import audit
from pipeline.audit import AuditEvent
from portal.context import Role
from portal.pages.audit import ACTION_LOOK
from portal.text import ZH
from tests.portal.portal_site import PASSWORD, Site


def test_changes_of_peers_are_shown_with_who_made_them(site: Site) -> None:
    client = site.signed_in("alpha")
    values = {
        "ae_title": "CT1", "host": "10.0.0.5", "port": "104", "quiet_time_s": "10", "enabled": "true",
        "hosts": "10.0.0.0/24\r\nct1.example\r\n", "certificates": "CN:CT1", "modalities": "ct\nMR",
        "duplicate_policy": "warning",
    }  # fmt: skip
    assert client.post("/peers", data=values).status_code == 303
    row = site.owner.execute("SELECT * FROM peer").fetchone()
    assert row is not None
    assert row["hosts"] == ["10.0.0.0/24", "ct1.example"]
    assert (row["certificates"], row["modalities"]) == (["cn:ct1"], ["CT", "MR"])
    form = client.get("/peers/edit?ae_title=CT1").text
    assert "10.0.0.0/24\nct1.example</textarea>" in form
    assert '<option value="warning" selected>' in form
    listed = client.get("/peers").text
    assert "by certificate" in listed
    assert "CT, MR" in " ".join(listed.split())
    page = client.get("/audit").text
    assert "Peer added" in page
    assert "by admin-alpha-" in page
    assert "10.0.0.0/24 | ct1.example" in page


def test_sign_ins_and_failures_are_recorded_without_what_may_be_a_password(site: Site) -> None:
    site.add_user("alpha", "anna", Role.OPERATOR)
    client = site.client()
    client.post("/sign-in", data={"name": "anna", "password": "wrong"})
    client.post("/sign-in", data={"name": "my secret password", "password": ""})
    client.post("/sign-in", data={"name": "anna", "password": PASSWORD})
    rows = site.owner.execute("SELECT tenant, action, detail FROM audit_event ORDER BY sequence").fetchall()
    host = {"host": "testclient"}
    assert rows[0]["action"] == "user_changed", "she was added"
    assert rows[1:] == [
        {"tenant": "alpha", "action": "sign_in_failed", "detail": {"user": "anna", **host}},
        {"tenant": None, "action": "sign_in_failed", "detail": host},
        {"tenant": "alpha", "action": "signed_in", "detail": {"user": "anna", **host}},
    ]
    page = client.get("/audit").text
    assert page.count("Sign-in failed") == 1
    assert "User Authentication" in page


def test_a_tenant_sees_its_own_events_and_pages_through_them(site: Site) -> None:
    client = site.signed_in("alpha", Role.OPERATOR)
    for number in range(150):
        audit.record(
            site.owner, "alpha", AuditEvent.TLS_FAILED, {"host": f"own-{number:03d}", "count": number}
        )
        audit.record(site.owner, "beta", AuditEvent.TLS_FAILED, {"host": "of-beta"})
    first = client.get("/audit").text
    assert "own-149" in first
    assert "own-049" not in first
    (older,) = {part.split('"')[0] for part in first.split('href="/audit?before=')[1:]}
    second = client.get(f"/audit?before={older}").text
    assert "own-049" in second
    assert "of-beta" not in first + second


def test_what_a_peer_called_itself_is_text_and_nothing_else(site: Site) -> None:
    client = site.signed_in("alpha")
    detail = {"calling_ae_title": "<b>X</b>", "reason": "<script>", "changes": {"<i>": ["<u>"]}}
    audit.record(site.owner, "alpha", AuditEvent.ASSOCIATION_REJECTED, detail)
    page = client.get("/audit").text
    for tag in ("<b>X", "<script>", "<i>", "<u>"):
        assert tag not in page


def test_every_kind_of_event_has_words_in_both_languages() -> None:
    assert {event.action for event in AuditEvent} - set(ACTION_LOOK) == set()
    assert {look[0] for look in ACTION_LOOK.values()} - set(ZH) == set()
