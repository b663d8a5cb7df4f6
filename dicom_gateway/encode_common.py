"""What all result objects share: the source they stand on, the patient they belong to, who made them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from copy import deepcopy
from datetime import datetime

from highdicom import ContributingEquipment
from highdicom.sr import AlgorithmIdentification, DeviceObserverIdentifyingAttributes
from pydicom.config import IGNORE, disable_value_validation
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.coding import Code
from pydicom.tag import Tag
from pydicom.valuerep import PersonName

from dicom_gateway import result_codes
from dicom_gateway.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_gateway.result_context import ResultContext

# At INFO highdicom names the SOP Instance UIDs that it copies from; logs hold no identifiers.
logging.getLogger("highdicom").setLevel(logging.WARNING)

UNICODE = "ISO_IR 192"
_TEXT = frozenset({"PN", "LO", "SH", "ST", "LT", "UC", "UT"})
# pydicom 3.0.2 leaves the designation of ISO 2022 IR 58 (Chinese) in the text it decodes; in UTF-8 no
# escape sequence has a meaning (PS3.5 section 6.1.2.5.3).
_ESCAPE_SEQUENCE = re.compile(r"\x1b[\x20-\x2f]*[\x30-\x7e]")

# Type 2 in every result: written empty when the source has none (PS3.3 C.7.1.1, C.7.2.1).
_REQUIRED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID",
)  # fmt: skip
# Repeated when the source has them: Patient, General Study and Patient Study, Clinical Trial.
_OPTIONAL = (
    "IssuerOfPatientID", "TypeOfPatientID", "IssuerOfPatientIDQualifiersSequence", "PatientBirthTime",
    "OtherPatientIDsSequence", "OtherPatientNames", "EthnicGroup", "PatientComments",
    "QualityControlSubject", "PatientSpeciesDescription", "PatientSpeciesCodeSequence",
    "PatientBreedDescription", "PatientBreedCodeSequence", "BreedRegistrationSequence",
    "ResponsiblePerson", "ResponsiblePersonRole", "ResponsibleOrganization",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "StudyDescription", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
    "IssuerOfAccessionNumberSequence", "ReferringPhysicianIdentificationSequence", "ProcedureCodeSequence",
    "PatientAge", "PatientSize", "PatientWeight", "PatientSexNeutered", "PregnancyStatus",
    "LastMenstrualDate", "AdmissionID", "Occupation", "AdditionalPatientHistory", "MedicalAlerts",
    "Allergies", "SmokingStatus",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription",
    "LongitudinalTemporalInformationModified", "TimezoneOffsetFromUTC",
)  # fmt: skip

_OF_REFERENCE = tuple(map(Tag, ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")))
_OF_IMAGE = (
    *_OF_REFERENCE,
    *map(
        Tag,
        (
            "Modality", "Rows", "Columns", "NumberOfFrames", "FrameOfReferenceUID", "ImagePositionPatient",
            "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices",
            "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DimensionIndexSequence",
        ),
    ),
)  # fmt: skip
# Shared by the data sets that are made for highdicom to read: nobody writes into an element, an element is replaced.
_EMPTY = {Tag(keyword): DataElement(Tag(keyword), dictionary_VR(keyword), "") for keyword in _REQUIRED}


def source_images(context: ResultContext) -> list[Dataset]:
    """One dataset for each source instance, in slice order, with what highdicom reads from it.

    highdicom raises on headers that are legal but empty, and on some that are illegal but common, so
    patient and study attributes are left empty here and written by `stamp` as the source has them.
    """
    images: dict[str, Dataset] = {}
    for header in context.source_headers:
        if str(header.SOPInstanceUID) not in images:
            images[str(header.SOPInstanceUID)] = _bare_image(header)
    return list(images.values())


def _bare_image(header: Dataset) -> Dataset:
    kept = {tag: header.get_item(tag) for tag in _OF_IMAGE if tag in header}
    return Dataset({**_EMPTY, **kept})


def bare_reference(header: Dataset) -> Dataset:
    """What highdicom reads of an object that is only referred to. Without Rows: a SEG is meant as a whole."""
    return Dataset({**_EMPTY, **{tag: header[tag] for tag in _OF_REFERENCE}})


def as_item(code: Code) -> Dataset:
    """A code as an item of a code sequence (PS3.3 section 8.8)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def device_observer(context: ResultContext) -> DeviceObserverIdentifyingAttributes:
    """The model as the observer of a document (PS3.16 TID 1004)."""
    return DeviceObserverIdentifyingAttributes(
        uid=context.device_uid,
        name=f"{context.model_name} {context.model_version}",
        manufacturer_name=context.publisher,
        model_name=context.model_name,
        serial_number=context.weights_sha256,
    )


def algorithm(context: ResultContext, threshold: float | None) -> AlgorithmIdentification:
    """The model as the algorithm of a measurement group (TID 4019), with the operating point of what it says there."""
    parameters = [f"weights_sha256={context.weights_sha256}"]
    if threshold is not None:
        parameters.append(f"operating_threshold={threshold:g}")
    return AlgorithmIdentification(context.model_name, context.model_version, parameters)


def contributing_equipment(context: ResultContext) -> ContributingEquipment:
    """The model as processing equipment (IHE AIR 1.3; PS3.3 C.12.1)."""
    moment = context.local_created_at
    item = ContributingEquipment(
        manufacturer=context.publisher[:64],
        purpose_of_reference=result_codes.PROCESSING_EQUIPMENT,
        manufacturer_model_name=context.model_name[:64],
        software_versions=context.model_version[:64],
        contribution_description=context.words.notice(context)[:1024],
        institution_name=context.institution[:64] or None,
    )
    item.DeviceUID = context.device_uid
    item.ContributionDateTime = moment.strftime("%Y%m%d%H%M%S.%f%z")
    return item


def stamp(result: Dataset, context: ResultContext, kind: str) -> None:
    """Give `result` its patient, study, series description, equipment and times.

    Text is decoded by pydicom with the source's character set and written as UTF-8.
    """
    result.preamble = b"\0" * 128
    result.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    result.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    result.SpecificCharacterSet = UNICODE
    _copy_patient_and_study(result, context.source_headers[0])
    _stamp_times(result, context.local_created_at)
    if kind in ("GSPS", "SC"):
        # Type 2C: nobody says that the body part is not paired (PS3.3 C.7.3.1).
        result.Laterality = ""
    result.SeriesDescription = context.series_description(kind)
    result.Manufacturer = context.publisher[:64]
    result.ManufacturerModelName = context.model_name[:64]
    result.SoftwareVersions = context.model_version[:64]
    result.DeviceSerialNumber = context.weights_sha256[:64]
    if context.institution:
        result.InstitutionName = context.institution[:64]
    result.ContributingEquipmentSequence = Sequence([contributing_equipment(context)])


def _copy_patient_and_study(result: Dataset, source: Dataset) -> None:
    # What a source says of its patient is repeated even where it breaks the standard; validation
    # would also write the offending value into the log.
    with disable_value_validation():
        for keyword in (*_REQUIRED, *_OPTIONAL):
            if keyword in source:
                result.add(in_unicode(source[keyword]))
            elif keyword in _REQUIRED:
                setattr(result, keyword, "")


def in_unicode(element: DataElement) -> DataElement:
    """A copy of `element` whose text has forgotten the character set it was read with."""
    copied = deepcopy(element)
    if copied.VR == "SQ":
        for item in copied.value or []:
            item.walk(lambda _, nested: _forget_encoding(nested))
            if "SpecificCharacterSet" in item:
                del item.SpecificCharacterSet
    else:
        _forget_encoding(copied)
    return copied


def _forget_encoding(element: DataElement) -> None:
    if element.VR not in _TEXT or element.value is None:
        return
    element.validation_mode = IGNORE
    if isinstance(element.value, PersonName | str):
        element.value = _plain(element.value)
    elif isinstance(element.value, Iterable):
        element.value = [_plain(value) for value in element.value]


def _plain(value: object) -> str:
    return _ESCAPE_SEQUENCE.sub("", str(value))


def _stamp_times(result: Dataset, moment: datetime) -> None:
    date, time = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S.%f")
    for prefix in ("InstanceCreation", "Series", "Content"):
        setattr(result, f"{prefix}Date", date)
        setattr(result, f"{prefix}Time", time)
