"""The bars of completeness on made-up arrivals; `make bench ARGS=traces` runs more of them and compares with others."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.traces import run


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    return run(seed=7, studies_per_sender=40)


def test_no_study_is_started_early_when_a_list_knows_everything(figures: dict[str, Any]) -> None:
    with_list = figures["radmeter, a list names everything"]
    assert with_list["early_starts"] == 0
    assert with_list["jobs_per_study"] == 1
    assert with_list["wait_median_s"] < 15
    for knowledge in ("mpps", "mpps lists more", "counts", "both"):
        assert figures[f"known: {knowledge}"]["radmeter"]["wait_median_s"] < 5


@pytest.mark.parametrize(
    ("knowledge", "wait_max_s"),
    [
        ("nothing", 30),
        ("mpps lists less", 60),
        ("counts of a filling archive", 60),
    ],
)
def test_what_no_list_can_tell_is_learned_from_the_sender(
    figures: dict[str, Any], knowledge: str, wait_max_s: float
) -> None:
    """A fixed minute is too early for one study in six; lists that are no end only lengthen the first waits."""
    ours, orthanc = (figures[f"known: {knowledge}"][name] for name in ("radmeter", "Orthanc (60 s)"))
    assert ours["early_starts_percent"] < 3
    assert ours["early_starts"] * 5 < orthanc["early_starts"]
    assert ours["wait_median_s"] < wait_max_s


def test_the_rules_of_others_do_what_is_known_of_them(figures: dict[str, Any]) -> None:
    """MONAI splits studies, mercure waits a quarter of an hour, an association is not a study."""
    known = figures["known: nothing"]
    assert known["MONAI (5 s)"]["early_starts_percent"] > 40
    assert known["mercure (60 s + 900 s)"]["wait_median_s"] == pytest.approx(960)
    assert known["InnerEye (association)"]["jobs_per_study"] > 2


def test_the_same_seed_gives_the_same_figures() -> None:
    assert run(seed=3, studies_per_sender=2) == run(seed=3, studies_per_sender=2)
