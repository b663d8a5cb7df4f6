"""A peer of the database as the gateway knows it; by name where instances come another way than an association."""

from __future__ import annotations

from dicom_gateway.peers import Peer
from pipeline.database import Connection
from pipeline.peers import get_peer
from pipeline.store import Row


def enabled_peer(conn: Connection, tenant: str, ae_title: str) -> Peer | None:
    """The peer, None when there is none of this AE title or it is switched off."""
    row = get_peer(conn, tenant, ae_title)
    return peer_of(row) if row is not None and row["enabled"] else None


def peer_of(row: Row) -> Peer:
    """A row of `peer` as the gateway knows it."""
    return Peer(
        tenant=row["tenant"],
        ae_title=row["ae_title"],
        host=row["host"],
        port=row["port"],
        quiet_time_s=row["quiet_time_s"],
        result_destination=row["result_destination"],
        modalities=frozenset(row["modalities"]),
        sop_classes=frozenset(row["sop_classes"]),
        duplicate_policy=row["duplicate_policy"],
    )
