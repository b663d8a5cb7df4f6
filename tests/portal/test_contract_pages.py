"""Contracts in the editor: errors by line, what a text would change, the test clock; prepaid packages beside them."""

from __future__ import annotations

import re

import pytest

from portal.context import Role
from tests.billing.limits_builders import MEMBERSHIP
from tests.portal.money_seeds import LIMITED, busy_month
from tests.portal.portal_site import Site


def edit(site: Site, role: Role = Role.FINANCE, **form: object):
    return site.signed_in("alpha", role).post("/contracts/edit", data=form)


def stored_rows(site: Site) -> dict[str, int]:
    tables = ("usage_event", "statement", "journal_entry", "contract_version", "wallet_lot")
    counts = (site.owner.execute(f"SELECT count(*) AS n FROM billing.{one}").fetchone() for one in tables)
    return {one: row["n"] for one, row in zip(tables, counts, strict=True) if row}


def test_what_is_wrong_is_told_by_line_and_the_text_is_kept(site: Site) -> None:
    answer = edit(site, action="check", document=MEMBERSHIP.replace("currency: CNY", "currency: YUAN"))
    assert answer.status_code == 422
    assert re.search(r"line 5: `currency` is not an ISO 4217 code", answer.text)
    assert "currency: YUAN" in answer.text
    assert "The contract is well formed." in edit(site, action="check", document=MEMBERSHIP).text


def test_finance_saves_a_version_and_an_auditor_does_not(site: Site) -> None:
    assert edit(site, Role.AUDITOR, action="save", document=MEMBERSHIP).status_code == 403
    assert edit(site, action="save", document=MEMBERSHIP).status_code == 303
    assert "insured-2026" in site.signed_in("alpha", Role.AUDITOR).get("/contracts").text
    assert "insured-2026" not in site.signed_in("beta", Role.AUDITOR).get("/contracts").text


def test_a_new_price_is_shown_on_the_real_usage_of_a_month_and_stores_nothing(site: Site) -> None:
    contract_id = busy_month(site, "alpha")
    row = site.owner.execute(
        """SELECT to_char(max(occurred_at AT TIME ZONE 'Asia/Shanghai'), 'YYYY-MM') AS month FROM billing.usage_event"""
    ).fetchone()
    assert row is not None
    before = stored_rows(site)
    text = LIMITED.replace("unit_price: 500.00", "unit_price: 450.00")
    answer = edit(site, Role.AUDITOR, action="diff", document=text, compared=contract_id, month=row["month"])
    assert answer.status_code == 200, answer.text
    assert "+    price: {model: per_unit, unit_price: 450.00}" in answer.text
    assert re.search(r"<strong>-[0-9,]+\.00</strong>", answer.text)
    assert stored_rows(site) == before


@pytest.mark.parametrize("action", ["clock", "forward"])
def test_the_clock_moves_a_contract_forward_and_touches_no_real_data(site: Site, action: str) -> None:
    before = stored_rows(site)
    clock = "2026-04-01" if action == "clock" else "2026-03-01"
    answer = edit(site, action=action, document=MEMBERSHIP, start="2026-01-01", clock=clock, per_day=2)
    assert answer.status_code == 200, answer.text
    assert 'value="2026-04-01"' in answer.text
    # January: one membership of 1,200 and 62 screenings, of which three are prepaid; 59 at 500.
    assert "30,700.00" in answer.text
    assert answer.text.count("2026-03-01 – 2026-03-31") == 1
    assert "three-screenings · member-1: 0 / 3" in answer.text
    assert stored_rows(site) == before


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"action": "clock", "clock": "soon"}, "clock: give a date"),
        ({"action": "clock", "clock": "2030-01-01", "per_day": 50}, "take fewer a day or a shorter time"),
        ({"action": "diff", "month": "2026-11"}, "choose a stored contract"),
    ],
)
def test_what_cannot_be_tried_is_refused_with_what_to_do(
    site: Site, form: dict[str, object], message: str
) -> None:
    answer = edit(site, document=MEMBERSHIP, **form)
    assert answer.status_code == 422
    assert message in answer.text


class TestWallets:
    def test_balances_open_to_their_lots_and_uses(self, site: Site) -> None:
        contract_id = busy_month(site, "alpha")
        client = site.signed_in("alpha", Role.AUDITOR)
        listed = client.get("/wallets").text
        assert f"/wallets/{contract_id}/three-screenings/token-1" in listed
        assert "Sell a package" not in listed
        shown = client.get(f"/wallets/{contract_id}/three-screenings/token-1").text
        assert shown.count("<td>used</td>") == 3
        assert client.get(f"/wallets/{contract_id}/three-screenings/nobody").status_code == 404
        stranger = site.signed_in("beta", Role.AUDITOR)
        assert stranger.get(f"/wallets/{contract_id}/three-screenings/token-1").status_code == 404
        assert site.signed_in("alpha", Role.HOSPITAL, "insurer").get("/wallets").status_code == 403

    def test_finance_sells_a_package_once_for_each_reference(self, site: Site) -> None:
        contract_id = busy_month(site, "alpha")
        client = site.signed_in("alpha", Role.FINANCE)
        form = {"package": f"{contract_id}/three-screenings", "reference": "P-7", "member": "token-7"}
        assert "Sell a package" in client.get("/wallets").text
        assert [client.post("/wallets", data=form).status_code for _ in range(2)] == [303, 303]
        assert client.post("/wallets", data={**form, "quantity": "2"}).status_code == 422
        shown = client.get(f"/wallets/{contract_id}/three-screenings/token-7").text
        assert shown.count("not on a statement yet") == 1
        refused = client.post("/wallets", data={**form, "reference": "P-8", "member": ""})
        assert refused.status_code == 422
        assert "name a member where members have balances" in refused.text
