"""The objects of what was erased: removed from the store and from the disks of nodes; and the register beside them.

The register is a file for each erasure below `erasures/` of the object store. It lies outside the database, so that a
database that is restored to an earlier instant learns what was erased after it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.database import Connection, Database
from pipeline.limit_gate import tenants
from pipeline.protection.erase import Erasure, carry_out
from pipeline.protection.errors import RegisterDamaged
from pipeline.protection.scopes import objects_of
from pipeline.store import Row
from storage.object_store import ObjectStore, digest_of_file

log = logging.getLogger("radmeter.protection")

REGISTER = "erasures"
# What lies in an erased place without a row and is younger may be an instance that is just being received.
_MAY_BE_ARRIVING = timedelta(minutes=10)
_BATCH = 500


def write_register(store: ObjectStore, erasure: Erasure) -> None:
    """Note the erasure beside the objects. Again is no harm."""
    with TemporaryDirectory(prefix="radmeter-") as folder:
        path = Path(folder) / "erasure.json"
        path.write_text(json.dumps(erasure.as_json(), ensure_ascii=False))
        store.put(f"{REGISTER}/{erasure.id}.json", path, digest_of_file(path))


def read_register(store: ObjectStore) -> list[Erasure]:
    """All erasures that the store knows of, oldest first. Raises `RegisterDamaged`."""
    found = []
    with TemporaryDirectory(prefix="radmeter-") as folder:
        for number, one in enumerate(store.list(REGISTER)):
            path = Path(folder) / str(number)
            store.get(one.key, path)
            try:
                found.append(Erasure.from_json(json.loads(path.read_text())))
            except (ValueError, KeyError, TypeError):
                raise RegisterDamaged(f"{one.key} is no entry of the register of erasures") from None
    return sorted(found, key=lambda erasure: erasure.at)


def keep_register(conn: Connection, tenant: str, store: ObjectStore, since: datetime) -> None:
    """Note the tenant's erasures ordered since then in another store too, a backup say."""
    rows = conn.execute(
        "SELECT id, tenant, study_id, reason, by, at FROM erasure WHERE tenant = %s AND at >= %s ORDER BY at",
        (tenant, since),
    ).fetchall()
    for row in rows:
        write_register(store, Erasure(**row))


def replay_erasures(conn: Connection, erasures: Iterable[Erasure]) -> int:
    """Erase again what an older state of the database has brought back; returns how many were.

    conn: of the schema's owner, after a restore and before anybody serves. Objects go by `remove_objects`.
    """
    count = 0
    for erasure in erasures:
        with conn.transaction():
            conn.execute("SELECT set_config('radmeter.tenant', %s, true)", (erasure.tenant,))
            if _is_here_again(conn, erasure):
                carry_out(conn, erasure)
                count += 1
    return count


def _is_here_again(conn: Connection, erasure: Erasure) -> bool:
    row = conn.execute(
        """SELECT EXISTS (SELECT 1 FROM erasure WHERE tenant = t.tenant AND id = %(id)s) AS is_known,
                  EXISTS (SELECT 1 FROM study WHERE tenant = t.tenant AND id = %(study)s) AS has_study
           FROM tenant t WHERE t.tenant = %(tenant)s""",
        {"id": erasure.id, "tenant": erasure.tenant, "study": erasure.study_id},
    ).fetchone()
    return row is not None and not row["is_known"] and (erasure.study_id is None or row["has_study"])


def remove_objects(
    database: Database, store: ObjectStore, *, now: datetime, may_arrive: timedelta = _MAY_BE_ARRIVING
) -> int:
    """Go on with every erasure whose objects are not all gone; returns how many have ended now.

    store: where objects lie for good, as they lie there: sealed or not. may_arrive: nothing where nobody can send.
    """
    ended = 0
    for tenant in tenants(database):
        for erasure in _erasures(database, tenant):
            write_register(store, erasure)
            done = [
                _remove(database, store, erasure, scope, now - may_arrive)
                for scope in _scopes(database, erasure)
            ]
            if all(done):
                with database.transaction(tenant) as conn:
                    conn.execute(
                        "UPDATE erasure SET done_at = %s WHERE tenant = %s AND id = %s",
                        (now, tenant, erasure.id),
                    )
                ended += 1
                log.info("erasure_ended", extra={"tenant": tenant, "count": 1})
    return ended


def remove_copies(database: Database, folder: ObjectStore, *, since: datetime, now: datetime) -> None:
    """Remove this node's copies of what was erased since then. folder: the data directory."""
    for tenant in tenants(database):
        for erasure in _erasures(database, tenant, since):
            for scope in _scopes(database, erasure):
                _remove(database, folder, erasure, scope, now - _MAY_BE_ARRIVING)


def _erasures(database: Database, tenant: str, since: datetime | None = None) -> list[Erasure]:
    """Those ordered since then; None = those that are not at their end."""
    with database.transaction(tenant) as conn:
        rows = conn.execute(
            """SELECT id, tenant, study_id, reason, by, at FROM erasure
               WHERE tenant = %(tenant)s AND CASE WHEN %(since)s::timestamptz IS NULL THEN done_at IS NULL
                                                  ELSE at >= %(since)s END
               ORDER BY at""",
            {"tenant": tenant, "since": since},
        ).fetchall()
    return [Erasure(**row) for row in rows]


def _scopes(database: Database, erasure: Erasure) -> Iterator[str]:
    after = ""
    while True:
        with database.transaction(erasure.tenant) as conn:
            rows: list[Row] = conn.execute(
                """SELECT scope FROM erasure_scope WHERE tenant = %s AND erasure_id = %s AND scope > %s
                   ORDER BY scope LIMIT %s""",
                (erasure.tenant, erasure.id, after, _BATCH),
            ).fetchall()
        if not rows:
            return
        yield from (row["scope"] for row in rows)
        after = rows[-1]["scope"]


def _remove(database: Database, store: ObjectStore, erasure: Erasure, scope: str, settled: datetime) -> bool:
    """Whether nothing is left that may have to go: an instance that came again meanwhile stays.

    settled: what came before that and has no row will not get one.
    """
    is_all = True
    objects = objects_of(store, scope)
    while batch := list(islice(objects, _BATCH)):
        kept = _received_again(database, erasure.tenant, [one.key for one in batch])
        waiting = {
            one.key
            for one in batch
            if one.key not in kept
            and scope.startswith("instances/")
            and one.modified_at > erasure.at
            and one.modified_at > settled
        }
        store.delete([one.key for one in batch if one.key not in kept | waiting])
        is_all = is_all and not waiting
    return is_all


def _received_again(database: Database, tenant: str, keys: list[str]) -> set[str]:
    locations = [key.removeprefix("instances/") for key in keys if key.startswith("instances/")]
    if not locations:
        return set()
    with database.transaction(tenant) as conn:
        rows = conn.execute(
            """SELECT location FROM instance WHERE tenant = %(tenant)s AND location = ANY (%(locations)s)
               UNION ALL SELECT location FROM quarantined_instance
               WHERE tenant = %(tenant)s AND location = ANY (%(locations)s)""",
            {"tenant": tenant, "locations": locations},
        ).fetchall()
    return {f"instances/{row['location']}" for row in rows}
