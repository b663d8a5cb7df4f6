"""What every report of ours has in common as a document: its root with who speaks, and its module attributes."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    Comprehensive3DSR,
    ComprehensiveSR,
    ContainerContentItem,
    ContentSequence,
    LanguageOfContentItemAndDescendants,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from dicom_gateway import result_codes
from dicom_gateway.encode_common import UNICODE, device_observer
from dicom_gateway.result_context import ResultContext


def report_root(context: ResultContext, name: Code, template_id: str) -> ContainerContentItem:
    """The root of a content tree that says in which language it speaks, and that a device does."""
    root = ContainerContentItem(name=name, template_id=template_id)
    root.ContentSequence = ContentSequence()
    language = result_codes.CHINESE if context.language == "zh" else result_codes.ENGLISH
    root.ContentSequence.extend(LanguageOfContentItemAndDescendants(language))
    observer = ObserverContext(codes.DCM.Device, device_observer(context))
    root.ContentSequence.extend(ObservationContext(observer_device_context=observer))
    return root


def container(name: Code) -> ContainerContentItem:
    """An empty section below the root."""
    made = ContainerContentItem(name=name, relationship_type=RelationshipTypeValues.CONTAINS)
    made.ContentSequence = ContentSequence()
    return made


def make_document(
    document_class: type[ComprehensiveSR | Comprehensive3DSR],
    context: ResultContext,
    kind: str,
    evidence: Sequence[Dataset],
    content: ContainerContentItem,
    previous_versions: Sequence[Dataset] = (),
) -> ComprehensiveSR | Comprehensive3DSR:
    """Complete and UNVERIFIED, in a series of its kind in the study of its source; not stamped yet.

    previous_versions: for Predecessor Documents Sequence (PS3.3 C.17.2).
    """
    return document_class(
        evidence=evidence,
        content=content,
        series_instance_uid=context.uid(f"{kind} series"),
        series_number=context.series_number(kind),
        sop_instance_uid=context.uid(f"{kind} instance"),
        instance_number=1,
        manufacturer=context.publisher[:64],
        is_complete=True,
        is_final=False,
        is_verified=False,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set=UNICODE,
        previous_versions=previous_versions or None,
    )
