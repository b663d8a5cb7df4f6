"""When a study is complete: each rule of docs/decisions/0006 as the decision that it leads to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_gateway.arrival_evidence import (
    ArrivalEvidence,
    AssociationState,
    CompletionPolicy,
    Counts,
    ForcePolicy,
    Order,
    SeriesEvidence,
)
from dicom_gateway.assemble import Decision, Verdict, complete_series, decide
from dicom_gateway.quiet_time import QuietTime

POLICY = CompletionPolicy(QuietTime(10.0), quiet_max_s=50.0, force_after_s=600.0, steps_list_less=False)


def series(here: int = 100, **known: Any) -> SeriesEvidence:
    return SeriesEvidence("1.2.4", number=4, modality="CT", here=here, **known)


def evidence(*of: SeriesEvidence, silence_s: float = 0.0, **known: Any) -> ArrivalEvidence:
    return ArrivalEvidence(
        **{"instance_count": 100, "silence_s": silence_s, "series": of, "geometry_is_known": True, **known}
    )


def verdict(decision: Decision) -> tuple[str, str]:
    return (decision.verdict.value, decision.reason.code)


class TestWithoutLists:
    @pytest.mark.parametrize(("silence_s", "expected"), [(0, "wait"), (9.9, "wait"), (10, "complete")])
    def test_silence_ends_it_exactly_at_the_quiet_time(self, silence_s: float, expected: str) -> None:
        assert decide(evidence(series(), silence_s=silence_s), POLICY).verdict == expected

    def test_the_next_look_is_when_the_quiet_time_ends(self) -> None:
        assert decide(evidence(series(), silence_s=3.0), POLICY).look_again_s == pytest.approx(7.0)

    @pytest.mark.parametrize(
        ("state", "wait_s", "learned_s"), [("open", 30, 30), ("aborted", 50, 23), ("lost", 50, 23)]
    )
    def test_an_association_that_was_not_released_is_given_longer(
        self, state: str, wait_s: float, learned_s: float
    ) -> None:
        """Three quiet times while it is open; after one that broke off the longest, until more is known."""

        def at(silence_s: float, policy: CompletionPolicy) -> tuple[str, str]:
            known = evidence(series(), silence_s=silence_s, association=AssociationState(state))
            return verdict(decide(known, policy))

        for policy, needed_s in [
            (POLICY, wait_s), (replace(POLICY, broken_quiet=QuietTime(23.0, 20.0, 10)), learned_s)
        ]:  # fmt: skip
            assert at(needed_s - 1, policy) == ("wait", f"association_{state}")
            assert at(needed_s + 1, policy) == ("complete", "quiet")

    def test_a_hole_in_a_series_is_waited_for_and_named(self) -> None:
        holed = series(missing_slices=12)
        waiting = decide(evidence(holed, silence_s=20.0), POLICY)
        assert verdict(waiting) == ("wait", "slice_gap")
        assert waiting.reason.values == {"series": 4, "modality": "CT", "images": 12}
        assert verdict(decide(evidence(holed, silence_s=131.0), POLICY)) == ("complete", "gap_given_up")

    def test_headers_are_read_only_when_silence_would_end_it(self) -> None:
        unread = evidence(series(), silence_s=5.0, geometry_is_known=False)
        assert decide(unread, POLICY).verdict is Verdict.WAIT
        assert decide(replace(unread, silence_s=11.0), POLICY).verdict is Verdict.READ_HEADERS

    def test_a_learned_quiet_time_says_what_it_was_learned_from(self) -> None:
        policy = replace(POLICY, quiet=QuietTime(13.5, pause_s=9.0, study_count=40))
        assert decide(evidence(series(), silence_s=12.0), policy).verdict is Verdict.WAIT
        done = decide(evidence(series(), silence_s=14.0), policy)
        assert done.reason.code == "quiet_learned"
        assert done.reason.values["pause_s"] == 9.0
        assert done.reason.values["studies"] == 40


class TestMpps:
    def test_all_that_it_lists_is_here_so_nothing_is_waited_for(self) -> None:
        known = evidence(series(listed=100, listed_here=100), steps_ended=1)
        assert verdict(decide(known, POLICY)) == ("complete", "mpps")

    def test_not_in_the_middle_of_an_association(self) -> None:
        known = evidence(
            series(listed=100, listed_here=100), steps_ended=1, association=AssociationState.OPEN
        )
        assert verdict(decide(known, POLICY)) == ("wait", "association_open")
        assert decide(replace(known, silence_s=3.0), POLICY).verdict is Verdict.COMPLETE

    def test_what_it_lists_and_is_not_here_is_waited_for_however_long_the_silence(self) -> None:
        known = evidence(series(88, listed=100, listed_here=88), steps_ended=1, silence_s=599.0)
        decision = decide(known, POLICY)
        assert verdict(decision) == ("wait", "missing_of_series")
        assert decision.reason.values["images"] == 12

    def test_an_examination_in_progress_is_not_complete(self) -> None:
        known = evidence(series(), steps_in_progress=1, silence_s=300.0)
        assert verdict(decide(known, POLICY)) == ("wait", "in_progress")
        assert verdict(decide(replace(known, silence_s=601.0), POLICY)) == ("complete", "quiet")

    def test_a_listed_series_that_never_begins_is_given_up_before_the_force_time(self) -> None:
        """Raw data that MPPS lists and nobody sends."""
        raw = SeriesEvidence("1.2.9", listed=3)
        known = evidence(series(listed=100, listed_here=100), raw, steps_ended=1, silence_s=100.0)
        assert verdict(decide(known, POLICY)) == ("wait", "missing_of_series")
        assert verdict(decide(replace(known, silence_s=151.0), POLICY)) == ("complete", "not_sent")

    def test_it_is_no_end_where_something_came_that_it_does_not_list(self) -> None:
        known = evidence(series(listed=100, listed_here=100), series(1), steps_ended=1, silence_s=100.0)
        assert verdict(decide(known, POLICY)) == ("wait", "steps_differ")
        assert verdict(decide(replace(known, silence_s=131.0), POLICY)) == ("complete", "quiet")

    def test_of_a_sender_whose_mpps_lists_too_little_it_is_no_end_either(self) -> None:
        known = evidence(series(listed=100, listed_here=100), steps_ended=1, silence_s=9.0)
        wary = replace(POLICY, steps_list_less=True)
        assert verdict(decide(known, wary)) == ("wait", "steps_differ")
        assert complete_series(known, wary) == ()
        learned = replace(wary, quiet=QuietTime(12.0, 9.0, 40))
        assert verdict(decide(known, learned)) == ("wait", "quiet_time_learned")
        assert verdict(decide(replace(known, silence_s=12.0), learned)) == ("complete", "quiet_learned")

    def test_before_three_studies_came_as_listed_it_is_no_end_either(self) -> None:
        known = evidence(series(listed=100, listed_here=100), steps_ended=1, silence_s=100.0)
        untried = replace(POLICY, steps_list_less=None)
        assert verdict(decide(known, untried)) == ("wait", "steps_untried")
        assert complete_series(known, untried) == ()
        assert verdict(decide(replace(known, silence_s=131.0), untried)) == ("complete", "quiet")

    def test_all_but_the_series_that_the_sender_has_never_sent_end_the_wait(self) -> None:
        raw = SeriesEvidence("1.2.9", listed=3)
        keeps = replace(POLICY, series_not_sent=1, series_never_sent=1)
        known = evidence(series(listed=100, listed_here=100), raw, steps_ended=1)
        done = decide(known, keeps)
        assert (verdict(done), done.reason.values) == (
            ("complete", "mpps_kept"),
            {"images": 100, "absent": 1},
        )
        two = replace(known, series=(*known.series, SeriesEvidence("1.2.8", listed=80)))
        assert verdict(decide(two, keeps)) == ("wait", "missing_of_several")
        unlisted = replace(known, series=(*known.series, SeriesEvidence("1.2.7", here=1)))
        assert verdict(decide(unlisted, keeps)) == ("wait", "steps_differ")

    def test_a_series_that_the_sender_mostly_keeps_is_not_waited_for(self) -> None:
        raw = SeriesEvidence("1.2.9", listed=3)
        keeps = replace(POLICY, series_not_sent=1, quiet=QuietTime(12.0, 9.0, 40))
        known = evidence(series(listed=100, listed_here=100), raw, steps_ended=1, silence_s=12.0)
        assert verdict(decide(known, keeps)) == ("complete", "not_sent")
        two = replace(known, series=(*known.series, SeriesEvidence("1.2.8", listed=80)))
        assert verdict(decide(two, keeps)) == ("wait", "missing_of_several")
        counted = replace(known, series=(*known.series[:1], replace(raw, counted=3)), counts=Counts.FRESH)
        assert verdict(decide(counted, keeps)) == ("wait", "missing_of_series")


class TestCounts:
    WHOLE = replace(POLICY, archive_fills=False)
    ALL_HERE = evidence(series(counted=100), counts=Counts.FRESH)

    def test_an_archive_that_is_known_to_have_a_study_before_it_sends_it_ends_the_wait(self) -> None:
        assert verdict(decide(self.ALL_HERE, self.WHOLE)) == ("complete", "counts")

    def test_an_answer_from_before_the_last_image_does_not(self) -> None:
        assert decide(replace(self.ALL_HERE, counts=Counts.STALE), self.WHOLE).verdict is Verdict.WAIT

    def test_an_archive_that_is_not_known_well_may_only_mirror_what_we_have(self) -> None:
        assert verdict(decide(self.ALL_HERE, POLICY)) == ("wait", "archive_is_filling")

    def test_mpps_ends_the_wait_whatever_is_known_of_the_archive(self) -> None:
        known = evidence(
            series(listed=100, listed_here=100, counted=100), steps_ended=1, counts=Counts.FRESH, archive_grew=True
        )  # fmt: skip
        assert verdict(decide(known, POLICY)) == ("complete", "mpps")

    def test_an_archive_that_is_being_filled_is_given_longer_than_the_quiet_time(self) -> None:
        filling = replace(self.ALL_HERE, archive_grew=True, silence_s=100.0)
        assert verdict(decide(filling, self.WHOLE)) == ("wait", "archive_is_filling")
        assert decide(replace(filling, silence_s=131.0), self.WHOLE).verdict is Verdict.COMPLETE

    def test_what_it_has_more_is_waited_for(self) -> None:
        known = evidence(series(counted=275), counts=Counts.STALE, silence_s=500.0)
        assert decide(known, POLICY).reason.values["images"] == 175

    def test_a_count_smaller_than_what_is_here_proves_and_forbids_nothing(self) -> None:
        """Its archive lags behind the sender: it is no end, and no reason to wait once that has passed."""
        known = evidence(series(counted=60), counts=Counts.STALE, silence_s=131.0)
        assert verdict(decide(known, POLICY)) == ("complete", "quiet")

    def test_an_archive_that_does_not_answer_is_done_without(self) -> None:
        known = evidence(series(), counts=Counts.STALE, silence_s=11.0)
        assert verdict(decide(known, POLICY)) == ("wait", "asking_archive")
        assert decide(replace(known, silence_s=26.0), POLICY).verdict is Verdict.COMPLETE


class TestForceTime:
    SHORT = evidence(series(88, listed=100, listed_here=88), steps_ended=1, silence_s=600.0)

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            ("process", ("complete", "forced_missing")),
            ("discard", ("discard", "discarded_missing")),
            ("ask", ("ask", "ask_missing")),
        ],
    )
    def test_then_the_policy_decides_and_says_what_is_missing(
        self, policy: str, expected: tuple[str, str]
    ) -> None:
        decision = decide(self.SHORT, replace(POLICY, force_policy=ForcePolicy(policy)))
        assert verdict(decision) == expected
        assert decision.reason.values["images"] == 12

    def test_a_required_series_is_waited_for_until_then(self) -> None:
        known = evidence(series(), silence_s=500.0, required_missing=("SliceThickness <= 1.5",))
        assert verdict(decide(known, POLICY)) == ("wait", "required_series")
        assert verdict(decide(replace(known, silence_s=601.0), POLICY)) == ("complete", "forced_required")

    @pytest.mark.parametrize("order", list(Order))
    def test_a_person_is_obeyed_at_once(self, order: Order) -> None:
        decision = decide(replace(self.SHORT, silence_s=1.0, order=order), POLICY)
        assert decision.verdict is {"process": Verdict.COMPLETE, "discard": Verdict.DISCARD}[order]


class TestSeriesAlone:
    def test_a_series_is_whole_by_its_list_while_others_arrive(self) -> None:
        whole = series(listed=100, listed_here=100)
        other = SeriesEvidence("1.2.5", here=3, listed=80, listed_here=3)
        assert complete_series(evidence(whole, other, steps_ended=1), POLICY) == (whole,)

    def test_a_series_is_whole_by_its_own_silence_unless_it_has_a_hole(self) -> None:
        silent = series(silence_s=11.0, is_read=True)
        holed, unread = replace(silent, missing_slices=1), replace(silent, is_read=False)
        active = SeriesEvidence("1.2.5", here=3, silence_s=0.2)
        assert complete_series(evidence(silent, active), POLICY) == (silent,)
        assert complete_series(evidence(holed, active), POLICY) == ()
        assert complete_series(evidence(unread, active), POLICY) == ()


@given(
    here=st.integers(1, 300), listed=st.integers(0, 300), counted=st.none() | st.integers(0, 400),
    silence_s=st.floats(0, 599), counts=st.sampled_from(Counts), grew=st.booleans(),
    association=st.sampled_from(AssociationState), steps=st.integers(0, 2), in_progress=st.integers(0, 1),
)  # fmt: skip
def test_never_complete_before_the_force_time_while_a_list_lacks_an_image_of_a_begun_series(
    here: int, listed: int, counted: int | None, silence_s: float, counts: Counts, grew: bool,
    association: AssociationState, steps: int, in_progress: int,
) -> None:  # fmt: skip
    one = series(here, listed=listed, listed_here=min(here, listed), counted=counted)
    known = evidence(
        one, silence_s=silence_s, counts=counts, archive_grew=grew, association=association,
        steps_ended=steps, steps_in_progress=in_progress,
    )  # fmt: skip
    decision = decide(known, POLICY)
    if one.missing or in_progress:
        assert decision.verdict is Verdict.WAIT
    if decision.verdict is Verdict.WAIT:
        assert decision.look_again_s is not None
        assert 0 < decision.look_again_s <= 60


def test_evidence_cannot_contradict_itself() -> None:
    with pytest.raises(ValueError, match="listed"):
        series(3, listed=5, listed_here=4)
    with pytest.raises(ValueError, match="at least one instance"):
        ArrivalEvidence(0, 0.0)
