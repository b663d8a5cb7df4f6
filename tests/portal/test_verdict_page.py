"""Verdicts through the portal: forms with 303, parts for htmx, and nothing lost when two meet or a session ends."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient
from psycopg.types.json import Jsonb

from portal import kept_form
from portal.context import Role
from tests.portal.portal_site import PASSWORD, Site
from tests.review_seed import Seeded, seed_result


@pytest.fixture
def seeded(site: Site) -> Seeded:
    return seed_result(site.owner, site.context.data_root, "alpha")


def say(client: TestClient, seeded: Seeded, words: str, *, revision: int = 1, **values: Any) -> Any:
    headers = values.pop("headers", {})
    form = {"say": words, "revision": revision, "seen": _seen(client, seeded), **values}
    return client.post(f"/studies/{seeded.study_id}/verdicts", data=form, headers=headers)


def _seen(client: TestClient, seeded: Seeded) -> str:
    found = re.search(r'name="seen" value="(\d+)"', client.get(f"/studies/{seeded.study_id}").text)
    return found[1] if found else "0"


def rows(site: Site) -> list[tuple[str, str]]:
    found = site.owner.execute("SELECT kind, note FROM verdict ORDER BY id").fetchall()
    return [(row["kind"], row["note"]) for row in found]


def test_a_review_from_the_first_word_to_the_end(site: Site, seeded: Seeded) -> None:
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    page = f"/studies/{seeded.study_id}"
    assert "not reviewed" in client.get(page).text
    assert say(client, seeded, "accept 1").headers["location"] == f"{page}#verdict-1"
    assert say(client, seeded, "edit 2", size_mm="8,5", nodule_kind="solid").status_code == 303
    assert say(client, seeded, "undo 2").status_code == 303
    undecided = say(client, seeded, "finish")
    assert undecided.status_code == 409
    assert f'href="{page}#verdict-2"' in undecided.text
    assert say(client, seeded, "reject 2").status_code == 303
    missed = {
        "finding": "2.25.77", "revision": 1, "seen": 99, "image": "4", "column": "20", "row": "30", "size_mm": "6",
        "note": "behind the heart",
    }  # fmt: skip
    assert client.post(f"{page}/missed", data=missed).status_code == 303
    assert "behind the heart" in client.get(page).text
    assert say(client, seeded, "finish").status_code == 303
    assert say(client, seeded, "finish").status_code == 303  # pressed twice
    text = client.get(page).text
    assert "AI result, reviewed" in text
    assert "Finish the review" not in text
    assert [kind for kind, _ in rows(site)] == ["accept", "edit", "undo", "reject", "missed", "finish"]
    place = site.owner.execute(
        "SELECT sop_instance_uid, column_px, row_px FROM verdict WHERE kind = 'missed'"
    )
    assert place.fetchone() == {"sop_instance_uid": "1.2.3.4.4", "column_px": 20.0, "row_px": 30.0}


def test_a_click_on_the_picture_is_a_place(site: Site, seeded: Seeded) -> None:
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    page = client.get(f"/studies/{seeded.study_id}/missed?revision=1&image=5")
    [picture] = re.findall(r'type="image" .*?src="([^"]+)"', page.text)
    shown = client.get(
        html.unescape(picture), headers={"Accept": "image/avif,image/webp,image/png,*/*;q=0.8"}
    )
    assert shown.headers["content-type"] in ("image/png", "image/jpeg")
    sent = {
        "finding": "2.25.5",
        "revision": "1",
        "image": "5",
        "at.x": "12",
        "at.y": "13",
        "column": "",
        "row": "",
    }
    assert client.post(f"/studies/{seeded.study_id}/missed", data=sent).status_code == 303
    found = site.owner.execute("SELECT column_px, row_px, sop_instance_uid FROM verdict").fetchone()
    assert found == {"column_px": 12.0, "row_px": 13.0, "sop_instance_uid": "1.2.3.4.5"}


WRONG_PLACES: tuple[dict[str, str], ...] = (
    {"image": "99"}, {"column": "65"}, {"column": "-1"}, {"row": "nan"}, {"column": ""}, {"size_mm": "big"},
    {"nodule_kind": "round"}, {"size_mm": "1e9"}, {"label": "fracture"},
)  # fmt: skip


def test_a_place_that_is_none_is_refused_with_all_that_was_typed(site: Site, seeded: Seeded) -> None:
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    typed = {
        "finding": "2.25.5",
        "revision": "1",
        "image": "4",
        "column": "1",
        "row": "1",
        "note": "my words",
    }
    for wrong in WRONG_PLACES:
        answer = client.post(f"/studies/{seeded.study_id}/missed", data=typed | wrong)
        assert answer.status_code == 422, wrong
        assert "my words" in answer.text
        assert 'value="2.25.5"' in answer.text
    assert rows(site) == []


def test_htmx_gets_the_row_and_the_bar(site: Site, seeded: Seeded) -> None:
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    answer = say(client, seeded, "accept 1", headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert 'id="review-bar"' in answer.text
    assert re.search(r'id="verdict-1" tabindex="-1" hx-swap-oob="true"', answer.text)
    assert 'id="verdict-2"' not in answer.text


def test_the_second_reader_sees_what_the_first_said_and_may_say_it_all_the_same(
    site: Site, seeded: Seeded
) -> None:
    first, second = (site.signed_in("alpha", Role.RADIOLOGIST) for _ in range(2))
    form = {"say": "reject 1", "revision": "1", "seen": _seen(second, seeded), "note": "vessel, no nodule"}
    say(first, seeded, "accept 1")
    answer = second.post(f"/studies/{seeded.study_id}/verdicts", data=form)
    assert answer.status_code == 409
    assert "accepted" in answer.text
    assert "vessel, no nodule" in answer.text
    again = dict(re.findall(r'<input type="hidden" name="([\w.]+)" value="([^"]*)"', answer.text))
    assert second.post(f"/studies/{seeded.study_id}/verdicts", data=again).status_code == 303
    assert rows(site) == [("accept", ""), ("reject", "vessel, no nodule")]
    part = second.post(f"/studies/{seeded.study_id}/verdicts", data=form, headers={"HX-Request": "true"})
    assert part.status_code == 200  # the same word again is no news


def test_a_verdict_on_a_superseded_report_leads_to_the_newer_one(site: Site, seeded: Seeded) -> None:
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    seed_result(site.owner, site.context.data_root, "alpha", study_id=seeded.study_id, revision=2)
    answer = say(client, seeded, "reject 1", note="typed at length", revision=1)
    assert answer.status_code == 409
    assert f'href="/studies/{seeded.study_id}"' in answer.text
    assert "typed at length" in answer.text
    assert rows(site) == []


def test_a_session_that_ends_in_the_middle_loses_nothing(site: Site, seeded: Seeded) -> None:
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    name = site.owner.execute("SELECT user_name FROM portal_session ORDER BY created_at DESC").fetchone()
    assert name is not None
    site.owner.execute("UPDATE portal_session SET expires_at = now() - interval '1 minute'")
    note = "磨玻璃 <b>" * 150
    sent = {"say": "reject 1", "revision": "1", "seen": "0", "note": note}
    answer = client.post(f"/studies/{seeded.study_id}/verdicts", data=sent)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?next=")
    assert "/continue" in answer.headers["location"]
    signed = client.post(
        "/sign-in", data={"name": name["user_name"], "password": PASSWORD, "next": "/continue"}
    )
    assert signed.headers["location"] == "/continue"
    page = client.get("/continue")
    assert "磨玻璃 &lt;b&gt;" in page.text
    assert rows(site) == []  # nothing is sent by itself
    assert client.post(f"/studies/{seeded.study_id}/verdicts", data=sent).status_code == 303
    assert rows(site) == [("reject", note.strip())]
    client.post("/sign-out")
    assert not [name for name in client.cookies if name.startswith("radmeter_form_")], "nothing typed stays"


def test_what_another_key_has_signed_is_no_form_of_ours(site: Site, seeded: Seeded) -> None:
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    [forged] = kept_form._sealed(
        {"path": "/studies", "fields": [["note", "forged"]], "until": 2**40}, b"another"
    ) or []  # fmt: skip
    for text in (forged, "", "AAAA", "%%%"):
        client.cookies.set("radmeter_form_0", text, path="/continue")
        answer = client.get("/continue")
        assert answer.status_code == 303, text
        assert "forged" not in answer.text


def test_only_those_who_read_images_give_verdicts(site: Site, seeded: Seeded) -> None:
    for role in (Role.OPERATOR, Role.REFERRER, Role.FINANCE):
        client = site.signed_in("alpha", role)
        sent = {"say": "accept 1", "revision": "1"}
        assert client.post(f"/studies/{seeded.study_id}/verdicts", data=sent).status_code == 403
        assert client.post(f"/studies/{seeded.study_id}/missed", data={}).status_code == 403
        assert 'name="say"' not in client.get(f"/studies/{seeded.study_id}").text
    assert rows(site) == []


def test_another_hospitals_result_is_not_there(site: Site, seeded: Seeded) -> None:
    client = site.signed_in("beta", Role.RADIOLOGIST)
    sent = {"say": "accept 1", "revision": "1"}
    for path in ("verdicts", "missed"):
        assert client.post(f"/studies/{seeded.study_id}/{path}", data=sent).status_code == 404
    assert rows(site) == []


SENSELESS: tuple[tuple[dict[str, str], int], ...] = (
    ({"say": "accept 9", "revision": "1"}, 409),
    ({"say": "explode 1", "revision": "1"}, 409),
    ({"say": "edit 1", "revision": "1"}, 409),
    ({"say": "undo 1", "revision": "1"}, 409),
    ({"say": "accept 1", "revision": "7"}, 404),
    ({"say": "accept 1", "revision": "x"}, 422),
    ({"say": "accept 1", "revision": "1", "product": "../x"}, 404),
    ({"say": "a" * 101, "revision": "1"}, 422),
    ({"say": "accept 1", "revision": "1", "note": "x\0y"}, 422),
)


def test_what_makes_no_sense_is_refused(site: Site, seeded: Seeded) -> None:
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    for sent, status in SENSELESS:
        answer = client.post(f"/studies/{seeded.study_id}/verdicts", data=sent)
        assert answer.status_code == status, sent
    assert rows(site) == []


def test_a_reviewed_report_that_the_gate_held_back_says_so_on_the_timeline(site: Site) -> None:
    study_id = site.add_study("alpha", status="delivered")
    sentence = "The result was not sent, because our own check of its objects found: <b>SR</b>: its flag."
    site.owner.execute(
        """INSERT INTO study_event (tenant, study_id, revision, event, detail)
           VALUES ('alpha', %s, 1, 'review_not_issued', %s), ('alpha', %s, 1, 'review_not_issued', '{}')""",
        (study_id, Jsonb({"code": "RESULT_NOT_CONFORMANT", "reason": sentence}), study_id),
    )
    client = site.signed_in("alpha")
    timeline = client.get(f"/studies/{study_id}").text.split('id="timeline"')[1]
    assert timeline.count("The reviewed report could not be made") == 2
    assert "found: &lt;b&gt;SR&lt;/b&gt;: its flag" in timeline
    assert "<code>RESULT_NOT_CONFORMANT</code>" in timeline
