"""Sentences by code: they are read back, and a Chinese page says them in Chinese, values and all."""

from __future__ import annotations

import re
import string
import time

import pytest

from dicom_gateway.decode_errors import DecodeError
from models.chest_radiograph.errors import REFUSALS
from models.errors import UnfitInput, VolumeTooThin
from pipeline.reason_text import ZH_REASONS, reason_text
from pipeline.report_text import words
from study.sentences import SENTENCES, TEXT_LENGTH_MAX, read, say, translated
from tests.conftest import ROOT


def holes(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


@pytest.mark.parametrize("code", SENTENCES)
def test_each_sentence_is_read_back_with_its_values(code: str) -> None:
    english, chinese = SENTENCES[code]
    assert holes(english) == holes(chinese)
    values = {name: f"x{number} y" for number, name in enumerate(holes(english))}
    assert read(say(code, **values)) == (code, values)


def test_values_are_said_in_chinese_too() -> None:
    text = say("STRUCTURES_NOT_FOUND", names="right middle lobe, left upper lobe")
    assert translated(text, "zh", words("zh")) == "未找到：右肺中叶、左肺上叶。"
    assert translated(say("LUNGS_CUT", side="superior", area="41"), "zh").startswith(
        "肺在图像上缘被截断（肺截面 41"
    )


def test_a_sentence_in_a_sentence_is_translated_too() -> None:
    why = say("NONE_FITS", n=3, model="Lung nodules", why=say("SLICES_TOO_THICK", mm="8", limit="5"))
    for inner in (why, why.rstrip(".")):
        text = say("PRIOR_NOT_COMPARED", date="2025-10-01", why=inner)
        assert translated(text, "zh") == (
            "2025-10-01 的既往检查无法比较：3 个序列均不适合“Lung nodules”：层厚 8 mm，超过上限 5 mm。"
        )
    assert translated(text, "en") == text


def test_what_is_not_ours_stays_and_costs_no_time() -> None:
    assert translated("The gantry said <b>no</b>.", "zh") == "The gantry said <b>no</b>."
    hostile = ("the modality is " * 70)[: TEXT_LENGTH_MAX - 1] + ", not"
    started = time.process_time()
    assert read(hostile) is None
    assert read("x" * 10**6) is None
    assert time.process_time() - started < 1.0


def test_every_refusal_has_its_chinese() -> None:
    for error in (*(one() for one in REFUSALS.values()), VolumeTooThin(10, 20)):
        assert isinstance(error, UnfitInput)
        assert not reason_text(error.code, str(error), "zh").isascii()
    for kind in DecodeError.__subclasses__():
        assert kind.code in ZH_REASONS
    documented = re.findall(
        r"^\| `([A-Z_]+)` \|", (ROOT / "docs/statuses.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(documented) > 40
    assert {code for code in documented if code not in ZH_REASONS and code not in SENTENCES} <= {
        "LOCALIZER", "DERIVED_IMAGES",  # their sentence has other codes
    }  # fmt: skip
    assert reason_text("MISSING_SLICES", "slices are missing at z = 3 mm", "zh").startswith("序列缺层。（")
