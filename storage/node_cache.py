"""The bounded part of this node's disk that holds copies of objects; several processes share it.

    <root>/cache/pins/<group>     a lock file: shared by who uses the group, exclusive while it is evicted; its time
                                  of change is when the group was last used
    <root>/cache/since            made when the folder became a cache
    <root>/cache/versions/<key>   which version of an object that may change lies here, and as which file

A group is what is used and evicted together: a study's instances, its results, its work.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

INSTANCES, RESULTS, WORK = "instances", "results", "work"
# What was used a moment ago may be about to be opened by somebody who holds no pin.
_JUST_USED_S = 60.0
# What was never kept and never touched for so long belongs to a step whose worker died.
_LEFT_BEHIND_S = 24 * 3600.0
# Evicting goes on a little below the bound, so that not every object that comes has to look for room.
_LOW_WATER = 0.9
_LOOK_AFTER = 1 / 32


def group_of(key: str) -> str:
    """What is used and evicted together with the object of this key."""
    parts = key.split("/")
    deep = 3 if parts[0] == INSTANCES and len(parts) > 3 else 2
    return "/".join(parts[:deep])


@dataclass(frozen=True)
class _Group:
    name: str
    used_at: float
    size_bytes: int


class NodeCache:
    """Copies below `root`; each lies under its object's key.

    bytes_max: of all copies; what is in use stays even above it. free_bytes_min: of the disk; below it copies go too.
    is_stored: whether the store has an object; asked of files that may be no copies, because they were here before the
    folder became a cache: somebody may have forgotten to copy them.
    """

    def __init__(
        self, root: Path, bytes_max: int, is_stored: Callable[[str], bool], free_bytes_min: int = 1 << 30
    ) -> None:
        self.root = root
        self._is_stored = is_stored
        self._own = root / "cache"
        self._bytes_max = bytes_max
        self._free_bytes_min = free_bytes_min
        self._lock = threading.Lock()
        self._grown = bytes_max  # so that the first growth looks at what lies here
        since = self._own / "since"
        if not since.exists():
            self._own.mkdir(parents=True, exist_ok=True)
            since.touch()
        self._is_cache_since = since.stat().st_mtime

    @contextlib.contextmanager
    def in_use(self, keys: Iterable[str]) -> Iterator[None]:
        """While this lasts, no process of this node evicts the groups of these keys."""
        with contextlib.ExitStack() as stack:
            for group in sorted({group_of(key) for key in keys}):
                descriptor = self._pin(group, fcntl.LOCK_SH)
                assert descriptor is not None
                stack.callback(os.close, descriptor)
                os.utime(descriptor)
            yield

    def version_here(self, key: str) -> str:
        """The version of the copy, as `note_version` was told; "" where there is none or the file was written since."""
        try:
            version, stamp = (self._own / "versions" / key).read_text().split("\n")
            return version if stamp == _stamp(self.root / key) else ""
        except (OSError, ValueError):
            return ""

    def note_version(self, key: str, version: str) -> None:
        path = self._own / "versions" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        temporary.write_text(f"{version}\n{_stamp(self.root / key)}")
        temporary.replace(path)

    def forget(self, key: str) -> None:
        """Remove a copy, and all below it."""
        for path in (self.root / key, self._own / "versions" / key):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def grew(self, size_bytes: int) -> None:
        """So much has come; now and then this looks whether something must go."""
        with self._lock:
            self._grown += size_bytes
            if self._grown < self._bytes_max * _LOOK_AFTER:
                return
            self._grown = 0
        self.make_room()

    def make_room(self) -> int:
        """Evict what was not used for longest, until the copies are within their bound; returns the bytes that went."""
        self._own.mkdir(parents=True, exist_ok=True)
        with (self._own / "evicting").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0  # another process is at it
            groups = sorted(self._groups(), key=lambda one: one.used_at)
            size_bytes = sum(one.size_bytes for one in groups)
            if size_bytes <= self._bytes_max and self._has_space():
                return 0
            gone = 0
            for group in groups:
                is_enough = size_bytes - gone <= self._bytes_max * _LOW_WATER and self._has_space()
                if is_enough or group.used_at > time.time() - _JUST_USED_S:
                    break
                gone += self._evict(group)
            return gone

    def _has_space(self) -> bool:
        space = os.statvfs(self.root)
        return space.f_bavail * space.f_frsize >= self._free_bytes_min

    def _groups(self) -> Iterator[_Group]:
        for top in (RESULTS, WORK, INSTANCES):
            depth = "*/*" if top == INSTANCES else "*"
            for folder in (self.root / top).glob(depth):
                key = folder.relative_to(self.root).as_posix()
                if (
                    key.startswith((f"{INSTANCES}/incoming/", f"{INSTANCES}/quarantine/"))
                    or not folder.is_dir()
                ):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    yield _Group(key, self._used_at(key, folder), _size_bytes(folder))

    def _used_at(self, group: str, folder: Path) -> float:
        try:
            return self._pin_path(group).stat().st_mtime
        except FileNotFoundError:
            return folder.stat().st_mtime

    def _evict(self, group: _Group) -> int:
        descriptor = self._pin(group.name, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if descriptor is None:
            return 0
        gone = 0
        try:
            for folder, directories, names in os.walk(self.root / group.name, topdown=False):
                for name in names:
                    path = Path(folder, name)
                    with contextlib.suppress(FileNotFoundError):
                        size_bytes = path.stat().st_size
                        if self._may_go(path):
                            path.unlink()
                            gone += size_bytes
                for name in directories:
                    _remove_empty(Path(folder, name))
            _remove_empty(self.root / group.name)
            if not (self.root / group.name).exists():
                shutil.rmtree(self._own / "versions" / group.name, ignore_errors=True)
                self._pin_path(group.name).unlink(missing_ok=True)
        finally:
            os.close(descriptor)
        return gone

    def _may_go(self, path: Path) -> bool:
        """Instances come to their place when the store has them; of the rest what the store has, or nobody wants."""
        key = path.relative_to(self.root).as_posix()
        if self.version_here(key):
            return True
        written_at = path.stat().st_mtime
        if key.startswith(f"{INSTANCES}/"):
            return written_at >= self._is_cache_since or self._is_stored(key)
        is_left = written_at < time.time() - _LEFT_BEHIND_S
        return is_left and (key.startswith(f"{WORK}/") or self._is_stored(key))

    def _pin_path(self, group: str) -> Path:
        return self._own / "pins" / hashlib.sha256(group.encode()).hexdigest()[:40]

    def _pin(self, group: str, how: int) -> int | None:
        """The locked pin of a group; None when it is not to be waited for and somebody uses the group."""
        path = self._pin_path(group)
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(descriptor, how)
                if os.fstat(descriptor).st_ino == path.stat().st_ino:
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                return None
            except FileNotFoundError:
                pass
            os.close(descriptor)  # it went with its group while we waited for it


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _size_bytes(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


def _remove_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()
