"""The few forms of Markdown that model cards use, as values for a template. Never as HTML text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

Spans = tuple[tuple[str, str], ...]
"""(kind, text) pairs; kind is text, strong or code."""

_SPAN = re.compile(r"\*\*(?P<strong>[^*]+)\*\*|`(?P<code>[^`]+)`|\[(?P<link>[^\]]*)\]\([^)]*\)")
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*$")
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+(.*)")
_RULE_OF_TABLE = re.compile(r"\|?[\s:|-]+\|[\s:|-]*")


@dataclass(frozen=True)
class Block:
    """One piece of a page.

    kind: heading, paragraph, list, table or code. level: of a heading, from 1. rows: cells of a table, the
    header first; of the others one row whose cells are the items or the one text.
    """

    kind: str
    rows: tuple[tuple[Spans, ...], ...]
    level: int = 0


def blocks(text: str) -> list[Block]:
    """The blocks of a Markdown text, in order."""
    return list(_blocks(text.splitlines()))


def _blocks(lines: list[str]) -> Iterator[Block]:
    at = 0
    while at < len(lines):
        line = lines[at]
        heading = _HEADING.match(line)
        if not line.strip():
            at += 1
        elif line.startswith("```"):
            end = next((i for i in range(at + 1, len(lines)) if lines[i].startswith("```")), len(lines))
            yield Block("code", (((("text", "\n".join(lines[at + 1 : end])),),),))
            at = end + 1
        elif heading:
            yield Block("heading", ((_spans(heading[2]),),), len(heading[1]))
            at += 1
        elif "|" in line and at + 1 < len(lines) and _RULE_OF_TABLE.fullmatch(lines[at + 1].strip()):
            end = next((i for i in range(at, len(lines)) if "|" not in lines[i]), len(lines))
            yield Block("table", tuple(_cells(row) for row in [line, *lines[at + 2 : end]]))
            at = end
        else:
            end = next((i for i in range(at + 1, len(lines)) if _starts_anew(lines, i)), len(lines))
            yield _text_block(lines[at:end])
            at = end


def _starts_anew(lines: list[str], at: int) -> bool:
    line = lines[at]
    opens_list = _ITEM.match(line) and not _ITEM.match(lines[at - 1]) and not lines[at - 1].startswith(" ")
    return not line.strip() or bool(_HEADING.match(line)) or line.startswith("```") or bool(opens_list)


def _text_block(lines: list[str]) -> Block:
    """A list if it opens with an item, else a paragraph; lines that follow an item belong to it."""
    if not _ITEM.match(lines[0]):
        return Block("paragraph", ((_spans(" ".join(line.strip() for line in lines)),),))
    items: list[str] = []
    for line in lines:
        item = _ITEM.match(line)
        if item:
            items.append(item[1])
        else:
            items[-1] += " " + line.strip()
    return Block("list", (tuple(_spans(item) for item in items),))


def _cells(line: str) -> tuple[Spans, ...]:
    return tuple(_spans(cell.strip()) for cell in line.strip().strip("|").split("|"))


def _spans(text: str) -> Spans:
    """Text with its strong and code parts; of a link its words stay."""
    found: list[tuple[str, str]] = []
    at = 0
    for match in _SPAN.finditer(text):
        found.append(("text", text[at : match.start()]))
        kind = match.lastgroup or "text"
        found.append(("text" if kind == "link" else kind, match[kind]))
        at = match.end()
    found.append(("text", text[at:]))
    return tuple(span for span in found if span[1])
