"""The examples of docs/ways_out.md are what is sent."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pipeline.ways_out.event_message import event_mail, event_payload
from pipeline.ways_out.fhir_bundle import fhir_bundle
from pipeline.ways_out.oru_message import oru_message
from tests.conftest import ROOT
from tests.pipeline.ways_out.builders import DOCUMENTED, destination


def documented_report() -> str:
    """The first entry of the transaction, each of its parts on a line."""
    bundle = json.loads(fhir_bundle(DOCUMENTED, destination("fhir"), None))
    lines = ",\n".join(
        f' "{name}": {json.dumps(value, ensure_ascii=False)}'
        for name, value in bundle["entry"][0]["resource"].items()
    )
    return (
        f"{bundle['entry'][0]['request']['method']} {bundle['entry'][0]['request']['url']}\n{{\n{lines}\n}}"
    )


def documented_oru() -> str:
    target = destination(
        "hl7", receiving_application="RIS", receiving_facility="HOSPITAL", patient_system="MPI"
    )
    text = oru_message(DOCUMENTED, target, "RADMETER", None).content.decode()
    lines = text.split("\r")[:-1]
    # Equipment and time are the same in every OBX; the page shows them once.
    return "\n".join([*lines[:5], *(line.split("|||2026")[0] for line in lines[5:])])


def documented_webhook() -> str:
    return event_payload(DOCUMENTED.without_patient(), destination("webhook"))


def documented_mail() -> str:
    subject, text = event_mail(replace(DOCUMENTED, event="critical").without_patient(), destination("email"))
    return f"Subject: {subject}\n\n{text}".rstrip()


@pytest.mark.parametrize("example", [documented_report, documented_oru, documented_webhook, documented_mail])
def test_the_page_shows_what_is_sent(example: object) -> None:
    page = (ROOT / "docs/ways_out.md").read_text(encoding="utf-8")
    text = "\n".join(("    " + line).rstrip() for line in example().splitlines())  # type: ignore[operator]
    assert text in page, f"docs/ways_out.md should hold:\n{text}"
