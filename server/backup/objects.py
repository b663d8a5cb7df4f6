"""Files into the backup: what rows name, and what lies beside it (reports, added models); each only once."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO
from uuid import UUID

from pipeline.database import Connection
from pipeline.protection.erase_objects import keep_register
from pipeline.stored_files import KINDS, StoredFile, files_beside, named_files, sha256_of
from server.backup.folder import BackupFolder, sync_folder
from server.errors import BackupFailed
from storage.folder_store import FolderStore
from storage.object_store import ObjectStore

_PROBLEMS_MAX = 100
_ALWAYS = datetime.min.replace(tzinfo=UTC)


@dataclass
class CopyCount:
    """objects: that the backup holds now. problems: the first hundred, a sentence each; problem_count: all."""

    objects: int = 0
    copied: int = 0
    copied_bytes: int = 0
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)

    def note(self, problem: str) -> None:
        self.problem_count += 1
        if len(self.problems) < _PROBLEMS_MAX:
            self.problems.append(problem)


def tenants(conn: Connection) -> list[str]:
    return [row["tenant"] for row in conn.execute("SELECT tenant FROM every_tenant()").fetchall()]


def see(conn: Connection, tenant: str) -> None:
    """From here on the connection sees the tenant's rows, if its role obeys row-level security."""
    conn.execute("SELECT set_config('radmeter.tenant', %s, false)", (tenant,))


def every_named_file(
    conn: Connection, tenant: str, studies: list[UUID] | None = None
) -> Iterator[StoredFile]:
    for kind in KINDS:
        yield from named_files(conn, tenant, kind, studies=studies)


def place_of(objects: Path, key: str, digest: str) -> Path:
    """Where the backup keeps a file: two that bear one name at different times lie beside one another."""
    return objects / f"{key}.{digest.removeprefix('sha256:')[:16]}"


def copy_everything(
    conn: Connection, data: Path, to: BackupFolder, manifest: TextIO, remote: ObjectStore | None = None
) -> CopyCount:
    """Bring what is missing below `data` into the backup, each file whole and durable; list everything in `manifest`.

    A file that is gone, or is not what its row says, is a problem, not a reason to stop. Raises `BackupFailed` when
    the disk is full.

    remote: the object store that has them and keeps them itself: what rows name is listed, or missed.
    """
    count = CopyCount()
    for tenant in tenants(conn):
        see(conn, tenant)
        for one in every_named_file(conn, tenant):
            if remote is not None:
                _list_remote(one, remote, count, manifest)
            else:
                _keep(one, data, to, count, manifest)
        if remote is None:
            for row in conn.cursor().stream("SELECT id::text AS id FROM study WHERE tenant = %s", (tenant,)):
                _keep_report(row["id"], data, to, count, manifest)
        keep_register(conn, tenant, FolderStore(to.root), _ALWAYS)
    _keep_rest(data, to, count, manifest)
    return count


def copy_changed(
    conn: Connection, data: Path, to: BackupFolder, since: datetime, remote: ObjectStore | None = None
) -> CopyCount:
    """Like `copy_everything` for the studies that something has happened to, or is happening to."""
    count = CopyCount()
    _keep_rest(data, to, count, None)
    for tenant in tenants(conn):
        see(conn, tenant)
        keep_register(conn, tenant, FolderStore(to.root), since)
        if remote is not None:
            continue
        rows = conn.execute(
            """SELECT id FROM study WHERE tenant = %(tenant)s AND updated_at >= %(since)s
               UNION SELECT study_id FROM arrival WHERE tenant = %(tenant)s AND closed_at IS NULL""",
            {"tenant": tenant, "since": since},
        ).fetchall()
        studies = [row["id"] for row in rows]
        for one in every_named_file(conn, tenant, studies):
            _keep(one, data, to, count, None)
        for study_id in studies:
            _keep_report(str(study_id), data, to, count, None)
    return count


def _keep_rest(data: Path, to: BackupFolder, count: CopyCount, manifest: TextIO | None) -> None:
    """Models that were added."""
    for path in sorted((data / "models").rglob("*")):
        _keep_beside(path, data, to, count, manifest)


def _list_remote(one: StoredFile, remote: ObjectStore, count: CopyCount, manifest: TextIO | None) -> None:
    found = remote.head(one.key)
    if found is None:
        count.note(f"{one.key} of tenant {one.tenant} is missing in the object store")
        return
    if manifest is not None:
        line = {"key": one.key, "kind": one.kind, "digest": one.digest, "size": found.size_bytes, "as": ""}
        manifest.write(json.dumps(line) + "\n")
    count.objects += 1


def _keep(one: StoredFile, data: Path, to: BackupFolder, count: CopyCount, manifest: TextIO | None) -> None:
    target = place_of(to.objects, one.key, one.digest)
    try:
        if not target.exists():
            beside = _copy(data / one.key, target)
            if one.digest_of(beside) != one.digest:
                beside.unlink()
                count.note(f"{one.key} of tenant {one.tenant} is not what its row says: it has rotted")
                return
            _place(beside, target, count)
    except FileNotFoundError:
        count.note(f"{one.key} of tenant {one.tenant} is missing")
        return
    _list(manifest, one.key, one.digest, one.kind, target)
    count.objects += 1


def _keep_report(
    study_id: str, data: Path, to: BackupFolder, count: CopyCount, manifest: TextIO | None
) -> None:
    for path in files_beside(data / "results", study_id):
        _keep_beside(path, data, to, count, manifest)


def _keep_beside(path: Path, data: Path, to: BackupFolder, count: CopyCount, manifest: TextIO | None) -> None:
    """A file that no row names; when it was written tells it from another of its name."""
    with contextlib.suppress(
        FileNotFoundError
    ):  # it has just been replaced: the next round meets the new one
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return
        key = path.relative_to(data).as_posix()
        target = to.objects / f"{key}.{found.st_mtime_ns:016x}"
        if not target.exists():
            _place(_copy(path, target), target, count)
        if manifest is not None:
            _list(manifest, key, sha256_of(target), "beside", target)
        count.objects += 1


def _copy(source: Path, target: Path) -> Path:
    """A durable copy beside its place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # The role `backup` and `radmeter backup` may both be at it; who is later puts the same bytes in the place.
    beside = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        with source.open("rb") as reading, beside.open("wb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
            writing.flush()
            os.fsync(writing.fileno())
        shutil.copystat(source, beside)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            beside.unlink(missing_ok=True)
            raise BackupFailed(
                "the disk of the backup is full: make room (`radmeter backup prune`) and try again"
            ) from error
        raise
    return beside


def _place(beside: Path, target: Path, count: CopyCount) -> None:
    count.copied += 1
    count.copied_bytes += beside.stat().st_size
    os.rename(beside, target)
    sync_folder(target.parent)


def _list(manifest: TextIO | None, key: str, digest: str, kind: str, target: Path) -> None:
    if manifest is not None:
        line = {"key": key, "kind": kind, "digest": digest, "size": target.stat().st_size, "as": target.name}
        manifest.write(json.dumps(line) + "\n")
