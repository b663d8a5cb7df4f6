"""The files that rows name, and whether one is still what its row says."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal
from uuid import UUID

import blake3

from pipeline.database import Connection

Kind = Literal["instance", "quarantined", "result"]
FOLDER_OF: dict[Kind, str] = {"instance": "instances", "quarantined": "instances", "result": "results"}
KINDS: tuple[Kind, ...] = ("instance", "quarantined", "result")
_CHUNK_BYTES = 1 << 20
_BATCH = 1000
# Preamble, prefix and (0002,0000) with its value: what comes after has the length that it says.
_BEFORE_META = 128 + 4 + 12


@dataclass(frozen=True)
class StoredFile:
    """A file that a row names. location: relative to the folder. digest: of the data set, or of a result's whole file.

    size_bytes: of what was digested; None where no row says it.
    """

    tenant: str
    kind: Kind
    row_key: str
    study_id: str
    location: str
    digest: str
    size_bytes: int | None

    @property
    def key(self) -> str:
        """The place below the data directory."""
        return f"{FOLDER_OF[self.kind]}/{self.location}"

    def is_whole(self, path: Path) -> bool:
        """Whether the file is what the row says. Raises FileNotFoundError, OSError."""
        return self.digest_of(path) == self.digest

    def digest_of(self, path: Path) -> str:
        """Of a file in this one's place, as its row would say it."""
        with path.open("rb") as file:
            if self.kind == "result":
                return _digest(file, hashlib.sha256)
            _skip_file_meta(file)
            if self.digest.startswith("sha256:"):  # what was received before BLAKE3
                return f"sha256:{_digest(file, hashlib.sha256)}"
            return _digest(file, blake3.blake3)


# By primary key, so that the next batch is found however many there are.
_FILES: dict[Kind, str] = {
    "instance": """SELECT sop_instance_uid AS row_key, study_id::text, location, blake3 AS digest, size_bytes
                   FROM instance WHERE tenant = %(tenant)s AND sop_instance_uid > %(after)s
                     AND (%(studies)s::uuid[] IS NULL OR study_id = ANY (%(studies)s))
                   ORDER BY sop_instance_uid LIMIT %(limit)s""",
    "quarantined": """SELECT id::text AS row_key, coalesce(study_id::text, '') AS study_id, location, blake3 AS digest,
                             NULL AS size_bytes
                      FROM quarantined_instance
                      WHERE tenant = %(tenant)s AND id > coalesce(nullif(%(after)s, ''), '0')::bigint
                        AND (%(studies)s::uuid[] IS NULL OR study_id = ANY (%(studies)s))
                      ORDER BY id LIMIT %(limit)s""",
    "result": """SELECT sop_instance_uid AS row_key, study_id::text, location, sha256 AS digest, size_bytes
                 FROM result_object WHERE tenant = %(tenant)s AND sop_instance_uid > %(after)s
                   AND (%(studies)s::uuid[] IS NULL OR study_id = ANY (%(studies)s))
                 ORDER BY sop_instance_uid LIMIT %(limit)s""",
}


def named_files(
    conn: Connection,
    tenant: str,
    kind: Kind,
    *,
    studies: Sequence[UUID] | None = None,
    after: str = "",
    limit: int | None = None,
) -> Iterator[StoredFile]:
    """The files that rows of the tenant name, by the key of the row, from the one after `after`; one batch in memory.

    studies: of these only.
    """
    left = limit
    while left is None or left > 0:
        values: dict[str, Any] = {"tenant": tenant, "after": after, "studies": studies and list(studies)}
        values["limit"] = _BATCH if left is None else min(left, _BATCH)
        rows = conn.execute(_FILES[kind], values).fetchall()
        yield from (StoredFile(tenant=tenant, kind=kind, **row) for row in rows)
        if len(rows) < values["limit"]:
            return
        after = rows[-1]["row_key"]
        left = None if left is None else left - len(rows)


def files_beside(results: Path, study_id: str) -> Iterator[Path]:
    """The report of each revision of a study with its pictures, which no row names."""
    for path in sorted((results / study_id).rglob("*")):
        if path.name in ("report.json", "report.pdf") or path.suffix == ".png":
            yield path


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return _digest(file, hashlib.sha256)


def _digest(file: BinaryIO, make: Callable[[], Any]) -> str:
    digest = make()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return str(digest.hexdigest())


def _skip_file_meta(file: BinaryIO) -> None:
    """To the first byte of the data set of a file that we have written; a head that is damaged leaves no digest that
    fits."""
    head = file.read(_BEFORE_META)
    if head[128:132] == b"DICM" and head[132:140] == struct.pack("<HH2sH", 0x0002, 0x0000, b"UL", 4):
        (length,) = struct.unpack("<I", head[140:144])
        file.seek(_BEFORE_META + length)
