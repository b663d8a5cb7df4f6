"""Safekeeping of what we delivered: storage commitment on one association and over two, and asking back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from dicom_gateway import query_dimse
from dicom_gateway.command_set import STORAGE_COMMITMENT_SOP_CLASS, STORAGE_COMMITMENT_SOP_INSTANCE
from dicom_gateway.commitment_scu import CommitmentAnswer, failure_of, request_commitment
from dicom_gateway.confirm_instances import confirm_instances, read_delivered
from dicom_gateway.peers import Peer
from dicom_gateway.scu_association import Destination
from dicom_gateway.storage_commitment import CommitmentResult, Reference
from tests import archive_peers
from tests.archive_peers import CT, RunningArchive, write_study

TRANSACTION = "2.25.1"
HERE, GONE = Reference(CT, "1.2.826.1.1.1"), Reference(CT, "1.2.826.1.1.404")


def committing_peer(behaviour: str) -> Any:
    """A pynetdicom provider of storage commitment that has everything but `GONE`."""
    entity = AE(ae_title="PACS")
    entity.add_supported_context(STORAGE_COMMITMENT_SOP_CLASS)

    def report(assoc: Any, requested: Dataset) -> None:
        time.sleep(0.1)
        information = Dataset()
        information.TransactionUID = "2.25.9" if behaviour == "other" else requested.TransactionUID
        items = list(requested.ReferencedSOPSequence)
        information.ReferencedSOPSequence = [
            item for item in items if item.ReferencedSOPInstanceUID != GONE.sop_instance_uid
        ]
        failed = [item for item in items if item.ReferencedSOPInstanceUID == GONE.sop_instance_uid]
        for item in failed:
            item.FailureReason = 0x0112
        if failed:
            information.FailedSOPSequence = failed
        assoc.send_n_event_report(
            information, 2 if failed else 1, STORAGE_COMMITMENT_SOP_CLASS, STORAGE_COMMITMENT_SOP_INSTANCE
        )

    def act(event: Any) -> tuple[int, None]:
        if behaviour == "refuses":
            return 0x0213, None
        if behaviour != "silent":
            threading.Thread(target=report, args=(event.assoc, event.action_information), daemon=True).start()
        return 0x0000, None

    return entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_ACTION, act)])


def ask(behaviour: str, *references: Reference, wait_s: float = 3.0) -> CommitmentAnswer:
    server = committing_peer(behaviour)
    try:
        port = server.socket.getsockname()[1]
        return request_commitment(
            Destination("127.0.0.1", port, "PACS", "RADMETER"), references, TRANSACTION, wait_s
        )
    finally:
        server.shutdown()


class TestOnOneAssociation:
    def test_everything_is_committed(self) -> None:
        answer = ask("commits", HERE)
        assert answer == CommitmentAnswer(True, CommitmentResult(TRANSACTION, (HERE,), {}), None)
        assert answer.result is not None
        assert failure_of(HERE, answer.result) is None

    def test_each_instance_has_its_own_answer(self) -> None:
        answer = ask("commits", HERE, GONE)
        assert answer.result is not None
        assert failure_of(HERE, answer.result) is None
        assert failure_of(GONE, answer.result) == "the peer does not have it"
        assert failure_of(Reference(CT, "9"), answer.result) == "the peer says nothing of it"

    def test_a_refusal_is_told_in_words(self) -> None:
        assert ask("refuses", HERE) == CommitmentAnswer(False, None, "resource limitation (0213H)")

    @pytest.mark.parametrize("behaviour", ["silent", "other"])
    def test_without_a_report_of_this_transaction_the_answer_is_still_to_come(self, behaviour: str) -> None:
        started = time.monotonic()
        assert ask(behaviour, HERE, wait_s=0.6) == CommitmentAnswer(True, None, None)
        assert time.monotonic() - started < 5

    def test_nobody_listens(self) -> None:
        nowhere = Destination("127.0.0.1", archive_peers.free_port(), "PACS", "RADMETER")
        answer = request_commitment(nowhere, [HERE], TRANSACTION)
        assert answer == CommitmentAnswer(False, None, "no connection to the peer")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_study(tmp_path_factory.mktemp("study"), "1.2.826.1", (2,))


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory, files: list[Path]) -> Iterator[RunningArchive]:
    with archive_peers.orthanc(tmp_path_factory.mktemp("orthanc")) as archive:
        archive.store(files[:1])
        yield archive


@pytest.mark.peer
class TestOrthanc:
    def test_its_result_comes_on_an_association_of_its_own(
        self, orthanc: RunningArchive, start_acceptor
    ) -> None:  # type: ignore[no-untyped-def]
        desk = ResultDesk()
        start_acceptor(port=orthanc.move_port, desk=desk)
        answer = request_commitment(orthanc.destination, [HERE, GONE], TRANSACTION, wait_s=0.5)
        assert answer == CommitmentAnswer(True, None, None)
        assert desk.came.wait(10)
        assert desk.result.committed == (HERE,)
        assert failure_of(GONE, desk.result) == "the peer does not have it"

    def test_asking_back_tells_what_it_has(self, orthanc: RunningArchive, files: list[Path]) -> None:
        instances = [read_delivered(path) for path in files]

        def search(*question: Any) -> Any:
            return query_dimse.find(orthanc.destination, *question)

        assert confirm_instances(search, instances) == {
            "1.2.826.1.1.1": None,
            "1.2.826.1.1.2": "the archive does not list it",
        }

    def test_an_archive_that_does_not_answer_confirms_nothing_and_is_asked_once(
        self, files: list[Path]
    ) -> None:
        asked = []

        def search(*question: Any) -> Any:
            asked.append(question)
            return query_dimse.find(
                Destination("127.0.0.1", archive_peers.free_port(), "PACS", "RADMETER"), *question
            )

        reasons = confirm_instances(search, [read_delivered(path) for path in files])
        assert set(reasons.values()) == {"no connection to the peer"}
        assert len(asked) == 1


class ResultDesk:
    """A `ServiceDesk` that only takes results."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self.result = CommitmentResult("", (), {})

    def take_commitment_result(self, peer: Peer, result: CommitmentResult) -> None:
        self.result = result
        self.came.set()
