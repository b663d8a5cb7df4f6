"""ReportView: all that a report page says, as plain values; one for each result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from pipeline.guidelines.of_findings import GuidelineRead
from pipeline.report_prior import PriorRow, ResolvedRow, prior_from_json


class ReportState(StrEnum):
    """What the report is about; each looks different at a glance."""

    FINDINGS = "findings"
    """The model marked at least one place."""
    NO_FINDING = "no_finding"
    """The model ran on the study and marked nothing."""
    MEASURED = "measured"
    """The model outlined structures; it does not look for disease."""
    NOT_ANALYSED = "not_analysed"
    """The input is unfit; no model ran. Not a negative result."""
    FAILED = "failed"
    """A step could not be done; there is no result. Not a negative result."""


class Review(StrEnum):
    """Where a result stands with the people who read it."""

    NOT_REVIEWED = "not_reviewed"
    REVIEWED = "reviewed"
    SUPERSEDED = "superseded"


class Verdict(StrEnum):
    """What a physician said of one finding."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Decision:
    """A physician's verdict on one finding; `at` is text with its zone."""

    finding_id: int
    verdict: Verdict
    reviewer: str
    at: str


@dataclass(frozen=True)
class ReportModel:
    """The model as every page names it."""

    name: str
    version: str
    title: str
    publisher: str
    weights_sha256: str
    clearance_status: str
    intended_use: str
    operating_threshold: float | None = None


@dataclass(frozen=True)
class SeriesRead:
    """The series that the model read. slice_spacing_mm: between slice centres."""

    description: str
    number: int | None
    slice_count: int
    slice_thickness_mm: float | None
    slice_spacing_mm: float
    kernel: str = ""
    manufacturer: str = ""


@dataclass(frozen=True)
class RadiographRead:
    """The one image that the model read. spacing_mm: (row, column), None where the header has none."""

    description: str
    number: int | None
    view_position: str
    rows: int
    columns: int
    bits: int
    spacing_mm: tuple[float, float] | None = None
    manufacturer: str = ""


@dataclass(frozen=True)
class StatementRow:
    """One statement about the whole image. number: from 1, the `finding_id` of its picture."""

    number: int
    label: str
    probability: float
    threshold: float
    is_positive: bool


@dataclass(frozen=True)
class StructureRow:
    """One outlined structure. number: of its segment, from 1. share_percent: of the volume of all."""

    number: int
    label: str
    colour: str
    volume_ml: float
    share_percent: float
    mean_hu: float
    low_attenuation_percent: float | None = None


@dataclass(frozen=True)
class FindingRow:
    """One row of the finding table; None is shown as a dash, never as 0.

    image_number: Instance Number of the measured slice, or the frame number of a multi-frame source;
    the place from below in the volume when the header has neither.
    """

    id: int
    label: str
    score: float
    long_axis_mm: float
    short_axis_mm: float
    mean_diameter_mm: float
    volume_mm3: float
    image_number: int
    slice_sop_instance_uid: str
    lobe: str | None = None
    kind: str | None = None
    prior: PriorRow | None = None
    category: str | None = None
    solid_part_mm: float | None = None
    pleura_distance_mm: float | None = None


@dataclass(frozen=True)
class KeyImage:
    """A picture of one finding on its measured slice. png is empty where only the name is needed.

    kind: "overview" whole slice with a box, "plain" and "overlay" the same cut-out without and with
    the outline. width, height: in pixels.
    """

    name: str
    png: bytes
    caption: str
    finding_id: int
    kind: str
    width: int
    height: int


@dataclass(frozen=True)
class ReportView:
    """A report. Dates are DA text, `created_at` is aware, everything else is text for people."""

    state: ReportState
    review: Review
    patient_name: str
    patient_id: str
    patient_birth_date: str
    patient_sex: str
    patient_age: str
    accession_number: str
    study_date: str
    study_time: str
    study_description: str
    institution: str
    created_at: datetime
    job_id: str
    revision: int
    model: ReportModel | None = None
    series: SeriesRead | None = None
    radiograph: RadiographRead | None = None
    input_notes: tuple[str, ...] = ()
    prior_study_date: str = ""
    reason_code: str = ""
    reason_text: str = ""
    findings: tuple[FindingRow, ...] = ()
    resolved: tuple[ResolvedRow, ...] = ()
    statements: tuple[StatementRow, ...] = ()
    structures: tuple[StructureRow, ...] = ()
    key_images: tuple[KeyImage, ...] = ()
    decisions: tuple[Decision, ...] = field(default=())
    guideline: GuidelineRead | None = None

    def decision_on(self, finding_id: int) -> Decision | None:
        """The last decision on a finding."""
        return next((one for one in reversed(self.decisions) if one.finding_id == finding_id), None)

    def count_of(self, what: str) -> int:
        """Findings whose comparison has this state or trend."""
        return sum(
            what in (row.prior.state, row.prior.trend) for row in self.findings if row.prior is not None
        )

    def images_of(self, finding_id: int) -> tuple[KeyImage, ...]:
        return tuple(image for image in self.key_images if image.finding_id == finding_id)

    def without_pixels(self) -> ReportView:
        """The same report whose key images are names only, as it is stored beside the PNG files."""
        return replace(self, key_images=tuple(replace(image, png=b"") for image in self.key_images))

    def as_json(self) -> dict[str, Any]:
        """Plain values; the pixels of key images are left out."""
        record = asdict(self.without_pixels())
        record["created_at"] = self.created_at.isoformat()
        for image in record["key_images"]:
            del image["png"]
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any], images: dict[str, bytes] | None = None) -> ReportView:
        """The inverse of `as_json`; `images` gives the PNG of each name."""
        pixels = images or {}
        values = dict(record)
        values["state"], values["review"] = ReportState(values["state"]), Review(values["review"])
        values["created_at"] = datetime.fromisoformat(values["created_at"])
        values["model"] = ReportModel(**values["model"]) if values["model"] else None
        values["series"] = SeriesRead(**values["series"]) if values["series"] else None
        values["radiograph"] = _radiograph(values.get("radiograph"))
        values["statements"] = tuple(StatementRow(**row) for row in values.get("statements", ()))
        values["structures"] = tuple(StructureRow(**row) for row in values.get("structures", ()))
        values["input_notes"] = tuple(values["input_notes"])
        values["findings"] = tuple(
            FindingRow(**(row | {"prior": prior_from_json(row.get("prior"))})) for row in values["findings"]
        )
        values["resolved"] = tuple(ResolvedRow(**row) for row in values.get("resolved", ()))
        values["key_images"] = tuple(
            KeyImage(**image, png=pixels.get(image["name"], b"")) for image in values["key_images"]
        )
        values["decisions"] = tuple(
            Decision(**{**one, "verdict": Verdict(one["verdict"])}) for one in values["decisions"]
        )
        read = values.get("guideline")
        values["guideline"] = GuidelineRead.from_json(read) if read else None
        return cls(**values)


def _radiograph(record: dict[str, Any] | None) -> RadiographRead | None:
    if record is None:
        return None
    spacing = record["spacing_mm"]
    return RadiographRead(**{**record, "spacing_mm": tuple(spacing) if spacing else None})
