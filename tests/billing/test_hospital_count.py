"""Lists of a hospital are read within bounds; what is hostile or damaged is refused with its row, and not logged."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from billing.books import hospital_count
from billing.books.books_errors import HospitalCountRefused
from billing.books.hospital_count import ReadingRules, request_token
from tests.billing.hospital_lists import HEADER, HL7, KEY, charge_item, fhir_bundle, hl7_message

HOSTILE = {
    "empty": ("csv", b"", "no rows"),
    "only a heading": ("csv", HEADER.encode(), "no rows"),
    "no column": ("csv", b"a,b\n1,2\n", "no column token, code, day"),
    "not text": ("csv", b"\xff\xfe\x00", "not text in utf-8"),
    "quantity": ("csv", f"{HEADER}A,CT-AI-1,2026-11-10,one\n".encode(), "row 2: the quantity"),
    "infinite": ("csv", f"{HEADER}A,CT-AI-1,2026-11-10,Infinity\n".encode(), "row 2: the quantity"),
    "exponent": ("csv", f"{HEADER}A,CT-AI-1,2026-11-10,1e999999999\n".encode(), "row 2: the quantity"),
    "many digits": ("csv", f"{HEADER}A,CT-AI-1,2026-11-10,{'9' * 10000}\n".encode(), "row 2: the quantity"),
    "day": ("csv", f"{HEADER}A,CT-AI-1,10/11/2026,1\n".encode(), "row 2: the day"),
    "short row": ("csv", f"{HEADER}A\n".encode(), "row 2: needs a token and a code"),
    "long token": ("csv", f"{HEADER}{'A' * 500},X,2026-11-10,1\n".encode(), "row 2: needs a token"),
    "huge field": ("csv", f"{HEADER}{'A' * 200_000},X,2026-11-10,1\n".encode(), "not CSV"),
    "nul": ("csv", b"token,code,day\n\x00,\x00,\x00\n", "row 2"),
    "no hl7": ("hl7", b"hello", "begins with MSH"),
    "same delimiters": ("hl7", HL7.replace("|^~\\&", "|^^\\&").encode(), "message 1: not HL7 v2"),
    "other message": ("hl7", b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\rFT1|1\r", "no rows"),
    "header alone": ("hl7", b"MSH", "not HL7"),
    "short FT1": ("hl7", b"MSH|^~\\&|A|B|C|D|2026||DFT^P03|1|P|2.5\rFT1|1|||20261110||CG|X\r", "needs a token"),
    "hl7 day": ("hl7", hl7_message(1, ("A", "X", "2026", "CG", "1")).encode(), "row 1: the day"),
    "no json": ("fhir", b"{", "not JSON"),
    "deep json": ("fhir", b"[" * 100_000, "not JSON"),
    "other json": ("fhir", b"[]", "not a FHIR Bundle"),
    "entry": ("fhir", b'{"resourceType": "Bundle", "entry": {"a": 1}}', "no list"),
    "nothing": ("fhir", b'{"resourceType": "Bundle", "entry": [1, null, {"resource": 5}]}', "no rows"),
    "no code": ("fhir", fhir_bundle(charge_item("A", "2026-11-10", code={"text": "CT"})).encode(), "entry 1: needs"),
    "status": ("fhir", fhir_bundle(charge_item("A", "2026-11-10", status=[1])).encode(), "entry 1: not a FHIR"),
    "fhir quantity": (
        "fhir",
        fhir_bundle(charge_item("A", "2026-11-10", quantity={"value": 1e30})).encode(),
        "row 1: the quantity",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_list_is_refused_with_its_row(name: str) -> None:
    style, content, message = HOSTILE[name]
    with pytest.raises(HospitalCountRefused, match=message):
        hospital_count.read(content, style, ReadingRules("UTC", key=KEY))


def test_a_damaged_list_ends_in_no_log(caplog) -> None:
    """The names of patients are in it, and errors end in logs."""
    caplog.set_level("DEBUG")
    said = []
    for cut in range(0, len(HL7), 7):
        try:
            hospital_count.read((HL7[:cut] + HL7[cut + 9 :]).encode(), "hl7", ReadingRules("UTC", key=KEY))
        except HospitalCountRefused as error:
            said.append(str(error))
    assert said
    assert not [text for text in said if "Doe" in text or "ACC" in text]
    assert caplog.text == ""


def test_messages_in_a_batch_or_in_frames_of_mllp_are_read_alike() -> None:
    plain = hospital_count.read(HL7.encode(), "hl7", ReadingRules("UTC", key=KEY))
    batch = "FHS|^~\\&\rBHS|^~\\&\r" + HL7 + "BTS|5\rFTS|1\r"
    framed = HL7.replace("MSH|", "\x0bMSH|").replace("\r\x0b", "\x1c\r\x0b") + "\x1c\r"
    for text in (batch, framed, HL7.replace("\r", "\r\n")):
        assert hospital_count.read(text.encode(), "hl7", ReadingRules("UTC", key=KEY)) == plain


def test_the_size_of_a_list_is_bounded(monkeypatch) -> None:
    row = "A,CT-AI-1,2026-11-10,1\n"
    monkeypatch.setattr(hospital_count, "ROWS_MAX", 3)
    assert len(hospital_count.read((HEADER + row * 3).encode(), "csv", ReadingRules("UTC"))) == 3
    with pytest.raises(HospitalCountRefused, match="more than 3 rows"):
        hospital_count.read((HEADER + row * 4).encode(), "csv", ReadingRules("UTC"))
    monkeypatch.setattr(hospital_count, "FILE_BYTES_MAX", 10)
    with pytest.raises(HospitalCountRefused, match="longer than 10 bytes"):
        hospital_count.read((HEADER + row).encode(), "csv", ReadingRules("UTC"))


def test_a_list_in_the_hospitals_encoding_with_its_own_column_names() -> None:
    content = "检查号,项目,日期\nACC1,肺结节,2026-11-10\n".encode("gb18030")
    rules = ReadingRules(
        "Asia/Shanghai",
        key=KEY,
        encoding="gb18030",
        columns={"token": "检查号", "code": "项目", "day": "日期"},
    )
    (item,) = hospital_count.read(content, "csv", rules)
    assert (item.code, item.day, item.quantity) == ("肺结节", date(2026, 11, 10), Decimal(1))
    assert item.token == request_token(KEY, "ACC1")
