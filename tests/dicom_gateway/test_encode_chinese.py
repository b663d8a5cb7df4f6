"""The SR of a tenant that reads Chinese: the same document in other words."""

from __future__ import annotations

import re

import pytest

from dicom_gateway.encode_review import encode_reviewed_sr
from dicom_gateway.encode_sr import encode_sr
from study.nodule import NoduleKind, PriorRead
from study.review import VerdictKind
from tests.dicom_gateway.test_encode_radiograph import items
from tests.dicom_gateway.test_encode_review import context_of, review_of, verdict
from tests.dicom_gateway.test_encode_sr import content_tree
from tests.result_builders import synthetic_result


def test_only_words_differ_from_the_english_document() -> None:
    prior = PriorRead("20240901", 183, 0.97)
    english, chinese = (
        content_tree(encode_sr(synthetic_result(language=language, prior=prior, finding_mm=(4.0, 80.0))))
        for language in ("en", "zh")
    )
    assert len(english) == len(chinese)
    codes = re.compile(r"\(([^()]+, (?:DCM|SCT|UMLS|LN|RADELEMENT|99RADMETER))\)")
    for one, other in zip(english, chinese, strict=True):
        assert codes.findall(one) == codes.findall(other)


@pytest.mark.parametrize("findings", [(), None], ids=["none", "two"])
def test_no_english_sentence_and_no_english_meaning_is_left(findings: tuple[()] | None) -> None:
    changes = {} if findings is None else {"findings": findings}
    said = {"clearance_status": "未获批用于临床。", "intended_use": "科研。"}
    context = synthetic_result(language="zh", prior=PriorRead("20240901", 183, 0.97), **said, **changes)
    ours = re.compile(
        r"lung_nodule_ct( finding \d)?|SHA-256|weights_sha256=|(ab){32}|operating_threshold=|radmeter project"
    )
    for item in items(encode_sr(context)):
        meanings = [
            str(code.CodeMeaning)
            for keyword in ("ConceptNameCodeSequence", "ConceptCodeSequence")
            for code in item.get(keyword, [])
        ]
        words = ours.sub("", " ".join([*meanings, str(item.get("TextValue", ""))]))
        assert not re.search(r"[A-Za-z]{4,}", words), words


def test_the_language_is_coded_and_the_negative_result_reads_as_one() -> None:
    text = "\n".join(
        content_tree(encode_sr(synthetic_result(language="zh", findings=(), finding_mm=(4.0, 80.0))))
    )
    assert "= 中文（中国） (zh-CN, RFC5646)" in text
    assert "模型在工作阈值 0.5 及以上未检出 4 mm 及以上的肺结节。这并不排除疾病。" in text
    assert "未评估：4 mm 以下的结节、所有其他征象" in text


def test_a_review_of_it_is_chinese_too_and_says_no_longer_that_nobody_has_read_it() -> None:
    context = synthetic_result(language="zh")
    source = encode_sr(context)
    review = review_of(
        verdict(context.findings[0].tracking_uid, VerdictKind.ACCEPT),
        verdict(
            context.findings[1].tracking_uid, VerdictKind.EDIT, size_mm=7.0, nodule_kind=NoduleKind.SOLID
        ),
    )
    text = "\n".join(content_tree(encode_reviewed_sr(source, context_of(review, source))))
    assert "未经" not in text
    assert "审阅者接受 (REVIEW_ACCEPTED, 99RADMETER)" in text
    assert "接受 1 项，修改 1 项" in text
    assert "修改（平均直径 7.0 mm，类型 实性）" in text
