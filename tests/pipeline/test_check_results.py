"""The gate before delivery: what is right passes; each rule is proven by an object that breaks exactly that rule."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.filewriter import dcmwrite

from dicom_gateway.encode_gsps import encode_gsps
from dicom_gateway.encode_keys import encode_keys
from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.encode_pm import encode_pm
from dicom_gateway.encode_sc import Capture, encode_captures
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.result_context import ResultContext
from pipeline.check_results import CheckVerdict, check_result_set
from pipeline.result_set import ResultObject
from tests.result_builders import synthetic_headers, synthetic_result, volume_of
from tests.result_mutations import MUTATIONS, Objects


def encoded(context: ResultContext) -> Objects:
    made = {
        "SR": encode_sr(context),
        "SEG": encode_seg(context),
        "PM": encode_pm(context),
        "PDF": encode_pdf(context, b"%PDF-1.7"),
        "GSPS": encode_gsps(context),
        "SC": encode_captures(context, [Capture(np.zeros((8, 8, 3), np.uint8), None, "A page of words.")])[0],
    }
    made["KEYS"] = encode_keys(
        context, [one for kind, one in made.items() if kind in ("SR", "SEG", "PM") and one]
    )
    return {kind: dataset for kind, dataset in made.items() if dataset is not None}


def verdict_of(objects: Objects, context: ResultContext, **changes: Any) -> CheckVerdict:
    files = []
    for kind, dataset in objects.items():
        buffer = io.BytesIO()
        dcmwrite(buffer, dataset)
        files.append(ResultObject(kind, str(dataset.SOPInstanceUID), "", "", buffer.getvalue()))
    values = {
        "model_name": context.model_name,
        "model_version": context.model_version,
        "image": context.image,
    }
    return check_result_set(files, context.source_headers, **values | changes)


@pytest.fixture(scope="module")
def context() -> ResultContext:
    return synthetic_result()


@pytest.fixture(scope="module")
def whole(context: ResultContext) -> Objects:
    return encoded(context)


def test_a_set_as_it_is_encoded_passes(whole: Objects, context: ResultContext) -> None:
    verdict = verdict_of(whole, context)
    assert verdict.problems == ()
    assert verdict.as_json()["kinds"] == list(whole)


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_breaks_a_rule_is_told_by_that_rule_alone(
    whole: Objects, context: ResultContext, name: str
) -> None:
    change, sentence = MUTATIONS[name]
    objects = deepcopy(whole)
    change(objects)
    problems = verdict_of(objects, context).problems
    assert problems, "the rule is blind"
    assert [one for one in problems if sentence not in one] == []


def test_sources_of_two_patients_are_told(whole: Objects, context: ResultContext) -> None:
    headers = [deepcopy(header) for header in context.source_headers]
    headers[5].PatientID = "P2"
    problems = verdict_of(whole, replace(context, source_headers=headers)).problems
    assert problems == ("the source images name more than one PatientID",)


def test_a_set_that_belongs_to_another_result_is_told_in_every_way(
    whole: Objects, context: ResultContext
) -> None:
    """The wrong study's set beside the right source, as when files are mixed up."""
    headers = synthetic_headers(StudyInstanceUID="1.2.4", PatientID="P9")
    for number, header in enumerate(headers):
        header.SOPInstanceUID = f"1.2.4.4.{number}"
    other = replace(context, source_headers=headers, image=volume_of(headers))
    problems = verdict_of(whole, other).problems
    for words in ("not in the study", "PatientID", "neither a source image", "did not read"):
        assert any(words in one for one in problems), words


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:200],
        lambda content: b"",
        lambda content: b"\0" * 500,
        lambda content: content[::-1],
    ],
    ids=["cut", "empty", "zeros", "backwards"],
)
def test_bytes_that_cannot_be_read_back_do_not_leave(
    whole: Objects, context: ResultContext, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    buffer = io.BytesIO()
    whole["SR"].save_as(buffer, enforce_file_format=True)
    broken = ResultObject("SR", "2.25.1", "", "", damage(buffer.getvalue()))
    verdict = check_result_set([broken], context.source_headers, model_name="m", model_version="1")
    assert verdict.problems
    assert verdict.reason.startswith("The result was not sent, because our own check")


def test_values_of_a_wrong_type_are_a_problem_and_no_exception(
    whole: Objects, context: ResultContext
) -> None:
    objects = deepcopy(whole)
    del objects["SEG"].NumberOfFrames
    objects["SEG"].add_new("NumberOfFrames", "UT", "many")
    objects["SR"].ContentSequence[0].ValueType = "GARBAGE"
    assert verdict_of(objects, context).problems


def test_an_empty_set_and_a_boundless_one_do_not_leave(
    whole: Objects, context: ResultContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verdict_of({}, context).problems == ("there is no object",)
    monkeypatch.setattr("pipeline.check_results.SET_BYTES_MAX", 1000)
    (problem,) = verdict_of(whole, context).problems
    assert "together" in problem


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("GBK", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 58"], "Zhang^XiaoDong=张^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("ISO_IR 166", "นามสกุล"),
        ("ISO_IR 192", "Żółć^Łucja"),
    ],
)
def test_a_source_in_any_character_set_passes_and_a_set_that_garbles_it_does_not(
    character_set: str | list[str], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = []
    for header in synthetic_headers(SpecificCharacterSet=character_set, PatientName=name):
        buffer = io.BytesIO()
        header.save_as(buffer, implicit_vr=False, little_endian=True)
        headers.append(dcmread(io.BytesIO(buffer.getvalue()), force=True))
    context = synthetic_result(source_headers=headers)
    objects = encoded(context)
    with caplog.at_level(logging.DEBUG):
        assert verdict_of(objects, context).problems == ()
        garbled = deepcopy(objects["SR"])
        buffer = io.BytesIO()
        garbled.save_as(buffer, enforce_file_format=True)
        file = buffer.getvalue().replace(b"ISO_IR 192", b"ISO_IR 100")
        one = ResultObject("SR", str(garbled.SOPInstanceUID), "", "", file)
        problems = check_result_set(
            [one], headers, model_name="lung_nodule_ct", model_version="0.1.0"
        ).problems
    assert "SR: PatientName is not that of the source" in problems
    assert name not in caplog.text


def test_sentences_hold_neither_patient_nor_uids(whole: Objects, context: ResultContext) -> None:
    told: list[str] = []
    for change, _ in MUTATIONS.values():
        objects = deepcopy(whole)
        change(objects)
        told += verdict_of(objects, context).problems
    text = " ".join(told)
    for secret in ("Doe", "P1", "1.2.3", "2.25", "1.2.8"):
        assert secret not in text
