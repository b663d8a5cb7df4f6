"""Text of a sender as messages may hold it."""

from __future__ import annotations

from datetime import date

TEXT_MAX = 250
SENTENCES_MAX = 8_000


def plain(text: str, longest: int = TEXT_MAX) -> str:
    """One line without control, bidirectional and unpaired characters, cut to `longest` characters."""
    line = " ".join(text[: 4 * longest].split())
    return "".join(one for one in line if one.isprintable())[:longest].strip()


def name_groups(text: str) -> list[tuple[str, str]]:
    """(family, given) of each group of a PN (PS3.5 section 6.2.1): alphabetic, ideographic, phonetic; none is empty."""
    groups = []
    for group in text.split("=")[:3]:
        parts = [plain(part, 120) for part in group.split("^")[:3]]
        family, given = parts[0], " ".join(filter(None, parts[1:]))
        if family or given:
            groups.append((family, given))
    return groups


def iso_date(text: str) -> str | None:
    """YYYY-MM-DD of DA text that is a date."""
    try:
        return date.fromisoformat(text.strip()).isoformat() if len(text.strip()) == 8 else None
    except ValueError:
        return None
