"""Files -> their headers without pixels, as clean data sets that the encoders may read in our own process."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from dicom_gateway.child_process import ChildLimits, in_parts, run_child

HEADER_LIMITS = ChildLimits(memory_bytes=1 << 30, cpu_s=120, wall_clock_s=240.0, file_bytes=256 << 20)
# For fewer another child does not pay.
FILES_OF_CHILD_MIN = 50
LENGTH_PREFIX = struct.Struct("<Q")


class SourceHeaderUnreadable(ValueError):
    """A source file can no longer be read as DICOM."""


def read_headers(files: Sequence[Path], limits: ChildLimits = HEADER_LIMITS) -> list[Dataset]:
    """One data set for each file, in the order of `files`, explicit little endian in UTF-8 (ISO_IR 192).

    Child processes parse the files and write anew what is standard, shallow and convertible: no pixels,
    overlays, private elements or values above 64 KiB, except functional groups. The first comes whole, of the others
    what tells who they are, where they lie and how they are shown: patient and study are repeated from the first.
    Raises `SourceHeaderUnreadable`, or a `ChildError` when the child does not survive.
    """
    parts = in_parts(files, FILES_OF_CHILD_MIN)
    with ThreadPoolExecutor(len(parts)) as pool:
        written = list(pool.map(lambda one: _rewritten(one[1], one[0] == 0, limits), enumerate(parts)))
    headers = [header for data in written for header in _split(data)]
    assert len(headers) == len(files), "the children wrote one header for each file"
    return headers


def _rewritten(files: Sequence[Path], is_first_whole: bool, limits: ChildLimits) -> bytes:
    with tempfile.TemporaryDirectory(prefix="radmeter-headers-") as folder:
        out = Path(folder, "headers.bin")
        arguments = {
            "paths": [str(path.absolute()) for path in files],
            "is_first_whole": is_first_whole,
            "out_path": str(out),
        }
        answer = run_child("source_headers", arguments, limits)
        if "unreadable" in answer:
            raise SourceHeaderUnreadable(str(answer["unreadable"]))
        return out.read_bytes()


def _split(data: bytes) -> list[Dataset]:
    headers: list[Dataset] = []
    at = 0
    while at < len(data):
        (length,) = LENGTH_PREFIX.unpack_from(data, at)
        at += LENGTH_PREFIX.size
        body = io.BytesIO(data[at : at + length])
        headers.append(read_dataset(body, is_implicit_VR=False, is_little_endian=True))
        at += length
    return headers
