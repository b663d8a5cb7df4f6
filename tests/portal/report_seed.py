"""A small report made of given texts."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.report_view import (
    FindingRow,
    KeyImage,
    ReportModel,
    ReportState,
    ReportView,
    SeriesRead,
)
from study.review import Review, ReviewState

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)


def small_report(study_id: str, patient_name: str = "DOE^JANE", text: str = "plain") -> ReportView:
    """A report with one finding and one picture, every text of it from outside."""
    return ReportView(
        state=ReportState.FINDINGS,
        review=Review(ReviewState.NOT_REVIEWED),
        patient_name=patient_name,
        patient_id=text,
        patient_birth_date="19580312",
        patient_sex="F",
        patient_age="068Y",
        accession_number=text,
        study_date="20261120",
        study_time="081500",
        study_description=text,
        institution=text,
        created_at=datetime.now(UTC),
        job_id=study_id,
        revision=1,
        model=ReportModel("lung_nodule_ct", "1.0.0", text, text, "ab" * 32, text, text, 0.5),
        series=SeriesRead(text, 3, 120, 2.0, 2.0, text, text),
        input_notes=(text,),
        findings=(FindingRow(1, text, 0.9, 8.1, 6.5, 7.3, 278.0, 97, "1.2.3"),),
        key_images=(KeyImage("finding-1-overview.png", PNG, text, 1, "overview", 1, 1),),
    )
