"""Files -> Study: headers are read in a child process, a file that cannot be read is named."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_gateway.child_process import ChildError, ChildLimits, in_parts, run_child
from study.errors import StudyError
from study.study import Instance, Patient, Series, Study

INSPECT_LIMITS = ChildLimits(memory_bytes=1 << 30, cpu_s=120, wall_clock_s=240.0, file_bytes=256 << 20)
# For fewer another child does not pay.
FILES_OF_CHILD_MIN = 50
# Files that may each end a reading process; a part of a study with more is hostile and read no further.
CRASHES_MAX = 8


class InspectError(ValueError):
    """A set of files is not one study."""


class NothingReadable(InspectError):
    """No file of the set is a readable DICOM instance."""

    def __init__(self, unreadable: tuple[UnreadableFile, ...]) -> None:
        sentence = "no file is a readable DICOM instance"
        if unreadable:
            reason, count = Counter(file.reason for file in unreadable).most_common(1)[0]
            sentence += f" ({count} of {len(unreadable)}: {reason})"
        super().__init__(sentence)
        self.unreadable = unreadable


class SeveralStudies(InspectError):
    """The files belong to more than one study."""

    def __init__(self, count: int) -> None:
        super().__init__(f"the files belong to {count} studies")
        self.count = count


@dataclass(frozen=True)
class UnreadableFile:
    """A file that is not part of the study, and why; the reason holds no value of the file."""

    location: str
    reason: str


@dataclass(frozen=True)
class InspectedStudy:
    """A study and the files that could not be read as part of it.

    notes: contradictions between its instances, one sentence each.
    """

    study: Study
    unreadable: tuple[UnreadableFile, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """What a set of files holds: any number of studies, in the order in which they first appear."""

    studies: tuple[InspectedStudy, ...]
    unreadable: tuple[UnreadableFile, ...]


def inspect_study(files: Sequence[tuple[str, Path]], limits: ChildLimits = INSPECT_LIMITS) -> InspectedStudy:
    """The one study that the (location, path) pairs hold.

    Raises `NothingReadable`, or `SeveralStudies` when the headers disagree on the study.
    """
    inspection = inspect_files(files, limits)
    if not inspection.studies:
        raise NothingReadable(inspection.unreadable)
    if len(inspection.studies) > 1:
        raise SeveralStudies(len(inspection.studies))
    found = inspection.studies[0]
    return InspectedStudy(found.study, inspection.unreadable, found.notes)


def inspect_files(files: Sequence[tuple[str, Path]], limits: ChildLimits = INSPECT_LIMITS) -> Inspection:
    """Every study in the (location, path) pairs."""
    grouped: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    unreadable: list[UnreadableFile] = []
    for (location, _), record in zip(files, _read_all([path for _, path in files], limits), strict=True):
        if "unreadable" in record:
            unreadable.append(UnreadableFile(location, str(record["unreadable"])))
        else:
            grouped.setdefault(record["study"]["study_instance_uid"], []).append((location, record))
    studies = tuple(_study(records) for records in grouped.values())
    return Inspection(studies, tuple(unreadable))


def _read_all(paths: Sequence[Path], limits: ChildLimits) -> list[dict[str, Any]]:
    """One record per path, in order; a large study is read by several children at a time."""
    parts = in_parts(paths, FILES_OF_CHILD_MIN)
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(itertools.chain.from_iterable(pool.map(lambda part: _read_records(part, limits), parts)))


def _read_records(paths: Sequence[Path], limits: ChildLimits) -> list[dict[str, Any]]:
    """One record per path, in order. A file that ends the child costs only itself."""
    records: list[dict[str, Any]] = []
    crashes = 0
    while len(records) < len(paths):
        failure = _read_some(paths[len(records) :], records, limits)
        if failure is None:
            continue
        records.append({"unreadable": f"the process that read it did not survive it: {failure}"})
        crashes += 1
        if crashes == CRASHES_MAX:
            rest = {"unreadable": f"not read, after {CRASHES_MAX} files that ended the reading process"}
            records.extend([rest] * (len(paths) - len(records)))
    return records


def _read_some(
    paths: Sequence[Path], records: list[dict[str, Any]], limits: ChildLimits
) -> ChildError | None:
    """Append the records of as many leading paths as one child manages; the error that stopped it."""
    with tempfile.TemporaryDirectory(prefix="radmeter-inspect-") as folder:
        records_path = Path(folder, "records.jsonl")
        records_path.touch()
        arguments = {"paths": [str(path.absolute()) for path in paths], "records_path": str(records_path)}
        failure: ChildError | None = None
        try:
            run_child("inspect", arguments, limits)
        except ChildError as error:
            failure = error
        read = [json.loads(line) for line in _whole_lines(records_path)][: len(paths)]
    records.extend(read)
    if failure is None:
        assert len(read) == len(paths), "the child answered before it read every file"
    return failure if len(read) < len(paths) else None


def _whole_lines(path: Path) -> list[str]:
    """A child that was killed may leave half a line."""
    *whole, _rest = path.read_text(encoding="utf-8").split("\n")
    return whole


def _study(records: list[tuple[str, dict[str, Any]]]) -> InspectedStudy:
    grouped: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for location, record in records:
        grouped.setdefault(record["series"]["series_instance_uid"], []).append((location, record))
    series = tuple(_series(members) for members in grouped.values())
    headers = [record for _, record in records]
    study = Study(
        **_merged(record["study"] for record in headers),
        patient=Patient(**_merged(record["patient"] for record in headers)),
        series=tuple(sorted(series, key=_series_order)),
    )
    return InspectedStudy(study, notes=_contradictions(headers))


def _series(members: list[tuple[str, dict[str, Any]]]) -> Series:
    instances = [_instance(location, record) for location, record in members]
    common = _merged(record["series"] for _, record in members)
    return Series(**common, instances=tuple(sorted(instances, key=_instance_order)))


def _instance(location: str, record: dict[str, Any]) -> Instance:
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record["instance"].items()
    }
    try:
        return Instance(**fields, location=location, transfer_syntax_uid=record["transfer_syntax_uid"])
    except (StudyError, TypeError) as error:  # the child validated the same values
        raise AssertionError("the child described an instance that cannot be") from error


def _merged(headers: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """For each attribute the first value that is not empty."""
    merged: dict[str, Any] = {}
    for header in headers:
        for name, value in header.items():
            if merged.get(name) in (None, ""):
                merged[name] = value
    return merged


def _contradictions(headers: list[dict[str, Any]]) -> tuple[str, ...]:
    notes = []
    patient_count = len({record["patient"]["patient_id"] for record in headers})
    if patient_count > 1:
        notes.append(f"The instances name {patient_count} different patients.")
    mislabelled = sum(record["meta_differs"] for record in headers)
    if mislabelled:
        notes.append(f"{mislabelled} files name another SOP Instance in their file meta information.")
    return tuple(notes)


def _series_order(series: Series) -> tuple[int, str]:
    return (series.series_number if series.series_number is not None else 2**31, series.series_instance_uid)


def _instance_order(instance: Instance) -> tuple[int, str]:
    number = instance.instance_number if instance.instance_number is not None else 2**31
    return (number, instance.sop_instance_uid)
