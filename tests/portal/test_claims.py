"""What becomes of a statement after it was issued, by forms that work without JavaScript."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from billing.claims import credit_requests
from portal.context import Role
from tests.portal.portal_site import Site
from tests.portal.test_trail import HOSPITAL, issued

__all__ = ["issued"]  # a fixture

NOW = datetime.now(UTC)


def account(issued: tuple[int, str]) -> str:
    return f"/statements/{issued[0]}/account"


class TestCredits:
    def test_a_part_of_a_line_is_credited_and_the_rest_stays_open(
        self, site: Site, issued: tuple[int, str]
    ) -> None:
        finance = site.signed_in("alpha", Role.FINANCE)
        values = {"line": "1", "amount": "40.00", "reason": "two slices missing"}
        done = finance.post(f"/statements/{issued[0]}/credit", data=values)
        assert (done.status_code, done.headers["location"]) == (303, account(issued))
        page = finance.get(account(issued)).text
        for said in ("CN-", "two slices missing", "42.40", "63.60"):  # with 6 % tax, of 106.00
            assert said in page

    def test_more_than_the_line_is_refused_with_its_reason_and_nothing_typed_is_lost(
        self, site: Site, issued: tuple[int, str]
    ) -> None:
        finance = site.signed_in("alpha", Role.FINANCE)
        values = {"line": "1", "amount": "100.01", "reason": "a long story about why"}
        refused = finance.post(f"/statements/{issued[0]}/credit", data=values)
        assert refused.status_code == 409
        for said in ('role="alert"', "100.01", "a long story about why", "can still be credited"):
            assert said in refused.text
        assert "CN-" not in finance.get(account(issued)).text

    @pytest.mark.parametrize("amount", ["1e1", "NaN", "0.001", "1 000", "９"])
    def test_what_is_no_amount_of_the_currency_is_not_valid(
        self, site: Site, issued: tuple[int, str], amount: str
    ) -> None:
        finance = site.signed_in("alpha", Role.FINANCE)
        values = {"line": "1", "amount": amount, "reason": "x"}
        assert finance.post(f"/statements/{issued[0]}/credit", data=values).status_code == 422
        assert "CN-" not in finance.get(account(issued)).text


class TestCreditRequests:
    """Above the contract's limit a credit waits for an approver; who asked for it is never that approver."""

    @pytest.fixture
    def waiting(self, site: Site, issued: tuple[int, str]) -> str:
        with site.database.transaction("alpha") as conn:
            asked = credit_requests.request(
                conn, "alpha", issued[0], [(1, 4000)], reason="asked by phone", by="finance.alpha", now=NOW
            )
        return f"/credit-requests/{asked.request_id}/decide"

    def test_an_approver_issues_it(self, site: Site, issued: tuple[int, str], waiting: str) -> None:
        finance, approver = site.signed_in("alpha", Role.FINANCE), site.signed_in("alpha", Role.APPROVER)
        page = finance.get(account(issued)).text
        assert "asked by phone" in page
        assert "40.00" in page
        assert "Approve and issue" not in page
        assert "Approve and issue" in approver.get(account(issued)).text
        assert finance.post(waiting, data={"verdict": "approve"}).status_code == 403
        assert approver.post(waiting, data={"verdict": "approve"}).status_code == 303
        assert "42.40" in approver.get(account(issued)).text
        assert "was approved by" in approver.post(waiting, data={"verdict": "refuse"}).text

    def test_a_refused_one_credits_nothing(self, site: Site, issued: tuple[int, str], waiting: str) -> None:
        approver = site.signed_in("alpha", Role.APPROVER)
        assert approver.post(waiting, data={"verdict": "refuse"}).status_code == 303
        assert "CN-" not in approver.get(account(issued)).text
        assert approver.post("/credit-requests/99/decide", data={"verdict": "refuse"}).status_code == 404

    def test_a_hospital_does_not_see_what_is_not_decided(
        self, site: Site, issued: tuple[int, str], waiting: str
    ) -> None:
        hospital = site.signed_in("alpha", Role.HOSPITAL, HOSPITAL)
        assert "asked by phone" not in hospital.get(account(issued)).text


class TestDisputes:
    def test_a_hospital_disputes_and_finance_decides(self, site: Site, issued: tuple[int, str]) -> None:
        hospital = site.signed_in("alpha", Role.HOSPITAL, HOSPITAL)
        values = {"line": "1", "amount": "", "reason": "not our patient"}
        assert hospital.post(f"/statements/{issued[0]}/dispute", data=values).status_code == 303
        page = hospital.get(account(issued)).text
        assert "not our patient" in page
        assert "Accept and credit" not in page
        number = site.owner.execute("SELECT dispute_id FROM billing.dispute").fetchone()
        assert number is not None
        decide = f"/disputes/{number['dispute_id']}/decide"
        verdict = {"verdict": "accept", "reason": "agreed"}
        assert hospital.post(decide, data=verdict).status_code == 403
        finance = site.signed_in("alpha", Role.FINANCE)
        assert finance.post(decide, data=verdict).status_code == 303
        page = finance.get(account(issued)).text
        assert "accepted" in page
        assert "CN-" in page
        assert finance.post(decide, data=verdict).status_code == 409

    def test_who_opened_a_dispute_does_not_decide_it(self, site: Site, issued: tuple[int, str]) -> None:
        finance = site.signed_in("alpha", Role.FINANCE)
        values = {"line": "1", "reason": "x"}
        assert finance.post(f"/statements/{issued[0]}/dispute", data=values).status_code == 303
        number = site.owner.execute("SELECT dispute_id FROM billing.dispute").fetchone()
        assert number is not None
        refused = finance.post(
            f"/disputes/{number['dispute_id']}/decide", data={"verdict": "reject", "reason": "mine"}
        )
        assert refused.status_code == 409

    def test_another_hospital_disputes_nothing_of_it(self, site: Site, issued: tuple[int, str]) -> None:
        other = site.signed_in("alpha", Role.HOSPITAL, "radmeter-imaging")
        values = {"line": "1", "reason": "x"}
        assert other.post(f"/statements/{issued[0]}/dispute", data=values).status_code == 404
        assert other.get(account(issued)).status_code == 404
