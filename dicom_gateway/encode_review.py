"""A result as a person reviewed it: the model's SR and PDF issued anew, with the person as an observer.

The new SR is made from the one that the model's result was sent as, so all that the reader left standing is said in the
same words and refers to the same segments. It has UIDs of its own, derived from those of the model's SR and the number
of the review, and names what it replaces in Predecessor Documents Sequence (PS3.3 C.17.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from highdicom.sr import (
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DatasetSequence
from pydicom.sr.codedict import codes

from dicom_gateway import result_codes, review_groups, review_words
from dicom_gateway.chinese_meanings import in_chinese
from dicom_gateway.encode_errors import InvalidResultContext
from dicom_gateway.result_context import NOT_REVIEWED, GuidelineWords, derived_uid, utc_offset_minutes
from dicom_gateway.result_words import Words
from dicom_gateway.result_words_zh import ChineseWords
from study.codes import Code
from study.review import Review

REVIEWED = "AI result, reviewed"
_SERIES_NUMBER_STEP = 500
_NOT_IN_A_NAME = re.compile(r"[\\^=\x00-\x1f\x7f]")

# As `result_words` begins what a guideline says of one finding.
_GUIDELINE_NOTE = re.compile(r"Finding \d+: |所见 \d+：")
_WITHDRAWN = (
    "The guideline category of the AI result was withdrawn: the reader changed the findings on which it rested.",
    "人工智能结果的指南分类已撤回：其所依据的所见已被阅片者修改。",
)
_GIVEN_ANEW = (
    "The guideline category was worked out anew from the findings as the reader left them.",
    "指南分类已根据阅片者确定的所见重新得出。",
)


@dataclass(frozen=True)
class ReviewContext:
    """One finished review of one result.

    review: state REVIEWED. names: by tracking UID what the report calls a finding, "finding 2".
    statements: by tracking UID the label of each statement about the whole image; codes, sites: of each such label.
    organization: of the reader. is_verified: the site takes a finished review as its verification.
    predecessors: headers of the SRs that this one replaces, the model's own and earlier reviews.
    guideline: as it was applied to the findings after the review, where it was.
    """

    review: Review
    names: Mapping[str, str]
    organization: str
    statements: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, Code] = field(default_factory=dict)
    sites: Mapping[str, Code] = field(default_factory=dict)
    is_verified: bool = False
    predecessors: Sequence[Dataset] = ()
    guideline: GuidelineWords | None = None

    def __post_init__(self) -> None:
        if self.review.at is None or not self.review.by or self.review.number < 1:
            raise InvalidResultContext("a review is issued when it is finished, by somebody, at some time")

    @property
    def reader(self) -> str:
        """The reader's name, without what would part it."""
        return " ".join(_NOT_IN_A_NAME.sub(" ", str(self.review.by)).split())[:60] or "unknown"

    @property
    def reader_name(self) -> str:
        """The same as PN; the sign after it says that the one component is meant (PS3.5 section 6.2.1.2)."""
        return f"{self.reader}^"


def encode_reviewed_sr(source: Dataset, context: ReviewContext) -> Dataset:
    """The reviewed SR. source: the SR of the model's result, whole; it is not changed."""
    document = deepcopy(source)
    _issue_anew(document, context, "SR")
    _observe(document, context)
    review_groups.apply(document, context.review, context.statements, context.codes, context.sites)
    _evaluate(document, context)
    if review_groups.is_chinese(document):
        in_chinese(document)
    document.PredecessorDocumentsSequence = DatasetSequence([_reference(one) for one in context.predecessors])
    document.PreliminaryFlag = "FINAL" if context.is_verified else "PRELIMINARY"
    document.VerificationFlag = "VERIFIED" if context.is_verified else "UNVERIFIED"
    if context.is_verified:
        document.VerifyingObserverSequence = DatasetSequence([_verifying_observer(document, context)])
    return document


def encode_reviewed_pdf(source: Dataset, context: ReviewContext, pdf: bytes) -> Dataset:
    """The reviewed report as an Encapsulated PDF. source: that of the model's result."""
    document = deepcopy(source)
    _issue_anew(document, context, "PDF")
    document.DocumentTitle = str(source.get("DocumentTitle", "")).replace(NOT_REVIEWED, REVIEWED)
    document.VerificationFlag = "VERIFIED" if context.is_verified else "UNVERIFIED"
    document.EncapsulatedDocumentLength = len(pdf)
    document.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return document


def _issue_anew(document: Dataset, context: ReviewContext, kind: str) -> None:
    """UIDs, series, times and the words about its review."""
    seed = ("review", str(document.SOPInstanceUID), str(context.review.number))
    document.SeriesInstanceUID = derived_uid(*seed, f"{kind} series")
    document.SOPInstanceUID = derived_uid(*seed, f"{kind} instance")
    document.file_meta.MediaStorageSOPInstanceUID = document.SOPInstanceUID
    document.SeriesNumber = int(document.SeriesNumber) + _SERIES_NUMBER_STEP
    document.SeriesDescription = str(document.SeriesDescription).replace(NOT_REVIEWED, REVIEWED)
    moment = _local(document, context)
    for prefix in ("InstanceCreation", "Series", "Content"):
        setattr(document, f"{prefix}Date", moment.strftime("%Y%m%d"))
        setattr(document, f"{prefix}Time", moment.strftime("%H%M%S.%f"))
    for equipment in document.get("ContributingEquipmentSequence", []):
        words = str(equipment.get("ContributionDescription", ""))
        equipment.ContributionDescription = review_words.reviewed(words, context)[:1024]


def _local(document: Dataset, context: ReviewContext) -> datetime:
    """The end of the review in the zone that the source states, else as given (PS3.3 C.12.1.1.8)."""
    at = context.review.at
    assert at is not None
    minutes = utc_offset_minutes(document)
    return at if minutes is None else at.astimezone(timezone(timedelta(minutes=minutes)))


def _observe(document: Dataset, context: ReviewContext) -> None:
    """The reader beside the device, after it (TID 1001, TID 1002 once for each observer)."""
    person = PersonObserverIdentifyingAttributes(
        name=context.reader_name,
        organization_name=context.organization[:64] or None,
        role_in_procedure=codes.DCM.Verifying if context.is_verified else codes.DCM.Performing,
    )
    items = list(document.ContentSequence)
    last = max(index for index, item in enumerate(items) if item.get("RelationshipType") == "HAS OBS CONTEXT")
    items[last + 1 : last + 1] = list(ObserverContext(codes.DCM.Person, person))
    document.ContentSequence = DatasetSequence(items)


def _evaluate(document: Dataset, context: ReviewContext) -> None:
    """What the reader said, as text after the model's own evaluations, which keep what the model had said."""
    container = review_groups.container(document, result_codes.QUALITATIVE_EVALUATIONS)
    is_withdrawn = context.review.changes_findings and _withdraw_guideline(container)
    for item in container.ContentSequence:
        if item.ValueType == "TEXT":
            item.TextValue = review_words.reviewed(str(item.TextValue), context)
    is_chinese = review_groups.is_chinese(document)
    sentences = [review_words.conclusion(context, is_chinese=is_chinese)]
    sentences += [review_words.said(one, context, is_chinese=is_chinese) for one in context.review.verdicts]
    contains = RelationshipTypeValues.CONTAINS
    if is_withdrawn and context.guideline is not None:
        words = ChineseWords() if is_chinese else Words()
        category = f"{context.guideline.title}: {context.guideline.worst or words.no_category}"
        container.ContentSequence.append(TextContentItem(result_codes.GUIDELINE_CATEGORY, category, contains))
        sentences.append(_GIVEN_ANEW[is_chinese])
        sentences += [words.guideline_note(*note) for note in context.guideline.notes]
    elif is_withdrawn:
        sentences.append(_WITHDRAWN[is_chinese])
    container.ContentSequence.extend(
        TextContentItem(result_codes.COMMENT, sentence, contains) for sentence in sentences
    )


def _withdraw_guideline(container: Dataset) -> bool:
    """Take out category and sentences that rest on findings which are others now; False where there were none."""
    items = list(container.ContentSequence)
    kept = [one for one in items if not _is_of_guideline(one)]
    container.ContentSequence = DatasetSequence(kept)
    return len(kept) < len(items)


def _is_of_guideline(item: Dataset) -> bool:
    if item.ValueType != "TEXT":
        return False
    is_category = item.ConceptNameCodeSequence[0].CodeValue == result_codes.GUIDELINE_CATEGORY.value
    return is_category or _GUIDELINE_NOTE.match(str(item.TextValue)) is not None


def _reference(predecessor: Dataset) -> Dataset:
    """An item of Predecessor Documents Sequence (PS3.3 table 10-4, hierarchical SOP instance reference)."""
    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID = predecessor.SOPClassUID
    instance.ReferencedSOPInstanceUID = predecessor.SOPInstanceUID
    series.SeriesInstanceUID = predecessor.SeriesInstanceUID
    series.ReferencedSOPSequence = DatasetSequence([instance])
    study.StudyInstanceUID = predecessor.StudyInstanceUID
    study.ReferencedSeriesSequence = DatasetSequence([series])
    return study


def _verifying_observer(document: Dataset, context: ReviewContext) -> Dataset:
    """PS3.3 C.17.2: who vouches for the document, when, for whom."""
    item = Dataset()
    item.VerifyingOrganization = context.organization[:64] or "not stated"
    item.VerificationDateTime = _local(document, context).strftime("%Y%m%d%H%M%S")
    item.VerifyingObserverName = context.reader_name
    item.VerifyingObserverIdentificationCodeSequence = DatasetSequence()
    return item
