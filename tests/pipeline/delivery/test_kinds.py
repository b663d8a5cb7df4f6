"""Only what some destination of a study takes is made, and nobody is sent a kind that nobody chose for it."""

from __future__ import annotations

from pipeline import deliveries
from pipeline.destinations import (
    AIR_KINDS,
    DEFAULT_KINDS,
    OBJECT_KINDS,
    STAND_INS,
    find_destination,
    list_destinations,
)
from pipeline.result_set import RESULT_KINDS
from tests.conftest import ROOT
from tests.pipeline.conftest import ALPHA
from tests.pipeline.delivery.conftest import Post

MIGRATION = ROOT / "pipeline/sql/migrations/pipeline-0510.kinds-by-default.sql"


def taken(post: Post) -> frozenset[str]:
    with post.clinic.database.transaction(ALPHA) as conn:
        return deliveries.kinds_taken(conn, post.study)


def test_a_peer_that_nobody_set_up_as_a_destination_is_sent_what_it_always_was(post: Post) -> None:
    with post.clinic.database.transaction(ALPHA) as conn:
        peer = find_destination(conn, ALPHA, "PACS")
    assert peer is not None
    assert peer.object_kinds == DEFAULT_KINDS == ("SR", "SEG", "PDF", "KOS")
    assert taken(post) >= set(DEFAULT_KINDS)
    assert not taken(post) & {"PM", "KEYS"}


def test_what_any_destination_of_the_study_takes_is_made_and_no_more(post: Post) -> None:
    post.add("archive", 1, object_kinds=AIR_KINDS)
    post.add("pictures", 1, object_kinds=("SC",))
    post.add("elsewhere", 1, object_kinds=("GSPS",), fallbacks=())
    post.route_to("archive", "pictures")
    assert taken(post) >= {*AIR_KINDS, "SC"}
    assert "GSPS" not in taken(post)


def test_every_dicom_kind_can_be_chosen_and_is_made() -> None:
    assert {*OBJECT_KINDS, *STAND_INS} >= RESULT_KINDS >= {*AIR_KINDS, *DEFAULT_KINDS}


def test_a_destination_that_took_everything_before_there_were_pictures_is_not_sent_them_by_an_update(
    post: Post,
) -> None:
    post.add("old", 1)
    post.add("chosen", 1, object_kinds=("SR", "SC"))
    post.clinic.owner.execute(
        "UPDATE destination SET object_kinds = ARRAY['SR', 'SEG', 'PDF', 'SC', 'KOS', 'GSPS'] WHERE name = 'old'"
    )
    post.clinic.owner.execute(MIGRATION.read_text(encoding="utf-8"))
    with post.clinic.database.transaction(ALPHA) as conn:
        kinds = {one.name: one.object_kinds for one in list_destinations(conn, ALPHA)}
    assert kinds == {"old": DEFAULT_KINDS, "chosen": ("SR", "SC")}
