"""One fuzzing harness for each parser that reads what a peer sends.

    python tests/fuzz/harness.py TARGET [options of libFuzzer] [folder of seeds]

A target lets pass what it is allowed to raise, and breaks on anything else or on a broken promise.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["billing", "dicom_gateway", "hl7", "mt940", "pycamt", "study"]):
    from billing.bank.line import LINES_MAX, TEXT_LENGTH_MAX, digests
    from billing.bank.read_camt import read_camt
    from billing.bank.read_csv import CsvForm, read_csv
    from billing.bank.read_mt940 import read_mt940
    from billing.books import hospital_count
    from billing.books.books_errors import HospitalCountRefused
    from billing.cash.payment_errors import BankFileRefused
    from dicom_gateway import procedure_step, storage_commitment
    from dicom_gateway.command_set import encode_response, parse_command
    from dicom_gateway.counters import Counters
    from dicom_gateway.data_set_head import read_head
    from dicom_gateway.dimse_service import DimseService
    from dicom_gateway.errors import (
        DataSetHeadUnreadable,
        InvalidMessage,
        InvalidPDU,
        MultipartMalformed,
        ProtocolViolation,
        RequestRefused,
    )
    from dicom_gateway.instance_store import InstanceStore
    from dicom_gateway.multipart_related import MultipartParser, PartBegins, PartEnds
    from dicom_gateway.negotiation import accepted_contexts, answer_contexts, answer_roles
    from dicom_gateway.peers import Peer
    from dicom_gateway.transfer_syntaxes import (
        EXPLICIT_VR_BIG_ENDIAN,
        EXPLICIT_VR_LITTLE_ENDIAN,
        IMPLICIT_VR_LITTLE_ENDIAN,
    )
    from dicom_gateway.upper_layer import (
        encode_associate_accept,
        parse_associate_request,
        presentation_data_values,
    )

from tests.dicom_peers import MemoryDesk, MemorySink, RawPeer

_SYNTAXES = (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)


def associate_request(data: bytes) -> None:
    """What is read can be answered, and the answer is as long as it says."""
    with contextlib.suppress(InvalidPDU):
        request = parse_associate_request(memoryview(data))
        answers = answer_contexts(request, has_desk=True)
        roles = answer_roles(request, answers)
        accepted_contexts(request, answers, roles)
        accept = encode_associate_accept(request, answers, 16384, "1.2.3", "TEST", roles)
        assert len(accept) == 6 + int.from_bytes(accept[2:6], "big")
        assert len(accept) < 64 * 1024


def data_values(data: bytes) -> None:
    """All bytes belong to a value, none to two."""
    with contextlib.suppress(InvalidPDU):
        assert sum(len(value) + 6 for _, _, value in presentation_data_values(memoryview(data))) == len(data)


def command(data: bytes) -> None:
    """What is read has a response that reads back."""
    with contextlib.suppress(InvalidMessage):
        request = parse_command(data)
        response = parse_command(encode_response(request, 0x0110, "why", 0xA710))
        assert response.is_response
        assert (response.sop_class_uid, response.sop_instance_uid) == (
            request.sop_class_uid,
            request.sop_instance_uid,
        )
        if not request.is_response:
            assert (response.status, response.message_id) == (0x0110, request.message_id)


def head(data: bytes) -> None:
    """Values are short, and nothing is read beyond the data set."""

    def read_at(offset: int, count: int) -> bytes:
        assert 0 <= offset <= len(data)
        return data[offset : offset + count]

    for syntax in _SYNTAXES:
        with contextlib.suppress(DataSetHeadUnreadable):
            found = read_head(read_at, len(data), syntax)
            assert len(found.sop_instance_uid) + len(found.study_instance_uid) <= 512


def service_request(data: bytes) -> None:
    """A result that is read is written and read as the same."""
    for syntax in _SYNTAXES[:2]:
        with contextlib.suppress(RequestRefused):
            request = storage_commitment.read_request(data, syntax)
            assert request.references
        with contextlib.suppress(RequestRefused):
            result = storage_commitment.read_result(data, syntax)
            again = storage_commitment.read_result(storage_commitment.encode_result(result, syntax), syntax)
            assert again == result
        for read in (procedure_step.read_step, procedure_step.read_change):
            with contextlib.suppress(RequestRefused):
                read(data, syntax, "1.2.3")


@functools.cache
def _store() -> tuple[InstanceStore, Path]:
    root = Path(tempfile.mkdtemp(prefix="radmeter-fuzz-"))
    return InstanceStore(root, 0, durable=False), root


def messages(data: bytes) -> None:
    """Fragments in any order, as PDUs would bring them: answers, or the end of the association, and no file left."""
    store, root = _store()
    body = RawPeer.request(*((uid, EXPLICIT_VR_LITTLE_ENDIAN) for uid in _CLASSES))[6:]
    request = parse_associate_request(memoryview(body))
    contexts = accepted_contexts(request, answer_contexts(request, has_desk=True), ())
    sink = MemorySink()
    service = DimseService(
        Peer("clinic", "CT01"), 1, contexts, 16384, 1 << 20, store, sink, Counters(), MemoryDesk()
    )
    with contextlib.suppress(ProtocolViolation):
        for context_id, control, fragment in presentation_data_values(memoryview(data)):
            service.take(context_id, control, fragment)
        while service.has_request:
            assert service.next_request()
    service.close()
    assert list(root.rglob("*.part")) == []


def _taken_apart(data: bytes, piece_bytes: int) -> tuple[list[tuple[dict[str, str], bytes, bool]], bool]:
    """Each part as (headers, content, whether it ended), and whether the body is well formed."""
    parts: list[tuple[dict[str, str], bytes, bool]] = []
    parser = MultipartParser("frontier")
    try:
        for start in range(0, len(data), piece_bytes):
            for event in parser.feed(data[start : start + piece_bytes]):
                if isinstance(event, PartBegins):
                    assert not parts or parts[-1][2], "one part ends before the next begins"
                    parts.append((dict(event.headers), b"", False))
                    continue
                headers, content, has_ended = parts[-1]
                assert not has_ended
                is_end = isinstance(event, PartEnds)
                parts[-1] = (headers, content if is_end else content + bytes(event), is_end)
        parser.finish()
    except MultipartMalformed:
        return parts, False
    return parts, True


def multipart(data: bytes) -> None:
    """However the body is cut into pieces, its parts are the same; no content holds the boundary."""
    piece_bytes, body = 1 + data[0] % 64 if data else 1, data[1:]
    parts, is_whole = _taken_apart(body, max(1, len(body)))
    in_pieces, is_whole_in_pieces = _taken_apart(body, piece_bytes)
    assert is_whole == is_whole_in_pieces
    if is_whole:
        assert in_pieces == parts
        assert all(has_ended for _, _, has_ended in parts)
    for _, content, _ in parts + in_pieces:
        assert b"\r\n--frontier" not in content


def hospital_list(data: bytes) -> None:
    """The first byte chooses CSV, HL7 v2 or FHIR; whatever is read is bounded, and has a token of ours."""
    style, content = ("csv", "hl7", "fhir")[data[0] % 3] if data else "csv", data[1:]
    with contextlib.suppress(HospitalCountRefused):
        for item in hospital_count.read(
            content, style, hospital_count.ReadingRules("Asia/Shanghai", key=b"k")
        ):
            assert hospital_count.is_opaque(item.token)
            assert abs(item.quantity) < 10**12


_BANK_FILES = (
    read_camt,
    read_mt940,
    functools.partial(read_csv, form=CsvForm("6222", "CNY")),
    functools.partial(read_csv, form=CsvForm("6222", "EUR", decimal_mark=",", encoding="gb18030")),
    functools.partial(read_csv, form=CsvForm("6222", "JPY", encoding="utf-16")),
)


def bank_file(data: bytes) -> None:
    """The first byte chooses the form. A file is read whole or refused; a line moves money and says little."""
    read, content = (_BANK_FILES[data[0] % 5], data[1:]) if data else (read_camt, data)
    with contextlib.suppress(BankFileRefused):
        lines = read(content)
        assert len(lines) <= LINES_MAX
        assert len({digest for digest, _ in digests(lines)}) == len(lines)
        for line in lines:
            assert line.amount
            assert line.charges.amount_minor >= 0
            for text in (line.remittance, line.counterparty_name, line.account, line.bank_reference):
                assert len(text) <= TEXT_LENGTH_MAX
                assert text.isprintable() or not any(mark in text for mark in "\0\r\n\t")


_CLASSES = (
    RawPeer.CT,
    "1.2.840.10008.1.20.1",
    "1.2.840.10008.3.1.2.3.3",
    RawPeer.VERIFICATION,
)
TARGETS = {
    one.__name__: one
    for one in (
        associate_request,
        data_values,
        command,
        head,
        service_request,
        messages,
        multipart,
        hospital_list,
        bank_file,
    )
}

if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
