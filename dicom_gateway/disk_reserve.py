"""How much room the disk has, and a file of zeros that gives some back when others have filled it."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path

logger = logging.getLogger(__name__)

_LOOK_S = 0.5


class DiskReserve:
    """Looks at the disk of a folder a few times a second.

    The reserve is let go when the disk is about to be full, so that the database can commit what is under way and
    shut down in order; it is made again once there is room for twice its size.

    reserve_bytes: its size; 0 makes none.
    """

    def __init__(self, folder: Path, reserve_bytes: int) -> None:
        self._folder = folder
        self._path = folder / "reserve"
        self._reserve_bytes = reserve_bytes
        self._free_bytes = 0
        self._looked_at = -_LOOK_S

    def has_free(self, bytes_min: int) -> bool:
        """Whether that much is free, the reserve not counted."""
        self._look(time.monotonic())
        return self._free_bytes >= bytes_min

    def tend(self, now: float) -> None:
        """Let the reserve go or make it anew. now: of `time.monotonic`."""
        if not self._reserve_bytes or not self._look(now):
            return
        if self._free_bytes < self._reserve_bytes // 4 and self._path.exists():
            logger.error("disk_full action=reserve_released")
            self._path.unlink(missing_ok=True)
        elif self._free_bytes > 2 * self._reserve_bytes and not self._path.exists():
            self._make()

    def _look(self, now: float) -> bool:
        if now - self._looked_at < _LOOK_S:
            return False
        self._looked_at = now
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            space = os.statvfs(self._folder)
            self._free_bytes = space.f_bavail * space.f_frsize
        return True

    def _make(self) -> None:
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._reserve_bytes)
        except OSError as error:
            logger.error("reserve_not_made error=%s", error.strerror)
            self._path.unlink(missing_ok=True)
