"""The gate: who stands for an object: nobody, until a person has reviewed it; then that person and nobody else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset

from dicom_gateway.check_basis import CheckBasis, CheckedObject, ReviewRules
from dicom_gateway.plain_value import plain

_PERSON_OBSERVER_NAME = "121008"
_REPORTS = ("SR", "SR2D", "TEXT")
_BURNED_IN = ("PDF", "SC")


def state_problems(one: CheckedObject, basis: CheckBasis) -> Iterator[str]:
    """Flags and verification of one object, and what a review adds to it."""
    dataset, review = one.dataset, basis.review
    is_verified = review is not None and review.is_verified
    wanted = "VERIFIED" if is_verified else "UNVERIFIED"
    if one.kind in (*_REPORTS, "PDF") and dataset.get("VerificationFlag") != wanted:
        yield f"its VerificationFlag is not {wanted}"
    if one.kind in _REPORTS and dataset.get("CompletionFlag") != "COMPLETE":
        yield "its CompletionFlag is not COMPLETE"
    if one.kind in _REPORTS and (dataset.get("PreliminaryFlag") == "FINAL") != is_verified:
        yield f"its PreliminaryFlag is {'not ' if is_verified else ''}FINAL"
    if review is None or one.kind != "SR" or not is_verified:
        if "VerifyingObserverSequence" in dataset:
            yield "it has a VerifyingObserverSequence"
    elif not _is_verified_by(dataset.get("VerifyingObserverSequence") or (), review):
        yield "its VerifyingObserverSequence does not name exactly the reviewer, with time and organization"
    if one.kind in _BURNED_IN and dataset.get("BurnedInAnnotation") != "YES":
        yield "it does not say that annotation is burned in"
    if review is not None:
        yield from _review_problems(one, basis, review)


def _is_verified_by(observers: Sequence[Dataset], review: ReviewRules) -> bool:
    return [plain(item.get("VerifyingObserverName")) for item in observers] == [
        plain(review.reviewer)
    ] and all(item.get("VerificationDateTime") and item.get("VerifyingOrganization") for item in observers)


def _review_problems(one: CheckedObject, basis: CheckBasis, review: ReviewRules) -> Iterator[str]:
    """An object of its own beside what it replaces; the SR says what that is and who reviewed it."""
    dataset = one.dataset
    earlier = {str(header.SOPInstanceUID) for header in basis.predecessors} | basis.others.keys()
    series = {found.series_instance_uid for uid, found in basis.known.items() if uid in earlier}
    if dataset.get("SOPInstanceUID") in earlier or dataset.get("SeriesInstanceUID") in series:
        yield "it has the UID of an earlier object or series"
    if one.kind != "SR":
        return
    observers = [
        plain(item.get("PersonName"))
        for _, item in one.content_items()
        if any(
            code.get("CodeValue") == _PERSON_OBSERVER_NAME
            for code in item.get("ConceptNameCodeSequence") or ()
        )
    ]
    if observers != [plain(review.reviewer)]:
        yield "its person observer is not exactly the reviewer"
    replaced = [
        str(item.ReferencedSOPInstanceUID)
        for path, item in one.content.items
        if path[:1] == ("PredecessorDocumentsSequence",) and "ReferencedSOPInstanceUID" in item
    ]
    if sorted(replaced) != sorted(str(header.SOPInstanceUID) for header in basis.predecessors):
        yield "its PredecessorDocumentsSequence is not exactly the reports that it replaces"
