"""The words of the study page about what is under way, in Chinese; see `text`."""

from __future__ import annotations

ZH_STUDY = {
    "Still arriving": "仍在接收",
    "See the images": "查看影像",
    "Process now": "立即处理",
    "Process again": "重新处理",
    "Discard": "放弃",
    "A person asked to process it now": "有人要求立即处理",
    "A person asked to discard it": "有人要求放弃",
    "Late images were left aside": "迟到的图像已搁置",
    "Cancel the analysis": "取消分析",
    "{done} of {total} runs": "已完成 {done}/{total} 次推理",
    "{model} did not analyse this study": "{model} 未分析此检查",
    "A model could not judge its series; the others went on": "一个模型无法判断其序列，其余模型继续",
}
