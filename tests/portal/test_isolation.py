"""A tenant sees only its own: every route, every id, every tenant; 404, never 403, for what is another's."""

from __future__ import annotations

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from portal.auth import create_api_key
from portal.context import Role
from portal.routes import ROUTES
from tests.portal.owned import Owned, address, fill, payee_of
from tests.portal.portal_site import Site
from tests.portal.route_roles import ROLES_OF

TENANTS = ("alpha", "beta", "gamma")
# Routes that show the same to everybody, or act on the session alone.
OPEN = {
    "/sign-in",
    "/sign-out",
    "/sign-in/second-factor",
    "/sign-in/openid/{tenant}/out",
    "/sign-in/openid/back",
    "/shared/{token}",  # the link decides, see test_shared.py
    "/shared/{token}/report",
    "/shared/{token}/report.pdf",
    "/shared/{token}/images/{name}",
    "/continue",  # shows a person what the own browser keeps
    "/healthz",
    "/readyz",
    "/metrics",
    "/ohif/",  # the viewer's own files; what it shows is asked of /dicom-web
    "/ohif/viewer",
    "/ohif/{name:path}",
    "/dicom-web/workitems/{workitem_uid}/state",  # a key decides, see test_ups.py
    "/dicom-web/workitems/{workitem_uid}/cancelrequest",
    "/dicom-web/workitems/{workitem_uid}/subscribers/{ae_title}",
    "/dicom-web/workitems/{workitem_uid}/subscribers/{ae_title}/suspend",
    "/api/openapi.json",
    "/api/docs",
    "/api/v1/rails/stripe/webhook",  # the message's signature decides
}
# POST routes with the fields that make them valid.
POSTS = {
    "/studies/{study_id}/verdicts", "/studies/{study_id}/missed",
    "/studies/{study_id}/order", "/studies/{study_id}/cancel", "/studies/{study_id}/send-again",
    "/account/language", "/account/password", "/account/second-factor", "/account/second-factor/remove",
    "/account/sessions/end", "/users", "/users/change", "/users/policy", "/keys", "/keys/revoke",
    "/studies/{study_id}/links", "/studies/{study_id}/links/revoke",
    "/search", "/reports", "/upload", "/peers", "/peers/remove", "/peers/test", "/statements/issue",
    "/statements/{statement_id}/credit", "/statements/{statement_id}/dispute", "/disputes/{dispute_id}/decide",
    "/credit-requests/{request_id}/decide",
    "/payouts/{party_id}/issue", "/payouts/{party_id}/approve",
    "/overview/{contract_id}/limits", "/contracts/edit", "/wallets",
    "/payments/receive", "/payments/{payment_id}/allocate", "/bank/import", "/reconciliations",
    "/books/{month}/begin", "/books/{month}/waive", "/books/{month}/sign", "/books/{month}/close",
    "/books/{month}/reopen",
    "/bank/lines/{bank_line_id}/settle", "/bank/lines/{bank_line_id}/dismiss",
    "/retention/policy", "/retention/hold", "/retention/release",
    "/destinations", "/destinations/remove", "/destinations/test", "/routing/edit", "/routing/activate", "/models",
    "/models/health/pause", "/models/health/resume",
    "/api/v1/studies/search", "/api/v1/usage/events",
    "/dicom-web/studies", "/dicom-web/studies/{study_instance_uid}",  # a key decides, see test_stow.py
    "/dicom-web/workitems", "/dicom-web/workitems/{workitem_uid}",
}  # fmt: skip


def routes() -> list[tuple[str, set[str]]]:
    """(path, methods) of every route."""
    return [
        (route.path, route.methods)
        for module in ROUTES
        for route in module.router.routes
        if isinstance(route, APIRoute)
    ]


def get_routes() -> list[str]:
    return sorted(path for path, methods in routes() if "GET" in methods and path not in OPEN)


def test_every_route_is_either_covered_here_or_open_on_purpose() -> None:
    paths = {path for path, _ in routes()}
    posts = {path for path, methods in routes() if "POST" in methods}
    assert paths > OPEN
    assert posts - OPEN == POSTS
    assert len(get_routes()) >= 20


def test_no_tenant_sees_another_by_any_route_or_id(site: Site) -> None:
    site.add_tenant("gamma")
    owned = {tenant: fill(site, tenant) for tenant in TENANTS}
    for reader in TENANTS:
        people = site.signed_in(reader, Role.ADMIN)
        with site.database.transaction(reader) as conn:
            key = create_api_key(conn, reader, "property test")
        program = TestClient(people.app, headers={"Authorization": f"Bearer {key}"}, follow_redirects=False)
        for path in get_routes():
            for owner in TENANTS:
                for client in (people, program) if path.startswith(("/api/", "/dicom-web/")) else (people,):
                    check(client.get(address(path, owned[owner])), path, owned, reader, owner)
    # The same with the second wall down: each query names the tenant by itself.
    without_row_level_security(site)
    people = site.signed_in("alpha", Role.ADMIN)
    for path in get_routes():
        for owner in ("alpha", "beta"):
            check(people.get(address(path, owned[owner])), path, owned, "alpha", owner)


def without_row_level_security(site: Site) -> None:
    """In the database of this test, for all roles."""
    tables = site.owner.execute(
        """SELECT format('ALTER TABLE %I.%I DISABLE ROW LEVEL SECURITY', n.nspname, c.relname) AS statement
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relrowsecurity"""
    ).fetchall()
    assert len(tables) > 50
    for row in tables:
        site.owner.execute(row["statement"])
    with site.database.transaction("alpha") as conn:
        seen = {row["tenant"] for row in conn.execute("SELECT tenant FROM study")}
    assert seen >= {"alpha", "beta"}, "the wall still stands"


def check(answer, path: str, owned: dict[str, Owned], reader: str, owner: str) -> None:
    about_one = ("{" in path and path != "/books/{month}") or path in ("/peers/edit", "/destinations/edit")
    if reader == owner or not about_one:
        expected = {200} if path != "/statements/draft" else {200, 303, 404}
    else:
        expected = {404}
    assert answer.status_code in expected, (path, reader, owner, answer.status_code)
    for tenant in owned.keys() - {reader}:
        other = owned[tenant]
        for secret in (other.mark, other.study_id, other.ae_title, f"-{tenant.upper()}-"):
            if secret == other.study_id and owner == tenant:
                continue  # an error page may not repeat it either, but the test put it into the address
            assert secret.encode() not in answer.content, (path, reader, tenant)


@pytest.mark.parametrize("walls", [2, 1], ids=["", "without row-level security"])
def test_no_tenant_changes_anything_of_another(site: Site, walls: int) -> None:
    mine, other = fill(site, "alpha"), fill(site, "beta")
    if walls == 1:
        without_row_level_security(site)
    before = rows_of(site, "beta")
    client = site.signed_in("alpha", Role.ADMIN)
    issue = client.post(
        "/statements/issue",
        data={"contract_id": other.contract_id, "starts_on": "2026-10-01", "close_early": "true"},
    )
    assert issue.status_code == 404
    change = client.post(
        "/peers",
        data={
            "original": other.ae_title,
            "ae_title": other.ae_title,
            "host": "evil",
            "port": "1",
            "quiet_time_s": "1",
        },
    )
    assert change.status_code == 404
    to_other = client.post(
        "/peers",
        data={
            "ae_title": "NEW", "host": "h", "port": "1", "quiet_time_s": "1",
            "result_destination": other.ae_title,
        },
    )  # fmt: skip
    assert to_other.status_code == 422
    found = client.post("/api/v1/studies/search", json={"text": "MARK"}).json()["studies"]
    assert [study["id"] for study in found] == [mine.study_id]
    for path in sorted(CHANGES_OF_ONE):
        values = VALUES | {"statement_id": str(other.statement_id)} | VALUES_OF.get(path, {})
        assert client.post(address(path, other), data=values).status_code == 404, path
    assert rows_of(site, "beta") == before


# The POST routes that change one thing of a tenant; months are everybody's own, and DICOMweb asks for a key.
CHANGES_OF_ONE = {path for path in POSTS if "{" in path and not path.startswith(("/books/", "/dicom-web/"))}
VALUES = {
    "wanted": "process", "verdict": "accept", "reason": "x", "line": "1", "payout_id": "1", "link": "x",
    "amount": "1.00", "limit_id": "month", "payer_id": "demo-hospital", "seller_id": "radmeter-imaging",
    "currency": "CNY", "month": "2026-10", "say": "accept", "product": "lung_nodule_ct", "seen": "0", "days": "1",
    "revision": "1",
}  # fmt: skip
VALUES_OF = {"/credit-requests/{request_id}/decide": {"verdict": "approve"}}


def rows_of(site: Site, tenant: str) -> dict[str, list[str]]:
    """Table → all that it has of the tenant."""
    tables = site.owner.execute(
        """SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.columns
           JOIN pg_tables ON tablename = table_name AND schemaname = table_schema
           WHERE column_name = 'tenant' AND table_schema IN ('public', 'billing')"""
    ).fetchall()
    found = {
        table["name"]: site.owner.execute(
            f"SELECT t::text AS said FROM {table['name']} t WHERE tenant = %s ORDER BY 1", (tenant,)
        ).fetchall()
        for table in tables
    }
    assert sum(bool(rows) for rows in found.values()) > 20
    return {name: [row["said"] for row in rows] for name, rows in found.items()}


def test_row_level_security_stands_behind_the_queries(site: Site) -> None:
    """Without any WHERE on the tenant, the role of the portal still sees one tenant alone."""
    fill(site, "alpha")
    fill(site, "beta")
    for table in (
        "study",
        "portal_user",
        "api_key",
        "result_object",
        "destination",
        "delivery",
        "route_rule_set",
        "verdict",
        "study_facts",
        "model_health_day",
        "workitem",
        "billing.usage_event",
        "billing.statement",
    ):
        with site.database.transaction("alpha") as conn:
            rows = conn.execute("SELECT tenant FROM " + table).fetchall()
        assert {row["tenant"] for row in rows} <= {"alpha"}, table


def test_each_role_reaches_its_pages_and_no_others(site: Site) -> None:
    assert set(get_routes()) == set(ROLES_OF)
    own = fill(site, "alpha")
    party_of = {Role.HOSPITAL: "demo-hospital", Role.VENDOR: payee_of("alpha")}
    for role in Role:
        client = site.signed_in("alpha", role, party_of.get(role))
        for path, roles in ROLES_OF.items():
            code = client.get(address(path, own)).status_code
            assert (code != 403) == (role.value in roles), (role, path, code)


@pytest.mark.parametrize("role", [Role.RADIOLOGIST, Role.OPERATOR, Role.FINANCE])
def test_only_admins_change_peers(site: Site, role: Role) -> None:
    client = site.signed_in("alpha", role)
    values = {"ae_title": "NEW", "host": "h", "port": "104", "quiet_time_s": "10"}
    assert client.post("/peers", data=values).status_code == 403


def test_money_pages_hold_no_patient_data(site: Site) -> None:
    own = fill(site, "alpha")
    client = site.signed_in("alpha", Role.FINANCE)
    for path in ("/usage", "/usage.csv", "/statements", f"/statements/{own.statement_id}", "/api/v1/usage"):
        text = client.get(path).text
        assert own.mark not in text
        assert "/studies/" not in text
