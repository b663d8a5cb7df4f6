"""HL7 v2: what an ORU^R01 says to a real MLLP listener, and what becomes of each acknowledgement."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import hl7
import pytest
import trustme
from hl7.mllp import HL7StreamReader, HL7StreamWriter, start_hl7_server

from pipeline.errors import NotReached
from pipeline.ways_out.oru_message import oru_message
from pipeline.ways_out.send_oru import probe, send_oru
from pipeline.ways_out.told import Told
from tests.pipeline.ways_out.builders import (
    HOSTILE_TEXTS,
    NEGATIVE,
    NODULES,
    RADIOGRAPH,
    VIEW,
    destination,
    told,
)

Answer = Callable[[hl7.Message, HL7StreamWriter], Any]


@dataclass
class Listener:
    """A listener of the library `hl7`. messages: what came, parsed. answer: writes the acknowledgement."""

    answer: Answer
    encoding: str = "utf-8"
    port: int = 0
    messages: list[hl7.Message] = field(default_factory=list)

    async def take(self, reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                message = await reader.readmessage()
                self.messages.append(message)
                result = self.answer(message, writer)
                if asyncio.iscoroutine(result):
                    await result


def accept(message: hl7.Message, writer: HL7StreamWriter) -> None:
    writer.writemessage(message.create_ack("AA"))


@contextlib.contextmanager
def listening(
    answer: Answer = accept, encoding: str = "utf-8", tls: ssl.SSLContext | None = None
) -> Iterator[Listener]:
    listener = Listener(answer, encoding)
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def start() -> None:
        server = await start_hl7_server(
            listener.take, "127.0.0.1", 0, limit=1 << 24, encoding=encoding, encoding_errors="strict", ssl=tls
        )
        listener.port = server.sockets[0].getsockname()[1]
        started.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(5)
    try:
        yield listener
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


def send(
    listener: Listener, one: Told, pdf: bytes | None = None, tls: Any = None, **changes: Any
) -> hl7.Message:
    """Send it; returns the message as the listener read it."""
    target = destination("hl7", host="localhost" if tls else "127.0.0.1", port=listener.port, **changes)
    send_oru(oru_message(one, target, "RADMETER1", pdf), target, tls)
    return listener.messages[-1]


def rows(message: hl7.Message) -> list[tuple[str, str, str, str, str, str]]:
    """(type, what, sub-id, value, unit, status) of each OBX."""
    return [
        (
            str(one[2]),
            str(one[3][0][0]),
            str(one[4]),
            str(one[5]),
            str(one[6][0][0]) if str(one[6]) else "",
            str(one[11]),
        )
        for one in message.segments("OBX")
    ]


def test_a_result_is_one_order_with_the_conclusion_and_each_measurement() -> None:
    with listening() as listener:
        message = send(
            listener, told(report_url="https://portal.test/studies/1"), receiving_application="RIS",
            receiving_facility="HOSPITAL", patient_system="MPI",
        )  # fmt: skip
    header, order = message.segment("MSH"), message.segment("OBR")
    assert [str(header[number]) for number in (3, 4, 5, 6, 9, 11, 12, 18)] == [
        "RADMETER", "RADMETER1", "RIS", "HOSPITAL", "ORU^R01^ORU_R01", "P", "2.5.1", "UNICODE UTF-8",
    ]  # fmt: skip
    patient = message.segment("PID")
    assert str(patient[3]) == "P-42^^^MPI^MR"
    assert str(patient[5]) == "Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I"
    assert (str(patient[7]), str(patient[8])) == ("19580312", "M")
    assert [str(order[number]) for number in (3, 7, 18, 24, 25)] == ["A-1", "20261120", "A-1", "RAD", "P"]
    found = rows(message)
    assert found[0] == ("HD", "113014", "", "1.2.3", "", "P")
    assert found[1][:2] == ("TX", "19005-8")
    assert "AI result, not reviewed" in found[1][3]
    assert found[2] == ("RP", "18782-3", "", "https://portal.test/studies/1^RADMETER^TEXT^HTML", "", "P")
    of_first = {what: (kind, value, unit) for kind, what, sub_id, value, unit, _ in found if sub_id == "1"}
    assert of_first["786838002"] == ("CWE", "260373001^Detected^SCT", "")
    assert of_first["81827009"] == ("NM", "11", "mm")
    assert of_first["118565006"] == ("NM", "691.5", "mm3")
    assert of_first["111012"] == ("NM", "91", "%")
    assert of_first["RDE1301"] == ("CWE", "RDE1301.2^part-solid^99RADELEMENT", "")
    assert of_first["GUIDELINE_CATEGORY"] == ("ST", "4A", "")
    assert [str(one[1]) for one in message.segments("OBX")] == [str(n) for n in range(1, len(found) + 1)]
    assert {str(one[18]).split("^")[0] for one in message.segments("OBX")} == {"lung_nodule_ct 0.1.0"}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "P"),
        ({"reviewer": "Dr. Wu"}, "F"),
        ({"was_final": True}, "C"),
        ({"report": None, "event": "refused", "reason_text": "No axial series."}, "X"),
    ],
)
def test_the_status_stands_in_the_order_and_in_every_observation(
    changes: dict[str, Any], status: str
) -> None:
    with listening() as listener:
        message = send(listener, told(**changes))
    assert str(message.segment("OBR")[25]) == status
    assert {row[5] for row in rows(message)} == {status}


def test_what_stands_no_longer_is_taken_back() -> None:
    with listening() as listener:
        message = send(listener, told(reviewer="Dr. Wu", rejected=(2,), replaced_findings=3))
    assert {row[2]: row[5] for row in rows(message) if row[2]} == {"1": "F", "2": "D", "3": "D"}


def test_a_negative_result_a_radiograph_and_a_refusal_are_three_different_things() -> None:
    with listening() as listener:
        negative = rows(send(listener, told(report=NEGATIVE)))
        radiograph = rows(send(listener, told(report=RADIOGRAPH)))
        refusal = rows(send(listener, told(report=None, event="refused", reason_text="No axial series.")))
    assert ("CWE", "786838002", "1", "260415000^Not detected^SCT", "", "P") in negative
    assert [row[3] for row in radiograph if row[0] == "CWE"] == [
        "260373001^Detected^SCT",
        "260415000^Not detected^SCT",
    ]
    assert [row[0] for row in refusal] == ["HD", "TX"]
    assert "not a negative result" in refusal[1][3]


def test_the_report_lies_inside_as_base64_where_it_is_wanted() -> None:
    with listening() as listener:
        message = send(listener, told(), pdf=b"%PDF-1.7 " + bytes(range(256)) * 4000)
    (value,) = [one[5] for one in message.segments("OBX") if str(one[2]) == "ED"]
    assert [str(part) for part in value[0][:4]] == ["RADMETER", "AP", "PDF", "Base64"]
    assert base64.b64decode(str(value[0][4])) == b"%PDF-1.7 " + bytes(range(256)) * 4000


@pytest.mark.parametrize("character_set", ["UNICODE UTF-8", "GB 18030-2000"])
@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_texts_of_any_kind_neither_end_a_block_nor_begin_a_segment(text: str, character_set: str) -> None:
    hostile = told(
        patient_name=f"{text}^{text}=x", patient_id=text, accession_number=text, study_date=text, patient_sex=text,
        patient_birth_date=text, study_instance_uid=text, reviewer=text, missed=((text, 5.0, None),), report_url=text,
        report=replace(VIEW, findings=(replace(NODULES[0], label=text, category=text),)),
    )  # fmt: skip
    encoding = {"UNICODE UTF-8": "utf-8", "GB 18030-2000": "gb18030"}[character_set]
    with listening(encoding=encoding) as listener:
        message = send(listener, hostile, character_set=character_set, receiving_application=None)
    names = [str(one[0]) for one in message]
    assert names[:4] == ["MSH", "PID", "ORC", "OBR"]
    assert set(names[4:]) == {"OBX"}
    assert len(str(message)) < 60_000
    assert all(len(one) <= 20 for one in message.segments("OBX"))
    assert {len(repetition) for repetition in message.segment("PID")[5]} <= {0, 1, 8}


def test_escape_sequences_give_the_text_back() -> None:
    with listening() as listener:
        message = send(listener, told(patient_id="a|b^c&d~e\\f"))
    assert message.unescape(str(message.segment("PID")[3][0][0])) == "a|b^c&d~e\\f"


def say(*segments: str) -> Answer:
    """An answer of these segments; `{id}` is the control id of what came."""

    def answer(message: hl7.Message, writer: HL7StreamWriter) -> None:
        control_id = str(message.segment("MSH")[10])
        writer.writeblock("\r".join(one.format(id=control_id) for one in segments).encode())

    return answer


HEAD = "MSH|^~\\&|RIS|H|RADMETER|R|20261126||ACK|1|P|2.5.1"


@pytest.mark.parametrize(
    ("answer", "words", "is_refusal"),
    [
        (say(HEAD, "MSA|AE|{id}|no patient P\\T\\Q"), r"error in the message \(AE\): no patient P&Q", True),
        (say(HEAD, "MSA|AR|{id}", "ERR|||200|E||||unsupported event"), r"rejects .* \(AR\): unsupported", True),
        (say(HEAD, "MSA|AA|other"), "acknowledged another message", False),
        (say(HEAD, "MSA|AA"), "no acknowledgement", False),
        (say(HEAD, "MSA|ZZ|{id}"), "no acknowledgement", False),
        (say("hello"), "no acknowledgement", False),
        (say(""), "no acknowledgement", False),
        (lambda _, writer: writer.write(b"HTTP/1.1 400 Bad Request\x1c\r"), "no.* MLLP block|MLLP block", False),
        (lambda _, writer: writer.write(b"\x0b" + b"x" * 10_000_000), "more than we take", False),
        (lambda _, writer: writer.close(), "without an acknowledgement", False),
        (lambda *_: asyncio.sleep(30), "did not answer in time", False),
    ],
)  # fmt: skip
def test_only_an_acknowledgement_of_this_message_counts(answer: Answer, words: str, is_refusal: bool) -> None:
    started = time.monotonic()
    with listening(answer) as listener, pytest.raises(NotReached, match=words) as raised:
        send(listener, told(), response_timeout_s=1.0)
    assert time.monotonic() - started < 5
    assert raised.value.is_refusal == is_refusal


def test_a_repeat_is_the_same_message_and_another_event_another() -> None:
    target = destination("hl7", host="x", port=1)
    first = oru_message(told(), target, "R", None)
    assert oru_message(told(), target, "R", None) == first
    assert oru_message(told(message_uid="2.25.9"), target, "R", None).control_id != first.control_id
    assert len(first.control_id) <= 20


def test_over_tls_the_receiver_must_prove_who_it_is() -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    trusting, other = ssl.create_default_context(), ssl.create_default_context()
    authority.configure_trust(trusting)
    stranger.configure_trust(other)
    with listening(tls=server) as listener:
        assert str(send(listener, told(), tls=trusting).segment("MSH")[9]) == "ORU^R01^ORU_R01"
        with pytest.raises(NotReached, match="certificate is not trusted"):
            send(listener, told(), tls=other)


def test_whether_something_listens_is_asked_without_a_message(free_port: int) -> None:
    with listening() as listener:
        probe(destination("hl7", host="127.0.0.1", port=listener.port), None)
        assert listener.messages == []
    with pytest.raises(NotReached, match="no connection"):
        probe(destination("hl7", host="127.0.0.1", port=free_port), None)
