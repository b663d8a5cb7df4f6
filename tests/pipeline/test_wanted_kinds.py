"""A result set holds what was asked for, and what that refers to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_gateway.decode import decode_series
from dicom_gateway.inspect import inspect_study
from pipeline.result_set import ALWAYS_MADE, ResultSet, encode_result, make_result_set, with_references
from study.answer import Answer
from tests.ct_files import ramp, write
from tests.report_builders import manifest
from tests.result_builders import CREATED_AT, ball, synthetic_result


def kinds_made(asked: frozenset[str]) -> list[str]:
    context = replace(synthetic_result(), kinds=with_references(asked))
    return [kind for kind, _ in encode_result(context, b"%PDF-1.7")]


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        (ALWAYS_MADE, ["SR", "SEG", "PDF"]),
        (frozenset({"SR"}), ["SR", "SEG"]),
        (frozenset({"SC"}), ["SC", "SC"]),
        (frozenset({"GSPS"}), ["GSPS"]),
        (frozenset({"FHIR"}), []),
    ],
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, frozenset) else None,
)
def test_only_the_wanted_kinds_are_made_and_what_they_refer_to(
    asked: frozenset[str], made: list[str]
) -> None:
    assert kinds_made(asked) == made


def test_a_kind_has_the_same_bytes_whatever_else_is_made_unless_it_names_it() -> None:
    few, many = (
        dict(encode_result(replace(synthetic_result(), kinds=kinds), b"%PDF-1.7"))
        for kinds in (ALWAYS_MADE, ALWAYS_MADE | {"GSPS", "SC"})
    )
    for kind, dataset in few.items():
        assert dataset == many[kind]


def test_key_images_come_with_all_that_they_name(tmp_path: Path) -> None:
    objects = result_of(tmp_path, frozenset({"KEYS"})).objects
    assert [one.kind for one in objects] == ["SR", "SEG", "PM", "KEYS"]
    assert [one.file_name("nodules") for one in objects][-1] == "nodules.keys.dcm"


def result_of(folder: Path, kinds: frozenset[str]) -> ResultSet:
    paths = write(folder, ramp((8, 40, 40)))
    study = inspect_study([(path.name, path) for path in paths]).study
    volume = decode_series(study.series[0], folder, folder / "volume")
    finding = ball(volume, volume.to_lps_mm(np.asarray([4.0, 20.0, 20.0])), 8.0)
    return make_result_set(
        study, volume, Answer((finding,)), manifest(), study_id="study-1", uid_seed="input-1", revision=1,
        created_at=CREATED_AT, instances_root=folder, language="en", kinds=kinds,
    )  # fmt: skip
