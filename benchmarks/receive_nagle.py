"""A sender that leaves Nagle's algorithm on, as DCMTK's `storescu` and most PACS do, against several receivers."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.receive import OBJECTS
from benchmarks.receiving import is_installed, remove_folders, running
from benchmarks.store_sender import (
    CALLED_AE_TITLE,
    CALLING_AE_TITLE,
    CT_IMAGE_STORAGE,
    EXPLICIT_VR_LITTLE_ENDIAN,
    ct_objects,
)
from dicom_gateway.file_meta import part10_header

RECEIVERS = ("radmeter_database", "radmeter_no_fsync", "storescp_default", "orthanc")
# The few images of a slow receiver, and enough of them that the start of storescu does not count for a fast one.
IMAGES = {name: 300 if name.startswith("radmeter") else 30 for name in RECEIVERS}
ROUNDS = 3


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """receiver → object → images/s of storescu, the start of the program and the association taken off."""
    if shutil.which("storescu") is None:
        raise RuntimeError("storescu is not installed")
    figures: dict[str, Any] = {}
    try:
        for name in filter(is_installed, RECEIVERS):
            with running(name, tcp_nodelay=False) as receiver:
                figures[name] = {
                    kind: statistics.median(
                        _images_per_s(receiver.port, IMAGES[name], size, f"{number}{turn}")
                        for turn in range(rounds)
                    )
                    for number, (kind, (size, _)) in enumerate(OBJECTS.items(), 1)
                }
    finally:
        remove_folders()
    others = [name for name in figures if not name.startswith("radmeter")]
    ratios = {
        f"{ours}_to_{other}": {kind: figures[ours][kind] / figures[other][kind] for kind in OBJECTS}
        for ours in ("radmeter_database", "radmeter_no_fsync")
        for other in others
    }
    return {**figures, "ratios": ratios}


def _images_per_s(port: int, count: int, pixel_bytes: int, study: str) -> float:
    with tempfile.TemporaryDirectory(prefix="radmeter-bench-") as name:
        folder = Path(name)
        for uid, data in ct_objects(count, pixel_bytes, f"1.2.826.0.1.3680043.10.77.{study}"):
            header = part10_header(CT_IMAGE_STORAGE, uid, EXPLICIT_VR_LITTLE_ENDIAN, CALLING_AE_TITLE)
            (folder / f"{uid}.dcm").write_bytes(header + data)
        one = next(folder.iterdir())
        return (count - 1) / (_seconds(port, [folder]) - _seconds(port, [one]))


def _seconds(port: int, what: list[Path]) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
    command = [
        "storescu",
        "+sd",
        "-xe",
        "-aet",
        CALLING_AE_TITLE,
        "-aec",
        CALLED_AE_TITLE,
        "127.0.0.1",
        str(port),
    ]
    began = time.perf_counter()
    subprocess.run([*command, *map(str, what)], check=True, capture_output=True, timeout=120, env=environment)
    return time.perf_counter() - began
