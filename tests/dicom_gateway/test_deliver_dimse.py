"""C-STORE to real peers: DCMTK's storescp, our own acceptor, and peers that misbehave."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset

from dicom_gateway.deliver_dimse import echo, send_instances
from dicom_gateway.delivery_outcome import DeliveryOutcome
from dicom_gateway.listener import Listener
from dicom_gateway.scu_association import Destination
from tests.dicom_peers import MemorySink, RunningAcceptor, StartAcceptor, data_set_of
from tests.ports import free_port

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT, IMPLICIT, JPEG_LS = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.80"


def destination(port: int, **timeouts: float) -> Destination:
    return Destination("127.0.0.1", port, "RADMETER", "AISERVER", **timeouts)


def has_ipv6_loopback() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


def write_instance(path: Path, number: int = 1, syntax: str = EXPLICIT) -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CT
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"1.2.3.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = "1.2.4", "1.2.5", "CT"
    dataset.PatientName = "Nobody^Test"
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def storescp(tmp_path: Path, free_port: int) -> Iterator[tuple[int, Path]]:
    """Port and folder of a DCMTK storescp that keeps bytes as they come."""
    folder = tmp_path / "pacs"
    folder.mkdir()
    command = ["storescp", "-aet", "RADMETER", "+xa", "+B", "-od", str(folder), str(free_port)]
    process = subprocess.Popen(command)
    try:
        wait_for_port(free_port)
        yield free_port, folder
    finally:
        process.terminate()
        process.wait(timeout=10)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError("nobody listens")


@pytest.mark.peer
class TestStorescp:
    def test_files_arrive_byte_for_byte_in_every_syntax(
        self, storescp: tuple[int, Path], shared_data: Path
    ) -> None:
        port, folder = storescp
        paths = [
            shared_data / "basic/CT_small.dcm",
            shared_data / "ct_chest_4dlung_113/rtstruct/rtstruct.dcm",
            shared_data / "ct_chest_4dlung_113/dicom/0001.dcm",
            shared_data / "ct_chest_lidc0314_1mm/dicom/0001.dcm",
            shared_data
            / "ct_chest_lungdx_A0002/dicom"
            / sorted(os.listdir(shared_data / "ct_chest_lungdx_A0002/dicom"))[0],
            shared_data / "ts_ct/CT1_J2KR",
            shared_data / "cxr/RG1_J2KI",
        ]
        progress: list[DeliveryOutcome] = []
        outcomes = send_instances(paths, destination(port), on_progress=progress.append)
        assert [(outcome.status, outcome.acknowledged, outcome.error) for outcome in outcomes] == [
            (0, True, None)
        ] * 7
        assert progress == outcomes
        assert [outcome.path for outcome in outcomes] == paths
        arrived = {hashlib.sha256(data_set_of(path)).hexdigest() for path in folder.iterdir()}
        assert arrived == {hashlib.sha256(data_set_of(path)).hexdigest() for path in paths}

    def test_a_whole_series_goes_over_one_association(
        self, storescp: tuple[int, Path], tmp_path: Path
    ) -> None:
        port, folder = storescp
        paths = [write_instance(tmp_path / f"{number}.dcm", number) for number in range(1, 61)]
        started = time.monotonic()
        outcomes = send_instances(paths, destination(port))
        assert [outcome.sop_instance_uid for outcome in outcomes] == [
            f"1.2.3.{number}" for number in range(1, 61)
        ]
        assert all(outcome.acknowledged for outcome in outcomes)
        assert len(list(folder.iterdir())) == 60
        assert time.monotonic() - started < 60 * 0.045, "each object waits for a delayed acknowledgement"

    def test_echo_tells_whether_a_peer_is_there(self, storescp: tuple[int, Path]) -> None:
        assert echo(destination(storescp[0])) is None
        assert echo(destination(free_port())) == "no connection to the peer"


@pytest.mark.skipif(not has_ipv6_loopback(), reason="this machine has no ::1")
def test_both_sides_speak_ipv6(start_acceptor: StartAcceptor, tmp_path: Path) -> None:
    running = start_acceptor(listeners=[Listener("::1", 0)])
    to = dataclasses.replace(destination(running.port), host="::1")
    (outcome,) = send_instances([write_instance(tmp_path / "1.dcm")], to)
    assert outcome.acknowledged
    assert len(running.stored_files()) == 1


@pytest.mark.peer
@pytest.mark.parametrize(("written", "accepted"), [(EXPLICIT, "+xi"), (IMPLICIT, "+xe")])
def test_the_other_uncompressed_encoding_is_used_where_the_peer_wants_it(
    tmp_path: Path, free_port: int, written: str, accepted: str
) -> None:
    folder = tmp_path / "pacs"
    folder.mkdir()
    process = subprocess.Popen(["storescp", accepted, "-od", str(folder), str(free_port)])
    try:
        wait_for_port(free_port)
        (outcome,) = send_instances(
            [write_instance(tmp_path / "x.dcm", syntax=written)], destination(free_port)
        )
    finally:
        process.terminate()
        process.wait(timeout=10)
    assert outcome.acknowledged
    (path,) = folder.iterdir()
    assert pydicom.dcmread(path).PatientName == "Nobody^Test"


class TestOurOwnAcceptor:
    def test_what_we_send_we_also_receive(self, acceptor: RunningAcceptor, tmp_path: Path) -> None:
        path = write_instance(tmp_path / "x.dcm")
        (outcome,) = send_instances([path], destination(acceptor.port))
        assert outcome == DeliveryOutcome("1.2.3.1", 0, True, None, path)
        assert [data_set_of(stored) for stored in acceptor.stored_files()] == [data_set_of(path)]

    def test_a_refused_instance_is_reported_and_the_next_one_still_sent(
        self, acceptor: RunningAcceptor, tmp_path: Path
    ) -> None:
        bad = write_instance(tmp_path / "bad.dcm", 1)
        content = bad.read_bytes()
        bad.write_bytes(content[:-50] + content[-50:].replace(b"1.2.4", b"1.2.x"))
        good = write_instance(tmp_path / "good.dcm", 2)
        lying = write_instance(tmp_path / "lying.dcm", 3)
        content = lying.read_bytes()
        head, tail = content[:300], content[300:]
        lying.write_bytes(head + tail.replace(b"1.2.3.3", b"1.2.3.9"))
        first, second, third = send_instances([bad, lying, good], destination(acceptor.port))
        assert (first.acknowledged, first.error) == (False, "cannot understand (C000H)")
        assert (second.status, second.error) == (0xA900, "data set does not match the SOP class (A900H)")
        assert third.acknowledged

    def test_a_rejection_is_told_in_words(self, start_acceptor: StartAcceptor, tmp_path: Path) -> None:
        running = start_acceptor(sink=MemorySink(known_peers=set()))
        (outcome,) = send_instances([write_instance(tmp_path / "x.dcm")], destination(running.port))
        assert not outcome.acknowledged
        assert outcome.status is None
        assert outcome.error == "association rejected: Calling AE title not recognised"

    def test_a_syntax_that_the_peer_does_not_take_is_named(
        self, acceptor: RunningAcceptor, tmp_path: Path
    ) -> None:
        deflated = write_instance(tmp_path / "deflated.dcm", 1, syntax="1.2.840.10008.1.2.1.99")
        plain = write_instance(tmp_path / "plain.dcm", 2)
        (alone,) = send_instances([deflated], destination(acceptor.port))
        assert alone.error == "the peer accepts none of the SOP classes and transfer syntaxes"
        refused, taken = send_instances([deflated, plain], destination(acceptor.port))
        assert refused.error == "the peer does not accept this SOP class in this transfer syntax"
        assert taken.acknowledged


class TestPeersThatFail:
    def test_nobody_listens(self, tmp_path: Path) -> None:
        paths = [write_instance(tmp_path / "1.dcm", 1), write_instance(tmp_path / "2.dcm", 2)]
        outcomes = send_instances(paths, destination(free_port()))
        assert [outcome.error for outcome in outcomes] == ["no connection to the peer"] * 2
        assert not any(outcome.acknowledged for outcome in outcomes)

    @pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", None])
    def test_something_else_listens(self, tmp_path: Path, answer: bytes | None) -> None:
        """It closes, it talks another protocol, or it says nothing until our timeout."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            done = threading.Event()

            def reply() -> None:
                peer, _ = server.accept()
                with peer:
                    if answer is None:
                        done.wait(20)
                    else:
                        peer.sendall(answer)

            thread = threading.Thread(target=reply)
            thread.start()
            started = time.monotonic()
            where = destination(server.getsockname()[1], acse_timeout_s=1, dimse_timeout_s=1)
            (outcome,) = send_instances([write_instance(tmp_path / "x.dcm")], where)
            done.set()
            thread.join()
        assert not outcome.acknowledged
        assert outcome.error
        assert time.monotonic() - started < 10

    def test_a_peer_that_dies_in_the_middle_acknowledges_only_what_it_answered(
        self, acceptor: RunningAcceptor, tmp_path: Path
    ) -> None:
        paths = [write_instance(tmp_path / f"{number}.dcm", number) for number in range(1, 21)]

        def stop_after_five(outcome: DeliveryOutcome) -> None:
            if outcome.sop_instance_uid == "1.2.3.5":
                acceptor.stop(grace_s=0.2)

        outcomes = send_instances(paths, destination(acceptor.port), on_progress=stop_after_five)
        acknowledged = [outcome.sop_instance_uid for outcome in outcomes if outcome.acknowledged]
        assert set(acknowledged) == set(acceptor.sink.received)
        assert 5 <= len(acknowledged) < 20
        assert all(outcome.error for outcome in outcomes[len(acknowledged) :])

    def test_a_file_that_is_no_dicom_is_an_outcome_too(
        self, acceptor: RunningAcceptor, tmp_path: Path
    ) -> None:
        text, good = tmp_path / "notes.txt", write_instance(tmp_path / "x.dcm")
        text.write_text("not DICOM")
        outcomes = send_instances([text, tmp_path / "missing.dcm", good], destination(acceptor.port))
        assert [outcome.acknowledged for outcome in outcomes] == [False, False, True]
        assert outcomes[0].error == "not a DICOM Part 10 file"
        assert outcomes[1].error == "cannot be opened (No such file or directory)"

    def test_nothing_to_send_needs_no_peer(self) -> None:
        assert send_instances([], destination(free_port())) == []
