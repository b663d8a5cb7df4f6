"""What webhooks and mails say of an event: which study, what happened, where to look. Never whose study it is."""

from __future__ import annotations

import json
from typing import Any

from pipeline.destinations import DestinationRecord
from pipeline.ways_out.plain import plain
from pipeline.ways_out.told import Told

_TITLES = {
    "result": ("A result was delivered", "结果已送达"),
    "reviewed": ("A result was reviewed", "结果已审核"),
    "superseded": ("A result was superseded by a newer one", "结果已被新结果取代"),
    "critical": ("A result has a critical finding", "结果含危急所见"),
    "refused": ("A study was not analysed", "检查未分析"),
    "failed": ("A study failed", "检查处理失败"),
}


def event_payload(told: Told, target: DestinationRecord) -> str:
    """The body of a webhook, in the shape that Standard Webhooks recommends; the same text in every attempt."""
    data: dict[str, Any] = {"study_id": told.study_id, "revision": told.revision, "product": told.product}
    data |= {"reason_code": told.reason_code} if told.reason_code else {}
    data |= {"report_url": told.report_url} if told.report_url else {}
    if target.with_accession and told.accession_number:
        data["accession_number"] = plain(told.accession_number)
    payload = {"type": f"study.{told.event}", "timestamp": told.at.isoformat(), "data": data}
    return json.dumps(payload, ensure_ascii=False)


def event_mail(told: Told, target: DestinationRecord) -> tuple[str, str]:
    """(subject, text) of a mail in the tenant's language."""
    number = 1 if told.language == "zh" else 0
    title = _TITLES[told.event][number]
    names = (
        ("Study", "检查"),
        ("Revision", "版本"),
        ("Model", "模型"),
        ("Reason", "原因"),
        ("Accession", "检查号"),
    )
    values = [told.study_id, str(told.revision), told.product, told.reason_code]
    values.append(plain(told.accession_number) if target.with_accession else "")
    lines = [f"{name[number]}: {value}" for name, value in zip(names, values, strict=True) if value]
    lines += ["", told.report_url] if told.report_url else []
    return f"radmeter: {title}", "\n".join([f"{title}.", "", *lines, ""])
