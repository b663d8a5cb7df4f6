"""A hospital's own list of November as CSV, HL7 v2 and FHIR, all saying the same; for tests."""

from __future__ import annotations

import json

KEY = b"the hospital's key"
HEADER = "token,code,day,quantity\n"
# The hospital counts ACC1, ACC2 twice, ACC3 a day later, ACC6 that was refused, ACC9 that we never saw, and a chest
# film that is none of ours; it misses ACC4 and ACC5.
CSV = (
    HEADER + "ACC1,CT-AI-1,2026-11-10,1\nACC2,CT-AI-1,2026-11-11,2\nACC3,CT-AI-1,2026-11-13,\n"
    "ACC6,CT-AI-1,2026-11-15,1\nACC9,CT-AI-1,2026-11-16T23:30:00+08:00,1\nACC1,XR-CHEST,2026-11-10,1\n"
)


def hl7_message(number: int, *charges: tuple[str, str, str, str, str]) -> str:
    """DFT^P03 as HIS write it, with a patient whom nobody may read; charge: (order, code, time, type, quantity)."""
    segments = [
        f"MSH|^~\\&|HIS|HOSP|RADMETER|X|20261201||DFT^P03^DFT_P03|{number}|P|2.5.1",
        "EVN|P03|20261201",
        "PID|1||4711^^^H||Doe^Jane||19500101|F",
    ]
    for position, (order, code, time, kind, quantity) in enumerate(charges, start=1):
        between = "|" * 13
        segments.append(
            f"FT1|{position}|T{number}||{time}||{kind}|{code}^AI reading|||{quantity}{between}{order}^RIS"
        )
    return "\r".join(segments) + "\r"


HL7 = "".join(
    [
        hl7_message(
            1, ("ACC1", "CT-AI-1", "20261110120000", "CG", "1"), ("ACC1", "XR", "20261110", "CG", "1")
        ),
        hl7_message(
            2, ("ACC2", "CT-AI-1", "20261111", "CG", "3"), ("ACC2", "CT-AI-1", "20261111", "CR", "1")
        ),
        hl7_message(3, ("ACC3", "CT-AI-1", "20261113", "CG", ""), ("ACC3", "CT-AI-1", "20261113", "PY", "1")),
        hl7_message(
            4, ("ACC6", "CT-AI-1", "20261115", "CG", "1"), ("ACC9", "CT-AI-1", "20261116", "CG", "1")
        ),
        hl7_message(
            5, ("ACC5", "CT-AI-1", "20261114", "CG", "1"), ("ACC5", "CT-AI-1", "20261114", "CR", "1")
        ),
    ]
)


def charge_item(order: str, day: str, **changes: object) -> dict[str, object]:
    resource = {
        "resourceType": "ChargeItem",
        "status": "billable",
        "identifier": [{"system": "urn:other", "value": "X"}, {"system": "urn:orders", "value": order}],
        "code": {"coding": [{"code": "CT-AI-1"}]},
        "subject": {"reference": "Patient/4711", "display": "Jane Doe"},
        "occurrenceDateTime": day,
        **changes,
    }
    return {"resource": resource}


def fhir_bundle(*entries: dict[str, object]) -> str:
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": list(entries)})


FHIR = fhir_bundle(
    charge_item("ACC1", "2026-11-10"),
    charge_item("ACC2", "2026-11-10T17:00:00Z", quantity={"value": 2}),
    charge_item("ACC3", "2026-11-13T09:00:00+08:00"),
    charge_item("ACC4", "2026-11-13", status="entered-in-error"),
    charge_item("ACC6", "2026-11-15"),
    charge_item("ACC9", "2026-11-16"),
    {"resource": {"resourceType": "Patient", "name": [{"family": "Doe"}]}},
    charge_item("ACC1", "2026-11-10", code={"coding": [{"code": "XR"}]}),
)
