"""What this machine can write and sync in the pattern of a durable receiver, without any protocol.

Each object: write a file and make it and its lasting name durable, in the order of `InstanceStore` for the file system;
then one commit in PostgreSQL with a row for each writer, as many writers at once as there are senders.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from dicom_gateway.file_system import syncs_names_with_files


def images_per_s(database_url: str, writer_count: int, image_count: int, pixel_bytes: int) -> float:
    rounds = max(image_count // writer_count, 1)
    data = os.urandom(pixel_bytes)
    with (
        tempfile.TemporaryDirectory(prefix="radmeter-bench-") as name,
        psycopg.connect(database_url, autocommit=True) as conn,
    ):
        conn.execute("CREATE TABLE IF NOT EXISTS sync_limit (place text, digest text)")
        folder = Path(name)
        for part in ("incoming", "study"):
            (folder / part).mkdir()
        return _seconds_of_rounds(conn, folder, writer_count, rounds, data)


def _seconds_of_rounds(
    conn: psycopg.Connection[Any], folder: Path, writer_count: int, rounds: int, data: bytes
) -> float:
    def commit() -> None:
        places = [str(number) * 20 for number in range(writer_count)]
        conn.execute("INSERT INTO sync_limit SELECT p, p FROM unnest(%s::text[]) p", (places,))

    barrier = threading.Barrier(writer_count, action=commit)
    threads = [
        threading.Thread(target=_write, args=(folder, writer, rounds, data, barrier.wait))
        for writer in range(writer_count)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return writer_count * rounds / (time.perf_counter() - began)


def _write(folder: Path, writer: int, rounds: int, data: bytes, wait: Callable[[], int]) -> None:
    is_named_first = syncs_names_with_files(folder)
    for number in range(rounds):
        name = f"{writer}-{number}"
        descriptor = os.open(folder / "incoming" / name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
        os.write(descriptor, data)
        if is_named_first:
            os.rename(folder / "incoming" / name, folder / "study" / name)
            os.fsync(descriptor)
            os.close(descriptor)
        else:
            os.fdatasync(descriptor)
            os.close(descriptor)
            os.rename(folder / "incoming" / name, folder / "study" / name)
            directory = os.open(folder / "study", os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(directory)
            os.close(directory)
        wait()
