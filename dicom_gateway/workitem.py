"""What a workitem must be and how it may change (PS3.4 annex CC, PS3.18 section 11): no database, no network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from dicom_gateway.dicom_json import DataSet, code, element, items, text, values
from dicom_gateway.workitem_errors import WorkitemInvalid
from study.errors import InvalidUID
from study.identifiers import validate_uid

SOP_CLASS = "1.2.840.10008.5.1.4.34.6.1"
EVENT_SOP_CLASS = "1.2.840.10008.5.1.4.34.6.4"
GLOBAL, FILTERED = "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"
"""Subscriptions to every workitem, and to every one that matches a filter, are made on these well-known UIDs."""
CODING_SCHEME = "99RADMETER"

TRANSACTION_UID, STATE, PROGRESS = "00081195", "00741000", "00741002"
PRIORITY, WORKLIST_LABEL, STEP_LABEL = "00741200", "00741202", "00741204"
START, READINESS, MODIFIED, STUDY_UID = "00404005", "00404041", "00404010", "0020000D"
INPUTS, WORKITEM_CODE, STATION_CODE, PERFORMED = "00404021", "00404018", "00404025", "00741216"
_SOP_CLASS, _SOP_INSTANCE = "00080016", "00080018"
_REFERENCED, _RETRIEVE_AE, _RETRIEVE_URL = "00081199", "00080054", "00081190"
# Of a performed procedure (PS3.3 C.30.3): station, start, workitem, end, output.
_PERFORMED_STATION, _PERFORMED_START, _PERFORMED_CODE = "00404028", "00404050", "00404019"
_PERFORMED_END, _OUTPUT = "00404051", "00404033"
_REASON, _REASON_CODES, _CANCELLED_AT = "00741238", "0074100E", "00404052"

_TEXT_LENGTHS = {WORKLIST_LABEL: 64, STEP_LABEL: 64}
_DATE_TIME = re.compile(r"\d{4}(\d{2}){0,5}(\.\d{1,6})?([+-]\d{4})?", re.ASCII)
_PRIORITIES = ("HIGH", "MEDIUM", "LOW")
_READINESS = ("READY", "UNAVAILABLE", "INCOMPLETE")
# Who creates gives these empty or not at all (PS3.4 table CC.2.5-3, type 2).
_EMPTY_AT_FIRST = {
    WORKITEM_CODE: "SQ", STATION_CODE: "SQ", INPUTS: "SQ", "00404034": "SQ", "00100010": "PN", "00100020": "LO",
    "00100030": "DA", "00100040": "CS", "0040A370": "SQ", PROGRESS: "SQ", PERFORMED: "SQ", TRANSACTION_UID: "UI",
}  # fmt: skip
# Nobody changes these afterwards; the state has a transaction of its own.
_FIXED = (_SOP_CLASS, _SOP_INSTANCE, STATE, TRANSACTION_UID, "00100010", "00100020", "00100030", "00100040")


class State(StrEnum):
    """Procedure Step State (PS3.4 figure CC.1.1-1)."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        return self in (State.COMPLETED, State.CANCELED)


@dataclass(frozen=True)
class Input:
    """What a workitem is to be done on: a study, and of it these instances, or all where none is named.

    retrieve_ae_titles, retrieve_urls: where it says the instances can be had.
    """

    study_instance_uid: str
    sop_instance_uids: tuple[str, ...]
    retrieve_ae_titles: tuple[str, ...]
    retrieve_urls: tuple[str, ...]


def created(given: DataSet, uid: str, now: datetime) -> dict[str, Mapping[str, Any]]:
    """The whole workitem of a request to create one. Raises `WorkitemInvalid` with the sentence."""
    if text(given, STATE) != State.SCHEDULED:
        raise WorkitemInvalid("a new workitem has the Procedure Step State SCHEDULED (0074,1000)")
    if text(given, TRANSACTION_UID):
        raise WorkitemInvalid("a new workitem has no Transaction UID (0008,1195): who claims it gives one")
    if values(given, PERFORMED) or values(given, PROGRESS):
        raise WorkitemInvalid("a new workitem has neither progress nor a performed procedure")
    _one_of(given, PRIORITY, _PRIORITIES, "Scheduled Procedure Step Priority")
    _one_of(given, READINESS, _READINESS, "Input Readiness State")
    if not text(given, STEP_LABEL):
        raise WorkitemInvalid("a workitem needs a Procedure Step Label (0074,1204)")
    if not text(given, START):
        raise WorkitemInvalid("a workitem needs a Scheduled Procedure Step Start DateTime (0040,4005)")
    whole = {tag: {"vr": vr} for tag, vr in _EMPTY_AT_FIRST.items()} | dict(given)
    whole[_SOP_CLASS], whole[_SOP_INSTANCE] = element("UI", SOP_CLASS), element("UI", uid)
    if not text(whole, WORKLIST_LABEL):
        whole[WORKLIST_LABEL] = element("LO", "radmeter")
    _check_values(whole)
    whole[MODIFIED] = element("DT", date_time(now))
    return whole


def updated(present: DataSet, changes: DataSet, now: datetime) -> dict[str, Mapping[str, Any]]:
    """The workitem with the attributes of `changes` in place of its own. Raises `WorkitemInvalid`."""
    fixed = [tag for tag in _FIXED if tag in changes and tag != TRANSACTION_UID]
    if any(changes[tag].get("Value", []) != present.get(tag, {}).get("Value", []) for tag in fixed):
        raise WorkitemInvalid("neither its UID, its state nor its patient is changed by an update")
    whole = {**present, **{tag: one for tag, one in changes.items() if tag not in _FIXED}}
    _one_of(whole, PRIORITY, _PRIORITIES, "Scheduled Procedure Step Priority")
    _one_of(whole, READINESS, _READINESS, "Input Readiness State")
    _check_values(whole)
    whole[MODIFIED] = element("DT", date_time(now))
    return whole


def _one_of(data_set: DataSet, tag: str, allowed: tuple[str, ...], name: str) -> None:
    if text(data_set, tag) not in allowed:
        raise WorkitemInvalid(f"{name} ({tag[:4]},{tag[4:]}) is one of {', '.join(allowed)}")


def _check_values(data_set: DataSet) -> None:
    for tag, length in _TEXT_LENGTHS.items():
        if len(text(data_set, tag)) > length:
            raise WorkitemInvalid(f"({tag[:4]},{tag[4:]}) has at most {length} characters")
    if _DATE_TIME.fullmatch(text(data_set, START)) is None:
        raise WorkitemInvalid("Scheduled Procedure Step Start DateTime (0040,4005) is no date and time")
    inputs_of(data_set)


def inputs_of(data_set: DataSet) -> tuple[Input, ...]:
    """Its Input Information Sequence (PS3.3 table 10-3b). Raises `WorkitemInvalid` for what is no UID."""
    found = []
    for item in items(data_set, INPUTS):
        references = [text(one, "00081155") for one in items(item, _REFERENCED)]
        try:
            found.append(
                Input(
                    validate_uid(text(item, STUDY_UID)),
                    tuple(validate_uid(one) for one in references if one),
                    _of_items(item, "0040E021", _RETRIEVE_AE),
                    _of_items(item, "0040E025", _RETRIEVE_URL),
                )
            )
        except InvalidUID:
            raise WorkitemInvalid("an input has a Study Instance UID, and UIDs of the instances") from None
    return tuple(found)


def _of_items(item: DataSet, sequence: str, tag: str) -> tuple[str, ...]:
    return tuple(filter(None, (text(one, tag) for one in items(item, sequence))))


def is_ready(data_set: DataSet) -> bool:
    """Whether its inputs are said to be there."""
    return text(data_set, READINESS) == "READY"


def starts_at(data_set: DataSet) -> datetime | None:
    """When it is scheduled to begin; None where the value says no day, or no zone for a time of day."""
    value = text(data_set, START)
    for form in ("%Y%m%d%H%M%S%z", "%Y%m%d%H%M%z"):
        try:
            return datetime.strptime(re.sub(r"\.\d+", "", value), form)  # noqa: DTZ007 - with %z
        except ValueError:
            continue
    return None


def codes_of(data_set: DataSet, tag: str) -> list[tuple[str, str]]:
    """(code value, coding scheme designator) of each item of a code sequence."""
    return [(text(one, "00080100"), text(one, "00080102")) for one in items(data_set, tag)]


def final_problem(data_set: DataSet, state: State) -> str | None:
    """What is missing for this final state (PS3.4 table CC.2.5-3, final state codes); None when nothing is."""
    if state is not State.COMPLETED:
        return None
    performed = items(data_set, PERFORMED)
    needed = (_PERFORMED_STATION, _PERFORMED_START, _PERFORMED_CODE, _PERFORMED_END)
    if not performed or not all(values(performed[0], tag) for tag in needed) or _OUTPUT not in performed[0]:
        return "its performed procedure (0074,1216) has to say station, start, workitem, end and output first"
    return None


def progress(percent: int, sentence: str) -> Mapping[str, Any]:
    """The value of Procedure Step Progress Information Sequence."""
    return element("SQ", {"00741004": element("DS", str(percent)), "00741006": element("ST", sentence)})


def cancelled(reason_code: str, sentence: str, now: datetime) -> Mapping[str, Any]:
    """The same of what was given up: when, why, in our code and in words."""
    return element("SQ", {
        _CANCELLED_AT: element("DT", date_time(now)),
        _REASON: element("LT", sentence),
        _REASON_CODES: element("SQ", code(reason_code[:16], CODING_SCHEME, reason_code[:64])),
    })  # fmt: skip


def performed(
    station: str, began: datetime, ended: datetime | None, workitem_code: DataSet, outputs: list[DataSet]
) -> Mapping[str, Any]:
    """The value of Unified Procedure Step Performed Procedure Sequence. ended: None while it is under way."""
    return element("SQ", {
        _PERFORMED_STATION: element("SQ", code(station[:16], CODING_SCHEME, station[:64])),
        _PERFORMED_START: element("DT", date_time(began)),
        _PERFORMED_CODE: element("SQ", workitem_code),
        _PERFORMED_END: element("DT", date_time(ended) if ended else ""),
        _OUTPUT: {"vr": "SQ", "Value": outputs} if outputs else {"vr": "SQ"},
    })  # fmt: skip


def output(study_uid: str, series_uid: str, references: list[tuple[str, str]]) -> DataSet:
    """An item of an output information sequence. references: (SOP Class UID, SOP Instance UID)."""
    return {
        "0040E020": element("CS", "DICOM"),
        STUDY_UID: element("UI", study_uid),
        "0020000E": element("UI", series_uid),
        _REFERENCED: element("SQ", *({
            "00081150": element("UI", sop_class), "00081155": element("UI", sop_instance),
        } for sop_class, sop_instance in references)),
    }  # fmt: skip


def date_time(at: datetime) -> str:
    """As a DT value with its offset from UTC."""
    return at.strftime("%Y%m%d%H%M%S%z")


def event(uid: str, kind: int, message_id: int, said: DataSet) -> DataSet:
    """An event report (PS3.18 section 11.14). kind: 1 state, 2 cancel requested, 3 progress."""
    return {
        "00000002": element("UI", EVENT_SOP_CLASS),
        "00000110": element("US", message_id),
        "00001000": element("UI", uid),
        "00001002": element("US", kind),
        **said,
    }
