"""The page about contracts is true: its examples are contracts, and it names every pricing model and every role."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from billing.contracts import contract, party_terms
from billing.pricing import models

PAGE = (Path(__file__).resolve().parents[2] / "docs/contracts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
WHOLE = BLOCKS[0]


def keys(text: str) -> list[str]:
    return re.findall(r"(?m)^([a-z_]+):", text)


def with_rest_of(text: str) -> str:
    """An example with the keys that it leaves out, from the page's whole contract."""
    sections = re.split(r"(?m)^(?=[a-z_]+:)", WHOLE)
    return text + "".join(one for one in sections if one.split(":")[0] not in keys(text))


@pytest.mark.parametrize("block", BLOCKS, ids=[keys(block)[0] for block in BLOCKS])
def test_an_example_is_a_contract(block: str) -> None:
    assert contract.load(with_rest_of(block))


def test_every_model_and_every_role_is_named() -> None:
    for model in (*models.READERS, models.SUBSCRIPTION):
        assert f"| `{model}` |" in PAGE
    for role in party_terms.ROLES:
        assert re.search(rf"\b{role}\b", PAGE)
