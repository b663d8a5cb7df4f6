"""A month is closed on screen by two people, and reopened by two; a hospital's own count is compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from billing.statements import statement
from portal.context import Role
from tests.portal.portal_site import Site
from tests.portal.seeds import add_contract, add_usage

LAST_MONTH = (datetime.now(UTC).replace(day=1) - timedelta(days=10)).replace(hour=12)
MONTH = f"{LAST_MONTH:%Y-%m}"
TOKEN = "ab" * 32


@pytest.fixture
def billed(site: Site) -> Site:
    contract_id = add_contract(site, "alpha")
    add_usage(site, "alpha", site.add_study("alpha"), occurred_at=LAST_MONTH, request=TOKEN)
    with site.database.transaction("alpha") as conn:
        for period in statement.unissued_periods(conn, "alpha", contract_id, datetime.now(UTC)):
            statement.issue(conn, "alpha", contract_id, period, nil=True)
    return site


class TestClosing:
    def test_two_people_close_a_month_and_two_reopen_it(self, billed: Site) -> None:
        finance, approver = billed.signed_in("alpha", Role.FINANCE), billed.signed_in("alpha", Role.APPROVER)
        path = f"/books/{MONTH}"
        assert "Begin closing" in finance.get(path).text
        assert finance.post(f"{path}/begin").status_code == 303
        for client in (finance, approver):
            self._waive_what_is_open(billed, client, path)
        assert finance.post(f"{path}/sign").status_code == 303
        early = finance.post(f"{path}/close")
        assert (early.status_code, "two people sign" in early.text) == (409, True)
        assert approver.post(f"{path}/sign").status_code == 303
        assert finance.post(f"{path}/close").status_code == 303
        assert "Ask to reopen" in finance.get(path).text
        assert (
            finance.post(f"{path}/reopen", data={"step": "ask", "reason": "a late note"}).status_code == 303
        )
        assert finance.post(f"{path}/reopen", data={"step": "approve"}).status_code == 409
        assert approver.post(f"{path}/reopen", data={"step": "approve"}).status_code == 303
        page = finance.get(path).text
        assert "a late note" in page
        assert "Begin closing" in page

    def _waive_what_is_open(self, site: Site, client, path: str) -> None:
        page = client.get(path).text
        names = [part.split('"')[0] for part in page.split('name="item" value="')[1:]]
        for name in names:
            values = {"item": name, "reason": "known"}
            assert client.post(f"{path}/waive", data=values).status_code == 303

    def test_the_running_month_cannot_be_closed(self, billed: Site) -> None:
        finance = billed.signed_in("alpha", Role.FINANCE)
        path = f"/books/{datetime.now(UTC):%Y-%m}"
        assert "The month is not over yet." in finance.get(path).text
        assert finance.post(f"{path}/begin").status_code == 409

    def test_an_auditor_sees_the_books_and_touches_nothing(self, billed: Site) -> None:
        auditor = billed.signed_in("alpha", Role.AUDITOR)
        page = auditor.get("/books").text
        assert "receivable:demo-hospital" in page
        assert "106.00" in page
        assert "<form" not in auditor.get(f"/books/{MONTH}").text.split("<main")[1]
        for step in ("begin", "sign", "close"):
            assert auditor.post(f"/books/{MONTH}/{step}").status_code == 403

    @pytest.mark.parametrize("name", ["2026-13", "0000-01", "abcd-01", "2026-1"])
    def test_what_is_no_month_is_not_there(self, billed: Site, name: str) -> None:
        assert billed.signed_in("alpha", Role.FINANCE).get(f"/books/{name}").status_code in (404, 422)


class TestReconciliation:
    def send(self, site: Site, content: bytes, style: str = "csv"):
        day = f"{LAST_MONTH:%Y-%m-%d}"
        return site.signed_in("alpha", Role.FINANCE).post(
            "/reconciliations",
            data={"style": style, "since": day, "until": day},
            files={"file": ("list.csv", content)},
        )

    def test_what_both_count_matches_and_what_only_they_count_is_shown(self, billed: Site) -> None:
        day = f"{LAST_MONTH:%Y-%m-%d}"
        content = f"token,code,day\n{TOKEN},lung_nodule_ct,{day}\n{'cd' * 32},lung_nodule_ct,{day}\n"
        made = self.send(billed, content.encode())
        assert made.status_code == 303
        page = billed.signed_in("alpha", Role.AUDITOR).get(made.headers["location"]).text
        assert "done by their count, not billed" in page
        assert "cdcdcdcdcdcdcdcd" in page
        assert "billed, not in their list" not in page

    @pytest.mark.parametrize(("style", "content"), [("csv", b"a,b\n1,2\n"), ("hl7", b"\x00"), ("fhir", b"{")])
    def test_a_list_that_is_none_is_refused_and_nothing_is_stored(
        self, billed: Site, style: str, content: bytes
    ) -> None:
        refused = self.send(billed, content, style)
        assert (refused.status_code, 'role="alert"' in refused.text) == (409, True)
        row = billed.owner.execute("SELECT count(*) AS made FROM billing.reconciliation").fetchone()
        assert row == {"made": 0}
