"""The report as PDF: what is on every page, in both scripts."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pypdf import PdfReader

from pipeline import report_fonts, report_pdf
from pipeline.report import render_report_pdf
from pipeline.report_errors import FontMissing, ReportLanguageUnknown, ReportNotRendered
from pipeline.report_file import load_report, save_report
from pipeline.report_pdf import print_in_child
from pipeline.report_view import ReportView
from tests.report_builders import lung_volume, manifest, rejected, report, two_findings


def pages(view: ReportView, language: str = "en") -> list[str]:
    reader = PdfReader(io.BytesIO(render_report_pdf(view, language)))
    return [" ".join(page.extract_text().split()) for page in reader.pages]


def many_findings() -> ReportView:
    view = report()
    row = view.findings[0]
    return replace(view, findings=tuple(replace(row, id=number) for number in range(1, 81)))


def test_every_page_says_what_it_is_and_which_page_it_is() -> None:
    printed = pages(many_findings())
    assert len(printed) >= 3
    for number, text in enumerate(printed, start=1):
        assert "AI result, not reviewed" in text
        assert manifest().clearance_status in text
        assert f"Page {number} of {len(printed)}" in text
        assert f"model lung_nodule_ct {manifest().version}" in text
        assert f"weights {manifest().weights_sha256[:16]}" in text
        assert "job 0194c3a2-7d1e-7c55-9a63-1f0a2b3c4d5e" in text
        assert "2025-03-04 05:06:07 UTC+08:00" in text
        assert "Intended use: " + manifest().intended_use[:40] in text


def test_of_two_thousand_findings_the_worst_are_printed_and_the_others_counted() -> None:
    view = report()
    row = replace(view.findings[0], kind="solid")
    view = replace(view, findings=tuple(replace(row, id=number) for number in range(1, 2001)))
    started = time.monotonic()
    text = " ".join(pages(view))
    assert time.monotonic() - started < 20
    assert "60 of 2000 findings are listed here. All are in the SR and the SEG. solid: 2000" in text
    assert "2000 findings marked as possible pulmonary nodules" in text


@pytest.mark.parametrize("view", [report(findings=()), rejected()], ids=["no finding", "rejected"])
def test_a_report_without_findings_is_one_page(view: ReportView) -> None:
    assert len(pages(view)) == 1


def test_one_finding_fits_one_page_with_its_pictures() -> None:
    view = report(findings=two_findings(lung_volume())[1:])
    reader = PdfReader(io.BytesIO(render_report_pdf(view, "en")))
    assert len(reader.pages) == 1
    assert len(reader.pages[0].images) == 3


def test_chinese_characters_are_printed_with_glyphs_of_an_embedded_font() -> None:
    pdf = render_report_pdf(report(), "zh")
    reader = PdfReader(io.BytesIO(pdf))
    text = "".join(page.extract_text() for page in reader.pages)
    assert "人工智能结果，未经医师审核" in text
    assert "王小东" in text
    fonts = {
        str(font.get_object()["/BaseFont"])
        for page in reader.pages
        for font in page["/Resources"]["/Font"].values()
    }
    assert any("CJK" in name or "WenQuanYi" in name or "Han" in name for name in fonts), fonts


def test_the_same_report_prints_to_the_same_bytes() -> None:
    assert render_report_pdf(report(), "en") == render_report_pdf(report(), "en")


def test_another_language_is_refused() -> None:
    with pytest.raises(ReportLanguageUnknown):
        render_report_pdf(report(), "tlh")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://127.0.0.1:9/x.png", "key-image:other"])
def test_nothing_but_the_reports_own_pictures_is_fetched(url: str) -> None:
    """Even a template that let markup through could not read a file or call out."""
    reader = PdfReader(io.BytesIO(print_in_child(f'<p>body</p><img src="{url}">', {})))
    assert len(reader.pages[0].images) == 0


def test_a_failure_to_print_is_named_without_quoting_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(report_pdf.sys, "executable", "/bin/false")
        with pytest.raises(ReportNotRendered, match=r"exit 1"):
            render_report_pdf(report(), "en")
    monkeypatch.setattr(report_pdf, "_WALL_CLOCK_S", 0.05)
    with pytest.raises(ReportNotRendered, match="took longer"):
        render_report_pdf(report(), "en")


def test_a_missing_chinese_font_stops_loudly_with_the_line_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "fc-list"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert report_fonts.missing_fonts() is not None
    with pytest.raises(FontMissing, match="apt-get install fonts-wqy-microhei"):
        render_report_pdf(report(), "en")


def test_a_stored_report_comes_back_whole(tmp_path: Path) -> None:
    view = report()
    save_report(tmp_path, view, b"%PDF-1.7")
    assert load_report(tmp_path) == view
    assert (tmp_path / "report.pdf").read_bytes() == b"%PDF-1.7"
