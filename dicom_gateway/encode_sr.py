"""A result as a Comprehensive 3D SR after TID 1500 (PS3.16): a TID 1410 group for each finding, 1411 for a structure.

Among several findings, one with a segment has a second group after TID 1411 with the same tracking UID, which
refers to the segment and holds what was measured on it. The first group always draws the finding on a source
image, because viewers show nothing for a group that only refers to a segment.
"""

from __future__ import annotations

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    LanguageOfContentItemAndDescendants,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian

from dicom_gateway import classification_groups, result_codes, structure_groups
from dicom_gateway.encode_common import device_observer, notice, source_images, stamp
from dicom_gateway.encode_seg import segmented_findings, segmented_structures
from dicom_gateway.measurement_groups import planar_group, volumetric_group
from dicom_gateway.result_context import ResultContext
from study.nodule import Trend
from study.radiograph import Radiograph

_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


def encode_sr(context: ResultContext) -> Dataset:
    """The result as a Comprehensive 3D SR document, UNVERIFIED, in the study of its source."""
    evidence = source_images(context)
    if segmented_findings(context) or context.structures:
        evidence.append(_segmentation_reference(context))
    document = Comprehensive3DSR(
        evidence=evidence,
        content=_root(context),
        series_instance_uid=context.uid("SR series"),
        series_number=context.series_number("SR"),
        sop_instance_uid=context.uid("SR instance"),
        instance_number=1,
        manufacturer=context.publisher[:64],
        is_complete=True,
        is_final=False,
        is_verified=False,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
        previous_versions=_earlier_reports(context) or None,
    )
    stamp(document, context, "SR")
    return document


def _earlier_reports(context: ResultContext) -> list[Dataset]:
    """For Predecessor Documents Sequence (PS3.3 C.17.2)."""
    return [one for one in context.predecessors if one.SOPClassUID == Comprehensive3DSRStorage]


def _segmentation_reference(context: ResultContext) -> Dataset:
    reference = Dataset()
    reference.SOPClassUID = _SEGMENTATION_STORAGE
    reference.SOPInstanceUID = context.uid("SEG instance")
    reference.StudyInstanceUID = context.study_instance_uid
    reference.SeriesInstanceUID = context.uid("SEG series")
    return reference


def _root(context: ResultContext) -> ContainerContentItem:
    root = ContainerContentItem(name=result_codes.IMAGING_MEASUREMENT_REPORT, template_id="1500")
    root.ContentSequence = ContentSequence()
    root.ContentSequence.extend(LanguageOfContentItemAndDescendants(result_codes.ENGLISH))
    root.ContentSequence.extend(_observation_context(context))
    root.ContentSequence.append(
        CodeContentItem(
            codes.DCM.ProcedureReported, _procedure(context), RelationshipTypeValues.HAS_CONCEPT_MOD
        )
    )
    has_positive = any(one.is_positive for one in context.classifications)
    if context.findings or context.structures or has_positive:
        root.ContentSequence.append(_imaging_measurements(context))
    root.ContentSequence.append(_qualitative_evaluations(context))
    return root


def _procedure(context: ResultContext) -> Code:
    is_radiograph = isinstance(context.image, Radiograph)
    return result_codes.RADIOGRAPHY_PROCEDURE if is_radiograph else result_codes.CT_PROCEDURE


def _observation_context(context: ResultContext) -> ObservationContext:
    return ObservationContext(
        observer_device_context=ObserverContext(codes.DCM.Device, device_observer(context))
    )


def _imaging_measurements(context: ResultContext) -> ContainerContentItem:
    container = _container(result_codes.IMAGING_MEASUREMENTS)
    algorithm = AlgorithmIdentification(
        name=context.model_name,
        version=context.model_version,
        parameters=[f"weights_sha256={context.weights_sha256}"],
    )
    segments = {item.finding.id: item.number for item in segmented_findings(context)}
    if len(context.findings) == 1:
        # PixelMed's validator checks every group against TID 1410 when a document has one Image Region in all, so
        # a lone finding keeps its volume in its planar group; its tracking UID still leads to the segment.
        segments = {}
    for finding in context.findings:
        number = segments.get(finding.id)
        planar = planar_group(context, finding, algorithm, has_segment=number is not None)
        container.ContentSequence.extend(planar)
        if number is not None:
            container.ContentSequence.extend(volumetric_group(context, finding, algorithm, number))
    for group in classification_groups.region_groups(context, algorithm):
        container.ContentSequence.extend(group)
    for item in segmented_structures(context):
        container.ContentSequence.extend(structure_groups.structure_group(context, item, algorithm))
    return container


def _qualitative_evaluations(context: ResultContext) -> ContainerContentItem:
    container = _container(result_codes.QUALITATIVE_EVALUATIONS)
    contains = RelationshipTypeValues.CONTAINS
    container.ContentSequence.extend(classification_groups.evaluations(context))
    if not (context.classifications or context.structures):
        verdict = result_codes.DETECTED if context.findings else result_codes.NOT_DETECTED
        container.ContentSequence.append(CodeContentItem(result_codes.PULMONARY_NODULE, verdict, contains))
    texts = (conclusion(context), comparison(context), what_was_assessed(context), notice(context))
    for text in filter(None, texts):
        container.ContentSequence.append(TextContentItem(result_codes.COMMENT, text, contains))
    return container


def _container(name: object) -> ContainerContentItem:
    container = ContainerContentItem(name=name, relationship_type=RelationshipTypeValues.CONTAINS)
    container.ContentSequence = ContentSequence()
    return container


def conclusion(context: ResultContext) -> str:
    """The result in one sentence; a negative one says what it is negative about."""
    if context.classifications:
        return classification_groups.conclusion(context)
    if context.structures:
        return structure_groups.conclusion(context)
    threshold = ""
    if context.operating_threshold is not None:
        threshold = f" at or above the operating threshold of {context.operating_threshold:g}"
    if not context.findings:
        return f"No pulmonary nodule was detected by the model{threshold}. This does not exclude disease."
    count = len(context.findings)
    largest = max(context.findings, key=lambda finding: finding.mean_diameter_mm)
    noun = "nodule candidate was" if count == 1 else "nodule candidates were"
    return (
        f"{count} pulmonary {noun} detected by the model{threshold}; "
        f"the largest has a mean diameter of {largest.mean_diameter_mm:.1f} mm."
    )


def comparison(context: ResultContext) -> str | None:
    """What became of the findings since the prior study, in one sentence; None where there was none."""
    prior = context.prior
    if prior is None:
        return None
    told = [one.comparison for one in context.findings if one.comparison is not None]
    counts = {
        "new": sum(one.state == "new" for one in told),
        **{
            word.value: sum(one.growth is not None and one.growth.trend is word for one in told)
            for word in Trend
        },
        "no longer seen": len(prior.resolved),
    }
    words = (
        ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "no finding then or now"
    )
    date = prior.study_date or "unknown date"
    return (
        f"Compared with the prior study of {date}: {words}. Changes are of the volume, with 95 % intervals."
    )


def what_was_assessed(context: ResultContext) -> str:
    """What the model looked at and for, and what it did not."""
    if context.classifications:
        return classification_groups.what_was_assessed(context)
    if context.structures:
        return structure_groups.what_was_assessed(context)
    count = len(context.volume.slice_sop_instance_uids)
    change = "" if context.prior is not None else ", and change since prior studies"
    return (
        f"Assessed: pulmonary nodules in the lungs, on {count} axial slices of one CT series. "
        f"Not assessed: all other findings, other organs, other series{change}. "
        f"Intended use of the model: {context.intended_use.strip() or 'not stated'}"
    )
