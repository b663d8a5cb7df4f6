"""Told: what is told of a study, frozen when it happened; each way out puts it into its own form when it sends."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.report_view import ReportView

# Names UIDs under 2.25 (PS3.5 section B.2); drawn once.
_NAMESPACE = uuid.UUID("d0c4bb5d-6a1e-4c0b-9b5f-5a6b3f1c2e88")


@dataclass(frozen=True)
class Told:
    """One message to the programs and people that are no PACS.

    message_uid: its own, the same in every attempt. event: see `destinations.EVENTS`.
    at: aware; when it happened. report: what is told of a result; None where there is none, or none may be told.
    patient_id … study_description: as the study's header has them; empty in what must not name the patient.
    codes: label of a statement or structure → value, scheme and meaning of its code.
    reviewer, reviewed_at: who finished the review and when; empty before. rejected: numbers of the findings that
    this person does not share. edits: number as text → mean diameter in mm and type that the person gave instead.
    missed: label, mean diameter and type of each finding that the person added.
    was_final: an earlier revision was reviewed, so this one corrects what people may have acted on.
    replaced_findings: how many findings the revision before had told under numbers from 1.
    reason: code and sentence of a study that was refused or failed.
    report_url: the page of the portal, empty where the portal's address is not set. pdf: its file, beside this one.
    """

    message_uid: str
    event: str
    at: datetime
    study_id: str
    revision: int
    product: str = ""
    study_instance_uid: str = ""
    accession_number: str = ""
    patient_id: str = ""
    patient_name: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    study_date: str = ""
    study_time: str = ""
    study_description: str = ""
    language: str = "en"
    reason_code: str = ""
    reason_text: str = ""
    report_url: str = ""
    pdf: str = ""
    codes: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    reviewer: str = ""
    reviewed_at: str = ""
    rejected: tuple[int, ...] = ()
    edits: dict[str, tuple[float | None, str | None]] = field(default_factory=dict)
    missed: tuple[tuple[str, float | None, str | None], ...] = ()
    was_final: bool = False
    replaced_findings: int = 0
    report: ReportView | None = None

    @property
    def status(self) -> str:
        """DiagnosticReport.status (FHIR R4): a result that a person has reviewed is final, until then preliminary."""
        if self.report is None:
            return "cancelled"
        if self.reviewer:
            return "corrected" if self.was_final else "final"
        return "amended" if self.was_final else "preliminary"

    def as_json(self) -> dict[str, Any]:
        record = dict(vars(self))
        record["at"] = self.at.isoformat()
        record["report"] = self.report.as_json() if self.report is not None else None
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Told:
        """The inverse of `as_json`."""
        values = dict(record)
        values["at"] = datetime.fromisoformat(values["at"])
        values["codes"] = {label: tuple(code) for label, code in values["codes"].items()}
        values["rejected"] = tuple(values["rejected"])
        values["edits"] = {number: tuple(edit) for number, edit in values["edits"].items()}
        values["missed"] = tuple(tuple(one) for one in values["missed"])
        values["report"] = ReportView.from_json(values["report"]) if values["report"] else None
        return cls(**values)

    def without_patient(self) -> Told:
        """The same event for those who need not know whose study it is."""
        return replace(
            self, study_instance_uid="", patient_id="", patient_name="", patient_birth_date="", patient_sex="",
            study_date="", study_time="", study_description="", pdf="", report=None, codes={}, reviewer="",
            reviewed_at="", rejected=(), edits={}, missed=(),
        )  # fmt: skip


def message_uid(*parts: object) -> str:
    """A UID of a message, derived from what it tells."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(31).join(map(str, parts))).int}"


def encode_told(told: Told) -> bytes:
    return json.dumps(told.as_json()).encode()


def load_told(path: Path) -> Told:
    """Raises OSError or ValueError for a file that is not one."""
    return Told.from_json(json.loads(path.read_text(encoding="utf-8")))
