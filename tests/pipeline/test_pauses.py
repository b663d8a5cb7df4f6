"""How a sender pauses is learned from its completed studies."""

from __future__ import annotations

from pipeline import store
from pipeline.completion_text import sentence
from pipeline.pauses import keep_pause, longest_pause_of
from study.study import Instance, Series, Study
from tests.pipeline.conftest import ALPHA, CT, Clinic, make_instance


def shift(clinic: Clinic, study: str, pause_s: float) -> None:
    """Let the first instance have come so long before the second, or that much earlier where it is alone."""
    clinic.owner.execute(
        """UPDATE instance SET received_at = coalesce((
               SELECT received_at FROM instance WHERE sop_instance_uid = %(study)s || '.1.2'
           ), received_at) - make_interval(secs => %(pause_s)s)
           WHERE sop_instance_uid = %(study)s || '.1.1'""",
        {"study": study, "pause_s": pause_s},
    )


def pauses(clinic: Clinic, count: int, pause_s: float) -> None:
    """Studies that were received with one pause each."""
    for number in range(count):
        study = f"1.7.{number}"
        clinic.receive(make_instance(study))
        clinic.receive(make_instance(study, 2))
        shift(clinic, study, pause_s)
    clinic.fall_silent()
    clinic.assemble()


def test_the_quiet_time_is_learned_from_completed_studies_of_the_peer_and_modality(
    clinic: Clinic,
) -> None:
    pauses(clinic, 20, 10.4)
    for number in (1, 2):
        clinic.receive(make_instance(number=number))
    clinic.owner.execute("UPDATE arrival SET last_at = last_at - interval '11.5 seconds'")
    (delay_s,) = clinic.assemble()
    assert 0 < delay_s < 1
    clinic.owner.execute("UPDATE arrival SET last_at = last_at - interval '1 seconds'")
    clinic.assemble()
    completion = clinic.study(make_instance()).completion
    assert completion is not None
    assert "rarely pause longer than 10.4 s (learned from 20 studies)" in completion


def test_a_pause_that_a_hole_gave_away_is_taken_back_when_the_headers_are_known(
    clinic: Clinic,
) -> None:
    """Slice 5 of twenty failed and came 90 s after the others."""
    for number in (*(n for n in range(20) if n != 5), 5):
        clinic.receive(make_instance(number=number, location=f"{number}"))
    clinic.owner.execute(
        "UPDATE instance SET received_at = received_at - interval '90 s' WHERE location <> '5'"
    )
    clinic.fall_silent()
    clinic.assemble()
    assert clinic.rows("SELECT pause_s > 85 AS is_long FROM longest_pause") == [{"is_long": True}]
    study = clinic.study(make_instance())
    images = tuple(
        Instance("1.2", CT, "1", str(number), instance_number=number, number_of_frames=1)
        for number in range(20)
    )
    whole = Study("1.2.3", (Series("1.2.3.1", "CT", images),))
    with clinic.database.transaction(ALPHA) as conn:
        rows = store.instances(conn, ALPHA, study.id)
        keep_pause(conn, study, longest_pause_of(whole, rows))
    assert clinic.rows("SELECT pause_s < 30 AS is_short FROM longest_pause") == [{"is_short": True}]


def test_a_pause_in_which_an_association_broke_off_is_learned_apart(clinic: Clinic) -> None:
    """So a sender that breaks off and comes back is given its time then, and released studies are soon complete."""
    for number, pause_s in enumerate([40.0] * 9 + [0.0]):
        study = f"1.7.{number}"
        clinic.receive(make_instance(study), ends="aborted")
        if pause_s:
            clinic.receive(make_instance(study, 2))
        shift(clinic, study, pause_s)
    clinic.fall_silent()
    clinic.assemble()
    kept = clinic.rows("SELECT pause_s, round(broken_pause_s::numeric) AS broken_s FROM longest_pause")
    assert sorted(row["broken_s"] for row in kept) == [0] + [40] * 9
    assert {row["pause_s"] for row in kept} == {0.0}
    clinic.receive(make_instance("1.2.4"))
    clinic.receive(make_instance("1.2.5"), ends="aborted")
    released_s, aborted_s = clinic.assemble()
    assert released_s <= 5
    assert 40 < aborted_s <= 46


def test_another_modality_of_the_same_peer_has_its_own(clinic: Clinic) -> None:
    pauses(clinic, 20, 10.4)
    for number in (1, 2):
        clinic.receive(make_instance(number=number, modality="MR"))
    (delay_s,) = clinic.assemble()
    assert delay_s <= 5


def test_one_image_and_one_study_are_said_as_people_say_them() -> None:
    values = {"images": 1, "silence_s": 9.0, "pause_s": 4.5, "studies": 1}
    assert sentence({"code": "quiet_learned", "values": values}) == (
        "1 image, then quiet for 9 s; this sender's studies rarely pause longer than 4.5 s (learned from 1 study)"
    )
    asked = sentence({"code": "ask_missing", "values": {"images": 1, "silence_s": 60.0}})
    assert asked.startswith("1 image is missing and nothing came for 60 s")
