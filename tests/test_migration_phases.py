"""Two versions of the code work on one schema while an upgrade rolls through: every migration says what it does to the
older one (docs/upgrades.md)."""

from __future__ import annotations

import re

import pytest

from pipeline.schema_state import migration_files, phase_of

# Released before there was more than one machine: their phases are not written down.
_FIRST_WITH_A_PHASE = {"pipeline": 600, "billing": 90}
# What breaks statements of code that was written before.
_TAKES_AWAY = re.compile(
    r"\bDROP\s+(TABLE|COLUMN|VIEW|MATERIALIZED\s+VIEW|TYPE)\b|\bRENAME\b|\bSET\s+NOT\s+NULL\b|\bALTER\s+(COLUMN\s+)?\w+\s+(SET\s+DATA\s+)?TYPE\b"
    r"|\bADD\s+COLUMN\s+(?:IF\s+NOT\s+EXISTS\s+)?\w+\s+(?!.*\bDEFAULT\b)[^,;]*\bNOT\s+NULL\b",
    re.IGNORECASE,
)
HOW = "write a line `-- phase: expand` or `-- phase: contract after <migration>` below `-- depends:`; docs/upgrades.md"
MARKED = [
    name
    for name in migration_files()
    if int(re.findall(r"\d{4}", name)[0]) >= _FIRST_WITH_A_PHASE[name.split("-")[0]]
]


def code_of(name: str) -> str:
    return re.sub(r"(--|#).*", "", migration_files()[name].read_text())


@pytest.mark.parametrize("name", MARKED)
def test_a_migration_says_whether_it_adds_or_takes_away(name: str) -> None:
    phase = phase_of(migration_files()[name])
    assert phase is not None, HOW
    assert (phase.after is not None) == (phase.name == "contract"), HOW
    if phase.name == "expand":
        found = _TAKES_AWAY.search(code_of(name))
        assert found is None, f"{found and found[0]!r} breaks the version before: that is for a contract"
    else:
        assert phase.after in migration_files(), "it names no migration"


@pytest.mark.parametrize(
    ("sql", "breaks"),
    [
        ("ALTER TABLE study ADD COLUMN note text NOT NULL DEFAULT '';", False),
        ("ALTER TABLE study ADD COLUMN note text;", False),
        ("ALTER TABLE study ADD COLUMN note text NOT NULL;", True),
        ("ALTER TABLE study DROP COLUMN note;", True),
        ("ALTER TABLE study ALTER COLUMN note SET NOT NULL;", True),
        ("ALTER TABLE study ALTER COLUMN note TYPE bigint;", True),
        ("ALTER TABLE study RENAME COLUMN note TO remark;", True),
        ("ALTER TABLE study DROP CONSTRAINT note_check;", False),
        ("CREATE TABLE note (id int NOT NULL);", False),
    ],
)
def test_the_law_knows_what_breaks_older_code(sql: str, breaks: bool) -> None:
    assert bool(_TAKES_AWAY.search(sql)) is breaks
