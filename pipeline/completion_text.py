"""The reason of a decision about an arrival as a sentence, in the languages of the portal."""

from __future__ import annotations

import re
from typing import Any

# “1 images are” as people say it.
_ONE = re.compile(r"\b1 (images|slices|studies)( are)?\b")
_SINGULAR = {"images": "image", "slices": "slice", "studies": "study"}

# code → (English, Chinese); the braces are filled by `_words`.
_SENTENCES = {
    # complete
    "mpps": ("all {images} images that MPPS lists are here", "MPPS 所列的 {images} 幅图像已全部到达"),
    "mpps_kept": (
        "all {images} images that MPPS lists and this sender sends are here; {absent} of the listed series it has never"
        " sent",
        "MPPS 所列且该发送方会发送的 {images} 幅图像已全部到达；另列出的 {absent} 个序列它从不发送",
    ),
    "counts": (
        "the PACS has {images} images in {series} series; all are here",
        "PACS 有 {series} 个序列共 {images} 幅图像，已全部到达",
    ),
    "quiet": (
        "{images} images, then quiet for {silence_s} s (quiet time {quiet_s} s)",
        "收到 {images} 幅图像后静默 {silence_s} 秒（静默时间 {quiet_s} 秒）",
    ),
    "quiet_learned": (
        "{images} images, then quiet for {silence_s} s; this sender's studies rarely pause longer than {pause_s} s"
        " (learned from {studies} studies)",
        "收到 {images} 幅图像后静默 {silence_s} 秒；该发送方的检查很少停顿超过 {pause_s} 秒（据 {studies} 次检查学得）",
    ),
    "not_sent": (
        "everything of the series that have begun is here; nothing came for {silence_s} s of {absent} series that are"
        " listed too",
        "已开始的序列均已到齐；另列出的 {absent} 个序列 {silence_s} 秒内没有图像到达",
    ),
    "gap_given_up": (
        "{images} slices are missing inside {series}; nothing came for {silence_s} s",
        "{series}内缺少 {images} 层；{silence_s} 秒内没有新图像",
    ),
    "series": (
        "{series} is whole ({images} images); other series still arrive",
        "{series}已到齐（{images} 幅）；其他序列仍在到达",
    ),
    "several_series": (
        "{series_count} series are whole ({images} images); other series still arrive",
        "{series_count} 个序列已到齐（{images} 幅）；其他序列仍在到达",
    ),
    "person": ("a person asked to process what is here", "有人要求立即处理已到达的图像"),
    "forced_missing": (
        "nothing came for {silence_s} s; processed although {images} images are missing",
        "{silence_s} 秒内没有新图像；缺少 {images} 幅图像，仍予处理",
    ),
    "forced_required": (
        "nothing came for {silence_s} s; processed without the required series {series}",
        "{silence_s} 秒内没有新图像；缺少必需序列 {series}，仍予处理",
    ),
    # wait
    "missing_of_series": ("waiting for {images} {noun} of {series}", "等待{series}的 {images} {noun}"),
    "missing_of_several": (
        "waiting for {images} images of {series_count} series",
        "等待 {series_count} 个序列的 {images} 幅图像",
    ),
    "missing_of_study": ("waiting for {images} images", "等待 {images} 幅图像"),
    "slice_gap": ("waiting for {images} slices inside {series}", "等待{series}内的 {images} 层"),
    "required_series": ("waiting for the required series {series}", "等待必需序列 {series}"),
    "in_progress": (
        "the examination is in progress (MPPS); {images} images are here",
        "检查正在进行（MPPS）；已到达 {images} 幅图像",
    ),
    "archive_is_filling": (
        "the PACS itself may still be filled; {images} images are here",
        "PACS 自身可能仍在接收；已到达 {images} 幅图像",
    ),
    "steps_differ": (
        "this sender's MPPS does not list what it sends; so far {images} images came",
        "该发送方的 MPPS 所列与其实际发送不符；已到达 {images} 幅图像",
    ),
    "steps_untried": (
        "too few studies have shown whether this sender's MPPS lists everything; so far {images} images came",
        "尚无足够检查表明该发送方的 MPPS 是否列全；已到达 {images} 幅图像",
    ),
    "asking_archive": ("asking the PACS how many images it has", "正在询问 PACS 图像数量"),
    "association_open": (
        "the association is open; last image {silence_s} s ago",
        "连接仍打开；最近一幅图像在 {silence_s} 秒前",
    ),
    "association_aborted": (
        "the association was aborted before it was released; the sender may go on",
        "连接在释放前被中止；发送方可能继续发送",
    ),
    "association_lost": (
        "the association was lost before it was released; the sender may go on",
        "连接在释放前中断；发送方可能继续发送",
    ),
    "quiet_time": (
        "{images} images are here; complete after {quiet_s} s without another",
        "已到达 {images} 幅图像；静默 {quiet_s} 秒后视为完整",
    ),
    "quiet_time_learned": (
        "{images} images are here; complete after {quiet_s} s without another"
        " (this sender's studies rarely pause longer than {pause_s} s)",
        "已到达 {images} 幅图像；静默 {quiet_s} 秒后视为完整（该发送方很少停顿超过 {pause_s} 秒）",
    ),
    "busy": (
        "new images wait for the end of the revision in progress",
        "新图像等待当前版本处理结束",
    ),
    # a person decides
    "ask_missing": (
        "{images} images are missing and nothing came for {silence_s} s: process or discard?",
        "缺少 {images} 幅图像，{silence_s} 秒内没有新图像：处理还是放弃？",
    ),
    "ask_required": (
        "the required series {series} is missing and nothing came for {silence_s} s: process or discard?",
        "缺少必需序列 {series}，{silence_s} 秒内没有新图像：处理还是放弃？",
    ),
    "ask_late": (
        "{images} images came after the end: process them or leave them aside?",
        "检查结束后又到达 {images} 幅图像：处理还是搁置？",
    ),
    # not processed
    "discarded_by_person": ("a person discarded what is here", "有人放弃了已到达的图像"),
    "discarded_missing": (
        "{images} images are missing and nothing came for {silence_s} s; the rule discards such a study",
        "缺少 {images} 幅图像，{silence_s} 秒内没有新图像；按规则放弃",
    ),
    "discarded_required": (
        "the required series {series} is missing and nothing came for {silence_s} s; the rule discards such a study",
        "缺少必需序列 {series}，{silence_s} 秒内没有新图像；按规则放弃",
    ),
    "late_ignored": (
        "{images} images came after the end and are left aside",
        "检查结束后又到达 {images} 幅图像，已搁置",
    ),
}
_BROKEN = {
    "aborted": ("the association was aborted before it was released", "连接在释放前被中止"),
    "lost": ("the association was lost before it was released", "连接在释放前中断"),
    "open": ("the association is still open", "连接仍打开"),
}


def sentence(decision: dict[str, Any], language: str = "en") -> str:
    """decision: as `arrival.decision` holds it. Empty for an arrival that nobody has looked at yet."""
    code = decision.get("code")
    if code not in _SENTENCES:
        return str(code or "")
    column = 1 if language == "zh" else 0
    text = _SENTENCES[code][column].format(**_words(decision.get("values", {}), column))
    if decision.get("started"):
        text = _started(decision["started"], column) + text
    association = decision.get("association", "")
    if decision.get("verdict") == "complete" and association in _BROKEN:
        text += ("；" if column else "; ") + _BROKEN[association][column]
    return text if column else _ONE.sub(lambda one: f"1 {_SINGULAR[one[1]]}{' is' if one[2] else ''}", text)


def _started(values: dict[str, Any], column: int) -> str:
    """“started with series 4; 2 series still arriving; ”."""
    words = _words(values, column)
    what = (
        words.get("series") or (f"{words['series_count']} series", f"{words['series_count']} 个序列")[column]
    )
    return (
        f"started with {what}; {words['others']} series still arriving; ",
        f"已开始处理{what}；另有 {words['others']} 个序列仍在到达；",
    )[column]


def _words(values: dict[str, Any], column: int) -> dict[str, Any]:
    """Numbers without needless digits; a series by its number, else by what is known of it."""
    words = {key: f"{value:g}" if isinstance(value, float) else value for key, value in values.items()}
    if "modality" in values:
        modality = values["modality"]
        is_stack = modality in ("CT", "MR", "PT")
        words["noun"] = (("slices", "层") if is_stack else ("images", "幅图像"))[column]
        if values["series"] != "":
            words["series"] = (f"series {values['series']}", f"序列 {values['series']} ")[column]
        elif modality:
            words["series"] = (f"a {modality} series", f"一个 {modality} 序列")[column]
        else:
            words["series"] = ("a series that has not begun", "一个尚未开始的序列")[column]
    return words
