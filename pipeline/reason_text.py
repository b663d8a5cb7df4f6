"""Why there is no result, in the reader's language: the sentence if it is one of ours, else what its code means."""

from __future__ import annotations

from study.sentences import read, translated

# What a decoder or a step says is too manifold to be written twice; what it means for a reader is told by its code.
ZH_REASONS = {
    "EMPTY_SERIES": "序列中没有图像。",
    "INSTANCE_UNREADABLE": "序列中有图像的头信息无法读取，序列不完整。",
    "NOT_CT": "序列中含有非 CT 图像。",
    "NOT_A_RADIOGRAPH": "该对象不是单幅 X 线片。",
    "LOOKUP_TABLE_INVALID": "查找表自相矛盾，图像亮度未知。",
    "DIFFERENT_PATIENTS": "序列中的图像属于不同患者。",
    "TRANSFER_SYNTAX_NOT_SUPPORTED": "不支持图像的传输语法。",
    "PIXEL_FORMAT_NOT_SUPPORTED": "不支持图像的像素格式。",
    "PIXEL_DATA_UNREADABLE": "像素数据损坏或不完整。",
    "HU_UNKNOWN": "无法得到亨氏单位。",
    "GEOMETRY_INVALID": "图像的几何信息无效。",
    "GEOMETRY_NOT_UNIFORM": "各层几何信息不一致。",
    "FRAMES_OF_REFERENCE_DIFFER": "各层的参考坐标系不同。",
    "NOT_AXIAL": "图像不是轴位。",
    "SINGLE_SLICE": "只有一层图像。",
    "DUPLICATE_SLICES": "同一位置有不同图像，无法确定归属。",
    "MISSING_SLICES": "序列缺层。",
    "GANTRY_TILT": "机架倾斜无法校正。",
    "TOO_LARGE": "序列过大。",
    "DECODE_TIMED_OUT": "读取图像耗时过长。",
    "DECODER_CRASHED": "读取图像的进程意外终止。",
    "STORAGE_FULL": "存储空间已满。",
    "INFERENCE_FAILED": "模型运行失败。",
    "MODEL_VERSION_MISSING": "所需的模型版本不在服务器上。",
    "RESULT_NOT_ENCODED": "结果无法写成 DICOM 对象。",
    "RESULT_NOT_CONFORMANT": "结果对象未通过送达前的检查。",
    "RULES_TOO_SLOW": "路由规则耗时过长。",
    "STEP_GAVE_UP": "处理步骤多次尝试后仍未完成。",
    "OUTCOME_NOT_SAVED": "处理结果无法保存。",
    "HEADERS_UNREADABLE": "所有图像均无法读取。",
    "IMAGES_DAMAGED": "存储的图像与接收时不同：磁盘已改变其内容。",
    "IMAGES_REMOVED": "该检查的图像已按保留策略删除。",
    "INSTANCES_IN_CONFLICT": "所有图像的 SOP Instance UID 均已在另一检查中接收过。",
    "NO_RULE_MATCHED": "没有路由规则适用于该检查。",
    "MODEL_PAUSED": "读取该检查的模型均已暂停。",
    "LIMIT_REACHED": "已达到合同的限额，有余量后将自动继续。",
    "DELIVERY_REFUSED": "目的地拒绝接收结果。",
    "DELIVERY_GAVE_UP": "目的地在规定的次数或时间内未接收结果。",
    "NO_DESTINATION": "没有必需的目的地接收该模型的任何结果对象。",
    "UNFIT_INPUT": "容积不符合模型的要求。",
    "DISCARDED": "有人决定不处理该检查。",
    "CANCELLED": "有人取消了分析。",
}


def reason_text(code: str, text: str, language: str) -> str:
    """The reason as a sentence; in Chinese the original follows where only its code could be told."""
    if language != "zh" or read(text) is not None:
        return translated(text, language)
    meaning = ZH_REASONS.get(code)
    return f"{meaning}（{text}）" if meaning else text
