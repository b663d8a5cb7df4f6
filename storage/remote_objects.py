"""Objects that lie in an object store; the folders of this node are a bounded cache of them."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from storage.errors import ObjectDamaged, ObjectStoreError, StoreNotReady
from storage.node_cache import NodeCache
from storage.object_store import ObjectStore, digest_of_file
from storage.objects import Check, Objects
from storage.probe import probe

logger = logging.getLogger(__name__)

# Requests under way at a time, for each process: they wait for the network, not for the processor.
_AT_ONCE = 16
_PROBE_TRUSTED_S = 5.0
_FETCH_LEFT_S = 3600.0
# So many of one folder are asked for one by one rather than by its listing.
_FEW = 3


def _observe_nothing(operation: str, outcome: str, duration_s: float) -> None:
    """The default when no metrics are kept."""


class RemoteObjects(Objects):
    """The key of a file is its path below `root`.

    store_of: by tenant, the store as its objects pass into it, where they are sealed say; None = the store as it is.
    cache_bytes_max: of the copies on this node, see `NodeCache`. observe: told of each transfer (put or get), what it
    came to (ok, or the name of the fault) and how long it took.
    """

    is_remote = True

    def __init__(
        self,
        root: Path,
        store: ObjectStore,
        *,
        cache_bytes_max: int,
        store_of: Callable[[str], ObjectStore] | None = None,
        observe: Callable[[str, str, float], None] = _observe_nothing,
    ) -> None:
        self.store = store
        self._root = root
        self._cache = NodeCache(root, cache_bytes_max, self._is_stored)
        self._store_of = store_of or (lambda _tenant: store)
        self._under_way = root / "cache" / "under_way"
        self._observe = observe
        self._workers = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="objects")
        self._probing = threading.Lock()
        self._probed_at = -_PROBE_TRUSTED_S
        self._problem: str | None = None
        self._remove_what_broke_off()

    def keep(self, tenant: str, folders: Iterable[Path]) -> None:
        written = [
            key
            for folder in folders
            for path in _files_below(folder)
            if not self._cache.version_here(key := self.key_of(path))
        ]

        def put(key: str) -> None:
            path = self._root / key
            before = path.stat()
            version = self._put(tenant, key, path)
            if before.st_mtime_ns == path.stat().st_mtime_ns:
                self._cache.note_version(key, version)
            self._cache.grew(before.st_size)

        self._each(put, written)

    def take_in(self, tenant: str, source: Path, path: Path) -> None:
        key = self.key_of(path)
        self._put(tenant, key, source)
        with self._cache.in_use([key]):
            path.parent.mkdir(parents=True, exist_ok=True)
            size_bytes = source.stat().st_size
            os.replace(source, path)
        self._cache.grew(size_bytes)

    @contextlib.contextmanager
    def at_hand(self, tenant: str, wanted: Iterable[Path] | Mapping[Path, Check | None]) -> Iterator[None]:
        checks = wanted if isinstance(wanted, Mapping) else dict.fromkeys(wanted)
        check_of = {self.key_of(path): check for path, check in checks.items()}

        def bring(key: str) -> None:
            path, check = self._root / key, check_of[key]
            if path.is_file() and (check is None or key.startswith("instances/") or check(path)):
                return  # an instance never changes under its name, so it was looked at when it came
            self._get(tenant, key, check)

        with self._cache.in_use(check_of):
            self._each(bring, check_of)
            yield

    @contextlib.contextmanager
    def folders_at_hand(self, tenant: str, folders: Iterable[Path], *, without: str = "") -> Iterator[None]:
        prefixes = [self.key_of(folder) for folder in folders]
        with self._cache.in_use(f"{prefix}/" for prefix in prefixes):
            listed = [one for prefix in prefixes for one in self.store.list(prefix)]
            stale = [
                one.key
                for one in listed
                if not (without and one.key.endswith(without))
                and self._cache.version_here(one.key) != one.version
            ]
            self._each(lambda key: self._get(tenant, key, None), stale)
            yield

    def present(self, paths: Iterable[Path], *, for_good: bool = False) -> frozenset[Path]:
        wanted = frozenset(paths)
        away = {path for path in wanted if for_good or not path.is_file()}
        by_parent: dict[Path, set[Path]] = {}
        for path in away:
            by_parent.setdefault(path.parent, set()).add(path)
        there = set()
        for parent, some in by_parent.items():
            if len(some) <= _FEW:
                there |= {path for path in some if self.store.head(self.key_of(path)) is not None}
            else:
                there |= some & {self._root / one.key for one in self.store.list(self.key_of(parent))}
        return (wanted - away) | there

    def move(self, tenant: str, source: Path, target: Path) -> None:
        if not source.is_file():  # evicted meanwhile
            self._get(tenant, self.key_of(source), None)
        self._put(tenant, self.key_of(target), source)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
        self.store.delete([self.key_of(source)])

    def discard(self, folder: Path) -> None:
        prefix = self.key_of(folder)
        self._cache.forget(prefix)
        try:
            self.store.delete([one.key for one in self.store.list(prefix)])
        except StoreNotReady as error:
            # Nobody reads it any more; `radmeter objects check` finds what stayed.
            logger.warning("objects_not_discarded error=%s", type(error).__name__)

    def make_room(self) -> None:
        self._cache.make_room()

    def problem(self) -> str | None:
        with self._probing:
            if time.monotonic() - self._probed_at >= _PROBE_TRUSTED_S:
                try:
                    probe(self.store)
                    self._problem = None
                except ObjectStoreError as error:
                    self._problem = str(error)
                self._probed_at = time.monotonic()
            return self._problem

    def key_of(self, path: Path) -> str:
        """The key under which the store has a file of this node."""
        return path.relative_to(self._root).as_posix()

    def _is_stored(self, key: str) -> bool:
        try:
            return self.store.head(key) is not None
        except ObjectStoreError:
            return False  # nobody knows, so it stays

    def _put(self, tenant: str, key: str, path: Path) -> str:
        with self._observed("put"):
            return self._store_of(tenant).put(key, path, digest_of_file(path))

    def _get(self, tenant: str, key: str, check: Check | None) -> None:
        """Bring the object; where the store has none, there is no file, as on a plain disk.

        Others see it whole or not at all.
        """
        path = self._root / key
        self._under_way.mkdir(parents=True, exist_ok=True)
        fetched = self._under_way / f"{secrets.token_hex(16)}.part"
        try:
            with self._observed("get"):
                found = self._store_of(tenant).get(key, fetched)
            if check is not None and not check(fetched):
                raise ObjectDamaged("an object of the store is not what the books say of it")
            path.parent.mkdir(parents=True, exist_ok=True)
            fetched.replace(path)
        except FileNotFoundError:
            return
        finally:
            fetched.unlink(missing_ok=True)
        if not key.startswith("instances/"):
            self._cache.note_version(key, found.version)
        self._cache.grew(found.size_bytes)

    @contextlib.contextmanager
    def _observed(self, operation: str) -> Iterator[None]:
        started, outcome = time.monotonic(), "ok"
        try:
            yield
        except OSError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._observe(operation, outcome, time.monotonic() - started)

    def _each(self, do: Callable[[str], Any], keys: Iterable[str]) -> None:
        """Side by side; what the first that fails raises, once all have ended."""
        wanted = list(keys)
        if len(wanted) == 1:
            do(wanted[0])
            return
        doing = [self._workers.submit(do, key) for key in wanted]
        failed = [error for one in doing if (error := one.exception()) is not None]
        if failed:
            raise failed[0]

    def _remove_what_broke_off(self) -> None:
        """Files under way of processes that died."""
        for path in self._under_way.glob("*.part"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _FETCH_LEFT_S:
                    path.unlink()


def _files_below(folder: Path) -> Iterator[Path]:
    """Whole files; those with a dot before their name are being written."""
    for place, directories, names in os.walk(folder):
        directories.sort()
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))
