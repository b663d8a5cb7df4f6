"""The law of a study's states: one table, every way leads to an end, an end is left only by a new revision."""

from __future__ import annotations

import pytest

from pipeline.errors import TransitionNotAllowed
from pipeline.status import TERMINAL, TRANSITIONS, StudyStatus, require_transition
from pipeline.study_path import PATH, STEP_AFTER

S = StudyStatus


def reachable(start: StudyStatus) -> set[StudyStatus]:
    seen = {start}
    edge = [start]
    while edge:
        for after in TRANSITIONS[edge.pop()] - seen:
            seen.add(after)
            edge.append(after)
    return seen


def test_the_table_names_every_status() -> None:
    assert set(TRANSITIONS) == set(StudyStatus)


def test_every_status_is_reached_from_receiving() -> None:
    assert reachable(S.RECEIVING) == set(StudyStatus)


@pytest.mark.parametrize("status", StudyStatus)
def test_an_end_is_reached_from_everywhere(status: StudyStatus) -> None:
    ends = {S.ERASED} if status is S.ERASED else TERMINAL - {S.PRIOR}
    assert reachable(status) & TERMINAL >= ends


def test_a_study_that_is_on_its_path_never_becomes_a_prior() -> None:
    assert {before for before, after in TRANSITIONS.items() if S.PRIOR in after} == {S.RECEIVING}


@pytest.mark.parametrize("status", sorted(TERMINAL - {S.PRIOR, S.ERASED}))
def test_an_end_is_left_only_by_new_instances_or_to_deliver_once_more_or_is_erased(
    status: StudyStatus,
) -> None:
    assert TRANSITIONS[status] - ({S.ENCODED} if status is S.FAILED else set()) == {S.ASSEMBLED, S.ERASED}


def test_what_is_on_its_path_is_not_erased_and_what_is_erased_stays_so() -> None:
    assert {before for before, after in TRANSITIONS.items() if S.ERASED in after} == TERMINAL - {S.ERASED}
    assert TRANSITIONS[S.ERASED] == frozenset()


@pytest.mark.parametrize("status", sorted(set(StudyStatus) - TERMINAL - {S.RECEIVING}))
def test_any_step_may_fail(status: StudyStatus) -> None:
    require_transition(status, S.FAILED)


@pytest.mark.parametrize("status", [S.INFERRED, S.ENCODED])
def test_input_is_refused_before_it_has_been_read_by_a_model_and_not_after(status: StudyStatus) -> None:
    require_transition(S.DECODED, S.REJECTED)
    with pytest.raises(TransitionNotAllowed):
        require_transition(status, S.REJECTED)


def test_no_step_is_skipped() -> None:
    with pytest.raises(TransitionNotAllowed) as raised:
        require_transition(S.ROUTED, S.ENCODED)
    assert (raised.value.before, raised.value.after) == ("routed", "encoded")


def test_the_path_follows_the_table() -> None:
    assert [step.takes for step in PATH] == [S.ASSEMBLED, S.ROUTED, S.DECODED, S.INFERRED, S.ENCODED]
    for step in PATH:
        require_transition(step.takes, step.gives)
    assert not TERMINAL & set(STEP_AFTER)
