"""A study that was not analysed leaves an object that says so, where the tenant wants it; nothing is charged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from billing.contracts import store as billing_store
from models.registry import get_model
from pipeline import store
from pipeline.deliver_to import deliver_to
from pipeline.destinations import DestinationRecord, save_destination
from pipeline.services import Services
from pipeline.store import StudyRecord
from pipeline.study_path import take_step
from tests.dicom_validators import errors_in, output_of, report_errors
from tests.pipeline.conftest import ALPHA, Clinic, receive_files
from tests.pipeline.test_route_study import put_in_force
from tests.radiograph_files import write_radiograph
from tests.scripted_pacs import ScriptedPacs

SR, SC, PDF = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.104.1"
NAME = "Wang^XiaoDong=王^小东"


@pytest.fixture
def services(clinic: Clinic, changed: Callable[..., Services]) -> Services:
    put_in_force(clinic, "rules:\n  - {name: chest, models: [chest_radiograph]}\n")
    return changed(get_model=get_model)


def refused(clinic: Clinic, services: Services, *, wants: bool = True, language: str = "en") -> StudyRecord:
    """A radiograph of a hand, as every routing refuses it."""
    clinic.owner.execute("UPDATE tenant SET refusal_object = %s, language = %s", (wants, language))
    folder = services.folders.instances
    files = [
        write_radiograph(
            folder / f"{number}.dcm", np.zeros((64, 48), np.uint16), BodyPartExamined="HAND", PatientName=NAME,
            SpecificCharacterSet="GB18030", SOPInstanceUID=f"2.25.{number}",
        )
        for number in (9001, 9002)
    ]  # fmt: skip
    study = clinic.study(receive_files(clinic, files))
    take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    with clinic.database.transaction(ALPHA) as conn:
        return store.get_study(conn, ALPHA, study.id)


def deliver(clinic: Clinic, services: Services, study: StudyRecord, port: int, **changes: Any) -> None:
    values: dict[str, Any] = {
        "ae_title": "PACS", "host": "127.0.0.1", "port": port, "back_off_min_s": 0.1, "back_off_max_s": 0.1,
        "fallbacks": ("GSPS", "SC", "PDF"),
    }  # fmt: skip
    with clinic.database.transaction(ALPHA) as conn:
        save_destination(conn, DestinationRecord(ALPHA, "PACS", **values | changes))
    for _ in range(8):
        clinic.owner.execute("UPDATE delivery SET next_at = now() - interval '1 s'")
        deliver_to(services, ALPHA, str(study.id), "PACS")


def states(clinic: Clinic) -> dict[str, str]:
    rows = clinic.rows(
        "SELECT o.kind, d.state FROM delivery d JOIN result_object o USING (tenant, sop_instance_uid)"
    )
    return {row["kind"]: row["state"] for row in rows}


def test_a_tenant_that_did_not_ask_gets_none(clinic: Clinic, services: Services) -> None:
    assert refused(clinic, services, wants=False).reason_code == "WRONG_BODY_PART"
    assert clinic.rows("SELECT * FROM result_object") == []


@pytest.mark.peer
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_report_says_what_why_and_what_to_do_and_passes_the_validators(
    clinic: Clinic, services: Services, language: str
) -> None:
    study = refused(clinic, services, language=language)
    assert (study.status, study.reason_code) == ("rejected", "WRONG_BODY_PART")
    folder = services.folders.results_of(study)
    report = pydicom.dcmread(folder / "refusal.sr.dcm")
    items = [each for part in report.ContentSequence for each in part.get("ContentSequence", ())]
    text = " ".join(each.TextValue for each in items if "TextValue" in each)
    first = {"en": "NOT ANALYSED BY AI", "zh": "未经人工智能分析"}[language]
    assert text.startswith(first)
    assert "WRONG_BODY_PART" in text
    assert "chest_radiograph" in text
    assert {"en": "not the same as “no finding”", "zh": "不等于"}[language] in text
    assert not [one for one in report.ContentSequence if "126010" in str(one.get("ConceptNameCodeSequence"))]
    for kind in ("sr", "sc", "pdf"):
        path: Path = folder / f"refusal.{kind}.dcm"
        dataset = pydicom.dcmread(path)
        assert str(dataset.PatientName) == NAME
        assert "NOT ANALYSED" in dataset.SeriesDescription
        assert "not reviewed" not in dataset.SeriesDescription
        assert errors_in(output_of("dciodvfy", path)) == []
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert len(evidence.ReferencedSOPSequence) == 2
    if language == "zh":  # the tree is the same, and the validator starts slowly
        assert report_errors([folder / "refusal.sr.dcm"], root="TID_2000") == []


def test_it_is_sent_like_a_result_and_nothing_is_charged(clinic: Clinic, services: Services) -> None:
    study = refused(clinic, services)
    assert states(clinic) == {"SR": "waiting"}
    assert [row["args"]["destination"] for row in clinic.jobs("deliver")] == ["PACS"]
    with ScriptedPacs.listening() as pacs:
        deliver(clinic, services, study, pacs.port)
        assert len(pacs.received) == 1
    assert states(clinic) == {"SR": "acknowledged"}
    with clinic.database.transaction(ALPHA) as conn:
        after = store.get_study(conn, ALPHA, study.id)
        usage = billing_store.usage_for_study(conn, ALPHA, str(study.id))
        assert store.delivered_products(conn, after) == []
    assert after.status == "rejected"
    assert [(one.event.kind, str(one.decision.outcome)) for one in usage] == [("refused", "not_billable")]


@pytest.mark.parametrize(("without", "stands_in"), [([SR], "SC"), ([SR, SC], "PDF")], ids=["SR", "SR and SC"])
def test_a_pacs_that_refuses_the_sr_has_it_as_a_picture_or_a_pdf(
    clinic: Clinic, services: Services, without: list[str], stands_in: str
) -> None:
    study = refused(clinic, services)
    with ScriptedPacs.listening(without=without) as pacs:
        deliver(clinic, services, study, pacs.port)
    assert states(clinic)["SR"] == "replaced"
    assert states(clinic)[stands_in] == "acknowledged"


def test_a_destination_without_sr_gets_what_it_takes(clinic: Clinic, services: Services) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        only_pdf = DestinationRecord(
            ALPHA, "PACS", ae_title="PACS", host="x", port=1, object_kinds=("PDF", "SEG")
        )
        save_destination(conn, only_pdf)
    refused(clinic, services)
    assert states(clinic) == {"PDF": "waiting"}


def test_headers_that_are_gone_change_nothing_of_the_refusal(
    clinic: Clinic, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files vanish between routing and the object."""

    def gone(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("pipeline.refusal_objects.read_headers", gone)
    study = refused(clinic, services)
    assert (study.status, study.reason_code) == ("rejected", "WRONG_BODY_PART")
    assert clinic.rows("SELECT * FROM result_object") == []
    (row,) = clinic.rows("SELECT detail FROM study_event WHERE event = 'study_rejected'")
    assert row["detail"]["refusal_object"] == "not made"


def test_a_study_that_no_rule_takes_is_none_of_ours(clinic: Clinic, services: Services) -> None:
    put_in_force(clinic, "rules:\n  - {name: ct, series: 'Modality == \"CT\"', models: [chest_radiograph]}\n")
    assert refused(clinic, services).reason_code == "NO_RULE_MATCHED"
    assert clinic.rows("SELECT * FROM result_object") == []
