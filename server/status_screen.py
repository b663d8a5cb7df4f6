"""One screen of 80 columns: what needs somebody first, then how things are. Words tell, colours only repeat them."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.text import Text

from server.status import Status

WIDTH = 80
_LABEL = 12
_ATTENTION_MAX, _UNBILLED_MAX = 6, 3


def as_json(found: Status) -> dict[str, Any]:
    """Everything as it was gathered, instants as ISO 8601."""
    return {"state": "well" if not found.attention else "needs attention", **_plain(asdict(found))}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, datetime) else value


def draw(found: Status) -> Text:
    """The screen; each line has at most `WIDTH` columns."""
    lines = [_head(found), *_attention(found), Text()]
    for label, words in _parts(found):
        lines += _labelled(label, words)
    return Text("\n").join(lines)


def _head(found: Status) -> Text:
    count = len(found.attention)
    state = f"{count} need attention" if count else "all is well"
    left = f"radmeter  {found.at:%Y-%m-%d %H:%M:%S} UTC"
    return Text.assemble(
        left, " " * (WIDTH - len(left) - len(state)), (state, "bold red" if count else "green")
    )


def _attention(found: Status) -> list[Text]:
    lines = []
    for number, one in enumerate(found.attention[:_ATTENTION_MAX], start=1):
        lines += _wrapped(f"{number}. ", one.what, "bold")
        lines += _wrapped("   means: ", one.means)
        lines += _wrapped("   do:    ", one.do, "cyan")
    more = len(found.attention) - _ATTENTION_MAX
    return [*lines, *([Text(f"and {more} more: radmeter doctor --quick")] if more > 0 else [])]


def _parts(found: Status) -> list[tuple[str, str]]:
    return [
        ("database", found.database),
        ("processes", _processes(found)),
        ("received", f"{found.studies_in_hour} studies, {found.instances_in_hour} images in the last hour"),
        *_queues(found),
        ("today", _counts(found.today) or "no studies"),
        ("refused", _counts(found.refusals) or "none today"),
        ("deliveries", _deliveries(found)),
        ("heartbeat", _heartbeat(found)),
        ("disk", f"{_size(found.free_bytes)} of {_size(found.size_bytes)} free"),
        ("certificate", _certificate(found)),
        (
            "security",
            f"{found.security_alerts} alerts in a day, {found.instances_aside} instances kept aside",
        ),
        *_unbilled(found),
    ]


def _processes(found: Status) -> str:
    alive = Counter(one.role for one in found.nodes if not one.is_silent)
    silent = sum(one.is_silent for one in found.nodes)
    hosts = len({one.host for one in found.nodes})
    words = ", ".join(f"{count} {role}" for role, count in sorted(alive.items())) or "none"
    return f"{words} on {hosts} machine{'' if hosts == 1 else 's'}" + (f"; {silent} SILENT" if silent else "")


def _queues(found: Status) -> list[tuple[str, str]]:
    parts = []
    for row in found.queues:
        oldest = f", oldest {_duration(row['oldest_s'])}" if row["oldest_s"] else ""
        failed = f", {row['failed']} GIVEN UP" if row["failed"] else ""
        words = (
            f"{row['queue']}: {row['due']} due{oldest}, {row['doing']} running, {row['later']} later{failed}"
        )
        parts.append(("queue", words))
    return parts or [("queue", "empty")]


def _deliveries(found: Status) -> str:
    counts = {row["state"]: row["objects"] for row in found.deliveries}
    last = max((row["last_at"] for row in found.deliveries if row["last_at"]), default=None)
    taken = counts.get("acknowledged", 0) + counts.get("confirmed", 0)
    given_up = counts.get("refused", 0) + counts.get("dead", 0)
    words = f"{taken} objects in a day, {counts.get('waiting', 0)} waiting"
    words += f", {given_up} GIVEN UP" if given_up else ""
    return words + (f", last {last:%H:%M:%S}" if last else "")


def _heartbeat(found: Status) -> str:
    pulse = found.pulse
    if pulse is None or not pulse.is_installed:
        return "not installed: radmeter heartbeat install"
    every = f"every {found.heartbeat_minutes} min" if found.heartbeat_minutes else "by hand"
    if pulse.stage is not None:
        return f"FAILED at {pulse.stage}, {every}"
    if pulse.last_success_at is None:
        return f"none was well yet, {every}"
    ago = _duration(round((found.at - pulse.last_success_at).total_seconds()))
    return f"well {ago} ago in {pulse.seconds:.1f} s, {every}"


def _certificate(found: Status) -> str:
    return (
        f"ends in {found.certificate_days} days"
        if found.certificate_days is not None
        else "none: no DICOM by TLS"
    )


def _unbilled(found: Status) -> list[tuple[str, str]]:
    more = len(found.unbilled) - _UNBILLED_MAX
    shown = [("unbilled", words) for words in found.unbilled[:_UNBILLED_MAX]]
    return [*shown, *([("", f"and {more} more: radmeter ledger outstanding")] if more > 0 else [])]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _size(count: int) -> str:
    return f"{count / (1 << 40):.1f} TiB" if count >= 1 << 40 else f"{count / (1 << 30):.0f} GiB"


def _duration(seconds: int) -> str:
    if seconds < 120:
        return f"{max(0, seconds)} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _labelled(label: str, words: str) -> list[Text]:
    return _wrapped(f"{label:<{_LABEL}}", words)


def _wrapped(first: str, words: str, style: str = "") -> list[Text]:
    pieces = textwrap.wrap(words, WIDTH - len(first), break_long_words=True) or [""]
    return [
        Text.assemble(first if number == 0 else " " * len(first), (piece, style))
        for number, piece in enumerate(pieces)
    ]
