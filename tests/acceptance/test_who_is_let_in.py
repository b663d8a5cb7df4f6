"""A running server and who comes to it: by TLS or not, from where, with which certificate; and its audit trail."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicom_gateway.tls import client_context
from tests.dicom_peers import RawPeer, ct_data_set, wait_until
from tests.ports import free_port
from tests.server_process import RunningServer
from tests.tls_files import Authority, Identity

pytestmark = pytest.mark.peer

ELSEWHERE = "127.0.0.66"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def scanner(authority: Authority) -> Identity:
    return authority.sign("ct1.example", file="scanner")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[RunningServer]:
    tls_port = free_port()
    identity = authority.sign("127.0.0.1", file="server")
    made = RunningServer.new(
        DICOM_TLS_PORT=str(tls_port),
        DICOM_TLS_CERTIFICATE=str(identity.certificate),
        DICOM_TLS_KEY=str(identity.key),
        DICOM_TLS_AUTHORITIES=str(authority.path),
        DICOM_TLS_CLIENT_CERTIFICATE="required",
    )
    try:
        made.start()
        made.add_peer("PACS", 104, hosts=["127.0.0.0/26"])
        made.add_peer("CT1", 104, certificates=["dns:ct1.example"])
        yield made
        made.stop()
    finally:
        made.remove()


def tls_port(server: RunningServer) -> int:
    return int(server.options["DICOM_TLS_PORT"])


def trail(server: RunningServer) -> list[dict[str, Any]]:
    """The audit trail as an auditor gets it."""
    exported = server.command("audit", "export")
    assert exported.returncode == 0, exported.stderr
    return [json.loads(line) for line in exported.stdout.splitlines()]


def reasons(server: RunningServer) -> set[tuple[str, str, str]]:
    found = [(row["action"], json.loads(row["detail"])) for row in trail(server)]
    return {(action, one.get("reason", ""), one.get("host", "")) for action, one in found}


def rejection(port: int, source: str, calling: str, called: str) -> tuple[int, int, int]:
    """(result, source, reason) of the A-ASSOCIATE-RJ."""
    with RawPeer(port, source) as peer:
        peer.send(RawPeer.request(calling=calling, called=called))
        pdu_type, body = peer.read_pdu()
        assert pdu_type == 3, f"PDU {pdu_type}"
        return body[1], body[2], body[3]


def test_strangers_are_rejected_for_good_and_recorded(server: RunningServer) -> None:
    port = server.dicom_port
    assert rejection(port, "127.0.0.1", "NOBODY", "RADMETER") == (1, 1, 3)
    assert rejection(port, "127.0.0.1", "PACS", "SOMEONE") == (1, 1, 7)
    assert rejection(port, ELSEWHERE, "PACS", "RADMETER") == (1, 1, 3)
    assert rejection(port, "127.0.0.1", "CT1", "RADMETER") == (1, 1, 3)  # its certificate is missing
    assert reasons(server) >= {
        ("association_rejected", "calling AE title not recognized", "127.0.0.1"),
        ("association_rejected", "called AE title not recognized", "127.0.0.1"),
        ("association_rejected", "host not allowed for this peer", ELSEWHERE),
        ("association_rejected", "certificate not allowed for this peer", "127.0.0.1"),
    }
    assert {row["tenant"] for row in trail(server)} == {"default"}


def test_the_scanner_stores_by_tls_and_another_certificate_does_not(
    server: RunningServer, authority: Authority, scanner: Identity
) -> None:
    other = authority.sign("ct2.example", file="other")
    for identity, word in ((scanner, ""), (other, "Calling AE Title Not Recognized")):
        echo = subprocess.run(
            ["echoscu", "-v", "-aet", "CT1", "-aec", "RADMETER", "+tls", identity.key, identity.certificate,
             "+cf", authority.path, "127.0.0.1", str(tls_port(server))],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (echo.returncode == 0) is not bool(word), echo.stderr
        assert word in echo.stderr
    ours = client_context(authorities=authority.path, certificate=scanner.certificate, key=scanner.key)
    with RawPeer(tls_port(server), tls=ours) as peer:
        peer.associate(calling="CT1")
        assert peer.store(ct_data_set("1.2.3.4.1"), "1.2.3.4.1") == 0
        peer.release()
    refused = [one for one in trail(server) if "certificate not allowed" in one["detail"]]
    assert any('"certificate": "sha256:' in one["detail"] for one in refused)


def test_a_renewed_certificate_is_served_without_a_restart(
    server: RunningServer, authority: Authority, scanner: Identity
) -> None:
    ours = client_context(authorities=authority.path, certificate=scanner.certificate, key=scanner.key)

    def serial() -> object:
        with RawPeer(tls_port(server), tls=ours) as peer:
            assert isinstance(peer.socket, ssl.SSLSocket)
            return (peer.socket.getpeercert() or {})["serialNumber"]

    before = serial()
    renewed = authority.sign("127.0.0.1", file="renewed")
    for source, target in (
        (renewed.certificate, server.options["DICOM_TLS_CERTIFICATE"]),
        (renewed.key, server.options["DICOM_TLS_KEY"]),
    ):
        shutil.move(source, target)
    assert serial() != before


def test_a_flood_of_silent_and_of_unknown_peers_leaves_the_known_one_alone(server: RunningServer) -> None:
    silent = [
        socket.create_connection((("127.0.0.1"), tls_port(server)), source_address=(f"127.0.1.{n}", 0))
        for n in range(1, 51)
    ]
    answered, tried, until = 0, 0, time.monotonic() + 4
    while time.monotonic() < until:
        assert rejection(server.dicom_port, "127.0.2.9", "FLOOD", "RADMETER") == (1, 1, 3)
        with RawPeer(server.dicom_port, "127.0.0.5") as peer:
            peer.associate((RawPeer.VERIFICATION, RawPeer.EXPLICIT), calling="PACS")
            tried, answered = tried + 1, answered + (peer.echo() == 0)
            peer.release()
    for sock in silent:
        sock.close()
    assert answered == tried > 10
    flood = [one for one in trail(server) if json.loads(one["detail"]).get("host") == "127.0.2.9"]
    # Each receiving process writes its first one; the rest of this minute is counted.
    assert 1 <= len(flood) <= (os.cpu_count() or 1) + 1 < tried


def test_the_same_bytes_again_change_nothing_and_other_bytes_are_put_aside(server: RunningServer) -> None:
    first = ct_data_set("1.2.9.1", study="1.2.9")
    other = bytearray(first)
    other[-1] ^= 1
    with RawPeer(server.dicom_port) as peer:
        peer.associate(calling="PACS")
        assert [peer.store(first, "1.2.9.1") for _ in range(4)] == [0] * 4
        assert peer.store(bytes(other), "1.2.9.1") == 0x0111
        peer.release()
    rows = server.rows("SELECT * FROM instance WHERE sop_instance_uid = '1.2.9.1'")
    aside = server.rows("SELECT * FROM quarantined_instance WHERE sop_instance_uid = '1.2.9.1'")
    assert (len(rows), len(aside)) == (1, 1)
    assert (server.data / "instances" / aside[0]["location"]).is_file()
    wait_until(lambda: any(action == "instance_differs" for action, _, _ in reasons(server)))
    with server.signed_in() as client:
        study = client.get(f"/studies/{rows[0]['study_id']}").text
        assert "differ from the first and were kept aside" in study
        assert "Different images under a known UID" in client.get("/audit").text
    status = server.command("status")
    assert "instances kept aside" in status.stdout


def test_the_trail_is_whole_at_the_end_and_names_no_patient(server: RunningServer) -> None:
    verified = server.command("audit", "verify")
    assert verified.returncode == 0, verified.stderr
    text = json.dumps(trail(server)) + Path(server.log_path).read_text()
    assert "Nobody^Test" not in text
    assert "1.2.9.1" not in text
