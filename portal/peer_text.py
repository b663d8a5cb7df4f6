# ruff: noqa: E501  a word and its translation stay on one line
"""The Chinese words about when a study of a peer is complete."""

from __future__ import annotations

ZH_PEER = {
    "Where it stands, as the contracts name it. Bills and limits count by it.": "所在院区，名称同合同。账单与限额按此统计。",
    "As the contracts name it.": "名称同合同。",
    "Give up to 64 letters, digits, blanks and signs, as the contract does.": "最多 64 个字母、数字、空格和符号，同合同所写。",
    "When is a study complete": "检查何时视为完整",
    "Silence after the last image when no list says more.": "没有清单时，最后一幅图像之后的静默时间。",
    "Longest quiet time in seconds": "最长静默时间（秒）",
    "As far as what is learned from its pauses lengthens it.": "根据其停顿学得的静默时间上限。",
    "Force time in seconds": "强制时间（秒）",
    "Silence after which listed images are waited for no longer.": "静默超过此时间后，不再等待清单中的图像。",
    "After the force time": "强制时间之后",
    "process what is here": "处理已到达的图像",
    "discard it": "放弃",
    "ask a person": "询问人员",
    "Its archive, when it sends": "发送时其归档",
    "learned from its studies": "根据其检查学习",
    "has the whole study already": "已有完整检查",
    "still gets the study itself": "自身仍在接收检查",
    "Give 1 to 86400 seconds.": "请填写 1 至 86400 秒。",
    "After the force time: process, discard or ask.": "强制时间之后：process、discard 或 ask。",
    "The habit of an archive is learned, complete or fills.": "归档习惯为 learned、complete 或 fills。",
}
