# ruff: noqa: E501  a word and its translation stay on one line
"""Words of retention, holds and backups in Chinese."""

from __future__ import annotations

ZH_RETENTION = {
    "Retention": "保留期限",
    "How long images and results stay. What is held, not delivered, disputed or needed as a prior is never removed.": "图像和结果保留多久。已冻结、未送达、有争议或作为对比检查所需的内容不会被删除。",
    "Policy": "策略",
    "Images, days after delivery": "图像，送达后天数",
    "Results, days after delivery": "结果，送达后天数",
    "Quarantine, days after reception": "隔离区，接收后天数",
    "for ever": "永久",
    "Legal holds": "法律冻结",
    "Of": "对象",
    "Placed": "冻结时间",
    "Why": "原因",
    "Released": "解除",
    "Why it is released": "解除原因",
    "Release": "解除",
    "in force": "生效中",
    "Nothing is held.": "没有冻结的内容。",
    "Hold": "冻结",
    "a study": "一个检查",
    "a patient": "一位患者",
    "Study id or Patient ID": "检查编号或患者编号",
    "Place the hold": "冻结",
    "Name the study by its id, or the patient, and say why.": "请给出检查编号或患者编号，并说明原因。",
    "Say why it is released.": "请说明解除原因。",
    "Give whole days, 1 to 36500. Images may not stay longer than the results that were made of them.": "请填写 1 至 36500 的整天数。图像的保留时间不能超过由其生成的结果。",
    # audit
    "Retention policy changed": "保留策略已修改",
    "Legal hold placed": "已设置法律冻结",
    "Legal hold released": "已解除法律冻结",
    "Removed by policy": "已按策略删除",
    "A stored file has rotted": "存储文件已损坏",
    # timeline and report
    "Images removed by policy": "图像已按策略删除",
    "Results removed by policy": "结果已按策略删除",
    "The images were removed on {date} by policy, {days} days after delivery.": "图像已于 {date} 按策略删除（送达后 {days} 天）。",
    "The results were removed on {date} by policy, {days} days after delivery.": "结果已于 {date} 按策略删除（送达后 {days} 天）。",
}
