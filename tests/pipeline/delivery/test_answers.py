"""Delivery: what is planned, what each answer of a destination leads to."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline import deliveries
from tests.pipeline.delivery.conftest import KINDS, SEG, SR, Post
from tests.scripted_pacs import ABORT, ScriptedPacs


class TestPlan:
    def test_without_a_destination_the_sender_gets_everything(self, post: Post) -> None:
        post.start()
        assert post.states() == {("PACS", kind): "waiting" for kind in KINDS}
        assert post.jobs() == ["PACS"]
        assert post.row().status == "encoded"

    def test_the_peer_says_where_its_results_go(self, post: Post) -> None:
        post.clinic.owner.execute("UPDATE peer SET result_destination = 'ARCHIVE'")
        post.start()
        assert {destination for destination, _ in post.states()} == {"ARCHIVE"}

    def test_a_kind_that_a_destination_does_not_take_is_not_sent_there(self, post: Post) -> None:
        post.add("viewer", 1, object_kinds=("SEG",))
        post.add("archive", 1)
        post.route_to("viewer", "archive")
        post.start()
        assert set(post.states()) == {("viewer", "SEG"), *(("archive", kind) for kind in KINDS)}
        assert sorted(post.jobs()) == ["archive", "viewer"]

    def test_what_runs_in_shadow_goes_nowhere_and_holds_up_nothing(
        self, post: Post, pacs: ScriptedPacs
    ) -> None:
        post.clinic.owner.execute(
            """UPDATE study SET route = route || '[{"product": "other_model", "shadow": true}]'::jsonb"""
        )
        post.add("PACS", pacs.port)
        post.start()
        post.run("PACS")
        assert post.row().status == "delivered"

    def test_started_twice_there_is_one_row_for_each(self, post: Post) -> None:
        post.start()
        post.start()
        assert len(post.clinic.rows("SELECT * FROM delivery")) == 3

    @pytest.mark.parametrize("changes", [{"object_kinds": ("GSPS",)}, {"required": False}], ids=str)
    def test_a_result_that_nobody_has_to_take_is_a_failure_that_can_be_mended(
        self, post: Post, pacs: ScriptedPacs, changes: dict[str, Any]
    ) -> None:
        post.add("viewer", pacs.port, **changes)
        post.route_to("viewer")
        post.start()
        failed = post.row()
        assert (failed.status, failed.reason_code) == ("failed", "NO_DESTINATION")
        assert "viewer" in str(failed.reason_text)
        post.add("viewer", pacs.port)
        assert post.again() == []
        post.start()
        post.run("viewer")
        assert post.row().status == "delivered"
        assert post.usage() == [("failed", "failed"), ("result_delivered", "first_delivery")]


class TestAnswers:
    def test_all_acknowledged_the_study_is_delivered_and_charged(
        self, post: Post, pacs: ScriptedPacs
    ) -> None:
        post.add("pacs", pacs.port)
        post.route_to("pacs")
        post.start()
        post.run("pacs")
        assert post.states() == {("pacs", kind): "acknowledged" for kind in KINDS}
        assert post.row().status == "delivered"
        assert post.usage() == [("result_delivered", "first_delivery")]
        post.run("pacs")
        assert {uid: len(contents) for uid, contents in pacs.received.items()} == {
            f"1.2.3.{number}": 1 for number in (1, 2, 3)
        }

    @pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
    def test_a_warning_counts_as_stored_and_is_kept(
        self, post: Post, pacs: ScriptedPacs, status: int
    ) -> None:
        pacs.answers[SEG] = [status]
        post.add("pacs", pacs.port)
        post.route_to("pacs")
        post.start()
        post.run("pacs")
        assert post.row().status == "delivered"
        assert f"{status:04X}H" in post.states("warning")["pacs", "SEG"]
        assert post.states("warning")["pacs", "SR"] is None

    @pytest.mark.parametrize("status", [0xA700, 0xA7FF, 0x0110, 0x0213])
    def test_what_may_pass_is_asked_again_and_only_what_is_missing_is_sent(
        self, post: Post, pacs: ScriptedPacs, status: int
    ) -> None:
        pacs.answers[SEG] = [*[status] * (deliveries.REFUSALS_MAX + 2), 0]
        post.add("pacs", pacs.port)
        post.route_to("pacs")
        post.start()
        for _ in range(deliveries.REFUSALS_MAX + 2):
            post.run("pacs")
            assert post.states() == {
                ("pacs", "SR"): "acknowledged",
                ("pacs", "SEG"): "waiting",
                ("pacs", "PDF"): "acknowledged",
            }
            assert post.row().status == "encoded"
            assert post.usage() == []
        post.run("pacs")
        assert post.row().status == "delivered"
        assert len(pacs.received["1.2.3.1"]) == 1
        assert post.states("attempts")["pacs", "SEG"] == deliveries.REFUSALS_MAX + 3
        assert len(set(pacs.received["1.2.3.2"])) == 1, "a repeat is the same object"

    @pytest.mark.parametrize("status", [0x0122, 0xA900, 0xC000, 0xC123, 0x0117, 0x0124])
    def test_a_refusal_is_given_up_soon_and_visibly(
        self, post: Post, pacs: ScriptedPacs, status: int
    ) -> None:
        pacs.answers[SR] = [status]
        post.add("pacs", pacs.port, fallbacks=())
        post.route_to("pacs")
        post.start()
        for _ in range(10):
            post.run("pacs")
        assert len(pacs.received["1.2.3.1"]) == deliveries.REFUSALS_MAX
        assert post.states()["pacs", "SR"] == "refused"
        failed = post.row()
        assert (failed.status, failed.reason_code) == ("failed", "DELIVERY_REFUSED")
        assert "pacs does not take SR: " in str(failed.reason_text)
        assert f"{status:04X}H" in str(failed.reason_text)
        assert post.usage() == [("failed", "failed")]

    @pytest.mark.parametrize("script", [[ABORT, 0x0111], [0x0111]], ids=["answer lost", "work done again"])
    def test_what_is_there_already_counts_as_stored_and_says_so(
        self, post: Post, pacs: ScriptedPacs, script: list[int]
    ) -> None:
        pacs.answers[SR] = list(script)
        post.add("pacs", pacs.port)
        post.route_to("pacs")
        post.start()
        for left in range(len(script), 0, -1):
            post.run("pacs")
            assert (post.states()["pacs", "SR"] == "waiting") == (left > 1)
        assert post.states("warning")["pacs", "SR"] == "the destination had it already (0111H)"
        assert post.row().status == "delivered"
