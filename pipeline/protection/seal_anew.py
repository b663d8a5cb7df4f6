"""Objects are sealed anew under the keys in force: after data keys were rotated, or after sealing was switched on.

Beside the usual work and readable all the while: an object is replaced as a whole, and a retired key is destroyed only
when a pass over its scope, begun an hour after it was retired, has met no object that needs it.
"""

from __future__ import annotations

import functools
import logging
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import blake3

from pipeline.database import Database
from pipeline.protection.errors import ProtectionError
from pipeline.protection.keyring import Keyring
from pipeline.protection.scopes import objects_of
from pipeline.protection.sealed_stream import DataKey, is_sealed, key_id_of, seal, unseal
from storage.errors import ObjectMissing
from storage.object_store import ObjectStore, StoredObject

log = logging.getLogger("radmeter.protection")

# Longer than any process remembers a key and than a transfer takes.
_SETTLED_AFTER = timedelta(hours=1)
_PIECE_BYTES = 1 << 20
_BATCH = 1000
_SCOPES = """
    SELECT DISTINCT scope FROM (
        SELECT 'instances/' || split_part(location, '/', 1) || '/' || split_part(location, '/', 2) AS scope
        FROM instance WHERE tenant = %(tenant)s
        UNION SELECT 'instances/' || location FROM quarantined_instance
        WHERE tenant = %(tenant)s AND location LIKE 'quarantine/%%'
        UNION SELECT 'study/' || id FROM study WHERE tenant = %(tenant)s) one
    WHERE scope > %(after)s ORDER BY scope LIMIT %(limit)s"""


@dataclass(frozen=True)
class SealAnew:
    """store: as objects lie there for good. scratch: a folder for sealed files on their way."""

    database: Database
    keyring: Keyring
    store: ObjectStore
    scratch: Path

    def look_after(self, tenant: str, *, now: datetime, scopes_max: int = 20) -> int:
        """Take some scopes that have retired keys; returns how many are done with."""
        with self.database.transaction(tenant) as conn:
            rows = conn.execute(
                """SELECT scope FROM data_key WHERE tenant = %s AND wrapped IS NOT NULL AND retired_at < %s
                     AND scope <> 'secrets' GROUP BY scope ORDER BY random() LIMIT %s""",
                (tenant, now - _SETTLED_AFTER, scopes_max),
            ).fetchall()  # at random: several workers seldom take the same
        return sum(self._finish(tenant, row["scope"], now) for row in rows)

    def seal_everything(self, tenant: str, *, now: datetime) -> tuple[int, int]:
        """Take every scope of the tenant, also what was stored plain: (scopes done with, scopes not done with)."""
        done = left = 0
        after = ""
        while scopes := self._scopes(tenant, after):
            for scope in scopes:
                if self._finish(tenant, scope, now):
                    done += 1
                else:
                    left += 1
            after = scopes[-1]
        return done, left

    def _scopes(self, tenant: str, after: str) -> list[str]:
        with self.database.transaction(tenant) as conn:
            rows = conn.execute(_SCOPES, {"tenant": tenant, "after": after, "limit": _BATCH}).fetchall()
        return [row["scope"] for row in rows]

    def seal_scope(self, tenant: str, scope: str, *, now: datetime) -> bool:
        """Seal what lies in a scope under its key in force; False where something is left for later."""
        is_done = True
        for one in objects_of(self.store, scope):
            try:
                is_done = self._seal_one(tenant, scope, one, now) and is_done
            except (ProtectionError, OSError) as error:
                log.error("object_not_sealed_anew", extra={"tenant": tenant, "error": type(error).__name__})
                is_done = False
        return is_done

    def _finish(self, tenant: str, scope: str, now: datetime) -> bool:
        if not self.seal_scope(tenant, scope, now=now):
            return False
        with self.database.transaction(tenant) as conn:
            conn.execute(
                """UPDATE data_key SET wrapped = NULL, shredded_at = %(now)s
                   WHERE tenant = %(tenant)s AND scope = %(scope)s AND wrapped IS NOT NULL
                     AND retired_at < %(settled)s""",
                {"tenant": tenant, "scope": scope, "now": now, "settled": now - _SETTLED_AFTER},
            )
        return True

    def _seal_one(self, tenant: str, scope: str, one: StoredObject, now: datetime) -> bool:
        """Whether the object needs no former key now."""
        old, new = (self.scratch / secrets.token_hex(16) for _ in range(2))
        self.scratch.mkdir(parents=True, exist_ok=True)
        try:
            with suppress(ObjectMissing):  # removed meanwhile
                self.store.get(one.key, old)
                with old.open("rb") as file:
                    header = file.read(64)
                key = self.keyring.sealing_key(tenant, scope)
                if is_sealed(header) and key_id_of(header) == key.id:
                    return True
                # What a step is at work with changes under its name: it goes with its study, or is left in peace.
                if one.key.startswith("work/") or now - one.modified_at < _SETTLED_AFTER:
                    return False
                self._replace(tenant, one.key, key, old, new, was_sealed=is_sealed(header))
            return True
        finally:
            old.unlink(missing_ok=True)
            new.unlink(missing_ok=True)

    def _replace(
        self, tenant: str, name: str, key: DataKey, old: Path, new: Path, *, was_sealed: bool
    ) -> None:
        digest = blake3.blake3()
        plain = _pieces(old)
        if was_sealed:
            plain = unseal(plain, functools.partial(self.keyring.opening_key, tenant), name)
        with new.open("xb") as target:
            for piece in seal(plain, key, name):  # nothing plain ever lies on the disk
                digest.update(piece)
                target.write(piece)
        self.store.put(name, new, digest.hexdigest())
        if not self.keyring.still_open(tenant, [key.id]):
            self.store.delete([name])  # erased meanwhile: it must not come back


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(_PIECE_BYTES), b"")
