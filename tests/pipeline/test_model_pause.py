"""A paused product on the real route step: its studies are refused with the reason, others run, resuming takes up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from models.registry import get_model
from pipeline import model_pause
from pipeline.health_tally import tally
from pipeline.queue import defer_step
from pipeline.services import Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.study_path import take_step
from tests.ct_files import ramp, write
from tests.pipeline.conftest import ALPHA, BETA, Clinic, receive_files
from tests.pipeline.test_route_study import usage

PRODUCT = "lung_nodule_ct"
NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


@dataclasses.dataclass(frozen=True)
class Other:
    """A second model on the same series."""

    manifest: object = dataclasses.replace(get_model(PRODUCT).manifest, name="other", product_code="other")


@pytest.fixture
def services(changed: Callable[..., Services]) -> Services:
    return changed(get_model=lambda name, **_: Other() if name == "other" else get_model(name))


def pause(clinic: Clinic, site: str = "", tenant: str = ALPHA) -> bool:
    with clinic.database.transaction(tenant) as conn:
        return model_pause.pause(conn, tenant, PRODUCT, site, reason="masses are missed", by="anna", now=NOW)


def resume(clinic: Clinic, site: str = "") -> int:
    with clinic.database.transaction(ALPHA) as conn:
        return model_pause.resume(
            conn, ALPHA, PRODUCT, site, by="bob", now=NOW,
            defer_step=lambda conn, study: defer_step(clinic.queue, conn, study),
        )  # fmt: skip


def routed(clinic: Clinic, services: Services) -> StudyRecord:
    folder = clinic.services.folders.instances
    received = receive_files(clinic, write(folder, ramp((30, 8, 8)), study_description="CT Chest"))
    study = clinic.study(received)
    take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    return clinic.study(received)


def test_a_study_of_a_paused_model_is_refused_with_who_and_why_and_analysed_when_it_goes_on(
    clinic: Clinic, services: Services
) -> None:
    assert pause(clinic)
    assert not pause(clinic), "it is paused already"
    study = routed(clinic, services)
    assert (study.status, study.reason_code) == (StudyStatus.REJECTED, "MODEL_PAUSED")
    assert study.reason_text == (
        "lung_nodule_ct is paused by anna: masses are missed. "
        "A study refused for this alone is analysed when it is resumed."
    )
    assert usage(clinic, study) == [("refused", PRODUCT, "not_billable", "refused")]
    clinic.owner.execute("UPDATE study SET updated_at = %s", (NOW,))
    assert resume(clinic) == 1
    with clinic.database.transaction(ALPHA) as conn:
        after = model_pause.store.get_study(conn, ALPHA, study.id)
    assert (after.status, after.revision) == (StudyStatus.ASSEMBLED, study.revision + 1)
    take_step(services, ALPHA, str(study.id), after.revision, attempts=0)
    with clinic.database.transaction(ALPHA) as conn:
        routed_again = model_pause.store.get_study(conn, ALPHA, study.id)
    assert routed_again.status is StudyStatus.ROUTED
    assert [choice["product"] for choice in routed_again.route] == [PRODUCT]


def test_other_models_run_on_and_the_timeline_tells_of_the_paused_one(
    clinic: Clinic, services: Services
) -> None:
    clinic.owner.execute("UPDATE tenant SET models = '{lung_nodule_ct,other}' WHERE tenant = %s", (ALPHA,))
    pause(clinic)
    study = routed(clinic, services)
    assert study.status is StudyStatus.ROUTED
    assert [choice["product"] for choice in study.to_run] == ["other"]
    assert study.refused_choices[0]["refused"]["code"] == "MODEL_PAUSED"
    (event,) = clinic.rows("SELECT detail FROM study_event WHERE event = 'model_refused'")
    assert "masses are missed" in event["detail"]["reason"]


@pytest.mark.parametrize(("tenant", "site"), [(BETA, ""), (ALPHA, "south")])
def test_a_pause_elsewhere_stops_nothing_here(
    clinic: Clinic, services: Services, tenant: str, site: str
) -> None:
    clinic.owner.execute("UPDATE peer SET site = 'north' WHERE tenant = %s", (ALPHA,))
    pause(clinic, site, tenant)
    assert routed(clinic, services).status is StudyStatus.ROUTED


def test_what_a_pause_refused_does_not_count_against_the_model(clinic: Clinic, services: Services) -> None:
    pause(clinic)
    routed(clinic, services)
    with clinic.database.transaction(ALPHA) as conn:
        assert tally(conn, ALPHA, datetime.now(UTC).date()) == 0
        rows = conn.execute("SELECT dimension, value FROM model_health_day").fetchall()
    assert rows == [{"dimension": "refusal", "value": "MODEL_PAUSED"}]
