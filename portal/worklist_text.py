# ruff: noqa: E501  a word and its translation stay on one line
"""The words of the work list: what to do about a study without a result, and all of them in Chinese."""

from __future__ import annotations

_SUITABLE = "Send a series that the model reads; the page Models says which."
_AGAIN = "Send the study again. If it fails again, give support the study id."
_DESTINATION = "The study page says what the destination answered. Repair it, then send the results again."
_BY_CODE = {
    "PATIENT_AGE_UNKNOWN": "Send the study with the patient's age or birth date, or read it without the model.",
    "PATIENT_TOO_YOUNG": "The model is not made for this patient. Read the study without it.",
    "DISCARDED": "A person or the peer's rule stopped it. Send the study again if it is wanted.",
    "CANCELLED": "A person or the peer's rule stopped it. Send the study again if it is wanted.",
    "NO_RULE_MATCHED": "Test the study on the page Routing; change the rules if it should be read.",
    "MODEL_PAUSED": "It goes on when the model is resumed on the page Model health.",
    "MODEL_VERSION_MISSING": "Activate a version that is installed on the page Models, then send the study again.",
    "IMAGES_DAMAGED": "The disk has changed its images. Send the study again, and have the disk looked at.",
    "IMAGES_REMOVED": "The policy had removed its images. Send the whole study again.",
    "INSTANCES_IN_CONFLICT": "Two studies carry the same UIDs. Correct the sender, then send the study again.",
    "DELIVERY_REFUSED": _DESTINATION,
    "DELIVERY_GAVE_UP": _DESTINATION,
    "NO_DESTINATION": "Give the peer a destination for its results, then send the study again.",
}
_BY_STATUS = {
    "held": "Raise the limit, buy more or wait: it goes on by itself.",
    "rejected": _SUITABLE,
    "failed": _AGAIN,
}


def what_to_do(status: str, reason_code: str | None) -> str:
    """One sentence (English, a key of the portal's words) about a study without a result."""
    return _BY_CODE.get(reason_code or "", _BY_STATUS[status])


ZH_WORK_LIST = {
    _SUITABLE: "请发送模型可读取的序列；“模型”页面有说明。",
    _AGAIN: "请重新发送检查。若再次失败，请将检查编号告知技术支持。",
    _DESTINATION: "检查页面显示目的地的应答。修复后请重新发送结果。",
    _BY_CODE["PATIENT_AGE_UNKNOWN"]: "请在检查中给出患者年龄或出生日期后重新发送，或在没有模型的情况下阅片。",
    _BY_CODE["PATIENT_TOO_YOUNG"]: "该模型不适用于此患者，请在没有模型的情况下阅片。",
    _BY_CODE["DISCARDED"]: "已被人员或节点规则停止。如仍需要，请重新发送检查。",
    _BY_CODE["NO_RULE_MATCHED"]: "请在“路由”页面测试此检查；如应读取，请修改规则。",
    _BY_CODE["MODEL_PAUSED"]: "在“模型健康”页面恢复模型后将自动继续。",
    _BY_CODE["MODEL_VERSION_MISSING"]: "请在“模型”页面启用已安装的版本，然后重新发送检查。",
    _BY_CODE["IMAGES_DAMAGED"]: "磁盘改变了其图像，请重新发送检查并检查磁盘。",
    _BY_CODE["IMAGES_REMOVED"]: "其图像已按策略删除，请重新发送整个检查。",
    _BY_CODE["INSTANCES_IN_CONFLICT"]: "两个检查使用了相同的 UID。请修正发送方后重新发送检查。",
    _BY_CODE["NO_DESTINATION"]: "请为该节点设置结果目的地，然后重新发送检查。",
    _BY_STATUS["held"]: "请提高限额、购买更多或等待：将自动继续。",
    "A search has at most 100 characters. Give a part of the name, or the number.": "搜索最多 100 个字符，请输入姓名的一部分或编号。",
    "Patient, accession number, description or study id": "患者、检查号、描述或检查编号",
    "Views of the list": "列表视图",
    "Critical": "危急",
    "To read": "待阅",
    "In progress": "处理中",
    "Problems": "问题",
    "Reviewed": "已审阅",
    "in review": "审阅中",
    "reviewed": "已审阅",
    "not reviewed": "未审阅",
    "Narrow the list": "筛选列表",
    "Any status": "所有状态",
    "Any sender": "所有发送方",
    "Any day": "所有日期",
    "Last 24 hours": "最近 24 小时",
    "Last 7 days": "最近 7 天",
    "Last 30 days": "最近 30 天",
    "Sender": "发送方",
    "Apply": "应用",
    "critical": "危急",
    "category {category}": "分类 {category}",
    "overdue": "超时",
    "Measured": "已测量",
    "of {n} models {m} did not analyse it": "{n} 个模型中有 {m} 个未分析",
    "Nothing here. All studies are under “All”.": "此处没有检查。所有检查见“全部”。",
    "First page": "首页",
    "Next page": "下一页",
    "What stands first": "优先顺序",
    "Studies with a critical finding that nobody has reviewed, then emergencies, then what has not moved for {minutes} minutes; after {days} days a study goes back to its day. Within each the newest first.": "首先是含未审阅危急发现的检查，其次为急诊，再次为超过 {minutes} 分钟没有进展的检查；{days} 天后检查回到其日期位置。各组内按最新在前。",
    "A model can miss a critical finding. The order of the list replaces no reading.": "模型可能漏掉危急发现。列表顺序不能代替阅片。",
    "Critical finding": "危急发现",
    "Rule": "规则",
    "Keys: / searches, arrows or J and K go through the studies, Enter opens one.": "快捷键：/ 搜索，方向键或 J、K 选择检查，Enter 打开。",
    "pneumothorax": "气胸",
    "pneumothorax at or above its threshold": "气胸概率达到或超过其阈值",
    "Lung-RADS 4B": "Lung-RADS 4B",
    "Lung-RADS category 4B or 4X": "Lung-RADS 分类 4B 或 4X",
    "C-Lung-RADS 4": "C-Lung-RADS 4 类",
    "C-Lung-RADS category 4": "C-Lung-RADS 4 类",
    "lung mass": "肺肿块",
    "a lung lesion longer than 30 mm (a mass)": "长径超过 30 mm 的肺部病灶（肿块）",
}
