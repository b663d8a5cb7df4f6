"""Peers as a table that a spreadsheet holds: a hospital with eighty modalities is set up from one file.

The first row names the columns, which are the fields of `PeerEntry`; `ae_title` and `host` must be there, the rest may.
Several values in one cell are divided by `|`. An empty cell means the default.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from pipeline.errors import PeerInvalid, PeerTableInvalid
from pipeline.peers import COLUMNS, PeerEntry, Row, values_of

_NEEDED = ("ae_title", "host")
_NUMBERS = ("query_port",)  # whose default is no number
_ROWS_MAX = 10_000
_DEFAULTS = {one.name: one.default for one in fields(PeerEntry)}
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read_table(text: str) -> list[PeerEntry]:
    """The peers of a CSV file with commas or semicolons. Raises `PeerTableInvalid` with every line that is wrong."""
    text = text.removeprefix("\ufeff")
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)
    problems: list[str] = []
    entries: dict[str, PeerEntry] = {}
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        problems += [f"line 1: no column {name}" for name in _NEEDED if name not in columns]
        problems += [f"line 1: there is no field {name!r}" for name in columns if name not in COLUMNS]
        for row in () if problems else reader:
            try:
                entry = _entry(row)
                if entry.ae_title in entries:
                    raise PeerInvalid("ae_title", f"{entry.ae_title} stands in the file twice.")
                entries[entry.ae_title] = entry
            except PeerInvalid as error:
                problems.append(f"line {reader.line_num}: {error}")
            if len(entries) > _ROWS_MAX:
                problems.append(f"line {reader.line_num}: more than {_ROWS_MAX} peers")
                break
    except csv.Error as error:
        problems.append(f"line {reader.line_num}: {error}")
    if problems:
        raise PeerTableInvalid(problems)
    return list(entries.values())


def write_table(rows: Iterable[Row]) -> str:
    """Rows of `peer` as `read_table` reads them."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_text(value) for value in values_of(row).values()] for row in rows)
    return out.getvalue()


def _entry(row: dict[str | Any, str | Any]) -> PeerEntry:
    if None in row or None in row.values():
        raise PeerInvalid("line", "It has more or fewer cells than the first one.")
    given = {name: cell.strip() for name, cell in row.items() if cell.strip() or name in _NEEDED}
    return PeerEntry(**{name: _value(name, text) for name, text in given.items()})


def _value(name: str, text: str) -> Any:
    default = _DEFAULTS[name]
    if isinstance(default, bool):
        if text.lower() not in _WORDS:
            raise PeerInvalid(name, "Give true or false.")
        return _WORDS[text.lower()]
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split("|") if part.strip())
    if isinstance(default, int | float) or name in _NUMBERS:
        try:
            return (float if isinstance(default, float) else int)(text)
        except ValueError:
            raise PeerInvalid(name, "Give a number.") from None
    return text


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "|".join(value)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
