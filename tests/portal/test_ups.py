"""UPS-RS against a real server and database: what the standard says of each transaction, and who may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from dicom_gateway.dicom_json import code, element
from pipeline import peers
from portal.auth import create_api_key
from tests.portal.live_portal import LivePortal, live_portal
from tests.portal.portal_site import Site

JSON = "application/dicom+json"
UID, OTHER = "1.2.826.1", "1.2.826.2"
STUDY = "1.2.840.1.5"
STATE, TRANSACTION = "00741000", "00081195"


def item(**changes: Any) -> dict[str, Any]:
    """A workitem as a requester creates it; changes by tag."""
    return {
        STATE: element("CS", "SCHEDULED"),
        "00741200": element("CS", "HIGH"),
        "00741204": element("LO", "Read the chest"),
        "00404005": element("DT", "20261126120000+0000"),
        "00404041": element("CS", "READY"),
        "00404018": element("SQ", code("113011", "DCM", "somebody else's work")),
        "00404021": element("SQ", {"0020000D": element("UI", STUDY)}),
        "00100010": element("PN", {"Alphabetic": "Marker^Ada"}),
        "00100020": element("LO", "MARKER-1"),
    } | {f"{tag:0>8}": value for tag, value in changes.items()}


def state(value: str, transaction: str = "1.2.3") -> dict[str, Any]:
    return {STATE: element("CS", value), TRANSACTION: element("UI", transaction)}


@dataclass
class Worklist:
    """One peer's view of the worklist."""

    url: str
    key: str

    def send(self, method: str, path: str, data: Any = None, **headers: str) -> httpx.Response:
        content = None if data is None else json.dumps(data) if not isinstance(data, bytes) else data
        sent = {"authorization": f"Bearer {self.key}", "content-type": JSON} | headers
        return httpx.request(
            method, f"{self.url}/dicom-web/{path}", content=content, headers=sent, timeout=20
        )

    def create(self, uid: str = UID, **changes: Any) -> httpx.Response:
        return self.send("POST", f"workitems?workitem={uid}", [item(**changes)])

    def states(self, query: str = "") -> list[tuple[str, str]]:
        answer = self.send("GET", f"workitems{query}")
        if answer.status_code == 204:
            return []
        assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)
        return [(one["00080018"]["Value"][0], one[STATE]["Value"][0]) for one in answer.json()]


@pytest.fixture
def live(site: Site) -> Iterator[LivePortal]:
    with live_portal(site) as portal:
        yield portal


@pytest.fixture
def worklist(live: LivePortal) -> Worklist:
    return Worklist(live.url, live.key)


def another(live: LivePortal, ae_title: str, tenant: str = "alpha") -> Worklist:
    with live.site.database.transaction(tenant) as conn:
        peers.save_peer(conn, tenant, ae_title=ae_title, host="pacs.test", port=104)
        return Worklist(live.url, create_api_key(conn, tenant, ae_title, ae_title=ae_title))


def test_the_life_of_a_workitem_that_another_system_performs(worklist: Worklist) -> None:
    made = worklist.create()
    assert made.status_code == 201
    assert made.headers["location"].endswith(f"/dicom-web/workitems/{UID}")
    assert worklist.create().status_code == 409
    assert worklist.states("?ProcedureStepState=SCHEDULED") == [(UID, "SCHEDULED")]
    assert worklist.send("PUT", f"workitems/{UID}/state", state("COMPLETED")).status_code == 409

    assert worklist.send("PUT", f"workitems/{UID}/state", state("IN PROGRESS")).status_code == 200
    assert worklist.send("PUT", f"workitems/{UID}/state", state("IN PROGRESS", "1.2.9")).status_code == 409
    (read,) = worklist.send("GET", f"workitems/{UID}").json()
    assert read[STATE]["Value"] == ["IN PROGRESS"]
    assert TRANSACTION not in read, "the claim is its performer's secret"

    progress = {"00741002": element("SQ", {"00741004": element("DS", "50")})}
    assert worklist.send("POST", f"workitems/{UID}?transaction-uid=1.2.9", progress).status_code == 409
    assert worklist.send("POST", f"workitems/{UID}?transaction-uid=1.2.3", progress).status_code == 200
    assert worklist.send("PUT", f"workitems/{UID}/state", state("COMPLETED")).status_code == 409, (
        "no result yet"
    )
    done = {
        "00404028": element("SQ", code("X", "99X", "X")), "00404050": element("DT", "20261126120000"),
        "00404019": element("SQ", code("X", "99X", "X")), "00404051": element("DT", "20261126120100"),
        "00404033": {"vr": "SQ"},
    }  # fmt: skip
    performed = {"00741216": element("SQ", done), TRANSACTION: element("UI", "1.2.3")}
    assert worklist.send("POST", f"workitems/{UID}", performed).status_code == 200
    assert worklist.send("PUT", f"workitems/{UID}/state", state("COMPLETED", "1.2.9")).status_code == 409
    assert worklist.send("PUT", f"workitems/{UID}/state", state("COMPLETED")).status_code == 200
    again = worklist.send("PUT", f"workitems/{UID}/state", state("COMPLETED"))
    assert (again.status_code, "already in the requested state" in again.headers["warning"]) == (200, True)
    assert worklist.send("POST", f"workitems/{UID}", progress).status_code == 409
    assert worklist.send("POST", f"workitems/{UID}/cancelrequest").status_code == 409


def test_what_is_no_workitem_is_refused_and_says_why(worklist: Worklist) -> None:
    for changes, said in (
        ({STATE: element("CS", "COMPLETED")}, "SCHEDULED"),
        ({TRANSACTION: element("UI", "1.2.3")}, "Transaction UID"),
        ({"00741200": element("CS", "SOON")}, "Priority"),
        ({"00404005": element("DT", "soon")}, "date and time"),
        ({"00404041": {"vr": "CS"}}, "Readiness"),
        ({"00741204": {"vr": "LO"}}, "Label"),
        ({"00404021": element("SQ", {"0020000D": element("UI", "../etc")})}, "Study Instance UID"),
        ({"00404021": {"vr": "SQ", "BulkDataURI": "http://169.254.169.254/"}}, "nothing else"),
        ({"x": {}}, "eight hexadecimal"),
    ):
        answer = worklist.create(**changes)
        assert answer.status_code == 400, changes
        assert said in answer.json()["error"]["message"]
    deep: Any = {}
    for _ in range(20):
        deep = {"0040A370": {"vr": "SQ", "Value": [deep]}}
    for body in (
        b"{",
        b"[" * 100_000,
        b"[1]",
        json.dumps(deep).encode(),
        b"\xff",
        json.dumps([item()] * 2).encode(),
    ):
        assert worklist.send("POST", f"workitems?workitem={UID}", body).status_code == 400
    assert worklist.send("POST", f"workitems?workitem={UID}", b"x" * 2_000_000).status_code == 413
    assert (
        worklist.send(
            "POST", f"workitems?workitem={UID}", [item()], **{"content-type": "text/html"}
        ).status_code
        == 415
    )
    assert worklist.send("POST", "workitems?workitem=..%2Fx", [item()]).status_code == 422
    assert worklist.send("GET", "workitems?PatientNme=x").status_code == 400
    assert worklist.send("GET", "workitems?PatientName=" + "*a" * 5).status_code == 400
    assert worklist.states() == []


def test_a_search_matches_as_qido_does(worklist: Worklist) -> None:
    worklist.create()
    later = {"00404005": element("DT", "20261201"), "00100010": element("PN", {"Alphabetic": "Other^Ben"})}
    worklist.create(OTHER, **later)
    for query, found in (
        ("PatientName=marker*", [UID]),
        ("00100010=Other^Ben", [OTHER]),
        ("ScheduledProcedureStepStartDateTime=20261126-20261130", [UID]),
        ("ScheduledProcedureStepStartDateTime=20261130-", [OTHER]),
        (f"SOPInstanceUID={UID},{OTHER}", [UID, OTHER]),
        (f"InputInformationSequence.StudyInstanceUID={STUDY}", [UID, OTHER]),
        ("ScheduledWorkitemCodeSequence.CodeValue=110004", []),
        ("limit=1&offset=1", [OTHER]),
        ("ProcedureStepState=COMPLETED", []),
    ):
        assert [uid for uid, _ in worklist.states(f"?{query}")] == found, query


def test_a_subscriber_hears_everything_in_order_and_what_it_missed_at_the_next_time(live: LivePortal) -> None:
    requester, watcher = another(live, "RIS"), another(live, "WATCHER")
    everything = "workitems/1.2.840.10008.5.1.4.34.5/subscribers"
    assert watcher.send("POST", f"{everything}/RIS").status_code == 403, "not its own AE title"
    made = watcher.send("POST", f"{everything}/WATCHER?deletionlock=true")
    assert made.status_code == 201
    channel = made.headers["content-location"]
    assert channel == f"ws://127.0.0.1:{live.port}/dicom-web/subscribers/WATCHER"
    requester.create()
    assert (
        requester.send(
            "POST", f"workitems/{UID}/cancelrequest", {"00741238": element("LT", "no need")}
        ).status_code
        == 202
    )
    with pytest.raises(InvalidStatus):
        connect(channel, additional_headers={"Authorization": f"Bearer {requester.key}"})

    def listen(events: int) -> list[tuple[int, str]]:
        heard = []
        with connect(channel, additional_headers={"Authorization": f"Bearer {watcher.key}"}) as socket:
            for _ in range(events):
                said = json.loads(socket.recv(timeout=10))
                assert said["00001000"]["Value"] == [UID]
                heard.append((said["00001002"]["Value"][0], said.get(STATE, {}).get("Value", [""])[0]))
        return heard

    assert listen(2) == [(1, "SCHEDULED"), (1, "CANCELED")]
    assert requester.send("POST", f"workitems/{UID}/cancelrequest").headers["warning"]
    assert watcher.send("DELETE", f"{everything}/WATCHER").status_code == 200
    requester.create(OTHER)
    assert live.site.owner.execute("SELECT 1 FROM workitem_notice").fetchall() == []


def test_the_performer_of_another_system_is_asked_to_cancel_if_it_listens(live: LivePortal) -> None:
    requester, performer = another(live, "RIS"), another(live, "OTHERAI")
    requester.create()
    performer.send("PUT", f"workitems/{UID}/state", state("IN PROGRESS"))
    assert requester.send("POST", f"workitems/{UID}/cancelrequest").status_code == 409
    assert performer.send("POST", f"workitems/{UID}/subscribers/OTHERAI").status_code == 201
    assert requester.send("POST", f"workitems/{UID}/cancelrequest").status_code == 202
    assert performer.send("PUT", f"workitems/{UID}/state", state("CANCELED")).status_code == 200
    kinds = live.site.owner.execute("SELECT kind FROM workitem_notice ORDER BY id").fetchall()
    assert [one["kind"] for one in kinds] == [1, 2, 1]


def test_a_tenant_a_reader_and_a_stranger_see_and_change_what_they_may(
    live: LivePortal, worklist: Worklist
) -> None:
    worklist.create()
    beta = another(live, "BETAPACS", "beta")
    assert beta.send("GET", f"workitems/{UID}").status_code == 404
    assert beta.send("PUT", f"workitems/{UID}/state", state("IN PROGRESS")).status_code == 404
    assert beta.states() == []
    assert beta.create().status_code == 201, "UIDs of another tenant are nobody's business"
    with live.site.database.transaction("alpha") as conn:
        reader = Worklist(live.url, create_api_key(conn, "alpha", "reader"))
    assert reader.states() == [(UID, "SCHEDULED")]
    assert reader.create(OTHER).status_code == 403
    assert Worklist(live.url, "rm_x_y").send("GET", "workitems").status_code == 401
