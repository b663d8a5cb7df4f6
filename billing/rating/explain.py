"""Sentences for people: why an event was charged or not, and how a line came to its amount."""

from __future__ import annotations

from collections.abc import Mapping

from billing.rating import case_sentences

REASONS: dict[str, dict[str, str]] = {
    "first_delivery": {
        "en": "Delivered and acknowledged for the first time",
        "zh": "首次交付并已获接收方确认",
    },
    "already_charged": {
        "en": "The same clinical question was charged before",
        "zh": "同一临床问题此前已计费",
    },
    "seen_again": {
        "en": "The same study was received again; nothing new was made",
        "zh": "重复收到同一检查，未产生新结果",
    },
    "refused": {
        "en": "The input was unfit for the product and was refused",
        "zh": "输入不符合产品要求，已拒绝",
    },
    "failed": {"en": "The analysis could not be completed", "zh": "分析未能完成"},
    "no_contract": {
        "en": "No contract covers this product at this time",
        "zh": "该时间没有涵盖该产品的合同",
    },
    "test_peer": {"en": "Sent by a test system", "zh": "由测试系统发送"},
    "shadow": {"en": "Ran in shadow mode", "zh": "影子模式运行"},
    "clock_ahead": {
        "en": "The event's time lies in the future; it waits for a person",
        "zh": "事件时间在未来，等待人工处理",
    },
    "dismissed": {"en": "Dismissed by a person after quarantine", "zh": "隔离后由人工确认不计费"},
    "prepaid": {"en": "Taken from a prepaid package", "zh": "从预付套餐中扣除"},
    "used": {"en": "Used, and priced by the contract", "zh": "已使用，按合同计价"},
    "outcome": {"en": "What became of a result is recorded", "zh": "已记录结果的后续情况"},
    "void": {"en": "Records that another event is void", "zh": "记录另一事件作废"},
    "in_place": {
        "en": "Charged in the place of a delivery of the same case that is void",
        "zh": "替代同一病例中已作废的交付计费",
    },
    "voided": {"en": "Declared void after it was recorded", "zh": "记录后已作废"},
}

_LINES: dict[str, dict[str, str]] = {
    "per_unit": {"en": "{quantity} × {unit_price}", "zh": "{quantity} × {unit_price}"},
    "flat": {"en": "Fee for the period", "zh": "本期固定费用"},
    "flat_prorated": {
        "en": "Fee of {fee} for {days} of {full_days} days",
        "zh": "固定费用 {fee}，按 {days}/{full_days} 天计",
    },
    "graduated": {
        "en": "Tier {tier}, units above {above} up to {up_to}: {quantity} × {unit_price}",
        "zh": "第 {tier} 档（{above} 以上至 {up_to}）：{quantity} × {unit_price}",
    },
    "graduated_open": {
        "en": "Tier {tier}, units above {above}: {quantity} × {unit_price}",
        "zh": "第 {tier} 档（{above} 以上）：{quantity} × {unit_price}",
    },
    "volume": {
        "en": "All units at the price of tier {tier}: {quantity} × {unit_price}",
        "zh": "全部按第 {tier} 档计价：{quantity} × {unit_price}",
    },
    "package": {
        "en": "{quantity} units in {packages} package(s) of {size}, each {unit_price}",
        "zh": "{quantity} 个单位，{packages} 包（每包 {size}），每包 {unit_price}",
    },
    "free_allowance": {
        "en": "Free allowance: {quantity} of {allowance} in each period",
        "zh": "免费额度：每期 {allowance}，本期使用 {quantity}",
    },
    "free_allowance_of_term": {
        "en": "Free allowance of the term: {quantity} of {allowance} so far",
        "zh": "合同期免费额度 {allowance}，累计使用 {quantity}",
    },
    "percentage": {
        "en": "{percent} of {carried} in {count} event(s)",
        "zh": "{count} 项共 {carried} 的 {percent}",
    },
    "subscription": {"en": "{label}: {quantity} × {unit_price}", "zh": "{label}：{quantity} × {unit_price}"},
    "subscription_days": {
        "en": "{label}: {quantity} × {unit_price} for {days} of {full_days} days from {from}",
        "zh": "{label}：{quantity} × {unit_price}，自 {from} 起按 {days}/{full_days} 天计",
    },
    "subscription_change": {
        "en": "{label}: from {before} to {after} on {from}, for {days} of {full_days} days of the term",
        "zh": "{label}：自 {from} 由 {before} 变更为 {after}，按合同期 {days}/{full_days} 天计",
    },
    "term_repriced": {
        "en": "Earlier in the term at another price: {quantity} units for {amount}",
        "zh": "合同期内此前按其他单价计：{quantity} 个单位，{amount}",
    },
    "minimum": {
        "en": "Minimum of {minimum} for the period, charged {charged}",
        "zh": "本期最低金额 {minimum}，已计 {charged}",
    },
    "minimum_by_days": {
        "en": "Minimum of {minimum} for {days}/{full_days} of the period, charged {charged}",
        "zh": "本期最低金额 {minimum}，按 {days}/{full_days} 计，已计 {charged}",
    },
    "minimum_of_term": {
        "en": "Minimum of {minimum} for the term, charged {charged}",
        "zh": "合同期最低金额 {minimum}，已计 {charged}",
    },
    "maximum": {
        "en": "Maximum of {maximum} for the period, charged {charged}",
        "zh": "本期最高金额 {maximum}，已计 {charged}",
    },
    "maximum_of_term": {
        "en": "Maximum of {maximum} for the term, charged {charged} so far",
        "zh": "合同期最高金额 {maximum}，累计 {charged}",
    },
    "late_usage": {
        "en": "After late usage: now {now} ({quantity_now} units), "
        "billed before {before} ({quantity_before})",
        "zh": "计入迟到用量：现为 {now}（{quantity_now}），此前已计 {before}（{quantity_before}）",
    },
}
# What is added to a line's sentence where the value of this name is there.
_ADDED: dict[str, dict[str, str]] = {
    "flat_fee": {"en": " + {flat_fee} for the tier", "zh": " + 档位费 {flat_fee}"},
    "raised": {"en": "; {raised} of them raised to {floor}", "zh": "；其中 {raised} 项提高至 {floor}"},
    "limited": {"en": "; {limited} of them limited to {cap}", "zh": "；其中 {limited} 项限制为 {cap}"},
    "below": {"en": "; raised to {floor}, the least for the period", "zh": "；提高至本期最低 {floor}"},
    "beyond": {"en": "; limited to {cap}, the most for the period", "zh": "；限制为本期最高 {cap}"},
    "term_amount": {
        "en": "; less {term_amount} for {term_quantity} earlier in the term",
        "zh": "；减去合同期内此前 {term_quantity} 个单位的 {term_amount}",
    },
    "shared_amount": {
        "en": "; this payer's part of {shared_amount}",
        "zh": "；总额 {shared_amount} 中本付款方承担的部分",
    },
}
_LINES |= case_sentences.LINES


def reason(code: str, language: str) -> str:
    """Why an event was or was not charged."""
    return REASONS[code][language]


def line(explanation: Mapping[str, str], language: str) -> str:
    """How a line's amount came about. `explanation`: `code` and the values that its sentence needs."""
    sentence = _LINES[explanation["code"]][language]
    sentence += "".join(text[language] for name, text in _ADDED.items() if explanation.get(name))
    return sentence.format(**explanation)
