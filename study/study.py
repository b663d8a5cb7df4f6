"""Study > Series > Instance (DICOM PS3.3 A.1.2), as the headers of received instances tell them."""

from __future__ import annotations

from dataclasses import dataclass, field

from study.identifiers import validate_uid


@dataclass(frozen=True)
class Instance:
    """One stored SOP Instance and the header values that routing and decoding need.

    location: where the Part 10 file lies; opaque to this package.
    image_position_mm, image_orientation: PS3.3 C.7.6.2.1.1; None where the header has none.
    view_position, presentation_intent: of projection images, as written (PS3.3 C.8.7.1, C.8.11.1).
    number_of_frames: 1 for single-frame images, 0 for objects without pixels.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    location: str
    image_type: tuple[str, ...] = ()
    instance_number: int | None = None
    rows: int = 0
    columns: int = 0
    number_of_frames: int = 0
    image_position_mm: tuple[float, ...] | None = None
    image_orientation: tuple[float, ...] | None = None
    pixel_spacing_mm: tuple[float, ...] | None = None
    slice_thickness_mm: float | None = None
    acquisition_number: int | None = None
    view_position: str = ""
    presentation_intent: str = ""

    def __post_init__(self) -> None:
        validate_uid(self.sop_instance_uid)


@dataclass(frozen=True)
class Series:
    """One series and its instances, in no particular order."""

    series_instance_uid: str
    modality: str
    instances: tuple[Instance, ...]
    description: str = ""
    body_part_examined: str = ""
    protocol_name: str = ""
    convolution_kernel: str = ""
    manufacturer: str = ""
    manufacturer_model_name: str = ""
    station_name: str = ""
    contrast_bolus_agent: str = ""
    series_number: int | None = None
    frame_of_reference_uid: str = ""

    def __post_init__(self) -> None:
        validate_uid(self.series_instance_uid)


@dataclass(frozen=True)
class Patient:
    """Patient and request attributes that results repeat and the report shows; decoded text."""

    patient_id: str = ""
    name: str = ""
    birth_date: str = ""
    sex: str = ""
    age: str = ""


@dataclass(frozen=True)
class Study:
    """A study as its instances' headers describe it. Dates are DA text (YYYYMMDD), times TM text."""

    study_instance_uid: str
    series: tuple[Series, ...]
    patient: Patient = field(default_factory=Patient)
    study_date: str = ""
    study_time: str = ""
    accession_number: str = ""
    description: str = ""
    referring_physician: str = ""
    institution: str = ""
    requested_procedure_description: str = ""
    requested_procedure_priority: str = ""

    def __post_init__(self) -> None:
        validate_uid(self.study_instance_uid)

    def series_of(self, series_instance_uid: str) -> Series:
        """The series of that UID, which the study is known to have; raises LookupError when it has not."""
        for series in self.series:
            if series.series_instance_uid == series_instance_uid:
                return series
        raise LookupError("the study has no such series")
