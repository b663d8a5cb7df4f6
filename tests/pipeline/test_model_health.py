"""The round of the models' health on a real database: what is counted, who sees it, what is raised and paused."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.metering import meter
from billing.metering.usage import UsageEvent
from pipeline import audit, health_store, model_pause
from pipeline.errors import NotPaused
from pipeline.health_bounds import bounds_of, set_bound
from pipeline.health_figures import Key
from pipeline.health_round import look_at_models
from pipeline.health_rules import Bounds
from pipeline.health_tally import VALUES_MAX, tally
from pipeline.queue import defer_step
from tests.pipeline.conftest import ALPHA, BETA, Clinic

PRODUCT = "lung_nodule_ct"
TODAY = date(2026, 3, 31)
NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
SECRET = ("ROE^RICHARD", "PID-4711", "ACC-0815")


class Ward:
    """Puts ended studies into the clinic's database, as the path of a study leaves them."""

    def __init__(self, clinic: Clinic, tenant: str = ALPHA) -> None:
        self.clinic, self.tenant = clinic, tenant
        clinic.owner.execute("UPDATE peer SET site = 'north' WHERE tenant = %s", (tenant,))
        self.number = 0

    def study(self, at: datetime, status: str = "delivered", **header: str) -> str:
        self.number += 1
        name, patient, accession = SECRET
        values = {"patient_name": name, "patient_id": patient, "accession_number": accession,
                  "patient_sex": "F", "patient_birth_date": "19500101", "study_date": "20260101"}  # fmt: skip
        facts = {"series": [{"series_instance_uid": "1.2", "convolution_kernel": header.pop("kernel", "B30f"),
                             "manufacturer": "ACME",
                             "images": [[300, ["ORIGINAL"], 512, 512, 1, None, 1.0]]}]}  # fmt: skip
        row = self.clinic.owner.execute(
            """INSERT INTO study (tenant, study_instance_uid, ae_title, status, header, route, created_at, reason_code)
               VALUES (%s, %s, 'PACS', %s, %s, %s, %s, %s) RETURNING id""",
            (
                self.tenant, f"1.9.{self.number}", status, json.dumps(values | header),
                json.dumps([{"product": PRODUCT, "series_instance_uid": "1.2"}]), at,
                "X" if status in ("rejected", "failed") else None,
            ),
        ).fetchone()  # fmt: skip
        assert row is not None
        self.clinic.owner.execute(
            "INSERT INTO study_facts (tenant, study_id, facts) VALUES (%s, %s, %s)",
            (self.tenant, row["id"], json.dumps(facts)),
        )
        return str(row["id"])

    def result(self, at: datetime, score: float | None = None, **header: str) -> str:
        study = self.study(at, **header)
        self.clinic.owner.execute(
            """INSERT INTO result (tenant, study_id, revision, product, model_name, model_version, weights_sha256,
                                   input_digest, findings, timing_s, created_at)
               VALUES (%s, %s, 1, %s, %s, '0.2.0', 'x', 'x', %s, '{"infer": 1.2}', %s)""",
            (self.tenant, study, PRODUCT, PRODUCT, json.dumps([{"score": score}] if score else []), at),
        )
        return study

    def event(self, at: datetime, kind: str, study: str, **values: Any) -> None:
        evidence = {"study": study, "revision": 1} | values.pop("evidence", {})
        with self.clinic.database.transaction(self.tenant) as conn:
            meter.record(
                conn,
                UsageEvent(
                    self.tenant, "test", f"{study}:{kind}", kind, PRODUCT, Decimal(1), at, study, f"case-{study}",
                    {"site": "north", **values}, evidence,
                ),
            )  # fmt: skip

    def counts(self, day: date = TODAY) -> dict[tuple[str, str], int]:
        rows = self.clinic.rows(
            "SELECT dimension, value, count FROM model_health_day WHERE tenant = %s AND day = %s",
            self.tenant,
            day,
        )
        return {(row["dimension"], row["value"]): row["count"] for row in rows}

    def tally(self, day: date = TODAY) -> int:
        with self.clinic.database.transaction(self.tenant) as conn:
            return tally(conn, self.tenant, day)


@pytest.fixture
def ward(clinic: Clinic) -> Ward:
    return Ward(clinic)


def test_the_stated_age_counts_where_a_birth_date_is_missing(ward: Ward) -> None:
    ward.result(NOON, 0.9, patient_birth_date="", patient_age="070Y")
    ward.result(NOON, 0.9, patient_birth_date="")
    ward.result(NOON, 0.9, patient_birth_date="", patient_age="200Y")
    ward.tally()
    counts = ward.counts()
    assert (counts["age", "65 and older"], counts["age", "not stated"]) == (1, 2)


def test_a_day_is_counted_from_results_ends_and_verdicts(ward: Ward) -> None:
    for score in (0.95, 0.55, None):
        study = ward.result(NOON, score)
        ward.event(NOON, "result_delivered", study)
    ward.event(NOON + timedelta(hours=1), "outcome", study, verdict="accepted")
    ward.event(NOON, "refused", ward.study(NOON, "rejected"), evidence={"reason_code": "LUNGS_NOT_FOUND"})
    ward.event(NOON, "failed", ward.study(NOON, "failed"))
    assert ward.tally() == 5
    counts = ward.counts()
    assert {key: count for key, count in counts.items() if key[0] in ("status", "score", "positive", "verdict")} == {
        ("status", "completed"): 3, ("status", "refused"): 1, ("status", "failed"): 1,
        ("score", "0.9"): 1, ("score", "0.5"): 1, ("score", "none"): 1,
        ("positive", "yes"): 2, ("positive", "no"): 1, ("verdict", "accepted"): 1,
    }  # fmt: skip
    assert counts["refusal", "LUNGS_NOT_FOUND"] == 1
    for key in [("thickness", "to 1 mm"), ("slices", "150 to 399"), ("kernel", "B30f"), ("vendor", "ACME"),
                ("sex", "F"), ("age", "65 and older")]:  # fmt: skip
        assert counts[key] == 3
    assert counts["sex_positive", "F"] == 2
    assert counts["sex_accepted", "F"] == 1


def test_counting_again_counts_the_same_and_days_do_not_mix(ward: Ward) -> None:
    ward.result(NOON, 0.9)
    ward.result(NOON - timedelta(days=1), 0.9)
    days = (TODAY, TODAY, TODAY - timedelta(days=1), date(2020, 1, 1))
    assert [ward.tally(day) for day in days] == [1, 1, 1, 0]
    assert ward.counts()["status", "completed"] == 1


def test_a_verdict_is_weighed_by_the_score_of_its_result(ward: Ward) -> None:
    study = ward.result(NOON - timedelta(days=3), 0.95)
    ward.event(NOON - timedelta(days=3), "result_delivered", study)
    ward.event(NOON, "outcome", study, verdict="rejected")
    ward.tally()
    assert ward.counts() == {
        ("verdict", "rejected"): 1, ("said_rejected", "0.9"): 1, ("sex_rejected", "F"): 1,
        ("age_rejected", "65 and older"): 1,
    }  # fmt: skip


def test_nothing_of_a_patient_is_stored_and_hostile_headers_are_bounded(ward: Ward) -> None:
    for number in range(VALUES_MAX + 8):
        ward.result(NOON, 0.9, kernel=f"kernel {number}\n" + "x" * 500)
    ward.tally()
    kernels = [value for dimension, value in ward.counts() if dimension == "kernel"]
    assert len(kernels) == VALUES_MAX + 1
    assert max(map(len, kernels)) <= 64
    rows = ward.clinic.rows("SELECT * FROM model_health_day")
    assert not any(secret in str(rows) for secret in (*SECRET, "1.9."))


def test_peers_for_tests_do_not_count(ward: Ward) -> None:
    ward.clinic.owner.execute("UPDATE peer SET is_test = true")
    ward.result(NOON, 0.9)
    assert ward.tally() == 0


def test_a_tenant_sees_and_counts_only_its_own(ward: Ward) -> None:
    other = Ward(ward.clinic, BETA)
    ward.result(NOON, 0.9)
    other.number = 1000
    for _ in range(3):
        other.result(NOON, 0.9)
    for one in (ward, other):
        one.tally()
    assert ward.counts()["status", "completed"] == 1
    with ward.clinic.database.transaction(ALPHA) as conn:
        seen = conn.execute(
            "SELECT count(*) AS rows FROM model_health_day WHERE dimension = 'status'"
        ).fetchone()
        assert seen == {"rows": 1}
        assert health_store.keys(conn, ALPHA, last=TODAY) == [Key(PRODUCT, "0.2.0", "north")]


def fill(ward: Ward, days: range, a_day: int, **values: Any) -> None:
    """Days before today: results of which every third has a finding."""
    for back in days:
        for number in range(a_day):
            at = NOON - timedelta(days=back, minutes=number)
            ward.result(at, 0.75 if number % 3 == 0 else None, **values)
        ward.tally(TODAY - timedelta(days=back))


def test_another_kernel_raises_an_alarm_once_and_the_same_one_does_not(ward: Ward) -> None:
    fill(ward, range(30, 7, -1), 15)
    fill(ward, range(7, 0, -1), 10)
    database = ward.clinic.database
    assert look_at_models(database, ALPHA, now=NOON) == 0
    fill(ward, range(7, -1, -1), 12, kernel="B80s")
    assert look_at_models(database, ALPHA, now=NOON) == 1
    assert look_at_models(database, ALPHA, now=NOON + timedelta(hours=1)) == 0
    with database.transaction(ALPHA) as conn:
        (alarm,) = health_store.recent_alarms(conn, ALPHA, PRODUCT)
        assert alarm["rule"] == "input_drift:kernel"
        assert alarm["cleared_at"] is None
        (told,) = [one for one in audit.recent(conn, ALPHA) if one["action"] == "model_alarm"]
        assert told["detail"]["rule"] == "input_drift:kernel"
    (figure,) = ward.clinic.rows(
        "SELECT value FROM every_model_figure() WHERE metric = 'psi' AND of_what = 'kernel' AND tenant = %s",
        ALPHA,
    )
    assert figure["value"] > 0.2
    later = NOON + timedelta(days=40)
    look_at_models(database, ALPHA, now=later)
    with database.transaction(ALPHA) as conn:
        found = {row["rule"]: row["cleared_at"] for row in health_store.recent_alarms(conn, ALPHA, PRODUCT)}
    # Nothing came any more: that the kernels differ is over, that nothing comes is new.
    assert found == {"input_drift:kernel": later, "volume": None}


def test_a_version_that_another_one_replaced_is_not_missed(ward: Ward) -> None:
    fill(ward, range(40, 20, -1), 15)
    ward.clinic.owner.execute("UPDATE result SET model_version = '0.1.0'")
    for back in range(40, 20, -1):
        ward.tally(TODAY - timedelta(days=back))
    fill(ward, range(5, 0, -1), 15)
    assert look_at_models(ward.clinic.database, ALPHA, now=NOON) == 0


def test_failures_pause_the_model_at_that_site_alone_and_a_person_resumes_it(ward: Ward) -> None:
    for _ in range(30):
        ward.event(NOON, "failed", ward.study(NOON, "failed"), model_version="0.2.0")
    database = ward.clinic.database
    look_at_models(database, ALPHA, now=NOON)
    with database.transaction(ALPHA) as conn:
        (sentence,) = model_pause.paused_products(conn, ALPHA, "north").values()
        assert "rule failure_rate: 100% of 30 studies failed" in sentence
        assert model_pause.paused_products(conn, ALPHA, "south") == {}
        assert model_pause.paused_products(conn, BETA, "north") == {}

        def defer(conn: Any, study: Any) -> None:
            defer_step(ward.clinic.queue, conn, study)

        model_pause.resume(conn, ALPHA, PRODUCT, "north", by="anna", now=NOON, defer_step=defer)
        assert model_pause.paused_products(conn, ALPHA, "north") == {}
        with pytest.raises(NotPaused, match="not paused at north"):
            model_pause.resume(conn, ALPHA, PRODUCT, "north", by="anna", now=NOON, defer_step=defer)
    # What had failed before it was resumed does not stop it again.
    look_at_models(database, ALPHA, now=NOON + timedelta(hours=1))
    with database.transaction(ALPHA) as conn:
        assert model_pause.paused_products(conn, ALPHA, "north") == {}
        actions = [one["action"] for one in audit.recent(conn, ALPHA)]
    assert actions[:2] == ["model_resumed", "model_paused"]


def test_a_tenant_sets_its_own_bounds(ward: Ward) -> None:
    for _ in range(30):
        ward.event(NOON, "failed", ward.study(NOON, "failed"), model_version="0.2.0")
    with ward.clinic.database.transaction(ALPHA) as conn:
        set_bound(conn, ALPHA, "failed_share_stop", 1.0, by="anna", now=NOON)
        assert bounds_of(conn, BETA) == Bounds()
    look_at_models(ward.clinic.database, ALPHA, now=NOON)
    with ward.clinic.database.transaction(ALPHA) as conn:
        assert model_pause.paused_products(conn, ALPHA, "north") == {}
        assert [row["rule"] for row in health_store.recent_alarms(conn, ALPHA, PRODUCT)] == ["failure_rate"]


def test_steps_of_the_study_are_counted_with_those_of_the_model(ward: Ward) -> None:
    study = ward.result(NOON, 0.9)
    ward.clinic.owner.execute(
        """INSERT INTO study_event (tenant, study_id, revision, event, duration_ms)
           VALUES (%s, %s, 1, 'study_decoded', 2500)""",
        (ALPHA, study),
    )
    ward.tally()
    assert {value for dimension, value in ward.counts() if dimension == "latency:decode"} == {"2.9193"}
    assert any(dimension == "latency:infer" for dimension, _ in ward.counts())


def test_a_version_in_shadow_is_counted_beside_the_others_of_its_product(ward: Ward) -> None:
    ward.result(NOON, 0.9)
    ward.result(NOON, 0.9)
    ward.clinic.owner.execute(
        """UPDATE result SET product = 'lung_nodule_ct@0.3.0', model_version = '0.3.0', is_shadow = true
           WHERE study_id = (SELECT study_id FROM result LIMIT 1)"""
    )
    ward.tally()
    with ward.clinic.database.transaction(ALPHA) as conn:
        found = health_store.keys(conn, ALPHA, last=TODAY)
    assert found == [Key(PRODUCT, "0.3.0", "north"), Key(PRODUCT, "0.2.0", "north")]
