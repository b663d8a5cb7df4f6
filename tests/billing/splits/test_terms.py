"""The terms of a split are read exactly, or refused with the line and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from billing.contracts import contract
from billing.errors import ContractError
from billing.splits.terms import Basis, Claim, Payee, PayeeKind, ShareTier

Shared = Callable[[str], str]
EVERYTHING = """
splits:
  - split: app-store
    of: {products: [lung_nodule_ct]}
    basis: billed
    parties:
      - {party: dev-a, tiers: [{up_to: 100, share: 0.60}, {share: 0.70}], guarantee: 500, advance: 1000.00}
      - {party: treasury, share: 0.05, cap: 20}
      - {party: radmeter-imaging, residual: true}
  - split: annotation
    parties: [{pool: annotators, fixed: 0.50}, {party: dev-a, weight: 1}, {party: treasury, weight: 2.5}]
"""


def problems(text: str) -> list[tuple[int, str]]:
    with pytest.raises(ContractError) as caught:
        contract.load(text)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_every_term_is_read(shared: Shared) -> None:
    read = contract.load(shared(EVERYTHING)).splits
    assert [(split.name, split.basis, split.pools) for split in read] == [
        ("app-store", Basis.BILLED, ()),
        ("annotation", Basis.COLLECTED, ("annotators",)),
    ]
    developer, treasury, rest = read[0].claims
    assert developer.payee == Payee(PayeeKind.PARTY, "dev-a")
    assert developer.tiers == (ShareTier(Decimal(100), Decimal("0.60")), ShareTier(None, Decimal("0.70")))
    assert (developer.guarantee, developer.advance, treasury.cap) == (500, 1000, 20)
    assert rest == Claim(Payee(PayeeKind.PARTY, "radmeter-imaging"), weight=Decimal(1))
    assert [claim.weight for claim in read[1].claims] == [0, 1, Decimal("2.5")]


def test_a_contract_without_splits_has_none(per_case: str) -> None:
    read = contract.load(per_case)
    assert (read.splits, read.liability, read.reserve) == ((), (), None)


@pytest.mark.parametrize(
    ("parties", "message"),
    [
        ("{party: dev-a, share: 0.6}, {party: treasury, share: 0.5}", "more than 100 %: 60.0 %, 50.0 %"),
        ("{party: dev-a, share: 0.6}, {party: treasury, share: 0.3}", "leave a rest that nobody takes"),
        ("{party: dev-a, fixed: 0.6}", "leave a rest that nobody takes"),
        ("{party: dev-a, share: 1, cap: 5}", "leave a rest that nobody takes"),
        ("{party: nobody, residual: true}", "`party` is `nobody`, which is not among the contract's parties"),
        ("{party: dev-a, residual: true}, {party: dev-a, share: 0.1}", "names one payee twice"),
        ("{party: dev-a, share: 60}, {party: treasury, residual: true}", "is a fraction: 0.30 for 30 %"),
        ("{party: dev-a, share: -0.1}, {party: treasury, residual: true}", "needs a number of at least 0"),
        ("{party: dev-a}", "needs one of share, tiers, fixed, weight or residual"),
        ("{party: dev-a, share: 1, weight: 1}", "needs one of share, tiers, fixed, weight or residual"),
        ("{party: dev-a, pool: p, weight: 1}", "one of party, pool or publisher"),
        ("{weight: 1}", "one of party, pool or publisher"),
        ("{party: dev-a, weight: 0.000000001}", "needs a number of at least 0.00000001"),
        ("{party: dev-a, weight: 1.000000001}", "at most 8 decimals"),
        ("{party: dev-a, residual: true, cap: 5}", "the rest cannot be capped"),
        ("{pool: p, residual: true, guarantee: 5}", "is promised to a party"),
        ("{party: dev-a, residual: maybe}", "must be one of: true"),
        ("{party: dev-a, tiers: [{up_to: 5, share: 1}]}", "every tier but the last needs up_to"),
        ("{party: dev-a, tiers: [{up_to: 5, share: 1}, {up_to: 5, share: 1}, {share: 1}]}", "must rise"),
        (
            "{publisher: of_line, share: 0.7}, {party: treasury, residual: true}",
            "no rate has `when: {publisher",
        ),
        ("{publisher: dev-a, residual: true}", "must be of_line"),
        ("{party: dev-a, residual: true, bonus: 5}", "`bonus` is not known here"),
    ],
)
def test_what_cannot_be_divided_is_explained_by_its_line(shared: Shared, parties: str, message: str) -> None:
    text = shared(f"splits:\n  - split: s\n    parties: [{parties}]\n")
    found = problems(text)
    assert any(message in problem for _, problem in found), found
    lines = text.splitlines()
    assert all(lines[line - 1].startswith(("  - split: s", "    parties:")) for line, _ in found)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ("splits: []", "needs a list with at least one item"),
        ("splits: [{split: s}]", "`parties` is missing"),
        (
            "splits: [{split: s, of: {products: [mr]}, parties: [{party: dev-a, residual: true}]}]",
            "names `mr`, which has no price",
        ),
        (
            "splits: [{split: s, of: {}, parties: [{party: dev-a, residual: true}]}]",
            "leave `of` away to take from every line",
        ),
        (
            "splits: [{split: s, parties: [{party: dev-a, residual: true}]}, "
            "{split: t, parties: [{party: dev-a, residual: true}]}]",
            "is never reached: `s` above takes from every line",
        ),
        (
            "splits: [{split: s, of: {products: [lung_nodule_ct]}, parties: [{party: dev-a, residual: true}]}, "
            "{split: s, parties: [{party: dev-a, residual: true}]}]",
            "has this name above already",
        ),
        ("liability: {shares: [{party: dev-a, share: 0.3}]}", "must sum to 1"),
        ("liability: {shares: [{party: nobody, share: 1}]}", "not among the contract's parties"),
    ],
)
def test_what_a_split_takes_from_is_checked(shared: Shared, splits: str, message: str) -> None:
    assert any(message in problem for _, problem in problems(shared(splits)))


def test_the_publisher_of_each_rate_is_a_party(shared: Shared) -> None:
    splits = (
        "splits: [{split: s, parties: [{publisher: of_line, share: 0.7}, {party: treasury, residual: true}]}]"
    )
    rate = """  - id: dev-a-ct
    product: lung_nodule_ct
    when: {publisher: dev-a}
    title: {en: a, zh: a}
    unit: {en: case, zh: 例}
    price: {model: per_unit, unit_price: 5}
"""
    text = shared(splits).replace("  - product: lung_nodule_ct\n", rate + "  - product: lung_nodule_ct\n")
    read = contract.load(text)
    assert (read.publisher_of("dev-a-ct"), read.publisher_of("lung_nodule_ct")) == ("dev-a", None)
    for wrong in ("dev-z", "[dev-a, treasury]"):
        found = problems(text.replace("publisher: dev-a", f"publisher: {wrong}"))
        assert "does not name one of the contract's parties" in found[0][1]


def test_what_counts_cases_needs_one_payer(shared: Shared) -> None:
    payers = """payers:
  - copay: {payer: treasury, fraction: 0.3}
    residual: demo-hospital
"""
    fixed = "splits: [{split: s, parties: [{party: dev-a, fixed: 1}, {party: treasury, residual: true}]}]\n"
    reserve = "liability: {shares: [{party: dev-a, share: 1}], reserve_per_case: 0.5}\n"
    assert contract.load(shared(fixed)).splits
    for text in (fixed, reserve):
        found = [message for _, message in problems(shared(text) + payers)]
        assert any("a contract with one payer" in message for message in found), found


def test_what_the_documentation_shows_can_be_read(per_case: str) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/splits.md").read_text(encoding="utf-8")
    shown = [block.split("```")[0] for block in page.split("```yaml\n")[1:]]
    assert len(shown) == 2
    for block in shown:
        text = per_case.replace("demo-hospital", "city-hospital") + block
        read = contract.load(text)
        assert read.splits or read.reserve
