"""Copy what one store has into another, so that it can be broken off and repeated."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from storage.errors import ObjectMissing
from storage.object_store import ObjectStore, StoredObject, digest_of_file

FOLDERS = ("instances", "results", "work", "erasures")
_AT_ONCE = 16
_WAITING_MAX = 64


@dataclass(frozen=True)
class Copied:
    """What a run came to. known: objects that the target had already, byte for byte."""

    copied: int = 0
    known: int = 0
    size_bytes: int = 0


def copy_objects(source: ObjectStore, target: ObjectStore, folders: Iterable[str] = FOLDERS) -> Copied:
    """Copy all objects below the folders that the target does not have; each is verified as it is put.

    What a step removes while this runs is left out. Raises what the stores raise; then it may be run again.
    """
    done = Copied()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        doing: deque[Future[tuple[bool, int]]] = deque()
        for folder in folders:
            for one in _objects(source, folder):
                doing.append(pool.submit(_copy, source, target, one))
                if len(doing) >= _WAITING_MAX:
                    done = _added(done, *doing.popleft().result())
        while doing:
            done = _added(done, *doing.popleft().result())
    return done


def _objects(store: ObjectStore, folder: str) -> Iterator[StoredObject]:
    return (one for one in store.list(folder) if not one.key.startswith("instances/incoming/"))


def _copy(source: ObjectStore, target: ObjectStore, one: StoredObject) -> tuple[bool, int]:
    """Whether it had to be copied, and its size."""
    there = target.head(one.key)
    with tempfile.TemporaryDirectory(prefix="radmeter-copy-") as folder:
        path = Path(folder, "object")
        try:
            if there is not None and there.size_bytes == one.size_bytes:
                digest = there.blake3 or target.digest(one.key)
                if digest == source.digest(one.key):
                    return False, one.size_bytes
            source.get(one.key, path)
        except ObjectMissing:
            return False, 0
        target.put(one.key, path, digest_of_file(path))
    return True, one.size_bytes


def _added(done: Copied, is_new: bool, size_bytes: int) -> Copied:
    return Copied(
        done.copied + is_new, done.known + (not is_new), done.size_bytes + (size_bytes if is_new else 0)
    )
