"""The route step on real files: rules in force, their version, priority and facts; and what replays from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.contracts import store as billing_store
from dicom_gateway.instance_sink import ReceivedInstance
from models.registry import get_model
from pipeline import rule_store
from pipeline.queue import step_at, step_priority
from pipeline.route_rules import route_by_rules
from pipeline.rule_document import read_rules
from pipeline.rule_errors import RuleSetNotFound, RulesInvalid
from pipeline.services import Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.study_facts import INSTANCES_MAX, KINDS_MAX, load_facts, restore, summarize
from pipeline.study_path import take_step
from tests.ct_files import ramp, write
from tests.pipeline.conftest import ALPHA, BETA, Clinic, receive_files
from tests.pipeline.rule_builders import ARRIVAL, ct_series, ct_study

RULE = """rules:
  - name: chest CT
    series: Modality == "CT" and "CHEST" in BodyPartExamined
    calling_ae_titles: [PACS]
    called_ae_titles: [ALPHA]
    models: [lung_nodule_ct]
    destinations: [ARCHIVE]
"""


@pytest.fixture
def services(changed: Callable[..., Services]) -> Services:
    return changed(get_model=get_model)


@pytest.fixture
def received(clinic: Clinic) -> ReceivedInstance:
    """An instance of a chest CT of thirty small slices, which has come and fallen silent."""
    folder = clinic.services.folders.instances
    return receive_files(clinic, write(folder, ramp((30, 8, 8)), study_description="CT Chest"))


def put_in_force(clinic: Clinic, document: str, tenant: str = ALPHA) -> int:
    with clinic.database.transaction(tenant) as conn:
        version = rule_store.add_rule_set(conn, tenant, document, author="ann")
        rule_store.activate(conn, tenant, version, by="ann")
    return version


def route(clinic: Clinic, services: Services, received: ReceivedInstance) -> StudyRecord:
    study = clinic.study(received)
    take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    return clinic.study(received)


def usage(clinic: Clinic, study: StudyRecord) -> list[tuple[str, str, str, str]]:
    with clinic.database.transaction(ALPHA) as conn:
        found = billing_store.usage_for_study(conn, ALPHA, str(study.id))
    return [
        (one.event.kind, one.event.product, one.decision.outcome, one.decision.reason_code) for one in found
    ]


class TestRouting:
    def test_without_rules_the_tenants_models_read_it(
        self, clinic: Clinic, services: Services, received: ReceivedInstance
    ) -> None:
        study = route(clinic, services, received)
        assert study.status is StudyStatus.ROUTED
        assert [choice["product"] for choice in study.route] == ["lung_nodule_ct"]
        assert (study.rule_set_version, study.priority, study.run_window) == (None, "normal", None)

    def test_a_study_keeps_the_rule_and_the_version_that_routed_it(
        self, clinic: Clinic, services: Services, received: ReceivedInstance
    ) -> None:
        put_in_force(clinic, RULE.replace("chest CT", "older"))
        version = put_in_force(clinic, RULE)
        study = route(clinic, services, received)
        put_in_force(clinic, RULE.replace("chest CT", "newer"))
        (choice,) = clinic.study(received).route
        assert (choice["rule"], choice["rule_set_version"], choice["destinations"]) == (
            "chest CT",
            2,
            ["ARCHIVE"],
        )
        assert (version, study.rule_set_version) == (2, 2)

    def test_a_study_that_no_rule_takes_is_refused_visibly_and_not_charged(
        self, clinic: Clinic, services: Services, received: ReceivedInstance
    ) -> None:
        put_in_force(clinic, RULE.replace('"CT"', '"MR"'))
        study = route(clinic, services, received)
        assert (study.status, study.reason_code) == (StudyStatus.REJECTED, "NO_RULE_MATCHED")
        assert study.reason_text == "None of 1 routing rules (version 1) matches this study."
        assert usage(clinic, study) == [("refused", "lung_nodule_ct", "not_billable", "refused")]
        event = clinic.rows("SELECT detail FROM study_event WHERE event = 'study_rejected'")[0]
        assert event["detail"]["rules"] == [{"rule": "chest CT", "obstacle": "series"}]

    def test_the_manifest_still_refuses_and_names_the_product_of_the_rule(
        self, clinic: Clinic, services: Services, received: ReceivedInstance
    ) -> None:
        clinic.owner.execute("UPDATE tenant SET models = '{another}'")
        put_in_force(clinic, RULE.replace('"CHEST"', '"CH"').replace("series:", "when: true\n    series:"))
        manifest = get_model("lung_nodule_ct").manifest
        strict = dataclasses.replace(manifest, input=dataclasses.replace(manifest.input, slice_count_min=31))
        picky = dataclasses.replace(services, get_model=lambda name, **_: _Bare(strict))
        study = route(clinic, picky, received)
        assert (study.status, study.reason_code) == (StudyStatus.REJECTED, "TOO_FEW_SLICES")
        assert usage(clinic, study) == [("refused", "lung_nodule_ct", "not_billable", "refused")]

    def test_another_tenants_rules_are_not_asked(
        self, clinic: Clinic, services: Services, received: ReceivedInstance
    ) -> None:
        put_in_force(clinic, RULE.replace('"CT"', '"MR"'), tenant=BETA)
        assert route(clinic, services, received).status is StudyStatus.ROUTED


@dataclasses.dataclass
class _Bare:
    manifest: Any


class TestUrgency:
    def test_the_steps_of_an_emergency_come_first_and_unrouted_studies_before_them(
        self, clinic: Clinic, services: Services, received: ReceivedInstance
    ) -> None:
        put_in_force(clinic, RULE + '    emergency_when: StudyDescription =~~ "chest"\n')
        study = route(clinic, services, received)
        assert study.priority == "emergency"
        jobs = clinic.jobs("take_step")
        assert [job["priority"] for job in jobs] == [20, 10]
        assert {job["priority"] for job in clinic.jobs("assemble")} == {30}
        normal = dataclasses.replace(study, priority="normal")
        off_peak = dataclasses.replace(study, priority="off_peak")
        assert step_priority(study) > step_priority(normal) > step_priority(off_peak)

    def test_the_queue_hands_out_the_most_urgent_job_first(
        self, clinic: Clinic, services: Services, received: ReceivedInstance
    ) -> None:
        study = dataclasses.replace(clinic.study(received), status=StudyStatus.ROUTED)
        clinic.owner.execute("DELETE FROM procrastinate_jobs")
        for number, priority in enumerate(["off_peak", "normal", "emergency"]):
            other = dataclasses.replace(study, priority=priority, revision=number)
            with clinic.database.transaction(ALPHA) as conn:
                services.defer_step(conn, other)
            clinic.owner.execute("UPDATE procrastinate_jobs SET lock = NULL")
        worker = clinic.rows("SELECT worker_id FROM procrastinate_register_worker_v1()")[0]["worker_id"]
        fetched = [
            clinic.rows("SELECT args FROM procrastinate_fetch_job_v2(NULL, %s)", worker)[0]["args"][
                "revision"
            ]
            for _ in range(3)
        ]
        assert fetched == [2, 1, 0]

    def test_a_study_that_has_begun_ends_before_another_of_its_urgency_begins(
        self, clinic: Clinic, received: ReceivedInstance
    ) -> None:
        def of(priority: str, status: StudyStatus) -> int:
            return step_priority(
                dataclasses.replace(clinic.study(received), priority=priority, status=status)
            )

        path = [StudyStatus.ROUTED, StudyStatus.DECODED, StudyStatus.INFERRED, StudyStatus.ENCODED]
        all_steps = [
            of(priority, status) for priority in ("off_peak", "normal", "emergency") for status in path
        ]
        assert all_steps == sorted(set(all_steps))
        assert max(all_steps) < of("off_peak", StudyStatus.ASSEMBLED)

    def test_an_off_peak_study_waits_for_its_hours_before_its_models_run(
        self, clinic: Clinic, services: Services, received: ReceivedInstance
    ) -> None:
        soon = datetime.now(UTC) + timedelta(hours=3)
        hours = f'off_peak: {{from: "{soon:%H:%M}", to: "{soon + timedelta(hours=1):%H:%M}"}}\n'
        put_in_force(clinic, hours + RULE + "    priority: off_peak\n")
        study = route(clinic, services, received)
        assert study.run_window is not None
        job = clinic.jobs("take_step")[-1]
        assert abs(job["scheduled_at"] - soon) < timedelta(minutes=1)
        assert step_at(study, soon) is None, "inside its hours it runs at once"
        encoded = dataclasses.replace(study, status=StudyStatus.ENCODED)
        assert step_at(encoded, datetime.now(UTC)) is None, "what has run is delivered at any hour"


class TestFacts:
    def test_rules_see_of_the_stored_facts_what_they_saw_of_the_files(
        self, clinic: Clinic, services: Services, received: ReceivedInstance
    ) -> None:
        put_in_force(clinic, RULE)
        study = route(clinic, services, received)
        with clinic.database.transaction(ALPHA) as conn:
            facts = load_facts(conn, ALPHA, str(study.id))
        with clinic.database.transaction(BETA) as conn:
            assert load_facts(conn, BETA, str(study.id)) is None
            assert load_facts(conn, ALPHA, str(study.id)) is None, "row security stands behind the query"
        assert facts is not None
        again = route_by_rules(
            read_rules(RULE, version=1), *restore(facts), lambda name: get_model(name).manifest
        )
        (choice,) = again.choices
        added_later = {"input_digest", "threshold", "deployment", "uses"}
        seen = {name: value for name, value in study.route[0].items() if name not in added_later}
        assert choice.as_json() == seen

    def test_what_is_kept_of_a_study_is_small_whatever_it_holds(self) -> None:
        many = ct_series(1, slices=300)
        each_its_own = dataclasses.replace(
            many,
            instances=tuple(
                dataclasses.replace(one, slice_thickness_mm=float(number))
                for number, one in enumerate(many.instances, start=1)
            ),
        )
        facts = summarize(ct_study(*[each_its_own] * 300), ARRIVAL)
        assert len(facts["series"]) == 200
        assert all(len(one["images"]) == KINDS_MAX for one in facts["series"])
        study, arrival = restore(summarize(ct_study(*[ct_series(1, slices=900)] * 30), ARRIVAL))
        assert sum(len(one.instances) for one in study.series) == INSTANCES_MAX
        assert arrival == ARRIVAL


class TestVersions:
    def test_saving_makes_a_version_and_the_same_text_makes_none(self, clinic: Clinic) -> None:
        with clinic.database.transaction(ALPHA) as conn:
            assert rule_store.add_rule_set(conn, ALPHA, RULE, author="ann", note="first") == 1
            assert rule_store.add_rule_set(conn, ALPHA, RULE, author="ann") == 1
            assert rule_store.add_rule_set(conn, ALPHA, RULE + "\n", author="bob") == 2
            assert rule_store.active_rules(conn, ALPHA) is None
            assert [one.state for one in rule_store.list_rule_sets(conn, ALPHA)] == ["draft", "draft"]

    def test_one_version_is_in_force_and_an_earlier_one_may_come_back(self, clinic: Clinic) -> None:
        first, second = put_in_force(clinic, RULE), put_in_force(clinic, RULE + "\n")
        with clinic.database.transaction(ALPHA) as conn:
            rule_store.activate(conn, ALPHA, first, by="bob")
            listed = {
                one.version: (one.state, one.activated_by) for one in rule_store.list_rule_sets(conn, ALPHA)
            }
            assert listed == {first: ("active", "bob"), second: ("retired", "ann")}
            rule_store.activate(conn, ALPHA, None, by="bob")
            assert rule_store.active_rules(conn, ALPHA) is None

    def test_what_is_wrong_is_never_stored_and_what_is_not_there_never_in_force(self, clinic: Clinic) -> None:
        with clinic.database.transaction(ALPHA) as conn, pytest.raises(RulesInvalid):
            rule_store.add_rule_set(conn, ALPHA, "rules: 1", author="ann")
        put_in_force(clinic, RULE)
        with clinic.database.transaction(BETA) as conn, pytest.raises(RuleSetNotFound):
            rule_store.activate(conn, BETA, 1, by="eve")


class TestRequiredSeries:
    def test_a_study_waits_for_a_series_that_a_rule_requires_until_the_force_time(
        self, clinic: Clinic
    ) -> None:
        put_in_force(
            clinic,
            RULE
            + "    required_series: [SeriesNumber == 99]\n    force_after_s: 7200\n    force_policy: discard\n",
        )
        folder = clinic.services.folders.instances
        last = receive_files(clinic, write(folder, ramp((30, 8, 8)), study_description="CT Chest"))
        assert clinic.study(last).status is StudyStatus.RECEIVING
        (arrival,) = clinic.rows("SELECT decision FROM arrival")
        assert arrival["decision"]["code"] == "required_series"
        clinic.fall_silent()
        clinic.fall_silent()
        clinic.assemble()
        assert clinic.study(last).status is StudyStatus.REJECTED

    def test_a_series_that_is_here_is_not_waited_for(self, clinic: Clinic) -> None:
        put_in_force(clinic, RULE + "    required_series: ['Modality == \"CT\"']\n")
        folder = clinic.services.folders.instances
        last = receive_files(clinic, write(folder, ramp((30, 8, 8)), study_description="CT Chest"))
        assert clinic.study(last).status is StudyStatus.ASSEMBLED
