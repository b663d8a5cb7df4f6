"""A destination that refuses a kind of object: what stands in for it, that nothing is lost, and what is charged."""

from __future__ import annotations

import pytest

from pipeline import deliveries, fallbacks
from pipeline.deliver_to import deliver_to
from tests.pipeline.conftest import ALPHA
from tests.pipeline.delivery.conftest import PDF, SEG, SR, Post, write_object
from tests.scripted_pacs import ScriptedPacs

GSPS, SC = "1.2.840.10008.5.1.4.1.1.11.1", "1.2.840.10008.5.1.4.1.1.7"


@pytest.fixture
def rich(post: Post) -> Post:
    """The set has a presentation state and two captures beside SR, SEG and PDF."""
    folder = post.clinic.services.folders.results
    for number, (kind, sop_class) in enumerate((("GSPS", GSPS), ("SC", SC), ("SC", SC)), start=4):
        write_object(folder / f"{number}.dcm", number, sop_class)
        post.clinic.add_result_object(
            post.study, f"1.2.3.{number}", is_delivered=False, kind=kind, location=f"{number}.dcm"
        )
    return post


def deliver(post: Post, runs: int = 12) -> None:
    post.route_to("pacs")
    post.start()
    for _ in range(runs):
        post.run("pacs")


def replaced(post: Post) -> dict[str, str]:
    """Refused kind → what stands there instead."""
    return {kind: by for (_, kind), by in post.states("replaced_by").items() if by is not None}


@pytest.mark.parametrize("refuses", [[SEG], [PDF], [SEG, PDF]], ids=str)
def test_what_is_refused_beside_an_sr_is_made_up_for_by_the_sr(rich: Post, refuses: list[str]) -> None:
    with ScriptedPacs.listening(without=refuses) as pacs:
        rich.add("pacs", pacs.port, fallbacks=("GSPS", "SC", "PDF"))
        deliver(rich)
    assert rich.row().status == "delivered"
    kinds = {SEG: "SEG", PDF: "PDF"}
    assert replaced(rich) == {kinds[one]: "SR" for one in refuses}
    assert rich.states()["pacs", "SR"] == "acknowledged"
    assert ("pacs", "GSPS") not in rich.states(), "no fall-back where the SR is there"
    assert rich.usage() == [("result_delivered", "first_delivery")]


@pytest.mark.parametrize(
    ("refuses", "stands_in"),
    [([SR], "GSPS"), ([SR, GSPS], "SC"), ([SR, GSPS, SC], "PDF"), ([SR, SEG], "GSPS")],
    ids=["SR", "SR and GSPS", "all but PDF", "SR and SEG"],
)
def test_a_refused_sr_is_followed_by_the_fall_backs_in_their_order(
    rich: Post, refuses: list[str], stands_in: str
) -> None:
    with ScriptedPacs.listening(without=refuses) as pacs:
        rich.add("pacs", pacs.port, fallbacks=("GSPS", "SC", "PDF"))
        deliver(rich)
        sent = {uid: len(contents) for uid, contents in pacs.received.items()}
    assert rich.row().status == "delivered"
    assert set(replaced(rich).values()) == {stands_in}
    assert set(sent.values()) == {1}, "nothing is sent twice"
    assert ("1.2.3.4" in sent) == (stands_in == "GSPS")
    assert ("1.2.3.5" in sent and "1.2.3.6" in sent) == (stands_in == "SC"), "every capture, or none"
    assert rich.usage() == [("result_delivered", "first_delivery")]
    with rich.clinic.database.transaction(ALPHA) as conn:
        told = fallbacks.refused_kinds(conn, ALPHA)
        assert deliveries.given_up(conn, ALPHA) == [], "nothing needs a person"
    assert {(one["kind"], one["replaced_by"]) for one in told} == set(replaced(rich).items())
    assert {one["event"] for one in rich.clinic.rows("SELECT event FROM study_event")} >= {
        "delivery_falls_back"
    }


@pytest.mark.parametrize("order", [("SC", "GSPS"), ("PDF",), ("GSPS",)], ids=str)
def test_each_destination_has_an_order_of_its_own(rich: Post, order: tuple[str, ...]) -> None:
    with ScriptedPacs.listening(without=[SR]) as pacs:
        rich.add("pacs", pacs.port, fallbacks=order)
        deliver(rich)
    assert replaced(rich) == {"SR": order[0]}


def test_where_every_fall_back_is_refused_too_a_person_is_asked_and_can_send_again(rich: Post) -> None:
    with ScriptedPacs.listening(without=[SR, GSPS, SC]) as pacs:
        rich.add("pacs", pacs.port, fallbacks=("GSPS", "SC"))
        deliver(rich)
    failed = rich.row()
    assert (failed.status, failed.reason_code) == ("failed", "DELIVERY_REFUSED")
    assert replaced(rich) == {}
    assert rich.usage() == [("failed", "failed")]
    with ScriptedPacs.listening() as pacs:
        rich.add("pacs", pacs.port, fallbacks=("GSPS", "SC"))
        rich.again()
        deliver(rich, runs=2)
    assert rich.row().status == "delivered"
    assert replaced(rich) == {}
    assert rich.usage() == [("failed", "failed"), ("result_delivered", "first_delivery")]


def test_a_status_0122_counts_as_well_as_a_context_that_is_not_accepted(
    rich: Post, pacs: ScriptedPacs
) -> None:
    pacs.answers[SR] = [0x0122]
    rich.add("pacs", pacs.port, fallbacks=("SC",))
    deliver(rich)
    assert replaced(rich) == {"SR": "SC"}
    assert rich.row().status == "delivered"


def test_what_may_pass_waits_for_its_time_and_falls_back_to_nothing(rich: Post, pacs: ScriptedPacs) -> None:
    pacs.answers[SR] = [0xA700]
    rich.add("pacs", pacs.port, fallbacks=("GSPS", "SC", "PDF"))
    deliver(rich)
    assert rich.row().status == "encoded"
    assert ("pacs", "GSPS") not in rich.states()


def test_a_kind_taken_after_all_is_no_longer_replaced(rich: Post) -> None:
    """The archive was upgraded, and a person sends again what it refused."""
    with ScriptedPacs.listening(without=[SR, SEG]) as pacs:
        rich.add("pacs", pacs.port, fallbacks=("PDF",))
        deliver(rich)
    assert replaced(rich) == {"SR": "PDF", "SEG": "PDF"}
    with ScriptedPacs.listening(without=[SEG]) as pacs:
        rich.add("pacs", pacs.port, fallbacks=("PDF",))
        assert rich.again() == ["pacs"]
        for _ in range(5):
            rich.run("pacs")
    assert replaced(rich) == {"SEG": "SR"}
    assert rich.states()["pacs", "SR"] == "acknowledged"
    assert rich.row().status == "delivered"
    assert rich.usage() == [("result_delivered", "first_delivery")]


def test_one_destination_that_refuses_does_not_change_what_another_gets(
    rich: Post, pacs: ScriptedPacs
) -> None:
    with ScriptedPacs.listening(without=[SR]) as old:
        rich.add("old", old.port, fallbacks=("SC",))
        rich.add("pacs", pacs.port, fallbacks=("SC",))
        rich.route_to("old", "pacs")
        rich.start()
        for _ in range(8):
            rich.run("old")
            rich.run("pacs")
    states = rich.states()
    assert states["old", "SR"] == "replaced"
    assert states["old", "SC"] == "acknowledged"
    assert states["pacs", "SR"] == "acknowledged"
    assert ("pacs", "SC") not in states
    assert rich.row().status == "delivered"


def test_a_study_that_a_later_revision_replaced_meanwhile_falls_back_to_nothing_old(rich: Post) -> None:
    with ScriptedPacs.listening(without=[SR]) as pacs:
        rich.add("pacs", pacs.port, fallbacks=("SC",))
        rich.route_to("pacs")
        rich.start()
        rich.run("pacs")
        rich.clinic.owner.execute(
            "DELETE FROM delivery"
        )  # as `plan` of the next revision does with what waits
        for _ in range(3):
            rich.run("pacs")
    assert rich.clinic.rows("SELECT * FROM delivery") == []


def test_an_object_whose_file_is_gone_is_given_up_visibly_and_falls_back_to_nothing(
    rich: Post, pacs: ScriptedPacs
) -> None:
    """That is our loss and no refusal: another object in its place would hide it."""
    (rich.clinic.services.folders.results / "SR.dcm").unlink()
    rich.add("pacs", pacs.port, fallbacks=("GSPS",), attempts_max=2)
    deliver(rich, runs=4)
    assert rich.states()["pacs", "SR"] == "dead"
    assert rich.states()["pacs", "SEG"] == "acknowledged"
    assert (rich.row().status, rich.row().reason_code) == ("failed", "DELIVERY_GAVE_UP")
    assert ("pacs", "GSPS") not in rich.states()


def test_a_study_that_was_deleted_in_between_ends_its_job(rich: Post, pacs: ScriptedPacs) -> None:
    rich.add("pacs", pacs.port)
    rich.route_to("pacs")
    rich.start()
    owner = rich.clinic.owner
    owner.execute("SET session_replication_role = replica")  # as a person with the database's own tools
    for table in ("delivery", "result_object", "study"):
        owner.execute(f"DELETE FROM {table}")
    deliver_to(rich.clinic.services, ALPHA, str(rich.study.id), "pacs")
    assert pacs.received == {}
