"""The overview of a contract's month: plots, forecast, limits; who may see and change them."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest

from portal.charts import DayMark, day_plot, percent_of
from portal.context import Role
from tests.portal.money_seeds import busy_month
from tests.portal.portal_site import Site

NOON = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def contract_id(site: Site) -> int:
    return busy_month(site, "alpha")


def test_the_month_with_its_plot_its_table_and_its_forecast(site: Site, contract_id: int) -> None:
    text = site.signed_in("alpha", Role.FINANCE).get("/overview").text
    assert text.count('class="brought"') >= 1
    assert "Expected at the end, before tax" in text
    assert "dashed: expected, from the same weekdays of the last 28 days" in text
    for site_name in ("north", "south", "east"):
        assert f'<th scope="row">{site_name}</th>' in text
    assert "style=" not in text.split("<main", 1)[1]  # the policy allows no inline styles


def test_what_limits_did_stands_there_with_its_sentence(site: Site, contract_id: int) -> None:
    text = site.signed_in("alpha", Role.AUDITOR).get(f"/overview?contract_id={contract_id}").text
    assert "The budget month of contract insured-2026 is reached" in text
    assert "Thresholds reached" in text
    assert "Change the limit" not in text  # an auditor changes nothing


def test_finance_changes_a_limit_and_a_refusal_keeps_what_was_typed(site: Site, contract_id: int) -> None:
    client = site.signed_in("alpha", Role.FINANCE)
    path = f"/overview/{contract_id}/limits"
    refused = client.post(path, data={"limit_id": "month", "amount": "nought", "reason": "flu season"})
    assert refused.status_code == 422
    assert "is not a number" in refused.text
    assert 'value="flu season"' in refused.text
    done = client.post(path, data={"limit_id": "month", "amount": "75,000.00", "reason": "flu season"})
    assert done.status_code == 303
    assert "75,000.00 CNY" in client.get(done.headers["location"]).text


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.APPROVER, Role.RADIOLOGIST])
def test_nobody_else_changes_one(site: Site, contract_id: int, role: Role) -> None:
    answer = site.signed_in("alpha", role).post(
        f"/overview/{contract_id}/limits", data={"limit_id": "month", "amount": "1", "reason": "x"}
    )
    assert answer.status_code == 403


def test_a_hospital_sees_its_own_contract_and_no_other(site: Site, contract_id: int) -> None:
    own = site.signed_in("alpha", Role.HOSPITAL, "insurer")
    assert "insured-2026" in own.get("/overview").text
    stranger = site.signed_in("alpha", Role.HOSPITAL, "radmeter-imaging")
    assert "insured-2026" not in stranger.get("/overview").text
    assert stranger.get(f"/overview?contract_id={contract_id}").status_code == 404
    assert site.signed_in("beta", Role.FINANCE).get(f"/overview?contract_id={contract_id}").status_code == 404
    assert site.signed_in("alpha", Role.VENDOR, "insurer").get("/overview").status_code == 403


class TestGeometry:
    def test_a_bar_is_as_high_as_its_day_is_and_never_leaves_the_plot(self) -> None:
        marks = [DayMark(NOON.date().replace(day=day), Fraction(day)) for day in (1, 2, 4)]
        plot = day_plot(marks)
        heights = [float(one.height) for one in plot.bars]
        assert heights == [45.0, 90.0, 180.0]
        assert all(float(one.y) >= 0 and float(one.y) + float(one.height) <= plot.height for one in plot.bars)

    def test_what_is_expected_is_an_outline_with_its_range(self) -> None:
        day = NOON.date()
        plot = day_plot([DayMark(day, Fraction(1), Fraction(2), Fraction(3), Fraction(4))])
        assert [one.kind for one in plot.bars] == ["expected", "brought"]
        assert [one.kind for one in plot.lines if one.kind == "range"] == ["range"]

    @pytest.mark.parametrize(
        ("part", "whole", "shown"), [(1, 3, "33.3"), (5, 3, "100.0"), (1, 0, "0.0"), (-1, 3, "0.0")]
    )
    def test_a_length_stays_between_nothing_and_all(self, part: int, whole: int, shown: str) -> None:
        assert percent_of(Fraction(part), Fraction(whole)) == shown
