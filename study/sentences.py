# ruff: noqa: E501  a sentence and its translation stay on one line
"""What is said of an input or a result: sentences by code, with values in them, in English and Chinese.

The English text is what is stored and sent. It can be read back: the code and the values are found in it again, so
that a Chinese page says a sentence in Chinese that was written years ago or by another process.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

TEXT_LENGTH_MAX = 1000
VALUE_LENGTH_MAX = 600
_DEPTH_MAX = 3

SENTENCES: dict[str, tuple[str, str]] = {
    # what decoding has noticed
    "COPIES_LEFT_OUT": ("{n} identical copies of slices were left out.", "已排除 {n} 层重复图像。"),
    "COPY_LEFT_OUT": ("{n} identical copy of a slice was left out.", "已排除 {n} 层重复图像。"),
    "LOCALIZERS_LEFT_OUT": ("{n} localizer images were left out of the volume.", "已从容积中排除 {n} 幅定位像。"),
    "LOCALIZER_LEFT_OUT": ("{n} localizer image was left out of the volume.", "已从容积中排除 {n} 幅定位像。"),
    "OTHERS_LEFT_OUT": ("{n} slices of another {group} at the same positions were left out.", "已排除相同位置上属于另一{group}的 {n} 层图像。"),
    "TILT_CORRECTED": ("A gantry tilt of {degrees}° was corrected: slices were shifted upright.", "已校正机架倾斜 {degrees}°：各层已平移对齐。"),
    "LOSSY": ("The images were compressed with loss before they arrived.", "图像在到达前已经过有损压缩。"),
    "LOSSY_IMAGE": ("The image was compressed with loss before it arrived.", "图像在到达前已经过有损压缩。"),
    "UNIT_UNSPECIFIED": ("The unit of the stored values is unspecified (US); they were read as Hounsfield units.", "存储值的单位未指明（US），按亨氏单位读取。"),
    "FOR_PROCESSING": ("The image is unprocessed (FOR PROCESSING).", "图像未经处理（FOR PROCESSING）。"),
    # what models have noticed
    "LUNGS_CUT": ("The lungs are cut at the {side} edge of the images ({area} cm² of lung); what lies beyond was not assessed.", "肺在图像{side}缘被截断（肺截面 {area} cm²）；范围之外的部分未评估。"),
    "STRUCTURES_NOT_FOUND": ("Not found: {names}.", "未找到：{names}。"),
    "NO_LOBES": ("The lobes were not segmented, so no finding names its lobe.", "未分割肺叶，因此所见未注明肺叶。"),
    "NOT_CALIBRATED": ("The probabilities are as the bundle's network gives them; nobody has calibrated them here.", "概率为网络的原始输出，未在此处校准。"),
    "OTHER_ENGINE": ("Computed by {engine}, because {wanted} did not answer ({code}).", "由 {engine} 计算，因为 {wanted} 没有应答（{code}）。"),
    # comparison
    "NOT_COMPARED": ("Not compared with the prior study: {why}.", "未与既往检查比较：{why}。"),
    "FINDING_NOT_COMPARED": ("Finding {n} lies where the prior study shows nothing: it was not compared.", "所见 {n} 所在位置不在既往检查的范围内：未作比较。"),
    "SEEN_NOT_MARKED": ("{n} place(s) marked in the prior study still show something, which is not marked in this one.", "既往检查标记的 {n} 处位置仍可见异常，本次未标记。"),
    "PRIOR_NOT_COMPARED": ("The prior study of {date} could not be compared: {why}.", "{date} 的既往检查无法比较：{why}。"),
    "PRIOR_OF_ANY_DATE_NOT_COMPARED": ("The prior study could not be compared: {why}.", "既往检查无法比较：{why}。"),
    "PRIOR_NOT_HERE": ("A prior study of {date} was not here when the findings were made: {why}.", "得出所见时，{date} 的既往检查尚未到达：{why}。"),
    "RADIOGRAPH_NOT_COMPARED": ("A radiograph is not compared with a prior study.", "X 线片不与既往检查比较。"),
    "STILL_FETCHED": ("it was still being fetched", "仍在取回中"),
    "ARCHIVE_SENT_NOTHING": ("the archive sent nothing", "归档未发送任何内容"),
    "OTHER_PATIENT_ID": ("it has another Patient ID", "患者编号不同"),
    "OTHER_BIRTH_DATE": ("it has another birth date", "出生日期不同"),
    "NOT_ALIKE": ("the scans do not lie upon one another (correlation {correlation}, overlap {overlap})", "两次扫描无法重合（相关系数 {correlation}，重叠 {overlap}）"),
    "NO_COMMON_LUNG": ("the scans share no lung that could be aligned", "两次扫描没有可配准的共同肺区"),
    "NO_LUNGS_IN_SCAN": ("a scan shows no lungs", "其中一次扫描未见肺"),
    "SCAN_TOO_SMALL": ("a scan covers too little", "其中一次扫描范围过小"),
    "AXES_SKEWED": ("a scan's axes are not at right angles", "其中一次扫描的坐标轴不正交"),
    # why nothing was analysed
    "DOES_NOT_FIT": ("The series does not fit {model}: {why}.", "该序列不适合“{model}”：{why}。"),
    "NONE_FITS": ("None of {n} series fits {model}: {why}.", "{n} 个序列均不适合“{model}”：{why}。"),
    "PATIENT_AGE_UNKNOWN": ("The patient's age is not known: neither Patient's Age nor Patient's Birth Date says it. {model} is made for {youngest} years and more, and says nothing about a younger patient.", "患者年龄未知：年龄与出生日期均未给出。“{model}”适用于 {youngest} 岁及以上，不适用于更年轻的患者。"),
    "CHEST_OF_CHILD_SIZE": ("The lungs are {mm} mm wide together, as in a child.", "双肺总宽 {mm} mm，与儿童相符。"),
    "PATIENT_TOO_YOUNG": ("The patient is {age} years old; {model} is made for {youngest} years and more.", "患者 {age} 岁；“{model}”适用于 {youngest} 岁及以上。"),
    "NO_SERIES": ("The study holds no series.", "该检查没有序列。"),
    "NO_IMAGES": ("a {modality} series without images", "{modality} 序列没有图像"),
    "WRONG_MODALITY": ("the modality is {given}, not {wanted}", "模态为 {given}，应为 {wanted}"),
    "WRONG_IMAGE_TYPE": ("the images are of type {kind}", "图像类型为 {kind}"),
    "WRONG_BODY_PART": ("the body part is {given}, not {wanted}", "检查部位为 {given}，应为 {wanted}"),
    "GEOMETRY_MISSING": ("the images do not say where they lie in the patient", "图像缺少空间位置信息"),
    "NOT_AXIAL": ("the slices are not axial", "图像不是轴位"),
    "ONE_SLICE": ("1 slice is fewer than the {needed} it needs", "1 层，少于所需的 {needed} 层"),
    "TOO_FEW_SLICES": ("{n} slices are fewer than the {needed} it needs", "{n} 层，少于所需的 {needed} 层"),
    "TOO_MANY_SLICES": ("{n} slices are more than the {most} it takes", "{n} 层，多于上限 {most} 层"),
    "SLICES_TOO_THICK": ("slices of {mm} mm are thicker than the {limit} mm it reads", "层厚 {mm} mm，超过上限 {limit} mm"),
    "SEVERAL_FRAMES": ("the radiographs have several frames", "X 线片含多帧"),
    "WRONG_VIEW": ("the view is {given}, not {wanted}", "体位为 {given}，应为 {wanted}"),
    "WRONG_KIND_OF_IMAGE": ("the model reads {wanted}, not {given}", "模型读取 {wanted}，而非 {given}"),
    "LUNGS_NOT_FOUND": ("no lungs were found in the volume, so it cannot be searched for lung nodules", "容积中未找到肺，无法检索肺结节"),
    "VOLUME_TOO_THIN": ("the slices cover {mm} mm, the model needs at least {needed} mm", "图像覆盖 {mm} mm，模型至少需要 {needed} mm"),
    "VOLUME_TOO_LARGE": ("at the model's spacing the volume has {n} voxels, at most {most} are read", "按模型间距该容积有 {n} 个体素，上限为 {most}"),
    "RADIOGRAPH_TOO_SMALL": ("the radiograph has {columns} x {rows} pixels, the model needs {needed} on each side: send the original", "X 线片为 {columns} x {rows} 像素，模型每边至少需要 {needed}：请发送原始图像"),
    "RADIOGRAPH_WITHOUT_CONTRAST": ("the radiograph is blank or nearly so: nothing can be seen on it", "X 线片几乎空白，无法辨认"),
    "NOT_A_CHEST_RADIOGRAPH": ("the picture does not look like a frontal chest radiograph, so it was not judged", "图像不像正位胸片，因此未作判断"),
    "LATERAL_RADIOGRAPH": ("the picture looks like a lateral view: the model reads frontal (PA or AP) ones only", "图像似为侧位：模型仅读取正位（PA 或 AP）"),
    "INVERTED_RADIOGRAPH": ("black and white are exchanged: Photometric Interpretation contradicts the pixels; correct it at the source", "黑白颠倒：Photometric Interpretation 与像素矛盾，请在源端更正"),
    "TURNED_RADIOGRAPH": ("the chest lies on its side or upside down: turn the image at the source and send it again", "胸部横置或倒置：请在源端转正后重新发送"),
    "CROPPED_RADIOGRAPH": ("only a part of the chest is shown, and findings in the rest would be missed", "仅显示部分胸部，其余部分的所见会被遗漏"),
}  # fmt: skip

ZH_VALUES = {
    "left": "左",
    "right": "右",
    "posterior": "后",
    "anterior": "前",
    "superior": "上",
    "inferior": "下",
    "acquisition": "采集",
    "temporal position": "时相",
    "image type": "图像类型",
    "convolution kernel": "重建核",
    "not given": "未注明",
    "nameless": "未注明模态的",
    "a volume": "容积图像",
    "a radiograph": "X 线片",
}

Word = Callable[[str], str]


def say(code: str, /, **values: object) -> str:
    """The English sentence of a code."""
    return SENTENCES[code][0].format(**values)


def read(text: str) -> tuple[str, dict[str, str]] | None:
    """The code and the values of a sentence of ours; None where it is nobody's."""
    if len(text) > TEXT_LENGTH_MAX:
        return None
    for code, pattern in _patterns():
        if found := pattern.fullmatch(text):
            return code, found.groupdict()
    return None


def translated(text: str, language: str, word: Word = str) -> str:
    """A sentence of ours in `language` ("en" or "zh"); what is not ours stays as it is.

    word: the language's word for a value that stands in a sentence.
    """
    return text if language != "zh" else _chinese(text, word, _DEPTH_MAX)


def _chinese(text: str, word: Word, depth: int) -> str:
    found = read(text) if depth else None
    if found is None:
        return ZH_VALUES.get(text) or "、".join(word(part) for part in text.split(", "))
    code, values = found
    told = {name: _chinese(value, word, depth - 1).removesuffix("。") for name, value in values.items()}
    return SENTENCES[code][1].format(**told)


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    return [(code, _pattern(english)) for code, (english, _) in SENTENCES.items()]


def _pattern(english: str) -> re.Pattern[str]:
    """What a sentence looks like with any values in it; inside another it has no full stop of its own."""
    parts = re.split(r"\{(\w+)\}", english.removesuffix("."))
    body = "".join(
        f"(?P<{part}>.{{1,{VALUE_LENGTH_MAX}}}?)" if number % 2 else re.escape(part)
        for number, part in enumerate(parts)
    )
    return re.compile(body + (r"\.?" if english.endswith(".") else ""), re.DOTALL)
