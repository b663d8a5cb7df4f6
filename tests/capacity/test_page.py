"""The page on capacity shows the last run of the simulation, and says where every figure is from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.capacity.report import PAGE, write_page
from benchmarks.capacity.step_times import RESULTS, newest
from benchmarks.capacity.tables import all_of


def test_its_tables_are_those_of_the_newest_result(tmp_path: Path) -> None:
    """`python -m benchmarks capacity` writes both."""
    copy = Path(shutil.copy(PAGE, tmp_path / "capacity.md"))
    write_page(newest(RESULTS, "capacity")[1]["results"]["capacity"], copy)
    assert copy.read_text() == PAGE.read_text()


def test_every_result_that_it_stands_on_is_there() -> None:
    result = newest(RESULTS, "capacity")[1]["results"]["capacity"]
    assert [one["file"] for one in result["sources"] if not (RESULTS / one["file"]).is_file()] == []


def test_a_page_without_a_place_for_a_table_is_refused(tmp_path: Path) -> None:
    result = newest(RESULTS, "capacity")[1]["results"]["capacity"]
    name = next(iter(all_of(result)))
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text().replace(f"<!-- table: {name} -->", ""))
    with pytest.raises(ValueError, match=f"the table {name}"):
        write_page(result, page)
