"""Every view and change leaves its event; nothing is shown that could not be recorded; the chain stays whole."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from pipeline import audit
from pipeline.audit import AuditEvent
from pipeline.audit_access import AccessTrail, record_access
from portal.access_audit import EVENT_OF
from portal.auth import create_api_key
from portal.context import Role
from tests.portal.owned import address, fill
from tests.portal.portal_site import Site
from tests.portal.route_audit import CHANGES_NOTHING, RECORDS_ITSELF, shows_no_patient
from tests.portal.test_isolation import routes


def methods_and_paths() -> set[str]:
    return {f"{method} {path}" for path, methods in routes() for method in methods - {"HEAD"}}


def events(site: Site) -> list[dict]:
    return site.owner.execute(
        "SELECT tenant, event, action, detail FROM audit_event ORDER BY sequence"
    ).fetchall()


def test_every_route_leaves_an_event_or_is_named_with_the_reason_why_not() -> None:
    named = set(EVENT_OF) | RECORDS_ITSELF | CHANGES_NOTHING
    missing = {one for one in methods_and_paths() - named if not shows_no_patient(*one.split(" ", 1))}
    assert missing == set()
    assert named - methods_and_paths() == set(), "of a route that is gone"


def test_each_view_leaves_exactly_its_event_and_no_patient_data(site: Site) -> None:
    own = fill(site, "alpha")
    client = site.signed_in("alpha", Role.ADMIN)
    for route, event in EVENT_OF.items():
        method, path = route.split(" ", 1)
        if method != "GET":
            continue
        before = len(events(site))
        assert client.get(address(path, own)).status_code == 200, route
        new = events(site)[before:]
        assert [(one["action"], one["event"], one["tenant"]) for one in new] == [
            (event.action, event.event, "alpha")
        ], route
        detail = new[0]["detail"]
        assert detail["user"].startswith("admin-alpha"), route
        assert detail["host"] == "testclient", route
        assert detail["route"] == path
        assert detail.get("study") == (own.study_id if "{study_" in path else None), route
        assert own.mark not in str(detail), route
    assert audit.find_problems(site.owner) == []


def test_each_change_leaves_exactly_its_event(site: Site) -> None:
    own = fill(site, "alpha")
    client = site.signed_in("alpha", Role.ADMIN)
    for route, data in (
        ("POST /studies/{study_id}/order", {"wanted": "process"}),
        ("POST /studies/{study_id}/cancel", {}),
        ("POST /studies/{study_id}/send-again", {}),
        ("POST /reports", {"text": own.mark}),
        ("POST /routing/activate", {"version": "1"}),
    ):
        before = len(events(site))
        answer = client.post(address(route.split(" ")[1], own).split("?")[0], data=data)
        assert answer.status_code in (200, 303), (route, answer.status_code)
        new = events(site)[before:]
        assert [one["action"] for one in new] == [EVENT_OF[route].action], route
        assert own.mark not in str(new[0]["detail"]), route
    before = len(events(site))
    assert client.post("/routing/edit", data={"text": "rules: nonsense"}).status_code >= 400
    assert (
        client.post(f"/studies/{'0' * 8}-0000-0000-0000-{'0' * 12}/order", data={"wanted": "x"}).status_code
        >= 400
    )
    assert events(site)[before:] == [], "what is refused changes nothing"


def test_pages_that_show_no_patient_leave_no_event(site: Site) -> None:
    own = fill(site, "alpha")
    site.owner.execute("""UPDATE study SET header = '{"patient_name": "SECRET^NAME"}'""")
    client = site.signed_in("alpha", Role.ADMIN)
    before = len(events(site))
    for one in methods_and_paths() - set(EVENT_OF):
        method, path = one.split(" ", 1)
        if method == "GET" and not path.startswith(("/sign-in", "/shared/")):
            assert b"SECRET" not in client.get(address(path, own)).content, path
    assert events(site)[before:] == []


def test_what_is_refused_is_no_view(site: Site) -> None:
    own = fill(site, "beta")
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    before = len(events(site))
    assert client.get(f"/studies/{own.study_id}").status_code == 404
    assert client.get("/audit").status_code == 403
    assert site.client().get("/").status_code == 303
    assert events(site)[before:] == []


def test_a_program_is_named_by_its_key(site: Site) -> None:
    study = site.add_study("alpha")
    with site.database.transaction("alpha") as conn:
        key = create_api_key(conn, "alpha", "RIS")
    site.client().get(f"/api/v1/studies/{study}", headers={"Authorization": f"Bearer {key}"})
    assert (events(site)[-1]["action"], events(site)[-1]["detail"]["user"]) == ("study_viewed", "API key RIS")


def test_a_page_that_follows_a_study_is_one_view_a_minute(site: Site) -> None:
    study = site.add_study("alpha")
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    for _ in range(5):
        client.get(f"/studies/{study}")
    other = site.signed_in("alpha", Role.RADIOLOGIST)
    other.get(f"/studies/{study}")
    assert [one["action"] for one in events(site)].count("study_viewed") == 2


def test_what_cannot_be_recorded_is_not_shown(site: Site) -> None:
    study = site.add_study("alpha", header={"patient_name": "SECRET^NAME"})
    client = site.signed_in("alpha", Role.RADIOLOGIST)
    site.owner.execute("REVOKE EXECUTE ON FUNCTION append_audit_events FROM radmeter_app")
    answer = client.get(f"/studies/{study}")
    assert answer.status_code == 503
    assert "SECRET" not in answer.text
    assert client.get("/models").status_code == 200


def test_a_referrer_reads_finished_reports_only(site: Site) -> None:
    own = fill(site, "alpha")
    client = site.signed_in("alpha", Role.REFERRER)
    assert client.get("/reports").text.count(f"/reports/{own.study_id}") == 1
    assert own.mark in client.get(f"/reports/{own.study_id}").text
    assert client.get(f"/studies/{own.study_id}").status_code == 403
    assert client.post("/reports", data={"text": own.mark}).text.count(f"/reports/{own.study_id}") == 1
    assert "No finished report matches" in client.post("/reports", data={"text": "nobody"}).text
    site.owner.execute("UPDATE study SET status = 'inferred'")
    for path in (
        "/reports/{study_id}",
        "/studies/{study_id}/report.pdf",
        "/studies/{study_id}/images/{name}",
    ):
        assert client.get(address(path, own)).status_code == 404, path


class TestTrail:
    def test_many_at_once_share_commits_and_the_chain_holds(self, site: Site) -> None:
        trail = AccessTrail(site.database)
        statements: list[int] = []
        write = trail._write

        def slow_write() -> None:
            statements.append(len(trail._waiting))
            time.sleep(0.02)
            write()

        trail._write = slow_write  # type: ignore[method-assign]
        gate = threading.Barrier(16)

        def one(number: int) -> None:
            gate.wait()
            trail.record("alpha", AuditEvent.STUDY_VIEWED, {"user": f"u{number}"})

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(one, range(16)))
        assert sorted(row["detail"]["user"] for row in events(site)) == sorted(f"u{n}" for n in range(16))
        assert len(statements) < 16, "those who come while one writes are written together"
        assert audit.find_problems(site.owner) == []

    def test_each_of_those_who_waited_learns_that_it_failed(self, site: Site) -> None:
        trail = AccessTrail(site.database)
        site.owner.execute("REVOKE EXECUTE ON FUNCTION append_audit_events FROM radmeter_app")

        def one(number: int) -> bool:
            try:
                trail.record("alpha", AuditEvent.STUDY_VIEWED, {"user": f"u{number}"}, folds=True)
            except psycopg.Error:
                return True
            return False

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(one, range(8)))
        site.owner.execute("GRANT EXECUTE ON FUNCTION append_audit_events TO radmeter_app")
        trail.record("alpha", AuditEvent.STUDY_VIEWED, {"user": "u1"}, folds=True)
        assert [row["detail"]["user"] for row in events(site)] == ["u1"], (
            "what failed is not taken for repeated"
        )

    def test_one_access_can_be_recorded_by_itself(self, site: Site) -> None:
        study = site.add_study("alpha")
        record_access(site.database, "alpha", "anna", AuditEvent.IMAGES_VIEWED, study, host="192.0.2.1")
        assert events(site)[0]["detail"] == {"user": "anna", "host": "192.0.2.1", "study": study}

    def test_a_tenant_does_not_write_into_anothers_trail(self, site: Site) -> None:
        with (
            pytest.raises(psycopg.errors.RaiseException),
            site.database.transaction("alpha") as conn,
        ):
            conn.execute(
                "SELECT append_audit_events(%s)",
                ('[{"tenant": "beta", "event": "x", "action": "y", "outcome": 0, "detail": "{}"}]',),
            )
