"""Slow peers, too many peers, failing resources, and the drain. Others are served all the while."""

from __future__ import annotations

import itertools
import logging
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from dicom_gateway.instance_sink import RecordOutcome
from tests.dicom_harm import (
    VERIFICATION,
    assert_aborted,
    assert_alive,
    assert_unharmed,
    rss_bytes,
    seconds_until_refused,
)
from tests.dicom_peers import RawPeer, RunningAcceptor, StartAcceptor, ct_data_set, wait_until


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


class TestBackpressure:
    """More arrives than the books can take (attack 47): senders wait for their answers, nothing piles up here."""

    SENDERS, OBJECTS, PIXEL_BYTES, RECORD_S = 20, 6, 1_000_000, 0.01

    def test_ten_times_the_rate_that_the_books_take_costs_one_file_for_each_sender(
        self, acceptor: RunningAcceptor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unrecorded = self._slow_down(acceptor, monkeypatch)
        data = {
            f"1.2.{sender}.{number}": ct_data_set(f"1.2.{sender}.{number}", pixel_bytes=self.PIXEL_BYTES)
            for sender in range(self.SENDERS)
            for number in range(self.OBJECTS)
        }
        statuses: list[int] = []
        senders = [
            threading.Thread(target=self._send, args=(acceptor, sender, data, statuses))
            for sender in range(self.SENDERS)
        ]
        before, grown = rss_bytes(), 0
        for thread in senders:
            thread.start()
        while any(thread.is_alive() for thread in senders):
            grown = max(grown, rss_bytes() - before)
            time.sleep(0.02)
        assert statuses == [0] * (self.SENDERS * self.OBJECTS)
        assert len(unrecorded) == len(data)
        assert max(unrecorded) == unrecorded[0] == self.SENDERS
        # Each association has one buffer for one PDU; 120 MB went through.
        assert grown < 48 * 2**20
        assert set(acceptor.sink.received) == set(data)
        wait_until(lambda: acceptor.acceptor.statistics()["associations_open"] == 0)
        assert_unharmed(acceptor, files=len(data))

    def _slow_down(self, acceptor: RunningAcceptor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Have the books wait until every sender waits for them, then take one object at a time.

        Returns the number of stored objects that the books did not have yet, for each that they took.
        """
        record, turn, unrecorded = acceptor.sink.record, threading.Lock(), list[int]()

        def waiting() -> int:
            return len(acceptor.stored_files()) - len(acceptor.sink.received)

        def record_slowly(*arguments: Any) -> RecordOutcome:
            with turn:
                if not unrecorded:
                    wait_until(lambda: waiting() == self.SENDERS)
                time.sleep(self.RECORD_S)
                unrecorded.append(waiting())
                return record(*arguments)

        monkeypatch.setattr(acceptor.sink, "record", record_slowly)
        return unrecorded

    def _send(
        self, acceptor: RunningAcceptor, sender: int, data: dict[str, bytes], statuses: list[int]
    ) -> None:
        with RawPeer(acceptor.port) as peer:
            peer.socket.settimeout(60)
            peer.associate()
            for number in range(self.OBJECTS):
                uid = f"1.2.{sender}.{number}"
                statuses.append(peer.store(data[uid], uid))
            peer.release()


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
