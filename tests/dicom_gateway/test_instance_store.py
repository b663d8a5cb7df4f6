"""Instances on disk: where they lie, and that they are written whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pydicom
import pytest
from blake3 import blake3
from hypothesis import example, given
from hypothesis import strategies as st

from dicom_gateway import instance_store
from dicom_gateway.errors import OutOfResources, StoreLocationInvalid
from dicom_gateway.file_meta import part10_header
from dicom_gateway.incoming_instance import IncomingInstance
from dicom_gateway.instance_store import InstanceStore, locate
from tests.dicom_peers import RawPeer, StartAcceptor, ct_data_set

HEADER = part10_header("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1", "CT01")
HOSTILE = ["../../etc/passwd", "/abs", "a\0b", "1." * 40, "%2e%2e", "..\\..", "", "é" * 70]


def written(store: InstanceStore, data: bytes) -> IncomingInstance:
    incoming = store.create(HEADER)
    for start in range(0, len(data), 100):
        incoming.append(memoryview(data)[start : start + 100])
    return incoming


class TestLocation:
    @given(st.lists(st.text(), min_size=5, max_size=5))
    @example(["../../etc/passwd"] * 5)
    @example(["a\0/b"] * 5)
    def test_any_text_gives_a_place_inside_the_store(self, parts: list[str]) -> None:
        root = Path("/store")
        location = locate(*parts)
        path = InstanceStore(root).path_of(location)
        assert path.resolve().is_relative_to(root)
        assert len(location) == 2 + 1 + 64 + 1 + 64 + 4
        assert set(location) <= set("0123456789abcdef/.dcm")

    @given(st.lists(st.text(), min_size=5, max_size=5), st.lists(st.text(), min_size=5, max_size=5))
    def test_different_identities_never_share_a_place(self, one: list[str], other: list[str]) -> None:
        assert (locate(*one) == locate(*other)) == (one == other)

    def test_where_a_part_ends_matters(self) -> None:
        assert locate("t", "1.2", "3", "4", "5") != locate("t", "1.23", "", "4", "5")

    @pytest.mark.parametrize("location", [*HOSTILE, "ab/../../x.dcm", locate(*"abcde") + "/..", "incoming/x"])
    def test_a_location_from_elsewhere_is_refused(self, tmp_path: Path, location: str) -> None:
        with pytest.raises(StoreLocationInvalid):
            InstanceStore(tmp_path).path_of(location)


class TestCommitMany:
    def test_every_file_of_a_batch_has_its_place_and_nothing_else_is_left(self, tmp_path: Path) -> None:
        store = InstanceStore(tmp_path)
        contents = {
            locate("t", f"1.{number % 3}", "2", str(number), "5"): b"%d" % number for number in range(40)
        }
        batch = [(written(store, data), location) for location, data in contents.items()]
        again = (written(store, b"0"), batch[0][1])
        store.commit_many([*batch, again])
        for location, data in contents.items():
            assert store.path_of(location).read_bytes() == HEADER + data
        assert list(tmp_path.rglob("*.part")) == []

    @pytest.mark.parametrize(
        ("is_ext4", "order"),
        [(False, "fsync fsync rename rename fsync"), (True, "link link fsync fsync")],
    )
    def test_files_are_synced_before_they_get_their_names_and_folders_after_or_both_at_once_on_ext4(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ext4: bool, order: str
    ) -> None:
        monkeypatch.setattr(instance_store, "syncs_names_with_files", lambda _folder: is_ext4)
        store, calls = InstanceStore(tmp_path), []
        batch = [
            (written(store, b"x%d" % number), locate("t", "1", "2", str(number), "5")) for number in range(3)
        ]
        store.commit_many(batch[:1])  # the folders are there from now on
        for name in ("fsync", "rename", "link"):
            original = getattr(os, name)
            monkeypatch.setattr(
                os, name, lambda *args, name=name, call=original: (calls.append(name), call(*args))
            )
        store.commit_many(batch[1:])
        assert calls == order.split()


class TestCommit:
    def test_the_file_is_a_part_10_file_with_a_zero_preamble(self, tmp_path: Path) -> None:
        store, data, location = InstanceStore(tmp_path), ct_data_set("1.2.3"), locate(*"abcde")
        incoming = written(store, data)
        assert incoming.blake3 == blake3(data).hexdigest()
        store.commit(incoming, location)
        content = store.path_of(location).read_bytes()
        assert content[:132] == bytes(128) + b"DICM"
        assert content.endswith(data)
        dataset = pydicom.dcmread(io.BytesIO(content))
        assert dataset.file_meta.SourceApplicationEntityTitle == "CT01"
        assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert dataset.file_meta.FileMetaInformationGroupLength == len(content) - len(data) - 144
        assert dataset.SOPInstanceUID == "1.2.3"

    def test_nothing_stays_in_incoming(self, tmp_path: Path) -> None:
        store = InstanceStore(tmp_path)
        store.commit(written(store, b"x" * 1000), locate(*"abcde"))
        written(store, b"y" * 1000).discard()
        assert list(tmp_path.rglob("*.part")) == []
        store.close()
        assert [path.name for path in (tmp_path / "incoming").iterdir()] == ["lock"]

    @pytest.mark.parametrize("is_ext4", [False, True])
    def test_the_same_object_again_is_one_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ext4: bool
    ) -> None:
        monkeypatch.setattr(instance_store, "syncs_names_with_files", lambda _folder: is_ext4)
        store, location = InstanceStore(tmp_path), locate(*"abcde")
        for _ in range(2):
            store.commit(written(store, b"x" * 1000), location)
            assert store.path_of(location).read_bytes() == HEADER + b"x" * 1000
        assert len([path for path in tmp_path.rglob("*.*") if path.is_file()]) == 1

    def test_what_could_not_be_synced_is_emptied_and_gives_way_to_the_same_object(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(instance_store, "syncs_names_with_files", lambda _folder: True)
        store, location = InstanceStore(tmp_path), locate(*"abcde")
        store.commit(written(store, b"another"), locate(*"abcdf"))
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", Mock(side_effect=OSError(errno.ENOSPC, "full")))
            with pytest.raises(OSError, match="full"):
                store.commit(written(store, b"x" * 1000), location)
        assert store.path_of(location).stat().st_size == 0
        store.commit(written(store, b"x" * 1000), location)
        assert store.path_of(location).read_bytes() == HEADER + b"x" * 1000

    def test_a_study_whose_folder_was_removed_comes_again(self, tmp_path: Path) -> None:
        store, location = InstanceStore(tmp_path), locate(*"abcde")
        store.commit(written(store, b"x" * 1000), location)
        store.path_of(location).unlink()
        store.path_of(location).parent.rmdir()
        store.commit(written(store, b"x" * 1000), location)
        assert store.path_of(location).read_bytes() == HEADER + b"x" * 1000

    def test_quarantine_takes_a_file_out_of_its_study(self, tmp_path: Path) -> None:
        store, location = InstanceStore(tmp_path), locate(*"abcde")
        store.commit(written(store, b"x" * 1000), location)
        target = store.quarantine(location)
        assert target.parent == tmp_path / "quarantine"
        assert target.read_bytes() == HEADER + b"x" * 1000
        assert not store.path_of(location).exists()

    def test_a_nearly_full_disk_takes_nothing_new(self, tmp_path: Path) -> None:
        with pytest.raises(OutOfResources):
            InstanceStore(tmp_path, free_bytes_min=1 << 60).create(HEADER)


class TestIncomingFolders:
    def test_what_a_dead_process_left_is_removed_and_a_living_one_is_spared(self, tmp_path: Path) -> None:
        dead = tmp_path / "incoming" / "dead"
        dead.mkdir(parents=True)
        (dead / "lock").touch()
        (dead / "x.part").write_bytes(b"half an instance")
        living = InstanceStore(tmp_path)
        kept = written(living, b"x")
        other = InstanceStore(tmp_path)
        other.create(HEADER).discard()
        assert not dead.exists()
        assert Path(kept.path).exists()

    def test_many_threads_share_one_folder(self, tmp_path: Path) -> None:
        store = InstanceStore(tmp_path)
        barrier = threading.Barrier(8)

        def begin() -> None:
            barrier.wait()
            store.create(HEADER).discard()

        threads = [threading.Thread(target=begin) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len([path for path in (tmp_path / "incoming").iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize(
    ("is_ext4", "order"),
    [(False, "sync file, rename, sync folder, record"), (True, "link, sync file, record")],
)
def test_an_answer_comes_after_file_folder_and_row_in_this_order(
    start_acceptor: StartAcceptor, monkeypatch: pytest.MonkeyPatch, is_ext4: bool, order: str
) -> None:
    """Invariant 1 of the architecture: power loss after 0000H loses nothing."""
    events: list[str] = []
    fsync = os.fsync

    def seen_fsync(descriptor: int) -> None:
        events.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        fsync(descriptor)

    def seen(event: str, call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: (events.append(event), call(*arguments))[1]

    acceptor = start_acceptor()
    monkeypatch.setattr(instance_store, "syncs_names_with_files", lambda _folder: is_ext4)
    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "rename", seen("rename", os.rename))
    monkeypatch.setattr(os, "link", seen("link", os.link))
    monkeypatch.setattr(acceptor.sink, "record", seen("record", acceptor.sink.record))
    with RawPeer(acceptor.port) as peer:
        peer.associate()
        assert peer.store(ct_data_set("1.2.3"), "1.2.3") == 0
        events.append("answer")
        assert peer.store(ct_data_set("1.2.4"), "1.2.4") == 0
        peer.release()
    first, second = events[: events.index("answer")], events[events.index("answer") + 1 :]
    steps = order.split(", ")
    assert first[:2] == ["sync folder", "sync folder"], "the folders of a new study are durable first"
    assert first[-len(steps) :] == steps
    assert set(first[: -len(steps)]) == {"sync folder"}
    assert second == steps


@pytest.mark.peer
def test_dcmtk_reads_our_header(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(HEADER + ct_data_set("1.2.3"))
    dump = subprocess.run(
        ["dcmdump", "+W", str(tmp_path), str(path)], capture_output=True, text=True, check=True
    )
    assert "RADMETER" in dump.stdout
    assert dump.stderr == ""
