"""A tenant's peers in PostgreSQL: who may send what from where, where results go. In the caller's transaction.

An AE title is unique within a tenant. Several machines that share one are one peer with several hosts; the same AE
title may be a peer of several tenants, which the called AE title tells apart.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from psycopg import sql

from dicom_gateway.errors import CertificateNameInvalid, HostEntryInvalid
from dicom_gateway.hosts import canonical_entry
from dicom_gateway.peer_certificate import canonical_name
from dicom_gateway.peers import DuplicatePolicy
from pipeline import audit
from pipeline.database import Connection
from pipeline.errors import PeerInvalid, PeerUnknown
from pipeline.protection.master_keys import MasterKeys
from pipeline.protection.sealed_text import QUERY_SECRET, seal_text
from pipeline.rule_store import require_unnamed
from pipeline.secret_files import SECRET_NAME
from study.errors import InvalidAETitle, InvalidUID
from study.identifiers import AETitle, validate_uid

Row = dict[str, Any]

QUIET_TIME_MIN_S, QUIET_TIME_MAX_S = 0.1, 3600.0
FORCE_AFTER_MAX_S = 86_400.0
_LIST_MAX = 200
_DESTINATION = re.compile(r"[!-~]([ -~]{0,62}[!-~])?", re.ASCII)
# Opaque to billing, which refuses whatever looks like a UID: so no dot.
_PLACE = re.compile(r"[^\W_](?:[\w &/+-]{0,62}[\w])?")
_WEB_ADDRESS = re.compile(r"https?://[!-~]{1,2000}", re.ASCII)


@dataclass(frozen=True)
class PeerEntry:
    """What is set for one peer. Raises `PeerInvalid` with the name of the field.

    host, port: where it listens; results are sent there.
    quiet_time_s: a study is complete after this silence; what is learned lengthens it, up to `quiet_time_max_s`.
    force_after_s, force_policy: silence after which what a list promises is waited for no longer, and what then.
    archive_habit: whether its archive has a study before it sends it (complete) or gets it meanwhile (fills).
    result_destination: name of a destination, or AE title of a peer, that gets the results; None is the sender itself.
    hosts: addresses, networks, names that it may come from; with `check_host` also `host`. None of both is any.
    certificates: names of `peer_certificate`, one of which it must prove; none is not asked for.
    modalities, sop_classes: what it may send; empty is all.
    query_kind: how its archive is asked for counts and earlier studies; `query_ae_title`, `query_host` and `query_port`
        are those of the archive where they are not the peer's own, `query_url` is that of a DICOMweb server.
    query_tls: C-FIND and what follows it go over TLS. query_authority_file, query_certificate_file: whom we trust
        there and what we show, files in the folder of secrets.
    site, department: where it stands, as the contracts name it; what it sends is billed and limited under them.
    """

    ae_title: str
    host: str
    port: int = 104
    quiet_time_s: float = 10.0
    result_destination: str | None = None
    check_host: bool = False
    hosts: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    sop_classes: tuple[str, ...] = ()
    duplicate_policy: DuplicatePolicy = "failure"
    is_test: bool = False
    enabled: bool = True
    query_kind: Literal["none", "dimse", "dicomweb"] = "none"
    query_ae_title: str | None = None
    query_host: str | None = None
    query_port: int | None = None
    query_url: str | None = None
    query_username: str | None = None
    query_retrieve: Literal["move", "get"] = "move"
    query_tls: bool = False
    query_authority_file: str | None = None
    query_certificate_file: str | None = None
    quiet_time_max_s: float = 130.0
    force_after_s: float = 600.0
    force_policy: Literal["process", "discard", "ask"] = "process"
    archive_habit: Literal["learned", "complete", "fills"] = "learned"
    site: str = ""
    department: str = ""

    def __post_init__(self) -> None:
        for name in ("ae_title", "query_ae_title"):
            try:
                if name == "ae_title" or getattr(self, name) is not None:
                    object.__setattr__(self, name, str(AETitle(getattr(self, name))))
            except InvalidAETitle:
                sentence = "An AE title has 1 to 16 printable characters without a backslash."
                raise PeerInvalid(name, sentence) from None
        if self.result_destination is not None and _DESTINATION.fullmatch(self.result_destination) is None:
            raise PeerInvalid(
                "result_destination", "Give the name of a destination or the AE title of a peer."
            )
        for name, host in (("host", self.host), ("query_host", self.query_host)):
            if host is not None:
                _check_host(name, host)
        for name, port in (("port", self.port), ("query_port", self.query_port)):
            if port is not None and not 1 <= port <= 65535:
                raise PeerInvalid(name, "A port is a number from 1 to 65535.")
        self._check_completion()
        if self.duplicate_policy not in ("failure", "warning"):
            raise PeerInvalid("duplicate_policy", "The answer is failure or warning.")
        for name in ("site", "department"):
            if getattr(self, name) and _PLACE.fullmatch(getattr(self, name)) is None:
                raise PeerInvalid(
                    name, "Give up to 64 letters, digits, blanks and signs, as the contract does."
                )
        self._check_query()
        self._check_lists()

    def _check_completion(self) -> None:
        for name in ("quiet_time_s", "quiet_time_max_s"):
            if not QUIET_TIME_MIN_S <= getattr(self, name) <= QUIET_TIME_MAX_S:
                raise PeerInvalid(name, "Give 0.1 to 3600 seconds.")
        if not 1 <= self.force_after_s <= FORCE_AFTER_MAX_S:
            raise PeerInvalid("force_after_s", "Give 1 to 86400 seconds.")
        if self.force_policy not in ("process", "discard", "ask"):
            raise PeerInvalid("force_policy", "After the force time: process, discard or ask.")
        if self.archive_habit not in ("learned", "complete", "fills"):
            raise PeerInvalid("archive_habit", "The habit of an archive is learned, complete or fills.")

    def _check_query(self) -> None:
        if self.query_kind not in ("none", "dimse", "dicomweb"):
            raise PeerInvalid(
                "query_kind", "The archive is asked by dimse, by dicomweb, or not at all (none)."
            )
        if self.query_retrieve not in ("move", "get"):
            raise PeerInvalid("query_retrieve", "Studies are fetched by move or by get.")
        if self.query_url is not None and _WEB_ADDRESS.fullmatch(self.query_url) is None:
            raise PeerInvalid("query_url", "Give an address that begins with http:// or https://.")
        for name in ("query_authority_file", "query_certificate_file"):
            if getattr(self, name) is not None and SECRET_NAME.fullmatch(getattr(self, name)) is None:
                raise PeerInvalid(name, "Give the name of a file in the folder of secrets, without a path.")
        if self.query_kind == "dicomweb" and self.query_url is None:
            raise PeerInvalid("query_url", "A DICOMweb archive needs its address.")

    def _check_lists(self) -> None:
        for name, canonical, sentence in (
            ("hosts", canonical_entry, "Each line is an address, a network as 192.0.2.0/24, or a host name."),
            (
                "certificates",
                canonical_name,
                "Each line is a SHA-256 fingerprint, or cn:, dns:, ip:, uri: or subject: with a value.",
            ),
            ("modalities", _modality, "A modality is a code of up to 16 capitals, as CT or MR."),
            ("sop_classes", validate_uid, "A SOP class is given by its UID."),
        ):
            try:
                entries = tuple(dict.fromkeys(canonical(one.strip()) for one in getattr(self, name)))
            except (HostEntryInvalid, CertificateNameInvalid, InvalidUID, ValueError):
                raise PeerInvalid(name, sentence) from None
            if len(entries) > _LIST_MAX:
                raise PeerInvalid(name, "There are too many entries.")
            object.__setattr__(self, name, entries)


def _check_host(name: str, host: str) -> None:
    """Raise `PeerInvalid` unless it is one machine: an address, with its zone if it is an IPv6 one, or a name."""
    try:
        canonical_entry(host.partition("%")[0])
    except HostEntryInvalid:
        raise PeerInvalid(name, "Give a host name or an IP address.") from None
    if "/" in host:
        raise PeerInvalid(name, "Give a host name or an IP address.")


def _modality(text: str) -> str:
    code = text.upper()
    if not (1 <= len(code) <= 16 and code.isascii() and code.replace("_", "A").isalnum()):
        raise ValueError(text)
    return code


COLUMNS = tuple(one.name for one in fields(PeerEntry))

_SAVE = sql.SQL(
    "INSERT INTO peer (tenant, {columns}) VALUES (%(tenant)s, {values}) "
    "ON CONFLICT (tenant, ae_title) DO UPDATE SET {changes}"
).format(
    columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
    values=sql.SQL(", ").join(map(sql.Placeholder, COLUMNS)),
    changes=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(one)) for one in COLUMNS),
)


def values_of(row: Row) -> dict[str, Any]:
    """What a row of `peer` holds of an entry, as keyword arguments for `PeerEntry`."""
    return {name: tuple(row[name]) if isinstance(row[name], list) else row[name] for name in COLUMNS}


def place_of(row: Row | None) -> dict[str, str]:
    """`site` and `department` of a peer, as far as they are set: dimensions of what it sends."""
    return {name: row[name] for name in ("site", "department") if row and row[name]}


def list_peers(conn: Connection, tenant: str) -> list[Row]:
    return conn.execute("SELECT * FROM peer WHERE tenant = %s ORDER BY ae_title", (tenant,)).fetchall()


def get_peer(conn: Connection, tenant: str, ae_title: str) -> Row | None:
    return conn.execute(
        "SELECT * FROM peer WHERE tenant = %s AND ae_title = %s", (tenant, ae_title)
    ).fetchone()


def save_peer(conn: Connection, tenant: str, *, changed_by: str = "", **values: Any) -> None:
    """Add the peer or change the one of the same AE title; `values` are those of `PeerEntry`. Raises `PeerInvalid`."""
    save_entry(conn, tenant, PeerEntry(**values), changed_by=changed_by)


def save_entry(conn: Connection, tenant: str, entry: PeerEntry, *, changed_by: str = "") -> bool:
    """Like `save_peer`; False when nothing was to change. changed_by: who, for the audit trail."""
    before = get_peer(conn, tenant, entry.ae_title)
    former, after = values_of(before) if before else {}, asdict(entry)
    if former == after:
        return False
    conn.execute(
        _SAVE,
        {"tenant": tenant}
        | {name: list(value) if isinstance(value, tuple) else value for name, value in after.items()},
    )
    # Of a new peer what is not as usual, of a known one what is not as before.
    usual = former or {one.name: one.default for one in fields(PeerEntry)}
    changes = {
        name: value for name, value in after.items() if name != "ae_title" and usual.get(name) != value
    }
    event = audit.AuditEvent.PEER_CHANGED if former else audit.AuditEvent.PEER_ADDED
    audit.record(conn, tenant, event, {"peer": entry.ae_title, "by": changed_by, "changes": changes})
    return True


def set_query_secret(
    conn: Connection,
    tenant: str,
    ae_title: str,
    secret: str | None,
    masters: MasterKeys | None = None,
    *,
    changed_by: str = "",
) -> None:
    """The password or token for the peer's DICOMweb archive, sealed where there are keys; None forgets it.

    Raises `PeerUnknown`.
    """
    about = QUERY_SECRET.about(tenant, ae_title)
    stored = seal_text(conn, masters, tenant, about, secret) if secret else None
    changed = conn.execute(
        "UPDATE peer SET query_secret = %s WHERE tenant = %s AND ae_title = %s", (stored, tenant, ae_title)
    )
    _require(changed.rowcount, ae_title)
    detail = {"peer": ae_title, "by": changed_by, "changes": {"query_secret": "set" if secret else "removed"}}
    audit.record(conn, tenant, audit.AuditEvent.PEER_CHANGED, detail)


def set_enabled(conn: Connection, tenant: str, ae_title: str, enabled: bool, *, changed_by: str = "") -> None:
    """Switch a peer on or off; associations that are open stay. Raises `PeerUnknown`."""
    _require(conn.execute(
        "UPDATE peer SET enabled = %s WHERE tenant = %s AND ae_title = %s", (enabled, tenant, ae_title)
    ).rowcount, ae_title)  # fmt: skip
    detail = {"peer": ae_title, "by": changed_by, "changes": {"enabled": enabled}}
    audit.record(conn, tenant, audit.AuditEvent.PEER_CHANGED, detail)


def remove_peer(conn: Connection, tenant: str, ae_title: str, *, changed_by: str = "") -> None:
    """Forget a peer; what it sent stays. Raises `PeerUnknown`, `DestinationInUse`."""
    require_unnamed(conn, tenant, ae_title)
    deleted = conn.execute("DELETE FROM peer WHERE tenant = %s AND ae_title = %s", (tenant, ae_title))
    _require(deleted.rowcount, ae_title)
    audit.record(conn, tenant, audit.AuditEvent.PEER_REMOVED, {"peer": ae_title, "by": changed_by})


def _require(row_count: int, ae_title: str) -> None:
    if row_count == 0:
        raise PeerUnknown(f"no peer {ae_title}")
