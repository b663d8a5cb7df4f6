"""Our result objects at real peers: Orthanc, dcmqrscp, storescp; and at peers that fail in every way they can."""

from __future__ import annotations

import dataclasses
import io
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_gateway.deliver_dimse import echo, send_instances
from dicom_gateway.delivery_outcome import DeliveryOutcome
from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.scu_association import Destination
from dicom_gateway.tls import client_context
from tests.archive_peers import DICOMWEB_PLUGIN, GDCM_PLUGIN, RunningArchive, dcmqrscp, orthanc
from tests.dicom_gateway.test_deliver_dimse import wait_for_port, write_instance
from tests.dicom_peers import data_set_of
from tests.ports import free_port
from tests.raw_peer import RawPeer
from tests.result_builders import synthetic_result
from tests.scripted_pacs import ABORT, STALL, ScriptedPacs
from tests.tls_files import Authority

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


def at(port: int, **options: object) -> Destination:
    return Destination("127.0.0.1", port, "PACS", "RADMETER", **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An SR, a SEG and a PDF as the encode step leaves them."""
    folder, context = tmp_path_factory.mktemp("results"), synthetic_result()
    made: dict[str, Dataset | None] = {
        "sr": encode_sr(context), "seg": encode_seg(context), "pdf": encode_pdf(context, b"%PDF-1.7 test"),
    }  # fmt: skip
    paths = []
    for name, dataset in made.items():
        assert dataset is not None
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        path = folder / f"{name}.dcm"
        path.write_bytes(buffer.getvalue())
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RunningArchive]]:
    with ExitStack() as stack:
        made = tmp_path_factory.mktemp
        yield {
            "orthanc": stack.enter_context(orthanc(made("plain"))),
            "orthanc with GDCM": stack.enter_context(
                orthanc(made("gdcm"), plugins=(DICOMWEB_PLUGIN, GDCM_PLUGIN))
            ),
            "dcmqrscp": stack.enter_context(dcmqrscp(made("dcmqrscp"))),
        }


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[int]:
    folder.mkdir(exist_ok=True)
    port = free_port()
    process = subprocess.Popen(["storescp", *options, "-od", str(folder), str(port)])
    try:
        wait_for_port(port)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["orthanc", "orthanc with GDCM", "dcmqrscp"])
def test_archives_take_our_results_and_take_them_again(
    archives: dict[str, RunningArchive], results: list[Path], name: str
) -> None:
    if "GDCM" in name and not GDCM_PLUGIN.exists():
        pytest.skip("orthanc-gdcm is not installed")
    for _ in range(2):
        outcomes = send_instances(results, archives[name].destination)
        assert [(one.acknowledged, one.status, one.error) for one in outcomes] == [(True, 0, None)] * 3


@pytest.mark.peer
class TestStorescp:
    @pytest.mark.parametrize("option", ["+x=", "+xe", "+xi"], ids=["any", "explicit", "implicit"])
    def test_one_that_takes_only_some_uncompressed_encoding_gets_it(
        self, tmp_path: Path, results: list[Path], option: str
    ) -> None:
        with storescp(tmp_path / "pacs", option, "+B") as port:
            outcomes = send_instances(results, at(port))
        assert all(one.acknowledged for one in outcomes)
        arrived = [pydicom.dcmread(path, force=True) for path in (tmp_path / "pacs").iterdir()]
        syntaxes = {str(dataset.file_meta.TransferSyntaxUID) for dataset in arrived}
        assert syntaxes == {IMPLICIT if option == "+xi" else EXPLICIT}
        for dataset in arrived:
            if "PixelData" in dataset:
                dataset["PixelData"].VR = "OB"  # always OW where VRs are implicit (PS3.5 annex A.1)
        sent = [pydicom.dcmread(path) for path in results]
        assert {one.SOPInstanceUID: one for one in arrived} == {one.SOPInstanceUID: one for one in sent}

    @pytest.mark.parametrize("option", ["--refuse", "--abort-after", "--abort-during"])
    def test_one_that_refuses_or_aborts_has_acknowledged_nothing(
        self, tmp_path: Path, results: list[Path], option: str
    ) -> None:
        with storescp(tmp_path / "pacs", option) as port:
            outcomes = send_instances(results, at(port, dimse_timeout_s=5, acse_timeout_s=5))
        assert not any(one.acknowledged or one.is_refusal for one in outcomes), outcomes
        assert all(one.error for one in outcomes)

    def test_one_that_is_slower_than_its_time_has_not_acknowledged(
        self, tmp_path: Path, results: list[Path]
    ) -> None:
        started = time.monotonic()
        with storescp(tmp_path / "pacs", "--sleep-during", "4") as port:
            outcomes = send_instances(results, at(port, dimse_timeout_s=1))
        assert not any(one.acknowledged for one in outcomes)
        assert time.monotonic() - started < 20

    def test_over_tls_with_certificates_on_both_sides(self, tmp_path: Path, results: list[Path]) -> None:
        authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
        pacs, ours = authority.sign("127.0.0.1"), authority.sign("radmeter.test")
        options = ("+tls", str(pacs.key), str(pacs.certificate), "+cf", str(authority.path))
        with storescp(tmp_path / "pacs", *options, "+B") as port:
            good = client_context(authorities=authority.path, certificate=ours.certificate, key=ours.key)
            outcomes = send_instances(results, at(port, tls=good))
            distrusting = client_context(authorities=stranger.path)
            refused = send_instances(results, at(port, tls=distrusting))
            plain = send_instances(results, at(port, acse_timeout_s=2))
        assert all(one.acknowledged for one in outcomes)
        assert not any(one.acknowledged for one in (*refused, *plain))
        arrived = {data_set_of(path) for path in (tmp_path / "pacs").iterdir()}
        assert arrived == {data_set_of(path) for path in results}

    def test_who_sets_up_tls_is_told_what_is_wrong(self, tmp_path: Path) -> None:
        authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
        pacs, ours, foreign = authority.sign("127.0.0.1"), authority.sign("us"), stranger.sign("us")
        options = ("+tls", str(pacs.key), str(pacs.certificate), "+cf", str(authority.path))
        trusting = client_context(authorities=authority.path, certificate=ours.certificate, key=ours.key)
        with storescp(tmp_path / "pacs", *options) as port, storescp(tmp_path / "plain") as plain_port:
            assert echo(at(port, tls=trusting)) is None
            told = [
                echo(at(port, tls=client_context(authorities=stranger.path))),
                echo(at(port, tls=client_context(authorities=authority.path))),
                echo(at(port, tls=client_context(
                    authorities=authority.path, certificate=foreign.certificate, key=foreign.key
                ))),
                echo(at(port)),
                echo(at(plain_port, tls=trusting)),
                echo(dataclasses.replace(at(port), host="pacs.invalid")),
            ]  # fmt: skip
        assert told == [
            "the certificate is not believed: self-signed certificate in certificate chain",
            "TLS handshake failed: tlsv13 alert certificate required",
            "TLS handshake failed: tlsv1 alert unknown ca",
            "the peer closed the connection without an answer; it may speak TLS only",
            "the connection broke during the TLS handshake",
            "no address is known for the host pacs.invalid",
        ]


class TestScripted:
    @pytest.mark.parametrize(
        ("answer", "acknowledged", "is_refusal"),
        [
            (0x0000, True, False), (0xB000, True, False), (0xB006, True, False), (0xB007, True, False),
            (0xA700, False, False), (0x0110, False, False), (0x0213, False, False),
            (0x0122, False, True), (0xA900, False, True), (0xC000, False, True), (0x0124, False, True),
        ],
    )  # fmt: skip
    def test_each_status_has_its_meaning(
        self, tmp_path: Path, answer: int, acknowledged: bool, is_refusal: bool
    ) -> None:
        with ScriptedPacs.listening() as pacs:
            pacs.answers[CT] = [answer]
            (outcome,) = send_instances([write_instance(tmp_path / "x.dcm")], at(pacs.port))
        assert (outcome.status, outcome.acknowledged, outcome.is_refusal) == (
            answer,
            acknowledged,
            is_refusal,
        )
        assert (outcome.warning is not None) == (0xB000 <= answer < 0xC000)
        assert (outcome.error is None) == acknowledged

    @pytest.mark.parametrize("what", [ABORT, STALL])
    def test_what_was_answered_before_it_broke_counts_and_no_more(self, tmp_path: Path, what: int) -> None:
        paths = [write_instance(tmp_path / f"{number}.dcm", number) for number in (1, 2, 3)]
        with ScriptedPacs.listening() as pacs:
            pacs.answers[CT] = [0, what]
            outcomes = send_instances(paths, at(pacs.port, dimse_timeout_s=1.5))
        assert [one.acknowledged for one in outcomes] == [True, False, False]
        assert not any(one.is_refusal for one in outcomes)

    def test_over_tls(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path / "ca")
        identity = authority.sign("127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.key)
        tls = client_context(authorities=authority.path)
        with ScriptedPacs.listening(tls=context) as pacs:
            assert echo(at(pacs.port, tls=tls)) is None


def accepted(request: bytes) -> bytes:
    """An A-ASSOCIATE-AC to our request that accepts each presentation context with its first transfer syntax."""
    items, position = RawPeer.item(0x10, b"1.2.840.10008.3.1.1.1"), 68
    while position < len(request):
        kind, length = struct.unpack_from(">BxH", request, position)
        body = request[position + 4 : position + 4 + length]
        if kind == 0x20:
            syntax = body[body.index(b"\x40\x00") :]
            items += RawPeer.item(0x21, body[:1] + bytes(3) + syntax)
        position += 4 + length
    items += RawPeer.item(0x50, RawPeer.item(0x51, struct.pack(">I", 16384)) + RawPeer.item(0x52, b"1.2.3"))
    return RawPeer.pdu(2, request[:68] + items)


@contextmanager
def raw(after: str) -> Iterator[int]:
    """A peer that accepts the association and then reads nothing, resets, or drips a response."""
    done = threading.Event()

    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            peer, _ = server.accept()
            with peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                header = peer.recv(6, socket.MSG_WAITALL)
                (length,) = struct.unpack(">I", header[2:])
                peer.sendall(accepted(peer.recv(length, socket.MSG_WAITALL)))
                if after == "drips":
                    peer.recv(1000)
                    for byte in RawPeer.fragment(3, bytes(200)):
                        peer.sendall(bytes([byte]))
                        if done.wait(0.3):
                            break
                elif after == "reads nothing":
                    done.wait(60)
                else:
                    peer.recv(1000)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        done.set()
        thread.join(5)


@pytest.mark.parametrize("after", ["reads nothing", "resets", "drips"])
def test_a_peer_that_accepts_and_then_fails_does_not_hold_us(tmp_path: Path, after: str) -> None:
    big = write_instance(tmp_path / "big.dcm")
    dataset = pydicom.dcmread(big)
    dataset.add_new((0x0009, 0x0010), "LO", "TEST")
    dataset.add_new((0x0009, 0x1001), "OB", bytes(32 << 20))
    dataset.save_as(big, enforce_file_format=True)
    started = time.monotonic()
    with raw(after) as port:
        outcomes: list[DeliveryOutcome] = send_instances([big], at(port, dimse_timeout_s=2, acse_timeout_s=2))
    assert [(one.acknowledged, one.is_refusal) for one in outcomes] == [(False, False)]
    assert time.monotonic() - started < 20
