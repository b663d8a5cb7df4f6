"""The age of a patient, and models that are not made for children."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dicom_gateway.encode_sr import encode_sr
from models.registry import get_model
from pipeline.intended_patient import patient_caveats
from pipeline.patient_age import age_years
from pipeline.route import Route, Unfit, choose
from study.sentences import read, translated
from study.study import Patient, Study
from study.volume import Volume
from tests.pipeline.test_route import make_series
from tests.result_builders import result_context, synthetic_headers, volume_of

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


def test_a_publisher_may_have_studies_without_an_age_refused() -> None:
    strict = dataclasses.replace(NODULES.input, patient_age_unknown="refused")
    unfit = choose(study(), dataclasses.replace(NODULES, input=strict))
    assert isinstance(unfit, Unfit)
    assert unfit.code == "PATIENT_AGE_UNKNOWN"
    assert isinstance(choose(study("018Y"), dataclasses.replace(NODULES, input=strict)), Route)


@pytest.mark.parametrize("name", ["lung_nodule_ct", "lung_ct_segmentation", "chest_radiograph"])
def test_the_models_that_are_shipped_are_for_adults(name: str) -> None:
    assert get_model(name).manifest.input.patient_age_years_min == 18


def chest(step_mm: float) -> Volume:
    """Two lungs of 30 steps across in a body of soft tissue, 82 steps wide together."""
    z, y, x = np.mgrid[-40:41, -45:46, -60:61]
    voxels = np.where((y / 40) ** 2 + (x / 55) ** 2 < 1, 40, -1000)
    for side in (-26, 26):
        voxels[(z / 35) ** 2 + (y / 25) ** 2 + ((x - side) / 15) ** 2 < 1] = -850
    headers = synthetic_headers(len(voxels))
    affine = np.diag([step_mm, step_mm, step_mm, 1.0])
    return dataclasses.replace(volume_of(headers), voxels=voxels.astype(np.int16), affine_mm=affine)


@pytest.mark.parametrize(
    ("age", "step_mm", "codes"),
    [
        ("061Y", 2.0, []),
        ("", 3.0, ["PATIENT_AGE_UNKNOWN"]),
        ("", 2.0, ["PATIENT_AGE_UNKNOWN", "CHEST_OF_CHILD_SIZE"]),
    ],
)
def test_a_reader_is_told_that_a_patients_age_is_unknown_and_that_the_lungs_are_a_childs(
    age: str, step_mm: float, codes: list[str]
) -> None:
    said = patient_caveats(study(age), NODULES, chest(step_mm))
    assert [code for code, _ in (read(one) or ("?", {}) for one in said)] == codes
    assert all(translated(one, "zh") != one for one in said)


def test_the_caveat_stands_in_the_structured_report() -> None:
    headers = synthetic_headers()
    volume = volume_of(headers)
    context = result_context(headers, volume, [])
    caveats = patient_caveats(study(), NODULES, volume)
    document = encode_sr(dataclasses.replace(context, caveats=caveats))
    assert caveats[0] in [str(item.value) for item in document.iterall() if item.keyword == "TextValue"]
