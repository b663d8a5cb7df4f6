"""A site with something on every page of the portal, and the addresses of all its pages."""

from __future__ import annotations

import re

from pipeline import rule_store
from tests.portal.books_seeds import LAST_MONTH, a_month_of_money
from tests.portal.health_seeds import watch_model
from tests.portal.money_seeds import busy_month, refused_call
from tests.portal.owned import compare
from tests.portal.portal_site import Site
from tests.portal.route_roles import ROLES_OF
from tests.portal.seeds import busy_day

RULES = "rules:\n  - {name: thin slices, series: SliceThickness <= 1, models: [lung_nodule_ct]}\n"

# Pages of a review need one that is under way; their own test looks at them.
LOOKED_AT_BY = {
    "/studies/{study_id}/verdicts/{token}/edit": "test_verdict_browser.py",
    "/studies/{study_id}/missed": "test_verdict_browser.py",
}


def every_page(site: Site) -> dict[str, str]:
    """Fill the tenant alpha; by its name the address of each page, as an administrator opens them."""
    statement_id = a_month_of_money(site)
    study_id = busy_day(site, "alpha", has_contract=True)
    limited_id = busy_month(site, "alpha")
    refused_call(site, "alpha", limited_id)
    watch_model(site)
    site.owner.execute(
        """INSERT INTO peer (tenant, ae_title, host, port) VALUES ('alpha', 'CT01', '10.0.0.5', 104)"""
    )
    site.owner.execute(
        """INSERT INTO destination (tenant, name, kind, ae_title, host, port)
           VALUES ('alpha', 'main archive', 'dimse', 'ARCHIVE', '10.0.0.6', 104)"""
    )
    with site.database.transaction("alpha") as conn:
        version = rule_store.add_rule_set(conn, "alpha", RULES, author="anna", note="first")
        reconciliation_id = compare(conn, "alpha", "month").reconciliation_id
    refused, waiting = (_study_of(site, status) for status in ("rejected", "receiving"))
    sequence = _one(
        site,
        "SELECT min(ingest_sequence) FROM billing.usage_event WHERE event_id LIKE '%:result_delivered:%'",
    )
    payout = _one(site, "SELECT payout_statement_id FROM billing.payout_statement")
    return {
        "work-list": "/",
        "work-list-problems": "/?view=problems",
        "study": f"/studies/{study_id}",
        "study-not-analysed": f"/studies/{refused}",
        "study-in-progress": f"/studies/{waiting}",
        "study-links": f"/studies/{study_id}/links",
        "reports": "/reports",
        "report-alone": f"/reports/{study_id}",
        "upload": "/upload",
        "usage": "/usage",
        "case": f"/usage/{sequence}",
        "line": f"/statements/{statement_id}/lines/1",
        "payments": "/payments",
        "overview": f"/overview?contract_id={limited_id}",
        "contracts": "/contracts",
        "contract": f"/contracts/edit?contract_id={limited_id}",
        "wallets": "/wallets",
        "wallet": f"/wallets/{limited_id}/three-screenings/token-1",
        "books": "/books",
        "books-month": f"/books/{LAST_MONTH:%Y-%m}",
        "reconciliation": f"/reconciliations/{reconciliation_id}",
        "payouts": "/payouts",
        "payee": "/payouts/model-maker",
        "payout": f"/payouts/statements/{payout}",
        "statements": "/statements",
        "draft": f"/statements/draft?contract_id={limited_id}&starts_on={LAST_MONTH:%Y-%m}-01",
        "statement": f"/statements/{statement_id}",
        "statement-account": f"/statements/{statement_id}/account",
        "audit": "/audit",
        "peers": "/peers",
        "peer": "/peers/edit?ae_title=CT01",
        "destinations": "/destinations",
        "retention": "/retention",
        "destination": "/destinations/edit?name=main+archive",
        "routing": "/routing",
        "routing-edit": "/routing/edit",
        "routing-activate": f"/routing/activate?version={version}",
        "model-health": "/models/health",
        "models": "/models",
        "account": "/account",
        "account-password": "/account/password",
        "account-second-factor": "/account/second-factor",
        "users": "/users",
        "keys": "/keys",
        "api": "/api/docs",
    }


def pages_without_an_address(addresses: dict[str, str]) -> list[str]:
    """Routes of pages, with roles of their own, that no address belongs to; files and the API aside."""
    paths = {address.partition("?")[0] for address in addresses.values()}
    routes = [
        route
        for route in ROLES_OF.keys() - LOOKED_AT_BY.keys()
        if not re.search(r"\.\w+$|^/api/|^/dicom-web|^/ohif|/images/", route)
    ]
    return [
        route
        for route in routes
        if not any(re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", route), path) for path in paths)
    ]


def _study_of(site: Site, status: str) -> str:
    return str(_one(site, f"SELECT id FROM study WHERE status = '{status}' ORDER BY created_at LIMIT 1"))


def _one(site: Site, query: str) -> object:
    row = site.owner.execute(query).fetchone()
    assert row is not None
    return next(iter(row.values()))
