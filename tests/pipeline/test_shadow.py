"""A model in shadow, through every real step: it runs, its result is kept, nothing leaves and nothing is charged."""

from __future__ import annotations

from collections.abc import Callable

from billing.contracts import store as billing_store
from dicom_gateway.write_ct import write_ct_series
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from inference.scheduler import Scheduler
from models.registry import get_model
from pipeline import store
from pipeline.services import Services
from pipeline.status import StudyStatus
from pipeline.study_path import take_step
from pipeline.work_list import Filter, list_studies
from tests.conftest import ROOT
from tests.pipeline.conftest import ALPHA, Clinic, receive_files
from tests.pipeline.test_route_study import put_in_force
from tests.small_chest import SPACING_MM, small_chest

SHADOW = "rules:\n  - {name: only in shadow, models: [lung_nodule_ct], shadow: true}\n"
CONTRACT = ROOT / "examples/contract_per_case.yaml"


def test_a_shadow_result_is_kept_and_neither_delivered_nor_charged(
    clinic: Clinic, changed: Callable[..., Services]
) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        billing_store.add_contract(conn, ALPHA, CONTRACT.read_text("utf-8"))
    put_in_force(clinic, SHADOW)
    services = changed(get_model=get_model, scheduler=Scheduler(OnnxRuntimeEndpoint(2)))
    folder = clinic.services.folders.instances
    paths = write_ct_series(small_chest().voxels, SPACING_MM, folder, study_description="CT Chest")
    last = receive_files(clinic, paths)
    study = clinic.study(last)
    for _ in range(4):  # route, decode, infer, encode
        take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    study = clinic.study(last)
    assert (study.status, study.reason_text) == (StudyStatus.SHADOWED, None)
    with clinic.database.transaction(ALPHA) as conn:
        (result,) = store.results(conn, ALPHA, study.id)
        assert store.result_objects(conn, ALPHA, study.id) == []
        usage = billing_store.usage_for_study(conn, ALPHA, str(study.id))
        (row,) = list_studies(conn, ALPHA, Filter(), limit=50)
    assert (result["is_shadow"], result["is_delivered"]) == (True, False)
    assert row["finding_count"] is None, "the work list tells no finding of a shadow"
    assert [(one.decision.outcome, one.decision.reason_code, one.event.purpose) for one in usage] == [
        ("not_billable", "shadow", "shadow")
    ]
    results = services.folders.results_of(study)
    assert (results / "lung_nodule_ct/report.json").is_file()
    assert not (results / "report.json").exists(), "no clinician takes it for the study's report"
    assert list(results.rglob("*.dcm")) == [], "there is nothing that could be sent"
    assert len(clinic.jobs("take_step")) == 4, "no step follows"
