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
    assert figures["known: counts of a filling archive"]["radmeter"]["early_starts"] == 0


def test_without_lists_it_is_sooner_and_less_often_too_early_than_a_fixed_minute(
    figures: dict[str, Any],
) -> None:
    ours, orthanc = (figures["known: nothing"][name] for name in ("radmeter", "Orthanc (60 s)"))
    assert ours["wait_median_s"] < orthanc["wait_median_s"] == 60
    assert ours["early_starts"] < orthanc["early_starts"]


def test_the_rules_of_others_do_what_is_known_of_them(figures: dict[str, Any]) -> None:
    """MONAI splits studies, mercure waits a quarter of an hour, an association is not a study."""
    known = figures["known: nothing"]
    assert known["MONAI (5 s)"]["early_starts_percent"] > 40
    assert known["mercure (60 s + 900 s)"]["wait_median_s"] == pytest.approx(960)
    assert known["InnerEye (association)"]["jobs_per_study"] > 2


def test_the_same_seed_gives_the_same_figures() -> None:
    assert run(seed=3, studies_per_sender=2) == run(seed=3, studies_per_sender=2)
