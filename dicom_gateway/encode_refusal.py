"""That a study was not analysed, as a small report (Comprehensive SR after TID 2000): nobody waits in vain.

It has no measurement and no finding, and its first word is that there is no result: a refusal never looks like "no
finding".
"""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import ComprehensiveSR
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from dicom_gateway.encode_common import bare_reference, stamp
from dicom_gateway.result_context import ResultContext
from dicom_gateway.sr_document import make_document
from dicom_gateway.text_report import text_report

NOT_ANALYSED = "NOT ANALYSED by AI, no result"
"""Stands in every series description, English as those of results."""


def encode_refusal(context: ResultContext, conclusion: Sequence[str], advice: Sequence[str]) -> Dataset:
    """conclusion: why there is no result, sentence by sentence. advice: what to do. The evidence is all that came."""
    content = text_report(
        context,
        (codes.DCM.Conclusions, codes.DCM.Conclusion, conclusion),
        (codes.DCM.Recommendations, codes.DCM.Recommendation, advice),
    )
    evidence = [bare_reference(header) for header in context.source_headers]
    report = make_document(ComprehensiveSR, context, "SR", evidence, content)
    stamp(report, context, "SR")
    describe(report, context)
    return report


def describe(result: Dataset, context: ResultContext) -> None:
    """The series and its maker say what it is, in place of "AI result"."""
    name = f"{context.model_name} {context.model_version}"
    result.SeriesDescription = f"{name[: 62 - len(NOT_ANALYSED)]}: {NOT_ANALYSED}"
    result.ContributingEquipmentSequence[0].ContributionDescription = f"{NOT_ANALYSED}. {name}."[:1024]
