"""Money in: recorded by hand or read from our bank's file, allocated, never twice."""

from __future__ import annotations

import pytest

from portal.context import Role
from tests.portal.portal_site import Site
from tests.portal.test_trail import HOSPITAL, issued

__all__ = ["issued"]  # a fixture
FORM = {"form": "csv", "account": "OURS", "currency": "CNY"}
PAID = {
    "payer_id": HOSPITAL, "amount": "106.00", "currency": "CNY", "external_id": "T-1", "received_on": "2026-11-20",
}  # fmt: skip


@pytest.fixture
def number(site: Site, issued: tuple[int, str]) -> str:
    row = site.owner.execute("SELECT number FROM billing.statement").fetchone()
    assert row is not None
    return str(row["number"])


def bank_file(number: str, amount: str = "106.00") -> bytes:
    text = f"date,amount,name,account,reference\n2026-11-20,{amount},Demo Hospital,ACC1,payment {number}\n"
    return text.encode()


class TestByHand:
    def test_a_payment_is_recorded_once_and_pays_its_statement(
        self, site: Site, issued: tuple[int, str], number: str
    ) -> None:
        finance = site.signed_in("alpha", Role.FINANCE)
        for _ in range(2):
            assert finance.post("/payments/receive", data=PAID).status_code == 303
        page = finance.get("/payments").text
        assert page.count("pays nothing yet") == 1
        row = site.owner.execute("SELECT payment_id FROM billing.payment").fetchone()
        assert row is not None
        path = f"/payments/{row['payment_id']}/allocate"
        assert finance.post(path, data={"statement_id": issued[0], "amount": ""}).status_code == 303
        assert "Everything is paid." in finance.get("/payments").text
        assert "paid" in finance.get(f"/statements/{issued[0]}/account").text
        again = finance.post(path, data={"statement_id": issued[0], "amount": "1.00"})
        assert again.status_code == 409
        assert 'role="alert"' in again.text

    def test_the_same_reference_with_another_amount_is_refused(self, site: Site, number: str) -> None:
        finance = site.signed_in("alpha", Role.FINANCE)
        finance.post("/payments/receive", data=PAID)
        assert finance.post("/payments/receive", data={**PAID, "amount": "107.00"}).status_code == 409

    def test_who_only_looks_changes_nothing(self, site: Site, number: str) -> None:
        for role in (Role.AUDITOR, Role.APPROVER):
            client = site.signed_in("alpha", role)
            assert "Record payment" not in client.get("/payments").text
            assert client.post("/payments/receive", data=PAID).status_code == 403


class TestBankFile:
    def test_what_names_its_statement_is_settled_and_the_same_file_again_changes_nothing(
        self, site: Site, number: str
    ) -> None:
        finance = site.signed_in("alpha", Role.FINANCE)
        for expected in ("new=1&settled=1", "new=0&settled=0"):
            files = {"file": ("bank.csv", bank_file(number))}
            done = finance.post("/bank/import", data=FORM, files=files)
            assert (done.status_code, expected in done.headers.get("location", "")) == (303, True), done.text
        assert "Everything is paid." in finance.get("/payments").text

    def test_what_could_mean_several_things_waits_for_a_person(self, site: Site, number: str) -> None:
        finance = site.signed_in("alpha", Role.FINANCE)
        files = {"file": ("bank.csv", bank_file("thanks", "50.00"))}
        finance.post("/bank/import", data=FORM, files=files)
        row = site.owner.execute("SELECT bank_line_id FROM billing.bank_line").fetchone()
        assert row is not None
        assert "payment thanks" in finance.get("/payments").text
        path = f"/bank/lines/{row['bank_line_id']}"
        assert finance.post(f"{path}/settle", data={"payer_id": HOSPITAL}).status_code == 303
        assert "Every bank line is settled." in finance.get("/payments").text
        assert finance.post(f"{path}/dismiss", data={"reason": "rent"}).status_code == 409

    def test_a_file_that_is_none_is_refused_whole(self, site: Site, number: str) -> None:
        finance = site.signed_in("alpha", Role.FINANCE)
        for form, data in (("camt.053", b"<a/>"), ("mt940", b"\x00\xff"), ("csv", b"nothing")):
            refused = finance.post(
                "/bank/import", data={**FORM, "form": form}, files={"file": ("bank", data)}
            )
            assert refused.status_code == 409, form
        assert site.owner.execute("SELECT count(*) AS lines FROM billing.bank_line").fetchone() == {
            "lines": 0
        }
