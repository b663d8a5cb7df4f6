"""What must hold after every attack on the acceptor, and how long an attacker gets away with it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from tests.dicom_peers import RawPeer, RunningAcceptor, wait_until

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
