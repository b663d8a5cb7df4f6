"""The names that rules may use: DICOM keywords of a study and of a series, and the arrival."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from statistics import median
from zoneinfo import ZoneInfo

from study.study import Patient, Series, Study

Value = str | float | tuple[str, ...] | None
Facts = Mapping[str, Value]


class Kind(StrEnum):
    """Type of a keyword's value."""

    TEXT = "a text"
    NUMBER = "a number"
    TEXTS = "a list of texts"


STUDY_KEYWORDS: dict[str, Kind] = {
    "StudyDescription": Kind.TEXT,
    "StudyDate": Kind.TEXT,
    "AccessionNumber": Kind.TEXT,
    "PatientID": Kind.TEXT,
    "PatientSex": Kind.TEXT,
    "PatientAge": Kind.NUMBER,
    "InstitutionName": Kind.TEXT,
    "ReferringPhysicianName": Kind.TEXT,
    "RequestedProcedureDescription": Kind.TEXT,
    "RequestedProcedurePriority": Kind.TEXT,
    "ModalitiesInStudy": Kind.TEXTS,
    "NumberOfStudyRelatedSeries": Kind.NUMBER,
    "NumberOfStudyRelatedInstances": Kind.NUMBER,
    # Not DICOM attributes: who sent it to whom, and when the routing looked at it, in the rules' time zone.
    "CallingAETitle": Kind.TEXT,
    "CalledAETitle": Kind.TEXT,
    "ArrivalHour": Kind.NUMBER,
    "ArrivalWeekday": Kind.TEXT,
}
_OWN_SERIES_KEYWORDS: dict[str, Kind] = {
    "Modality": Kind.TEXT,
    "SeriesDescription": Kind.TEXT,
    "SeriesNumber": Kind.NUMBER,
    "BodyPartExamined": Kind.TEXT,
    "ProtocolName": Kind.TEXT,
    "ConvolutionKernel": Kind.TEXT,
    "ContrastBolusAgent": Kind.TEXT,
    "Manufacturer": Kind.TEXT,
    "ManufacturerModelName": Kind.TEXT,
    "StationName": Kind.TEXT,
    "ImageType": Kind.TEXTS,
    "SliceThickness": Kind.NUMBER,
    "NumberOfSlices": Kind.NUMBER,
    "NumberOfSeriesRelatedInstances": Kind.NUMBER,
    "Rows": Kind.NUMBER,
    "Columns": Kind.NUMBER,
}
SERIES_KEYWORDS = STUDY_KEYWORDS | _OWN_SERIES_KEYWORDS

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_AGE = re.compile(r"([0-9]{1,3})([DWMY])", re.ASCII)
_AGE_UNIT_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


@dataclass(frozen=True)
class Arrival:
    """How a study came. at: when it is routed, with a time zone."""

    calling_ae_title: str
    called_ae_title: str
    at: datetime


def study_facts(study: Study, arrival: Arrival, time_zone: ZoneInfo) -> dict[str, Value]:
    """Values of `STUDY_KEYWORDS`; None where the headers say nothing. PatientAge: years."""
    local = arrival.at.astimezone(time_zone)
    return {
        "StudyDescription": study.description or None,
        "StudyDate": study.study_date or None,
        "AccessionNumber": study.accession_number or None,
        "PatientID": study.patient.patient_id or None,
        "PatientSex": study.patient.sex or None,
        "PatientAge": _age_years(study.patient, study.study_date),
        "InstitutionName": study.institution or None,
        "ReferringPhysicianName": study.referring_physician or None,
        "RequestedProcedureDescription": study.requested_procedure_description or None,
        "RequestedProcedurePriority": study.requested_procedure_priority or None,
        "ModalitiesInStudy": tuple(sorted({series.modality for series in study.series})),
        "NumberOfStudyRelatedSeries": float(len(study.series)),
        "NumberOfStudyRelatedInstances": float(sum(len(series.instances) for series in study.series)),
        "CallingAETitle": arrival.calling_ae_title,
        "CalledAETitle": arrival.called_ae_title,
        "ArrivalHour": float(local.hour),
        "ArrivalWeekday": WEEKDAYS[local.weekday()],
    }


def series_facts(series: Series) -> dict[str, Value]:
    """Values of the keywords that a series has beside those of its study.

    SliceThickness: the median, mm. ImageType: the values that most of its images bear. NumberOfSlices: frames.
    """
    thickness_mm = [one.slice_thickness_mm for one in series.instances if one.slice_thickness_mm]
    kinds = Counter(kind for one in series.instances for kind in set(one.image_type))
    images = [one for one in series.instances if one.number_of_frames > 0]
    return {
        "Modality": series.modality or None,
        "SeriesDescription": series.description or None,
        "SeriesNumber": None if series.series_number is None else float(series.series_number),
        "BodyPartExamined": series.body_part_examined or None,
        "ProtocolName": series.protocol_name or None,
        "ConvolutionKernel": series.convolution_kernel or None,
        "ContrastBolusAgent": series.contrast_bolus_agent or None,
        "Manufacturer": series.manufacturer or None,
        "ManufacturerModelName": series.manufacturer_model_name or None,
        "StationName": series.station_name or None,
        "ImageType": tuple(kind for kind, count in kinds.items() if count * 2 > len(series.instances)),
        "SliceThickness": float(median(thickness_mm)) if thickness_mm else None,
        "NumberOfSlices": float(sum(one.number_of_frames for one in images)),
        "NumberOfSeriesRelatedInstances": float(len(series.instances)),
        "Rows": float(max(one.rows for one in images)) if images else None,
        "Columns": float(max(one.columns for one in images)) if images else None,
    }


def _age_years(patient: Patient, study_date: str) -> float | None:
    """Patient's Age (PS3.5 table 6.2-1, AS), else what birth date and study date come to."""
    stated = _AGE.fullmatch(patient.age.strip().upper())
    if stated is not None:
        return float(stated[1]) * _AGE_UNIT_YEARS[stated[2]]
    born, seen = _day(patient.birth_date), _day(study_date)
    if born is None or seen is None or seen < born:
        return None
    return float(seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day)))


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007 - a DA has no zone
    except ValueError:
        return None
