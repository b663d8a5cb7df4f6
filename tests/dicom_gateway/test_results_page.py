"""docs/results.md names every code and template that results use."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.sr.coding import Code

from dicom_gateway import result_codes
from dicom_gateway.encode_sr import encode_sr
from tests.result_builders import synthetic_result

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
CODES = {name: value for name, value in vars(result_codes).items() if isinstance(value, Code)}


@pytest.mark.parametrize("code", CODES.values(), ids=CODES.keys())
def test_every_code_stands_on_the_page(code: Code) -> None:
    assert f"| {code.value} | {code.scheme_designator} | {code.meaning} |" in PAGE


def test_no_code_stands_on_the_page_that_results_do_not_use() -> None:
    table = PAGE.split("## Codes")[1].split("## SEG")[0]
    listed = [
        line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")
    ][1:]
    assert sorted(listed) == sorted(code.value for code in CODES.values())


def test_the_templates_of_a_real_document_stand_on_the_page() -> None:
    used = {
        str(item.ContentTemplateSequence[0].TemplateIdentifier)
        for item in _containers(encode_sr(synthetic_result()))
        if "ContentTemplateSequence" in item
    }
    assert used == {"1500", "1410", "1411"}
    assert all(f"TID {identifier}" in PAGE for identifier in used)


def test_the_example_of_a_series_description_is_the_real_one() -> None:
    assert f"`{synthetic_result().series_description('SR')}`" in PAGE


def _containers(item: object) -> list[object]:
    children = item.get("ContentSequence", [])  # type: ignore[attr-defined]
    return [item, *(one for child in children for one in _containers(child))]
