"""The words of a payout statement in each language."""

from __future__ import annotations

from billing.errors import LanguageUnknown

WORDS: dict[str, dict[str, str]] = {
    "en": {
        "title": "Payout statement",
        "draft": "Draft",
        "draft_note": "What is payable so far. Not issued, not paid.",
        "seller": "From",
        "payee": "To",
        "period": "Month",
        "currency": "Currency",
        "issued_on": "Issued",
        "contract": "Contract",
        "split": "Split",
        "description": "Description",
        "quantity": "Quantity",
        "unit": "Unit",
        "service_start": "Service from",
        "service_last_day": "Service to",
        "base": "shared amount",
        "earned": "earned",
        "reversed": "taken back by credit notes",
        "released_before": "told before",
        "waiting": "not yet collected from the customer",
        "amount": "Amount",
        "guarantee": "Minimum guarantee",
        "promised": "guaranteed",
        "opening": "Balance of the last statement",
        "shares": "Shares of this statement",
        "guaranteed": "Topped up to the minimum guarantee",
        "recouped": "Kept for the advance",
        "advance_outstanding": "{amount} still to be recouped",
        "paid": "Paid out since",
        "pending": "On its way to you",
        "carried": "Balance carried forward",
        "to_pay": "To be paid",
        "pay_to": "To be paid to",
        "none": "Nothing became payable in this month.",
        "self_billed": "Self-billed: we issue this statement for what you earned. It is not a tax invoice.",
    },
    "zh": {
        "title": "结算单",
        "draft": "草稿",
        "draft_note": "截至目前的应付金额，尚未出具，不作付款依据。",
        "seller": "出具方",
        "payee": "收款方",
        "period": "月份",
        "currency": "币种",
        "issued_on": "出具日期",
        "contract": "合同",
        "split": "分成",
        "description": "项目",
        "quantity": "数量",
        "unit": "单位",
        "service_start": "服务开始",
        "service_last_day": "服务截止",
        "base": "分成基数",
        "earned": "应得",
        "reversed": "贷项通知冲回",
        "released_before": "此前已结算",
        "waiting": "客户尚未付款",
        "amount": "金额",
        "guarantee": "最低保证",
        "promised": "保证金额",
        "opening": "上期余额",
        "shares": "本期分成",
        "guaranteed": "补足最低保证",
        "recouped": "抵扣预付款",
        "advance_outstanding": "尚余 {amount} 待抵扣",
        "paid": "期间已付款",
        "pending": "付款途中",
        "carried": "结转下期",
        "to_pay": "应付金额",
        "pay_to": "收款账户",
        "none": "本月无应付款项。",
        "self_billed": "本结算单由我方代为出具，列明贵方应得款项，不是发票。",
    },
}


def words_of(language: str) -> dict[str, str]:
    """The words of one language; raises `LanguageUnknown`."""
    try:
        return WORDS[language]
    except KeyError:
        raise LanguageUnknown(language) from None
