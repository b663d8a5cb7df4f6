# ruff: noqa: E501  a word and its translation stay on one line
"""Advice as a reader's sentences, in English and Chinese."""

from __future__ import annotations

from pipeline.guidelines.advise import Abstains, Advice, NotApplicable
from pipeline.guidelines.inputs import INPUT_WORDS

# Rules are read part by part, as their commas divide them.
ZH_PARTS = {
    "solid": "实性",
    "part-solid": "部分实性",
    "ground-glass": "磨玻璃",
    "subsolid": "亚实性",
    "calcified": "钙化",
    "at baseline": "基线",
    "new": "新发",
    "growing": "增大",
    "single": "单发",
    "multiple": "多发",
    "low risk": "低危",
    "high risk": "高危",
    "juxtapleural": "胸膜旁",
    "smooth and oval": "光滑且呈椭圆形",
    "lentiform or triangular": "扁豆形或三角形",
    "complete": "完全",
    "central": "中央",
    "diffuse": "弥漫",
    "popcorn or concentric calcification": "爆米花样或同心圆样钙化",
    "laminated or popcorn calcification": "层状或爆米花样钙化",
    "benign calcification": "良性钙化",
    "typical perifissural or subpleural nodule": "典型的叶间裂旁或胸膜下结节",
    "category 2": "2 类",
    "category 3": "3 类",
    "category 4A": "4A 类",
    "category 4B": "4B 类",
    "stable": "稳定",
    "stable or smaller at the 6-month follow-up": "6 个月随访稳定或缩小",
    "stable or smaller at the 3-month follow-up": "3 个月随访稳定或缩小",
    "not proven benign": "未证实为良性",
    "stable or slowly growing": "稳定或缓慢增大",
    "< 30 mm at baseline": "基线 < 30 mm",
    "new or growing": "新发或增大",
    "≥ 30 mm at baseline or new": "基线或新发 ≥ 30 mm",
    "risk by the Brock model < 10 %": "Brock 模型风险 < 10 %",
    "risk by the Brock model ≥ 10 %": "Brock 模型风险 ≥ 10 %",
}
ZH_MANAGEMENT = {
    "Screening with low-dose CT in 12 months.": "12 个月后低剂量 CT 筛查。",
    "Low-dose CT in 6 months.": "6 个月后低剂量 CT。",
    "Low-dose CT in 3 months; PET/CT may be considered where a solid nodule or solid part measures 8 mm or more.": "3 个月后低剂量 CT；实性结节或实性成分 ≥ 8 mm 时可考虑 PET/CT。",
    "Referral for further clinical evaluation: diagnostic chest CT with or without contrast, PET/CT where a solid nodule or solid part measures 8 mm or more, tissue sampling.": "转诊进一步临床评估：胸部诊断性 CT 平扫或增强，实性结节或实性成分 ≥ 8 mm 时 PET/CT，组织活检。",
    "Annual screening with low-dose CT in 12 months.": "12 个月后年度低剂量 CT 筛查。",
    "CT in 6 months.": "6 个月后 CT。",
    "CT in 3 months; high-resolution CT or PET/CT may be considered.": "3 个月后 CT；可考虑高分辨率 CT 或 PET/CT。",
    "Immediate clinical assessment, which may include diagnostic CT, PET/CT where a solid nodule or solid part measures 8 mm or more, and tissue sampling.": "立即临床评估，可包括诊断性 CT、实性结节或实性成分 ≥ 8 mm 时的 PET/CT 及组织活检。",
    "No routine follow-up.": "无需常规随访。",
    "CT at 12 months is optional.": "可选择 12 个月后 CT。",
    "CT at 3 to 6 months, then consider CT at 18 to 24 months.": "3 至 6 个月 CT，之后考虑 18 至 24 个月 CT。",
    "CT at 3 to 6 months, then CT at 18 to 24 months.": "3 至 6 个月 CT，之后 18 至 24 个月 CT。",
    "CT at 6 to 12 months, then consider CT at 18 to 24 months.": "6 至 12 个月 CT，之后考虑 18 至 24 个月 CT。",
    "CT at 6 to 12 months, then CT at 18 to 24 months.": "6 至 12 个月 CT，之后 18 至 24 个月 CT。",
    "Consider CT at 3 months, PET/CT or tissue sampling.": "考虑 3 个月后 CT、PET/CT 或组织活检。",
    "CT at 6 to 12 months to confirm persistence, then CT every 2 years until 5 years.": "6 至 12 个月 CT 确认持续存在，之后每 2 年 CT，共 5 年。",
    "CT at 3 to 6 months to confirm persistence. If unchanged and the solid part remains < 6 mm, CT each year for 5 years.": "3 至 6 个月 CT 确认持续存在。若无变化且实性成分仍 < 6 mm，每年 CT，共 5 年。",
    "CT at 3 to 6 months. If stable, consider CT at 2 and 4 years.": "3 至 6 个月 CT。若稳定，考虑 2 年和 4 年 CT。",
    "CT at 3 to 6 months; further management by the most suspicious nodule.": "3 至 6 个月 CT；后续按最可疑结节处理。",
    "Discharge: no follow-up.": "结束随访。",
    "CT at 3 months, then at 1 year from baseline.": "3 个月 CT，之后基线起 1 年 CT。",
    "CT at 1 year.": "1 年后 CT。",
    "PET/CT, with the risk by the Herder model after it.": "PET/CT，之后按 Herder 模型评估风险。",
    "Thin-section CT at 3 months.": "3 个月后薄层 CT。",
}
ZH_INPUTS = {
    "kind": "结节类型",
    "solid_part_mm": "实性成分大小",
    "nodule_count": "结节数目",
    "course": "是否新发或增大",
    "prior_category": "既往分类",
    "has_benign_calcification": "钙化形态",
    "is_juxtapleural_benign": "胸膜旁形态",
    "setting": "是否为筛查",
    "age_years": "患者年龄",
    "has_known_cancer": "是否有已知肿瘤",
    "is_immunosuppressed": "是否免疫抑制",
    "risk": "肺癌临床风险",
    "brock_percent": "Brock 模型风险",
}
ZH_REASONS = {
    "Lung-RADS is for examinations of lung cancer screening.": "Lung-RADS 仅用于肺癌筛查检查。",
    "C-Lung-RADS is for examinations of check-ups and lung cancer screening.": "C-Lung-RADS 仅用于体检和肺癌筛查检查。",
    "Fleischner 2017 is not for lung cancer screening.": "Fleischner 2017 不用于肺癌筛查。",
    "Fleischner 2017 is for patients of 35 years and more.": "Fleischner 2017 用于 35 岁及以上患者。",
    "Fleischner 2017 is not for patients with a known primary cancer.": "Fleischner 2017 不用于已知原发肿瘤患者。",
    "Fleischner 2017 is not for immunosuppressed patients.": "Fleischner 2017 不用于免疫抑制患者。",
    "BTS 2015 is for adults.": "BTS 2015 用于成人。",
}


def sentence(verdict: Advice | NotApplicable | Abstains, language: str) -> str:
    """What a reader sees: the rule that gave the advice and the advice, or why there is none."""
    is_chinese = language == "zh"
    if isinstance(verdict, Advice):
        if not is_chinese:
            return f"{verdict.rule[:1].upper()}{verdict.rule[1:]}: {verdict.management}"
        return f"{'，'.join(_part(one) for one in verdict.rule.split(', '))}：{ZH_MANAGEMENT[verdict.management]}"
    if isinstance(verdict, NotApplicable):
        return ZH_REASONS[verdict.reason] if is_chinese else f"Not given: {verdict.reason}"
    if is_chinese:
        return f"未给出：{'、'.join(ZH_INPUTS[name] for name in verdict.missing)}未知。"
    names = [INPUT_WORDS[name] for name in verdict.missing]
    return f"Not given, for this is not known: {'; '.join(names)}."


def _part(words: str) -> str:
    """One part of a rule; sizes read alike in both languages but for the word between them."""
    if words in ZH_PARTS:
        return ZH_PARTS[words]
    return words.replace("solid part", "实性成分").replace(" to < ", " 至 < ").replace(" to ", " 至 ")
