"""A hospital's own list of what was done for it, read from CSV, HL7 v2 DFT^P03 or a FHIR bundle of ChargeItems.

Only a token, a code, a day and a quantity are taken from it; names, birth dates and everything else are not read.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import hl7

from billing.books.books_errors import HospitalCountRefused
from billing.metering.usage import TEXT_LENGTH_MAX

FILE_BYTES_MAX = 64 * 1024 * 1024
ROWS_MAX = 500_000
_DELIMITERS = re.compile(r"MSH[!-/:-@\[-`{-~]{5}")
_TOKEN = re.compile(r"[0-9a-f]{64}")
_QUANTITY = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)


@dataclass(frozen=True)
class CountedItem:
    """row: of the file (CSV), the number of the FT1 segment (HL7) or of the entry (FHIR), from 1.

    quantity: below zero where the list takes something back.
    """

    row: int
    token: str
    code: str
    day: date
    quantity: Decimal


@dataclass(frozen=True)
class ReadingRules:
    """How to read a list.

    key: turns the accession number in the token's place into the token; None where the list has tokens already.
    columns: names of the CSV's columns for token, code, day and quantity.
    identifier_system: which identifier of a FHIR ChargeItem is the token; the first one without it.
    time_zone: IANA name, for instants with an offset. encoding: of CSV and HL7.
    """

    time_zone: str
    key: bytes | None = None
    encoding: str = "utf-8-sig"
    columns: Mapping[str, str] = field(default_factory=dict)
    identifier_system: str = ""


def request_token(key: bytes, accession_number: str) -> str:
    """HMAC-SHA256 (hex) of an accession number: what both sides can compute, and nobody can turn back."""
    return hmac.new(key, b"request:" + accession_number.strip().encode(), hashlib.sha256).hexdigest()


def read(content: bytes, style: str, rules: ReadingRules) -> list[CountedItem]:
    """style: `csv`, `hl7` or `fhir`. Raises `HospitalCountRefused`, which names the row."""
    if len(content) > FILE_BYTES_MAX:
        raise HospitalCountRefused(
            f"the list is longer than {FILE_BYTES_MAX} bytes: split it by month or site"
        )
    reader: Callable[[bytes, ReadingRules], Iterator[CountedItem]]
    reader = {"csv": _read_csv, "hl7": _read_hl7, "fhir": _read_fhir}[style]
    items = []
    for item in reader(content, rules):
        items.append(item)
        if len(items) > ROWS_MAX:
            raise HospitalCountRefused(f"the list has more than {ROWS_MAX} rows: split it by month or site")
    if not items:
        raise HospitalCountRefused("the list has no rows that could be counted")
    return items


def _read_csv(content: bytes, rules: ReadingRules) -> Iterator[CountedItem]:
    names = {name: rules.columns.get(name, name) for name in ("token", "code", "day", "quantity")}
    table = csv.DictReader(io.StringIO(_text(content, rules.encoding), newline=""))
    try:
        for number, row in enumerate(table, start=2):
            if number == 2:
                _require_columns(names, row)
            quantity = row.get(names["quantity"]) or "1"
            yield _item(number, row[names["token"]], row[names["code"]], row[names["day"]], quantity, rules)
    except csv.Error as error:
        raise HospitalCountRefused(f"row {table.line_num}: not CSV: {error}") from error


def _require_columns(names: Mapping[str, str], row: Mapping[str, Any]) -> None:
    missing = [names[name] for name in ("token", "code", "day") if names[name] not in row]
    if missing:
        raise HospitalCountRefused(
            f"the list has no column {', '.join(missing)}; say what they are called there"
        )


def _read_hl7(content: bytes, rules: ReadingRules) -> Iterator[CountedItem]:
    """FT1 segments of DFT^P03 messages (HL7 v2.5.1 section 6.5.1): date 4, type 6, code 7, quantity 10, filler 23.

    A charge (CG) counts, a credit (CR) takes back; payments and adjustments are no work done.
    """
    signs = {"CG": 1, "CR": -1}
    number = 0
    for position, text in enumerate(_hl7_messages(_text(content, rules.encoding)), start=1):
        # The library takes for granted that the five delimiters are five (HL7 v2.5.1 section 2.5.4).
        if not _DELIMITERS.match(text) or len(set(text[3:8])) < 5:
            raise HospitalCountRefused(f"message {position}: not HL7 v2: MSH names no five delimiters")
        try:
            message = hl7.parse(text)
            is_charge = str(message.segment("MSH")[9]).startswith("DFT")
            segments = [segment for segment in message if str(segment[0]) == "FT1"] if is_charge else []
        except (hl7.HL7Exception, ValueError, LookupError, RecursionError) as error:
            raise HospitalCountRefused(f"message {position}: not HL7 v2") from error
        for segment in segments:
            number += 1
            sign = signs.get(_hl7_field(segment, 6))
            if sign is None:
                continue
            day = re.sub(r"^(\d{4})(\d\d)(\d\d).*$", r"\1-\2-\3", _hl7_field(segment, 4))
            quantity = _hl7_field(segment, 10) or "1"
            yield _item(number, _hl7_field(segment, 23), _hl7_field(segment, 7), day, quantity, rules, sign)


def _hl7_messages(text: str) -> Iterator[str]:
    """Messages of a file or batch, without the frames of MLLP. The library's own way logs what it drops: patients."""
    segments: list[str] = []
    for line in re.split(r"[\r\n\x0b\x1c]+", text):
        if line.startswith("MSH") and segments:
            yield "\r".join(segments) + "\r"
            segments = []
        if line.startswith("MSH") or segments:
            segments.append(line)
        elif line.strip() and line[:3] not in ("FHS", "BHS"):
            raise HospitalCountRefused("not HL7 v2: a message begins with MSH")
    if segments:
        yield "\r".join(segments) + "\r"


def _hl7_field(segment: Any, number: int) -> str:
    """The first component of a field's first repetition; empty where the segment is shorter."""
    value = segment[number] if number < len(segment) else ""
    while isinstance(value, hl7.Container):
        value = value[0] if len(value) else ""
    return str(value)


def _read_fhir(content: bytes, rules: ReadingRules) -> Iterator[CountedItem]:
    from fhir.resources.chargeitem import ChargeItem  # takes half a second to import, and few need it

    try:
        bundle = json.loads(_text(content, "utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise HospitalCountRefused("not JSON: a FHIR bundle is needed") from error
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise HospitalCountRefused("not a FHIR Bundle")
    entries = bundle.get("entry") or []
    if not isinstance(entries, list):
        raise HospitalCountRefused("the bundle's entry is no list")
    for number, entry in enumerate(entries, start=1):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict) or resource.get("resourceType") != "ChargeItem":
            continue
        wanted = {name: resource[name] for name in _CHARGE_ITEM if name in resource}
        # Whom the item is about is a required element; it is neither read nor kept.
        wanted["subject"] = {"display": "not read"}
        try:
            item = ChargeItem.model_validate(wanted)
        except ValueError as error:
            raise HospitalCountRefused(f"entry {number}: not a FHIR ChargeItem") from error
        if item.status in ("billable", "billed"):
            yield _charge_item(number, item, rules)


_CHARGE_ITEM = (
    "resourceType",
    "status",
    "identifier",
    "code",
    "quantity",
    "occurrenceDateTime",
    "occurrencePeriod",
)


def _charge_item(number: int, item: Any, rules: ReadingRules) -> CountedItem:
    tokens = [
        one.value
        for one in item.identifier or []
        if rules.identifier_system in ("", one.system) and one.value
    ]
    codes = [coding.code for coding in item.code.coding or [] if coding.code]
    when = item.occurrenceDateTime or (item.occurrencePeriod.start if item.occurrencePeriod else None)
    if not tokens or not codes or when is None:
        raise HospitalCountRefused(f"entry {number}: needs an identifier, a code and an occurrence")
    quantity = "1" if item.quantity is None else str(item.quantity.value)
    return _item(number, tokens[0], codes[0], when.isoformat(), quantity, rules)


def _item(
    number: int,
    token: str | None,
    code: str | None,
    when: str | None,
    quantity: str,
    rules: ReadingRules,
    sign: int = 1,
) -> CountedItem:
    """One row, bounded and checked; what is wrong is said with its row and without its content."""
    token, code = (token or "").strip(), (code or "").strip()
    if not 0 < len(token) <= TEXT_LENGTH_MAX or not 0 < len(code) <= TEXT_LENGTH_MAX:
        raise HospitalCountRefused(
            f"row {number}: needs a token and a code of 1 to {TEXT_LENGTH_MAX} characters"
        )
    if rules.key is not None:
        token = request_token(rules.key, token)
    if not _QUANTITY.fullmatch(quantity.strip()):
        raise HospitalCountRefused(f"row {number}: the quantity is not a number like 1 or 2.5")
    amount = sign * Decimal(quantity.strip())
    return CountedItem(number, token, code, _day(number, (when or "").strip(), rules.time_zone), amount)


def is_opaque(token: str) -> bool:
    """Whether a token is an HMAC-SHA256 in hex, and so cannot be an accession number."""
    return _TOKEN.fullmatch(token) is not None


def _day(number: int, text: str, time_zone: str) -> date:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise HospitalCountRefused(f"row {number}: the day is not like 2026-11-30") from None
    return (instant.astimezone(ZoneInfo(time_zone)) if instant.tzinfo else instant).date()


def _text(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        raise HospitalCountRefused(f"the list is not text in {encoding[:20]}; name its encoding") from None
