"""Annotated scans that a user has: LUNA16's annotations.csv beside .mhd files or beside folders of DICOM."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from dicom_gateway.decode import decode_series
from dicom_gateway.decode_errors import DecodeError
from dicom_gateway.inspect import InspectError, inspect_study
from models.errors import InvalidAnnotations
from models.evaluation import luna16
from models.evaluation.sample import Sample
from models.manifest import Manifest
from pipeline.route import check_series
from server.send import files_below
from study.study import Series, Study


def is_annotated(data: Path) -> bool:
    """Whether the folder is in LUNA16's layout."""
    return luna16.annotated(data) is not None


def annotated_scans(data: Path, manifest: Manifest) -> Iterator[Sample]:
    """Every scan below the folder with its lesions; of DICOM every series that the model can read."""
    if any(data.rglob("*.mhd")):
        yield from luna16.samples(data)
        return
    annotations = luna16.read_annotations(data)
    folders = sorted({path.parent for path in files_below([data]) if path.suffix != ".csv"})
    count = 0
    for folder in folders:
        for study, series in _readable_series(folder, manifest):
            with tempfile.TemporaryDirectory(prefix="radmeter-evaluate-") as scratch:
                try:
                    volume = decode_series(series, Path("/"), Path(scratch))
                except DecodeError as error:
                    raise InvalidAnnotations(folder, f"a series cannot be decoded: {error}") from error
                uid = series.series_instance_uid
                facts = {**facts_of(study, series), **luna16.facts_of(volume, annotations, uid)}
                count += 1
                yield Sample(volume, annotations.truth_of(uid), "data", facts)
    if not count:
        raise InvalidAnnotations(
            data, f"it holds neither .mhd files nor a DICOM series that {manifest.name} reads"
        )


def _readable_series(folder: Path, manifest: Manifest) -> Iterator[tuple[Study, Series]]:
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix != ".csv"]
    try:
        study = inspect_study([(str(path.absolute()), path) for path in files]).study
    except InspectError as error:
        raise InvalidAnnotations(folder, f"its files are not one study: {error}") from error
    for series in study.series:
        if check_series(series, manifest.input) is None:
            yield study, series


def facts_of(study: Study, series: Series) -> dict[str, str | float]:
    """What subgroups are made of, as far as the headers tell."""
    thickness = sorted(one.slice_thickness_mm for one in series.instances if one.slice_thickness_mm)
    facts: dict[str, str | float | None] = {
        "vendor": series.manufacturer.strip()[:64],
        "kernel": series.convolution_kernel.strip()[:64],
        "sex": study.patient.sex.strip().upper()[:1],
        "age_years": age_years(study.patient.age, study.patient.birth_date, study.study_date),
        "slice_thickness_mm": thickness[len(thickness) // 2] if thickness else None,
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def age_years(age: str, birth_date: str, study_date: str) -> float | None:
    """Whole years from Patient's Age (AS, PS3.5 6.2), else from the two dates (DA); None where neither tells."""
    if stated := re.fullmatch(r"(\d{3})([DWMY])", age.strip()):
        return float(int(stated[1]) // {"D": 365, "W": 52, "M": 12, "Y": 1}[stated[2]])
    try:
        born, seen = date.fromisoformat(birth_date.strip()), date.fromisoformat(study_date.strip())
    except ValueError:
        return None
    years = seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))
    return float(years) if 0 <= years <= 130 else None
