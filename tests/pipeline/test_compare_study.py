"""The step that infers compares with a prior that is here; whatever is wrong with it is a note."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from billing.contracts import store as billing_store
from dicom_gateway.write_ct import write_ct_series
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from inference.scheduler import Scheduler
from models.model import Model
from models.registry import get_model
from pipeline import store
from pipeline.services import Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.study_file import load_answer
from pipeline.study_path import take_step
from tests.pipeline.conftest import ALPHA, Clinic, receive_files
from tests.pipeline.test_route_study import put_in_force
from tests.small_chest import SPACING_MM, small_chest


def voxels() -> NDArray[np.int16]:
    return small_chest(nodule_count=3).voxels


class Counts:
    """The real endpoint, which counts how often each model's graph ran."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.real = OnnxRuntimeEndpoint(2)

    def run(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        self.runs.append(model.manifest.name)
        return self.real.run(model, inputs)


@pytest.fixture
def endpoint() -> Counts:
    return Counts()


@pytest.fixture
def services(clinic: Clinic, endpoint: Counts, changed: Callable[..., Services]) -> Services:
    put_in_force(clinic, "rules:\n  - {name: chest, models: [lung_nodule_ct]}\n")
    return changed(get_model=get_model, scheduler=Scheduler(endpoint))


def received(clinic: Clinic, name: str, date: str, shape: NDArray[np.int16]) -> StudyRecord:
    folder = clinic.services.folders.instances / name
    origin = (0.0, 0.0, 0.0) if name == "now" else (20.0, -15.0, 300.0)
    last = receive_files(
        clinic,
        write_ct_series(
            shape,
            SPACING_MM,
            folder,
            study_description="CT Chest",
            seed=name,
            study_date=date,
            origin_lps_mm=origin,
        ),
    )
    return clinic.study(last)


def steps(clinic: Clinic, services: Services, study: StudyRecord, count: int) -> StudyRecord:
    for _ in range(count):
        take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    with clinic.database.transaction(ALPHA) as conn:
        return store.get_study(conn, ALPHA, study.id)


def tie(clinic: Clinic, study: StudyRecord, prior: StudyRecord, date: str) -> None:
    """What finding and fetching a prior leaves behind."""
    clinic.owner.execute(
        "INSERT INTO prior_of (tenant, study_id, prior_study_id) VALUES (%s, %s, %s)",
        (ALPHA, study.id, prior.id),
    )
    clinic.owner.execute(
        "UPDATE study SET header = jsonb_build_object('study_date', %s::text) WHERE id = %s", (date, prior.id)
    )


def fetched(clinic: Clinic, date: str, shape: NDArray[np.int16]) -> StudyRecord:
    prior = received(clinic, "then", date, shape)
    clinic.owner.execute("UPDATE study SET purpose = 'prior', status = 'prior' WHERE id = %s", (prior.id,))
    return prior


def compared(clinic: Clinic, services: Services, study: StudyRecord) -> dict[str, Any]:
    """The result row after the step."""
    after = steps(clinic, services, study, 1)
    assert after.status is StudyStatus.INFERRED, after.reason_text
    return clinic.rows("SELECT * FROM result WHERE study_id = %s", study.id)[0]


def test_the_model_runs_on_a_fetched_prior_and_nobody_pays_for_it(
    clinic: Clinic, services: Services, endpoint: Counts
) -> None:
    prior = fetched(clinic, "20251001", voxels())
    study = steps(clinic, services, received(clinic, "now", "20260101", voxels()), 2)
    tie(clinic, study, prior, "20251001")
    row = compared(clinic, services, study)
    assert row["prior_study_id"] == prior.id
    assert row["findings"]
    for finding in row["findings"]:
        assert finding["comparison"]["state"] == "matched"
        assert finding["comparison"]["days"] == 92
        assert finding["comparison"]["growth"]["trend"] == "unchanged"
    assert row["answer"]["prior"]["study_date"] == "20251001"
    assert row["answer"]["prior"]["resolved"] == []
    assert endpoint.runs.count("lung_nodule_ct") == 2
    stored = load_answer(services.folders.work_of(study), "lung_nodule_ct")
    assert [one.as_json() for one in stored.findings] == [
        one | {key: stored_one.as_json()[key] for key in one}
        for one, stored_one in zip(row["findings"], stored.findings, strict=True)
    ]
    assert stored.prior is not None
    assert clinic.rows("SELECT 1 FROM result WHERE study_id = %s", prior.id) == []
    with clinic.database.transaction(ALPHA) as conn:
        assert billing_store.usage_for_study(conn, ALPHA, str(prior.id)) == []


def test_what_the_same_model_has_said_of_the_prior_is_not_asked_again(
    clinic: Clinic, services: Services, endpoint: Counts
) -> None:
    prior = steps(clinic, services, received(clinic, "then", "20251001", voxels()), 3)
    assert endpoint.runs.count("lung_nodule_ct") == 1
    study = steps(clinic, services, received(clinic, "now", "20260101", voxels()), 2)
    tie(clinic, study, prior, "20251001")
    row = compared(clinic, services, study)
    assert endpoint.runs.count("lung_nodule_ct") == 2
    before = clinic.rows("SELECT findings FROM result WHERE study_id = %s", prior.id)[0]["findings"]
    assert [one["comparison"]["tracking_uid"] for one in row["findings"]] == [
        one["tracking_uid"] for one in before
    ]


def test_a_prior_that_cannot_be_read_and_one_that_has_not_come_are_notes(
    clinic: Clinic, services: Services
) -> None:
    prior = fetched(clinic, "20251001", voxels()[:3])
    study = steps(clinic, services, received(clinic, "now", "20260101", voxels()), 2)
    tie(clinic, study, prior, "20251001")
    clinic.owner.execute(
        """INSERT INTO prior_candidate (tenant, study_id, study_instance_uid, header, state)
           VALUES (%s, %s, '1.2.9', '{"study_date": "20251120"}', 'wanted')""",
        (ALPHA, study.id),
    )
    row = compared(clinic, services, study)
    assert row["prior_study_id"] is None
    assert row["answer"]["prior"] is None
    assert all(finding["comparison"] is None for finding in row["findings"])
    notes = " ".join(row["answer"]["notes"])
    assert "The prior study of 2025-10-01 could not be compared: " in notes
    assert "3 slices are fewer than the 25 it needs." in notes
    assert "A prior study of 2025-11-20 was not here when the findings were made" in notes
