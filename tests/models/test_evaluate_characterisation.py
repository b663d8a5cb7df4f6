"""The command that measures characterisation: its record, and that its numbers are those of the nodules."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from models.lung_nodule_ct import evaluate_characterisation as evaluation
from study.nodule import NoduleKind


def test_the_record_holds_errors_by_kind_size_slice_and_place_and_the_repeatability(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(evaluation, "SIZES_MM", (8.0,))
    monkeypatch.setattr(evaluation, "SLICES_MM", (1.0,))
    monkeypatch.setattr(evaluation, "SCANS", 2)
    monkeypatch.setattr(sys, "argv", ["evaluate", "--out", str(tmp_path / "c.json"), "--repeats", "1"])
    evaluation.main()
    record = json.loads((tmp_path / "c.json").read_text())
    assert record["nodules"] == 12
    assert set(record["by_kind"]) == {kind.value for kind in NoduleKind}
    assert record["by_kind"]["solid"]["kind_right"] == 1.0
    assert abs(record["by_kind"]["solid"]["volume_error_percent_median"]) < 25
    assert sum(sum(row.values()) for row in record["kind_confusion"].values()) == 12
    assert [one["slice_mm"] for one in record["repeatability"]] == [1.0, 2.5, 5.0]
    assert all(one["measured"] >= 0 for one in record["repeatability"])


def test_a_nodule_of_a_seed_is_measured_alike_every_time() -> None:
    one, other = (evaluation.measure(40_000, NoduleKind.SOLID, 8.0, 1.0, "free") for _ in range(2))
    assert one.finding.as_json() == other.finding.as_json()
    assert one.finding.volume_mm3 == pytest.approx(one.phantom.truth.volume_mm3, rel=0.2)
