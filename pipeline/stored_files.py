"""The files that rows name, and whether one is still what its row says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from dicom_gateway.stored_instance import data_set_digest
from pipeline.database import Connection

Kind = Literal["instance", "quarantined", "result"]
FOLDER_OF: dict[Kind, str] = {"instance": "instances", "quarantined": "instances", "result": "results"}
KINDS: tuple[Kind, ...] = ("instance", "quarantined", "result")
_BATCH = 1000


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
        if self.kind == "result":
            return sha256_of(path)
        if self.digest.startswith("sha256:"):  # what was received before BLAKE3
            return f"sha256:{data_set_digest(path, hashlib.sha256)}"
        return data_set_digest(path)


# By primary key, so that the next batch is found however many there are.
_FILES: dict[Kind, str] = {
    "instance": """SELECT sop_instance_uid AS row_key, study_id::text, location, blake3 AS digest, size_bytes
                   FROM instance
                   WHERE tenant = %(tenant)s AND (%(removed_too)s OR NOT was_removed(tenant, study_id, 'images'))
                     AND sop_instance_uid > %(after)s
                     AND (%(studies)s::uuid[] IS NULL OR study_id = ANY (%(studies)s))
                   ORDER BY sop_instance_uid LIMIT %(limit)s""",
    "quarantined": """SELECT id::text AS row_key, coalesce(study_id::text, '') AS study_id, location, blake3 AS digest,
                             NULL AS size_bytes
                      FROM quarantined_instance
                      WHERE tenant = %(tenant)s AND id > coalesce(nullif(%(after)s, ''), '0')::bigint
                        AND (%(studies)s::uuid[] IS NULL OR study_id = ANY (%(studies)s))
                      ORDER BY id LIMIT %(limit)s""",
    "result": """SELECT sop_instance_uid AS row_key, study_id::text, location, sha256 AS digest, size_bytes
                 FROM result_object
                 WHERE tenant = %(tenant)s AND (%(removed_too)s OR NOT was_removed(tenant, study_id, 'results'))
                     AND sop_instance_uid > %(after)s
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
    removed_too: bool = False,
) -> Iterator[StoredFile]:
    """The files that rows of the tenant name, by the key of the row, from the one after `after`; one batch in memory.

    studies: of these only. removed_too: those that a policy has removed as well.
    """
    left = limit
    while left is None or left > 0:
        values: dict[str, Any] = {"tenant": tenant, "after": after, "studies": studies and list(studies)}
        values["removed_too"] = removed_too
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
        return hashlib.file_digest(file, "sha256").hexdigest()
