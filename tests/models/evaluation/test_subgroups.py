"""Parts of the data: what belongs where, and that a small part says that it is small."""

from models.evaluation.bootstrap import wilson
from models.evaluation.subgroups import band, parts, table


def test_numbers_fall_into_bands_with_names() -> None:
    assert band("slice_thickness_mm", 1.0) == "to 1 mm"
    assert band("slice_thickness_mm", 1.25) == "over 1 to 2 mm"
    assert band("slice_thickness_mm", 5.0) == "over 3 mm"
    assert band("diameter_mm", 6.0) == "6 to 10 mm"
    assert band("age_years", 65) == "65 and older"
    assert band("vendor", "SIEMENS") == "SIEMENS"


def test_bands_stand_by_size_texts_by_the_alphabet_and_the_unknown_last() -> None:
    facts = [
        {"slice_thickness_mm": 5.0, "kernel": "sharp"}, {"slice_thickness_mm": 1.0}, {"kernel": "B30f"}, {},
    ]  # fmt: skip
    found = parts(facts)
    assert list(found["slice_thickness_mm"]) == ["to 1 mm", "over 3 mm", "not known"]
    assert list(found["kernel"]) == ["B30f", "sharp", "not known"]
    assert found["kernel"]["not known"].tolist() == [1, 3]


def test_a_fact_that_no_unit_has_is_left_out() -> None:
    assert list(parts([{"sex": "F"}, {"sex": "M"}])) == ["sex"]


def test_a_part_that_is_too_small_says_so_and_shows_no_figure() -> None:
    facts = [{"sex": "F"}] * 12 + [{"sex": "M"}] * 9
    women, men = table(facts, lambda index: wilson(len(index), len(index)))
    assert women.estimate is not None
    shown = women.as_json()
    assert (shown["fact"], shown["group"], shown["count"], shown["value"]) == ("sex", "F", 12, 1.0)
    assert men.as_json() == {"fact": "sex", "group": "M", "too_few": True, "count": 9}
