"""What is set for a peer, as it is answered: what it may send, and other bytes under a known UID."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_gateway.errors import InstanceNotAllowed
from dicom_gateway.file_meta import part10_header
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.peers import Peer
from dicom_gateway.receive_files import FileReceiver, receiving
from tests.dicom_peers import MemorySink, RawPeer, StartAcceptor, ct_data_set, data_set_of


def test_what_a_peer_may_not_send_is_refused_one_by_one(start_acceptor: StartAcceptor) -> None:
    sink = MemorySink(settings={"modalities": frozenset({"MR"})})
    running = start_acceptor(sink=sink)
    with RawPeer(running.port) as peer:
        peer.associate()
        assert peer.store(ct_data_set("1.2.3.4.5"), "1.2.3.4.5") == 0x0124
        sink.settings["modalities"] = frozenset({"CT"})
        assert peer.store(ct_data_set("1.2.3.4.5"), "1.2.3.4.5") == 0x0124  # as it was when it was let in
        peer.release()
    with RawPeer(running.port) as peer:
        peer.associate()
        assert peer.store(ct_data_set("1.2.3.4.5"), "1.2.3.4.5") == 0
    sink.settings = {"sop_classes": frozenset({"1.2.840.10008.5.1.4.1.1.4"})}
    with RawPeer(running.port) as peer:
        peer.associate()
        assert peer.store(ct_data_set("1.2.3.4.6"), "1.2.3.4.6") == 0x0124
    assert len(running.stored_files()) == 1
    assert [alert.kind for alert in sink.alerts] == ["instance_refused"] * 3
    assert running.acceptor.statistics()["instances_refused_0124H"] == 3


@pytest.mark.parametrize(("policy", "status"), [("failure", 0x0111), ("warning", 0xB000)])
def test_different_bytes_are_answered_by_the_peers_policy(
    start_acceptor: StartAcceptor, policy: str, status: int
) -> None:
    running = start_acceptor(sink=MemorySink(settings={"duplicate_policy": policy}))
    first, second = ct_data_set("1.2.3.4.5"), bytearray(ct_data_set("1.2.3.4.5"))
    second[-1] ^= 1  # one pixel
    with RawPeer(running.port) as peer:
        peer.associate()
        assert [peer.store(first, "1.2.3.4.5") for _ in range(4)] == [0, 0, 0, 0]
        assert peer.store(bytes(second), "1.2.3.4.5") == status
        assert peer.store(first, "1.2.3.4.5") == 0
    (kept,) = running.stored_files()
    assert data_set_of(kept) == first
    (aside,) = (running.root / "quarantine").glob("*.dcm")
    assert data_set_of(aside) == bytes(second)


def test_what_a_peer_may_not_send_is_refused_in_files_too(tmp_path: Path) -> None:
    peer = Peer(tenant="clinic", ae_title="CDS", modalities=frozenset({"MR"}))
    store, sink, verdicts = InstanceStore(tmp_path), MemorySink(), []
    receiver = FileReceiver(peer, store, sink, 1, verdicts.append, size_bytes_max=1 << 20)
    with receiving(receiver, sink, 1, peer):
        receiver.begin()
        header = part10_header(RawPeer.CT, "1.2.3", RawPeer.EXPLICIT, "CDS")
        receiver.append(memoryview(header + ct_data_set("1.2.3")))
        receiver.end()
    store.close()
    (verdict,) = verdicts
    assert isinstance(verdict.refusal, InstanceNotAllowed)
    assert [alert.reason for alert in sink.alerts] == ["this peer may not send this modality"]
    assert list(tmp_path.rglob("*.dcm")) == []
