"""Receiving by C-STORE where objects lie on the disk, in a folder as an object store, and in S3 (moto's server).


All with the database. moto's server is one Python process and far slower than a real store: its figures say what the
gateway costs beside it and how many uploads run side by side, not how quick S3 is. So there is also a store that
answers each request late, by a fixed time as a network has it (`late_…`): there the senders side by side count.
"""

from __future__ import annotations

import os
import statistics
import uuid
from typing import Any

from benchmarks.receive import OBJECTS, Cell, _cell
from benchmarks.receiving import remove_folders, running
from benchmarks.senders import send_all
from benchmarks.store_sender import PIXEL_BYTES
from tests.s3_server import REGION, FaultyDoor, S3Server, s3_server

RECEIVERS = (
    "radmeter_database",
    "radmeter_database_folder",
    "radmeter_database_s3",
    "radmeter_database_late",
)
SENDERS = (1, 4, 8)
ROUNDS = 3
LATE_S = 0.02


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """receiver → object → senders → figures; each the median of the rounds."""
    taken: dict[str, list[dict[str, dict[str, Cell]]]] = {name: [] for name in RECEIVERS}
    try:
        with s3_server() as server:
            for _ in range(rounds):
                for name in RECEIVERS:
                    taken[name].append(_round(name, server))
    finally:
        remove_folders()
    return {"rounds": rounds, **{name: _median(each) for name, each in taken.items()}}


def _round(name: str, server: S3Server) -> dict[str, dict[str, Cell]]:
    door = FaultyDoor(server.url)
    if name.endswith("late"):
        door.set(LATE_S)
    address = f"s3://{server.make_bucket(f'b{uuid.uuid4().hex}')}/bench"
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "BENCH_OBJECTS": "" if name.endswith(("database", "folder")) else address,
        "BENCH_OBJECTS_ENDPOINT": door.url if name.endswith("late") else server.url,
        "BENCH_OBJECTS_REGION": REGION,
    }  # fmt: skip
    try:
        with running(name) as receiver:
            send_all(receiver.port, 2, 10, PIXEL_BYTES)
            return {
                kind: {f"senders_{count}": _cell(receiver, count, images, size) for count in SENDERS}
                for kind, (size, images) in OBJECTS.items()
            }
    finally:
        door.close()


def _median(rounds: list[dict[str, dict[str, Cell]]]) -> dict[str, Any]:
    return {
        kind: {
            senders: {field: statistics.median(one[kind][senders][field] for one in rounds) for field in cell}
            for senders, cell in cells.items()
        }
        for kind, cells in rounds[0].items()
    }
