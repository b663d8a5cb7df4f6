"""What result objects say in words, in English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_gateway.chinese_meanings import MEANINGS
from study.codes import Code


@dataclass(frozen=True)
class Words:
    """The sentences of one language: "en" or "zh"."""

    language: str

    @property
    def is_chinese(self) -> bool:
        return self.language == "zh"

    @property
    def not_reviewed(self) -> str:
        return "AI 结果，未经审阅" if self.is_chinese else "AI result, not reviewed"

    def name_of(self, code: Code, english: str) -> str:
        """What a finding or structure is called."""
        return MEANINGS.get((code.value, code.scheme), english) if self.is_chinese else english

    def key_images(self, count: int) -> str:
        """Of a key object selection."""
        if self.is_chinese:
            return f"{self.not_reviewed}。{count} 幅关键图像，及其所属的结果对象。"
        noun = "key image" if count == 1 else "key images"
        return f"{self.not_reviewed}. {count} {noun} and the result objects about them."

    def picture_of(self, number: int, shown: int, count: int) -> str:
        """Of one of `shown` pictures, where there are `count` images with findings."""
        if self.is_chinese:
            rest = "" if shown == count else f"；共有 {count} 幅图像有所见，其余见报告"
            return f"第 {number} 幅，共 {shown} 幅{rest}"
        rest = "" if shown == count else f"; {count} images have findings, the others are in the report"
        return f"Picture {number} of {shown}{rest}"
