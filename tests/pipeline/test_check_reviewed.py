"""The gate before a reviewed set: it says who reviewed it and no more; each rule is proven by a set that breaks it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from dicom_gateway.check_basis import Known, ReviewRules
from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.encode_review import REVIEWED, ReviewContext, encode_reviewed_pdf, encode_reviewed_sr
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.result_context import NOT_REVIEWED, ResultContext
from pipeline.check_results import check_result_set
from study.review import Review, VerdictKind
from tests.dicom_gateway.test_encode_review import all_kinds, context_of, missed, review_of, verdict
from tests.pipeline.test_check_results import verdict_of
from tests.radiograph_files import radiograph, radiograph_context, statement
from tests.result_builders import ball, synthetic_result
from tests.result_mutations import Change, Objects, below, content, item, put, said


class Reviewed:
    """A result's reviewed set, and the gate over it."""

    def __init__(
        self, result: ResultContext, review: Review, *, is_verified: bool, earlier: Sequence[Review] = ()
    ) -> None:
        self.result = result
        self.model: Objects = {"SR": encode_sr(result), "PDF": encode_pdf(result, b"%PDF-1.7 model")}
        segmentation = encode_seg(result) if result.findings else None
        first = [*self.model.values(), *([segmentation] if segmentation is not None else [])]
        self.predecessors = [self.model["SR"]]
        for one in earlier:
            self.predecessors.append(encode_reviewed_sr(self.model["SR"], self._context(one, False)))
        context = self._context(review, is_verified)
        self.objects: Objects = {
            "SR": encode_reviewed_sr(self.model["SR"], context),
            "PDF": encode_reviewed_pdf(self.model["PDF"], context, b"%PDF-1.7 reviewed"),
        }
        self.basis: dict[str, Any] = {
            "predecessors": self.predecessors,
            "others": {str(one.SOPInstanceUID): Known.of(one) for one in first},
            "notice": REVIEWED,
            "review": ReviewRules(context.reader_name, is_verified),
        }

    def _context(self, review: Review, is_verified: bool) -> ReviewContext:
        base = context_of(review, self.model["SR"], is_verified=is_verified)
        return replace(base, predecessors=list(self.predecessors))

    def problems(self, objects: Objects | None = None, **changes: Any) -> tuple[str, ...]:
        return verdict_of(objects or self.objects, self.result, **self.basis | changes).problems


@pytest.fixture(scope="module")
def result() -> ResultContext:
    context = synthetic_result()
    places = (-12.0, 0.0, 12.0)
    findings = tuple(
        ball(context.volume, (place, 4.0, 10.0), 7.0, id=number, score=1 - number / 10)
        for number, place in enumerate(places, start=1)
    )
    return replace(context, findings=findings)


@pytest.fixture(scope="module")
def verified(result: ResultContext) -> Reviewed:
    return Reviewed(result, all_kinds(result), is_verified=True)


@pytest.fixture(scope="module")
def unverified(result: ResultContext) -> Reviewed:
    return Reviewed(result, all_kinds(result), is_verified=False)


def test_reviewed_sets_as_they_are_encoded_pass(
    result: ResultContext, verified: Reviewed, unverified: Reviewed
) -> None:
    assert verified.problems() == ()
    assert unverified.problems() == ()
    again = Reviewed(
        result, replace(all_kinds(result), number=2), is_verified=True, earlier=[all_kinds(result)]
    )
    assert again.problems() == ()
    chinese = replace(result, language="zh")
    assert Reviewed(chinese, all_kinds(chinese), is_verified=True).problems() == ()
    empty = replace(result, findings=())
    assert Reviewed(empty, review_of(missed(result)), is_verified=False).problems() == ()


def test_the_reviewed_set_of_a_radiograph_passes() -> None:
    header = radiograph(np.zeros((200, 120), np.uint16))
    del header.PixelData
    positive = statement()
    context = radiograph_context(header, [positive])
    review = review_of(verdict(positive.tracking_uid, VerdictKind.REJECT))
    assert Reviewed(context, review, is_verified=True).problems() == ()


def one_verifier_more(objects: Objects) -> None:
    observers = objects["SR"].VerifyingObserverSequence
    observers.append(deepcopy(observers[0]))


def a_predecessor_less(objects: Objects) -> None:
    del objects["SR"].PredecessorDocumentsSequence


def replaces_the_segmentation(objects: Objects) -> None:
    """The report would replace what it only refers to."""
    evidence = item(objects["SR"], "CurrentRequestedProcedureEvidenceSequence").ReferencedSeriesSequence
    [segmentations] = [
        deepcopy(series)
        for series in evidence
        if series.ReferencedSOPSequence[0].ReferencedSOPClassUID == SegmentationStorage
    ]
    item(objects["SR"], "PredecessorDocumentsSequence").ReferencedSeriesSequence = [segmentations]


def reference_to_segment(objects: Objects) -> Dataset:
    return next(
        reference
        for group in content(objects["SR"], "CONTAINER", "Imaging Measurements").ContentSequence
        for child in group.ContentSequence
        for reference in child.get("ReferencedSOPSequence", ())
        if reference.ReferencedSOPClassUID == SegmentationStorage
    )


def nobody_observed(objects: Objects) -> None:
    tree = objects["SR"].ContentSequence
    kept = [one for one in tree if one.ValueType != "PNAME"]
    assert len(kept) == len(tree) - 1
    objects["SR"].ContentSequence = kept


def a_foreign_segment(objects: Objects) -> None:
    """The model's Segmentation has three."""
    reference_to_segment(objects).ReferencedSegmentNumber = 7


def the_segment_of_another(objects: Objects) -> None:
    reference_to_segment(objects).ReferencedSegmentNumber = 3


def a_point_outside(objects: Objects) -> None:
    groups = content(objects["SR"], "CONTAINER", "Imaging Measurements").ContentSequence
    content(groups[-1], "SCOORD").GraphicData = [900.0, 3.0]


def a_segmentation_of_nobody(objects: Objects) -> None:
    reference_to_segment(objects).ReferencedSOPInstanceUID = "2.25.9"


OBSERVER = "VerifyingObserverSequence"
PREDECESSOR = ("PredecessorDocumentsSequence", "ReferencedSeriesSequence", "ReferencedSOPSequence")
VERIFIER = "SR: its VerifyingObserverSequence does not name exactly the reviewer"
REPLACED = "SR: its PredecessorDocumentsSequence is not exactly the reports"
STRANGER = "it names a person whom the source does not name and who is not the reviewer"

MUTATIONS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "called not reviewed": (put("SR", SeriesDescription=f"X: {NOT_REVIEWED}"), ("SR: its SeriesDescription does not",)),
    "PDF called not reviewed": (put("PDF", SeriesDescription=f"X: {NOT_REVIEWED}"), ("PDF: its SeriesDescription",)),
    "not verified": (put("SR", VerificationFlag="UNVERIFIED"), ("SR: its VerificationFlag is not VERIFIED",)),
    "PDF not verified": (put("PDF", VerificationFlag="UNVERIFIED"), ("PDF: its VerificationFlag is not VERIFIED",)),
    "preliminary": (put("SR", PreliminaryFlag="PRELIMINARY"), ("SR: its PreliminaryFlag is not FINAL",)),
    "no verifier": (put("SR", VerifyingObserverSequence=None), (VERIFIER,)),
    "another verifier": (below("SR", OBSERVER, VerifyingObserverName="Somebody^Else"), (VERIFIER, f"SR: {STRANGER}")),
    "the referrer as verifier": (below("SR", OBSERVER, VerifyingObserverName="Roe^Richard"), (VERIFIER,)),
    "two verifiers": (one_verifier_more, (VERIFIER,)),
    "verified at no time": (below("SR", OBSERVER, VerificationDateTime=None),
                            (VERIFIER, "SR: VerificationDateTime is missing")),
    "PDF with a verifier": (lambda o: put("PDF", VerifyingObserverSequence=o["SR"].VerifyingObserverSequence)(o),
                            ("PDF: it has a VerifyingObserverSequence",)),
    "another person": (put("PDF", OperatorsName="Somebody^Else"), (f"PDF: {STRANGER}",)),
    "observer is the referrer": (said("PNAME", PersonName="Roe^Richard"), ("SR: its person observer is not exactly",)),
    "nobody observed": (nobody_observed, ("SR: its person observer is not exactly the reviewer",)),
    "replaces nothing": (a_predecessor_less, (REPLACED,)),
    "replaces something else": (replaces_the_segmentation, (REPLACED,)),
    "replaces a stranger": (below("SR", *PREDECESSOR, ReferencedSOPInstanceUID="2.25.8"),
                            (REPLACED, "SR: it refers to an instance that is neither")),
    "segment": (a_foreign_segment, ("SR: it refers to a segment that does not exist",)),
    "segment of another": (the_segment_of_another, ("SR: a group and its segment have different tracking UIDs",)),
    "segmentation of nobody": (a_segmentation_of_nobody, ("SR: it refers to an instance that is neither",
                               "SR: it refers to an instance that its list of evidence", "SR: it refers to a segment")),
    "added finding outside": (a_point_outside, ("SR: a region lies outside its image",)),
    "another patient": (put("PDF", PatientID="P9"), ("PDF: PatientID is not that of the source",)),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_breaks_a_rule_of_reviews_is_told_by_that_rule_alone(verified: Reviewed, name: str) -> None:
    change, sentences = MUTATIONS[name]
    objects = deepcopy(verified.objects)
    change(objects)
    problems = verified.problems(objects)
    assert any(sentences[0] in one for one in problems), "the rule is blind"
    assert [one for one in problems if not any(each in one for each in sentences)] == []


def test_a_set_that_keeps_the_uids_of_the_model_does_not_leave(verified: Reviewed) -> None:
    objects = deepcopy(verified.objects)
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        setattr(objects["PDF"], keyword, verified.model["PDF"][keyword].value)
    objects["PDF"].file_meta.MediaStorageSOPInstanceUID = objects["PDF"].SOPInstanceUID
    assert verified.problems(objects) == ("PDF: it has the UID of an earlier object or series",)


def test_a_site_that_does_not_verify_lets_nothing_verified_leave(
    verified: Reviewed, unverified: Reviewed
) -> None:
    told = unverified.problems(verified.objects)
    for words in (
        "VerificationFlag is not UNVERIFIED",
        "PreliminaryFlag is FINAL",
        "has a VerifyingObserver",
    ):
        assert any(words in one for one in told), words
    assert all("flag" in one.lower() or "Verifying" in one for one in told)


def test_another_reviewer_and_no_reviewer_at_all_are_told(verified: Reviewed, result: ResultContext) -> None:
    other = verified.problems(review=ReviewRules("dr wang^", is_verified=True))
    for words in (VERIFIER, f"SR: {STRANGER}", "SR: its person observer is not exactly the reviewer"):
        assert any(words in one for one in other), words
    alone = verified.problems(review=None, notice=NOT_REVIEWED)
    assert "SR: it names a person whom the source does not name" in alone
    model = {kind: deepcopy(one) for kind, one in verified.model.items()}
    assert any("does not say “AI result, reviewed”" in one for one in verified.problems(model))


def test_images_that_are_gone_are_a_problem_and_no_exception(verified: Reviewed) -> None:
    objects: dict[str, Dataset] = verified.objects
    none = replace(verified.result)
    object.__setattr__(none, "source_headers", [])
    assert verdict_of(objects, none, **verified.basis).problems
    assert check_result_set([], [], model_name="m", model_version="1").problems
