"""One instance while it arrives."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import blake3

from dicom_gateway.errors import OutOfResources
from storage.objects import Objects

_FILE_MODE = 0o640
_HEAD_BYTES = 16 * 1024


class IncomingInstance:
    """A temporary file and the running digest of its data set."""

    def __init__(self, path: str, header: bytes) -> None:
        self.path = path
        self.size_bytes = 0
        self._unwritten_header = header
        self._header_bytes = len(header)
        self._head = b""
        self._digest = blake3.blake3()
        self._descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, _FILE_MODE)
        self._is_temporary = True

    @property
    def blake3(self) -> str:
        return self._digest.hexdigest()

    def append(self, fragment: memoryview) -> None:
        """Add bytes of the data set. The view is used before this returns, never kept."""
        self.size_bytes += len(fragment)
        if self._unwritten_header:
            header, self._unwritten_header = self._unwritten_header, b""
            self._head = bytes(fragment[:_HEAD_BYTES])
            written = os.writev(self._descriptor, (header, fragment)) - len(header)
            if written < 0:
                raise OutOfResources("the disk took only a part of the header")
        else:
            written = os.write(self._descriptor, fragment)
        while written < len(fragment):
            written += os.write(self._descriptor, fragment[written:])
        self._digest.update(fragment)

    def read_at(self, offset: int, count: int) -> bytes:
        """Bytes of the data set that were appended before."""
        if offset + count <= len(self._head) or self.size_bytes == len(self._head):
            return self._head[offset : offset + count]
        return os.pread(self._descriptor, count, self._header_bytes + offset)

    def sync(self) -> None:
        """Make the file durable; if that fails, empty it: nobody can tell what of it is on the disk."""
        try:
            os.fsync(self._descriptor)  # not fdatasync, which leaves out the name
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            raise

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def discard(self) -> None:
        """Remove the temporary file, if it is still one."""
        self.close()
        if self._is_temporary:
            self._is_temporary = False
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)

    def place(self, path: str) -> None:
        """Give the closed file its lasting name, unless the same object has it already."""
        if os.path.exists(path):  # names are made from the content
            self.discard()
        else:
            os.rename(self.path, path)
            self._is_temporary = False

    def link(self, path: str) -> bool:
        """Give the open file, not synced yet, its lasting name; False when the name is taken.

        Unlike a rename this never replaces what somebody else has made durable.
        """
        try:
            os.link(self.path, path)
        except FileExistsError:
            return False
        self._is_temporary = False
        os.unlink(self.path)
        return True

    def replace(self, path: str) -> None:
        """Give the synced file a name that another has, which may be the remains of a crash or not synced yet."""
        os.replace(self.path, path)
        self._is_temporary = False

    def hand_over(self, tenant: str, objects: Objects, path: Path) -> None:
        """Have the object store keep the closed file, which then has its place among the copies of this node."""
        objects.take_in(tenant, Path(self.path), path)
        self._is_temporary = False
