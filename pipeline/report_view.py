"""ReportView: all that a report page says, as plain values; one for each result."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from pipeline.guidelines.of_findings import GuidelineRead
from pipeline.operating_point import OperatingPoint
from pipeline.report_prior import PriorRow, ResolvedRow, prior_from_json
from study.nodule import NODULE_UP_TO_MM
from study.review import Review, ReviewState, Verdict


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


@dataclass(frozen=True)
class ReportModel:
    """The model as every page names it. operating_point: what was measured of it there, None where nothing was."""

    name: str
    version: str
    title: str
    publisher: str
    weights_sha256: str
    clearance_status: str
    intended_use: str
    operating_threshold: float | None = None
    operating_point: OperatingPoint | None = None


@dataclass(frozen=True)
class SeriesRead:
    """The series that the model read. slice_spacing_mm: between slice centres. noise_hu: standard deviation in soft
    tissue, None where there is too little of it.
    """

    description: str
    number: int | None
    slice_count: int
    slice_thickness_mm: float | None
    slice_spacing_mm: float
    kernel: str = ""
    manufacturer: str = ""
    series_instance_uid: str = ""
    noise_hu: float | None = None


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
    series_instance_uid: str = ""
    sop_instance_uid: str = ""


@dataclass(frozen=True)
class StatementRow:
    """One statement about the whole image. number: from 1, the `finding_id` of its picture.

    sensitivity, specificity: measured at this threshold, in [0, 1]; None where they were not.
    """

    number: int
    label: str
    probability: float
    threshold: float
    is_positive: bool
    tracking_uid: str = ""
    sensitivity: float | None = None
    specificity: float | None = None


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
    mean_hu: of the segment. height_mm: its extent from foot to head.
    right_share, right_of: of `right_of` marks with such a score in the tests of the model this share was a nodule.
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
    tracking_uid: str = ""
    mean_hu: float | None = None
    height_mm: float | None = None
    right_share: float | None = None
    right_of: int = 0


@dataclass(frozen=True)
class KeyImage:
    """A picture of one finding on its measured slice. png is empty where only the name is needed.

    kind: "overview" whole slice with a box, "plain" and "overlay" the same cut-out without and with
    the outline, "prior" the same place in the earlier study. width, height: in pixels.
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
    guideline: GuidelineRead | None = None

    def superseded(self) -> ReportView:
        """The same report, marked as one that a newer one has taken the place of."""
        return replace(self, review=replace(self.review, state=ReviewState.SUPERSEDED))

    def marked(self) -> tuple[str, float]:
        """Of a report with findings: the sentence that sums them up, before its numbers and translation, and the
        largest mean diameter in mm.
        """
        largest_mm = max((row.mean_diameter_mm for row in self.findings), default=0.0)
        has_mass = largest_mm > NODULE_UP_TO_MM
        if len(self.findings) == 1:
            what = "mass" if has_mass else "nodule"
            return f"1 finding marked as possible pulmonary {what}: mean diameter {{mm}} mm.", largest_mm
        what = "nodules or masses" if has_mass else "nodules"
        sentence = f"{{n}} findings marked as possible pulmonary {what}; the largest has a mean diameter of {{mm}} mm."
        return sentence, largest_mm

    def count_of(self, what: str) -> int:
        """Findings whose comparison has this state or trend."""
        return sum(
            what in (row.prior.state, row.prior.trend) for row in self.findings if row.prior is not None
        )

    def totals(self) -> list[tuple[str, int]]:
        """How many findings there are of each category, or of each type where no guideline was applied."""
        names = [
            (row.category or "not given")
            if self.guideline is not None
            else (row.kind or "not stated").replace("_", "-")
            for row in self.findings
        ]
        return list(Counter(names).items())

    def images_of(self, finding_id: int) -> tuple[KeyImage, ...]:
        return tuple(image for image in self.key_images if image.finding_id == finding_id)

    def without_pixels(self) -> ReportView:
        """The same report whose key images are names only, as it is stored beside the PNG files."""
        return replace(self, key_images=tuple(replace(image, png=b"") for image in self.key_images))

    def as_json(self) -> dict[str, Any]:
        """Plain values; the pixels of key images are left out."""
        record = asdict(self.without_pixels())
        record["created_at"] = self.created_at.isoformat()
        record["review"] = _review_as_json(record["review"])
        for image in record["key_images"]:
            del image["png"]
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any], images: dict[str, bytes] | None = None) -> ReportView:
        """The inverse of `as_json`; `images` gives the PNG of each name."""
        pixels = images or {}
        values = dict(record)
        values.pop("decisions", None)  # reports of older releases have an empty list
        values["state"], values["review"] = ReportState(values["state"]), _review(values["review"])
        values["created_at"] = datetime.fromisoformat(values["created_at"])
        values["model"] = _model(values["model"])
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
        read = values.get("guideline")
        values["guideline"] = GuidelineRead.from_json(read) if read else None
        return cls(**values)


def _radiograph(record: dict[str, Any] | None) -> RadiographRead | None:
    if record is None:
        return None
    spacing = record["spacing_mm"]
    return RadiographRead(**{**record, "spacing_mm": tuple(spacing) if spacing else None})


def _model(record: dict[str, Any] | None) -> ReportModel | None:
    if record is None:
        return None
    point = record.get("operating_point")
    return ReportModel(**{**record, "operating_point": OperatingPoint.from_json(point) if point else None})


def _review_as_json(record: dict[str, Any]) -> dict[str, Any]:
    """Of `asdict`: instants as text."""
    verdicts = [one | {"at": one["at"].isoformat()} for one in record["verdicts"]]
    return record | {"at": record["at"].isoformat() if record["at"] else None, "verdicts": verdicts}


def _review(record: dict[str, Any] | str) -> Review:
    if isinstance(record, str):  # of a report of an older release, which nobody could review
        return Review(ReviewState(record))
    at, verdicts = record["at"], tuple(_verdict(one) for one in record["verdicts"])
    return Review(**{**record, "at": datetime.fromisoformat(at) if at else None, "verdicts": verdicts})


def _verdict(record: dict[str, Any]) -> Verdict:
    place = tuple(record["place"]) if record["place"] else None
    return Verdict(**{**record, "at": datetime.fromisoformat(record["at"]), "place": place})
