"""What a study waits for is shown live, and a person may decide about it."""

from __future__ import annotations

import pytest
from psycopg.types.json import Jsonb

from portal.context import Role
from tests.portal.portal_site import Site

MISSING = {
    "verdict": "wait",
    "code": "missing_of_series",
    "values": {"images": 12, "series_count": 1, "series": 4, "modality": "CT"},
}


def waiting_study(site: Site, tenant: str = "alpha", **values: object) -> str:
    study_id = site.add_study(tenant, **{"status": "receiving", "header": {}} | values)
    site.owner.execute(
        "INSERT INTO arrival (tenant, study_id, ae_title, new_count, decision) VALUES (%s, %s, 'PACS', 88, %s)",
        (tenant, study_id, Jsonb(MISSING)),
    )
    return study_id


def test_the_work_list_and_the_study_say_what_is_waited_for(site: Site) -> None:
    study_id = waiting_study(site)
    client = site.signed_in("alpha")
    for path in ("/", f"/studies/{study_id}"):
        assert "waiting for 12 slices of series 4" in client.get(path).text


def test_in_chinese_too(site: Site) -> None:
    study_id = waiting_study(site, "beta")
    assert "等待序列 4 的 12 层" in site.signed_in("beta").get(f"/studies/{study_id}").text


def test_the_open_page_follows_when_something_else_is_waited_for(site: Site) -> None:
    study_id = waiting_study(site)
    client = site.signed_in("alpha")
    seen = client.get(f"/studies/{study_id}").text.split("?seen=")[1].split('"')[0]
    poll = f"/studies/{study_id}?seen={seen}"
    assert "hx-refresh" not in client.get(poll, headers={"HX-Request": "true"}).headers
    site.owner.execute("UPDATE arrival SET decision = jsonb_set(decision, '{values,images}', '3')")
    assert client.get(poll, headers={"HX-Request": "true"}).headers["hx-refresh"] == "true"


@pytest.mark.parametrize("wanted", ["process", "discard"])
def test_an_operator_decides_and_the_look_comes_at_once(site: Site, wanted: str) -> None:
    study_id = waiting_study(site)
    site.owner.execute("UPDATE arrival SET look_at = now() + interval '1 hour'")
    client = site.signed_in("alpha", Role.OPERATOR)
    assert 'value="discard"' in client.get(f"/studies/{study_id}").text
    answer = client.post(f"/studies/{study_id}/order", data={"wanted": wanted})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/studies/{study_id}")
    row = site.owner.execute("SELECT id, ordered, ordered_by FROM arrival").fetchone()
    assert row is not None
    assert row["ordered"] == wanted
    assert row["ordered_by"].startswith("operator-alpha")
    jobs = site.owner.execute("SELECT args FROM procrastinate_jobs WHERE task_name = 'assemble'").fetchall()
    assert [job["args"] for job in jobs] == [{"tenant": "alpha", "arrival_id": row["id"]}]


def test_who_only_reads_does_not_decide(site: Site) -> None:
    study_id = waiting_study(site)
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    assert 'value="discard"' not in client.get(f"/studies/{study_id}").text
    assert client.post(f"/studies/{study_id}/order", data={"wanted": "process"}).status_code == 403


def test_another_hospital_decides_nothing_here(site: Site) -> None:
    study_id = waiting_study(site)
    answer = site.signed_in("beta").post(f"/studies/{study_id}/order", data={"wanted": "discard"})
    assert answer.status_code == 404
    assert site.owner.execute("SELECT ordered FROM arrival").fetchone() == {"ordered": None}


def test_an_operator_has_a_study_processed_again_that_failed(site: Site) -> None:
    failed = {"status": "failed", "reason_code": "STEP_GAVE_UP", "reason_text": "It was given up."}
    study_id = site.add_study("alpha", **failed)
    assert "Process again" not in site.signed_in("alpha", Role.RADIOLOGIST).get(f"/studies/{study_id}").text
    client = site.signed_in("alpha", Role.OPERATOR)
    assert "Process again" in client.get(f"/studies/{study_id}").text
    for _ in range(2):
        assert client.post(f"/studies/{study_id}/order", data={"wanted": "process"}).status_code == 303
    row = site.owner.execute("SELECT status, revision, reason_code FROM study").fetchone()
    assert row == {"status": "assembled", "revision": 2, "reason_code": None}
    jobs = site.owner.execute("SELECT args FROM procrastinate_jobs WHERE task_name = 'take_step'").fetchall()
    assert [job["args"]["revision"] for job in jobs] == [2]
    assert "A person asked to process it now" in client.get(f"/studies/{study_id}").text
    site.owner.execute(
        "UPDATE study SET status = 'failed', reason_code = 'NO_DESTINATION', reason_text = 'x'"
    )
    assert "Process again" not in client.get(f"/studies/{study_id}").text


def test_a_study_that_has_gone_on_by_itself_is_just_shown(site: Site) -> None:
    study_id = site.add_study("alpha")
    client = site.signed_in("alpha")
    assert client.post(f"/studies/{study_id}/order", data={"wanted": "process"}).status_code == 303
    assert client.post(f"/studies/{study_id}/order", data={"wanted": "sell"}).status_code == 422


def test_late_images_that_wait_for_a_person_show_beside_the_report(site: Site) -> None:
    study_id = waiting_study(site, status="delivered")
    site.owner.execute(
        "UPDATE arrival SET decision = %s",
        (Jsonb({"verdict": "ask", "code": "ask_late", "values": {"images": 3}}),),
    )
    text = site.signed_in("alpha").get(f"/studies/{study_id}").text
    assert "3 images came after the end: process them or leave them aside?" in text
