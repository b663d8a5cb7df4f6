"""An object store in a folder: of this machine, or one that several machines mount."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from storage.errors import ObjectMissing
from storage.object_store import StoredObject, check_key, digest_of_file

_INCOMING = ".incoming"


class FolderStore:
    """Keys are paths below `root`. It knows no digests: whoever has one in the books compares."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, path: Path, blake3: str) -> str:  # noqa: ARG002 - a folder has no place for it
        target = self._path(key)
        temporary = self.root / _INCOMING / secrets.token_hex(16)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("rb") as source, temporary.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
            _make_durably(target.parent, self.root)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_directory(target.parent)
        return _version(target.stat())

    def get(self, key: str, path: Path) -> StoredObject:
        try:
            with self._path(key).open("rb") as source, path.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
                return _stored(key, os.fstat(source.fileno()))
        except FileNotFoundError:
            raise ObjectMissing("there is no such object in the folder") from None

    def head(self, key: str) -> StoredObject | None:
        try:
            return _stored(key, self._path(key).stat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        top = self._path(prefix) if prefix else self.root
        for folder, directories, names in os.walk(top):
            directories[:] = sorted(name for name in directories if not name.startswith("."))
            for name in sorted(name for name in names if not name.startswith(".")):
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    yield _stored(path.relative_to(self.root).as_posix(), path.stat())

    def delete(self, keys: Iterable[str]) -> None:
        parents = set()
        for key in keys:
            path = self._path(key)
            path.unlink(missing_ok=True)
            parents.add(path.parent)
        for parent in parents:
            with contextlib.suppress(FileNotFoundError):
                _sync_directory(parent)
            _remove_empty(parent, self.root)

    def digest(self, key: str) -> str:
        try:
            return digest_of_file(self._path(key))
        except FileNotFoundError:
            raise ObjectMissing("there is no such object in the folder") from None

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)


def _stored(key: str, status: os.stat_result) -> StoredObject:
    modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
    return StoredObject(key, status.st_size, modified_at, _version(status))


def _version(status: os.stat_result) -> str:
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"


def _make_durably(directory: Path, root: Path) -> None:
    """The folder and those above it up to the root, so that a power cut leaves none out."""
    if directory.is_dir():
        return
    if directory != root:
        _make_durably(directory.parent, root)
    directory.mkdir(parents=True, exist_ok=True)
    _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_empty(directory: Path, root: Path) -> None:
    with contextlib.suppress(OSError):  # one that is not empty, or that somebody else removed
        while directory != root:
            directory.rmdir()
            directory = directory.parent
