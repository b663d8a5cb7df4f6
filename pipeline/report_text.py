# ruff: noqa: E501  a word and its translation stay on one line
"""The words of a report in English and Chinese. English is the key; a missing Chinese word stays English."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.report_errors import ReportLanguageUnknown

Words = Callable[[str], str]

LANGUAGES = ("en", "zh")

ZH = {
    "Report": "报告",
    "AI result, not reviewed": "人工智能结果，未经医师审核",
    "AI result, reviewed": "人工智能结果，已由医师审核",
    "AI result, superseded": "人工智能结果，已被新版本取代",
    "A newer version of this report exists. Do not use this one.": "本报告已有更新版本，请勿使用本版本。",
    "Not for use without review by a physician.": "须经医师审核后方可使用。",
    "Clearance": "注册状态",
    "Analysed": "已分析",
    # head
    "Patient": "患者",
    "Patient ID": "患者编号",
    "Born": "出生日期",
    "Sex": "性别",
    "Age": "年龄",
    "F": "女",
    "M": "男",
    "O": "其他",
    "years": "岁",
    "months": "个月",
    "weeks": "周",
    "days": "天",
    "Accession": "检查号",
    "Study date": "检查日期",
    "Study": "检查",
    "Prior study": "既往检查",
    "none used": "未使用",
    "Series read": "分析序列",
    "Slices": "层数",
    "Slice thickness": "层厚",
    "Input quality": "输入质量",
    "no remarks": "无特殊说明",
    "not stated": "未注明",
    "series {n}": "序列 {n}",
    "{n} slices": "{n} 层",
    "spacing {n} mm": "层间距 {n} mm",
    # conclusion
    "Conclusion": "结论",
    "1 finding marked as possible pulmonary nodule: mean diameter {mm} mm.": "标记 1 处疑似肺结节，平均直径 {mm} mm。",
    "{n} findings marked as possible pulmonary nodules; the largest has a mean diameter of {mm} mm.": "标记 {n} 处疑似肺结节，最大者平均直径 {mm} mm。",
    "No finding": "未见标记",
    "The model analysed this study and marked no finding.": "模型已分析本检查，未标记任何所见。",
    "Assessed: pulmonary nodules on {n} axial slices. Everything else was not assessed. This does not exclude disease.": "评估内容：{n} 层轴位图像上的肺结节；其他内容未评估。不能据此排除疾病。",
    "Not analysed": "未分析",
    "Analysis failed": "分析失败",
    "because": "原因",
    "This is not a negative result: there is no result for this study.": "这不是阴性结果：本检查没有分析结果。",
    "Guideline category": "指南分类",
    "none: no guideline was chosen": "无：未选择指南",
    "not of every finding, see below": "并非每处所见均有分类，见下文",
    "not given, see below": "未给出，见下文",
    "discharge": "结束随访",
    "surveillance": "随访",
    "none": "无",
    "Source": "来源",
    "Applied by rule to the measurements above; what a model cannot see is not assumed. A physician decides.": "按规则应用于上述测量；模型无法判断的内容不作假设。由医师决定。",
    # table
    "Findings": "所见",
    "Largest first. Numbers are those of the SR and the SEG.": "按大小降序排列，编号与 SR 和 SEG 一致。",
    "No.": "编号",
    "Lobe": "肺叶",
    "Type": "类型",
    "Long × short": "长径 × 短径",
    "Mean diameter": "平均直径",
    "Volume": "体积",
    "Prior": "既往",
    "Category": "分类",
    "Model score": "模型评分",
    "Image": "图像",
    "Reviewed": "审核",
    "accepted": "接受",
    "rejected": "拒绝",
    "unsure": "不确定",
    "not yet": "尚未",
    "— : not determined in this version, or no prior study.": "— ：本版本未判定，或无既往检查。",
    # images
    "Key images": "关键图像",
    "Lung window W 1500 L −600 HU. Radiological convention: the patient's right is on the left. Solid line: outline of the segment; dashed lines: long and short axis.": "肺窗 W 1500 L −600 HU。放射学惯例：患者右侧位于图像左侧。实线：分割轮廓；虚线：长径与短径。",
    "Finding {n}": "所见 {n}",
    "image {n}": "图像 {n}",
    "whole slice": "整层",
    "without overlay": "无标注",
    "with overlay": "有标注",
    "Pictures of {n} of {m} findings; the others are in the SR and the SEG.": "显示 {m} 处所见中 {n} 处的图像，其余见 SR 和 SEG。",
    # method
    "Method and limits": "方法与局限",
    "Model": "模型",
    "Weights": "权重",
    "Intended use": "预期用途",
    "Publisher": "发布者",
    "A neural network marks places that look like pulmonary nodules and gives each a score. Findings with a score of at least {threshold} are listed.": "神经网络标记疑似肺结节的位置并给出评分；列出评分不低于 {threshold} 的所见。",
    "A neural network marks places that look like pulmonary nodules and gives each a score.": "神经网络标记疑似肺结节的位置并给出评分。",
    "Long axis: greatest diameter on the measured axial slice; short axis: greatest diameter perpendicular to it; mean diameter: their mean. Volume: all voxels of the segment.": "长径：测量层面上的最大直径；短径：与之垂直的最大直径；平均直径：两者均值。体积：分割区域内全部体素。",
    "The score is the model's certainty that the place is a finding. It is not a probability of malignancy.": "评分表示模型对该处为所见的确信程度，并非恶性概率。",
    "Nodules can be missed and normal structures can be marked. Only pulmonary nodules were assessed; other organs, other findings and change over time were not.": "可能漏检结节，也可能误标正常结构。仅评估肺结节；未评估其他器官、其他所见及随时间的变化。",
    # radiographs
    "Image read": "分析图像",
    "view not stated": "未注明体位",
    "{w} × {h} pixels, {bits} bit": "{w} × {h} 像素，{bits} 位",
    "Signs of:": "疑似征象：",
    ", ": "、",
    "One frontal chest radiograph was assessed for {n} findings. Everything else was not assessed.": "对 1 幅正位胸片评估了 {n} 项所见，其他内容未评估。",
    "The model analysed this radiograph and called nothing positive.": "模型已分析本片，未判定任何阳性所见。",
    "This does not exclude disease.": "不能据此排除疾病。",
    "Finding": "所见",
    "Result": "结果",
    "Probability": "概率",
    "Threshold": "阈值",
    "positive": "阳性",
    "negative": "阴性",
    "nodule or mass": "结节或肿块",
    "consolidation": "肺实变",
    "pleural effusion": "胸腔积液",
    "pneumothorax": "气胸",
    "cardiomegaly": "心影增大",
    "interstitial pattern": "间质性改变",
    "Colour: where the model's map of the finding is high. Rectangle: where it is greatest. Neither is the outline of a finding.": "彩色：模型对该所见响应较高的区域；矩形：响应最高处。二者均非病灶轮廓。",
    "A neural network gives each finding a map over the image and a calibrated probability made from that map. A probability at or above its threshold is called positive.": "神经网络为每项所见给出图像上的响应图及由其得到的校准概率；概率达到或超过阈值者判为阳性。",
    "The probabilities were calibrated on synthetic radiographs; among real patients they can be far off. Findings can be missed and normal structures can be called positive.": "概率在合成胸片上校准，对真实患者可能偏差很大。可能漏检，也可能将正常结构判为阳性。",
    # foot
    "model {name} {version}": "模型 {name} {version}",
    "weights {digest}": "权重 {digest}",
    "job {id}": "任务 {id}",
    "revision {n}": "修订 {n}",
    "Page": "第",
    "of": "页，共",
    "page-end": "页",
    "no model ran": "未运行模型",
    # sentences of the models that come with the product
    "Not cleared for clinical use by any authority. Trained on synthetic data only.": "未获任何监管机构批准用于临床。仅用合成数据训练。",
    "Demonstration of an imaging-AI pipeline: marks places on axial chest CT that look like lung nodules of 4 to 30 mm. Trained on synthetic data. Not for diagnosis.": "用于演示影像人工智能流程：在胸部轴位 CT 上标记疑似 4 至 30 mm 肺结节的位置。用合成数据训练，不得用于诊断。",
    "Demonstration of an imaging-AI pipeline: triage of frontal chest radiographs of adults for six findings. Trained on synthetic radiographs. Not for diagnosis.": "用于演示影像人工智能流程：对成人正位胸片的六项所见进行分诊。用合成胸片训练，不得用于诊断。",
    "Not cleared for clinical use.": "未获批准用于临床。",
}

_EN = {"page-end": ""}


def words(language: str) -> Words:
    """What turns an English key into the words of `language`."""
    if language not in LANGUAGES:
        raise ReportLanguageUnknown(language)
    table = ZH if language == "zh" else _EN
    return lambda key: table.get(key, key)
