"""An accountant follows the money on screen; who comes from outside sees the own party's papers and no others."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from billing.statements import statement
from portal.context import Role
from tests.portal.portal_site import Site
from tests.portal.seeds import PRODUCT, add_contract, add_result, add_usage

HOSPITAL, DEVELOPER = "demo-hospital", "model-maker"


@pytest.fixture
def issued(site: Site) -> tuple[int, str]:
    """(statement, study): one delivered case at 100.00, 70 % of it the developer's."""
    study = site.add_study("alpha", header={"patient_name": "CANARY^MARY", "patient_id": "CANARY"})
    add_contract(site, "alpha", (DEVELOPER, "Model Maker"))
    add_usage(site, "alpha", study)
    add_result(site, "alpha", study, [])
    with site.database.transaction("alpha") as conn:
        made = statement.issue(conn, "alpha", 1, datetime.now(UTC), close_early=True)
    assert made.statement_id is not None
    return made.statement_id, study


class TestTrail:
    def test_a_statement_opens_to_its_line_the_line_to_its_case_and_the_case_to_its_acknowledgement(
        self, site: Site, issued: tuple[int, str]
    ) -> None:
        statement_id, study = issued
        client = site.signed_in("alpha", Role.FINANCE)
        line = f"/statements/{statement_id}/lines/1"
        assert line in client.get(f"/statements/{statement_id}").text
        page = client.get(line).text
        for said in ("CNY 100.00", "Model Maker", "70.00", "30.00", study[:8]):
            assert said in page
        case = page.split('href="/usage/')[1].split('"')[0]
        proof = client.get(f"/usage/{case}").text
        for said in (f'href="{line}"', "Acknowledged", PRODUCT, "SR", "delivered and acknowledged"):
            assert said.lower() in proof.lower()
        assert "CANARY" not in page + proof

    def test_no_line_and_no_event_beyond_the_last(self, site: Site, issued: tuple[int, str]) -> None:
        client = site.signed_in("alpha", Role.AUDITOR)
        for path in (f"/statements/{issued[0]}/lines/2", "/usage/999999", f"/statements/{issued[0]}/lines/0"):
            assert client.get(path).status_code in (404, 422), path

    def test_an_auditor_reads_and_changes_nothing(self, site: Site, issued: tuple[int, str]) -> None:
        client = site.signed_in("alpha", Role.AUDITOR)
        assert client.get(f"/statements/{issued[0]}").status_code == 200
        values = {"contract_id": 1, "starts_on": "2026-01-01"}
        assert client.post("/statements/issue", data=values).status_code == 403


class TestOutsiders:
    def test_a_hospital_sees_its_own_statements_and_nobody_elses(
        self, site: Site, issued: tuple[int, str]
    ) -> None:
        own = site.signed_in("alpha", Role.HOSPITAL, HOSPITAL)
        assert own.get("/").headers.get("location", "/statements") == "/statements"
        assert f"/statements/{issued[0]}" in own.get("/statements").text
        assert "Model Maker" not in own.get(f"/statements/{issued[0]}").text
        assert own.get(f"/statements/{issued[0]}/lines/1").status_code == 403
        assert own.get("/payouts").status_code == 403
        other = site.signed_in("alpha", Role.HOSPITAL, "radmeter-imaging")
        listed = other.get("/statements").text
        assert f"/statements/{issued[0]}" not in listed
        assert "per-case-2026" not in listed
        for path in ("", ".pdf", ".csv", "/cases.csv"):
            assert other.get(f"/statements/{issued[0]}{path}").status_code == 404

    def test_a_vendor_sees_what_it_earned_and_nothing_of_others(
        self, site: Site, issued: tuple[int, str]
    ) -> None:
        vendor = site.signed_in("alpha", Role.VENDOR, DEVELOPER)
        page = vendor.get("/payouts").text
        assert "70.00" in page
        assert "Model Maker" in page
        assert "30.00" not in page
        assert vendor.get("/payouts/radmeter-imaging").status_code == 404
        assert vendor.get(f"/statements/{issued[0]}").status_code == 403

    @pytest.mark.parametrize("role", [Role.HOSPITAL, Role.VENDOR])
    def test_who_comes_from_outside_needs_a_party_that_a_contract_names(self, site: Site, role: Role) -> None:
        from portal.errors import PartyNeeded, PartyUnknown

        with pytest.raises(PartyNeeded):
            site.add_user("alpha", "somebody", role)
        with pytest.raises(PartyUnknown):
            site.add_user("alpha", "somebody", role, "nobody")
