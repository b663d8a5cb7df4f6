"""A report of sentences after TID 2000 (PS3.16): sections, each with its texts, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from highdicom.sr import ContainerContentItem, RelationshipTypeValues, TextContentItem
from pydicom.sr.coding import Code

from dicom_gateway import result_codes
from dicom_gateway.result_context import ResultContext
from dicom_gateway.sr_document import container, report_root

Section = tuple[Code, Code, Iterable[str]]
"""What the section is called, what each of its texts is called, the texts."""


def text_report(context: ResultContext, *sections: Section) -> ContainerContentItem:
    """The root of the content tree; a section without a text is left out."""
    root = report_root(context, result_codes.DIAGNOSTIC_IMAGING_REPORT, "2000")
    for title, each, sentences in sections:
        texts = [TextContentItem(each, text, RelationshipTypeValues.CONTAINS) for text in sentences]
        if texts:
            section = container(title)
            section.ContentSequence.extend(texts)
            root.ContentSequence.append(section)
    return root
