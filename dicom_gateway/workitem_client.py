"""Another system's worklist over UPS-RS, as its performer: what is scheduled for us, claim, progress, end.

Each call raises `ServerRefused` or what httpx raises; a conflict (409) is an answer, for somebody else may be faster.
"""

from __future__ import annotations

import json
import time

import httpx

from dicom_gateway.dicom_json import BYTES_MAX, DataSet, element, read_data_set, read_data_sets
from dicom_gateway.dicomweb_client import DicomWebServer, connected, require_success
from dicom_gateway.query_errors import ServerRefused
from dicom_gateway.workitem import STATE, TRANSACTION_UID, State
from dicom_gateway.workitem_errors import DicomJSONMalformed
from study.identifiers import validate_uid

_JSON = "application/dicom+json"
_TIME_S = 30.0


def scheduled_for(server: DicomWebServer, station: str, limit: int) -> list[DataSet]:
    """At most `limit` workitems that wait for this station and whose inputs are ready."""
    parameters = {
        "ProcedureStepState": State.SCHEDULED.value,
        "InputReadinessState": "READY",
        "ScheduledStationNameCodeSequence.CodeValue": station,
        "limit": str(limit),
    }
    with (
        connected(server) as client,
        client.stream("GET", "workitems", params=parameters, headers={"Accept": _JSON}) as response,
    ):
        require_success(response)
        body = _bounded(response, limit * BYTES_MAX // 16)
    if not body:
        return []
    try:
        return read_data_sets(body, limit)
    except DicomJSONMalformed:
        raise ServerRefused("the answer is no list of workitems") from None


def whole(server: DicomWebServer, uid: str) -> DataSet:
    """The workitem with all that its server shows."""
    with (
        connected(server) as client,
        client.stream("GET", f"workitems/{validate_uid(uid)}", headers={"Accept": _JSON}) as response,
    ):
        require_success(response)
        body = _bounded(response, BYTES_MAX)
    try:
        return read_data_set(body)
    except DicomJSONMalformed as error:
        raise ServerRefused(f"the workitem is not readable: {error}") from None


def change_state(server: DicomWebServer, uid: str, transaction_uid: str, state: State) -> bool:
    """Claim or end it; False when it is in another state by now, or not ours."""
    data_set = {TRANSACTION_UID: element("UI", transaction_uid), STATE: element("CS", state.value)}
    return _said(server, "PUT", f"workitems/{validate_uid(uid)}/state", data_set)


def update(server: DicomWebServer, uid: str, transaction_uid: str, changes: DataSet) -> bool:
    """Change attributes of what we have claimed; False when it is not ours any more."""
    data_set = {**changes, TRANSACTION_UID: element("UI", transaction_uid)}
    return _said(server, "POST", f"workitems/{validate_uid(uid)}?transaction-uid={transaction_uid}", data_set)


def _said(server: DicomWebServer, method: str, path: str, data_set: DataSet) -> bool:
    headers = {"Content-Type": _JSON, "Accept": _JSON}
    with (
        connected(server) as client,
        client.stream(method, path, content=json.dumps([data_set]), headers=headers) as response,
    ):
        if response.status_code in (404, 409, 410):
            return False
        require_success(response)
    return True


def _bounded(response: httpx.Response, bytes_max: int) -> bytes:
    ends_at = time.monotonic() + _TIME_S
    body = bytearray()
    for part in response.iter_raw():
        body += part
        if len(body) > bytes_max or time.monotonic() >= ends_at:
            raise ServerRefused("the answer is larger or slower than we take")
    return bytes(body)
