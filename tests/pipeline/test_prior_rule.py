"""Which earlier studies a rule wants: identity first, then modality, region, age, number and size."""

from __future__ import annotations

import dataclasses

import pytest

from dicom_gateway.archive_match import Match, make_match
from pipeline.errors import PriorsRuleInvalid
from pipeline.prior_rule import CurrentStudy, PriorsRule, choose_priors

CHEST = frozenset({"chest"})
CURRENT = CurrentStudy("1.1", "P1", "", "Doe^Ada", "19700101", "20260102", frozenset({"CT"}), CHEST)


def earlier(uid: str = "1.2", **changes: str) -> Match:
    values = {
        "StudyInstanceUID": uid,
        "StudyDate": "20250601",
        "PatientID": "P1",
        "PatientName": "Doe^Ada",
        "PatientBirthDate": "19700101",
        "ModalitiesInStudy": "CT",
        "NumberOfStudyRelatedInstances": "300",
    }
    match = make_match("STUDY", values | changes)
    assert match is not None
    return match


def why(
    match: Match, regions: frozenset[str] = CHEST, current: CurrentStudy = CURRENT, **rule: object
) -> str | None:
    (candidate,) = choose_priors(current, [(match, regions)], PriorsRule(**rule))  # type: ignore[arg-type]
    return candidate.why_not


def test_an_earlier_study_of_the_same_patient_modality_and_region_is_wanted() -> None:
    assert why(earlier()) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"PatientID": "P2"}, "another Patient ID"),
        ({"PatientID": ""}, "another Patient ID"),
        ({"PatientBirthDate": "19700102"}, "the same Patient ID with another birth date"),
        ({"PatientName": "Roe^Ada"}, "the same Patient ID with another name"),
        ({"PatientName": "Doe^Bea"}, "the same Patient ID with another name"),
        ({"StudyDate": "20260103"}, "later than the study"),
        ({"StudyDate": "20220601"}, "older than 36 months"),
        ({"StudyDate": ""}, "the dates of the studies are not known"),
        ({"StudyDate": "2025-1-1"}, "the dates of the studies are not known"),
        ({"ModalitiesInStudy": "MR"}, "another modality"),
        ({"ModalitiesInStudy": ""}, "another modality"),
        ({"NumberOfStudyRelatedInstances": "5000"}, "5000 images; the rule takes at most 3000"),
    ],
)
def test_what_does_not_fit_is_not_wanted_and_the_reason_says_why(
    changes: dict[str, str], reason: str
) -> None:
    assert why(earlier(**changes)) == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"PatientName": "DOE^ADA^^^"},
        {"PatientName": "Doe^Ada^Maria^Dr.=杜^艾达"},
        {"PatientName": ""},
        {"PatientBirthDate": ""},
        {"ModalitiesInStudy": "CT\\SR"},
        {"NumberOfStudyRelatedInstances": ""},
        {"IssuerOfPatientID": "HOSPITAL"},
    ],
)
def test_what_is_told_less_or_written_otherwise_is_no_contradiction(changes: dict[str, str]) -> None:
    assert why(earlier(**changes)) is None


def test_a_patient_id_of_another_issuer_is_another_patient() -> None:
    current = dataclasses.replace(CURRENT, issuer="HERE")
    assert why(earlier(IssuerOfPatientID="HERE"), current=current) is None
    assert (
        why(earlier(IssuerOfPatientID="THERE"), current=current)
        == "the Patient ID was issued by somebody else"
    )


def test_a_region_must_be_known_and_the_same() -> None:
    assert why(earlier(), frozenset({"head"})) == "another body region"
    assert why(earlier(), frozenset()) == "its body region is not known"
    assert why(earlier(), frozenset({"abdomen", "chest"})) is None
    unknown = dataclasses.replace(CURRENT, regions=frozenset())
    assert why(earlier(), current=unknown) == "the body region of the study is not known"
    assert why(earlier(), frozenset(), current=unknown, same_region=False) is None


def test_the_newest_come_first_and_the_study_itself_is_none_of_them() -> None:
    dates = {"1.2": "20240101", "1.3": "20250101", "1.4": "20250601", "1.1": "20260102"}
    found = [(earlier(uid, StudyDate=date), CHEST) for uid, date in dates.items()]
    chosen = choose_priors(CURRENT, found, PriorsRule(newest=2))
    assert [(one.match.uid, one.why_not) for one in chosen] == [
        ("1.4", None),
        ("1.3", None),
        ("1.2", "older than the newest 2"),
    ]


@pytest.mark.parametrize(
    ("texts", "regions"),
    [
        (("CT Thorax nativ",), {"chest"}),
        (("CHEST",), {"chest"}),
        (("CT Abdomen/Pelvis w contrast",), {"abdomen", "pelvis"}),
        (("HRCT Lungs",), {"chest"}),
        (("胸部CT平扫",), {"chest"}),
        (("Follow-up", "KNEE"), {"extremity"}),
        (("Ship",), set()),
        (("",), set()),
    ],
)
def test_words_name_regions(texts: tuple[str, ...], regions: set[str]) -> None:
    assert PriorsRule().regions_of(*texts) == regions


def test_the_words_are_the_rules_own() -> None:
    rule = PriorsRule.from_json({"newest": 2, "regions": {"tooth": ["Zahn"]}})
    assert rule.newest == 2
    assert rule.regions_of("Zahnstatus", "chest") == {"tooth"}


@pytest.mark.parametrize(
    "value",
    [
        {"newest": 0},
        {"newest": True},
        {"newest": "1"},
        {"within_months": 10_000},
        {"same_region": 1},
        {"regions": {"chest": "lung"}},
        {"regions": {"chest": [""]}},
        {"colour": 1},
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(PriorsRuleInvalid, match="priors: "):
        PriorsRule.from_json(value)
