"""C-ECHO and C-STORE as real peers do them: DCMTK, Orthanc, pynetdicom."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from blake3 import blake3
from pynetdicom import AE
from pynetdicom.presentation import build_context

from dicom_gateway.instance_sink import RecordOutcome
from tests.dicom_peers import (
    MemorySink,
    RawPeer,
    RunningAcceptor,
    StartAcceptor,
    ct_data_set,
    data_set_of,
    wait_until,
)

# (folder or file, what proposes the syntax to storescu)
SYNTAXES = {
    "explicit little endian": ("ct_not_axial/A002304_coronal", "-xe"),
    "implicit little endian": ("ct_chest_4dlung_113/rtstruct/rtstruct.dcm", "-xi"),
    "JPEG-LS": ("ct_enhanced_multiframe/CT0012.not_fragmented_bot_jpeg_ls.80.dcm", "-xt"),
    "JPEG-LS near-lossless": ("ct_enhanced_multiframe/CT0012.fragmented_no_bot_jpeg_ls.81.dcm", "-xu"),
    "JPEG lossless": ("ct_chest_4dlung_113/dicom/0001.dcm", "-xs"),
    "JPEG baseline": ("us/examples_ybr_color.dcm", "-xy"),
    "JPEG extended": ("ct_enhanced_multiframe/CT0012.fragmented_no_bot_jpeg_baseline.51.dcm", "-xx"),
    "JPEG 2000 lossless": ("ts_ct/CT1_J2KR", "-xv"),
    "JPEG 2000": ("cxr/RG1_J2KI", "-xw"),
    "explicit big endian": (pydicom.data.get_testdata_file("MR_small_bigendian.dcm", download=False), "-xb"),
    "RLE": ("ct_enhanced_multiframe/CT0012.not_fragmented_no_bot_rle.dcm", "-xr"),
}


def storescu(port: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["storescu", "-v", "-aet", "CT01", "-aec", "RADMETER", "127.0.0.1", str(port)]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def dicom_files(place: Path) -> list[Path]:
    """A file, or the Part 10 files of a folder."""
    paths = [path for path in sorted(place.iterdir()) if path.is_file()] if place.is_dir() else [place]
    return [path for path in paths if path.read_bytes()[128:132] == b"DICM"]


def assert_kept(running: RunningAcceptor, path: Path) -> None:
    """The instance of `path` lies in the store with its pixels as they were, and its row says so.

    storescu writes some data sets anew (group lengths, lengths of sequences), so its bytes on the wire need
    not be those of the file; the digest is of the wire.
    """
    source = pydicom.dcmread(path)
    received = running.sink.received[str(source.SOPInstanceUID)]
    stored = running.acceptor.store.path_of(received.location)
    data = data_set_of(stored)
    assert received.blake3 == blake3(data).hexdigest()
    assert received.size_bytes == len(data)
    assert received.transfer_syntax_uid == source.file_meta.TransferSyntaxUID
    assert (received.study_instance_uid, received.series_instance_uid, received.modality) == (
        source.StudyInstanceUID,
        source.SeriesInstanceUID,
        source.Modality,
    )
    kept = pydicom.dcmread(stored)
    assert kept.file_meta.SourceApplicationEntityTitle == "CT01"
    assert kept.get("PixelData") == source.get("PixelData")
    assert list(kept.keys()) == [tag for tag in source.keys() if tag.element != 0]  # noqa: SIM118


@pytest.mark.peer
class TestDcmtk:
    def test_echo_is_answered(self, acceptor: RunningAcceptor) -> None:
        command = ["echoscu", "-aec", "RADMETER", "127.0.0.1", str(acceptor.port)]
        assert subprocess.run(command, timeout=30).returncode == 0

    @pytest.mark.parametrize("syntax", SYNTAXES)
    def test_a_push_is_kept_byte_for_byte(
        self, acceptor: RunningAcceptor, shared_data: Path, syntax: str
    ) -> None:
        place, option = SYNTAXES[syntax]
        source = shared_data / place
        paths = dicom_files(source)
        push = storescu(acceptor.port, option, *paths)
        assert push.returncode == 0, push.stderr
        assert push.stderr.count("Received Store Response (Success)") == len(paths)
        for path in paths:
            assert_kept(acceptor, path)
        assert len(acceptor.stored_files()) == len(paths) == len(acceptor.sink.received)
        assert acceptor.sink.closed == {1: "released"}

    def test_a_tiny_and_a_large_pdu_length_both_work(
        self, start_acceptor: StartAcceptor, shared_data: Path
    ) -> None:
        path = shared_data / "ct_not_axial/A002304_coronal/19001231-076.dcm"
        for length in (4096, 16384, 1 << 20):
            running = start_acceptor(pdu_length_max=length)
            assert storescu(running.port, "-xe", path).returncode == 0
            assert len(running.stored_files()) == 1

    def test_a_study_over_four_associations_at_once_is_whole(
        self, acceptor: RunningAcceptor, shared_data: Path
    ) -> None:
        paths = sorted((shared_data / "ct_chest_4dlung_113/dicom").glob("*.dcm"))
        command = ["storescu", "-xs", "-aet", "CT01", "-aec", "RADMETER", "127.0.0.1", str(acceptor.port)]
        pushes = [subprocess.Popen([*command, *map(str, paths[part::4])]) for part in range(4)]
        assert [push.wait(timeout=120) for push in pushes] == [0] * 4
        for path in paths:
            assert_kept(acceptor, path)

    def test_an_unknown_called_or_calling_title_is_rejected_for_good(
        self, start_acceptor: StartAcceptor
    ) -> None:
        running = start_acceptor(sink=MemorySink(known_peers={"CT01"}))
        for calling, called, words in (
            ("CT01", "ELSEWHERE", "Called AE Title Not Recognized"),
            ("CT02", "RADMETER", "Calling AE Title Not Recognized"),
        ):
            command = ["echoscu", "-v", "-aet", calling, "-aec", called, "127.0.0.1", str(running.port)]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
            assert answer.returncode != 0
            assert words in answer.stderr
            assert "Rejected Permanent" in answer.stderr
        assert running.sink.opened == []


@pytest.fixture
def orthanc(tmp_path: Path, acceptor: RunningAcceptor, free_port: int) -> Iterator[str]:
    """URL of a real Orthanc that knows the acceptor as the modality "radmeter"."""
    configuration = {
        "Name": "TESTPACS",
        "StorageDirectory": str(tmp_path / "orthanc"),
        "IndexDirectory": str(tmp_path / "orthanc"),
        "HttpPort": free_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "DicomAet": "CT01",
        "DicomModalities": {"radmeter": ["RADMETER", "127.0.0.1", acceptor.port]},
    }
    path = tmp_path / "orthanc.json"
    path.write_text(json.dumps(configuration))
    process = subprocess.Popen(["Orthanc", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{free_port}"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"{url}/system", timeout=2).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "Orthanc does not start"
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def post(url: str, body: bytes) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, data=body, method="POST"), timeout=60) as answer:
        return json.load(answer)


@pytest.mark.peer
def test_orthanc_pushes_a_series(orthanc: str, acceptor: RunningAcceptor, shared_data: Path) -> None:
    paths = dicom_files(shared_data / "ct_chest_4dlung_113/dicom")[:12]
    paths += sorted((shared_data / "ct_not_axial").rglob("*.dcm"))
    numbers = [post(f"{orthanc}/instances", path.read_bytes())["ID"] for path in paths]
    job = post(f"{orthanc}/modalities/radmeter/store", json.dumps(numbers).encode())
    assert job["InstancesCount"] == len(paths)
    assert job["FailedInstancesCount"] == 0
    assert len(acceptor.stored_files()) == len(acceptor.sink.received) == len(paths)
    for path in paths:
        source = pydicom.dcmread(path)
        stored = acceptor.acceptor.store.path_of(acceptor.sink.received[str(source.SOPInstanceUID)].location)
        assert pydicom.dcmread(stored).PixelData == source.PixelData


def test_pynetdicom_stores_and_echoes(acceptor: RunningAcceptor) -> None:
    entity = AE(ae_title="CT01")
    contexts = [build_context(RawPeer.CT), build_context(RawPeer.VERIFICATION)]
    link = entity.associate("127.0.0.1", acceptor.port, contexts=contexts, ae_title="RADMETER")
    assert link.is_established
    assert link.acceptor.implementation_version_name == "RADMETER_0.1"
    assert {context.transfer_syntax[0] for context in link.accepted_contexts} == {RawPeer.EXPLICIT}
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    assert link.send_c_echo().Status == 0
    assert link.send_c_store(dataset).Status == 0
    link.release()
    assert list(acceptor.sink.received) == [dataset.SOPInstanceUID]


class TestMeaning:
    """What an answer stands for, seen with bytes of the test's own making."""

    def test_the_same_instance_again_is_a_success_without_a_second_copy(
        self, acceptor: RunningAcceptor
    ) -> None:
        with RawPeer(acceptor.port) as peer:
            peer.associate()
            data = ct_data_set("1.2.3.4.5")
            assert [peer.store(data, "1.2.3.4.5") for _ in range(3)] == [0, 0, 0]
            peer.release()
        assert acceptor.sink.outcomes == [RecordOutcome.STORED] + [RecordOutcome.IDENTICAL] * 2
        assert len(acceptor.all_files()) == 1

    def test_other_content_under_the_same_uid_is_quarantined_and_the_first_kept(
        self, acceptor: RunningAcceptor
    ) -> None:
        first, second = ct_data_set("1.2.3.4.5"), ct_data_set("1.2.3.4.5", pixel_bytes=4096)
        with RawPeer(acceptor.port) as peer:
            peer.associate()
            assert peer.store(first, "1.2.3.4.5") == 0x0000
            assert peer.store(second, "1.2.3.4.5") == 0x0111
            peer.release()
        kept, quarantined = acceptor.stored_files(), list((acceptor.root / "quarantine").iterdir())
        assert [data_set_of(path) for path in kept] == [first]
        assert [data_set_of(path) for path in quarantined] == [second]

    def test_fragments_of_any_size_and_many_values_in_a_pdu_make_the_same_instance(
        self, acceptor: RunningAcceptor
    ) -> None:
        data = ct_data_set("1.2.3.4.5")
        command = RawPeer.command(1, RawPeer.CT, "1.2.3.4.5")
        values = [
            (1, command[:7]),
            (1, b""),
            (3, command[7:]),
            (0, data[:1]),
            (0, b""),
            (0, data[1:100]),
            (2, data[100:]),
        ]
        body = b"".join(RawPeer.fragment(control, part)[6:] for control, part in values)
        with RawPeer(acceptor.port) as peer:
            peer.associate()
            peer.send(RawPeer.pdu(4, body))
            assert peer.read_status() == 0
            assert peer.store(data, "1.2.3.4.5", fragment_bytes=1) == 0
            peer.release()
        assert acceptor.sink.outcomes == [RecordOutcome.STORED, RecordOutcome.IDENTICAL]

    def test_contexts_are_answered_one_by_one(self, acceptor: RunningAcceptor) -> None:
        with RawPeer(acceptor.port) as peer:
            deflated = "1.2.840.10008.1.2.1.99"
            answer = peer.associate(
                (RawPeer.CT, RawPeer.EXPLICIT), ("1.2.3", RawPeer.EXPLICIT), (RawPeer.CT, deflated)
            )
            results = {}
            position = 68
            while position < len(answer):
                length = int.from_bytes(answer[position + 2 : position + 4], "big")
                if answer[position] == 0x21:
                    results[answer[position + 4]] = answer[position + 6]
                position += 4 + length
            assert results == {1: 0, 3: 3, 5: 4}

    def test_an_operation_we_do_not_know_is_answered_and_the_association_lives(
        self, acceptor: RunningAcceptor
    ) -> None:
        with RawPeer(acceptor.port) as peer:
            peer.associate((RawPeer.CT, RawPeer.EXPLICIT), (RawPeer.VERIFICATION, RawPeer.EXPLICIT))
            peer.send(RawPeer.fragment(3, RawPeer.command(0x0020, RawPeer.CT)))  # C-FIND
            peer.send(RawPeer.fragment(2, b"\x08\0\x05\0\0\0\0\0"))
            assert peer.read_status() == 0x0211
            assert peer.echo(context_id=3) == 0
            peer.release()

    def test_a_peer_that_aborts_or_vanishes_is_noted_so(self, acceptor: RunningAcceptor) -> None:
        with RawPeer(acceptor.port) as peer:
            peer.associate()
            peer.send(RawPeer.pdu(7, bytes(4)))
            assert peer.read_pdu() == (0, b"")
        with RawPeer(acceptor.port) as peer:
            peer.associate()
        wait_until(lambda: len(acceptor.sink.closed) == 2)
        assert acceptor.sink.closed == {1: "aborted", 2: "lost"}
