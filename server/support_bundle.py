"""`radmeter doctor --bundle`: what the makers need to help, in a zip, without data of patients and without secrets.

Everything in it is taken by name: settings that are no secrets, the verdicts without what programs of others said,
counts, versions, and of logs the fields of the allow-list. What is not known to be harmless is left out.
"""

from __future__ import annotations

import json
import platform
import re
import sys
import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

from server import status_screen
from server.doctor import ground_of, verdicts
from server.errors import CommandFailed
from server.settings import Settings
from server.status import gather
from server.telemetry import LOG_FIELDS

_LOG_LINES = 5000
_LINE_BYTES_MAX = 16 * 1024
_LOG_KEPT = ("at", "level", "logger", "event", "exception", *LOG_FIELDS)
# A field of the allow-list holds what we wrote there; should a value look like an identifier of an object, it goes.
_UID = re.compile(r"(?<![0-9.])[0-2](?:\.[0-9]+){4,}(?![0-9.])")
_EVENT = re.compile(r"[a-z0-9_.=() :,-]{1,120}", re.IGNORECASE)
_REMOVED = "(removed)"


def write_bundle(settings: Settings, path: Path, logs: Sequence[Path], *, deep: bool) -> None:
    """Write the zip, readable by its owner alone. Raises `CommandFailed` where there is a file already."""
    if path.exists():
        raise CommandFailed(f"{path} exists already: choose another name")
    with ground_of(settings) as ground:
        checked = [
            {
                "check": one.name,
                "well": one.is_well,
                "skipped": one.skipped,
                "finding": one.finding and one.finding.what,
            }
            for one in verdicts(ground, deep=deep)
        ]
        state = status_screen.as_json(gather(ground, with_money=False))
    parts = {
        "settings.json": _settings(settings),
        "versions.json": _versions(),
        "doctor.json": _without_names(checked, settings),
        "status.json": _without_names(state, settings),
    }
    path.touch(mode=0o600)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, json.dumps(content, indent=2, ensure_ascii=False, default=str))
        for number, log in enumerate(logs, start=1):
            archive.writestr(f"log-{number}.jsonl", "\n".join(log_lines(log)))


def _settings(settings: Settings) -> dict[str, Any]:
    """Each setting; of a secret whether it is set, of an address what stands behind no user and no password."""
    said: dict[str, Any] = {}
    for one in fields(settings):
        value = getattr(settings, one.name)
        if one.name == "database_url":
            said[one.name] = {
                name: given
                for name, given in conninfo_to_dict(value).items()
                if name in ("host", "port", "dbname", "sslmode")
            }
        elif not one.repr:
            said[one.name] = "(set)" if value else ""
        elif isinstance(value, str) and "://" in value:
            parts = urlsplit(value)
            said[one.name] = (
                f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
            )
        else:
            said[one.name] = value if isinstance(value, bool | int | float) else str(value)
    return said


def _versions() -> dict[str, Any]:
    packages = {one.metadata["Name"]: one.version for one in metadata.distributions()}
    return {
        "python": sys.version,
        "system": platform.platform(),
        "packages": dict(sorted(packages.items(), key=lambda one: str(one[0]).lower())),
    }


def _without_names(value: Any, settings: Settings) -> Any:
    """Texts without UIDs and without the password of the database, should one have got into a sentence."""
    if isinstance(value, dict):
        return {key: _without_names(one, settings) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_names(one, settings) for one in value]
    if not isinstance(value, str):
        return value
    password = str(conninfo_to_dict(settings.database_url).get("password") or "")
    return _UID.sub(_REMOVED, value.replace(password, _REMOVED) if password else value)


def log_lines(path: Path) -> Iterator[str]:
    """The last lines of a log of ours, each with the fields of the allow-list alone. Other lines are left out."""
    with path.open("rb") as file:
        last = deque((line for line in file if len(line) <= _LINE_BYTES_MAX), maxlen=_LOG_LINES)
    for line in last:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and _EVENT.fullmatch(str(said.get("event", ""))):
            kept = {name: _UID.sub(_REMOVED, str(said[name])[:500]) for name in _LOG_KEPT if name in said}
            yield json.dumps(kept, ensure_ascii=False)
