"""Inputs for a Triton server on this host through shared memory, system or CUDA, instead of through the socket.

A 157 MB volume takes a seventh of the time or less (benchmarks/triton.py). Only inputs: an answer that comes late,
after we gave a request up, must find no memory of ours in which it could stand as the answer to another one.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import logging
import mmap
import os
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger("radmeter.inference")

# Where Linux keeps shared memory by name; no place for files that others might forge, but the one both sides look in.
FOLDER = Path("/dev/shm")  # noqa: S108 no temporary file: names are random and exclusive
PREFIX = "radmeter_triton_"
LIMIT_BYTES = 2 << 30
_ALIGNMENT = 64
# Regions are made in steps of this size, so that volumes of nearly the same size share one.
_STEP_BYTES = 16 << 20
_TIMEOUT_S = 10.0


class Region(Protocol):
    """Memory that we write and a server reads, under one name on both sides."""

    name: str
    size: int

    def write(self, arrays: list[NDArray[Any]], offsets: list[int]) -> None: ...

    def register(self, client: Any) -> None: ...

    def unregister(self, client: Any) -> None: ...

    def destroy(self) -> None: ...


class SystemRegion:
    """A file in /dev/shm, locked as long as this process lives: a file without a lock is a leak."""

    def __init__(self, size: int) -> None:
        self.name = PREFIX + secrets.token_hex(8)
        self.size = size
        self._path = FOLDER / self.name
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if os.fstat(self._file).st_nlink == 0:
                raise OSError("another process took the region for a leak before it was locked")
            # Room is taken now: a container's /dev/shm may hold 64 MB, and writing beyond that would kill the process.
            os.posix_fallocate(self._file, 0, size)
            self._memory = mmap.mmap(self._file, size)
        except OSError:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            raise

    def write(self, arrays: list[NDArray[Any]], offsets: list[int]) -> None:
        for array, offset in zip(arrays, offsets, strict=True):
            np.ndarray(array.shape, array.dtype, buffer=self._memory, offset=offset)[...] = array

    def register(self, client: Any) -> None:
        client.register_system_shared_memory(self.name, f"/{self.name}", self.size, client_timeout=_TIMEOUT_S)

    def unregister(self, client: Any) -> None:
        client.unregister_system_shared_memory(self.name, client_timeout=_TIMEOUT_S)

    def destroy(self) -> None:
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(BufferError):
            self._memory.close()
        os.close(self._file)


class CudaRegion:
    """Memory of a GPU. Not covered by the tests of this project, which run without one."""

    def __init__(self, size: int, device: int = 0) -> None:
        from tritonclient.utils import cuda_shared_memory

        self.name = PREFIX + secrets.token_hex(8)
        self.size = size
        self._device = device
        self._cuda = cuda_shared_memory
        self._handle = cuda_shared_memory.create_shared_memory_region(self.name, size, device)

    def write(self, arrays: list[NDArray[Any]], offsets: list[int]) -> None:
        whole = np.zeros(offsets[-1] + arrays[-1].nbytes, np.uint8)
        for array, offset in zip(arrays, offsets, strict=True):
            whole[offset : offset + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self._cuda.set_shared_memory_region(self._handle, [whole])

    def register(self, client: Any) -> None:
        handle = self._cuda.get_raw_handle(self._handle)
        client.register_cuda_shared_memory(
            self.name, handle, self._device, self.size, client_timeout=_TIMEOUT_S
        )

    def unregister(self, client: Any) -> None:
        client.unregister_cuda_shared_memory(self.name, client_timeout=_TIMEOUT_S)

    def destroy(self) -> None:
        self._cuda.destroy_shared_memory_region(self._handle)


@dataclass
class Placed:
    """Inputs of one request as they lie in a region: name → (offset, bytes)."""

    region: Region
    places: dict[str, tuple[int, int]]
    is_answered: bool = False
    """Set when the server has answered: it reads the region no longer."""


@dataclass
class SharedInputs:
    """A pool of registered regions, at most `limit_bytes` together, for requests of several threads.

    make: the kind of region. A region whose request was given up is used again, since whatever the server still
    computes from it goes to nobody; but it is not unregistered, because a server may read what it has unmapped.
    """

    client: Any
    make: type[SystemRegion] | type[CudaRegion] = SystemRegion
    limit_bytes: int = LIMIT_BYTES
    _free: list[Region] = field(default_factory=list)
    _every: list[Region] = field(default_factory=list)
    _unsure: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        atexit.register(self.close)

    def place(self, inputs: Mapping[str, NDArray[Any]]) -> Placed | None:
        """Copy the inputs into a region, until `release`; None where there is no room, so that gRPC takes them.

        Raises what the client raises when the server refuses to register a region.
        """
        places: dict[str, tuple[int, int]] = {}
        end = 0
        for name, array in inputs.items():
            places[name] = (end, array.nbytes)
            end += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        region = self._take(end)
        if region is None:
            return None
        region.write(list(inputs.values()), [offset for offset, _ in places.values()])
        return Placed(region, places)

    def release(self, placed: Placed) -> None:
        """The request is over: its region may take another one's inputs."""
        with self._lock:
            if placed.region in self._every:
                self._free.append(placed.region)
                (self._unsure.discard if placed.is_answered else self._unsure.add)(placed.region.name)

    def close(self) -> None:
        """Give everything back."""
        atexit.unregister(self.close)
        with self._lock:
            for region in self._every:
                self._give_back(region)
            self._every, self._free = [], []

    def _take(self, size: int) -> Region | None:
        with self._lock:
            fitting = sorted((one for one in self._free if one.size >= size), key=lambda one: one.size)
            if fitting:
                self._free.remove(fitting[0])
                return fitting[0]
            return self._make(size)

    def _make(self, size: int) -> Region | None:
        wanted = -(-max(size, 1) // _STEP_BYTES) * _STEP_BYTES
        for small in [one for one in self._free if one.name not in self._unsure]:
            if self._used() + wanted <= self.limit_bytes:
                break
            self._give_back(small)
            self._every.remove(small)
            self._free.remove(small)
        if self._used() + wanted > self.limit_bytes:
            return None
        try:
            region = self.make(wanted)
        except OSError as error:
            log.warning("shared_memory_full", extra={"error": error})
            return None
        try:
            region.register(self.client)
        except Exception:
            region.destroy()
            raise
        self._every.append(region)
        return region

    def _used(self) -> int:
        return sum(one.size for one in self._every)

    def _give_back(self, region: Region) -> None:
        with contextlib.suppress(Exception):  # the server may be gone, and its registrations with it
            region.unregister(self.client)
        region.destroy()


def sweep(client: Any = None, folder: Path = FOLDER) -> int:
    """Remove what processes that were killed have left in /dev/shm, and on the server; returns how many regions."""
    removed = 0
    for path in folder.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            removed += 1
            if client is not None:
                with contextlib.suppress(Exception):  # it may have been another server's
                    client.unregister_system_shared_memory(path.name, client_timeout=_TIMEOUT_S)
    if removed:
        log.warning("shared_memory_swept", extra={"count": removed})
    return removed
