"""Query: C-FIND as service class user in the Study Root model (PS3.4 annex C). Whatever a peer does is an answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.presentation import build_context

from dicom_gateway.archive_match import (
    RETURN_KEYS,
    USUAL_LIMITS,
    Level,
    Match,
    QueryAnswer,
    QueryLimits,
    make_match,
)
from dicom_gateway.presentation_contexts import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicom_gateway.scu_association import AnswerLimits, Destination, cut, open_association

logger = logging.getLogger(__name__)

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
UNCOMPRESSED = [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN]
_MESSAGE_ID = 1
_IDENTIFIER_BYTES_MAX = 1024 * 1024
_CANCEL_RESPONSES_MAX = 200
_CANCEL_S = 2.0

PENDING = frozenset({0xFF00, 0xFF01})
_MEANINGS = {  # PS3.4 tables C.4-1 to C.4-3
    0x0122: "it does not support this query",
    0x0124: "not authorized",
    0xA700: "it is out of resources",
    0xA701: "it is out of resources: it cannot count the matches",
    0xA702: "it is out of resources: it cannot send the instances",
    0xA801: "it does not know the destination of the move",
    0xA900: "it does not take this identifier",
    0xFE00: "it cancelled",
}


def find(
    destination: Destination, level: Level, keys: Mapping[str, str], limits: QueryLimits = USUAL_LIMITS
) -> QueryAnswer:
    """Ask for the studies, series or instances that match `keys` (keyword → value). Never raises for the peer.

    keys: those of the levels above must be there (PS3.4 section C.4.1.2.2.1); wildcards mean what they mean.
    """
    answer_limits = AnswerLimits(
        message_bytes_max=_IDENTIFIER_BYTES_MAX, total_bytes_max=limits.bytes_max, time_s=limits.time_s
    )
    contexts = [build_context(STUDY_ROOT_FIND, UNCOMPRESSED)]
    ends_at = time.monotonic() + limits.time_s
    with open_association(destination, contexts, limits=answer_limits) as link:
        if isinstance(link, str):
            return QueryAnswer((), link)
        try:
            answer = _ask(link, level, identifier_of(level, keys), limits, ends_at)
        except Exception as error:  # pynetdicom raises many kinds where a peer breaks the rules
            answer = QueryAnswer((), f"the query failed: {type(error).__name__}")
        if answer.error is not None:
            cut(link)
    logger.info(
        "archive_queried level=%s matches=%d complete=%s", level, len(answer.matches), not answer.error
    )
    return answer


def identifier_of(level: Level, keys: Mapping[str, str]) -> Dataset:
    """The identifier of a request: its level, the keys, and what should come back."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    if not all(value.isascii() for value in keys.values()):
        identifier.SpecificCharacterSet = "ISO_IR 192"
    for keyword in RETURN_KEYS[level]:
        setattr(identifier, keyword, "")
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier


def meaning_of(status: int) -> str:
    """What a final status other than success says, in a few words."""
    text = _MEANINGS.get(status) or ("it cannot process this" if 0xC000 <= status <= 0xCFFF else "it failed")
    return f"the peer says: {text} ({status:04X}H)"


def why_no_answer(link: Any, ends_at: float, time_s: float) -> str:
    """The sentence for a response that did not come."""
    if time.monotonic() >= ends_at:
        return f"no complete answer within {time_s:g} s"
    why_cut: str | None = getattr(link, "why_cut", None)
    if why_cut is not None:
        return why_cut
    return (
        "the peer sent no valid answer" if link.is_established else "the association ended before the answer"
    )


def _ask(link: Any, level: Level, identifier: Dataset, limits: QueryLimits, ends_at: float) -> QueryAnswer:
    matches: list[Match] = []
    unusable = 0
    responses = link.send_c_find(identifier, STUDY_ROOT_FIND, msg_id=_MESSAGE_ID)
    for response, found in responses:
        if "Status" not in response:
            why = why_no_answer(link, ends_at, limits.time_s)
            return QueryAnswer(tuple(matches), why, unusable)
        if response.Status not in PENDING:
            error = None if response.Status == 0 else meaning_of(response.Status)
            return QueryAnswer(tuple(matches), error, unusable)
        if time.monotonic() >= ends_at:
            return QueryAnswer(tuple(matches), f"no complete answer within {limits.time_s:g} s", unusable)
        if len(matches) + unusable >= limits.matches_max:
            _cancel(link, responses)
            return QueryAnswer(tuple(matches), f"more than {limits.matches_max} matches", unusable)
        match = make_match(level, _texts(found)) if found is not None else None
        if match is None:
            unusable += 1
        else:
            matches.append(match)
    return QueryAnswer(tuple(matches), "the association ended before the answer", unusable)


def _cancel(link: Any, responses: Any) -> None:
    """C-CANCEL (PS3.7 section 9.3.2.3), then a short wait for the peer to stop."""
    link.send_c_cancel(_MESSAGE_ID, query_model=STUDY_ROOT_FIND)
    stop_at = time.monotonic() + _CANCEL_S
    for number, (response, _) in enumerate(responses):
        done = response.get("Status") not in PENDING
        if done or number >= _CANCEL_RESPONSES_MAX or time.monotonic() >= stop_at:
            return


def _texts(identifier: Dataset) -> dict[str, str]:
    """Keyword → text of every attribute that is no sequence; what cannot be read is left out."""
    texts: dict[str, str] = {}
    for tag in list(identifier.keys()):
        try:
            element = identifier[tag]
            if element.keyword and element.VR != "SQ" and element.value is not None:
                values = element.value if element.VM > 1 else [element.value]
                texts[element.keyword] = "\\".join(str(value) for value in values)
        except Exception as error:  # a value that pydicom cannot convert
            logger.debug("value_unreadable error=%s", type(error).__name__)
    return texts
