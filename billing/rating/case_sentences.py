"""How a line came about that a case rule, a verdict or a limit made, in each language."""

from __future__ import annotations

LINES: dict[str, dict[str, str]] = {
    "sequence_discount": {
        "en": "Further results of the same request: {quantity} × {unit_price} × {percent}%",
        "zh": "同一申请的后续结果：{quantity} × {unit_price} × {percent}%",
    },
    "no_primary": {
        "en": "Add-on without its main item in the request: {quantity} at no charge",
        "zh": "同一申请中没有主项目的加收项：{quantity}，不收费",
    },
    "included": {
        "en": "Part of another item of the same request: {quantity} at no charge",
        "zh": "已包含在同一申请的其他项目内：{quantity}，不另收费",
    },
    "bundle": {
        "en": "{quantity} × {unit_price}, one price for the results of a request",
        "zh": "{quantity} × {unit_price}，同一申请的各项结果合并一价",
    },
    "in_bundle": {
        "en": "{quantity} more result(s) within {rule}, at no charge of their own",
        "zh": "{rule} 内的其他结果：{quantity}，不另收费",
    },
    "bundle_share": {
        "en": "Within {rule}: {quantity} × {unit_price} × {percent}%",
        "zh": "{rule} 内：{quantity} × {unit_price} × {percent}%",
    },
    "verdict_awaited": {
        "en": "Awaiting a verdict: {quantity} × {unit_price} × {percent}% due at delivery",
        "zh": "等待判定：{quantity} × {unit_price} × {percent}%（交付时应付）",
    },
    "verdict_accepted": {
        "en": "Accepted: {quantity} × {unit_price} × {percent}%",
        "zh": "已采纳：{quantity} × {unit_price} × {percent}%",
    },
    "verdict_rejected": {
        "en": "Rejected: {quantity} × {unit_price} × {percent}%",
        "zh": "未采纳：{quantity} × {unit_price} × {percent}%",
    },
    "verdict_none": {
        "en": "No verdict within the agreed time: {quantity} × {unit_price} × {percent}%",
        "zh": "约定期限内无判定：{quantity} × {unit_price} × {percent}%",
    },
    "outcome_floor": {
        "en": "Lifts {before} to the agreed floor of {limit} for the period",
        "zh": "由 {before} 补足至本期约定下限 {limit}",
    },
    "outcome_cap": {
        "en": "Takes {before} down to the agreed cap of {limit} for the period",
        "zh": "由 {before} 降至本期约定上限 {limit}",
    },
}
