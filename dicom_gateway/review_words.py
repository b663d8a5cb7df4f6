"""What a reviewed SR says of its review in sentences, in English and Chinese."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dicom_gateway.chinese_meanings import MEANINGS
from dicom_gateway.nodule_items import composition
from dicom_gateway.result_words import Words
from dicom_gateway.result_words_zh import ChineseWords
from study.review import Verdict, VerdictKind

if TYPE_CHECKING:
    from dicom_gateway.encode_review import ReviewContext

_COUNTED = {
    VerdictKind.ACCEPT: ("accepted", "接受"),
    VerdictKind.EDIT: ("changed", "修改"),
    VerdictKind.REJECT: ("rejected", "否定"),
    VerdictKind.UNSURE: ("left unsure", "不确定"),
    VerdictKind.MISSED: ("added", "补充"),
}
_SAID = {
    VerdictKind.ACCEPT: ("accepted", "接受"),
    VerdictKind.REJECT: ("rejected: not a finding; its group was removed", "否定：并非病变，其测量组已删除"),
    VerdictKind.EDIT: ("changed", "修改"),
    VerdictKind.UNSURE: ("the reader is unsure", "审阅者不确定"),
    VerdictKind.MISSED: ("added by the reader; the model did not report it", "审阅者补充，模型未报告"),
}
_LENGTH_MAX = 8000


def reviewed(text: str, context: ReviewContext) -> str:
    """The notice of a result, in whichever language, as it stands after the review."""
    number = context.review.number
    notices = {
        f"{Words.not_reviewed} by a physician.": f"AI result, reviewed by {context.reader}, review {number}.",
        ChineseWords.not_reviewed_by: f"AI 结果，已由 {context.reader} 审阅（第 {number} 次审阅）。",
    }
    for before, after in notices.items():
        text = text.replace(before, after)
    return text


def conclusion(context: ReviewContext, *, is_chinese: bool) -> str:
    """How the reader judged the findings, counted."""
    review = context.review
    counts = {kind: sum(one.kind is kind for one in review.verdicts) for kind in _COUNTED}
    told = [(count, *_COUNTED[kind]) for kind, count in counts.items() if count]
    if is_chinese:
        words = "，".join(f"{word} {count} 项" for count, _, word in told) or "没有需要判断的所见"
        further = "审阅者未见其他病变。" if review.nothing_missed else ""
        return f"由 {context.reader} 审阅：{words}。{further}以上为审阅者保留的模型结果。"
    words = ", ".join(f"{count} {word}" for count, word, _ in told) or "no finding to judge"
    further = " The reader saw no further finding." if review.nothing_missed else ""
    return f"Reviewed by {context.reader}: {words}.{further} What stands above is the model's, as the reader left it."


def said(verdict: Verdict, context: ReviewContext, *, is_chinese: bool) -> str:
    """One verdict: about what, what, by whom, when, and the reader's note."""
    name = context.names.get(str(verdict.finding_uid), verdict.label or "finding")
    by = f"{verdict.by}, {verdict.at.isoformat(timespec='seconds')}"
    words = _SAID[verdict.kind][is_chinese]
    values = []
    if verdict.size_mm is not None:
        values.append(f"{'平均直径' if is_chinese else 'mean diameter'} {verdict.size_mm:.1f} mm")
    if verdict.nodule_kind is not None:
        kind, code = verdict.nodule_kind.value.replace("_", " "), composition(verdict.nodule_kind)
        values.append(
            f"类型 {MEANINGS[code.value, code.scheme_designator]}" if is_chinese else f"type {kind}"
        )
    if is_chinese:
        name = re.sub(r"^finding\b", "所见", name)
        told = f"（{'，'.join(values)}）" if values else ""
        return f"{name}：{words}{told}。{by}{f'。{verdict.note}' if verdict.note else ''}"[:_LENGTH_MAX]
    told = f" ({', '.join(values)})" if values else ""
    note = f". {verdict.note}" if verdict.note else ""
    return f"{name[:1].upper()}{name[1:]}: {words}{told}. {by}{note}"[:_LENGTH_MAX]
