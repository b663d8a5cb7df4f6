"""The age of a patient, and models that are not made for children."""

from __future__ import annotations

import dataclasses

import pytest

from models.registry import get_model
from pipeline.patient_age import age_years
from pipeline.route import Route, Unfit, choose
from study.study import Patient, Study
from tests.pipeline.test_route import make_series

NODULES = get_model("lung_nodule_ct").manifest


def study(age: str = "", birth_date: str = "", study_date: str = "20260601") -> Study:
    patient = Patient(age=age, birth_date=birth_date)
    return Study("1.2", (make_series(),), patient=patient, study_date=study_date)


@pytest.mark.parametrize(
    ("given", "years"),
    [
        ({"age": "061Y"}, 61),
        ({"age": "018M"}, 1.5),
        ({"age": "010D"}, 10 / 365.25),
        ({"age": "004w"}, 28 / 365.25),
        ({"age": "7Y"}, None),
        ({"age": "", "birth_date": "20100601"}, 16),
        ({"age": "sixty", "birth_date": "19660601"}, 60),
        ({"birth_date": "20270101"}, None),
        ({"birth_date": "19001301"}, None),
        ({"birth_date": "1966"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_age_is_what_the_header_says_or_what_its_dates_give(
    given: dict[str, str], years: float | None
) -> None:
    assert age_years(study(**given)) == (pytest.approx(years, abs=0.01) if years is not None else None)


def test_a_child_is_refused_by_a_model_for_adults_and_the_sentence_says_both_ages() -> None:
    unfit = choose(study("009Y"), NODULES)
    assert unfit == Unfit(
        "PATIENT_TOO_YOUNG",
        "The patient is 9 years old; Lung nodules on chest CT is made for 18 years and more.",
    )


@pytest.mark.parametrize("age", ["018Y", "090Y", ""])
def test_an_adult_and_a_patient_of_unknown_age_are_read(age: str) -> None:
    assert isinstance(choose(study(age), NODULES), Route)


def test_a_model_without_a_limit_reads_children() -> None:
    any_age = dataclasses.replace(NODULES.input, patient_age_years_min=0.0)
    assert isinstance(choose(study("009Y"), dataclasses.replace(NODULES, input=any_age)), Route)
