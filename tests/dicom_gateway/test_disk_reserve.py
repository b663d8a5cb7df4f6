"""The disk fills: associations are refused first, the reserve is let go last, and all comes back by itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_gateway.disk_reserve import DiskReserve
from tests.dicom_peers import RawPeer, StartAcceptor, ct_data_set, wait_until

MIB = 2**20
Fill = Callable[[int], None]


@pytest.fixture
def leave_free(monkeypatch: pytest.MonkeyPatch) -> Fill:
    """`leave_free(n)`: every disk has n bytes left from now on."""
    statvfs = os.statvfs

    def fill(free_bytes: int) -> None:
        def seen(path: str | Path) -> os.statvfs_result:
            real = statvfs(path)
            values = list(real)
            values[4] = free_bytes // real.f_frsize  # f_bavail
            return os.statvfs_result(values)

        monkeypatch.setattr(os, "statvfs", seen)

    return fill


def test_the_reserve_is_let_go_when_the_disk_is_full_and_made_again(tmp_path: Path, leave_free: Fill) -> None:
    reserve, path = DiskReserve(tmp_path, 4 * MIB), tmp_path / "reserve"
    leave_free(9 * MIB)
    reserve.tend(now=1.0)
    assert path.stat().st_blocks * 512 >= 4 * MIB
    leave_free(2 * MIB)
    reserve.tend(now=2.0)
    assert path.exists()
    leave_free(MIB - 4096)
    reserve.tend(now=3.0)
    assert not path.exists()
    leave_free(7 * MIB)
    reserve.tend(now=4.0)
    assert not path.exists(), "twice its size must be free"
    leave_free(9 * MIB)
    reserve.tend(now=5.0)
    assert path.exists()


def test_associations_are_refused_before_instances_are_and_are_taken_again(
    start_acceptor: StartAcceptor, leave_free: Fill
) -> None:
    running = start_acceptor(free_bytes_min=MIB, free_bytes_for_associations=4 * MIB)
    with RawPeer(running.port) as peer:
        peer.associate()
        leave_free(2 * MIB)

        def is_refused() -> bool:
            with RawPeer(running.port) as late:
                late.send(RawPeer.request())
                return late.read_pdu() == (3, bytes((0, 2, 3, 1)))

        wait_until(is_refused)
        assert peer.store(ct_data_set("1.2.3"), "1.2.3") == 0, "what is open may finish"
        leave_free(MIB // 2)
        wait_until(lambda: peer.store(ct_data_set("1.2.4"), "1.2.4") == 0xA700)
        leave_free(9 * MIB)
        wait_until(lambda: not is_refused())
        assert peer.store(ct_data_set("1.2.4"), "1.2.4") == 0
        peer.release()
