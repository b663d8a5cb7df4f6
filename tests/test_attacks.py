"""docs/attacks.md and docs/decoding.md name the tests that show what happens: all of them exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROWS_TEST = "test_the_rows_are_numbered_without_a_gap_and_each_names_a_test"
TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "docs" / "attacks.md").read_text(encoding="utf-8")
DECODING = (TESTS.parent / "docs" / "decoding.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]


def named(text: str) -> list[tuple[str, str, bool]]:
    """(file below tests, test or empty, whether it says that it is a soak) of each test that a text names."""
    found = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`( \(soak\))?", text)
    return [(file, test, bool(soak)) for file, test, soak in found]


def problem_of(file: str, test: str, is_soak: bool) -> str:
    """Empty where the test is there and runs where the page says."""
    if not (TESTS / file).is_file():
        return f"there is no tests/{file}"
    text = (TESTS / file).read_text(encoding="utf-8")
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    found = [node for node in nodes if node.name == test]
    if test and not found:
        return f"there is no {test} in tests/{file}"
    marks = [ast.unparse(one) for node in found for one in node.decorator_list]
    runs_in_soak = "pytest.mark.soak" in marks or "\npytestmark = pytest.mark.soak\n" in text
    return (
        f"{test} {'runs' if runs_in_soak else 'does not run'} in make soak" if runs_in_soak != is_soak else ""
    )


def test_the_rows_are_numbered_without_a_gap_and_each_names_a_test() -> None:
    assert [int(row.split("|")[1]) for row in ROWS] == list(range(1, 55))
    assert [row for row in ROWS if not any(test.startswith("test_") for _, test, _ in named(row))] == []
    assert [row for row in ROWS if row.count(" | ") != 4] == [], "a row has five cells"


def test_each_test_that_a_page_names_exists() -> None:
    attacks, series = named(PAGE), named(DECODING.split("## Odd series")[1].split("\n## ")[0])
    assert len(attacks) > 100
    assert len(series) > 20
    assert [problem for one in (*attacks, *series) if (problem := problem_of(*one))] == []


def test_what_is_wrong_with_a_name_is_told() -> None:
    assert problem_of("nothing.py", "", is_soak=False) == "there is no tests/nothing.py"
    assert "there is no test_x" in problem_of("test_attacks.py", "test_x", is_soak=False)
    assert "does not run in make soak" in problem_of("test_attacks.py", ROWS_TEST, is_soak=True)
    assert problem_of("test_attacks.py", ROWS_TEST, is_soak=False) == ""
