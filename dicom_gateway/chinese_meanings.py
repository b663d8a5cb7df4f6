"""Chinese meanings of the coded concepts in an SR whose language is zh-CN; values and schemes stay as they are.

What is not in the table keeps its English meaning: products, units of UCUM, concepts of a model that is not ours.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

MEANINGS = {
    ("126000", "DCM"): "影像测量报告",
    ("126010", "DCM"): "影像测量",
    ("C0034375", "UMLS"): "定性评估",
    ("125007", "DCM"): "测量组",
    ("112039", "DCM"): "跟踪标识符",
    ("112040", "DCM"): "跟踪唯一标识符",
    ("121071", "DCM"): "发现",
    ("363698007", "SCT"): "发现部位",
    ("111030", "DCM"): "影像区域",
    ("111001", "DCM"): "算法名称",
    ("111003", "DCM"): "算法版本",
    ("111002", "DCM"): "算法参数",
    ("121106", "DCM"): "备注",
    ("121049", "DCM"): "内容项及其下级的语言",
    ("zh-CN", "RFC5646"): "中文（中国）",
    ("121005", "DCM"): "观察者类型",
    ("121007", "DCM"): "设备",
    ("121006", "DCM"): "人员",
    ("121012", "DCM"): "设备观察者 UID",
    ("121013", "DCM"): "设备观察者名称",
    ("121014", "DCM"): "设备观察者制造商",
    ("121015", "DCM"): "设备观察者型号",
    ("121016", "DCM"): "设备观察者序列号",
    ("121008", "DCM"): "人员观察者姓名",
    ("121058", "DCM"): "所报告的检查",
    ("25045-6", "LN"): "CT，未指明身体部位",
    ("363679005", "SCT"): "影像学检查",
    ("121191", "DCM"): "引用的分割段",
    ("121232", "DCM"): "分割的源序列",
    ("121233", "DCM"): "分割的源图像",
    ("121401", "DCM"): "推导方式",
    ("260753009", "SCT"): "来源",
    ("373098007", "SCT"): "平均值",
    ("786838002", "SCT"): "肺结节",
    ("52988006", "SCT"): "病变",
    ("4147007", "SCT"): "肿块",
    ("27925004", "SCT"): "结节",
    ("39607008", "SCT"): "肺",
    ("3120008", "SCT"): "胸膜",
    ("80891009", "SCT"): "心脏",
    ("43799004", "SCT"): "胸部",
    ("42400003", "SCT"): "右肺上叶",
    ("72481006", "SCT"): "右肺中叶",
    ("266005", "SCT"): "右肺下叶",
    ("44714003", "SCT"): "左肺上叶",
    ("41224006", "SCT"): "左肺下叶",
    ("308689002", "SCT"): "钱币样病灶",
    ("95436008", "SCT"): "肺实变",
    ("60046008", "SCT"): "胸腔积液",
    ("36118008", "SCT"): "气胸",
    ("8186001", "SCT"): "心影增大",
    ("112004", "DCM"): "间质异常",
    ("260373001", "SCT"): "检出",
    ("260415000", "SCT"): "未检出",
    ("103339001", "SCT"): "长径",
    ("103340004", "SCT"): "短径",
    ("81827009", "SCT"): "直径",
    ("118565006", "SCT"): "体积",
    ("112031", "DCM"): "CT 值",
    ("111012", "DCM"): "发现的确定度",
    ("121206", "DCM"): "距离",
    ("RDE1301", "RADELEMENT"): "成分",
    ("RDE1301.0", "RADELEMENT"): "实性",
    ("RDE1301.1", "RADELEMENT"): "磨玻璃",
    ("RDE1301.2", "RADELEMENT"): "部分实性",
    ("RDE1301.4", "RADELEMENT"): "钙化",
    ("RDE1303", "RADELEMENT"): "实性成分大小",
    ("RDE1706", "RADELEMENT"): "与既往相比的变化",
    ("15454001", "SCT"): "增大",
    ("19776001", "SCT"): "缩小",
    ("129723006", "SCT"): "无明显变化",
    ("7147002", "SCT"): "新发",
    ("PRIOR_VOLUME", "99RADMETER"): "既往检查中的体积",
    ("VOLUME_CHANGE", "99RADMETER"): "与既往检查相比的体积变化",
    ("VOLUME_DOUBLING", "99RADMETER"): "体积倍增时间",
    ("GUIDELINE", "99RADMETER"): "指南分类",
    ("REVIEW", "99RADMETER"): "对所见的审阅",
    ("REVIEW_ACCEPTED", "99RADMETER"): "审阅者接受",
    ("REVIEW_CHANGED", "99RADMETER"): "审阅者修改",
    ("REVIEW_UNSURE", "99RADMETER"): "审阅者不确定",
    ("REVIEW_ADDED", "99RADMETER"): "审阅者补充",
    ("INTERVAL_LOW", "99RADMETER"): "95 % 区间下限",
    ("INTERVAL_HIGH", "99RADMETER"): "95 % 区间上限",
}


def in_chinese(document: Dataset) -> None:
    """Put the meanings of the title and of the whole content tree into Chinese."""
    for item in document.ConceptNameCodeSequence:
        _translate(item)
    _walk(document.ContentSequence)


def _walk(items: list[Dataset]) -> None:
    for item in items:
        if "CodeValue" in item:
            _translate(item)
        for element in item:
            if element.VR == "SQ":
                _walk(element.value)


def _translate(code: Dataset) -> None:
    code.CodeMeaning = MEANINGS.get((code.CodeValue, code.CodingSchemeDesignator), code.CodeMeaning)
