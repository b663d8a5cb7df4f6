"""The usage event of a delivery proves itself: which model made what from which input, and when it was acknowledged."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from billing.books import ledger
from billing.contracts import store as billing_store
from billing.contracts.store import RecordedUsage
from pipeline.finish import record_outcome
from pipeline.status import StudyStatus
from tests.pipeline.conftest import ALPHA, Clinic, make_instance

WEIGHTS, INPUT = "ab" * 32, "cd" * 32


def finished(clinic: Clinic, status: StudyStatus) -> RecordedUsage:
    """The usage event of a study that was routed, run, encoded as two objects and then came to `status`."""
    clinic.receive(make_instance())
    clinic.owner.execute(
        """UPDATE study SET header = '{"patient_name": "CANARY", "patient_id": "CANARY", "accession_number": "CANARY"}',
             route = '[{"product": "lung_nodule_ct", "model": "lung_nodule_ct", "model_version": "1.2.0",
                        "publisher": "radmeter", "modality": "CT", "series_instance_uid": "2.25.999000999"}]'"""
    )
    study = clinic.study(make_instance())
    clinic.owner.execute(
        """INSERT INTO result (tenant, study_id, revision, product, model_name, model_version, weights_sha256,
             input_digest, findings, timing_s)
           VALUES (%s, %s, %s, 'lung_nodule_ct', 'lung_nodule_ct', '1.2.0', %s, %s, '[{"label": "CANARY"}]', '{}')""",
        (ALPHA, study.id, study.revision, WEIGHTS, INPUT),
    )
    for uid in ("2.25.999000991", "2.25.999000992"):
        clinic.add_result_object(study, uid, is_delivered=status is StudyStatus.DELIVERED)
    with clinic.database.transaction(ALPHA) as conn:
        record_outcome(conn, dataclasses.replace(study, status=status), unchanged=False)
        [row] = billing_store.list_usage(conn, ALPHA)
        assert ledger.check(conn, ALPHA) == []
    return row


def test_a_delivery_carries_model_input_and_acknowledgement(clinic: Clinic) -> None:
    row = finished(clinic, StudyStatus.DELIVERED)
    evidence, dimensions = row.event.evidence, row.event.dimensions
    assert (evidence["model"], evidence["model_version"]) == ("lung_nodule_ct", "1.2.0")
    assert (evidence["weights_sha256"], evidence["input_digest"]) == (WEIGHTS, INPUT)
    assert (evidence["objects_acknowledged"], evidence["destinations"]) == (2, 1)
    first, last = (str(evidence[f"{which}_acknowledged_at"]) for which in ("first", "last"))
    assert datetime.fromisoformat(first) <= datetime.fromisoformat(last) <= datetime.now(UTC)
    assert (dimensions["publisher"], dimensions["modality"], dimensions["model_version"]) == (
        "radmeter",
        "CT",
        "1.2.0",
    )
    text = repr(row)
    assert "CANARY" not in text
    assert "2.25.999" not in text


def test_a_failure_after_inference_proves_no_delivery(clinic: Clinic) -> None:
    evidence = finished(clinic, StudyStatus.FAILED).event.evidence
    assert (evidence["weights_sha256"], evidence["objects_acknowledged"]) == (WEIGHTS, 0)
    assert "last_acknowledged_at" not in evidence


def test_usage_says_where_its_sender_stands(clinic: Clinic) -> None:
    clinic.owner.execute("UPDATE peer SET site = '东院', department = 'CT 1' WHERE tenant = %s", (ALPHA,))
    dimensions = finished(clinic, StudyStatus.DELIVERED).event.dimensions
    assert (dimensions["site"], dimensions["department"]) == ("东院", "CT 1")
