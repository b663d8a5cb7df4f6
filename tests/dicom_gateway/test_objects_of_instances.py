"""0000H only after the object store has the bytes and the row is committed: with a store that has faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dicom_gateway.file_meta import part10_header
from dicom_gateway.instance_sink import ReceivedInstance, RecordOutcome
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.peers import Peer
from dicom_gateway.receive_files import FileReceiver, FileVerdict, receiving
from dicom_gateway.stored_instance import data_set_digest
from storage.remote_objects import RemoteObjects
from tests.dicom_peers import MemorySink, ct_data_set
from tests.s3_server import Bucket, http_answer

PEER = Peer(tenant="clinic", ae_title="CDS")
CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"


class WatchfulSink(MemorySink):
    """Books that look into the store before they write: is what they are to name there?"""

    def __init__(self, is_stored: Callable[[str], bool]) -> None:
        super().__init__()
        self._is_stored = is_stored

    def record_many(self, *arguments: Any) -> list[RecordOutcome]:
        received: Sequence[ReceivedInstance] = arguments[-1]
        assert all(self._is_stored(one.location) for one in received), "named before it was stored"
        return super().record_many(*arguments)


def receive(
    store: InstanceStore, sink: MemorySink, uids: Sequence[str], content: bytes = b""
) -> list[FileVerdict]:
    verdicts: list[FileVerdict] = []
    receiver = FileReceiver(PEER, store, sink, 1, verdicts.append, size_bytes_max=1 << 20)
    with receiving(receiver, sink, 1, PEER):
        for uid in uids:
            receiver.begin()
            receiver.append(memoryview(part10_header(CT, uid, EXPLICIT, "CDS") + ct_data_set(uid) + content))
            receiver.end()
    return verdicts


@pytest.fixture
def desk(bucket: Bucket, tmp_path: Path) -> tuple[InstanceStore, WatchfulSink]:
    objects = RemoteObjects(tmp_path, bucket.store(request_s=2.0, retry_s=1.0), cache_bytes_max=1 << 30)
    sink = WatchfulSink(lambda location: objects.store.head(f"instances/{location}") is not None)
    return InstanceStore(tmp_path / "instances", objects=objects), sink


def test_a_batch_is_in_the_store_before_its_rows_are_written(
    desk: tuple[InstanceStore, WatchfulSink], bucket: Bucket, tmp_path: Path
) -> None:
    store, sink = desk
    verdicts = receive(store, sink, [f"1.2.{number}" for number in range(1, 41)])
    assert {verdict.outcome for verdict in verdicts} == {RecordOutcome.STORED}
    assert len(bucket.server.keys(bucket.name, "hospital/a/instances/")) == 40
    for received in sink.received.values():
        path = tmp_path / "instances" / received.location
        assert data_set_digest(path) == received.blake3, "and it lies here too, for a worker of this node"


@pytest.mark.parametrize(
    "fault",
    ["refuse", "hang", http_answer("403 Forbidden", "InvalidAccessKeyId")],
    ids=["refuse", "hang", "credentials"],
)
def test_what_the_store_does_not_take_is_refused_and_written_nowhere(
    desk: tuple[InstanceStore, WatchfulSink], bucket: Bucket, tmp_path: Path, fault: str | bytes
) -> None:
    store, sink = desk
    bucket.door.set(fault)
    verdicts = receive(store, sink, ["1.2.3", "1.2.4"])
    assert [type(verdict.refusal).__name__ for verdict in verdicts] == ["OutOfResources"] * 2
    assert sink.received == {}
    assert not list(tmp_path.rglob("*.dcm"))
    bucket.door.set(None)
    assert [one.outcome for one in receive(store, sink, ["1.2.3", "1.2.4"])] == [RecordOutcome.STORED] * 2
    assert not list((tmp_path / "instances" / "incoming").rglob("*.part")), "nothing of the first try is left"


def test_one_that_differs_is_put_aside_in_the_store_too(
    desk: tuple[InstanceStore, WatchfulSink], bucket: Bucket
) -> None:
    store, sink = desk
    receive(store, sink, ["1.2.3"])
    (verdict,) = receive(store, sink, ["1.2.3"], content=b"\x08\x00\x70\x00LO\x02\x00AB")
    assert verdict.outcome is RecordOutcome.CONFLICT
    keys = [key.removeprefix("hospital/a/instances/") for key in bucket.server.keys(bucket.name)]
    assert sorted(key.split("/")[0] == "quarantine" for key in keys) == [False, True]


def test_a_nearly_full_disk_lets_go_of_copies_before_it_refuses(
    desk: tuple[InstanceStore, WatchfulSink], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, sink = desk
    receive(store, sink, ["1.2.3"])
    looked: list[str] = []
    has_space = iter([False, True])
    monkeypatch.setattr(store, "has_space", lambda: next(has_space))
    monkeypatch.setattr(store._objects, "make_room", lambda: looked.append("made room"))
    incoming = store.create(b"")
    incoming.discard()
    assert looked == ["made room"]


def test_a_plain_folder_asks_no_store(tmp_path: Path) -> None:
    store, sink = InstanceStore(tmp_path), MemorySink()
    assert [one.outcome for one in receive(store, sink, ["1.2.3"])] == [RecordOutcome.STORED]
    assert [path.name for path in tmp_path.iterdir() if path.name != "incoming"] == [
        sink.received["1.2.3"].location[:2]
    ]
