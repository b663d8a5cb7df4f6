"""Storage commitment asked for by a real SCU (pynetdicom), reported on both kinds of association (PS3.4 annex J)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from pipeline.commitment import UNREPORTED_MAX
from pipeline.errors import CommitmentNotReported
from pipeline.jobs import worker_app
from pipeline.queue import ARCHIVE_QUEUE
from pipeline.report_commitment import report
from pipeline.retry import decide
from tests.dicom_peers import RawPeer, ct_data_set, wait_until
from tests.pipeline.conftest import ALPHA, BETA, Clinic
from tests.pipeline.services import running_gateway

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
TRANSACTION = "1.2.840.7.1"


@dataclass
class Reports:
    """What a peer is told by N-EVENT-REPORT."""

    answer: int = 0
    received: list[tuple[int, Dataset]] = field(default_factory=list)

    def take(self, event: Any) -> tuple[int, None]:
        self.received.append((event.event_type, event.event_information))
        return self.answer, None

    def committed(self, index: int = -1) -> list[str]:
        return [
            one.ReferencedSOPInstanceUID for one in self.received[index][1].get("ReferencedSOPSequence", [])
        ]

    def failed(self, index: int = -1) -> dict[str, int]:
        sequence = self.received[index][1].get("FailedSOPSequence", [])
        return {one.ReferencedSOPInstanceUID: one.FailureReason for one in sequence}


class Peer:
    """An SCU of storage commitment on one association."""

    def __init__(self, port: int, syntax: str = ExplicitVRLittleEndian, called: str = "ALPHA") -> None:
        self.reports = Reports()
        handlers = [(evt.EVT_N_EVENT_REPORT, self.reports.take)]
        context = build_context(StorageCommitmentPushModel, syntax)
        self.link = AE(ae_title="PACS").associate(
            "127.0.0.1", port, contexts=[context], ae_title=called, evt_handlers=handlers
        )
        assert self.link.is_established

    def ask(
        self, *instances: str, sop_class: str = CT, transaction: str = TRANSACTION, **changes: Any
    ) -> int:
        request = Dataset()
        request.TransactionUID = transaction
        request.ReferencedSOPSequence = []
        for uid in instances:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
            request.ReferencedSOPSequence.append(item)
        values = {"action_type": 1, "instance": StorageCommitmentPushModelInstance} | changes
        status, _ = self.link.send_n_action(
            request, values["action_type"], StorageCommitmentPushModel, values["instance"]
        )
        return int(status.Status)


@pytest.fixture
def port(clinic: Clinic) -> Iterator[int]:
    """A gateway that holds 1.2.3.4.1 and 1.2.3.4.2 for ALPHA, 1.2.3.4.9 for BETA."""
    with running_gateway(clinic) as port:
        for called, numbers in ((ALPHA, "12"), (BETA, "9")):
            with RawPeer(port) as peer:
                peer.associate(calling="PACS", called=called.upper())
                for number in numbers:
                    assert peer.store(ct_data_set(f"1.2.3.4.{number}"), f"1.2.3.4.{number}") == 0
                peer.release()
        yield port


@pytest.fixture
def listener(clinic: Clinic, free_port: int) -> Iterator[Reports]:
    """The peer's own listener, where reports arrive that it did not wait for."""
    reports = Reports()
    entity = AE(ae_title="PACS")
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = entity.start_server(
        ("127.0.0.1", free_port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, reports.take)]
    )
    clinic.owner.execute("UPDATE peer SET port = %s", (free_port,))
    yield reports
    server.shutdown()


def row(clinic: Clinic) -> dict[str, Any]:
    (one,) = clinic.rows("SELECT * FROM storage_commitment")
    return one


class TestSameAssociation:
    @pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    def test_what_is_held_is_committed_and_reported(self, clinic: Clinic, port: int, syntax: str) -> None:
        peer = Peer(port, syntax)
        assert peer.ask("1.2.3.4.1", "1.2.3.4.2") == 0
        wait_until(lambda: bool(peer.reports.received))
        event_type, information = peer.reports.received[0]
        assert (event_type, information.TransactionUID) == (1, TRANSACTION)
        assert peer.reports.committed() == ["1.2.3.4.1", "1.2.3.4.2"]
        assert "FailedSOPSequence" not in information
        wait_until(lambda: row(clinic)["reported_at"] is not None)
        peer.link.release()
        (job,) = clinic.jobs("report_commitment")
        assert job["args"] == {"tenant": ALPHA, "ae_title": "PACS", "transaction_uid": TRANSACTION}
        report(clinic.services, **job["args"])  # has nothing left to do, and no listener to reach

    def test_missing_foreign_and_other_class_have_their_reasons(self, clinic: Clinic, port: int) -> None:
        (lost,) = clinic.rows("SELECT location FROM instance WHERE sop_instance_uid = '1.2.3.4.2'")
        (clinic.services.folders.instances / lost["location"]).unlink()
        peer = Peer(port)
        assert peer.ask("1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.9", "1.2.99") == 0
        wait_until(lambda: bool(peer.reports.received))
        assert peer.reports.received[0][0] == 2
        assert peer.reports.committed() == ["1.2.3.4.1"]
        assert peer.reports.failed() == {"1.2.3.4.2": 0x0112, "1.2.3.4.9": 0x0112, "1.2.99": 0x0112}
        assert peer.ask("1.2.3.4.1", sop_class=MR, transaction="1.2.840.7.2") == 0
        wait_until(lambda: len(peer.reports.received) == 2)
        assert peer.reports.failed() == {"1.2.3.4.1": 0x0119}
        peer.link.release()

    def test_a_transaction_uid_means_one_request(self, clinic: Clinic, port: int) -> None:
        peer = Peer(port)
        assert peer.ask("1.2.3.4.1", "1.2.99") == 0
        wait_until(lambda: len(peer.reports.received) == 1)
        assert peer.ask("1.2.3.4.2") == 0x0131
        assert peer.ask("1.2.3.4.1", "1.2.99") == 0
        wait_until(lambda: len(peer.reports.received) == 2)
        assert peer.reports.received[0] == peer.reports.received[1]
        peer.link.release()
        # Of another hospital it is another transaction.
        neighbour = Peer(port, called="BETA")
        assert neighbour.ask("1.2.3.4.9") == 0
        wait_until(lambda: bool(neighbour.reports.received))
        assert neighbour.reports.committed() == ["1.2.3.4.9"]
        neighbour.link.release()

    def test_instances_may_be_stored_while_a_report_is_on_its_way(self, clinic: Clinic, port: int) -> None:
        """The response to our request and a request of the peer may come in either order."""
        with RawPeer(port) as peer:
            peer.associate(
                (RawPeer.CT, RawPeer.EXPLICIT), (StorageCommitmentPushModel, RawPeer.EXPLICIT),
                calling="PACS", called="ALPHA",
            )  # fmt: skip
            command = RawPeer.n_request(
                0x0130, StorageCommitmentPushModel, StorageCommitmentPushModelInstance, 1
            )
            references = RawPeer.commitment_request(TRANSACTION, CT, "1.2.3.4.1")
            peer.send(RawPeer.fragment(3, command, 3) + RawPeer.fragment(2, references, 3))
            assert peer.read_status() == 0
            pdu_type, body = peer.read_pdu()
            assert (pdu_type, body[5]) == (4, 3), "the command of the report"
            assert peer.read_pdu()[1][5] == 2, "its data set"
            assert peer.store(ct_data_set("1.2.3.4.3"), "1.2.3.4.3") == 0
            response = RawPeer.response(0x8100, 1, StorageCommitmentPushModel)
            peer.send(RawPeer.fragment(3, response, 3))
            wait_until(lambda: row(clinic)["reported_at"] is not None)
            peer.release()


class TestRefused:
    def test_what_is_wrong_has_its_status_and_nothing_is_recorded(self, clinic: Clinic, port: int) -> None:
        peer = Peer(port)
        assert peer.ask("1.2.3.4.1", action_type=2) == 0x0123
        assert peer.ask("1.2.3.4.1", instance="1.2.3") == 0x0112
        assert peer.ask() == 0x0120
        assert peer.ask("1.2.3.4.1", transaction="") == 0x0120
        peer.link.release()
        assert clinic.rows("SELECT 1 FROM storage_commitment") == []
        assert clinic.jobs("report_commitment") == []

    def test_without_a_database_nothing_is_promised(self, clinic: Clinic, port: int) -> None:
        peer = Peer(port)
        clinic.owner.execute("ALTER TABLE procrastinate_jobs RENAME TO gone")
        assert peer.ask("1.2.3.4.1") == 0x0110
        clinic.owner.execute("ALTER TABLE gone RENAME TO procrastinate_jobs")
        assert clinic.rows("SELECT 1 FROM storage_commitment") == []
        time.sleep(1.2)
        assert peer.reports.received == []
        peer.link.release()

    def test_a_peer_that_never_takes_its_results_is_bounded(self, clinic: Clinic, port: int) -> None:
        clinic.owner.execute(
            """INSERT INTO storage_commitment (tenant, ae_title, transaction_uid, requested, failed)
               SELECT 'alpha', 'PACS', '1.2.' || number, '[]', '[]' FROM generate_series(1, %s) AS number""",
            (UNREPORTED_MAX,),
        )
        peer = Peer(port)
        assert peer.ask("1.2.3.4.1") == 0x0213
        clinic.owner.execute(
            "UPDATE storage_commitment SET reported_at = now() WHERE transaction_uid = '1.2.1'"
        )
        assert peer.ask("1.2.3.4.1") == 0
        peer.link.release()


class TestOwnAssociation:
    def ask_and_leave(self, port: int, *instances: str) -> None:
        peer = Peer(port)
        assert peer.ask(*instances) == 0
        peer.link.release()
        assert peer.reports.received == []

    def test_a_peer_that_left_is_called(self, clinic: Clinic, port: int, listener: Reports) -> None:
        self.ask_and_leave(port, "1.2.3.4.1", "1.2.99")
        clinic.owner.execute("UPDATE procrastinate_jobs SET scheduled_at = now()")
        app = worker_app(clinic.database.url, lambda queue: clinic.services)
        with app.open():
            app.run_worker(queues=[ARCHIVE_QUEUE], wait=False, install_signal_handlers=False)
        assert [kind for kind, _ in listener.received] == [2]
        assert (listener.committed(), listener.failed()) == (["1.2.3.4.1"], {"1.2.99": 0x0112})
        assert row(clinic)["reported_at"] is not None

    def test_a_peer_that_cannot_be_reached_is_tried_again_for_days(self, clinic: Clinic, port: int) -> None:
        self.ask_and_leave(port, "1.2.3.4.1")
        clinic.owner.execute("UPDATE peer SET port = 1")
        with pytest.raises(CommitmentNotReported):
            report(clinic.services, ALPHA, "PACS", TRANSACTION)
        assert row(clinic)["last_error"] == "no connection to the peer"
        assert row(clinic)["reported_at"] is None
        assert decide(CommitmentNotReported(), 0) is not None
        assert decide(CommitmentNotReported(), 400) is not None

    def test_a_refused_report_stays_open(self, clinic: Clinic, port: int, listener: Reports) -> None:
        listener.answer = 0x0110
        self.ask_and_leave(port, "1.2.3.4.1")
        with pytest.raises(CommitmentNotReported, match="0110H"):
            report(clinic.services, ALPHA, "PACS", TRANSACTION)
        listener.answer = 0
        report(clinic.services, ALPHA, "PACS", TRANSACTION)
        assert (row(clinic)["attempts"], row(clinic)["last_error"]) == (2, None)
        assert row(clinic)["reported_at"] is not None
        report(clinic.services, ALPHA, "PACS", TRANSACTION)
        assert len(listener.received) == 2

    def test_eight_requests_at_once_are_eight_answers(self, clinic: Clinic, port: int) -> None:
        barrier = threading.Barrier(8)
        statuses: list[int] = []

        def ask(number: int) -> None:
            peer = Peer(port)
            barrier.wait(20)
            statuses.append(peer.ask("1.2.3.4.1", transaction=f"1.2.840.8.{number}"))
            peer.link.release()

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert statuses == [0] * 8
        assert len(clinic.rows("SELECT 1 FROM storage_commitment WHERE failed = '[]'")) == 8
