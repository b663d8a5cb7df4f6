"""One report by a link: opened by a button, counted, ended, recorded; nothing else of the hospital shows."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from portal.context import Role
from tests.portal.owned import Owned, fill
from tests.portal.portal_site import Site


@pytest.fixture
def own(site: Site) -> Owned:
    return fill(site, "alpha")


def make(client: TestClient, own: Owned, **form: str) -> tuple[str, str]:
    """(path of the link, PIN)."""
    answer = client.post(
        f"/studies/{own.study_id}/links", data={"label": "Dr Li", "days": "7", "views": "2", **form}
    )
    assert answer.status_code == 200, answer.text
    shown = re.findall(r'<code class="key">([^<]+)</code>', answer.text)
    return re.sub(r"^https?://[^/]+", "", shown[0]), shown[1] if len(shown) > 1 else ""


def actions(site: Site) -> list[str]:
    return [row["action"] for row in site.owner.execute("SELECT action FROM audit_event ORDER BY sequence")]


def test_a_link_shows_its_report_and_nothing_else(site: Site, own: Owned) -> None:
    sharer = site.signed_in("alpha", Role.RADIOLOGIST)
    path, pin = make(sharer, own)
    assert pin == ""
    stranger = site.client()
    asked = stranger.get(path)
    assert asked.status_code == 200
    assert asked.headers["x-robots-tag"].startswith("noindex")
    assert own.mark not in asked.text, "nothing of the patient before it is opened"
    for inner in ("/report", "/report.pdf", f"/images/{own.image}"):
        assert stranger.get(path + inner).status_code == 404, "not opened yet"
    before = len(actions(site))
    opened = stranger.post(path)
    assert (opened.status_code, opened.headers["location"]) == (303, f"{path}/report")
    cookie = opened.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", f"path={path}".lower()))
    report = stranger.get(f"{path}/report")
    assert own.mark in report.text
    assert "<nav" not in report.text.split("report_body")[0].split("<article")[0]
    assert "/sign-out" not in report.text
    assert stranger.get(f"{path}/images/{own.image}").headers["content-type"] == "image/png"
    assert stranger.get(f"{path}/report.pdf").content.startswith(b"%PDF")
    assert report.headers["cache-control"] == "no-store"
    assert actions(site)[before:] == ["study_viewed", "report_exported"]
    for elsewhere in ("/", f"/studies/{own.study_id}", f"/reports/{own.study_id}", "/api/v1/studies"):
        assert stranger.get(elsewhere).status_code in (303, 401), elsewhere
    stored = site.owner.execute("SELECT * FROM report_link").fetchone()
    assert path.rsplit("/", 1)[1] not in repr(stored)
    details = str(site.owner.execute("SELECT detail FROM audit_event").fetchall())
    assert path.rsplit("/", 1)[1] not in details
    assert own.mark not in details


def test_views_are_counted_when_it_is_opened_and_not_when_it_is_fetched(site: Site, own: Owned) -> None:
    path, _ = make(site.signed_in("alpha", Role.RADIOLOGIST), own)
    for _ in range(5):
        assert site.client().get(path).status_code == 200
    readers = [site.client() for _ in range(3)]
    assert [reader.post(path).status_code for reader in readers] == [303, 303, 404]
    assert readers[0].get(f"{path}/report").status_code == 200, "who opened it reads on"
    assert readers[2].get(f"{path}/report").status_code == 404


def test_it_ends_by_time_by_hand_and_when_the_report_is_no_longer_the_finished_one(
    site: Site, own: Owned
) -> None:
    sharer = site.signed_in("alpha", Role.RADIOLOGIST)
    path, _ = make(sharer, own)
    reader = site.client()
    reader.post(path)
    site.owner.execute("UPDATE study SET status = 'inferred'")
    assert reader.get(f"{path}/report").status_code == 404
    site.owner.execute("UPDATE study SET status = 'delivered'")
    assert reader.get(f"{path}/report").status_code == 200
    site.owner.execute("UPDATE report_link_opening SET expires_at = now()")
    assert reader.get(f"{path}/report").status_code == 404
    reader.post(path)
    link = re.search(r'name="link" value="([^"]+)"', sharer.get(f"/studies/{own.study_id}/links").text)
    assert link
    other = site.signed_in("beta", Role.ADMIN)
    revoke = f"/studies/{own.study_id}/links/revoke"
    assert other.post(revoke, data={"link": link[1]}).status_code == 404
    assert sharer.post(revoke, data={"link": link[1]}).status_code == 303
    for address in (path, f"{path}/report", f"{path}/report.pdf"):
        assert reader.get(address).status_code == 404, address
    second, _ = make(sharer, own)
    site.owner.execute("UPDATE report_link SET expires_at = now()")
    assert site.client().post(second).status_code == 404


def test_a_pin_is_asked_for_and_guessing_ends_the_link_wherever_it_comes_from(site: Site, own: Owned) -> None:
    sharer = site.signed_in("alpha", Role.RADIOLOGIST)
    path, pin = make(sharer, own, pin="true", views="5")
    assert re.fullmatch(r"\d{6}", pin)
    reader = site.client()
    assert 'name="pin"' in reader.get(path).text
    wrong = "000000" if pin != "000000" else "111111"
    assert reader.post(path, data={"pin": wrong}).status_code == 403
    assert reader.post(path, data={"pin": f" {pin} "}).status_code == 303
    assert "link_refused" in actions(site)
    for number in range(9):
        site.client().app.state.shared_limit.succeeded("testclient")  # as if from another address each time
        assert site.client().post(path, data={"pin": wrong}).status_code == 403, number
    site.client().app.state.shared_limit.succeeded("testclient")
    assert site.client().post(path, data={"pin": pin}).status_code == 404, "the link is over"


def test_who_guesses_links_waits(site: Site) -> None:
    client = site.client()
    codes = [client.get(f"/shared/{'x' * 42}{number}").status_code for number in range(40)]
    assert codes[:30] == [404] * 30
    assert set(codes[30:]) == {429}


@pytest.mark.parametrize("role", [Role.REFERRER, Role.FINANCE])
def test_who_may_not_share_does_not(site: Site, own: Owned, role: Role) -> None:
    client = site.signed_in("alpha", role)
    assert client.get(f"/studies/{own.study_id}/links").status_code == 403
    assert client.post(f"/studies/{own.study_id}/links", data={"label": "x"}).status_code == 403


@pytest.mark.parametrize(
    "form", [{"days": "0"}, {"days": "91"}, {"views": "0"}, {"views": "1001"}, {"label": "x" * 101}]
)
def test_a_link_without_end_is_not_made(site: Site, own: Owned, form: dict[str, str]) -> None:
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    assert client.post(f"/studies/{own.study_id}/links", data=form).status_code == 422
    assert (
        site.signed_in("beta").post(f"/studies/{own.study_id}/links", data={"label": "x"}).status_code == 404
    )
