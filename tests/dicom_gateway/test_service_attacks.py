"""Requests on the wrong context, of the wrong operation, too large, too deep, out of turn (PS3.7 chapters 9 and 10)."""

from __future__ import annotations

import struct

import pytest

from dicom_gateway.desk_message import DATA_SET_BYTES_MAX
from tests.dicom_harm import VERIFICATION, assert_aborted, assert_unharmed, rss_bytes
from tests.dicom_peers import MemoryDesk, RawPeer, RunningAcceptor, StartAcceptor, ct_data_set, wait_until

COMMITMENT, WELL_KNOWN = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
PROCEDURE_STEP = "1.2.840.10008.3.1.2.3.3"
CONTEXTS = tuple((uid, RawPeer.EXPLICIT) for uid in (RawPeer.CT, COMMITMENT, PROCEDURE_STEP, VERIFICATION[0]))
STORE, COMMIT, STEP, ECHO = 1, 3, 5, 7  # context identifiers
C_STORE, C_GET, C_FIND, C_MOVE, C_ECHO = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030
N_EVENT_REPORT, N_GET, N_SET, N_ACTION, N_CREATE, N_DELETE = (0x0100 + 0x10 * step for step in range(6))


@pytest.fixture
def desk() -> MemoryDesk:
    return MemoryDesk()


@pytest.fixture
def running(start_acceptor: StartAcceptor, desk: MemoryDesk) -> RunningAcceptor:
    return start_acceptor(desk=desk)


def ask(peer: RawPeer, command: bytes, context_id: int, data_set: bytes | None = b"\0" * 8) -> int:
    peer.send(RawPeer.fragment(3, command, context_id))
    if data_set is not None:
        peer.send(RawPeer.fragment(2, data_set, context_id))
    return peer.read_status()


def commitment(transaction: str = "1.2.7", sop_class: str = COMMITMENT) -> tuple[bytes, bytes]:
    """The command and the data set of a request."""
    return (
        RawPeer.n_request(N_ACTION, sop_class, WELL_KNOWN, 1),
        RawPeer.commitment_request(transaction, RawPeer.CT, "1.2.3"),
    )


class TestWrongPlace:
    """Each operation on a context whose SOP class does not have it; the association lives on."""

    @pytest.mark.parametrize(
        ("field", "sop_class", "context_id", "status"),
        [
            (C_FIND, RawPeer.CT, STORE, 0x0211),
            (C_MOVE, RawPeer.CT, STORE, 0x0211),
            (C_GET, RawPeer.CT, STORE, 0x0211),
            (C_FIND, "1.2.840.10008.5.1.4.1.2.2.1", STORE, 0x0122),
            (C_ECHO, RawPeer.CT, STORE, 0x0211),
            (C_ECHO, VERIFICATION[0], STORE, 0x0122),
            (C_STORE, RawPeer.CT, COMMIT, 0xA900),
            (C_STORE, RawPeer.CT, ECHO, 0xA900),
            (N_GET, PROCEDURE_STEP, STEP, 0x0211),
            (N_DELETE, PROCEDURE_STEP, STEP, 0x0211),
            (N_ACTION, PROCEDURE_STEP, STEP, 0x0211),
            (N_CREATE, COMMITMENT, COMMIT, 0x0211),
            (N_SET, COMMITMENT, COMMIT, 0x0211),
            (N_EVENT_REPORT, PROCEDURE_STEP, STEP, 0x0211),
            (N_ACTION, COMMITMENT, STORE, 0x0118),
            (N_CREATE, PROCEDURE_STEP, COMMIT, 0x0118),
            (N_ACTION, RawPeer.CT, STORE, 0x0211),
            (0x0160, RawPeer.CT, STORE, 0x0211),
        ],
    )
    def test_it_has_its_status(
        self, running: RunningAcceptor, field: int, sop_class: str, context_id: int, status: int
    ) -> None:
        with RawPeer(running.port) as peer:
            peer.associate(*CONTEXTS)
            assert ask(peer, RawPeer.command(field, sop_class, "1.2.3"), context_id) == status
            assert peer.echo(context_id=ECHO) == 0
            peer.release()
        assert_unharmed(running)

    def test_a_data_set_on_another_context_than_its_command_is_aborted(
        self, running: RunningAcceptor
    ) -> None:
        command, data_set = commitment()
        for context_id in (STORE, 9):
            with RawPeer(running.port) as peer:
                peer.associate(*CONTEXTS)
                peer.send(RawPeer.fragment(3, command, COMMIT) + RawPeer.fragment(2, data_set, context_id))
                assert_aborted(peer)
        assert_unharmed(running)


class TestTooMuch:
    def test_a_request_beyond_its_limit_is_refused_and_costs_no_memory(
        self, running: RunningAcceptor, desk: MemoryDesk
    ) -> None:
        command, _ = commitment()
        before = rss_bytes()
        with RawPeer(running.port) as peer:
            peer.associate(*CONTEXTS)
            peer.send(RawPeer.fragment(3, command, COMMIT))
            part = RawPeer.fragment(0, bytes(128 * 1024), COMMIT)
            for _ in range(10 * DATA_SET_BYTES_MAX // (128 * 1024)):
                peer.send(part)
            peer.send(RawPeer.fragment(2, b"", COMMIT))
            assert peer.read_status() == 0x0213
            assert ask(peer, *commitment_on(COMMIT)) == 0
            peer.release()
        assert rss_bytes() - before < DATA_SET_BYTES_MAX + 8 * 2**20
        assert len(desk.requests) == 1
        assert_unharmed(running)

    def test_deep_nesting_is_a_status(self, running: RunningAcceptor) -> None:
        opening = struct.pack("<HH2sHIHHI", 8, 0x1199, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
        with RawPeer(running.port) as peer:
            peer.associate(*CONTEXTS)
            command, _ = commitment()
            assert ask(peer, command, COMMIT, opening * 300) == 0x0115
            step = RawPeer.command(N_CREATE, PROCEDURE_STEP, "1.2.3")
            assert ask(peer, step, STEP, opening * 300) == 0x0115
            peer.release()
        assert_unharmed(running)

    def test_deep_nesting_before_the_series_of_an_instance_is_a_status(
        self, running: RunningAcceptor
    ) -> None:
        opening = struct.pack("<HH2sHIHHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
        with RawPeer(running.port) as peer:
            peer.associate(*CONTEXTS)
            assert peer.store(ct_data_set("1.2.3")[:58] + opening * 300, "1.2.3") == 0xC000
            peer.release()
        assert_unharmed(running)

    @pytest.mark.parametrize(
        "data",
        [
            struct.pack("<HH2sHI", 2, 0, b"UL", 4, 0) + ct_data_set("1.2.3"),
            ct_data_set("1.2.3")[:34] * 2 + ct_data_set("1.2.3")[34:],
            struct.pack("<HH2sHI", 8, 5, b"UT", 0, 0x7FFFFFF0) + ct_data_set("1.2.3"),
        ],
        ids=["group 0002", "twice", "longer than all"],
    )
    def test_lies_in_the_head_of_an_instance_are_a_status(
        self, running: RunningAcceptor, data: bytes
    ) -> None:
        with RawPeer(running.port) as peer:
            peer.associate(*CONTEXTS)
            assert peer.store(data, "1.2.3") == 0xC000
            peer.release()
        assert_unharmed(running)


def commitment_on(context_id: int, transaction: str = "1.2.7") -> tuple[bytes, int, bytes]:
    command, data_set = commitment(transaction)
    return command, context_id, data_set


class TestOurRequest:
    """The N-EVENT-REPORT that we send on the peer's association."""

    @pytest.mark.parametrize(
        "response",
        [
            RawPeer.response(0x8100, 99, COMMITMENT),
            RawPeer.response(0x8130, 1, COMMITMENT),
            RawPeer.response(0x8001, 1, RawPeer.CT),
        ],
        ids=["no message of ours", "another operation", "an instance that we never stored"],
    )
    def test_a_response_to_nothing_is_aborted(
        self, running: RunningAcceptor, desk: MemoryDesk, response: bytes
    ) -> None:
        with RawPeer(running.port) as peer:
            peer.associate(*CONTEXTS)
            assert ask(peer, *commitment_on(COMMIT)) == 0
            assert [peer.read_pdu()[0] for _ in range(2)] == [4, 4]
            peer.send(RawPeer.fragment(3, response, COMMIT))
            assert_aborted(peer)
        assert desk.reported == []
        assert_unharmed(running)

    def test_a_refusal_is_noted_as_not_reported(self, running: RunningAcceptor, desk: MemoryDesk) -> None:
        with RawPeer(running.port) as peer:
            peer.associate(*CONTEXTS)
            assert ask(peer, *commitment_on(COMMIT)) == 0
            assert [peer.read_pdu()[0] for _ in range(2)] == [4, 4]
            peer.send(RawPeer.fragment(3, RawPeer.response(0x8100, 1, COMMITMENT, 0x0110), COMMIT))
            assert peer.echo(context_id=ECHO) == 0
            peer.release()
        assert desk.reported == []

    def test_a_hundred_requests_wait_for_one_another_and_hold_little(
        self, running: RunningAcceptor, desk: MemoryDesk
    ) -> None:
        """A peer that asks and never answers holds a few results; the rest is told elsewhere."""
        with RawPeer(running.port) as peer:
            peer.associate(*CONTEXTS)
            for number in range(100):
                assert ask(peer, *commitment_on(COMMIT, f"1.2.7.{number}")) == 0
            told = 0
            for told in range(1, 5):
                assert [peer.read_pdu()[0] for _ in range(2)] == [4, 4]
                peer.send(RawPeer.fragment(3, RawPeer.response(0x8100, told, COMMITMENT), COMMIT))
            wait_until(lambda: len(desk.reported) == 4)
            assert peer.echo(context_id=ECHO) == 0
            peer.release()
        assert desk.reported == [f"1.2.7.{number}" for number in range(4)]
        assert_unharmed(running)

    def test_a_peer_that_releases_at_once_is_not_disturbed(self, running: RunningAcceptor) -> None:
        with RawPeer(running.port) as peer:
            peer.associate(*CONTEXTS)
            assert ask(peer, *commitment_on(COMMIT)) == 0
            peer.release()
        assert_unharmed(running)
