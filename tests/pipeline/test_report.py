"""The report as HTML: order, words, and text from outside that stays text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pipeline.report import render_report_html
from pipeline.report_text import ZH
from pipeline.report_view import Decision, ReportState, ReportView, Review, Verdict
from pipeline.status import StudyStatus
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
                decisions=(Decision(1, Verdict.ACCEPTED, text, text),),
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
        assert len(re.findall(r"<td[^>]*>—</td>", table)) == 4 * len(view.findings)
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

    def test_a_report_is_reviewed_when_each_finding_has_a_decision(self) -> None:
        one = Decision(1, Verdict.ACCEPTED, "Dr Roe", "2025-03-04 09:00 UTC+08:00")
        both = (one, Decision(2, Verdict.REJECTED, "Dr Roe", "2025-03-04 09:01 UTC+08:00"))
        assert report(decisions=(one,)).review is Review.NOT_REVIEWED
        assert report(decisions=both).review is Review.REVIEWED
        text = text_of(report(decisions=both))
        assert "AI result, reviewed" in text
        assert "AI result, not reviewed" not in text
        assert "rejected Dr Roe 2025-03-04 09:01 UTC+08:00" in text

    def test_a_superseded_report_says_so(self) -> None:
        assert "Do not use this one" in text_of(report(is_superseded=True))

    def test_a_report_without_findings_is_never_reviewed(self) -> None:
        assert report(findings=()).review is Review.NOT_REVIEWED

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
        view = report(decisions=(Decision(1, Verdict.UNSURE, "Dr Roe", "now"),))
        images = {image.name: image.png for image in view.key_images}
        assert ReportView.from_json(view.as_json(), images) == view
        assert ReportView.from_json(rejected().as_json()) == rejected()
