"""Work claimed from another system's worklist over HTTP, done here, and told there; that worklist is a real server."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from dicom_gateway.dicom_json import code, element
from pipeline import peers, store, workitem_store
from pipeline.perform_workitem import perform_workitem
from pipeline.queue import deferring_app
from pipeline.receive import DatabaseSink
from pipeline.services import Folders
from pipeline.status import StudyStatus
from pipeline.work_sources import look_for_work, save_source
from portal.auth import create_api_key
from tests.portal.live_portal import LivePortal, live_portal
from tests.portal.portal_site import Site

UID, STUDY = "1.2.826.7", "1.2.840.7"


@pytest.fixture
def other_system(site: Site, tmp_path: Path):
    """The worklist of tenant beta, which alpha takes work from. Its key lies in alpha's folder of secrets."""
    with live_portal(site) as live:
        with site.database.transaction("beta") as conn:
            peers.save_peer(conn, "beta", ae_title="RIS", host="ris.test", port=104)
            key = create_api_key(conn, "beta", "alpha's AI", ae_title="RIS")
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets/beta-token").write_text(key + "\n")
        yield live, key


def schedule(live: LivePortal, key: str, uid: str = UID, station: str = "AI-ALPHA") -> None:
    item = {
        "00741000": element("CS", "SCHEDULED"),
        "00741200": element("CS", "MEDIUM"),
        "00741204": element("LO", "Chest CT"),
        "00404005": element("DT", "20261126"),
        "00404041": element("CS", "READY"),
        "00404025": element("SQ", code(station, "99HOSPITAL", "the AI of alpha")),
        "00404021": element("SQ", {"0020000D": element("UI", STUDY)}),
    }
    headers = {"authorization": f"Bearer {key}", "content-type": "application/dicom+json"}
    made = httpx.post(
        f"{live.url}/dicom-web/workitems?workitem={uid}", content=json.dumps([item]), headers=headers
    )
    assert made.status_code == 201, made.text


def there(live: LivePortal, key: str) -> tuple[str, str]:
    """State and reason as the other system shows them."""
    (item,) = httpx.get(
        f"{live.url}/dicom-web/workitems/{UID}", headers={"authorization": f"Bearer {key}"}
    ).json()
    said = item["00741002"].get("Value", [{}])[0]
    words = said.get("00741238") or said.get("00741006") or {}
    return item["00741000"]["Value"][0], words.get("Value", [""])[0]


def test_work_is_claimed_done_and_told(other_system, site: Site, tmp_path: Path) -> None:
    live, key = other_system
    queue = deferring_app(site.database.url)
    with site.database.transaction("alpha") as conn:
        values = {"url": f"{live.url}/dicom-web", "ae_title": "CDS", "token_file": "beta-token"}
        assert save_source(conn, "alpha", "beta", station_code="AI-ALPHA", **values) is None
    schedule(live, key)
    schedule(live, key, "1.2.826.8", station="SOMEBODY")

    def look() -> None:
        look_for_work(site.database, queue, tmp_path / "secrets", "alpha")

    try:
        look()
        assert there(live, key)[0] == "IN PROGRESS"
        rows = site.owner.execute(
            "SELECT uid, state, performed_here FROM workitem WHERE tenant = 'alpha'"
        ).fetchall()
        assert rows == [{"uid": UID, "state": "IN PROGRESS", "performed_here": True}]
        # Its images come by themselves: what becomes of the study is told, step by step.
        study_id = site.add_study("alpha", study_instance_uid=STUDY, status="receiving")
        folders, sink = Folders(tmp_path, tmp_path, tmp_path), DatabaseSink(site.database, queue)
        perform_workitem(site.database, queue, folders, "alpha", UID, 0, sink=sink)
        for to in (StudyStatus.ASSEMBLED, StudyStatus.ROUTED):
            with site.database.transaction("alpha") as conn:
                store.advance(conn, store.lock_study(conn, "alpha", study_id), to)
        look()
        assert there(live, key) == ("IN PROGRESS", "Models and series are chosen.")
        with site.database.transaction("alpha") as conn:
            study = store.lock_study(conn, "alpha", study_id)
            store.advance(conn, study, StudyStatus.REJECTED, reason=("NO_CHEST", "This is no chest."))
        site.owner.execute("UPDATE work_source SET url = 'http://127.0.0.1:1/x'")
        look()
        (source,) = site.owner.execute("SELECT last_error FROM work_source").fetchall()
        assert source["last_error"] == "ConnectError"
        site.owner.execute("UPDATE work_source SET url = %s", (f"{live.url}/dicom-web",))
        look()
        assert there(live, key) == ("CANCELED", "This is no chest.")
        look()  # told once: a second time would be a conflict
        assert site.owner.execute("SELECT last_error FROM work_source").fetchall() == [{"last_error": None}]
    finally:
        queue.close()


def test_what_a_dead_worker_was_claiming_is_taken_up_or_left_to_who_has_it(
    other_system, site: Site, tmp_path: Path
) -> None:
    live, key = other_system
    queue = deferring_app(site.database.url)
    with site.database.transaction("alpha") as conn:
        values = {"url": f"{live.url}/dicom-web", "ae_title": "CDS", "token_file": "beta-token"}
        save_source(conn, "alpha", "beta", station_code="AI-ALPHA", **values)
    schedule(live, key)
    item = {"00404021": element("SQ", {"0020000D": element("UI", STUDY)})}
    try:
        for transaction, ours in (("1.2.3.1", True), ("1.2.3.2", False)):
            with site.database.transaction("alpha") as conn:
                conn.execute("DELETE FROM workitem")
                workitem_store.insert(
                    conn, "alpha", UID, item, ae_title="CDS", is_ours=False, study_instance_uid=STUDY,
                    work_source="beta", transaction_uid=transaction,
                )  # fmt: skip
                conn.execute("UPDATE workitem SET updated_at = now() - interval '5 minutes'")
            site.owner.execute(
                "UPDATE workitem SET state = 'IN PROGRESS', transaction_uid = '1.2.3.1' WHERE tenant = 'beta'"
            )
            look_for_work(site.database, queue, tmp_path / "secrets", "alpha")
            rows = site.owner.execute("SELECT state FROM workitem WHERE tenant = 'alpha'").fetchall()
            assert rows == ([{"state": "IN PROGRESS"}] if ours else [])
    finally:
        queue.close()
