"""What the API answers, field by field; OpenAPI is made from these."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from billing.contracts.store import RecordedUsage
from billing.statements import statement_record
from billing.statements.statement_record import Statement


class Problem(BaseModel):
    """Why a request was not answered."""

    code: str = Field(description="for programs")
    message: str = Field(description="for people: what is wrong and what to do")
    limit: str | None = Field(default=None, description="of the contract, where it refuses the call")
    opens_at: datetime | None = Field(
        default=None, description="when that limit begins anew; null: not by itself"
    )


class ProblemAnswer(BaseModel):
    """Every answer with a status of 400 or more."""

    error: Problem


LIMITED: dict[int | str, dict[str, Any]] = {
    402: {
        "model": ProblemAnswer,
        "description": "Code `quota_used_up`: a quota, budget or package of the contract is used up; `Retry-After` "
        "where it begins anew by itself",
    },
    429: {
        "model": ProblemAnswer,
        "description": "Code `too_many_requests`: more a minute, or at once, than the key may make; `Retry-After`",
    },
}


class Reason(BaseModel):
    """Why a study has no result."""

    code: str
    text: str


class StudySummary(BaseModel):
    """One study. Patient data: `header` holds values of the source's DICOM headers."""

    id: UUID = Field(description="our opaque study id, used in every address")
    study_instance_uid: str
    status: str = Field(
        description="receiving, assembled, routed, decoded, inferred, encoded, delivered, rejected or failed"
    )
    revision: int = Field(description="goes up when late instances make the study run again")
    reason: Reason | None = Field(description="only for rejected and failed studies")
    ae_title: str = Field(description="who sent it")
    header: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class StudyList(BaseModel):
    """Studies, newest first. Pass `next_before` as `before` for the next page; null at the end."""

    studies: list[StudySummary]
    next_before: datetime | None


class StudySearch(BaseModel):
    """Search text travels in the body: it names patients, and addresses end up in logs."""

    text: str = Field(
        max_length=100, description="part of name, patient id, accession number, description or study id"
    )
    limit: int = Field(default=50, ge=1, le=500)


class StudyEvent(BaseModel):
    """One line of a study's timeline."""

    at: datetime
    event: str
    revision: int
    duration_ms: int | None
    detail: dict[str, Any]


class ModelIdentity(BaseModel):
    """Which model made a result."""

    name: str
    version: str
    weights_sha256: str


class ResultObject(BaseModel):
    """One DICOM object of a result on its way to one destination, all null where no destination takes it."""

    kind: str = Field(description="SR, SEG, PM, KEYS, PDF, SC, KOS, GSPS, SR2D or TEXT")
    sop_instance_uid: str
    destination: str | None
    required: bool | None = Field(description="the study is delivered only when this one has acknowledged")
    state: str | None = Field(
        description="waiting, acknowledged, confirmed, refused, replaced (refused, another one stands there) or dead"
    )
    replaced_by: str | None = Field(
        description="kind of the object that stands there instead of a refused one"
    )
    attempts: int | None
    dicom_status: int | None = Field(description="status of the last answer for it (PS3.4 table B.2-1)")
    last_error: str | None
    acknowledged_at: datetime | None
    confirmed_at: datetime | None


class Result(BaseModel):
    """What one model said about one revision of a study. Not reviewed by a physician."""

    product: str
    revision: int
    model: ModelIdentity
    findings: list[dict[str, Any]] = Field(
        description="points are patient LPS in mm; lengths in mm, volumes in mm³, density in HU"
    )
    statements: list[dict[str, Any]] = Field(
        description="what is said of the whole image: code, probability and threshold in [0, 1], whether it is positive"
    )
    structures: list[dict[str, Any]] = Field(description="what was outlined: code, volume in ml, mean in HU")
    notes: list[str] = Field(
        description="what must be known to read this result, of the images, the patient and the comparison; in English"
    )
    timing_s: dict[str, float]
    created_at: datetime
    objects: list[ResultObject]


class StudyResult(BaseModel):
    """status: `completed`, `in_progress`, `rejected` or `failed`; results are of the present revision."""

    study_id: UUID
    study_instance_uid: str
    status: str
    reason: Reason | None
    results: list[Result]


class Usage(BaseModel):
    """A usage event and its current decision."""

    sequence: int
    source: str
    event_id: str
    kind: str = Field(description="result_delivered, seen_again, refused, failed, usage, outcome or void")
    product: str
    meter: str
    quantity: str = Field(description="exact decimal number as text")
    amount_minor: int | None = Field(description="carried amount in minor units of amount_currency")
    amount_currency: str | None
    occurred_at: datetime
    study_id: str
    case_key: str
    outcome: str = Field(description="billable, not_billable or quarantined")
    reason_code: str
    explanation: str
    contract_id: int | None
    statement_id: int | None

    @classmethod
    def of(cls, row: RecordedUsage) -> Usage:
        event, decision = row.event, row.decision
        return cls(
            sequence=row.ingest_sequence,
            source=event.source,
            event_id=event.event_id,
            kind=str(event.kind),
            product=event.product,
            meter=event.meter,
            quantity=f"{event.quantity:f}",
            amount_minor=event.amount_minor,
            amount_currency=event.amount_currency,
            occurred_at=event.occurred_at,
            study_id=event.study_ref,
            case_key=event.case_key,
            outcome=decision.outcome.value,
            reason_code=decision.reason_code.value,
            explanation=decision.explanation,
            contract_id=decision.contract_id,
            statement_id=row.statement_id,
        )


class UsageList(BaseModel):
    """Usage, latest first. Pass `next_before` as `before` for the next page; null at the end."""

    usage: list[Usage]
    next_before: int | None


class StatementSummary(BaseModel):
    """An issued statement. Amounts are integer minor units of `currency` (ISO 4217)."""

    statement_id: int
    number: str
    contract: str
    period_start: date = Field(description="first local day")
    period_end: date = Field(description="the local day after the last")
    currency: str
    subtotal_minor: int
    tax_minor: int
    total_minor: int
    issued_at: datetime
    due_on: date

    @classmethod
    def of(cls, statement: Statement) -> StatementSummary:
        assert statement.statement_id is not None
        assert statement.number is not None
        assert statement.issued_at is not None
        assert statement.due_on is not None
        return cls(
            statement_id=statement.statement_id,
            number=statement.number,
            contract=statement.contract_name,
            period_start=statement.period.starts_on,
            period_end=statement.period.ends_on,
            currency=statement.currency,
            subtotal_minor=statement.subtotal.amount_minor,
            tax_minor=statement.tax.amount_minor,
            total_minor=statement.total.amount_minor,
            issued_at=statement.issued_at,
            due_on=statement.due_on,
        )


class StatementDocument(StatementSummary):
    """An issued statement with its lines, as it was issued."""

    document: dict[str, Any] = Field(description="the statement's canonical record")

    @classmethod
    def of(cls, statement: Statement) -> StatementDocument:
        summary = StatementSummary.of(statement)
        return cls(**summary.model_dump(), document=json.loads(statement_record.to_text(statement)))
