"""Workitems whose images are fetched: in pieces, by a worker that dies, beside the steps of their study."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dicom_gateway.arrival_evidence import Order
from dicom_gateway.dicom_json import element
from pipeline import store, workitem_desk, workitem_store
from pipeline.completion_evidence import lock_open_arrival
from pipeline.database import Connection
from pipeline.order_study import order_study
from pipeline.perform_workitem import DELAYS_S, perform_workitem
from tests.archive_peers import write_study
from tests.dicom_gateway.test_dicomweb_hostile import web
from tests.pipeline.conftest import ALPHA, Clinic, make_instance

STUDY, UID = "1.2.3", "1.2.826.9"


class Archive:
    """A DICOMweb server with a study of four images. whole: how many it sends before the connection breaks."""

    def __init__(self, folder: Path) -> None:
        self.files = write_study(folder, STUDY, series=(4,))
        self.whole = 4
        self.asked = 0

    def reply(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.asked += 1
        parts = [b"--b\r\n\r\n" + path.read_bytes() + b"\r\n" for path in self.files[: self.whole]]
        body = b"".join(parts) + (b"--b--" if self.whole == len(self.files) else b"--b\r\n\r\n" + bytes(128))
        handler.send_response(200)
        handler.send_header("Content-Type", 'multipart/related; type="application/dicom"; boundary=b')
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def archive(clinic: Clinic, tmp_path: Path) -> Iterator[Archive]:
    (tmp_path / "archive").mkdir()
    served = Archive(tmp_path / "archive")
    with web(served.reply) as url:
        clinic.owner.execute(
            "UPDATE peer SET query_kind = 'dicomweb', query_url = %s WHERE tenant = %s", (url, ALPHA)
        )
        yield served


def schedule(clinic: Clinic, *images: str, uid: str = UID) -> None:
    """A workitem of PACS for the study. images: SOP Instance UIDs that it names."""
    wanted: dict[str, Any] = {"0020000D": element("UI", STUDY)}
    if images:
        named = [element("SQ", {"00081155": element("UI", image)})["Value"][0] for image in images]
        wanted["00081199"] = {"vr": "SQ", "Value": named}
    item = {
        "00741000": element("CS", "SCHEDULED"),
        "00741200": element("CS", "HIGH"),
        "00741204": element("LO", "Chest CT"),
        "00404005": element("DT", "20261126"),
        "00404041": element("CS", "READY"),
        "00404025": element("SQ", {"00080100": element("SH", "RADMETER"), "00080102": element("SH", "99RADMETER")}),
        "00404021": element("SQ", wanted),
    }  # fmt: skip
    with clinic.database.transaction(ALPHA) as conn:
        workitem_desk.create(conn, clinic.queue, ALPHA, "PACS", uid, item)


def perform(clinic: Clinic, attempt: int = 0, tries: int = 0, uid: str = UID) -> None:
    folders = clinic.services.folders
    perform_workitem(
        clinic.database, clinic.queue, folders, ALPHA, uid, attempt, sink=clinic.sink, tries=tries
    )


def cancel(conn: Connection, clinic: Clinic) -> None:
    workitem_desk.request_cancel(conn, clinic.queue, ALPHA, UID, {}, by="RIS")


def state(clinic: Clinic) -> tuple[str, str]:
    """The workitem's state and what it says of its progress or end."""
    (row,) = clinic.rows("SELECT state, attributes FROM workitem")
    said = row["attributes"]["00741002"].get("Value", [{}])[0]
    words = said.get("00741238") or said.get("00741006") or {}
    return row["state"], words.get("Value", [""])[0]


def ordered(clinic: Clinic) -> list[dict[str, Any]]:
    return clinic.rows("SELECT new_count, ordered FROM arrival ORDER BY id")


class TestFetch:
    def test_what_the_archive_gave_whole_is_processed_at_once(self, clinic: Clinic, archive: Archive) -> None:
        schedule(clinic)
        perform(clinic)
        assert ordered(clinic) == [{"new_count": 4, "ordered": "process"}]
        clinic.assemble()
        assert clinic.study(make_instance()).status == "assembled"
        assert state(clinic) == ("IN PROGRESS", "The study is complete.")

    def test_an_archive_that_broke_off_is_asked_for_the_rest(self, clinic: Clinic, archive: Archive) -> None:
        schedule(clinic)
        archive.whole = 2
        perform(clinic)
        assert ordered(clinic) == [{"new_count": 2, "ordered": None}]
        (job,) = clinic.jobs("perform_workitem")[1:]
        assert job["args"]["attempt"] == 1
        archive.whole = 4
        perform(clinic, attempt=1)
        assert ordered(clinic) == [{"new_count": 4, "ordered": "process"}]
        assert len(clinic.jobs("perform_workitem")) == 2

    def test_a_part_of_which_the_rest_never_comes_waits_as_any_other_study_does(
        self, clinic: Clinic, archive: Archive
    ) -> None:
        schedule(clinic)
        archive.whole = 2
        for attempt in range(len(DELAYS_S) + 1):
            perform(clinic, attempt)
        assert archive.asked == len(DELAYS_S) + 1
        assert len(clinic.jobs("perform_workitem")) == archive.asked
        assert state(clinic) == ("IN PROGRESS", "Images arrive.")

    def test_a_worker_that_died_after_the_fetch_is_replaced(
        self, clinic: Clinic, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(*_: object, **__: object) -> None:
            raise MemoryError

        schedule(clinic)
        with monkeypatch.context() as patch:
            patch.setattr("pipeline.perform_workitem.order_study", die)
            with pytest.raises(MemoryError):
                perform(clinic)
        assert ordered(clinic) == [{"new_count": 4, "ordered": None}]
        perform(clinic, tries=1)
        assert ordered(clinic) == [{"new_count": 4, "ordered": "process"}]

    def test_a_study_that_its_sender_pushes_is_not_fetched_beside_it(
        self, clinic: Clinic, archive: Archive
    ) -> None:
        clinic.receive(make_instance())
        schedule(clinic)
        perform(clinic)
        assert archive.asked == 0
        assert state(clinic) == ("IN PROGRESS", "Images arrive.")

    def test_images_that_a_done_study_lacks_make_a_revision_and_its_result_ends_the_work(
        self, clinic: Clinic, archive: Archive
    ) -> None:
        whole, archive.files = archive.files, archive.files[:3]
        archive.whole = 3
        schedule(clinic, f"{STUDY}.1.1")
        perform(clinic)
        clinic.assemble()
        clinic.set_status(make_instance(), "delivered")
        clinic.owner.execute("DELETE FROM workitem")
        archive.files, archive.whole = whole, 4
        schedule(clinic, f"{STUDY}.1.4")
        perform(clinic)
        assert state(clinic)[0] == "IN PROGRESS"
        clinic.assemble()
        study = clinic.study(make_instance())
        assert (study.status, study.revision) == ("assembled", 2)
        assert state(clinic) == ("IN PROGRESS", "The study is complete.")

    def test_images_that_the_archive_does_not_have_are_said_not_to_be_here(
        self, clinic: Clinic, archive: Archive
    ) -> None:
        schedule(clinic, f"{STUDY}.1.1")
        perform(clinic)
        clinic.assemble()
        clinic.set_status(make_instance(), "delivered")
        clinic.owner.execute("DELETE FROM workitem")
        schedule(clinic, f"{STUDY}.1.1", f"{STUDY}.1.99")
        for attempt in range(len(DELAYS_S) + 1):
            perform(clinic, attempt)
        assert state(clinic) == (
            "CANCELED", "Its images are not here: the archive has not all that it names.",
        )  # fmt: skip

    def test_what_was_cancelled_while_it_was_fetched_is_not_ordered(
        self, clinic: Clinic, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pipeline.perform_workitem import retrieve

        def cancelled(*values: Any) -> Any:
            outcome = retrieve(*values)
            with clinic.database.transaction(ALPHA) as conn:
                cancel(conn, clinic)
            return outcome

        schedule(clinic)
        monkeypatch.setattr("pipeline.perform_workitem.retrieve", cancelled)
        perform(clinic)
        assert state(clinic) == ("CANCELED", "Cancelled by RIS.")
        clinic.assemble()
        study = clinic.study(make_instance())
        assert (study.status, study.reason_code) == ("rejected", "DISCARDED")

    @pytest.mark.parametrize("others", [False, True])
    def test_what_is_cancelled_while_it_arrives_is_discarded_unless_another_wants_it(
        self, clinic: Clinic, archive: Archive, others: bool
    ) -> None:
        clinic.receive(make_instance())
        schedule(clinic)
        perform(clinic)
        if others:
            schedule(clinic, uid=f"{UID}.2")
            perform(clinic, uid=f"{UID}.2")
        with clinic.database.transaction(ALPHA) as conn:
            cancel(conn, clinic)
        clinic.fall_silent()
        clinic.assemble()
        study = clinic.study(make_instance())
        assert (study.status, study.reason_code) == (
            ("assembled", None) if others else ("rejected", "DISCARDED")
        )
        states = clinic.rows("SELECT state FROM workitem ORDER BY uid")
        assert [row["state"] for row in states] == (["CANCELED", "IN PROGRESS"] if others else ["CANCELED"])


class TestLocks:
    """Who decides about a study locks its arrival, then the study, then the workitems: nobody waits in a circle."""

    @staticmethod
    def beside(clinic: Clinic, first: Callable[[Connection], Any], then: Callable[[Connection], Any],
               other: Callable[[], None]) -> None:  # fmt: skip
        """`other` begins while a step is between its locks. The database ends one of two that wait for each other."""
        failed: list[BaseException] = []

        def run() -> None:
            try:
                other()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        with clinic.database.transaction(ALPHA) as conn:
            first(conn)
            thread.start()
            for _ in range(100):
                if clinic.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
                    break
                time.sleep(0.05)
            then(conn)
        thread.join(20)
        assert not thread.is_alive()
        assert failed == []

    def test_a_person_decides_while_the_study_is_looked_at(self, clinic: Clinic) -> None:
        clinic.receive(make_instance())
        study = clinic.study(make_instance())
        (arrival,) = clinic.rows("SELECT id FROM arrival")

        def decide() -> None:
            with clinic.database.transaction(ALPHA) as conn:
                order_study(clinic.queue, conn, ALPHA, study.id, Order.PROCESS, by="operator")

        self.beside(
            clinic,
            lambda conn: lock_open_arrival(conn, ALPHA, arrival["id"]),
            lambda conn: store.lock_study(conn, ALPHA, study.id),
            decide,
        )
        assert ordered(clinic) == [{"new_count": 1, "ordered": "process"}]

    @pytest.mark.parametrize("way", ["performed", "performed again", "cancelled", "cancelled early"])
    def test_a_workitem_is_taken_or_given_up_while_its_study_moves_on(
        self, clinic: Clinic, archive: Archive, way: str
    ) -> None:
        clinic.receive(make_instance())
        study = clinic.study(make_instance())
        schedule(clinic)
        if way != "performed":
            perform(clinic)
        if way == "cancelled":
            clinic.set_status(make_instance(), "routed")

        def other() -> None:
            if way.startswith("performed"):
                perform(clinic, tries=int(way == "performed again"))
                return
            with clinic.database.transaction(ALPHA) as conn:
                cancel(conn, clinic)

        self.beside(
            clinic,
            lambda conn: store.lock_study(conn, ALPHA, study.id),
            lambda conn: workitem_store.find(conn, ALPHA, UID, lock=True),
            other,
        )
