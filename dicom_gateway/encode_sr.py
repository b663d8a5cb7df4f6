"""A result as Comprehensive SR, with or without 3D, after TID 1500: TID 1410 for each finding, 1411 for a structure.

Among several findings, one with a segment has a second group after TID 1411 with the same tracking UID, which
refers to the segment and holds what was measured on it. The first group always draws the finding on a source
image, because viewers show nothing for a group that only refers to a segment.
"""

from __future__ import annotations

from highdicom.sr import (
    CodeContentItem,
    Comprehensive3DSR,
    ComprehensiveSR,
    ContainerContentItem,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    ParametricMapStorage,
    SegmentationStorage,
)

from dicom_gateway import classification_groups, result_codes, structure_groups
from dicom_gateway.chinese_meanings import in_chinese
from dicom_gateway.encode_common import algorithm, source_images, stamp
from dicom_gateway.encode_pm import has_map
from dicom_gateway.encode_seg import segmented_findings, segmented_structures
from dicom_gateway.measurement_groups import planar_group, volumetric_group
from dicom_gateway.result_context import ResultContext
from dicom_gateway.sr_document import container, make_document, report_root
from study.radiograph import Radiograph

# The same document for archives that know no 3D: our regions are drawn on images, so nothing is left out.
_DOCUMENTS = {
    "SR": (Comprehensive3DSR, Comprehensive3DSRStorage),
    "SR2D": (ComprehensiveSR, ComprehensiveSRStorage),
}


def encode_sr(context: ResultContext, kind: str = "SR") -> Dataset:
    """The result as a document of the class of `kind`, UNVERIFIED, in the study of its source."""
    evidence = source_images(context)
    if segmented_findings(context) or context.structures:
        evidence.append(_reference(context, "SEG", SegmentationStorage))
    if "PM" in context.kinds and has_map(context):
        evidence.append(_reference(context, "PM", ParametricMapStorage))
    document_class, sop_class_uid = _DOCUMENTS[kind]
    earlier = context.predecessors_of(sop_class_uid)
    document = make_document(document_class, context, kind, evidence, _root(context), earlier)
    stamp(document, context, kind)
    if context.language == "zh":
        in_chinese(document)
    return document


def _reference(context: ResultContext, kind: str, sop_class_uid: str) -> Dataset:
    """Another object of the same result, for the evidence."""
    reference = Dataset()
    reference.SOPClassUID = sop_class_uid
    reference.SOPInstanceUID = context.uid(f"{kind} instance")
    reference.StudyInstanceUID = context.study_instance_uid
    reference.SeriesInstanceUID = context.uid(f"{kind} series")
    return reference


def _root(context: ResultContext) -> ContainerContentItem:
    root = report_root(context, result_codes.IMAGING_MEASUREMENT_REPORT, "1500")
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


def _imaging_measurements(context: ResultContext) -> ContainerContentItem:
    section = container(result_codes.IMAGING_MEASUREMENTS)
    by = algorithm(context, context.operating_threshold)
    segments = {item.finding.id: item.number for item in segmented_findings(context)}
    if len(context.findings) == 1:
        # PixelMed's validator checks every group against TID 1410 when a document has one Image Region in all, so
        # a lone finding keeps its volume in its planar group; its tracking UID still leads to the segment.
        segments = {}
    for finding in context.findings:
        number = segments.get(finding.id)
        planar = planar_group(context, finding, by, has_segment=number is not None)
        section.ContentSequence.extend(planar)
        if number is not None:
            section.ContentSequence.extend(volumetric_group(context, finding, by, number))
    for group in classification_groups.region_groups(context):
        section.ContentSequence.extend(group)
    for item in segmented_structures(context):
        section.ContentSequence.extend(structure_groups.structure_group(context, item, by))
    return section


def _qualitative_evaluations(context: ResultContext) -> ContainerContentItem:
    section = container(result_codes.QUALITATIVE_EVALUATIONS)
    contains = RelationshipTypeValues.CONTAINS
    section.ContentSequence.extend(classification_groups.evaluations(context))
    if not (context.classifications or context.structures or context.outlines):
        verdict = result_codes.DETECTED if context.findings else result_codes.NOT_DETECTED
        section.ContentSequence.append(CodeContentItem(result_codes.PULMONARY_NODULE, verdict, contains))
    words, texts = context.words, [context.words.conclusion(context), context.words.comparison(context)]
    if context.guideline is not None:
        category = f"{context.guideline.title}: {context.guideline.worst or words.no_category}"
        section.ContentSequence.append(TextContentItem(result_codes.GUIDELINE_CATEGORY, category, contains))
        texts += [words.guideline_note(*note) for note in context.guideline.notes]
    texts += [*context.caveats, words.what_was_assessed(context), words.notice(context)]
    for text in filter(None, texts):
        section.ContentSequence.append(TextContentItem(result_codes.COMMENT, text, contains))
    return section
