"""Reads backups again: each file as its manifest says, the WAL without a gap."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.stored_files import Kind, StoredFile, sha256_of
from server.backup.folder import BackupFolder, BackupRecord

_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?")
_SEGMENTS_IN_LOG = 256  # of 16 MiB, the size that every server has unless it was built or made otherwise


def find_problems(folder: BackupFolder, record: BackupRecord) -> list[str]:
    """A sentence for each file of a backup that is not what it was; empty when all of it can be relied on."""
    problems = [*_of_objects(folder, record)]
    if record.base_ended_at is not None:
        problems += _of_base(folder.base_of(record))
        problems += gaps((folder.wal, folder.base_of(record) / "pg_wal"), record.first_segment)
    return problems


def manifest(folder: BackupFolder, record: BackupRecord) -> Iterator[dict[str, Any]]:
    with folder.manifest_of(record).open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _of_objects(folder: BackupFolder, record: BackupRecord) -> Iterator[str]:
    if sha256_of(folder.manifest_of(record)) != record.objects_sha256:
        yield f"{record.name}/objects.jsonl is not what it was"
        return
    for line in manifest(folder, record):
        if not line["as"]:  # kept by the object store: `radmeter objects check`
            continue
        path = folder.objects / Path(line["key"]).with_name(line["as"])
        kind: Kind = (
            "result" if line["kind"] == "beside" else line["kind"]
        )  # both are digested as they lie there
        expected = StoredFile("", kind, "", "", line["key"], line["digest"], line["size"])
        try:
            if not expected.is_whole(path):
                yield f"{line['key']} is not what it was"
        except FileNotFoundError:
            yield f"{line['key']} is missing"


def _of_base(base: Path) -> Iterator[str]:
    """By the manifest that PostgreSQL makes with each base backup; its last line is the digest of the rest."""
    text = (base / "backup_manifest").read_bytes()
    whole = json.loads(text)
    signed = text[: text.rindex(b'"Manifest-Checksum"')]
    if hashlib.sha256(signed).hexdigest() != whole["Manifest-Checksum"]:
        yield "the manifest of the base backup is not what it was"
        return
    for one in whole["Files"]:
        path = base / one["Path"]
        try:
            if sha256_of(path) != one["Checksum"]:
                yield f"postgres/{one['Path']} is not what it was"
        except FileNotFoundError:
            yield f"postgres/{one['Path']} is missing"


def gaps(folders: Iterable[Path], first_segment: str) -> list[str]:
    """Where the WAL in these folders together has holes from the segment on, in the timeline of the segment."""
    numbers = set()
    for path in (path for folder in folders if folder.is_dir() for path in folder.iterdir()):
        match = _SEGMENT.fullmatch(path.name)
        if match and match[1] == first_segment[:8] and path.name >= first_segment:
            numbers.add(_number(match[2], match[3]))
    if _number(first_segment[8:16], first_segment[16:]) not in numbers:
        return ["the WAL that the base backup needs is not there: it cannot be restored"]
    return [
        f"the WAL archive has a hole of {after - before - 1} segments: nothing after it can be restored"
        for before, after in itertools.pairwise(sorted(numbers))
        if after - before > 1
    ]


def _number(log: str, segment: str) -> int:
    return int(log, 16) * _SEGMENTS_IN_LOG + int(segment, 16)
