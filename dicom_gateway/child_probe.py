"""Misbehave on request, in a child: shows that this machine enforces the limits that decoding relies on."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


def run(arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: behaviour, and its amount where it has one."""
    behaviour, amount = arguments["behaviour"], arguments.get("amount", 0)
    if behaviour == "allocate":
        return {"allocated_bytes": len(bytearray(amount))}
    if behaviour == "spin":
        while True:
            pass
    if behaviour == "sleep":
        Path(arguments.get("pid_path", os.devnull)).write_text(str(os.getpid()))
        time.sleep(amount)
    if behaviour == "abort":
        os.abort()
    if behaviour == "fail":
        raise RuntimeError("as asked for" * 10_000)
    if behaviour == "write":
        Path(arguments["path"]).write_bytes(bytes(amount))
    return {
        "environment": sorted(os.environ),
        "arguments": arguments,
        "descriptors": [name for name in os.listdir("/dev/fd") if os.path.exists(f"/dev/fd/{name}")],
        "session_of_minder": os.getsid(os.getppid()),
    }
