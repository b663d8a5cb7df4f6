"""A radiograph on the whole path, as a CT: routed, decoded, judged, encoded, delivered and charged; or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from billing.contracts import store as billing_store
from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.result_context import ResultContext
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from inference.scheduler import Scheduler
from models.chest_radiograph.phantom import Picture, make_patient, take_frontal
from models.chest_radiograph.phantom_body import HELD_OUT
from models.chest_radiograph.phantom_others import lateral
from models.registry import get_model
from pipeline import store
from pipeline.destinations import DestinationRecord, save_destination
from pipeline.report_file import load_report
from pipeline.services import Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.study_path import take_step
from pipeline.ways_out.items import items_of
from pipeline.ways_out.told import load_told
from tests.conftest import ROOT
from tests.pipeline.conftest import ALPHA, Clinic, receive_files
from tests.pipeline.test_route_study import put_in_force
from tests.radiograph_files import write_radiograph

CONTRACT = (ROOT / "examples/contract_per_case.yaml").read_text("utf-8")
PATIENT = make_patient(np.random.default_rng(900_004), HELD_OUT)


def stored(pixels: np.ndarray, *, inverted: bool = False) -> np.ndarray:
    unit = (pixels - pixels.min()) / (pixels.max() - pixels.min())
    return np.rint((1 - unit if inverted else unit) * 4095).astype(np.uint16)


@pytest.fixture
def services(clinic: Clinic, changed: Callable[..., Services]) -> Services:
    put_in_force(clinic, "rules:\n  - {name: chest, models: [chest_radiograph]}\n")
    with clinic.database.transaction(ALPHA) as conn:
        billing_store.add_contract(conn, ALPHA, CONTRACT.replace("lung_nodule_ct", "chest_radiograph"))
    return changed(get_model=get_model, scheduler=Scheduler(OnnxRuntimeEndpoint(1)))


def arrived(clinic: Clinic, picture: Picture, **elements: object) -> StudyRecord:
    folder = clinic.services.folders.instances
    frontal = write_radiograph(
        folder / "1.dcm", stored(picture.pixels, inverted=True), modality="CR", BitsStored=12, InstanceNumber=1,
        PhotometricInterpretation="MONOCHROME1", **elements,
    )  # fmt: skip
    side = write_radiograph(
        folder / "2.dcm", stored(picture.pixels), modality="CR", ViewPosition="LL", InstanceNumber=2,
        SOPInstanceUID="2.25.9011",
    )  # fmt: skip
    return clinic.study(receive_files(clinic, [frontal, side]))


def steps(clinic: Clinic, services: Services, study: StudyRecord) -> StudyRecord:
    for _ in range(5):
        take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    clinic.owner.execute(
        "UPDATE delivery SET state = 'acknowledged', acknowledged_at = now() WHERE state = 'waiting'"
    )
    take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    with clinic.database.transaction(ALPHA) as conn:
        return store.get_study(conn, ALPHA, study.id)


def usage(clinic: Clinic, study: StudyRecord) -> list[tuple[str, str]]:
    with clinic.database.transaction(ALPHA) as conn:
        found = billing_store.usage_for_study(conn, ALPHA, str(study.id))
    return [(one.event.kind, one.decision.outcome) for one in found]


def test_a_frontal_radiograph_is_judged_reported_delivered_and_charged(
    clinic: Clinic, services: Services
) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        ris = DestinationRecord(ALPHA, "ris", kind="hl7", host="ris.test", port=2575, required=False)
        save_destination(conn, ris)
    picture = take_frontal(np.random.default_rng(2), PATIENT, frozenset({"pleural_effusion"}))
    after = steps(clinic, services, arrived(clinic, picture))
    assert (after.status, after.reason_code) == (StudyStatus.DELIVERED, None)
    assert after.route[0]["sop_instance_uid"] == "2.25.9001"
    (row,) = clinic.rows("SELECT answer, conformance FROM result")
    assert row["conformance"]["problems"] == []
    statements = {one["label"]: one for one in row["answer"]["classifications"]}
    assert len(statements) == 6
    assert all(0 <= one["probability"] <= 1 for one in statements.values())
    results = services.folders.results_of(after)
    view = load_report(results)
    assert [row.label for row in view.statements] == list(statements)
    assert view.key_images[0].png.startswith(b"\x89PNG")
    assert (results / "report.pdf").read_bytes().startswith(b"%PDF-")
    document = pydicom.dcmread(results / "chest_radiograph.sr.dcm")
    evidence = document.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert [one.ReferencedSOPInstanceUID for one in evidence.ReferencedSOPSequence] == ["2.25.9001"]
    location = {
        row["kind"]: row["location"] for row in clinic.rows("SELECT kind, location FROM result_object")
    }
    assert set(location) == {"SR", "PDF", "ORU"}
    told = load_told(services.folders.results / location["ORU"])
    assert [(item.number, item.code.value) for item in items_of(told)] == [
        (number, one["code"]["value"]) for number, one in enumerate(statements.values(), start=1)
    ]
    assert (told.status, told.patient_id) == ("preliminary", view.patient_id)
    assert (services.folders.results / location["ORU"]).with_name(told.pdf) == results / "report.pdf"
    assert usage(clinic, after) == [("result_delivered", "billable")]


def test_a_lateral_that_calls_itself_pa_is_refused_with_its_sentence_and_not_charged(
    clinic: Clinic, services: Services
) -> None:
    after = steps(clinic, services, arrived(clinic, lateral(np.random.default_rng(3), PATIENT)))
    assert after.status is StudyStatus.REJECTED
    assert after.reason_code in ("LATERAL_RADIOGRAPH", "NOT_A_CHEST_RADIOGRAPH")
    assert after.reason_text
    assert [kind for kind, _ in usage(clinic, after)] == ["refused"]


def test_what_a_reader_must_know_stands_in_the_report_and_in_the_row_that_programs_read(
    clinic: Clinic, services: Services
) -> None:
    picture = take_frontal(np.random.default_rng(2), PATIENT, frozenset())
    path: Path = write_radiograph(
        services.folders.instances / "1.dcm", stored(picture.pixels), modality="CR", PatientBirthDate=""
    )
    after = steps(clinic, services, clinic.study(receive_files(clinic, [path])))
    (row,) = clinic.rows("SELECT answer FROM result")
    assert any("age is not known" in note for note in row["answer"]["notes"])
    assert tuple(row["answer"]["notes"]) == load_report(services.folders.results_of(after)).input_notes


def test_a_hand_in_the_header_is_refused_before_it_is_decoded(clinic: Clinic, services: Services) -> None:
    picture = take_frontal(np.random.default_rng(2), PATIENT, frozenset())
    folder = clinic.services.folders.instances
    path: Path = write_radiograph(folder / "1.dcm", stored(picture.pixels), BodyPartExamined="HAND")
    after = steps(clinic, services, clinic.study(receive_files(clinic, [path])))
    assert (after.status, after.reason_code) == (StudyStatus.REJECTED, "WRONG_BODY_PART")


def test_a_set_that_the_gate_objects_to_is_not_sent_not_shown_and_not_charged(
    clinic: Clinic, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if an encoder had mixed up two patients."""

    def mixed_up(context: ResultContext, pdf: bytes) -> Dataset:
        made = encode_pdf(context, pdf)
        made.PatientID = "ANOTHER"
        return made

    monkeypatch.setattr("pipeline.result_set.encode_pdf", mixed_up)
    picture = take_frontal(np.random.default_rng(2), PATIENT, frozenset())
    after = steps(clinic, services, arrived(clinic, picture))
    assert (after.status, after.reason_code) == (StudyStatus.FAILED, "RESULT_NOT_CONFORMANT")
    assert "PDF: PatientID is not that of the source" in str(after.reason_text)
    assert "ANOTHER" not in str(after.reason_text)
    (row,) = clinic.rows("SELECT conformance FROM result")
    assert row["conformance"]["problems"] == ["PDF: PatientID is not that of the source"]
    assert clinic.rows("SELECT * FROM result_object") == []
    assert clinic.rows("SELECT * FROM delivery") == []
    assert not services.folders.results_of(after).exists()
    assert usage(clinic, after) == [("failed", "not_billable")]
