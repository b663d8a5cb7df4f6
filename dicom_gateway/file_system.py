"""What the file system below a folder promises beyond POSIX."""

from __future__ import annotations

import os
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")


def syncs_names_with_files(folder: Path) -> bool:
    """Whether fsync of a file also makes the names durable that it was given before.

    POSIX wants a sync of the folder. In ext4 the entry of the folder and the change of the file's inode are one
    transaction of its journal, and fsync returns when that is committed; without a journal it writes out the folder
    too. tests/dicom_gateway/test_power_cut.py cuts the power on both. Other file systems may do the same: they are not
    believed untested.
    """
    return {kind for kind, _ in mounts_of(folder)} == {"ext4"}


def mounts_of(folder: Path) -> list[tuple[str, str]]:
    """(kind, source) of each mount of the device below a folder, as ("ext4", "/dev/sda1"); none where none is told."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = _MOUNTS.read_text().splitlines()
    except OSError:
        return []
    described = [line.partition(" - ")[2].split(" ", 2) for line in lines if line.split(" ", 3)[2] == number]
    return [(kind, source) for kind, source, *_ in described]
