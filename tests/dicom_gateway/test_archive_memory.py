"""Whether an archive has a study before it sends it, or passes on what it has just got."""

from __future__ import annotations

import pytest

from dicom_gateway.archive_memory import ArchiveMemory, archive_fills


def test_a_count_that_goes_up_or_a_series_that_appears_is_growth() -> None:
    first = ArchiveMemory().after({"1.2": 3})
    assert not first.grew
    assert not first.after({"1.2": 3}).grew
    assert first.after({"1.2": 4}).grew
    assert first.after({"1.2": 3, "1.3": 1}).grew


def test_once_grown_is_grown_and_a_smaller_count_is_no_growth() -> None:
    grown = ArchiveMemory().after({"1.2": 3}).after({"1.2": 4})
    assert grown.after({"1.2": 4}).grew
    assert not ArchiveMemory().after({"1.2": 3}).after({"1.2": 2}).grew


@pytest.mark.parametrize(
    ("grew", "fills"),
    [([], True), ([False] * 9, True), ([False] * 10, False), ([True] * 2 + [False] * 38, False),
     ([True] * 3 + [False] * 37, True)],
)  # fmt: skip
def test_it_is_trusted_when_enough_studies_have_shown_that_it_does_not_grow(
    grew: list[bool], fills: bool
) -> None:
    assert archive_fills(grew) is fills
