"""What is not known is not guessed: the advice is given only where nothing unknown could change it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.guidelines.advise import Abstains, Advice, advise
from pipeline.guidelines.inputs import INPUT_WORDS, POSSIBLE, Case, Course, Risk, Setting
from pipeline.guidelines.registry import GUIDELINES
from pipeline.guidelines.words import sentence
from study.nodule import NoduleKind

SCREENED = Case(
    NoduleKind.SOLID, 9.0, course=Course.BASELINE, setting=Setting.SCREENING, is_juxtapleural_benign=False
)


@pytest.mark.parametrize(
    ("guideline", "case", "missing"),
    [
        ("lung_rads_2022", replace(SCREENED, setting=None), ("setting",)),
        ("lung_rads_2022", replace(SCREENED, course=None), ("course", "prior_category")),
        ("lung_rads_2022", replace(SCREENED, is_juxtapleural_benign=None), ("is_juxtapleural_benign",)),
        ("lung_rads_2022", replace(SCREENED, kind=NoduleKind.PART_SOLID), ("solid_part_mm",)),
        ("lung_rads_2022", replace(SCREENED, kind=NoduleKind.CALCIFIED), ("has_benign_calcification",)),
        ("c_lung_rads_2024", replace(SCREENED, kind=NoduleKind.PART_SOLID), ("solid_part_mm",)),
        (
            "fleischner_2017",
            Case(NoduleKind.SOLID, 7.0, nodule_count=1),
            ("setting", "age_years", "has_known_cancer", "is_immunosuppressed", "risk"),
        ),
        (
            "bts_2015",
            Case(NoduleKind.SOLID, 9.0, age_years=60.0, is_juxtapleural_benign=False),
            ("brock_percent",),
        ),
    ],
)
def test_what_the_advice_hangs_on_is_named(guideline: str, case: Case, missing: tuple[str, ...]) -> None:
    verdict = advise(GUIDELINES[guideline], case)
    assert isinstance(verdict, Abstains)
    assert verdict.missing == missing
    assert all(INPUT_WORDS[name] in sentence(verdict, "en") for name in missing)


def test_what_changes_nothing_need_not_be_known() -> None:
    small = replace(SCREENED, mean_diameter_mm=5.0, is_juxtapleural_benign=None)
    verdict = advise(GUIDELINES["lung_rads_2022"], small)
    assert isinstance(verdict, Abstains), "the category is the same, its rule is not"
    large = Case(
        NoduleKind.SOLID,
        12.0,
        nodule_count=1,
        setting=Setting.INCIDENTAL,
        age_years=70.0,
        has_known_cancer=False,
        is_immunosuppressed=False,
    )
    verdict = advise(GUIDELINES["fleischner_2017"], large)
    assert isinstance(verdict, Advice), "above 8 mm the risk plays no part"
    assert verdict.category == "> 8 mm"


def test_every_input_has_words() -> None:
    asked = {name for guideline in GUIDELINES.values() for name in guideline.inputs}
    assert asked <= INPUT_WORDS.keys()
    assert asked <= POSSIBLE.keys()


cases = st.builds(
    Case,
    kind=st.none() | st.sampled_from(NoduleKind),
    mean_diameter_mm=st.floats(0.5, 90, allow_nan=False),
    volume_mm3=st.none() | st.floats(1, 1e5),
    solid_part_mm=st.none() | st.floats(0.5, 40),
    nodule_count=st.none() | st.integers(1, 5),
    course=st.none() | st.sampled_from(Course),
    prior_category=st.none() | st.sampled_from(("2", "3", "4A", "4B")),
    has_benign_calcification=st.none() | st.booleans(),
    is_juxtapleural_benign=st.none() | st.booleans(),
    setting=st.none() | st.sampled_from(Setting),
    age_years=st.none() | st.floats(0, 110),
    has_known_cancer=st.none() | st.booleans(),
    is_immunosuppressed=st.none() | st.booleans(),
    risk=st.none() | st.sampled_from(Risk),
    brock_percent=st.none() | st.floats(0, 100),
)


@given(cases, st.sampled_from(sorted(GUIDELINES)), st.data())
def test_learning_more_never_contradicts_what_was_said(case: Case, name: str, data: Any) -> None:
    guideline = GUIDELINES[name]
    said = advise(guideline, case)
    unknown = [field for field in guideline.inputs if getattr(case, field) is None]
    if isinstance(said, Abstains):
        assert said.missing
        assert "未知" in sentence(said, "zh")
        assert set(said.missing) <= set(unknown)
        return
    if isinstance(said, Advice):
        assert said.category in guideline.categories
    assert sentence(said, "en").endswith(".")
    assert not re.search("[A-Za-z]{4}", re.sub("Brock|Herder|Lung-RADS|Fleischner", "", sentence(said, "zh")))
    learned = {field: data.draw(st.sampled_from(POSSIBLE[field])) for field in unknown}
    assert advise(guideline, replace(case, **learned)) == said
