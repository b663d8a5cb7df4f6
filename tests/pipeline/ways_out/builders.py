"""What is told in tests: a result with two nodules, one without, a radiograph, a refusal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pipeline.destinations import DestinationRecord
from pipeline.report_prior import PriorRow
from pipeline.report_view import (
    FindingRow,
    RadiographRead,
    ReportModel,
    ReportState,
    ReportView,
    SeriesRead,
    StatementRow,
)
from pipeline.ways_out.told import Told
from study.review import Review, ReviewState

AT = datetime(2026, 11, 26, 12, 0, 5, tzinfo=UTC)
NODULES = (
    FindingRow(
        1, "nodule", 0.91, 12.4, 9.6, 11.0, 691.5, 97, "1.2.3.1.97", lobe="left upper lobe", kind="part_solid",
        prior=PriorRow("matched", 8.0, 260.0, "grown", 166.0, (90.0, 270.0), 180.0, (120.0, 300.0)), category="4A",
        solid_part_mm=6.2,
    ),
    FindingRow(2, "nodule", 0.55, 5.1, 4.9, 5.0, 65.4, 40, "1.2.3.1.40"),
)  # fmt: skip
VIEW = ReportView(
    state=ReportState.FINDINGS,
    review=Review(ReviewState.NOT_REVIEWED),
    patient_name="Yamada^Tarou=山田^太郎",
    patient_id="P-42",
    patient_birth_date="19580312",
    patient_sex="M",
    patient_age="068Y",
    accession_number="A-1",
    study_date="20261120",
    study_time="081500",
    study_description="CT chest",
    institution="Hospital",
    created_at=AT,
    job_id="study",
    revision=1,
    model=ReportModel(
        "lung_nodule_ct", "0.1.0", "Lung nodules on CT", "radmeter", "ab" * 32, "Not cleared for clinical use.",
        "Demonstration.", 0.5,
    ),
    series=SeriesRead("lung", 3, 120, 1.0, 1.0),
    findings=NODULES,
)  # fmt: skip
NEGATIVE = replace(VIEW, state=ReportState.NO_FINDING, findings=())
RADIOGRAPH = replace(
    VIEW,
    series=None,
    findings=(),
    radiograph=RadiographRead("PA", 1, "PA", 2000, 2000, 12),
    statements=(
        StatementRow(1, "pneumothorax", 0.91, 0.5, is_positive=True),
        StatementRow(2, "cardiomegaly", 0.1, 0.5, is_positive=False),
    ),
)


def told(**changes: Any) -> Told:
    """What the encode step tells of `VIEW`."""
    values: dict[str, Any] = {
        "message_uid": "2.25.1234567890",
        "event": "result",
        "at": AT,
        "study_id": "6a0f1d1e-0000-4000-8000-000000000001",
        "revision": 1,
        "product": "lung_nodule_ct",
        "study_instance_uid": "1.2.3",
        "accession_number": "A-1",
        "patient_id": "P-42",
        "patient_name": VIEW.patient_name,
        "patient_birth_date": "19580312",
        "patient_sex": "M",
        "study_date": "20261120",
        "study_time": "081500",
        "study_description": "CT chest",
        "report": VIEW,
    }
    return Told(**values | changes)


def destination(kind: str, **changes: Any) -> DestinationRecord:
    """A destination on this machine, which it is allowed to be."""
    values: dict[str, Any] = {
        "tenant": "alpha", "name": "other", "allow_plain_http": True, "private_hosts": ("127.0.0.1", "localhost"),
        "response_timeout_s": 5.0,
    }  # fmt: skip
    return DestinationRecord(kind=kind, **values | changes)


HOSTILE_TEXTS = (
    "<script>alert(1)</script>&amp;",
    "a|b^c&d~e\\f",
    "PID\rOBX|1|ST|evil\r\n\x0b\x1c\r",
    "\u202egnp.exe\u2066\u200f",
    "\ud800\udfff\x00\x07",
    "長" * 65_536,
    "a" * 65_536,
    "DROP TABLE',$|\\,%00../",
)


DOCUMENTED = told(
    report=replace(VIEW, findings=NODULES[:1]),
    report_url="https://radmeter.hospital.test/studies/6a0f1d1e-0000-4000-8000-000000000001",
)
"""What the examples of docs/ways_out.md tell."""
