"""Studies and rule documents for the tests of routing rules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pipeline.rule_document import read_rules
from pipeline.rule_keywords import Arrival
from pipeline.rules import RuleSet
from study.study import Instance, Patient, Series, Study

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
MONDAY_NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ARRIVAL = Arrival("CT1", "RADMETER", MONDAY_NOON)


def ct_series(
    number: int = 1, *, slices: int = 30, thickness_mm: float | None = 1.0, **changes: Any
) -> Series:
    """An axial chest CT."""
    instances = tuple(
        Instance(
            f"1.2.{number}.{index}",
            "1.2.840.10008.5.1.4.1.1.2",
            "1.2.840.10008.1.2.1",
            location=f"{number}/{index}",
            image_type=changes.get("image_type", ("ORIGINAL", "PRIMARY", "AXIAL")),
            rows=512,
            columns=512,
            number_of_frames=1,
            image_orientation=AXIAL,
            slice_thickness_mm=thickness_mm,
        )
        for index in range(1, slices + 1)
    )
    values = {"description": "Thorax lung", "body_part_examined": "CHEST", "series_number": number}
    values |= {name: value for name, value in changes.items() if name != "image_type"}
    return Series(f"1.2.{number}", values.pop("modality", "CT"), instances, **values)


def ct_study(*series: Series, **changes: Any) -> Study:
    values: dict[str, Any] = {
        "description": "CT Chest",
        "patient": Patient(patient_id="P-1", age="061Y", sex="F"),
        "study_date": "20261123",
        "institution": "Example Hospital",
    }
    return Study("1.2", series or (ct_series(),), **{**values, **changes})


def rules(text: str) -> RuleSet:
    """A document of rules from the text of its list."""
    return read_rules("rules:\n" + text)
