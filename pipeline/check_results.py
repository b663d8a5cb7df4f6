"""The gate before delivery: our own checker runs over every result set; what it finds wrong is never sent.

It reads the bytes that would leave, not what the encoders meant, and knows the source only by its headers. Outside
validators run in tests and by `make conformance`; this one runs for every study, so it is cheap.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from dicom_gateway.check_attributes import attribute_problems
from dicom_gateway.check_basis import CheckBasis, CheckedObject, Known, ReviewRules
from dicom_gateway.check_geometry import geometry_problems
from dicom_gateway.check_identity import identity_problems, set_problems
from dicom_gateway.check_references import reference_problems, tracking_problems
from dicom_gateway.check_state import state_problems
from dicom_gateway.result_context import NOT_REVIEWED
from pipeline.errors import StudyFailed
from pipeline.result_set import ResultObject
from study.answer import Image

log = logging.getLogger("radmeter.pipeline")

NOT_CONFORMANT = "RESULT_NOT_CONFORMANT"
RULES_VERSION = 2
"""Counted up when a rule is added or changed, so that a stored verdict says what it was measured by."""
OBJECTS_MAX, SET_BYTES_MAX = 200, 2 << 30
_PROBLEMS_MAX = 50
_OF_OBJECT: tuple[Callable[[CheckedObject, CheckBasis], Iterator[str]], ...] = (
    identity_problems,
    state_problems,
    reference_problems,
    geometry_problems,
    lambda one, _: attribute_problems(one),
)
_OF_SET: tuple[Callable[[CheckBasis], Iterator[str]], ...] = (set_problems, tracking_problems)


@dataclass(frozen=True)
class CheckVerdict:
    """What the checker says of a set: sentences without patient data or UIDs; none when it may leave."""

    problems: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    duration_ms: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "rules": RULES_VERSION,
            "kinds": list(self.kinds),
            "problems": list(self.problems),
            "duration_ms": self.duration_ms,
        }

    @property
    def reason(self) -> str:
        """For people: what stands in the way of delivery."""
        more = len(self.problems) - 3
        words = "; ".join(self.problems[:3]) + (f"; and {more} more" if more > 0 else "")
        return f"The result was not sent, because our own check of its objects found: {words}."

    def require(self) -> None:
        """Raises `StudyFailed` where the set may not leave."""
        if self.problems:
            raise StudyFailed(NOT_CONFORMANT, self.reason)


def check_result_set(
    objects: Sequence[ResultObject],
    sources: Sequence[Dataset],
    *,
    model_name: str,
    model_version: str,
    image: Image | None = None,
    predecessors: Sequence[Dataset] = (),
    others: Mapping[str, Known] | None = None,
    notice: str = NOT_REVIEWED,
    review: ReviewRules | None = None,
) -> CheckVerdict:
    """Run every rule over the objects of one result; see `CheckBasis` for what they are measured by.

    It answers for everything that it is given: what it cannot read is a problem, never an exception.
    """
    started = time.monotonic()
    kinds = tuple(one.kind for one in objects)
    with disable_value_validation():  # a warning would write the offending value into the log
        problems = list(_size_problems(objects))
        read = [] if problems else list(_read(objects, problems))
        basis = CheckBasis(
            read, sources, model_name, model_version, image, predecessors, others or {}, notice, review
        )
        problems += _problems(basis)
    duration_ms = round((time.monotonic() - started) * 1000)
    return CheckVerdict(tuple(dict.fromkeys(problems))[:_PROBLEMS_MAX], kinds, duration_ms)


def _size_problems(objects: Sequence[ResultObject]) -> Iterator[str]:
    if not objects:
        yield "there is no object"
    if len(objects) > OBJECTS_MAX:
        yield f"there are more than {OBJECTS_MAX} objects"
    if sum(len(one.content) for one in objects) > SET_BYTES_MAX:
        yield f"the objects have more than {SET_BYTES_MAX >> 30} GiB together"


def _read(objects: Sequence[ResultObject], problems: list[str]) -> Iterator[CheckedObject]:
    for one in objects:
        try:
            yield CheckedObject.read(one.kind, one.content)
        except Exception as error:  # whatever a broken file raises, it must not leave
            problems.append(f"{one.kind}: it cannot be read back ({type(error).__name__})")


def _problems(basis: CheckBasis) -> Iterator[str]:
    for checked in basis.objects:
        for rule in _OF_OBJECT:
            yield from (f"{checked.kind}: {each}" for each in _run(rule, checked, basis))
    for whole in _OF_SET:
        yield from _run(whole, basis)


def _run(rule: Callable[..., Iterator[str]], *arguments: Any) -> list[str]:
    try:
        return list(rule(*arguments))
    except (
        Exception
    ) as error:  # values of the wrong type raise whatever they like, and the set must not leave
        log.exception("result_check_broke_off")
        return [f"it could not be checked ({type(error).__name__})"]
