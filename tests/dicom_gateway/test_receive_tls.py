"""The acceptor's TLS port against DCMTK, pynetdicom, OpenSSL and peers that mean no good."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE

from dicom_gateway.receive_dimse import Listener
from dicom_gateway.tls import TLSContexts, TLSFiles, client_context, secure_as_server
from tests.ct_files import ramp, write
from tests.dicom_peers import (
    RawPeer,
    RunningAcceptor,
    StartAcceptor,
    ct_data_set,
    data_set_of,
    wait_until,
)
from tests.tls_files import Authority, Identity

StartTLS = Callable[..., RunningAcceptor]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Identity:
    return authority.sign("127.0.0.1", file="server")


@pytest.fixture(scope="module")
def scanner(authority: Authority) -> Identity:
    return authority.sign("ct1.example", common_name="CT1", file="scanner")


@pytest.fixture
def start_tls(start_acceptor: StartAcceptor, authority: Authority, server: Identity) -> StartTLS:
    """A function that starts an acceptor with a TLS port: `tls` are changes to the files, the rest its settings."""

    def start(tls: dict[str, Any] | None = None, **settings: Any) -> RunningAcceptor:
        files = TLSFiles(server.certificate, server.key, authority.path, **(tls or {}))
        handshake = secure_as_server(TLSContexts(files))
        return start_acceptor(listeners=[Listener("127.0.0.1", 0, handshake)], **settings)

    return start


def dcmtk(program: str, port: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [
        program,
        "-v",
        "-aet",
        "CT01",
        "-aec",
        "RADMETER",
        *arguments[:-1],
        "127.0.0.1",
        str(port),
        arguments[-1],
    ]
    return subprocess.run(
        [part for part in command if part != ""], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.peer
class TestRealPeers:
    @pytest.mark.parametrize("profile", ["+py", "+px", "+pz"])  # non-downgrading, BCP 195, extended
    def test_dcmtk_stores_with_its_certificate(
        self, start_tls: StartTLS, authority: Authority, scanner: Identity, tmp_path: Path, profile: str
    ) -> None:
        running = start_tls({"client_certificate": "required"})
        (path,) = write(tmp_path / "in", ramp((1, 64, 64)))
        own = ("+tls", scanner.key, scanner.certificate)
        push = dcmtk("storescu", running.port, *own, "+cf", authority.path, profile, "-xe", path)
        assert push.returncode == 0, push.stderr
        (stored,) = running.stored_files()
        assert data_set_of(stored) == data_set_of(path)
        wait_until(lambda: running.sink.closed == {1: "released"})

    @pytest.mark.parametrize(
        ("wanted", "is_let_in"), [("required", False), ("optional", True), ("none", True)]
    )
    def test_dcmtk_without_a_certificate(
        self, start_tls: StartTLS, authority: Authority, wanted: str, is_let_in: bool
    ) -> None:
        running = start_tls({"client_certificate": wanted})
        echo = dcmtk("echoscu", running.port, "+tla", "+cf", authority.path, "")
        assert (echo.returncode == 0) is is_let_in, echo.stderr
        if not is_let_in:
            wait_until(lambda: [one.kind for one in running.sink.alerts] == ["tls_failed"])
            assert "peer did not return a certificate" in running.sink.alerts[0].reason

    def test_pynetdicom_with_our_client_context(
        self, start_tls: StartTLS, authority: Authority, scanner: Identity
    ) -> None:
        running = start_tls()
        context = client_context(authorities=authority.path, certificate=scanner.certificate, key=scanner.key)
        entity = AE(ae_title="CT01")
        entity.add_requested_context("1.2.840.10008.1.1")
        link = entity.associate(
            "127.0.0.1", running.port, ae_title="RADMETER", tls_args=(context, "127.0.0.1")
        )
        assert link.is_established
        assert link.send_c_echo().Status == 0
        link.release()
        (certificate,) = running.sink.certificates
        assert certificate is not None
        assert certificate.names > {"cn:ct1", "dns:ct1.example", certificate.fingerprint}
        (subject,) = (name for name in certificate.names if name.startswith("subject:"))
        assert subject.endswith("CN=CT1")

    def test_dcmtk_listens_to_our_client_context(
        self, authority: Authority, server: Identity, free_port: int, tmp_path: Path
    ) -> None:
        command = [
            "storescp",
            "+tls",
            server.key,
            server.certificate,
            "+cf",
            authority.path,
            "-ic",
            "-od",
            tmp_path,
        ]
        process = subprocess.Popen([*command, str(free_port)])
        try:
            entity = AE(ae_title="RADMETER")
            entity.add_requested_context("1.2.840.10008.1.1")
            context = client_context(authorities=authority.path)
            wait_until(lambda: _answers(free_port))
            link = entity.associate("127.0.0.1", free_port, tls_args=(context, "127.0.0.1"))
            assert link.is_established
            assert link.send_c_echo().Status == 0
            link.release()
        finally:
            process.kill()
            process.wait()

    def test_openssl_cannot_renegotiate(self, start_tls: StartTLS, authority: Authority) -> None:
        running = start_tls({"client_certificate": "none"})
        command = [
            "openssl",
            "s_client",
            "-connect",
            f"127.0.0.1:{running.port}",
            "-tls1_2",
            "-CAfile",
            authority.path,
        ]
        asked = subprocess.run(command, input="R\n", capture_output=True, text=True, timeout=30, check=False)
        assert "Cipher    : ECDHE-ECDSA-AES256-GCM-SHA384" in asked.stdout
        assert "Compression: NONE" in asked.stdout
        assert asked.stderr.count("RENEGOTIATING") == 1
        assert "no renegotiation" in asked.stderr


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class TestDeadlines:
    def test_silent_connections_delay_nobody_and_are_closed(
        self, start_tls: StartTLS, authority: Authority
    ) -> None:
        running = start_tls({"client_certificate": "none"}, acse_timeout_s=1.5, associations_per_host_max=50)
        silent = [
            socket.create_connection(("127.0.0.1", running.port), source_address=("127.0.0.9", 0))
            for _ in range(50)
        ]
        began = time.monotonic()
        for _ in range(20):
            with RawPeer(running.port, tls=client_context(authorities=authority.path)) as peer:
                peer.associate((RawPeer.VERIFICATION, RawPeer.EXPLICIT))
                assert peer.echo() == 0
                peer.release()
        assert time.monotonic() - began < 10
        for sock in silent:
            sock.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""
            sock.close()
        wait_until(lambda: running.acceptor.statistics()["associations_open"] == 0)
        assert {one.reason for one in running.sink.alerts} == {"no TLS handshake within its deadline"}

    def test_a_handshake_byte_by_byte_ends_at_the_deadline(self, start_tls: StartTLS) -> None:
        running = start_tls({"client_certificate": "none"}, acse_timeout_s=1.0)
        with socket.create_connection(("127.0.0.1", running.port)) as sock:
            began = time.monotonic()
            with contextlib.suppress(OSError):
                for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100):
                    sock.sendall(bytes([byte]))
                    time.sleep(0.1)
            assert 0.9 < time.monotonic() - began < 4

    def test_a_pdu_byte_by_byte_ends_at_its_deadline(self, start_tls: StartTLS, authority: Authority) -> None:
        running = start_tls({"client_certificate": "none"}, pdu_deadline_s=1.0)
        with RawPeer(running.port, tls=client_context(authorities=authority.path)) as peer:
            peer.associate()
            began = time.monotonic()
            with contextlib.suppress(OSError):
                for byte in RawPeer.fragment(3, bytes(500)):
                    peer.send(bytes([byte]))
                    time.sleep(0.1)
            assert 0.9 < time.monotonic() - began < 4
        wait_until(lambda: running.sink.closed == {1: "lost"})

    def test_who_says_nothing_after_the_handshake_is_closed(
        self, start_tls: StartTLS, authority: Authority
    ) -> None:
        port = start_tls({"client_certificate": "none"}, acse_timeout_s=0.5).port
        with RawPeer(port, tls=client_context(authorities=authority.path)) as peer:
            assert peer.read_pdu()[0] in (0, 7)


class TestMisuse:
    def test_plain_dicom_on_the_tls_port(self, start_tls: StartTLS) -> None:
        running = start_tls()
        with RawPeer(running.port) as peer:
            peer.send(RawPeer.request())
            pdu_type, _ = peer.read_pdu()
            assert pdu_type != 2
        wait_until(lambda: [one.kind for one in running.sink.alerts] == ["tls_failed"])

    def test_garbage_never_harms(self, start_tls: StartTLS, authority: Authority) -> None:
        running = start_tls({"client_certificate": "none"}, acse_timeout_s=0.5)
        chance = random.Random(20261126)
        context = client_context(authorities=authority.path)
        for number in range(200):
            with contextlib.suppress(OSError), RawPeer(running.port) as peer:
                peer.send(b"\x16\x03\x01" * (number % 2) + chance.randbytes(chance.randrange(1, 2000)))
            if number % 10 == 0:
                with contextlib.suppress(OSError), RawPeer(running.port, tls=context) as peer:
                    peer.send(chance.randbytes(chance.randrange(1, 2000)))
        with RawPeer(running.port, "127.0.0.7", tls=context) as peer:
            peer.associate((RawPeer.VERIFICATION, RawPeer.EXPLICIT))
            assert peer.echo() == 0
            peer.release()
        wait_until(lambda: running.acceptor.statistics()["associations_open"] == 0)
        assert running.all_files() == []

    def test_a_full_acceptor_closes_before_the_handshake(
        self, start_tls: StartTLS, authority: Authority
    ) -> None:
        running = start_tls({"client_certificate": "none"}, associations_per_host_max=1)
        context = client_context(authorities=authority.path)
        with RawPeer(running.port, tls=context) as first:
            first.associate((RawPeer.VERIFICATION, RawPeer.EXPLICIT))
            with pytest.raises((ssl.SSLError, ConnectionError)), RawPeer(running.port, tls=context):
                pass
            assert first.echo() == 0


class TestConversation:
    def test_large_objects_in_any_pieces(self, start_tls: StartTLS, authority: Authority) -> None:
        running = start_tls({"client_certificate": "none"})
        with RawPeer(running.port, tls=client_context(authorities=authority.path)) as peer:
            peer.associate()
            for number, size in enumerate((1, 100, 16378, 16379, 262138), start=1):
                data_set = ct_data_set(f"1.2.3.4.{number}", pixel_bytes=1_000_000)
                assert peer.store(data_set, f"1.2.3.4.{number}", fragment_bytes=max(size, 5000)) == 0
            peer.release()
        assert len(running.stored_files()) == 5

    def test_the_end_is_told_by_close_notify(self, start_tls: StartTLS, authority: Authority) -> None:
        running = start_tls({"client_certificate": "none"})
        with RawPeer(running.port, tls=client_context(authorities=authority.path)) as peer:
            peer.associate()
            peer.release()
            assert isinstance(peer.socket, ssl.SSLSocket)
            peer.socket.suppress_ragged_eofs = False
            assert peer.socket.recv(1) == b""  # a bare end would raise SSLEOFError

    def test_a_drain_ends_idle_associations(self, start_tls: StartTLS, authority: Authority) -> None:
        running = start_tls({"client_certificate": "none"})
        with RawPeer(running.port, tls=client_context(authorities=authority.path)) as peer:
            peer.associate()
            running.acceptor.stop(5.0)
            assert peer.read_pdu()[0] in (0, 7)
        running.thread.join(5)
        assert not running.thread.is_alive()
