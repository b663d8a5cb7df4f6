"""TLS contexts against OpenSSL and DCMTK: versions, suites, who believes whom, certificates that are renewed."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from dicom_gateway.errors import TLSFilesUnusable
from dicom_gateway.tls import (
    SUITES,
    TLSContexts,
    TLSFiles,
    TLSProfile,
    client_context,
    days_left,
    server_context,
)
from tests.tls_files import Authority, Identity


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Identity:
    return authority.sign("127.0.0.1", "localhost", file="server")


def handshake(server_side: ssl.SSLContext, client_side: ssl.SSLContext, name: str = "localhost") -> str:
    """Version and suite that the two agree on, or the name of the client's error."""
    ours, theirs = socket.socketpair()
    outcome: list[str] = []

    def accept() -> None:
        try:
            with server_side.wrap_socket(ours, server_side=True) as link:
                link.sendall(b"!")
        except OSError:
            ours.close()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        with client_side.wrap_socket(theirs, server_hostname=name) as link:
            assert link.recv(1) == b"!"
            outcome = [str(link.version()), str((link.cipher() or ("",))[0])]
            assert link.compression() is None
    except OSError as error:
        return type(error).__name__
    finally:
        thread.join()
        theirs.close()
    return " ".join(outcome)


@contextmanager
def openssl_server(port: int, identity: Identity, *options: str) -> Iterator[None]:
    command = [
        "openssl",
        "s_server",
        "-accept",
        str(port),
        "-cert",
        identity.certificate,
        "-key",
        identity.key,
    ]
    process = subprocess.Popen(
        [*command, *options, "-quiet"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


class TestVersionsAndSuites:
    def test_both_ends_agree_on_tls_1_3(self, authority: Authority, server: Identity) -> None:
        found = handshake(
            server_context(TLSFiles(server.certificate, server.key, client_certificate="none")),
            client_context(authorities=authority.path),
        )
        assert found == "TLSv1.3 TLS_AES_256_GCM_SHA384"

    @pytest.mark.parametrize("key_type", list(trustme.KeyType))
    @pytest.mark.parametrize("profile", list(SUITES))
    def test_a_client_of_tls_1_2_gets_forward_secrecy(
        self, tmp_path: Path, key_type: trustme.KeyType, profile: TLSProfile
    ) -> None:
        made = Authority(tmp_path, key_type)
        identity = made.sign("localhost")
        files = TLSFiles(identity.certificate, identity.key, client_certificate="none", profile=profile)
        old = client_context(authorities=made.path)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        signature = "ECDSA" if key_type is trustme.KeyType.ECDSA else "RSA"
        assert handshake(server_context(files), old) == f"TLSv1.2 ECDHE-{signature}-AES256-GCM-SHA384"

    @pytest.mark.parametrize(
        ("suite", "profile", "is_taken"),
        [
            ("DHE-RSA-AES128-GCM-SHA256", "bcp195", False),
            ("DHE-RSA-AES128-GCM-SHA256", "bcp195-extended", True),
            ("ECDHE-RSA-AES128-GCM-SHA256", "bcp195", True),
            ("AES128-SHA", "bcp195-extended", False),  # no forward secrecy
            ("ECDHE-RSA-AES128-SHA", "bcp195-extended", False),  # no authenticated encryption
        ],
    )
    def test_a_suite_is_taken_by_the_profile_that_has_it(
        self, tmp_path: Path, suite: str, profile: TLSProfile, is_taken: bool
    ) -> None:
        made = Authority(tmp_path, trustme.KeyType.RSA)
        identity = made.sign("localhost")
        client = ssl.create_default_context(cafile=made.path)
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.set_ciphers(suite)
        files = TLSFiles(identity.certificate, identity.key, client_certificate="none", profile=profile)
        found = handshake(server_context(files), client)
        assert (found == f"TLSv1.2 {suite}") is is_taken, found

    def test_a_client_of_tls_1_1_is_refused(self, authority: Authority, server: Identity) -> None:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(authority.path)
        client.set_ciphers("ALL:@SECLEVEL=0")
        client.minimum_version, client.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        files = TLSFiles(server.certificate, server.key, client_certificate="none", profile="bcp195-extended")
        assert handshake(server_context(files), client) in ("SSLError", "ConnectionResetError")

    def test_our_client_refuses_a_server_of_tls_1_1(
        self, authority: Authority, server: Identity, free_port: int
    ) -> None:
        with openssl_server(free_port, server, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"):
            link = _connect(free_port)
            with pytest.raises(ssl.SSLError):
                client_context(authorities=authority.path).wrap_socket(link, server_hostname="localhost")


def _connect(port: int) -> socket.socket:
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            threading.Event().wait(0.05)
    raise AssertionError("nobody listens")


class TestTrust:
    def test_our_client_refuses_a_stranger(self, server: Identity, tmp_path: Path) -> None:
        files = TLSFiles(server.certificate, server.key, client_certificate="none")
        other = Authority(tmp_path)
        found = handshake(server_context(files), client_context(authorities=other.path))
        assert found == "SSLCertVerificationError"

    def test_our_client_checks_the_name_unless_told_otherwise(
        self, authority: Authority, server: Identity
    ) -> None:
        context = server_context(TLSFiles(server.certificate, server.key, client_certificate="none"))
        strict = client_context(authorities=authority.path)
        lax = client_context(authorities=authority.path, check_name=False)
        assert handshake(context, strict, "pacs.example") == "SSLCertVerificationError"
        assert handshake(context, lax, "pacs.example").startswith("TLSv1.3")

    def test_a_required_certificate_must_be_there_and_be_signed(
        self, authority: Authority, server: Identity, tmp_path: Path
    ) -> None:
        files = TLSFiles(server.certificate, server.key, authority.path, client_certificate="required")
        context = server_context(files)
        ours = authority.sign("ct1.example")
        forged = Authority(tmp_path).sign("ct1.example")

        def answer(identity: Identity | None) -> str:
            pair = {"certificate": identity.certificate, "key": identity.key} if identity else {}
            return handshake(context, client_context(authorities=authority.path, **pair))

        assert answer(ours).startswith("TLSv1.3")
        assert answer(None) in ("SSLError", "ConnectionResetError")
        assert answer(forged) in ("SSLError", "ConnectionResetError")


class TestFiles:
    def test_what_cannot_be_used_is_named(
        self, server: Identity, authority: Authority, tmp_path: Path
    ) -> None:
        (tmp_path / "empty.pem").write_text("")
        for files in (
            TLSFiles(tmp_path / "absent.pem", server.key, client_certificate="none"),
            TLSFiles(tmp_path / "empty.pem", server.key, client_certificate="none"),
            TLSFiles(server.certificate, server.certificate, client_certificate="none"),
            TLSFiles(server.certificate, server.key, tmp_path / "empty.pem"),
        ):
            with pytest.raises(TLSFilesUnusable, match=r"pem"):
                server_context(files)

    def test_a_key_with_a_password_is_an_error_not_a_question(self, server: Identity, tmp_path: Path) -> None:
        locked = tmp_path / "locked.pem"
        subprocess.run(
            ["openssl", "ec", "-aes128", "-passout", "pass:x", "-in", server.key, "-out", locked],
            check=True, capture_output=True,
        )  # fmt: skip
        with pytest.raises(TLSFilesUnusable, match="password"):
            server_context(TLSFiles(server.certificate, locked, client_certificate="none"))

    def test_client_certificates_cannot_be_checked_without_their_authorities(self, server: Identity) -> None:
        with pytest.raises(ValueError, match="authorities"):
            TLSFiles(server.certificate, server.key, client_certificate="required")

    def test_a_renewed_certificate_serves_the_next_connection(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        old = authority.sign("old.example", file="old")
        live = TLSFiles(tmp_path / "live.pem", tmp_path / "live-key.pem", client_certificate="none")
        _replace(live, old)
        contexts = TLSContexts(live)
        client = client_context(authorities=authority.path)
        assert handshake(contexts.current(), client, "old.example").startswith("TLSv1.3")
        _replace(live, authority.sign("new.example", file="new"))
        assert handshake(contexts.current(), client, "new.example").startswith("TLSv1.3")
        assert handshake(contexts.current(), client, "old.example") == "SSLCertVerificationError"

    def test_the_days_until_our_certificate_ends_are_known(self, tmp_path: Path) -> None:
        made = trustme.CA(key_type=trustme.KeyType.ECDSA)
        for days in (400, 20, -2):
            ends = datetime.now(UTC) + timedelta(days=days, hours=1)
            file = tmp_path / f"{days}.pem"
            issued = made.issue_cert("x", not_before=ends - timedelta(days=500), not_after=ends)
            issued.private_key_and_cert_chain_pem.write_to_path(file)
            assert days_left(TLSFiles(file, file, client_certificate="none")) == max(days, -1)

    def test_half_written_files_leave_the_former_certificate_in_force(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        live = TLSFiles(tmp_path / "live.pem", tmp_path / "live-key.pem", client_certificate="none")
        _replace(live, authority.sign("old.example", file="old2"))
        contexts = TLSContexts(live)
        live.certificate.write_bytes(live.certificate.read_bytes()[:100])
        assert (
            handshake(contexts.current(), client_context(authorities=authority.path), "old.example")[:4]
            == "TLSv"
        )
        _replace(live, authority.sign("new.example", file="new2"))
        assert (
            handshake(contexts.current(), client_context(authorities=authority.path), "new.example")[:4]
            == "TLSv"
        )


def _replace(files: TLSFiles, identity: Identity) -> None:
    """As certificate tools do: new files take the names of the old ones."""
    for source, target in ((identity.certificate, files.certificate), (identity.key, files.key)):
        copy = target.with_suffix(".next")
        copy.write_bytes(source.read_bytes())
        os.replace(copy, target)
