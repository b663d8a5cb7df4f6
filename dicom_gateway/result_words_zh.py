"""What result objects say in sentences, in Chinese. What the publisher wrote of the model stays in its language."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from dicom_gateway.chinese_meanings import MEANINGS
from dicom_gateway.result_words import Words, clearance, trends_since
from study.nodule import NODULE_UP_TO_MM, Trend

if TYPE_CHECKING:
    from dicom_gateway.result_context import ResultContext


class ChineseWords(Words):
    """The sentences of `Words`, one for one."""

    not_reviewed = "AI 结果，未经审阅"
    not_reviewed_by = "AI 结果，未经医师审阅。"
    no_category = "无分类，见备注"
    trends = MappingProxyType({Trend.GROWN: "增大", Trend.SHRUNK: "缩小", Trend.UNCHANGED: "无明显变化"})
    meanings = MappingProxyType(MEANINGS)

    def notice(self, context: ResultContext) -> str:
        return (
            f"{self.not_reviewed_by}{clearance(context)} "
            f"模型 {context.model_name} {context.model_version}，权重 SHA-256 {context.weights_sha256}。"
        )

    def conclusion(self, context: ResultContext) -> str:
        if context.classifications:
            return self._statements(context)
        if context.structures or context.outlines:
            return self._structures(context)
        at = ""
        if context.operating_threshold is not None:
            at = f"在工作阈值 {context.operating_threshold:g} 及以上"
        if not context.findings:
            size = f" {context.finding_mm[0]:g} mm 及以上的" if context.finding_mm else ""
            return f"模型{at}未检出{size}肺结节。这并不排除疾病。"
        largest = max(finding.mean_diameter_mm for finding in context.findings)
        what = (
            "肺结节"
            if largest <= NODULE_UP_TO_MM
            else "肺肿块"
            if len(context.findings) == 1
            else "肺结节或肿块"
        )
        return f"模型{at}检出 {len(context.findings)} 个疑似{what}，最大者平均直径 {largest:.1f} mm。"

    def _statements(self, context: ResultContext) -> str:
        names = {one.label: self.name_of(one.code, one.title) for one in context.classifications}
        positive = [names[one.label] for one in context.classifications if one.is_positive]
        head = (
            f"模型发现以下征象：{'、'.join(positive)}。"
            if positive
            else "模型未发现其所查找的任何征象。这并不排除疾病。"
        )
        numbers = "；".join(
            f"{names[one.label]} {one.probability:.3f}（阈值 {one.threshold:.3f}，"
            f"{'阳性' if one.is_positive else '阴性'}）"
            for one in context.classifications
        )
        return f"{head}校准后的概率：{numbers}。"

    def _structures(self, context: ResultContext) -> str:
        parts = []
        for one in context.structures:
            words = f"{self.name_of(one.code, one.label)} {one.volume_ml:.0f} ml，平均 {one.mean_hu:.0f} HU"
            share = one.low_attenuation_share
            parts.append(words if share is None else f"{words}，{100 * share:.1f} % 低于 -950 HU")
        if not parts:
            return "未找到模型所勾画的任何结构。这不说明有无疾病。"
        total = sum(one.volume_ml for one in context.structures)
        return f"已勾画 {len(parts)} 个结构，合计 {total:.0f} ml：{'；'.join(parts)}。"

    def comparison(self, context: ResultContext) -> str | None:
        if context.prior is None:
            return None
        counts = trends_since(context)
        told = [f"{counts[None]} 个新发"] if counts[None] else []
        told += [f"{counts[trend]} 个{word}" for trend, word in self.trends.items() if counts[trend]]
        told += [f"{len(context.prior.resolved)} 个不再可见"] if context.prior.resolved else []
        return (
            f"与既往检查（{context.prior.study_date or '日期不详'}）比较："
            f"{'，'.join(told) or '既往与本次均无所见'}。变化指体积变化，附 95 % 区间。"
        )

    def what_was_assessed(self, context: ResultContext) -> str:
        if context.classifications:
            names = "、".join(self.name_of(one.code, one.title) for one in context.classifications)
            done = f"{names}，基于一幅正位胸片"
            rest = (
                "所有其他征象、其他图像以及与既往检查相比的变化。所见的矩形框是模型显著图最高之处，并非轮廓"
            )
        elif context.structures or context.outlines:
            done = f"模型所能勾画结构的轮廓与体积，基于{_slices(context)}"
            rest = "任何疾病及其他一切内容"
        else:
            done = f"肺内结节，基于{_slices(context)}"
            small = f"{context.finding_mm[0]:g} mm 以下的结节、" if context.finding_mm else ""
            change = "" if context.prior is not None else "以及与既往检查相比的变化"
            rest = f"{small}所有其他征象、其他器官、其他序列{change}"
        return f"已评估：{done}。未评估：{rest}。模型的预期用途：{context.intended_use.strip() or '未说明'}"

    def guideline_note(self, finding: int, sentence: str) -> str:
        return f"所见 {finding}：{sentence}"

    def key_images(self, count: int) -> str:
        return f"{self.not_reviewed}。{count} 幅关键图像及相关的结果对象。"

    def picture_of(self, number: int, shown: int, count: int) -> str:
        rest = "" if shown == count else f"；共有 {count} 幅图像有所见，其余见报告"
        return f"第 {number} 幅，共 {shown} 幅{rest}"

    def window(self, width: float, level: float, unit: str) -> str:
        return f"窗宽 {width:.0f}，窗位 {level:.0f}{unit}"


def _slices(context: ResultContext) -> str:
    return f"一个 CT 序列的 {len(context.volume.slice_sop_instance_uids)} 层轴位图像"
