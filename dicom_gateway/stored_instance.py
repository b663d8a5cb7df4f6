"""A stored instance as its row knows it: by the digest of its data set, without the header that we wrote before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import blake3

from dicom_gateway.errors import NotAPart10File
from dicom_gateway.file_meta import FILE_META_BYTES_MAX, scan_file_meta

_CHUNK_BYTES = 1 << 20


def data_set_digest(path: Path, make: Callable[[], Any] = blake3.blake3) -> str:
    """BLAKE3, or what `make` makes, of the data set of a Part 10 file; "" of what is none."""
    with path.open("rb") as file:
        try:
            # Zeros behind it: the end of the header shows in a data set of a few bytes too.
            scanned = scan_file_meta(file.read(FILE_META_BYTES_MAX) + bytes(16))
        except NotAPart10File:
            return ""
        if scanned is None:
            return ""
        file.seek(scanned[1])
        digest = make()
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return str(digest.hexdigest())
