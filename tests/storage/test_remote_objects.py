"""Objects of several nodes with one store: kept before they are named, brought when they are read, bounded here."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import node_cache
from storage.errors import ObjectDamaged, StoreUnreachable
from storage.folder_store import FolderStore
from storage.node_cache import group_of
from storage.remote_objects import RemoteObjects
from tests.s3_server import Bucket

TENANT = "alpha"
STUDY = "ab/" + "ab" * 32


@pytest.fixture
def node(tmp_path: Path) -> Callable[..., tuple[RemoteObjects, Path]]:
    """`node("a")`: what a process of that node has of the one store, and the node's data folder."""
    store = FolderStore(tmp_path / "store")

    def make(name: str, cache_bytes_max: int = 1 << 30) -> tuple[RemoteObjects, Path]:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        return RemoteObjects(root, store, cache_bytes_max=cache_bytes_max), root

    return make


Node = Callable[..., tuple[RemoteObjects, Path]]


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def take_in(objects: RemoteObjects, root: Path, name: str, content: bytes) -> Path:
    path = root / "instances" / name
    objects.take_in(TENANT, write(root / "incoming.part", content), path)
    return path


def age(root: Path) -> None:
    """As if nothing had been used for an hour."""
    for path in (root / "cache" / "pins").iterdir():
        os.utime(path, (time.time() - 3600, time.time() - 3600))


def test_what_one_node_keeps_another_has_when_it_asks(node: Node) -> None:
    a, root_a = node("a")
    b, root_b = node("b")
    write(root_a / "work/s/1/study.json", b"left by a step")
    write(root_a / "work/s/1/priors/p/volume.npy", b"\x00" * 5000)
    write(root_a / "work/s/1/.study.json.77", b"half written")
    a.keep(TENANT, [root_a / "work/s/1"])
    with b.folders_at_hand(TENANT, [root_b / "work/s/1"]):
        found = {
            path.relative_to(root_b).as_posix() for path in (root_b / "work").rglob("*") if path.is_file()
        }
        assert found == {"work/s/1/study.json", "work/s/1/priors/p/volume.npy"}
        assert (root_b / "work/s/1/study.json").read_bytes() == b"left by a step"


def test_a_step_taken_again_elsewhere_replaces_what_the_first_node_still_has(node: Node) -> None:
    a, root_a = node("a")
    b, root_b = node("b")
    for objects, root, content in ((a, root_a, b"first"), (b, root_b, b"again")):
        write(root / "work/s/1/answer.json", content)
        objects.keep(TENANT, [root / "work/s/1"])
    with a.folders_at_hand(TENANT, [root_a / "work/s/1"]):
        assert (root_a / "work/s/1/answer.json").read_bytes() == b"again"
    # What a worker wrote and did not live to keep is nothing against what another kept.
    write(root_a / "work/s/1/answer.json", b"never kept")
    with a.folders_at_hand(TENANT, [root_a / "work/s/1"]):
        assert (root_a / "work/s/1/answer.json").read_bytes() == b"again"


def test_only_what_was_written_is_sent_again(node: Node) -> None:
    a, root = node("a")
    sent: list[str] = []
    a._observe = lambda operation, outcome, _: sent.append(f"{operation} {outcome}")
    write(root / "results/s/1/report.pdf", b"one")
    write(root / "results/s/1/report.json", b"two")
    a.keep(TENANT, [root / "results/s/1"])
    a.keep(TENANT, [root / "results/s/1"])
    assert sent == ["put ok"] * 2
    write(root / "results/s/1/report.json", b"other")
    a.keep(TENANT, [root / "results/s/1"])
    with a.folders_at_hand(TENANT, [root / "results/s/1"]):
        pass
    assert sent == ["put ok"] * 3


def test_a_file_that_the_books_know_otherwise_is_fetched_again_or_refused(node: Node) -> None:
    a, root_a = node("a")
    b, root_b = node("b")
    a.keep(TENANT, [write(root_a / "results/s/1/sr.dcm", b"as in the books").parent])
    stale = write(root_b / "results/s/1/sr.dcm", b"of an attempt that failed")
    with b.at_hand(TENANT, {stale: lambda path: path.read_bytes() == b"as in the books"}):
        assert stale.read_bytes() == b"as in the books"
    fresh = root_b / "results/s/1/other.dcm"
    a.keep(TENANT, [write(root_a / "results/s/1/other.dcm", b"tampered with").parent])
    with pytest.raises(ObjectDamaged), b.at_hand(TENANT, {fresh: lambda path: False}):
        pass
    assert not fresh.exists()
    assert not list((root_b / "cache" / "under_way").iterdir())


def test_what_the_store_does_not_have_is_not_there_as_on_a_plain_disk(node: Node) -> None:
    b, root = node("b")
    path = root / "instances" / STUDY / f"{'0' * 64}.dcm"
    with b.at_hand(TENANT, [path]):
        assert not path.exists()
    assert b.present([path]) == frozenset()


def test_presence_is_asked_of_the_store_for_what_is_not_here(node: Node) -> None:
    a, root_a = node("a")
    b, root_b = node("b")
    names = [f"{STUDY}/{number:064}.dcm" for number in range(6)]
    for name in names:
        take_in(a, root_a, name, b"x")
    assert sorted(b.present_below(root_b / "instances", [*names, f"{STUDY}/{'f' * 64}.dcm"])) == names
    assert sorted(b.present_below(root_b / "instances", names[:2])) == names[:2]
    assert not any(root_b.rglob("*.dcm"))
    lost = f"instances/{names[0]}"
    a.store.delete([lost])
    assert a.present([root_a / lost]) == {root_a / lost}, "it is still here to be shown"
    assert a.present_below(root_a / "instances", names[:1]) == [], "but nobody is promised that it is kept"


def test_a_study_that_is_discarded_is_gone_here_and_in_the_store(node: Node) -> None:
    a, root = node("a")
    for study in ("s", "st"):
        a.keep(TENANT, [write(root / f"work/{study}/1/volume.npy", b"x").parent])
    a.discard(root / "work/s")
    assert [one.key for one in a.store.list()] == ["work/st/1/volume.npy"]
    assert not (root / "work/s").exists()
    a.discard(root / "work/s")


def test_an_instance_put_aside_lies_aside_in_the_store_too(node: Node) -> None:
    a, root = node("a")
    source = take_in(a, root, f"{STUDY}/{'1' * 64}.dcm", b"other bytes")
    target = root / "instances/quarantine" / source.name
    a.move(TENANT, source, target)
    assert [one.key for one in a.store.list()] == [f"instances/quarantine/{source.name}"]
    assert target.read_bytes() == b"other bytes"


class TestBound:
    def studies(self, objects: RemoteObjects, root: Path, count: int, size: int) -> list[Path]:
        return [
            take_in(objects, root, f"{number:02}/{number:064}/{'1' * 64}.dcm", bytes([number]) * size)
            for number in range(count)
        ]

    def test_what_was_not_used_for_longest_goes_first(self, node: Node) -> None:
        a, root = node("a", cache_bytes_max=10_000)
        paths = self.studies(a, root, 3, 3000)
        age(root)
        with a.at_hand(TENANT, [paths[0]]):
            pass
        os.utime(paths[1].parent)  # that a file came or went is not that it was used
        (pin,) = {
            path for path in (root / "cache" / "pins").iterdir() if path.stat().st_mtime > time.time() - 60
        }
        assert pin.is_file()
        more = take_in(a, root, f"99/{'9' * 64}/{'1' * 64}.dcm", b"x" * 3000)
        a.make_room()
        assert [path.exists() for path in (paths[0], more)] == [True, True]
        assert [path.exists() for path in paths[1:]].count(False) == 1
        with a.at_hand(TENANT, paths):
            assert [path.read_bytes()[:1] for path in paths] == [b"\x00", b"\x01", b"\x02"]

    def test_what_is_in_use_stays_even_above_the_bound(self, node: Node) -> None:
        a, root = node("a", cache_bytes_max=1000)
        other_process, _ = node("a", cache_bytes_max=1000)
        paths = self.studies(a, root, 2, 900)
        age(root)
        with a.at_hand(TENANT, [paths[0]]):
            age(root)  # however long it takes
            other_process.make_room()
            assert paths[0].exists()
            assert not paths[1].exists()
        age(root)
        take_in(a, root, f"99/{'9' * 64}/{'1' * 64}.dcm", b"x" * 900)
        a.make_room()
        assert not paths[0].exists()
        assert not (root / "instances/00").joinpath("0" * 64).exists(), "no empty folders stay"

    def test_what_was_not_kept_yet_never_goes(self, node: Node) -> None:
        a, root = node("a", cache_bytes_max=100)
        written = write(root / "work/s/1/volume.npy", b"x" * 5000)
        with a.folders_at_hand(TENANT, [root / "work/s/1"]):
            pass
        age(root)
        a.make_room()
        assert written.exists()
        a.keep(TENANT, [root / "work/s/1"])
        age(root)
        a.make_room()
        assert not written.exists()

    def test_what_lay_here_before_the_store_was_set_goes_only_when_it_was_copied(
        self, node: Node, tmp_path: Path
    ) -> None:
        names = (f"instances/00/{'0' * 64}/{'1' * 64}.dcm", "results/s/1/report.pdf")
        paths = [write(tmp_path / "a" / name, b"x" * 900) for name in names]
        for path in paths:
            os.utime(path, (time.time() - 2 * 86400, time.time() - 2 * 86400))
        a, root = node("a", cache_bytes_max=100)
        for folder in (paths[0].parent, paths[1].parent.parent):
            os.utime(folder, (time.time() - 3600, time.time() - 3600))
        a.make_room()
        assert [path.exists() for path in paths] == [True, True], "the only ones there are"
        for name, path in zip(names, paths, strict=True):
            a.store.put(name, path, "")
        age(root)
        a.make_room()
        assert [path.exists() for path in paths] == [False, False]

    def test_several_processes_fill_and_empty_one_cache_and_nobody_sees_half_a_file(
        self, node: Node, tmp_path: Path
    ) -> None:
        a, root = node("a")
        names = [path.relative_to(root) for path in self.studies(a, root, 12, 200_000)]
        shared = tmp_path / "shared"
        shared.mkdir()
        context = multiprocessing.get_context("spawn")
        arguments = (tmp_path / "store", shared, [str(name) for name in names])
        readers = [context.Process(target=_read_on, args=(*arguments, seed)) for seed in range(3)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(60)
        assert [reader.exitcode for reader in readers] == [0, 0, 0]
        assert not list((shared / "cache" / "under_way").iterdir())


def _read_on(store: Path, root: Path, names: list[str], seed: int) -> None:
    """In a process: read one study after the other through a cache that holds three of them."""
    node_cache._JUST_USED_S = 0.0
    objects = RemoteObjects(root, FolderStore(store), cache_bytes_max=600_000)
    for turn in range(25):
        number = (turn * (seed + 5) + seed) % len(names)
        path = root / names[number]
        with objects.at_hand(TENANT, [path]):
            assert path.read_bytes() == bytes([number]) * 200_000
        objects.make_room()


def test_a_study_is_one_group() -> None:
    keys = (
        "instances/ab/cdef/1.dcm",
        "instances/quarantine/1.dcm",
        "results/s/1/report.pdf",
        "work/s/1/x/v.npy",
    )
    groups = ["instances/ab/cdef", "instances/quarantine", "results/s", "work/s"]
    assert [group_of(key) for key in keys] == groups


def test_a_store_that_is_away_is_said_so_and_recovers(bucket: Bucket, tmp_path: Path) -> None:
    objects = RemoteObjects(tmp_path, bucket.store(request_s=5.0), cache_bytes_max=1 << 30)
    written = write(tmp_path / "results/s/1/report.pdf", b"x")
    assert objects.problem() is None
    bucket.door.set("refuse")
    with pytest.raises(StoreUnreachable):
        objects.keep(TENANT, [written.parent])
    assert objects.problem() is None, "asked of the store now and then, not with every request"
    objects._probed_at = 0.0
    assert "does not answer" in str(objects.problem())
    bucket.door.set(None)
    objects._probed_at = 0.0
    assert objects.problem() is None
    objects.keep(TENANT, [written.parent])
    assert bucket.server.keys(bucket.name) == ["hospital/a/results/s/1/report.pdf"]


def test_uploads_of_a_batch_wait_side_by_side(bucket: Bucket, tmp_path: Path) -> None:
    objects = RemoteObjects(tmp_path, bucket.store(request_s=10.0), cache_bytes_max=1 << 30)
    for number in range(16):
        write(tmp_path / f"work/s/1/{number}", b"x")
    bucket.door.set(0.3)
    started = time.monotonic()
    objects.keep(TENANT, [tmp_path / "work/s/1"])
    assert time.monotonic() - started < 16 * 0.3
    assert threading.active_count() < 100
    assert len(bucket.server.keys(bucket.name)) == 16
