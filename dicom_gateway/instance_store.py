"""Instances on disk: written whole or not at all, immutable, never named by what a peer sent.

    <root>/incoming/<process>/   files being received
    <root>/ab/abcdef…/           one folder per study: SHA-256 of (tenant, Study Instance UID)
    <root>/quarantine/           instances that contradict one already stored

A file's name is the SHA-256 of (tenant, study, series, SOP Instance UID, digest of the data set). The same
object sent twice meets its own file; another object under the same UID can never replace it.

What makes a file durable with its name is in docs/decisions/0007-one-sync-for-an-instance.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import itertools
import os
import re
import secrets
import shutil
import struct
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from dicom_gateway.errors import OutOfResources, StoreLocationInvalid
from dicom_gateway.file_system import syncs_names_with_files
from dicom_gateway.incoming_instance import IncomingInstance
from storage.objects import LOCAL_OBJECTS, Objects

_LOCATION = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}/[0-9a-f]{64}\.dcm", re.ASCII)
_LENGTH = struct.Struct("<I")
_KNOWN_DIRECTORIES_MAX = 10_000
# A disk that fills at 2 GiB/s loses less in this time than any sensible reserve.
_SPACE_TRUSTED_S = 0.1
_SYNC_THREADS = 8  # of one batch: files that wait for the disk at a time share its journal's writes
_SYNC_THREADS_MAX = 32  # of all batches that come at once; threads that wait cost little


def locate(tenant: str, study_uid: str, series_uid: str, sop_instance_uid: str, blake3: str) -> str:
    """Where an instance lies, relative to the store. Pure; any text is safe."""
    folder = _folder(tenant, study_uid)
    name = _digest(tenant, study_uid, series_uid, sop_instance_uid, blake3)
    return f"{folder[:2]}/{folder}/{name}.dcm"


class InstanceStore:
    """The files of received instances below one folder.

    free_bytes_min: below this much free space nothing new is taken, so that the database and the
        results of studies already here still find room.
    durable: False leaves out every fsync; for measuring their cost only.
    objects: where they lie for good, if that is not this folder; then the folder is a cache of them.
    """

    def __init__(
        self,
        root: Path,
        free_bytes_min: int = 0,
        durable: bool = True,
        objects: Objects = LOCAL_OBJECTS,
    ) -> None:
        self.root = root
        self._root = str(root)
        self._objects = objects
        self._free_bytes_min = free_bytes_min
        self._durable = durable
        self._known_directories: set[str] = set()
        self._opening = threading.Lock()
        self._incoming: Path | None = None
        self._numbers = itertools.count()
        self._space_checked_at = -_SPACE_TRUSTED_S
        self._has_space = True
        self._incoming_lock: BinaryIO | None = None
        self._is_named_first = False  # known with the folder for incoming files
        self._syncers = ThreadPoolExecutor(_SYNC_THREADS_MAX, thread_name_prefix="sync")

    def create(self, header: bytes) -> IncomingInstance:
        """Begin an instance; raise `OutOfResources` when the disk is nearly full."""
        with self._opening:
            incoming = self._incoming or self._open_incoming()
        if not self.has_space():
            self._objects.make_room()
            self._space_checked_at = -_SPACE_TRUSTED_S
            if not self.has_space():
                raise OutOfResources("the disk is nearly full")
        return IncomingInstance(f"{incoming}/{next(self._numbers)}.part", header)

    def has_space(self) -> bool:
        """Whether the disk has more free space than must be left; asked of it a few times a second."""
        now = time.monotonic()
        if now - self._space_checked_at >= _SPACE_TRUSTED_S:
            self._space_checked_at = now
            space = os.statvfs(self._incoming or self.root)
            self._has_space = space.f_bavail * space.f_frsize >= self._free_bytes_min
        return self._has_space

    def commit(self, incoming: IncomingInstance, location: str, tenant: str = "") -> None:
        """Make the instance durable at its location: when this returns, a power cut cannot undo it."""
        path = self._place(location)
        if self._objects.is_remote:
            incoming.close()
            incoming.hand_over(tenant, self._objects, Path(path))
            return
        directory = path.rpartition("/")[0]
        self._require_directory(directory)
        if self._is_named_first:
            self._name_and_sync([(incoming, path)])
            return
        if self._durable:
            incoming.sync()
        incoming.close()
        incoming.place(path)
        self._sync_directory(directory)

    def commit_many(self, batch: Sequence[tuple[IncomingInstance, str]], tenant: str = "") -> None:
        """`commit` for each (instance, location): the files are synced side by side, each folder once."""
        if self._objects.is_remote:
            list(self._syncers.map(lambda one: self.commit(one[0], one[1], tenant), batch))
            return
        placed = [(incoming, self._place(location)) for incoming, location in batch]
        directories = {path.rpartition("/")[0] for _, path in placed}
        for directory in directories:
            self._require_directory(directory)
        if self._is_named_first:
            self._name_and_sync(placed)
            return
        if self._durable:
            self._sync_side_by_side([incoming for incoming, _ in placed])
        for incoming, path in placed:
            incoming.close()
            incoming.place(path)
        for directory in directories:
            self._sync_directory(directory)

    def _name_and_sync(self, placed: Sequence[tuple[IncomingInstance, str]]) -> None:
        """One commit of the file system's journal for file and name, instead of one for each."""
        taken = [(incoming, path) for incoming, path in placed if not incoming.link(path)]
        known = {id(incoming) for incoming, _ in taken}
        self._sync_side_by_side([incoming for incoming, _ in placed if id(incoming) not in known])
        for incoming, path in taken:
            incoming.sync()
            incoming.replace(path)
            self._sync_directory(path.rpartition("/")[0])
        for incoming, _ in placed:
            incoming.close()

    def _sync_side_by_side(self, files: Sequence[IncomingInstance]) -> None:
        if len(files) == 1:
            files[0].sync()
            return
        shares = [files[number::_SYNC_THREADS] for number in range(min(_SYNC_THREADS, len(files)))]
        list(self._syncers.map(_sync_each, shares))

    def quarantine(self, location: str, tenant: str = "") -> Path:
        """Move an instance out of its study, durably; returns where it lies now."""
        source = self.path_of(location)
        target = self.root / "quarantine" / source.name
        if self._objects.is_remote:
            self._objects.move(tenant, source, target)
            return target
        self._require_directory(str(target.parent))
        os.replace(source, target)
        self._sync_directory(target.parent)
        self._sync_directory(source.parent)
        return target

    def path_of(self, location: str) -> Path:
        """The file at a location that `locate` made; anything else raises `StoreLocationInvalid`."""
        return Path(self._place(location))

    def _place(self, location: str) -> str:
        # Not a Path: making and taking apart some of those costs more than the calls of the kernel.
        if _LOCATION.fullmatch(location) is None:
            raise StoreLocationInvalid("not a location of the instance store")
        return f"{self._root}/{location}"

    def open(self, location: str) -> BinaryIO:
        return self.path_of(location).open("rb")

    def close(self) -> None:
        """Give up the folder for incoming files; whatever is left in it is not an instance."""
        if self._incoming is not None and self._incoming_lock is not None:
            shutil.rmtree(self._incoming, ignore_errors=True)
            self._incoming_lock.close()
            self._incoming = self._incoming_lock = None
        self._syncers.shutdown()

    def _open_incoming(self) -> Path:
        """This process's own folder, locked; folders of processes that died are removed."""
        parent = self.root / "incoming"
        parent.mkdir(parents=True, exist_ok=True)
        # The outer lock: nobody judges a folder between its birth and its own lock.
        with (parent / "lock").open("wb") as outer:
            fcntl.flock(outer, fcntl.LOCK_EX)
            own = parent / secrets.token_hex(8)
            own.mkdir()
            lock = (own / "lock").open("wb")
            fcntl.flock(lock, fcntl.LOCK_EX)
            for other in parent.iterdir():
                if other != own and other.is_dir() and _is_abandoned(other):
                    shutil.rmtree(other, ignore_errors=True)
        self._is_named_first = self._durable and syncs_names_with_files(own)
        self._incoming, self._incoming_lock = own, lock
        return own

    def _require_directory(self, directory: str) -> None:
        """Known ones are looked at all the same: what keeps to a retention period removes empty ones."""
        if directory not in self._known_directories or not os.path.isdir(directory):
            self._make_directory(Path(directory))

    def _make_directory(self, directory: Path) -> None:
        """Create a folder and make it and its parents durable.

        Also when it exists already: another process may have created it without having synced it yet.
        """
        directory.mkdir(parents=True, exist_ok=True)
        parent = directory
        while parent != self.root:
            parent = parent.parent
            self._sync_directory(parent)
        if len(self._known_directories) >= _KNOWN_DIRECTORIES_MAX:
            self._known_directories.clear()
        self._known_directories.add(str(directory))

    def _sync_directory(self, directory: str | Path) -> None:
        if not self._durable:
            return
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync_each(files: Sequence[IncomingInstance]) -> None:
    for incoming in files:
        incoming.sync()


def _is_abandoned(directory: Path) -> bool:
    """Whether the process that received into this folder is gone: its lock went with it."""
    with contextlib.suppress(OSError), (directory / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _digest(*parts: str) -> str:
    # Lengths keep ("a", "bc") and ("ab", "c") apart.
    data = b"".join([_LENGTH.pack(len(part)) + part for part in map(str.encode, parts)])
    return hashlib.sha256(data).hexdigest()


@functools.lru_cache(maxsize=256)
def _folder(tenant: str, study_uid: str) -> str:
    return _digest(tenant, study_uid)
