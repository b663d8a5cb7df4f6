"""The report as HTML: order, words, and text from outside that stays text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from typing import Any

import pytest

from pipeline.report import _environment, render_report_html, report_values
from pipeline.report_text import ZH
from pipeline.report_view import ReportState, ReportView
from pipeline.status import StudyStatus
from study.nodule import NoduleKind
from study.review import Review, ReviewState, Verdict, VerdictKind
from tests.report_builders import manifest, rejected, report

PAYLOADS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></head><body><h1>",
    "{{ 7 * 7 }}{% include 'report.html' %}",
    "<svg/onload=alert(1)>^\u202egnp.exe",
    "&lt;b&gt;&amp;",
)


class _Tree(HTMLParser):
    """Elements and attribute names in order, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((f"/{tag}",))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


AT = datetime(2025, 3, 4, 9, 1, tzinfo=timezone(timedelta(hours=8)))


def verdict(finding: int, kind: VerdictKind, **values: Any) -> Verdict:
    """Dr Roe's word on one of the two findings of `report`."""
    uid = {row.id: row.tracking_uid for row in report().findings}[finding]
    return Verdict(**{"finding_uid": uid, "kind": kind, "by": "Dr Roe", "at": AT, **values})


def reviewed(*verdicts: Verdict, by: str = "Dr Roe") -> Review:
    return Review(ReviewState.REVIEWED, by, AT, verdicts, 1)


def html_of(view: ReportView, language: str = "en", *, for_print: bool = True) -> str:
    return render_report_html(
        view, language=language, for_print=for_print, image_href=lambda name: f"/x/{name}"
    )


def text_of(view: ReportView, language: str = "en") -> str:
    html = html_of(view, language)
    return " ".join(" ".join(_Tree(html[html.index("<body") :]).text).split())


class TestHostileText:
    @pytest.mark.parametrize("payload", PAYLOADS)
    def test_the_element_tree_does_not_depend_on_the_patients_name(self, payload: str) -> None:
        tame, hostile = (
            _Tree(html_of(report(patient={"name": "x"}))),
            _Tree(html_of(report(patient={"name": payload}))),
        )
        assert hostile.elements == tame.elements

    @pytest.mark.parametrize("payload", PAYLOADS)
    @pytest.mark.parametrize("field", ["patient_id", "birth_date", "sex", "age"])
    def test_nor_on_anything_else_of_the_patient(self, payload: str, field: str) -> None:
        tame, hostile = (
            _Tree(html_of(report(patient={field: "x"}))),
            _Tree(html_of(report(patient={field: payload}))),
        )
        assert hostile.elements == tame.elements

    @pytest.mark.parametrize("payload", PAYLOADS)
    def test_nor_on_the_study_the_series_the_model_or_the_reason(self, payload: str) -> None:
        def view(text: str) -> ReportView:
            base = report()
            assert base.model is not None
            assert base.series is not None
            return replace(
                base,
                accession_number=text,
                study_description=text,
                institution=text,
                input_notes=(text,),
                model=replace(
                    base.model, clearance_status=text, intended_use=text, title=text, publisher=text
                ),
                series=replace(base.series, description=text, kernel=text),
                review=reviewed(verdict(1, VerdictKind.ACCEPT, note=text), by=text),
            )

        assert _Tree(html_of(view(payload))).elements == _Tree(html_of(view("x"))).elements
        unread = [html_of(rejected(reason=(text, text))) for text in ("x", payload)]
        assert _Tree(unread[0]).elements == _Tree(unread[1]).elements

    def test_there_is_no_inline_script_or_style_attribute(self) -> None:
        """The portal includes the same body under a policy that forbids both."""
        html = html_of(report())
        body = html[html.index("<body") :]
        for tag, *names in _Tree(body).elements:
            assert tag != "script"
            assert not [name for name in names if name == "style" or name.startswith("on")]


class TestContent:
    def test_the_largest_finding_comes_first_under_its_own_number(self) -> None:
        view = report()
        assert [(row.id, row.mean_diameter_mm) for row in view.findings] == [(2, 7.2), (1, 4.5)]

    def test_rows_have_one_decimal_and_whole_volumes(self) -> None:
        text = text_of(report())
        assert "7.2 8.0 × 6.4 250" in text
        assert "the largest has a mean diameter of 7.2 mm" in text

    def test_what_is_not_known_is_a_dash_and_never_zero(self) -> None:
        view = report()
        assert all((row.lobe, row.kind, row.prior, row.category) == (None,) * 4 for row in view.findings)
        html = html_of(view)
        table = html[html.index("<tbody>") : html.index("</tbody>")]
        assert len(re.findall(r"<td[^>]*>—</td>", table)) == 6 * len(view.findings)
        assert "<td>0" not in table

    def test_the_image_number_is_the_one_the_pacs_shows(self) -> None:
        assert [row.image_number for row in report().findings] == [95, 93]

    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_every_report_names_model_version_digest_clearance_and_job(self, language: str) -> None:
        for view in (report(), report(findings=()), rejected()):
            text = text_of(view, language)
            for expected in (
                manifest().name,
                manifest().version,
                manifest().weights_sha256,
                "0194c3a2-7d1e-7c55-9a63-1f0a2b3c4d5e",
                "2025-03-04 05:06:07 UTC+08:00",
            ):
                assert expected in text
            assert ("AI result, not reviewed" if language == "en" else "人工智能结果，未经医师审核") in text

    def test_no_finding_and_not_analysed_are_not_alike(self) -> None:
        negative, unread = html_of(report(findings=())), html_of(rejected())
        assert "report-conclusion-none" in negative
        assert "report-conclusion-unread" not in negative.split("</style>")[1]
        assert "report-conclusion-unread" in unread.split("</style>")[1]
        assert "No finding" not in text_of(rejected())
        assert "This is not a negative result" in text_of(rejected())
        assert "8.0 mm slices" in text_of(rejected())
        assert "Everything else was not assessed" in text_of(report(findings=()))

    def test_a_rejected_study_has_no_findings_whatever_is_given(self) -> None:
        view = rejected()
        assert (view.state, view.findings, view.key_images) == (ReportState.NOT_ANALYSED, (), ())
        assert report(status=StudyStatus.FAILED, reason=("X", "y")).state is ReportState.FAILED

    def test_who_has_reviewed_it_and_what_was_said_of_each_finding_is_in_words(self) -> None:
        text = text_of(
            report(
                review=reviewed(
                    verdict(1, VerdictKind.REJECT, note="a vessel"),
                    verdict(2, VerdictKind.EDIT, size_mm=8.04, nodule_kind=NoduleKind.SOLID),
                    Verdict(
                        "2.25.9", VerdictKind.MISSED, "Dr Roe", AT, size_mm=5.0, place=("1.2.3.4", 10.0, 12.0)
                    ),
                )
            )
        )
        assert "AI result, reviewed Dr Roe , 2025-03-04 09:01:00 UTC+08:00" in text
        assert "not reviewed" not in text
        assert "rejected Dr Roe 2025-03-04 09:01:00 UTC+08:00 a vessel" in text
        assert "— solid 7.2 8.0 8.0 × 6.4" in text  # what the model said, struck, and what the person says
        assert "+1 added by a person 5.0" in text

    def test_a_review_that_has_begun_is_not_a_review(self) -> None:
        begun = Review(ReviewState.IN_REVIEW, verdicts=(verdict(1, VerdictKind.UNSURE),))
        text = text_of(report(review=begun))
        assert "AI result, review begun and not finished" in text
        assert "Not for use without review by a physician." in text
        assert "unsure Dr Roe" in text

    def test_a_superseded_report_says_so_and_links_the_newer_one(self) -> None:
        old = report(review=Review(ReviewState.SUPERSEDED))
        assert "Do not use this one" in text_of(old)
        values = report_values(old, "en", str, newer_href="/studies/1")
        assert '<a href="/studies/1">' in _environment().get_template("report_body.html").render(**values)

    def test_missing_patient_data_are_dashes(self) -> None:
        empty = dict.fromkeys(("name", "patient_id", "birth_date", "sex", "age"), "")
        assert "Patient — Patient ID — Born — Sex / Age — / —" in text_of(report(patient=empty))


class TestChinese:
    def test_no_english_sentence_is_left(self) -> None:
        for view in (report(), report(findings=()), rejected()):
            text = text_of(view, "zh")
            assert [key for key in ZH if len(key) > 25 and key in text] == []

    def test_name_and_words_are_there(self) -> None:
        text = text_of(report(), "zh")
        assert "王小东 (Wang, XiaoDong)" in text
        assert "标记 2 处疑似肺结节，最大者平均直径 7.2 mm。" in text


class TestStoring:
    def test_a_view_survives_json(self) -> None:
        added = Verdict(
            "2.25.9", VerdictKind.MISSED, "Dr Roe", AT, nodule_kind=NoduleKind.SOLID, place=("1.2", 1.0, 2.0)
        )
        view = report(review=reviewed(verdict(1, VerdictKind.UNSURE), added))
        images = {image.name: image.png for image in view.key_images}
        assert ReportView.from_json(view.as_json(), images) == view
        assert ReportView.from_json(rejected().as_json()) == rejected()

    def test_a_report_of_an_older_release_is_read(self) -> None:
        record = json.loads(json.dumps(report().as_json()))
        record |= {"review": "not_reviewed", "decisions": []}
        del record["model"]["operating_point"]
        for row in record["findings"]:
            for key in ("tracking_uid", "mean_hu", "height_mm", "right_share", "right_of"):
                del row[key]
        for key in ("series_instance_uid", "noise_hu"):
            del record["series"][key]
        old = ReportView.from_json(record)
        assert old.review == Review(ReviewState.NOT_REVIEWED)
        assert "was not measured" in text_of(old)
