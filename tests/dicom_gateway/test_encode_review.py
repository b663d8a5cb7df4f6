"""The SR and the PDF of a result as a person reviewed it, read back and by independent validators."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_gateway.check_basis import Known, ReviewRules
from dicom_gateway.encode_errors import ReviewedPlaceUnknown
from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.encode_review import REVIEWED, ReviewContext, encode_reviewed_pdf, encode_reviewed_sr
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.result_context import GuidelineWords, ResultContext
from pipeline.check_results import check_result_set
from pipeline.result_set import as_object
from study.codes import CARDIOMEGALY, HEART
from study.nodule import NoduleKind
from study.review import Review, ReviewState, Verdict, VerdictKind
from tests.dicom_gateway.test_encode_sr import content_tree, reread
from tests.dicom_validators import errors_in, output_of, report_errors
from tests.radiograph_files import radiograph, radiograph_context, statement
from tests.result_builders import ball, characterised, grown, read_source, result_context, synthetic_result

AT = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
MISSED_UID = "2.25.77"


def verdict(uid: str, kind: VerdictKind, **values: Any) -> Verdict:
    return Verdict(uid, kind, "dr chen", AT, **values)


def review_of(*verdicts: Verdict, number: int = 1, complete: bool = False) -> Review:
    return Review(ReviewState.REVIEWED, "dr chen", AT, verdicts, number, complete)


def context_of(review: Review, source: Dataset, **values: Any) -> ReviewContext:
    return ReviewContext(review, {}, "Hospital", predecessors=[source], **values)


def missed(context: ResultContext, **values: Any) -> Verdict:
    uid = str(context.source_headers[3].SOPInstanceUID)
    return verdict(MISSED_UID, VerdictKind.MISSED, place=(uid, 20.5, 30.0), label="nodule", **values)


def all_kinds(context: ResultContext) -> Review:
    """Of three findings one is accepted, one changed and one rejected; one is added."""
    first, second, third = context.findings
    return review_of(
        verdict(first.tracking_uid, VerdictKind.ACCEPT),
        verdict(second.tracking_uid, VerdictKind.EDIT, size_mm=9.0, nodule_kind=NoduleKind.PART_SOLID),
        verdict(third.tracking_uid, VerdictKind.REJECT, note="vessel"),
        missed(context, size_mm=6.0, nodule_kind=NoduleKind.SOLID),
    )


@pytest.fixture(scope="module")
def result() -> ResultContext:
    context = synthetic_result()
    volume = context.volume
    middle = volume.to_lps_mm(np.asarray([6.0, 30.0, 30.0]))
    findings = tuple(
        ball(volume, middle + np.array([offset, 0, 0]), 6.0 + number, id=number, score=1 - number / 10)
        for number, offset in ((1, -12), (2, 0), (3, 12))
    )
    return replace(context, findings=findings)


def tree_of(document: Dataset) -> str:
    return "\n".join(content_tree(reread(document)))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_guideline_is_given_anew_or_withdrawn_when_its_findings_are_others_now(
    result: ResultContext, language: str
) -> None:
    notes = ((1, "4A: solid, 8 to < 15 mm."), (2, "2: solid, < 6 mm."))
    guideline = GuidelineWords("Lung-RADS v2022", "source", "4A", notes)
    judged = replace(result, language=language, guideline=guideline)
    source = encode_sr(judged)
    accepted = review_of(*(verdict(one.tracking_uid, VerdictKind.ACCEPT) for one in judged.findings))
    kept = tree_of(encode_reviewed_sr(source, context_of(accepted, source)))
    changed = tree_of(encode_reviewed_sr(source, context_of(all_kinds(judged), source)))
    for words in ("Lung-RADS v2022: 4A", notes[0][1], notes[1][1]):
        assert words in kept
        assert words not in changed
    withdrawn = {"en": "was withdrawn", "zh": "已撤回"}[language]
    assert withdrawn in changed
    assert withdrawn not in kept
    anew = replace(guideline, worst="4B", notes=((2, "4B: solid, 15 mm or more."),))
    context = replace(context_of(all_kinds(judged), source), guideline=anew)
    given = tree_of(encode_reviewed_sr(source, context))
    for words in (
        "Lung-RADS v2022: 4B",
        "4B: solid, 15 mm",
        {"en": "worked out anew", "zh": "重新得出"}[language],
    ):
        assert words in given
    for words in ("Lung-RADS v2022: 4A", notes[0][1], withdrawn):
        assert words not in given


def test_the_reader_stands_beside_the_model_and_the_report_replaces_that_of_the_model(
    result: ResultContext,
) -> None:
    source = encode_sr(result)
    document = reread(encode_reviewed_sr(source, context_of(all_kinds(result), source)))
    told = "\n".join(content_tree(document))
    assert "Person Observer Name" in told
    assert "Device Observer UID" in told
    [predecessor] = document.PredecessorDocumentsSequence
    [series] = predecessor.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert document.SOPInstanceUID not in (source.SOPInstanceUID, "")
    assert document.StudyInstanceUID == source.StudyInstanceUID
    assert (document.VerificationFlag, document.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert "VerifyingObserverSequence" not in document
    assert "not reviewed" not in str(document.SeriesDescription)
    assert "not reviewed" not in told
    assert source.VerificationFlag == "UNVERIFIED"
    assert "not reviewed" in str(source.SeriesDescription)  # the model's own stays as it is


def test_each_verdict_changes_its_group_and_no_other(result: ResultContext) -> None:
    source = encode_sr(result)
    document = reread(encode_reviewed_sr(source, context_of(all_kinds(result), source)))
    found = highdicom.sr.Comprehensive3DSR.from_dataset(document).content
    groups = {str(group.tracking_uid): group for group in found.get_planar_roi_measurement_groups()}
    first, second, third = result.findings
    assert set(groups) == {first.tracking_uid, second.tracking_uid, MISSED_UID}
    assert third.tracking_uid not in "\n".join(content_tree(document)).split("Qualitative")[0]
    sizes = {uid: _diameter(group) for uid, group in groups.items()}
    assert sizes == {
        first.tracking_uid: round(first.mean_diameter_mm, 2),
        second.tracking_uid: 9.0,
        MISSED_UID: 6.0,
    }
    told = "\n".join(content_tree(document))
    assert "part-solid" in told
    assert "vessel" in told
    assert np.allclose(groups[MISSED_UID].roi.value, [[20.5, 30.0]])


def _diameter(group: Any) -> float:
    return next(float(one.value) for one in group.get_measurements() if one.name.value == "81827009")


def test_what_is_not_left_standing_is_not_detected(result: ResultContext) -> None:
    source = encode_sr(result)
    rejected = review_of(*(verdict(one.tracking_uid, VerdictKind.REJECT) for one in result.findings))
    told = tree_of(encode_reviewed_sr(source, context_of(rejected, source)))
    assert "Measurement Group" not in told
    assert "Imaging Measurements" not in told
    assert "Not detected" in told
    nothing = encode_sr(replace(result, findings=()))
    added = tree_of(encode_reviewed_sr(nothing, context_of(review_of(missed(result)), nothing)))
    assert added.count("Measurement Group") == 1
    assert "Not detected" not in added


def test_the_same_review_is_the_same_document_and_the_next_one_another(result: ResultContext) -> None:
    source = encode_sr(result)
    first, again = (encode_reviewed_sr(source, context_of(all_kinds(result), source)) for _ in range(2))
    assert first == again
    second = encode_reviewed_sr(source, context_of(replace(all_kinds(result), number=2), source))
    assert second.SOPInstanceUID != first.SOPInstanceUID


def test_a_site_that_verifies_names_the_verifying_observer(result: ResultContext) -> None:
    source = encode_sr(result)
    document = reread(encode_reviewed_sr(source, context_of(all_kinds(result), source, is_verified=True)))
    assert (document.VerificationFlag, document.PreliminaryFlag) == ("VERIFIED", "FINAL")
    [observer] = document.VerifyingObserverSequence
    assert observer.VerifyingObserverName.family_name == "dr chen"
    assert observer.VerifyingOrganization == "Hospital"


def test_a_place_on_a_foreign_image_is_refused(result: ResultContext) -> None:
    source = encode_sr(result)
    foreign = verdict(MISSED_UID, VerdictKind.MISSED, place=("1.2.3.999", 1.0, 1.0), label="nodule")
    with pytest.raises(ReviewedPlaceUnknown):
        encode_reviewed_sr(source, context_of(review_of(foreign), source))


def test_the_pdf_of_the_review_is_another_document_with_the_new_bytes(result: ResultContext) -> None:
    source = encode_pdf(result, b"%PDF-1.7 model")
    document = encode_reviewed_pdf(source, context_of(review_of(), source), b"%PDF-1.7 reader!")
    assert document.EncapsulatedDocument[: document.EncapsulatedDocumentLength] == b"%PDF-1.7 reader!"
    assert document.SOPInstanceUID != source.SOPInstanceUID
    assert "not reviewed" not in document.DocumentTitle


def test_statements_about_a_radiograph_are_turned_and_added() -> None:
    header = radiograph(np.zeros((200, 120), np.uint16))
    del header.PixelData
    positive, negative = statement(), statement("cardiomegaly", 0.1)
    negative = replace(negative, tracking_uid="2.25.2", code=CARDIOMEGALY, site=HEART)
    context = radiograph_context(header, [positive, negative])
    place = (str(header.SOPInstanceUID), 60.0, 120.0)
    review = review_of(
        verdict(positive.tracking_uid, VerdictKind.REJECT),
        verdict(MISSED_UID, VerdictKind.MISSED, place=place, label="cardiomegaly"),
    )
    both, source = (positive, negative), encode_sr(context)
    named = context_of(
        review,
        source,
        statements={one.tracking_uid: one.label for one in both},
        codes={one.label: one.code for one in both},
        sites={one.label: one.site for one in both if one.site is not None},
    )
    document = reread(encode_reviewed_sr(source, named))
    [group] = highdicom.sr.Comprehensive3DSR.from_dataset(
        document
    ).content.get_planar_roi_measurement_groups()
    assert group.finding_type.value == CARDIOMEGALY.value
    assert group.finding_sites[0].value.value == HEART.value
    answers = {
        item.ConceptNameCodeSequence[0].CodeMeaning: item.ConceptCodeSequence[0].CodeMeaning
        for item in document.ContentSequence[-1].ContentSequence
        if item.ValueType == "CODE"
    }
    assert answers[positive.code.meaning] == "Not detected"
    assert answers[CARDIOMEGALY.meaning] == "Detected"


@pytest.mark.peer
def test_validators_find_no_error_in_reviewed_reports(shared_data: Path, tmp_path: Path) -> None:
    headers, volume = read_source(shared_data / "ct_chest_lidc0314_1mm" / "dicom")
    middle = volume.to_lps_mm(np.asarray([volume.voxels.shape[0] / 2, 256.0, 200.0]))
    findings = (
        grown(ball(volume, middle, 15.0, id=1, score=0.97)),
        characterised(ball(volume, middle + np.array([60, 10, 5]), 8.0, id=2, score=0.7), state="new"),
        ball(volume, middle + np.array([-20, 30, -15]), 25.0, id=3, score=0.55, segment=False),
    )
    context = result_context(headers, volume, findings)
    source, segmentation = encode_sr(context), encode_seg(context)
    assert segmentation is not None
    last = [verdict(one.tracking_uid, VerdictKind.REJECT) for one in findings[1:]]
    reviews = {
        "all": (all_kinds(context), True),
        "lone": (review_of(verdict(findings[0].tracking_uid, VerdictKind.ACCEPT), *last), False),
        "none": (
            review_of(*last, verdict(findings[0].tracking_uid, VerdictKind.REJECT), complete=True),
            False,
        ),
    }
    for name, (review, is_verified) in reviews.items():
        path = tmp_path / f"{name}.dcm"
        document = encode_reviewed_sr(source, context_of(review, source, is_verified=is_verified))
        document.save_as(path, enforce_file_format=True)
        assert errors_in(output_of("dciodvfy", path)) == [], name
        gate = check_result_set(
            [as_object("SR", document)],
            headers,
            model_name=context.model_name,
            model_version=context.model_version,
            predecessors=[source],
            others={str(segmentation.SOPInstanceUID): Known.of(segmentation)},
            notice=REVIEWED,
            review=ReviewRules("dr chen^", is_verified),
        )
        assert gate.problems == (), name
    # Each takes seconds.
    assert report_errors([tmp_path / "all.dcm", tmp_path / "lone.dcm"]) == []
