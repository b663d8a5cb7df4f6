"""The power goes: what a peer was told is stored is there after it, read from a copy of the disk.

The store lies on an ext4 of its own in a file, with a journal or without. A cut is a copy of that file: what the file
system had kept in memory is lost, what it wrote is there, for its journal to be replayed or, without one, for e2fsck to
mend. Whether a disk keeps what it was told to flush is not shown.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from blake3 import blake3

from dicom_gateway.file_system import syncs_names_with_files
from dicom_gateway.incoming_instance import IncomingInstance
from dicom_gateway.instance_store import InstanceStore, locate
from tests.dicom_gateway.conftest import MemorySink, StartAcceptor
from tests.dicom_gateway.test_instance_store import HEADER, written
from tests.dicom_peers import RawPeer, ct_data_set, data_set_of

_SENDERS = 3


class Disk:
    """An ext4 in a file, mounted at `folder`; its journal is committed by syncs only, not by the clock."""

    def __init__(self, folder: Path, has_journal: bool) -> None:
        self.image, self.folder, self._after = folder / "disk", folder / "mounted", folder / "after"
        for path in (self.folder, self._after):
            path.mkdir()
        with self.image.open("wb") as file:
            file.truncate(64 << 20)
        self._has_journal = has_journal
        features = [] if has_journal else ["-O", "^has_journal"]
        subprocess.run(["mkfs.ext4", "-q", "-F", *features, str(self.image)], check=True)
        mount(self.image, self.folder, *(["commit=300"] if has_journal else []))

    @contextmanager
    def after_a_cut(self) -> Iterator[Path]:
        """What is found when the machine starts again."""
        copy = self.image.with_name("copy")
        subprocess.run(["cp", "--sparse=always", str(self.image), str(copy)], check=True)
        if not self._has_journal:  # 1: what was wrong is mended
            mended = subprocess.run(["e2fsck", "-fy", str(copy)], capture_output=True, check=False)
            assert mended.returncode in (0, 1), mended.stdout
        mount(copy, self._after)
        try:
            yield self._after
        finally:
            subprocess.run(["umount", str(self._after)], check=True)


def mount(image: Path, folder: Path, *options: str) -> None:
    subprocess.run(["mount", "-o", ",".join(("loop", *options)), str(image), str(folder)], check=True)


@pytest.fixture(params=[True, False], ids=["with a journal", "without a journal"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("a disk of its own can be mounted by root only, with mkfs.ext4")
    try:
        made = Disk(tmp_path, request.param)
    except subprocess.CalledProcessError:
        pytest.skip("this machine mounts no files as disks")
    yield made
    subprocess.run(["umount", "--lazy", str(made.folder)], check=True)


def test_what_was_only_written_is_lost_so_that_a_cut_is_one(disk: Disk) -> None:
    store = InstanceStore(disk.folder, durable=False)
    store.commit(written(store, b"x" * 9000), locate(*"abcde"))
    with disk.after_a_cut() as root:
        assert list(root.rglob("*.dcm")) == []


def test_the_order_that_needs_no_sync_of_the_folder_is_for_ext4_only(disk: Disk) -> None:
    assert syncs_names_with_files(disk.folder)
    assert not syncs_names_with_files(Path("/proc"))


def test_instances_and_their_names_are_there_one_by_one_and_in_batches(disk: Disk) -> None:
    store = InstanceStore(disk.folder)
    sizes = (10, 9_000, 700_000)
    for number, size in enumerate(sizes):
        data, place = bytes([number]) * size, locate("t", "1", "2", str(number), "5")
        store.commit(written(store, data), place)
        with disk.after_a_cut() as root:
            assert (root / place).read_bytes() == HEADER + data
    batch = {
        locate("t", str(number % 3), "2", str(number), "6"): b"%d" % number * 900 for number in range(40)
    }
    store.commit_many([(written(store, data), place) for place, data in batch.items()])
    with disk.after_a_cut() as root:
        assert {place: (root / place).read_bytes() for place in batch} == {
            place: HEADER + data for place, data in batch.items()
        }


def test_what_a_cut_left_under_a_name_never_passes_for_the_instance(disk: Disk) -> None:
    store, place = InstanceStore(disk.folder), locate(*"abcde")
    store.commit(written(store, b"other"), locate("a", "b", "c", "d", "f"))
    store.path_of(place).write_bytes(b"")  # a name was durable before its bytes were
    store.commit(written(store, b"x" * 9000), place)
    with disk.after_a_cut() as root:
        assert (root / place).read_bytes() == HEADER + b"x" * 9000


def test_a_disk_that_fills_takes_instances_whole_or_not_at_all_and_goes_on_when_there_is_room(
    disk: Disk,
) -> None:
    store = InstanceStore(disk.folder)
    contents = {locate("t", "1", "2", str(number), "5"): bytes([number]) * 1_000_000 for number in range(80)}
    kept: list[str] = []

    def fill() -> None:
        for place, data in contents.items():
            store.commit(written_at_once(store, data), place)
            kept.append(place)

    with pytest.raises(OSError, match="No space left"):
        fill()
    assert len(kept) > 30
    store.path_of(kept.pop(0)).unlink()
    refused = list(contents)[len(kept) + 1]
    store.commit(written_at_once(store, contents[refused]), refused)
    with disk.after_a_cut() as root:
        for place in (*kept, refused):
            assert (root / place).read_bytes() == HEADER + contents[place]


def written_at_once(store: InstanceStore, data: bytes) -> IncomingInstance:
    incoming = store.create(HEADER)
    try:
        incoming.append(memoryview(data))
    except OSError:
        incoming.discard()
        raise
    return incoming


def test_whatever_was_answered_with_success_is_there(
    disk: Disk, start_acceptor: StartAcceptor, tmp_path: Path
) -> None:
    sink = MemorySink()
    (tmp_path / "store0").symlink_to(disk.folder / "store")
    (disk.folder / "store").mkdir()
    os.sync()
    acceptor = start_acceptor(sink)
    digests: dict[str, str] = {}
    turns = threading.Barrier(_SENDERS + 1, timeout=30)

    def send(number: int) -> None:
        with RawPeer(acceptor.port) as peer:
            peer.associate()
            for turn in range(3):
                for count in range(5):
                    uid = f"1.2.{number}.{turn}.{count}"
                    data = ct_data_set(uid, pixel_bytes=20_000 * count, study=f"1.2.{number % 2}")
                    assert peer.store(data, uid) == 0
                    digests[uid] = blake3(data).hexdigest()
                turns.wait()  # nobody writes while the disk is copied
                turns.wait()

    senders = [threading.Thread(target=send, args=(number,), daemon=True) for number in range(_SENDERS)]
    for sender in senders:
        sender.start()
    for turn in range(3):
        turns.wait()
        assert len(digests) == _SENDERS * 5 * (turn + 1)
        with disk.after_a_cut() as root:
            for uid, digest in digests.items():
                stored = data_set_of(root / "store" / sink.received[uid].location)
                assert blake3(stored).hexdigest() == digest
        turns.wait()
    for sender in senders:
        sender.join(10)
