"""Large bodies past h11: the same requests, the same answers, without the copies."""

from __future__ import annotations

import random
from collections.abc import Iterator

import h11
import pytest

from tests.dicom_peers import ct_data_set
from tests.portal.live_portal import LivePortal, live_portal, multipart, part10
from tests.portal.portal_site import Site

SEED = 20
MIB = 1 << 20


@pytest.fixture
def live(site: Site) -> Iterator[LivePortal]:
    with live_portal(site) as portal:
        yield portal


def large_file(uid: str = "1.2.3.1", size: int = 4 * MIB) -> bytes:
    return part10(uid, ct_data_set(uid, pixel_bytes=size))


def test_a_large_body_does_not_pass_through_h11(live: LivePortal, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, receive = [0], h11.Connection.receive_data

    def count(connection: h11.Connection, data: bytes) -> None:
        seen[0] += len(data)
        receive(connection, data)

    body = multipart([large_file(size=32 * MIB)])
    monkeypatch.setattr(h11.Connection, "receive_data", count)
    # A connection without the client's own h11, which would be counted as well.
    with live.raw(len(body)) as connection:
        connection.sendall(body)
        assert b" 200 " in connection.recv(4096)
    assert 0 < seen[0] < len(body) // 4
    (stored,) = live.stored_files()
    assert stored.read_bytes()[-MIB:] == body[: body.rindex(b"\r\n--")][-MIB:]


def test_however_the_body_is_cut_it_is_stored_bit_for_bit(live: LivePortal) -> None:
    cuts = random.Random(SEED)
    content = large_file()
    body = multipart([content])
    for length in (len(body), None):  # with its length, and in chunks
        with live.raw(length) as connection:
            position = 0
            while position < len(body):
                size = cuts.choice((1, 100, 70_000, 300_000, MIB))
                piece, position = body[position : position + size], position + size
                connection.sendall(piece if length else b"%x\r\n%b\r\n" % (len(piece), piece))
            if length is None:
                connection.sendall(b"0\r\n\r\n")
            assert b" 200 " in connection.recv(4096)
        (stored,) = live.stored_files()
        assert stored.read_bytes()[-4 * MIB :] == content[-4 * MIB :]


def test_the_next_request_on_the_connection_begins_where_the_body_ends(live: LivePortal) -> None:
    bodies = [multipart([large_file(uid)]) for uid in ("1.2.3.1", "1.2.3.2")]
    with live.raw(len(bodies[0])) as connection:
        # All at once: the second request's first bytes come with the first one's last.
        connection.sendall(bodies[0] + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answers = b""
        while answers.count(b"HTTP/1.1 200") < 2:
            piece = connection.recv(4096)
            assert piece, answers
            answers += piece
    assert answers.count(b"HTTP/1.1 200") == 2
    assert len(live.instances()) == 1


def test_a_body_that_breaks_off_leaves_nothing(live: LivePortal) -> None:
    body = multipart([large_file()])
    with live.raw(len(body)) as connection:
        connection.sendall(body[: len(body) // 2])
    assert live.stow([large_file("1.2.3.2")]).status_code == 200
    assert [row["sop_instance_uid"] for row in live.instances()] == ["1.2.3.2"]
