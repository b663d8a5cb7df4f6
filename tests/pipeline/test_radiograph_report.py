"""The report of a radiograph: words, numbers and pictures, in both languages; a refusal shows its sentence."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.radiograph_images import render_radiograph
from pipeline.report import build_report, render_report_html
from pipeline.report_view import ReportState, ReportView
from pipeline.status import StudyStatus
from study.radiograph import Radiograph
from study.study import Instance, Patient, Series, Study
from tests.radiograph_files import statement
from tests.report_builders import manifest

IMAGE = Radiograph(
    (np.add.outer(np.arange(300), np.arange(200)) * 8).astype(np.uint16), 12, (0.2, 0.2), "1.2.3.1", "1.2.3", "PA",
    window=(500.0, 3000.0), notes=("The image was compressed with loss before it arrived.",),
)  # fmt: skip
INSTANCE = Instance("1.2.3.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.1.2.1", "1", number_of_frames=1)
STUDY = Study(
    "1.2", (Series("1.2.3", "DX", (INSTANCE,), "Chest PA", series_number=2),), Patient("P1", "Doe^Jane")
)
STATEMENTS = (statement(), statement("cardiomegaly", 0.1))


def report(**changes: Any) -> ReportView:
    values: dict[str, Any] = {
        "job_id": "j", "created_at": datetime(2025, 1, 1, tzinfo=UTC), "status": StudyStatus.INFERRED,
        "manifest": manifest(), "radiograph": IMAGE, "statements": STATEMENTS,
    }  # fmt: skip
    return build_report(STUDY, **(values | changes))


def html(view: ReportView, language: str = "en") -> str:
    return render_report_html(view, language=language, for_print=False, image_href=lambda name: name)


class TestWords:
    def test_a_positive_statement_is_the_conclusion_and_a_row_with_its_numbers(self) -> None:
        view = report()
        page = html(view)
        assert view.state is ReportState.FINDINGS
        assert "Signs of: pneumothorax" in page
        assert "Signs of: pneumothorax," not in page
        assert page.count("<strong>positive</strong>") == 1
        assert ">negative<" in page
        assert "0.90" in page
        assert "200 × 300 pixels, 12 bit" in page
        assert "compressed with loss" in page
        assert "axial slices" not in page

    def test_a_negative_result_says_what_it_does_not_exclude(self) -> None:
        view = report(statements=STATEMENTS[1:])
        assert view.state is ReportState.NO_FINDING
        page = html(view)
        assert "called nothing positive" in page
        assert "This does not exclude disease." in page
        assert "axial slices" not in page

    def test_chinese_has_its_own_words_for_everything_on_the_page(self) -> None:
        page = html(report(), "zh")
        for word in ("疑似征象： 气胸", "阳性", "阴性", "心影增大", "概率", "阈值", "彩色"):
            assert word in page
        for word in ("Probability", "Signs of", "positive<", "A neural network", "Rectangle"):
            assert word not in page

    def test_a_refusal_shows_its_sentence_and_no_statement(self) -> None:
        view = report(
            status=StudyStatus.REJECTED, reason=("LATERAL_RADIOGRAPH", "the picture looks like a lateral view")
        )  # fmt: skip
        page = html(view)
        assert view.statements == ()
        assert view.key_images == ()
        assert "the picture looks like a lateral view" in page
        assert "Signs of" not in page

    def test_the_view_survives_its_own_json(self) -> None:
        view = report().without_pixels()
        assert ReportView.from_json(view.as_json()) == view


class TestPictures:
    def test_there_is_the_plain_picture_and_one_for_each_positive_statement(self) -> None:
        names = [image.name for image in report().key_images]
        assert names == ["radiograph.png", "radiograph-1-overlay.png"]

    def test_the_window_of_the_sender_sets_black_and_white(self) -> None:
        plain = np.asarray(Image.open(io.BytesIO(render_radiograph(IMAGE, ())[0].png)).convert("L"))
        assert plain[0, 0] == 0
        assert plain[-1, -1] == 255
        assert abs(plain.shape[0] / plain.shape[1] - 1.5) < 0.01

    def test_the_colour_lies_where_the_map_is_high(self) -> None:
        plain, overlay = (
            np.asarray(Image.open(io.BytesIO(image.png)), int) for image in render_radiograph(IMAGE, STATEMENTS)
        )  # fmt: skip
        changed = np.abs(overlay - plain).sum(axis=2) > 60
        rows, columns = changed.shape
        assert changed[rows * 5 // 28 : rows * 7 // 28, columns * 6 // 28 : columns * 9 // 28].mean() > 0.5
        assert changed[rows // 2 :].mean() < 0.01

    @pytest.mark.parametrize("spacing", [None, (0.3, 0.15)])
    def test_proportions_follow_the_spacing_where_there_is_one(self, spacing: Any) -> None:
        image = Radiograph(IMAGE.pixels, 12, spacing, "1.2.3.1", "1.2.3")
        picture = render_radiograph(image, ())[0]
        wanted = 300 * (spacing or (1, 1))[0] / (200 * (spacing or (1, 1))[1])
        assert picture.height / picture.width == pytest.approx(wanted, rel=0.01)
