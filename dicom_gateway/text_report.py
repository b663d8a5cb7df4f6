"""A report of sentences after TID 2000 (PS3.16): sections, each with its texts, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from highdicom.sr import (
    ContainerContentItem,
    ContentSequence,
    LanguageOfContentItemAndDescendants,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_gateway import result_codes
from dicom_gateway.encode_common import device_observer
from dicom_gateway.result_context import ResultContext

Section = tuple[Code, Code, Iterable[str]]
"""What the section is called, what each of its texts is called, the texts."""


def text_report(context: ResultContext, *sections: Section) -> ContainerContentItem:
    """The root of the content tree; a section without a text is left out."""
    root = ContainerContentItem(name=result_codes.DIAGNOSTIC_IMAGING_REPORT, template_id="2000")
    root.ContentSequence = ContentSequence()
    language = result_codes.CHINESE if context.language == "zh" else result_codes.ENGLISH
    root.ContentSequence.extend(LanguageOfContentItemAndDescendants(language))
    root.ContentSequence.extend(
        ObservationContext(
            observer_device_context=ObserverContext(codes.DCM.Device, device_observer(context))
        )
    )
    for title, each, sentences in sections:
        texts = [TextContentItem(each, text, RelationshipTypeValues.CONTAINS) for text in sentences]
        if texts:
            section = ContainerContentItem(name=title, relationship_type=RelationshipTypeValues.CONTAINS)
            section.ContentSequence = ContentSequence()
            section.ContentSequence.extend(texts)
            root.ContentSequence.append(section)
    return root
