"""Destinations: where results go, what each of them takes, and how patiently it is asked."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from psycopg.types.json import Jsonb

from pipeline import audit, peers
from pipeline.database import Connection
from pipeline.errors import DestinationInvalid
from pipeline.rule_store import require_unnamed
from pipeline.secret_files import SECRET_NAME
from study.errors import InvalidAETitle
from study.identifiers import AETitle

OBJECT_KINDS = ("SR", "SEG", "PM", "KEYS", "PDF", "GSPS", "SC", "KOS")
AIR_KINDS = ("SR", "SEG", "PM", "KEYS", "PDF", "KOS")
"""What a new destination is proposed to take: the set of IHE AIR, the report and rejection notes."""
DEFAULT_KINDS = ("SR", "SEG", "PDF", "KOS")
"""What is sent where nobody has chosen: PACS that have taken these for long may refuse newer kinds."""
MESSAGE_KINDS = {"fhir": "FHIR", "hl7": "ORU", "webhook": "EVENT", "email": "EVENT"}
"""Destinations that are no PACS: each takes one kind of message and no DICOM object."""
EVENTS = ("result", "reviewed", "superseded", "critical", "refused", "failed")
"""What such a destination can be told of."""
CHARACTER_SETS = {"UNICODE UTF-8": "utf-8", "GB 18030-2000": "gb18030"}
"""MSH-18 (HL7 table 0211) → how Python names it."""
_BY_URL = frozenset({"stow", "fhir", "webhook"})
_BY_HOST = frozenset({"dimse", "hl7"})
STAND_INS = ("SR2D", "TEXT", "GSPS", "SC", "PDF")
"""What may stand in for a refused SR, and the order that a new destination is proposed."""
_NAME = re.compile(r"[!-~]([ -~]{0,62}[!-~])?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,253}", re.ASCII)
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})", re.ASCII)
_SHORT_TEXTS = {
    "patient_system": 200,
    "accession_system": 200,
    "receiving_application": 180,
    "receiving_facility": 180,
}


@dataclass(frozen=True)
class DestinationRecord:
    """One row of `destination`; the table's comments say what each column means.

    url: root of a DICOMweb service (PS3.18 8.2), `…/studies` is added.
    authority_file, certificate_file, token_file: names of files in the folder of secrets.
    object_kinds: what it takes; other kinds are sent only as fall-backs. One that is no PACS takes its message alone.
    events: of what such a one is told. private_hosts: hosts of its URL that may have private addresses.
    patient_system, accession_system: whose the patient id and the accession number are: identifier.system of FHIR.
    receiving_application, receiving_facility, character_set: MSH-5, MSH-6 and MSH-18 of HL7 v2.
    fallbacks: what is sent in this order where it refuses the SR; see `fallbacks.py`.
    required: a study counts as delivered only when this destination has acknowledged.
    objects_per_s: None = as fast as it goes.
    associations_max: associations or requests open to it at a time, over all workers.
    """

    tenant: str
    name: str
    kind: str = "dimse"
    ae_title: str | None = None
    host: str | None = None
    port: int | None = None
    url: str | None = None
    allow_plain_http: bool = False
    use_tls: bool = False
    authority_file: str | None = None
    certificate_file: str | None = None
    token_file: str | None = None
    object_kinds: tuple[str, ...] = DEFAULT_KINDS
    fallbacks: tuple[str, ...] = ("PDF",)
    required: bool = True
    objects_per_s: float | None = None
    associations_max: int = 2
    response_timeout_s: float = 120.0
    attempts_max: int = 500
    back_off_min_s: float = 2.0
    back_off_max_s: float = 600.0
    give_up_after_s: float = 3 * 86_400.0
    confirmation: str = "none"
    enabled: bool = True
    events: tuple[str, ...] = EVENTS
    private_hosts: tuple[str, ...] = ()
    with_accession: bool = False
    with_pdf: bool = False
    patient_system: str | None = None
    accession_system: str | None = None
    receiving_application: str | None = None
    receiving_facility: str | None = None
    character_set: str = "UNICODE UTF-8"
    recipients: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind in MESSAGE_KINDS:
            object.__setattr__(self, "object_kinds", (MESSAGE_KINDS[self.kind],))

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """The fall-backs, which are DICOM objects: for those destinations that take such."""
        return self.fallbacks if self.is_pacs else ()

    @property
    def address(self) -> str:
        """Where it is, for people."""
        if self.kind == "email":
            return ", ".join(self.recipients)
        if self.kind == "hl7":
            return f"{self.host}:{self.port}"
        if self.kind == "sink":
            return "nowhere: made-up studies alone"
        return self.url or f"{self.ae_title}@{self.host}:{self.port}"

    @property
    def is_pacs(self) -> bool:
        return self.kind not in MESSAGE_KINDS

    def wants(self, kind: str, event: str = "result") -> bool:
        """Whether objects of this kind, made for this event, go there."""
        return kind in self.object_kinds and (self.is_pacs or event in self.events)


# field → (lowest, highest) allowed value
_RANGES = {
    "port": (1, 65_535),
    "objects_per_s": (0.01, 10_000),
    "associations_max": (1, 64),
    "response_timeout_s": (1, 3_600),
    "attempts_max": (1, 100_000),
    "back_off_min_s": (0.1, 3_600),
    "back_off_max_s": (0.1, 86_400),
    "give_up_after_s": (1, 90 * 86_400),
}


def problems_of(record: DestinationRecord) -> dict[str, str]:
    """Field → sentence, for each value that cannot be saved."""
    problems: dict[str, str] = {}
    if _NAME.fullmatch(record.name) is None:
        problems["name"] = "A name has 1 to 64 printable ASCII characters."
    if record.kind not in ("dimse", "stow", *MESSAGE_KINDS):
        problems["kind"] = "A destination is reached by DIMSE, STOW-RS, FHIR, HL7, webhook or e-mail."
    if record.kind in _BY_URL:
        problems |= _url_problems(record)
    if record.kind in _BY_HOST:
        problems |= _host_problems(record)
    if not record.is_pacs:
        problems |= _message_problems(record)
    for name, (low, high) in _RANGES.items():
        value = getattr(record, name)
        if value is not None and not low <= value <= high:
            problems[name] = f"Give {low:g} to {high:g}."
    if record.back_off_min_s > record.back_off_max_s:
        problems["back_off_max_s"] = "The longest pause is shorter than the first one."
    for name in ("authority_file", "certificate_file", "token_file"):
        value = getattr(record, name)
        if value is not None and SECRET_NAME.fullmatch(value) is None:
            problems[name] = "Give the name of a file in the folder of secrets, without a path."
    if record.is_pacs and not (record.object_kinds and set(record.object_kinds) <= set(OBJECT_KINDS)):
        problems["object_kinds"] = "Choose at least one kind of object."
    if not set(record.fallbacks) <= set(STAND_INS) or len(set(record.fallbacks)) < len(record.fallbacks):
        problems["fallbacks"] = "Fall-backs are SR2D, TEXT, GSPS, SC and PDF, each at most once."
    if record.confirmation not in ("none", "query", "commitment"):
        problems["confirmation"] = "Confirmation is none, query or commitment."
    return problems


def _host_problems(record: DestinationRecord) -> dict[str, str]:
    problems: dict[str, str] = {}
    if record.is_pacs:
        try:
            AETitle(record.ae_title or "")
        except InvalidAETitle:
            problems["ae_title"] = "An AE title has 1 to 16 printable characters without a backslash."
    if _HOST.fullmatch(record.host or "") is None:
        problems["host"] = "Give a host name or an IP address."
    if record.port is None:
        problems["port"] = "A port is a number from 1 to 65535."
    return problems


def _url_problems(record: DestinationRecord) -> dict[str, str]:
    problems: dict[str, str] = {}
    try:
        parts = urlsplit(record.url or "")
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        parts, has_port = urlsplit(""), False
    if parts.scheme not in ("http", "https") or not parts.hostname or not has_port:
        problems["url"] = "Give the address of the service, https://…"
    elif parts.username is not None or parts.fragment or (parts.query and record.kind != "webhook"):
        problems["url"] = (
            "The address holds no user, query or fragment; a token lies in the folder of secrets."
        )
    elif re.fullmatch(r"[!-~]+", record.url or "") is None:
        problems["url"] = "Give the address of the service, https://…"
    elif parts.scheme == "http" and not record.allow_plain_http:
        problems["url"] = "Plain http must be allowed for this destination, or use https."
    if record.confirmation == "commitment":
        problems["confirmation"] = "Storage commitment needs DIMSE; over the web we ask back by query."
    return problems


def _message_problems(record: DestinationRecord) -> dict[str, str]:
    problems: dict[str, str] = {}
    if not record.events or not set(record.events) <= set(EVENTS):
        problems["events"] = "Choose at least one event."
    if any(_HOST.fullmatch(host) is None for host in record.private_hosts):
        problems["private_hosts"] = "Give host names or IP addresses, with commas between."
    if record.confirmation != "none":
        problems["confirmation"] = "Only a PACS or an archive can be asked back."
    if record.character_set not in CHARACTER_SETS:
        problems["character_set"] = "The character set is UNICODE UTF-8 or GB 18030-2000."
    for name, longest in _SHORT_TEXTS.items():
        text = getattr(record, name) or ""
        if len(text) > longest or not text.isprintable():
            problems[name] = f"Give at most {longest} printable characters."
    if record.kind == "fhir" and record.token_file and (record.url or "").startswith("http:"):
        problems["token_file"] = "A token is sent over https only."  # noqa: S105  a sentence
    if record.kind == "webhook" and record.token_file is None:
        problems["token_file"] = "A webhook is signed: name the file with its secret, whsec_…"  # noqa: S105  a sentence
    mails = record.recipients
    if record.kind == "email" and not (0 < len(mails) <= 20 and all(map(_MAIL.fullmatch, mails))):
        problems["recipients"] = "Give 1 to 20 e-mail addresses, with commas between."
    return problems


def kinds_of(text: str) -> tuple[str, ...]:
    """Kinds of objects as a person writes them, with commas."""
    return tuple(word.strip().upper() for word in text.split(",") if word.strip())


_COLUMNS = tuple(field.name for field in fields(DestinationRecord))
_LISTS = ("object_kinds", "fallbacks", "events", "private_hosts", "recipients")


def _record(row: dict[str, Any]) -> DestinationRecord:
    values = {name: row[name] for name in _COLUMNS}
    return DestinationRecord(**values | {name: tuple(row[name]) for name in _LISTS})


def list_destinations(conn: Connection, tenant: str) -> list[DestinationRecord]:
    rows = conn.execute("SELECT * FROM destination WHERE tenant = %s ORDER BY name", (tenant,)).fetchall()
    return [_record(row) for row in rows]


def get_destination(conn: Connection, tenant: str, name: str) -> DestinationRecord | None:
    """The destination that was set up under this name."""
    return next((one for one in list_destinations(conn, tenant) if one.name == name), None)


def find_destination(conn: Connection, tenant: str, name: str) -> DestinationRecord | None:
    """The destination of this name; a peer of this AE title is one with the defaults."""
    named = get_destination(conn, tenant, name)
    if named is not None:
        return named
    peer = peers.get_peer(conn, tenant, name)
    if peer is None:
        return None
    return DestinationRecord(tenant, name, ae_title=peer["ae_title"], host=peer["host"], port=peer["port"])


def names(conn: Connection, tenant: str) -> frozenset[str]:
    """Where results can go: named destinations, and peers by their AE titles."""
    query = "SELECT name FROM destination WHERE tenant = %s UNION SELECT ae_title FROM peer WHERE tenant = %s"
    return frozenset(row["name"] for row in conn.execute(query, (tenant, tenant)))


def save_destination(conn: Connection, record: DestinationRecord, *, changed_by: str = "") -> None:
    """Add the destination or change the one of the same name. Raises `DestinationInvalid`.

    changed_by: who, for the audit trail.
    """
    problems = problems_of(record)
    if problems:
        raise DestinationInvalid(*next(iter(problems.items())))
    before, after = get_destination(conn, record.tenant, record.name), asdict(record)
    former = asdict(before) if before else {}
    if former == after:
        return
    conn.execute("DELETE FROM destination WHERE tenant = %s AND name = %s", (record.tenant, record.name))
    conn.execute(
        "INSERT INTO destination SELECT * FROM jsonb_populate_record(NULL::destination, %s)", (Jsonb(after),)
    )
    changes = {name: value for name, value in after.items() if former.get(name) != value}
    detail = {"destination": record.name, "by": changed_by, "is_new": before is None, "changes": changes}
    audit.record(conn, record.tenant, audit.AuditEvent.DESTINATION_CHANGED, detail)


def remove_destination(conn: Connection, tenant: str, name: str, *, changed_by: str = "") -> bool:
    """Whether there was one. What still waits for it is given up in its time, visibly. Raises `DestinationInUse`."""
    require_unnamed(conn, tenant, name)
    removed = conn.execute("DELETE FROM destination WHERE tenant = %s AND name = %s", (tenant, name))
    if removed.rowcount:
        detail = {"destination": name, "by": changed_by}
        audit.record(conn, tenant, audit.AuditEvent.DESTINATION_REMOVED, detail)
    return removed.rowcount > 0
