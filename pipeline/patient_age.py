"""How old a patient was when a study was made, from what the headers say."""

from __future__ import annotations

import re
from datetime import date, datetime

from study.study import Study

_AGE = re.compile(r"(\d{3})([DWMY])", re.ASCII)  # AS, PS3.5 section 6.2
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


def age_years(study: Study) -> float | None:
    """Patient's Age where it is given, else from birth date to study date; None where neither can be read."""
    return age_of(study.patient.age, study.patient.birth_date, study.study_date)


def age_of(age: str, birth_date: str, study_date: str) -> float | None:
    """The same from the values of the header."""
    stated = _AGE.fullmatch(age.strip().upper())
    if stated is not None:
        return int(stated[1]) * _YEARS[stated[2]]
    born, made = date_of(birth_date), date_of(study_date)
    if born is None or made is None or made < born:
        return None
    return (made - born).days / 365.25


def date_of(text: str) -> date | None:
    """A DA value; None where it is none."""
    try:
        return datetime.strptime(text.strip(), "%Y%m%d").date()  # noqa: DTZ007  a date has no zone
    except ValueError:
        return None
