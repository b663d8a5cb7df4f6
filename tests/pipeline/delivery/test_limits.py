"""Delivery to several destinations, with limits; given up, sent again, charged once."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from pipeline import deliveries, store
from pipeline.deliver_to import deliver_to
from pipeline.destinations import DestinationRecord
from pipeline.errors import NothingGivenUp
from tests.pipeline.conftest import ALPHA
from tests.pipeline.delivery.conftest import Post
from tests.ports import free_port
from tests.scripted_pacs import ScriptedPacs


class TestDestinationsApart:
    def test_one_that_does_not_answer_holds_up_no_other(self, post: Post, pacs: ScriptedPacs) -> None:
        post.add("there", pacs.port)
        post.add("away", free_port())
        post.route_to("away", "there")
        post.start()
        post.run("away")
        post.run("there")
        assert {state for (name, _), state in post.states().items() if name == "there"} == {"acknowledged"}
        assert {state for (name, _), state in post.states().items() if name == "away"} == {"waiting"}
        assert (post.row().status, post.usage()) == ("encoded", [])

    def test_a_copy_that_is_not_required_delays_nothing(self, post: Post, pacs: ScriptedPacs) -> None:
        post.add("research", free_port(), required=False, attempts_max=1)
        post.add("pacs", pacs.port)
        post.route_to("research", "pacs")
        post.start()
        post.run("pacs")
        assert post.row().status == "delivered"
        post.run("research")
        assert post.row().status == "delivered"
        assert post.states()["research", "SR"] == "dead"
        assert post.usage() == [("result_delivered", "first_delivery")]
        post.add("research", pacs.port, required=False)
        assert post.again("research") == ["research"]
        post.run("research")
        assert post.states()["research", "SR"] == "acknowledged"
        assert post.usage() == [("result_delivered", "first_delivery")]

    def test_no_more_associations_at_once_than_it_wants(self, post: Post, pacs: ScriptedPacs) -> None:
        post.add("pacs", pacs.port, associations_max=1)
        post.route_to("pacs")
        post.start()
        with post.clinic.database.transaction(ALPHA) as conn:
            target = DestinationRecord(ALPHA, "pacs", associations_max=1)
            assert deliveries.hold_slot(conn, target, uuid.uuid4()) is True
            post.run("pacs")
            assert pacs.associations == 0
            assert post.jobs() == ["pacs", "pacs"], "it comes back"
        post.run("pacs")
        assert post.row().status == "delivered"

    def test_two_workers_with_one_job_send_once(self, post: Post, pacs: ScriptedPacs) -> None:
        post.add("pacs", pacs.port)
        post.route_to("pacs")
        post.start()
        with post.clinic.database.transaction(ALPHA) as conn:
            assert deliveries.hold_slot(conn, DestinationRecord(ALPHA, "pacs"), post.study.id) is True
            post.run("pacs")
        assert pacs.associations == 0

    def test_a_rate_limit_spreads_the_objects(self, post: Post, pacs: ScriptedPacs) -> None:
        post.add("pacs", pacs.port, objects_per_s=5, associations_max=1)
        post.route_to("pacs")
        post.start()
        started = time.monotonic()
        post.run("pacs")
        assert time.monotonic() - started >= 2 / 5


class TestGivenUp:
    def dead(self, post: Post, **limits: Any) -> None:
        post.add("pacs", free_port(), **limits)
        post.route_to("pacs")
        post.start()
        post.run("pacs")

    def test_after_its_attempts_a_person_is_needed(self, post: Post) -> None:
        self.dead(post, attempts_max=2)
        assert post.row().status == "encoded"
        post.run("pacs")
        failed = post.row()
        assert (failed.status, failed.reason_code) == ("failed", "DELIVERY_GAVE_UP")
        assert failed.reason_text == (
            "Delivery failed: pacs did not take SR, SEG, PDF in 2 attempts: no connection to the peer."
        )
        with post.clinic.database.transaction(ALPHA) as conn:
            letters = deliveries.given_up(conn, ALPHA)
        assert [(one["kind"], one["state"]) for one in letters] == [
            ("SR", "dead"), ("SEG", "dead"), ("PDF", "dead"),
        ]  # fmt: skip
        events = [row["event"] for row in post.clinic.rows("SELECT event FROM study_event ORDER BY id")]
        assert events.count("delivery_given_up") == 3

    def test_after_its_time_too(self, post: Post) -> None:
        post.add("pacs", free_port(), give_up_after_s=60)
        post.route_to("pacs")
        post.start()
        post.run("pacs")
        assert post.row().status == "encoded"
        post.clinic.owner.execute("UPDATE delivery SET waiting_since = now() - interval '61 s'")
        post.run("pacs")
        assert post.row().status == "failed"

    def test_sent_again_it_is_delivered_and_charged_once(self, post: Post, pacs: ScriptedPacs) -> None:
        self.dead(post, attempts_max=1)
        assert post.usage() == [("failed", "failed")]
        assert post.again() == ["pacs"]
        assert post.row().status == "encoded"
        post.run("pacs")
        assert post.row().status == "failed"
        post.add("pacs", pacs.port)
        assert post.again() == ["pacs"]
        post.start()
        post.run("pacs")
        assert post.row().status == "delivered"
        assert post.usage() == [
            ("failed", "failed"),
            ("failed", "failed"),
            ("result_delivered", "first_delivery"),
        ]
        with pytest.raises(NothingGivenUp):
            post.again()

    def test_a_name_that_nobody_knows_waits_for_its_row_and_says_so(
        self, post: Post, pacs: ScriptedPacs
    ) -> None:
        post.route_to("typo")
        post.start()
        post.run("typo")
        assert post.states("last_error")["typo", "SR"] == "there is no destination or peer of this name"
        post.add("typo", pacs.port)
        post.run("typo")
        assert post.row().status == "delivered"

    def test_switched_off_it_waits(self, post: Post, pacs: ScriptedPacs) -> None:
        post.add("pacs", pacs.port, enabled=False)
        post.route_to("pacs")
        post.start()
        post.run("pacs")
        assert (post.states()["pacs", "SR"], pacs.associations) == ("waiting", 0)
        post.add("pacs", pacs.port)
        post.run("pacs")
        assert post.row().status == "delivered"

    def test_what_waits_is_never_without_a_job(self, post: Post) -> None:
        self.dead(post, back_off_min_s=60, back_off_max_s=60)
        jobs = post.clinic.jobs("deliver")
        assert len(jobs) == 2
        assert jobs[-1]["scheduled_at"] is not None
        deliver_to(post.clinic.services, ALPHA, str(post.study.id), "pacs")
        assert len(post.clinic.jobs("deliver")) == 3, "called too early it leaves a successor"

    def test_what_a_later_revision_replaces_is_not_sent_any_more(
        self, post: Post, pacs: ScriptedPacs
    ) -> None:
        self.dead(post, attempts_max=1)
        post.clinic.owner.execute(
            "UPDATE study SET revision = 2, status = 'encoded', reason_code = NULL, reason_text = NULL"
        )
        post.add("pacs", pacs.port)
        with post.clinic.database.transaction(ALPHA) as conn:
            study = store.get_study(conn, ALPHA, post.study.id)
        post.clinic.add_result_object(study, "1.2.3.9", is_delivered=False, kind="SR", location="SR.dcm")
        post.study = study
        post.start()
        rows = post.clinic.rows("SELECT sop_instance_uid, state FROM delivery")
        assert [(row["sop_instance_uid"], row["state"]) for row in rows] == [("1.2.3.9", "waiting")]

    def test_late_images_that_change_nothing_leave_a_copy_on_its_way(
        self, post: Post, pacs: ScriptedPacs
    ) -> None:
        post.add("pacs", pacs.port)
        post.add("research", free_port(), required=False)
        post.route_to("pacs", "research")
        post.start()
        post.run("pacs")
        post.run("research")
        post.clinic.owner.execute("UPDATE study SET revision = 2")  # as the route step leaves it: delivered
        post.add("research", pacs.port, required=False)
        post.run("research")
        assert post.states()["research", "SR"] == "acknowledged"

    def test_a_mistake_of_ours_counts_as_an_attempt(
        self, post: Post, pacs: ScriptedPacs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        post.add("pacs", pacs.port, attempts_max=1)
        post.route_to("pacs")
        post.start()
        monkeypatch.setattr("pipeline.send_objects.send_instances", lambda *_: {}["no"])
        post.run("pacs")
        assert post.states()["pacs", "SR"] == "dead"
        assert post.states("last_error")["pacs", "SR"] == "not sent: KeyError"
