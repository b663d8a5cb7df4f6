"""The keys in the database: a tenant's key wrapped by the master key, data keys wrapped by the tenant's.

Each scope has one data key in force, made when something is first sealed under it; retired ones still open what they
sealed. Keys that were opened are remembered for a short while, in bounded number.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from uuid import UUID, uuid4

from pipeline.database import Connection, Database
from pipeline.protection import master_keys
from pipeline.protection.errors import DataKeyUnknown, KeyShredded
from pipeline.protection.master_keys import MasterKeys
from pipeline.protection.sealed_stream import DataKey

_REMEMBERED_MAX = 2000
_REMEMBERED_S = 30.0
Key = tuple[str, object]


class Keyring:
    """Data keys by tenant and scope, or by id. Called from many threads.

    Each question is a transaction of its own: a new key is there for everyone before anything is sealed with it.
    """

    def __init__(
        self, database: Database, masters: MasterKeys, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self.masters = masters
        self._remembered: OrderedDict[Key, tuple[float, DataKey]] = OrderedDict()
        self._lock = threading.Lock()
        self._clock = clock

    def sealing_key(self, tenant: str, scope: str) -> DataKey:
        """The key in force for the scope; it is made if there is none."""
        known = self._recall((tenant, scope))
        if known is not None:
            return known
        with self._database.transaction(tenant) as conn:
            key = sealing_key(conn, self.masters, tenant, scope)
        return self._remember((tenant, scope), key)

    def opening_key(self, tenant: str, key_id: UUID) -> bytes:
        """The key of a sealed object. Raises `KeyShredded`, `DataKeyUnknown`, `MasterKeyMissing`."""
        known = self._recall((tenant, key_id))
        if known is not None:
            return known.key
        with self._database.transaction(tenant) as conn:
            key = opening_key(conn, self.masters, tenant, key_id)
        return self._remember((tenant, key_id), DataKey(key_id, key)).key

    def still_open(self, tenant: str, key_ids: Collection[UUID]) -> bool:
        """Whether none of the keys was shredded meanwhile: asked after sealing, for a key may be remembered too long.

        If one was, what is remembered is forgotten, and sealing again takes a new one.
        """
        with self._database.transaction(tenant) as conn:
            row = conn.execute(
                "SELECT count(*) AS n FROM data_key WHERE tenant = %s AND id = ANY(%s) AND wrapped IS NOT NULL",
                (tenant, list(key_ids)),
            ).fetchone()
        assert row is not None
        if int(row["n"]) == len(set(key_ids)):
            return True
        self.forget()
        return False

    def forget(self) -> None:
        """Nothing is remembered any more: the next question goes to the database."""
        with self._lock:
            self._remembered.clear()

    def _recall(self, name: Key) -> DataKey | None:
        with self._lock:
            until, key = self._remembered.get(name, (0.0, None))
            return key if until > self._clock() else None

    def _remember(self, name: Key, key: DataKey) -> DataKey:
        with self._lock:
            self._remembered[name] = (self._clock() + _REMEMBERED_S, key)
            self._remembered.move_to_end(name)
            while len(self._remembered) > _REMEMBERED_MAX:
                self._remembered.popitem(last=False)
        return key


def sealing_key(conn: Connection, masters: MasterKeys, tenant: str, scope: str) -> DataKey:
    """The key in force for the scope, in the caller's transaction; it is made if there is none."""
    while True:
        row = conn.execute(
            "SELECT id FROM data_key WHERE tenant = %s AND scope = %s AND retired_at IS NULL", (tenant, scope)
        ).fetchone()
        if row is not None:
            return DataKey(row["id"], opening_key(conn, masters, tenant, row["id"]))
        wrapping_id, wrapping_key = _tenant_key(conn, masters, tenant)
        made = DataKey(uuid4(), os.urandom(master_keys.KEY_BYTES))
        # Another process may have made one in the meantime: then that one is taken.
        inserted = conn.execute(
            """INSERT INTO data_key (tenant, id, scope, tenant_key_id, wrapped) VALUES (%s, %s, %s, %s, %s)
               ON CONFLICT (tenant, scope) WHERE retired_at IS NULL DO NOTHING""",
            (
                tenant,
                made.id,
                scope,
                wrapping_id,
                master_keys.wrap(wrapping_key, made.key, about_data_key(tenant, made.id)),
            ),
        )
        if inserted.rowcount == 1:
            return made


def opening_key(conn: Connection, masters: MasterKeys, tenant: str, key_id: UUID) -> bytes:
    """The data key of this id, in the caller's transaction."""
    row = conn.execute(
        """SELECT d.wrapped, t.id AS tenant_key_id, t.master_id, t.wrapped AS tenant_wrapped
           FROM data_key d JOIN tenant_key t ON t.tenant = d.tenant AND t.id = d.tenant_key_id
           WHERE d.tenant = %s AND d.id = %s""",
        (tenant, key_id),
    ).fetchone()
    if row is None:
        raise DataKeyUnknown(key_id)
    if row["wrapped"] is None or row["tenant_wrapped"] is None:
        raise KeyShredded(key_id)
    wrapping_key = masters.unwrap(
        row["master_id"], bytes(row["tenant_wrapped"]), about_tenant_key(tenant, row["tenant_key_id"])
    )
    return master_keys.unwrap(wrapping_key, bytes(row["wrapped"]), about_data_key(tenant, key_id))


def new_tenant_key(conn: Connection, masters: MasterKeys, tenant: str) -> UUID:
    """Make a key of the tenant, unless one is in force already; returns the id of the new one."""
    key_id = uuid4()
    wrapped = masters.wrap(os.urandom(master_keys.KEY_BYTES), about_tenant_key(tenant, key_id))
    conn.execute(
        """INSERT INTO tenant_key (tenant, id, master_id, wrapped) VALUES (%s, %s, %s, %s)
           ON CONFLICT (tenant) WHERE retired_at IS NULL DO NOTHING""",
        (tenant, key_id, masters.current_id, wrapped),
    )
    return key_id


def _tenant_key(conn: Connection, masters: MasterKeys, tenant: str) -> tuple[UUID, bytes]:
    """(id, key) of the tenant's key in force, locked against being retired before the caller commits."""
    while True:
        row = conn.execute(
            "SELECT id, master_id, wrapped FROM tenant_key WHERE tenant = %s AND retired_at IS NULL FOR SHARE",
            (tenant,),
        ).fetchone()
        if row is not None:
            about = about_tenant_key(tenant, row["id"])
            return row["id"], masters.unwrap(row["master_id"], bytes(row["wrapped"]), about)
        new_tenant_key(conn, masters, tenant)


def about_tenant_key(tenant: str, key_id: UUID) -> str:
    return f"tenant key of {tenant}: {key_id}"


def about_data_key(tenant: str, key_id: UUID) -> str:
    return f"data key of {tenant}: {key_id}"
