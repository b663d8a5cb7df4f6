"""Hostile, broken and slow peers. After every one of them an echo from another address succeeds."""

from __future__ import annotations

import itertools
import logging
import resource
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dicom_peers import RawPeer, RunningAcceptor, StartAcceptor, ct_data_set, wait_until

A_ABORT = 7
VERIFICATION = (RawPeer.VERIFICATION, RawPeer.EXPLICIT)


def rss_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def seconds_until_refused(peer: RawPeer, parts: Iterable[bytes], pause_s: float = 0.0) -> float:
    """How long a peer that only sends gets away with it; at most 12 s are tried."""
    started = time.monotonic()
    for part in parts:
        try:
            peer.send(part)
        except OSError:
            break
        time.sleep(pause_s)
        assert time.monotonic() - started < 12, "the acceptor still takes it"
    else:
        raise AssertionError("the acceptor took it all")
    return time.monotonic() - started


def assert_alive(running: RunningAcceptor) -> None:
    with RawPeer(running.port, source="127.0.0.9") as peer:
        peer.associate(VERIFICATION)
        assert peer.echo() == 0
        peer.release()


def assert_unharmed(running: RunningAcceptor, files: int = 0) -> None:
    """Others are served, nothing is left behind, no thread and no association stays."""
    assert_alive(running)
    wait_until(lambda: running.acceptor.statistics()["associations_open"] == 0)
    assert len(running.all_files()) == files
    assert len(running.sink.received) == files


def assert_aborted(peer: RawPeer, reason: int | None = None) -> None:
    pdu_type, body = peer.read_pdu()
    assert pdu_type == A_ABORT
    assert body[2] == 2, "aborted by the service provider"
    if reason is not None:
        assert body[3] == reason
    assert peer.read_pdu()[0] == 0


class TestLengths:
    def test_a_4_gib_pdu_is_refused_on_its_header(self, acceptor: RunningAcceptor) -> None:
        before = rss_bytes()
        for pdu_type in (1, 4):
            with RawPeer(acceptor.port) as peer:
                if pdu_type == 4:
                    peer.associate()
                peer.send(struct.pack(">BxI", pdu_type, 0xFFFFFFFF) + bytes(1000))
                assert_aborted(peer, reason=6)
        assert_unharmed(acceptor)
        assert rss_bytes() - before < 8 * 2**20

    def test_an_association_request_beyond_its_limit_is_refused(self, acceptor: RunningAcceptor) -> None:
        with RawPeer(acceptor.port) as peer:
            peer.send(struct.pack(">BxI", 1, 256 * 1024 + 1))
            assert_aborted(peer, reason=6)
        assert_unharmed(acceptor)

    def test_a_request_of_many_tiny_items_costs_no_memory(self, acceptor: RunningAcceptor) -> None:
        body = RawPeer.request()[6:]
        for junk in (
            RawPeer.item(0x20, bytes((9, 0, 0, 0)) + RawPeer.item(0x40, b"") * 16000),
            RawPeer.item(0x99, b"") * 60000,
        ):
            before = rss_bytes()
            with RawPeer(acceptor.port) as peer:
                peer.send(RawPeer.pdu(1, body + junk))
                peer.read_pdu()
            assert rss_bytes() - before < 8 * 2**20
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


class TestSlowness:
    def test_a_byte_now_and_then_does_not_outlive_the_deadline_of_a_pdu(
        self, start_acceptor: StartAcceptor
    ) -> None:
        running = start_acceptor(pdu_deadline_s=1.0)
        for associated, dribble in ((False, RawPeer.request()), (True, RawPeer.fragment(0, bytes(50)))):
            with RawPeer(running.port) as peer:
                if associated:
                    peer.associate()
                single_bytes = (dribble[position : position + 1] for position in range(len(dribble)))
                assert seconds_until_refused(peer, single_bytes, pause_s=0.2) < 3
        assert_unharmed(running)

    def test_a_message_that_trickles_in_whole_pdus_has_a_deadline_too(
        self, start_acceptor: StartAcceptor
    ) -> None:
        running = start_acceptor(message_deadline_s=1.0)
        with RawPeer(running.port) as peer:
            peer.associate()
            peer.store_request("1.2.3")
            assert seconds_until_refused(peer, itertools.repeat(RawPeer.fragment(0, b"")), pause_s=0.1) < 4
        assert_unharmed(running)

    def test_who_says_nothing_is_let_go(self, start_acceptor: StartAcceptor) -> None:
        running = start_acceptor(acse_timeout_s=0.5, idle_timeout_s=0.5)
        with RawPeer(running.port) as silent, RawPeer(running.port) as idle:
            idle.associate()
            started = time.monotonic()
            assert_aborted(silent)
            assert_aborted(idle)
            assert time.monotonic() - started < 3
        assert_unharmed(running)

    def test_a_peer_that_never_reads_cannot_hold_a_thread(self, start_acceptor: StartAcceptor) -> None:
        running = start_acceptor(pdu_deadline_s=1.0)
        with RawPeer(running.port) as peer:
            peer.associate(VERIFICATION)
            echo = RawPeer.fragment(3, RawPeer.command(0x30, RawPeer.VERIFICATION, has_data_set=False))
            peer.socket.settimeout(5)
            assert seconds_until_refused(peer, itertools.repeat(echo * 500)) < 10
        assert_unharmed(running)

    def test_200_silent_connections_leave_room_for_others(self, start_acceptor: StartAcceptor) -> None:
        running = start_acceptor(associations_max=60, associations_per_host_max=40)
        silent = [RawPeer(running.port, source="127.0.0.2") for _ in range(200)]
        try:
            for _ in range(50):
                assert_alive(running)
            refused = RawPeer(running.port, source="127.0.0.2")
            refused.send(RawPeer.request())
            assert refused.read_pdu() in ((3, bytes((0, 2, 3, 2))), (0, b""))
            refused.socket.close()
        finally:
            for peer in silent:
                peer.socket.close()
        assert_unharmed(running)

    def test_beyond_a_cap_the_answer_is_a_transient_rejection(self, start_acceptor: StartAcceptor) -> None:
        running = start_acceptor(associations_max=2, associations_per_host_max=1)
        with (
            RawPeer(running.port, source="127.0.0.2") as one,
            RawPeer(running.port, source="127.0.0.3") as two,
        ):
            one.associate()
            two.associate()
            for source in ("127.0.0.2", "127.0.0.4"):
                with RawPeer(running.port, source=source) as third:
                    third.send(RawPeer.request())
                    assert third.read_pdu() == (3, bytes((0, 2, 3, 2)))
        wait_until(lambda: running.acceptor.statistics()["associations_open"] == 0)
        assert_unharmed(running)


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
        polyglot = b"MZ" + bytes(126) + b"DICM" + ct_data_set("1.2.3")
        assert self.status_of(acceptor, polyglot, "1.2.3") == 0xC000
        with RawPeer(acceptor.port) as peer:
            peer.associate()
            assert peer.store(ct_data_set("1.2.3"), "1.2.3") == 0
        (path,) = acceptor.stored_files()
        assert path.read_bytes()[:128] == bytes(128)


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
        associated = data.draw(st.booleans())
        whole = RawPeer.fragment(3, RawPeer.command(1, RawPeer.CT, "1.2.3")) + RawPeer.fragment(
            2, ct_data_set("1.2.3")
        )
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
        assert_alive(acceptor)

    def test_a_peer_that_vanishes_in_the_middle_leaves_nothing(self, acceptor: RunningAcceptor) -> None:
        for sent in (1, 500, 1500):
            with RawPeer(acceptor.port) as peer:
                peer.associate()
                peer.store_request("1.2.3")
                peer.send(RawPeer.fragment(0, ct_data_set("1.2.3")[:sent]))
        assert_unharmed(acceptor)


class TestResources:
    def test_a_nearly_full_disk_answers_a700_and_recovers(self, start_acceptor: StartAcceptor) -> None:
        running = start_acceptor(free_bytes_min=1 << 60)
        with RawPeer(running.port) as peer:
            peer.associate()
            assert peer.store(ct_data_set("1.2.3"), "1.2.3") == 0xA700
        assert_unharmed(running)

    def test_a_write_that_fails_in_the_middle_answers_a700_and_recovers(
        self, acceptor: RunningAcceptor
    ) -> None:
        data = ct_data_set("1.2.3", pixel_bytes=1_000_000)
        with RawPeer(acceptor.port) as peer:
            peer.associate()
            with file_size_limit(300_000):
                assert peer.store(data, "1.2.3") == 0xA700
            assert acceptor.all_files() == []
            assert peer.store(data, "1.2.3") == 0
            peer.release()
        assert_unharmed(acceptor, files=1)

    def test_a_database_that_is_down_answers_a700_and_recovers(self, acceptor: RunningAcceptor) -> None:
        with RawPeer(acceptor.port) as peer:
            peer.associate()
            acceptor.sink.fail = psycopg.OperationalError("down")
            assert peer.store(ct_data_set("1.2.3"), "1.2.3") == 0xA700
            with RawPeer(acceptor.port) as other:
                other.send(RawPeer.request())
                assert other.read_pdu() == (3, bytes((0, 2, 3, 1)))
            acceptor.sink.fail = None
            assert peer.store(ct_data_set("1.2.3"), "1.2.3") == 0
            peer.release()
        assert_unharmed(acceptor, files=1)

    def test_no_value_of_a_data_set_reaches_the_log(
        self, acceptor: RunningAcceptor, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with RawPeer(acceptor.port) as peer:
            peer.associate()
            peer.store(ct_data_set("1.2.31415"), "1.2.31415")
            peer.store(ct_data_set("1.2.31415", pixel_bytes=10), "1.2.31415")
            peer.store(ct_data_set("1.2.31415"), "1.2.27182")
            peer.store(ct_data_set("1.2.31415", study="../x31415"), "1.2.31415")
            peer.release()
        acceptor.stop()
        assert "instance_refused" in caplog.text
        assert not {word for word in ("31415", "27182", "Nobody") if word in caplog.text}


class TestDrain:
    def test_the_message_in_progress_is_finished_and_newcomers_are_told_to_come_back(
        self, acceptor: RunningAcceptor
    ) -> None:
        data = ct_data_set("1.2.3")
        with RawPeer(acceptor.port) as busy, RawPeer(acceptor.port) as idle:
            busy.associate()
            idle.associate()
            busy.store_request("1.2.3")
            busy.send(RawPeer.fragment(0, data[:100]))
            time.sleep(0.2)
            acceptor.acceptor.stop(grace_s=10)
            assert_aborted(idle)
            with RawPeer(acceptor.port) as late:
                late.send(RawPeer.request())
                assert late.read_pdu() == (3, bytes((0, 2, 3, 1)))
            busy.send(RawPeer.fragment(2, data[100:]))
            assert busy.read_status() == 0
            assert_aborted(busy)
        acceptor.thread.join(timeout=5)
        assert not acceptor.thread.is_alive()
        assert list(acceptor.sink.received) == ["1.2.3"]
        assert len(acceptor.all_files()) == 1

    def test_the_grace_ends_even_for_a_peer_that_does_not_finish(self, start_acceptor: StartAcceptor) -> None:
        running = start_acceptor()
        with RawPeer(running.port) as peer:
            peer.associate()
            peer.store_request("1.2.3")
            time.sleep(0.2)
            started = time.monotonic()
            running.stop(grace_s=0.5)
            assert time.monotonic() - started < 4
        assert running.all_files() == []
        assert [thread for thread in threading.enumerate() if thread.name == "association"] == []


def test_an_association_gives_back_its_memory_and_its_thread(
    acceptor: RunningAcceptor,
) -> None:
    def rounds(count: int) -> None:
        for number in range(count):
            with RawPeer(acceptor.port) as peer:
                peer.associate()
                peer.store(ct_data_set(f"1.2.{number}"), f"1.2.{number}")
                peer.release()

    rounds(30)
    before = rss_bytes()
    rounds(100)
    wait_until(lambda: acceptor.acceptor.statistics()["associations_open"] == 0)
    assert rss_bytes() - before < 8 * 2**20
    assert [thread for thread in threading.enumerate() if thread.name == "association"] == []


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    """Writes beyond it fail with EFBIG, in this whole process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
