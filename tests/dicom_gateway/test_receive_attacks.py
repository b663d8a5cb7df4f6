"""Hostile, broken and slow peers. After every one of them an echo from another address succeeds."""

from __future__ import annotations

import contextlib
import logging
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dicom_harm import VERIFICATION, assert_aborted, assert_alive, assert_unharmed, rss_bytes
from tests.dicom_peers import RawPeer, RunningAcceptor, StartAcceptor, ct_data_set, wait_until


class TestLengths:
    def test_a_4_gib_pdu_is_refused_on_its_header(
        self, acceptor: RunningAcceptor, caplog: pytest.LogCaptureFixture
    ) -> None:
        # What pytest keeps of the log holds each error, and with it the buffer of its connection.
        caplog.set_level(logging.CRITICAL)

        def attack(source: str, pdu_type: int) -> None:
            with RawPeer(acceptor.port, source=source) as peer:
                if pdu_type == 4:
                    peer.associate()
                # The header alone: nothing that should follow is waited for.
                peer.send(struct.pack(">BxI", pdu_type, 0xFFFFFFFF))
                assert_aborted(peer, reason=6)

        def from_many_hosts() -> int:
            for host in range(2, 42):
                attack(f"127.0.0.{host}", pdu_type=4 if host % 2 else 1)
            return rss_bytes()

        before = from_many_hosts()
        assert from_many_hosts() - before < 2**20
        assert_unharmed(acceptor)

    def test_an_association_request_beyond_its_limit_is_refused(self, acceptor: RunningAcceptor) -> None:
        with RawPeer(acceptor.port) as peer:
            peer.send(struct.pack(">BxI", 1, 256 * 1024 + 1))
            assert_aborted(peer, reason=6)
        assert_unharmed(acceptor)

    def test_a_request_of_many_tiny_items_costs_no_memory(
        self, acceptor: RunningAcceptor, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Of 65,622 bytes of empty items, and of more, next to nothing is kept while their association lives."""
        caplog.set_level(logging.CRITICAL)
        body = RawPeer.request()[6:]
        of_one_context = RawPeer.item(0x20, bytes((9, 0, 0, 0)) + RawPeer.item(0x40, b"") * 16000)
        for junk, is_taken in (
            (RawPeer.item(0x99, b"") * ((65_622 - 6 - len(body)) // 4), True),
            (RawPeer.item(0x99, b"") * 60000, True),
            (RawPeer.item(0x50, RawPeer.item(0x7F, b"") * 16000), True),
            (of_one_context, False),
        ):
            with contextlib.ExitStack() as open_together:
                before = rss_bytes()
                for _ in range(8):
                    peer = open_together.enter_context(RawPeer(acceptor.port))
                    peer.send(RawPeer.pdu(1, body + junk))
                    assert peer.read_pdu()[0] == (2 if is_taken else 7)
                # Each association has a buffer for one request.
                assert rss_bytes() - before < 8 * 2**19
        assert_unharmed(acceptor)

    def test_fragments_that_are_never_the_last_end_at_the_cap(self, start_acceptor: StartAcceptor) -> None:
        running = start_acceptor(message_bytes_max=1_000_000)
        with RawPeer(running.port) as peer:
            peer.associate()
            peer.store_request("1.2.3")
            for _ in range(70):
                try:
                    peer.send(RawPeer.fragment(0, bytes(16000)))
                except ConnectionError:
                    break
            assert_aborted(peer)
        assert_unharmed(running)

    def test_a_command_without_end_is_aborted(self, acceptor: RunningAcceptor) -> None:
        with RawPeer(acceptor.port) as peer:
            peer.associate()
            peer.send(RawPeer.fragment(1, bytes(16000)) * 2)
            assert_aborted(peer)
        assert_unharmed(acceptor)

    def test_memory_stays_flat_over_a_large_object(self, acceptor: RunningAcceptor) -> None:
        pixel_bytes = 192 * 2**20
        head = ct_data_set("1.2.3", pixel_bytes=0)[:-4] + struct.pack("<I", pixel_bytes)
        chunk = RawPeer.fragment(0, bytes(128 * 1024))
        with RawPeer(acceptor.port) as peer:
            peer.associate()
            peer.store_request("1.2.3")
            peer.send(RawPeer.fragment(0, head))
            peer.send(chunk)
            before = rss_bytes()
            for _ in range(pixel_bytes // (128 * 1024) - 1):
                peer.send(chunk)
            peer.send(RawPeer.fragment(2, b""))
            assert peer.read_status() == 0
            assert rss_bytes() - before < 8 * 2**20
            peer.release()
        assert_unharmed(acceptor, files=1)


class TestLies:
    """Command, context and data set that contradict one another (status, then nothing stored)."""

    def status_of(
        self, running: RunningAcceptor, data_set: bytes, uid: str, sop_class: str = RawPeer.CT
    ) -> int:
        with RawPeer(running.port) as peer:
            peer.associate()
            status = peer.store(data_set, uid, sop_class)
            peer.release()
        assert_unharmed(running)
        return status

    def test_another_instance_in_the_data_set(self, acceptor: RunningAcceptor) -> None:
        assert self.status_of(acceptor, ct_data_set("1.2.3"), "1.2.4") == 0xA900

    def test_another_class_in_the_data_set(self, acceptor: RunningAcceptor) -> None:
        data = ct_data_set("1.2.3").replace(RawPeer.CT.encode(), b"1.2.840.10008.5.1.4.1.1.4")
        assert self.status_of(acceptor, data, "1.2.3") == 0xA900

    def test_another_class_in_the_command(self, acceptor: RunningAcceptor) -> None:
        assert self.status_of(acceptor, ct_data_set("1.2.3"), "1.2.3", "1.2.840.10008.5.1.4.1.1.4") == 0xA900

    @pytest.mark.parametrize(
        "uid",
        [
            "../../etc/passwd",
            "/abs/path",
            "1.2\0.3",
            "1" * 65,
            "1.2.%2e%2e",
            "1.2.",
            "1..2",
            "A.b",
            "",
            "\xff",
            "1.2.3\n",
            "1.2.\xb2",  # a digit to str.isdigit
            "1.2.Aa",
            "1.2.aA",
        ],
    )
    def test_a_uid_that_is_none(self, acceptor: RunningAcceptor, uid: str) -> None:
        assert self.status_of(acceptor, ct_data_set(uid), uid) == 0x0117

    @pytest.mark.parametrize("uid", ["../../etc/passwd", "/abs", "", "1" * 65])
    def test_a_study_or_series_uid_that_is_none(self, acceptor: RunningAcceptor, uid: str) -> None:
        assert self.status_of(acceptor, ct_data_set("1.2.3", study=uid), "1.2.3") == 0xC000
        assert self.status_of(acceptor, ct_data_set("1.2.3", series=uid), "1.2.3") == 0xC000

    @pytest.mark.parametrize(
        "data", [b"", b"garbage that is no data set", ct_data_set("1.2.3")[:60], bytes(3)]
    )
    def test_a_data_set_that_cannot_be_read(self, acceptor: RunningAcceptor, data: bytes) -> None:
        with RawPeer(acceptor.port) as peer:
            peer.associate()
            peer.store_request("1.2.3")
            peer.send(RawPeer.fragment(2, data))
            assert peer.read_status() == 0xC000
            peer.release()
        assert_unharmed(acceptor)

    def test_storing_on_the_verification_context(self, acceptor: RunningAcceptor) -> None:
        with RawPeer(acceptor.port) as peer:
            peer.associate(VERIFICATION)
            assert peer.store(ct_data_set("1.2.3"), "1.2.3", RawPeer.VERIFICATION) == 0xA900
        assert_unharmed(acceptor)

    def test_a_program_in_the_preamble_does_not_survive(self, acceptor: RunningAcceptor) -> None:
        """The preamble never crosses the wire; a data set that brings one is not readable."""
        for magic in (b"MZ\x90\0", b"\x7fELF\2\1\1\0", b"#!/bin/sh\n"):
            polyglot = magic.ljust(128, b"\0") + b"DICM" + ct_data_set("1.2.3")
            assert self.status_of(acceptor, polyglot, "1.2.3") == 0xC000
        with RawPeer(acceptor.port) as peer:
            peer.associate()
            assert peer.store(ct_data_set("1.2.3"), "1.2.3") == 0
        (path,) = acceptor.stored_files()
        assert path.read_bytes()[:128] == bytes(128)


def send_garbage(acceptor: RunningAcceptor, data: st.DataObject) -> None:
    """A valid exchange with some bytes changed, cut anywhere, with something behind it; then hang up."""
    associated = data.draw(st.booleans())
    command = RawPeer.fragment(3, RawPeer.command(1, RawPeer.CT, "1.2.3"))
    whole = command + RawPeer.fragment(2, ct_data_set("1.2.3"))
    valid = bytearray(whole if associated else RawPeer.request())
    for _ in range(data.draw(st.integers(1, 4))):
        valid[data.draw(st.integers(0, min(len(valid), 300) - 1))] = data.draw(st.integers(0, 255))
    sent = bytes(valid[: data.draw(st.integers(0, len(valid)))]) + data.draw(st.binary(max_size=64))
    with RawPeer(acceptor.port) as peer:
        if associated:
            peer.associate()
        peer.send(sent)
    wait_until(lambda: acceptor.acceptor.statistics()["associations_open"] == 0)
    assert list(acceptor.root.rglob("*.part")) == []


class TestProtocol:
    @pytest.mark.parametrize(
        "data",
        [
            struct.pack(">BxI", 0x42, 4) + bytes(4),  # a type that does not exist
            RawPeer.request(),  # a second request
            RawPeer.pdu(2, bytes(70)),
            RawPeer.pdu(4, b""),
            RawPeer.pdu(4, struct.pack(">IBB", 1, 1, 3)),
            RawPeer.fragment(0, b"data without a command"),
            RawPeer.fragment(3, b"no command"),
            RawPeer.fragment(3, RawPeer.command(1, RawPeer.CT, "1.2.3"), context_id=9),
            RawPeer.fragment(3, RawPeer.command(1, RawPeer.CT, "1.2.3", has_data_set=False)),
            RawPeer.fragment(3, RawPeer.command(0x8001, RawPeer.CT, "1.2.3", has_data_set=False)),
            RawPeer.fragment(3, RawPeer.command(1, RawPeer.CT, "1.2.3")) + RawPeer.pdu(5, bytes(4)),
            RawPeer.fragment(3, RawPeer.command(1, RawPeer.CT, "1.2.3")) * 2,
        ],
    )
    def test_what_the_state_does_not_allow_is_aborted(self, acceptor: RunningAcceptor, data: bytes) -> None:
        with RawPeer(acceptor.port) as peer:
            peer.associate()
            peer.send(data)
            assert_aborted(peer)
        assert_unharmed(acceptor)

    def test_http_and_tls_on_the_dicom_port_are_aborted(self, acceptor: RunningAcceptor) -> None:
        for greeting in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        ):
            with RawPeer(acceptor.port) as peer:
                peer.send(greeting)
                assert_aborted(peer)
        assert_unharmed(acceptor)

    def test_another_application_context_and_version_are_rejected(self, acceptor: RunningAcceptor) -> None:
        request = RawPeer.request()
        for changed, answer in (
            (request.replace(b"1.2.840.10008.3.1.1.1", b"1.2.840.10008.3.1.1.9"), bytes((0, 1, 1, 2))),
            (request[:6] + b"\0\2" + request[8:], bytes((0, 1, 2, 2))),
        ):
            with RawPeer(acceptor.port) as peer:
                peer.send(changed)
                assert peer.read_pdu() == (3, answer)
        assert_unharmed(acceptor)

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_garbage_never_harms(self, acceptor: RunningAcceptor, data: st.DataObject) -> None:
        send_garbage(acceptor, data)
        assert_alive(acceptor)

    @pytest.mark.soak
    @settings(
        max_examples=100_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.data())
    def test_a_hundred_thousand_pieces_of_garbage_never_harm(
        self, acceptor: RunningAcceptor, data: st.DataObject
    ) -> None:
        send_garbage(acceptor, data)
        assert_alive(acceptor)

    def test_a_peer_that_vanishes_in_the_middle_leaves_nothing(self, acceptor: RunningAcceptor) -> None:
        for sent in (1, 500, 1500):
            with RawPeer(acceptor.port) as peer:
                peer.associate()
                peer.store_request("1.2.3")
                peer.send(RawPeer.fragment(0, ct_data_set("1.2.3")[:sent]))
        assert_unharmed(acceptor)
