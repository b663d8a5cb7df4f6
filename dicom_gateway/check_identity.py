"""The gate: whose result it is, who made it, and that it adds nothing about the patient (IHE AIR 1.3)."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dicom_gateway.check_basis import CheckBasis, CheckedObject
from dicom_gateway.plain_value import plain

OBJECT_BYTES_MAX = 1 << 30
SERIES_NUMBER_MIN = 9000
_UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
_PROCESSING_EQUIPMENT = "109102"
# What says which patient and which study it is: as the source has it, and empty where the source has nothing.
_IDENTITY = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "OtherPatientNames",
    "PatientIdentityRemoved", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "StudyDescription",
    "ReferringPhysicianName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "TimezoneOffsetFromUTC",
    "IssuerOfAccessionNumberSequence", "ProcedureCodeSequence", "AdmissionID",
)  # fmt: skip
_NONE = DataElement(0x00100010, "PN", "")
_PATIENT_GROUPS = (0x0010, 0x0012)


def identity_problems(one: CheckedObject, basis: CheckBasis) -> Iterator[str]:
    """Patient, study, series and equipment of one object."""
    yield from _file_problems(one)
    if one.dataset.get("StudyInstanceUID") != basis.source.StudyInstanceUID:
        yield "it is not in the study of its source"
    yield from _patient_problems(one, basis)
    yield from _series_problems(one.dataset, basis.notice)
    yield from _equipment_problems(one.dataset, basis)


def set_problems(basis: CheckBasis) -> Iterator[str]:
    """What concerns the objects of a set together: their UIDs and numbers, and that there is one patient."""
    uids = [str(one.dataset.get("SOPInstanceUID") or "") for one in basis.objects]
    if len(set(uids)) < len(uids):
        yield "two objects have the same SOPInstanceUID"
    for keyword in ("SeriesInstanceUID", "SeriesNumber"):
        pairs = {(one.kind, str(one.dataset.get(keyword) or "")) for one in basis.objects}
        if len({value for _, value in pairs}) < len(pairs):
            yield f"objects of two kinds have the same {keyword}"
    series = {str(one.dataset.get("SeriesInstanceUID") or "") for one in basis.objects}
    if basis.source_uids & (series | set(uids)):
        yield "an object has the UID of an instance or series of the source"
    if len({plain(header.PatientID) for header in basis.sources if "PatientID" in header}) > 1:
        yield "the source images name more than one PatientID"


def _file_problems(one: CheckedObject) -> Iterator[str]:
    meta, dataset = one.dataset.file_meta, one.dataset
    if one.size_bytes > OBJECT_BYTES_MAX:
        yield f"it has more than {OBJECT_BYTES_MAX >> 20} MiB"
    pairs = ("MediaStorageSOPInstanceUID", "SOPInstanceUID"), ("MediaStorageSOPClassUID", "SOPClassUID")
    if any(meta.get(there) != dataset.get(here) for there, here in pairs):
        yield "its file meta information names another object"
    if meta.get("TransferSyntaxUID") not in _UNCOMPRESSED:
        yield "it is not uncompressed and little endian"
    if dataset.preamble != b"\0" * 128:
        yield "its preamble is not empty"


def _patient_problems(one: CheckedObject, basis: CheckBasis) -> Iterator[str]:
    dataset, source = one.dataset, basis.source
    for keyword in _IDENTITY:
        if plain(dataset.get(keyword)) != plain(source.get(keyword)):
            yield f"{keyword} is not that of the source"
    for path, item in one.content.items:
        if path and (path[0] in _IDENTITY or dataset[path[0]].tag.group in _PATIENT_GROUPS):
            continue  # compared as a whole
        mine = [item[tag] for tag in list(item.keys()) if tag.group in _PATIENT_GROUPS]
        for element in mine:
            is_told_above = not path and element.keyword in _IDENTITY
            is_same = not path and plain(element.value) == plain(source.get(element.tag, _NONE).value)
            if not is_told_above and not is_same:
                yield f"{element.keyword or element.tag} is not that of the source"
    known = {plain(name) for name in basis.source_content.persons} | {""}
    known |= {plain(basis.review.reviewer)} if basis.review else set()
    if not {plain(name) for name in one.content.persons} <= known:
        also = " and who is not the reviewer" if basis.review else ""
        yield f"it names a person whom the source does not name{also}"


def _series_problems(dataset: Dataset, notice: str) -> Iterator[str]:
    if int(dataset.get("SeriesNumber") or 0) < SERIES_NUMBER_MIN:
        yield f"its SeriesNumber is not {SERIES_NUMBER_MIN} or higher"
    if notice not in str(dataset.get("SeriesDescription") or ""):
        yield f"its SeriesDescription does not say “{notice}”"


def _equipment_problems(dataset: Dataset, basis: CheckBasis) -> Iterator[str]:
    wanted = (basis.model_name[:64], basis.model_version[:64])
    for item in dataset.get("ContributingEquipmentSequence") or ():
        purposes = item.get("PurposeOfReferenceCodeSequence") or ()
        if any(code.get("CodeValue") == _PROCESSING_EQUIPMENT for code in purposes):
            named = (item.get("ManufacturerModelName"), str(item.get("SoftwareVersions") or ""))
            is_whole = item.get("Manufacturer") and item.get("DeviceUID") and item.get("ContributionDateTime")
            if named == wanted and is_whole:
                break
    else:
        yield "its ContributingEquipmentSequence does not name the model with version, manufacturer and device UID"
    if dataset.get("ManufacturerModelName") != wanted[0] or str(dataset.get("SoftwareVersions")) != wanted[1]:
        yield "its equipment is not the model"
