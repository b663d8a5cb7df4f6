"""STOW-RS under attack: whatever comes, bounded memory, nothing half stored, and the next client is served."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dicom_gateway import receive_stow
from portal.streamed_body import BodyLimits
from tests.dicom_peers import wait_until
from tests.portal.live_portal import BOUNDARY, LivePortal, live_portal, multipart, part10
from tests.portal.portal_site import Site


@pytest.fixture
def live(site: Site) -> Iterator[LivePortal]:
    with live_portal(site, BodyLimits(window_s=1.0, window_bytes_min=1000)) as portal:
        yield portal
        # Whatever the test did: nothing half done is left, and the next client is served.
        wait_until(lambda: portal.temporary_files() == [])
        portal.site.owner.execute("UPDATE peer SET enabled = true")
        assert portal.stow([part10("9.9.9.9", study="9.9")]).status_code == 200


def answer_of(connection: socket.socket) -> bytes:
    with connection:
        data = b""
        while piece := connection.recv(65536):
            data += piece
            if b"\r\n\r\n" in data and b"Connection: close" not in data:
                break
    return data


def test_a_client_that_vanishes_in_a_part_leaves_nothing_of_it(live: LivePortal) -> None:
    body = multipart([part10("1.2.3.1"), part10("1.2.3.2")])
    connection = live.raw(len(body))
    connection.sendall(body[:-1000])
    wait_until(lambda: len(live.temporary_files()) == 2)
    connection.close()
    wait_until(lambda: live.temporary_files() == [])
    # What was whole is kept: sent again it is identical. What was not is not there.
    wait_until(lambda: [row["sop_instance_uid"] for row in live.instances()] == ["1.2.3.1"])
    ends = "SELECT 1 FROM association WHERE how = 'lost'"
    wait_until(lambda: live.site.owner.execute(ends).fetchone() is not None)


def test_a_slow_client_is_given_up_and_what_was_whole_is_kept(live: LivePortal) -> None:
    body = multipart([part10("1.2.3.1"), part10("1.2.3.2")])
    connection = live.raw(len(body))
    connection.sendall(body[:3000])
    began = time.monotonic()
    stop = threading.Event()

    def drip() -> None:
        for byte in body[3000:3200]:
            if stop.wait(0.1):
                return
            try:
                connection.sendall(bytes((byte,)))
            except OSError:
                return

    dripping = threading.Thread(target=drip)
    dripping.start()
    answer = answer_of(connection)
    stop.set()
    dripping.join()
    assert answer.startswith(b"HTTP/1.1 202"), answer
    assert time.monotonic() - began < 10
    assert [row["sop_instance_uid"] for row in live.instances()] == ["1.2.3.1"]


def test_a_body_that_never_begins_is_given_up(live: LivePortal) -> None:
    answer = answer_of(live.raw(10_000))
    assert answer.startswith(b"HTTP/1.1 408"), answer


def test_a_body_without_its_closing_boundary_keeps_what_was_whole_and_says_so(live: LivePortal) -> None:
    body = multipart([part10("1.2.3.1"), part10("1.2.3.2")])
    cut = live.post(body[: body.rindex(b"\r\n--" + BOUNDARY.encode())])
    assert cut.status_code == 202
    said = cut.json()
    assert [item["00081155"]["Value"] for item in said["00081199"]["Value"]] == [["1.2.3.1"]]
    assert said["0008119A"]["Value"] == [{"00081197": {"vr": "US", "Value": [0xC000]}}]
    for nothing in (b"", b"--" + BOUNDARY.encode(), b"no multipart at all", body[:400]):
        assert live.post(nothing).status_code == 400
    assert live.post(f"--{BOUNDARY}--".encode()).status_code == 400


def test_floods_of_headers_and_boundaries_are_refused(live: LivePortal) -> None:
    head = f"--{BOUNDARY}\r\n".encode()
    assert live.post(head + b"X: y\r\n" * 100_000 + b"\r\nx").status_code == 400
    assert live.post(head + b"X-" + b"a" * (1 << 20) + b": y\r\n\r\nx").status_code == 400
    assert live.post(b"junk" * 100_000 + head + b"\r\nx").status_code == 400
    almost = f"\r\n--{BOUNDARY[:-1]}".encode() * 100_000
    assert live.post(multipart([part10("1.2.3.1") + almost])).status_code == 200
    assert live.post(f"--{BOUNDARY}--".encode() + b"x" * (1 << 20)).status_code == 400


def test_a_million_tiny_parts_are_cut_off_at_the_limit(
    live: LivePortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive_stow, "INSTANCES_MAX", 1000)
    part = f"--{BOUNDARY}\r\n\r\nx\r\n".encode()
    taken = threading.Event()

    def flood() -> Iterator[bytes]:
        for number in range(1_000_000 // 1000):
            if number > 200:
                taken.set()
                return
            yield part * 1000

    answer = live.post(flood())
    assert answer.status_code == 413
    assert len(answer.json()["0008119A"]["Value"]) == 1001
    assert live.instances() == []


def test_an_instance_above_the_limit_is_refused_and_the_others_are_stored(site: Site) -> None:
    with live_portal(site, instance_bytes_max=4096) as live:
        large = part10("1.2.3.2") + bytes(10_000)
        answer = live.stow([part10("1.2.3.1"), large, part10("1.2.3.3")])
        assert answer.status_code == 202
        assert [row["sop_instance_uid"] for row in live.instances()] == ["1.2.3.1", "1.2.3.3"]
        assert live.stow([large]).status_code == 413


def test_without_space_nothing_is_stored_and_the_client_comes_back_later(site: Site) -> None:
    with live_portal(site, free_bytes_min=1 << 60) as live:
        answer = live.stow([part10("1.2.3.1"), part10("1.2.3.2")])
        assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
        reasons = {item["00081197"]["Value"][0] for item in answer.json()["00081198"]["Value"]}
        assert reasons == {0xA700}
        assert live.temporary_files() == live.stored_files() == []


def test_without_the_database_nothing_is_said_to_be_stored(live: LivePortal) -> None:
    """It goes away while the body arrives: 503, and the same request succeeds when it is back."""
    live.site.owner.execute("ALTER TABLE instance RENAME TO gone")
    try:
        answer = live.stow([part10("1.2.3.1"), part10("1.2.3.2")])
        assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
    finally:
        live.site.owner.execute("ALTER TABLE gone RENAME TO instance")
    assert live.stow([part10("1.2.3.1"), part10("1.2.3.2")]).status_code == 200
    assert len(live.instances()) == 2


def test_with_no_database_at_all_the_answer_is_503(site: Site) -> None:
    with live_portal(site) as live:
        site.database.close()
        answer = live.stow([part10("1.2.3.1")])
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_names_and_addresses_in_the_heads_of_parts_never_become_paths(
    live: LivePortal, tmp_path: Path
) -> None:
    head = (
        f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n"
        'Content-Disposition: attachment; filename="../../../../tmp/evil.dcm"\r\n'
        "Content-Location: /etc/passwd\r\n\r\n"
    )
    body = head.encode() + part10("1.2.3.1") + f"\r\n--{BOUNDARY}--".encode()
    assert live.post(body).status_code == 200
    (stored,) = live.stored_files()
    assert "evil" not in str(stored)
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and live.root not in path.parents]
    assert outside == []


def test_memory_stays_bounded_whatever_the_size_of_the_request(site: Site) -> None:
    """256 MiB in one request of 32 instances; the process holds this test too, so only growth is compared."""
    piece, process = os.urandom(1 << 20), psutil.Process()
    with live_portal(site) as live:

        def body() -> Iterator[bytes]:
            for number in range(1, 33):
                yield f"--{BOUNDARY}\r\n\r\n".encode() + part10(f"1.2.3.{number}")
                for _ in range(8):
                    yield piece
                yield b"\r\n"
            yield f"--{BOUNDARY}--".encode()

        live.stow([part10("1.2.3.99")])
        before, peak = process.memory_info().rss, 0
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.01):
                peak = max(peak, process.memory_info().rss)

        watching = threading.Thread(target=watch)
        watching.start()
        answer = live.post(body())
        done.set()
        watching.join()
        assert answer.status_code == 200
        assert (peak - before) >> 20 < 64
