"""The data sets of requests; pydicom is the independent writer and reader, hostile bytes are refused by name."""

from __future__ import annotations

import contextlib
import io
import struct
import time
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from dicom_gateway import procedure_step, storage_commitment
from dicom_gateway.errors import RequestRefused
from dicom_gateway.service_errors import AttributeMissing, AttributeValueInvalid, RequestUnreadable
from dicom_gateway.storage_commitment import CommitmentRequest, CommitmentResult, Reference

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
SYNTAXES = pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def encoded(dataset: Dataset, syntax: str) -> bytes:
    target = pydicom.filebase.DicomBytesIO()
    target.is_little_endian, target.is_implicit_VR = True, syntax == IMPLICIT
    write_dataset(target, dataset)
    return target.getvalue()


def request(*references: tuple[str, str], transaction: str = "1.2.7", undefined: bool = False) -> Dataset:
    dataset = Dataset()
    dataset.TransactionUID = transaction
    dataset.ReferencedSOPSequence = []
    for sop_class, instance in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        item.is_undefined_length_sequence_item = undefined
        dataset.ReferencedSOPSequence.append(item)
    dataset["ReferencedSOPSequence"].is_undefined_length = undefined
    return dataset


class TestCommitment:
    @SYNTAXES
    @pytest.mark.parametrize("undefined", [True, False])
    def test_a_request_is_read(self, syntax: str, undefined: bool) -> None:
        dataset = request((CT, "1.2.3"), (MR, "1.2.4"), (CT, "1.2.3"), undefined=undefined)
        dataset.StorageMediaFileSetID = "TAPE"
        dataset.add_new(0x00091001, "UN", b"x" * 1000)
        found = storage_commitment.read_request(encoded(dataset, syntax), syntax)
        assert found == CommitmentRequest("1.2.7", (Reference(CT, "1.2.3"), Reference(MR, "1.2.4")))

    @SYNTAXES
    @pytest.mark.parametrize(
        "result",
        [
            CommitmentResult("1.2.7", (Reference(CT, "1.2.3"),), {}),
            CommitmentResult("1.2.7", (), {Reference(CT, "1.2.345"): 0x0112}),
            CommitmentResult(
                "1.2.7",
                (Reference(CT, "1.2.3"),),
                {Reference(MR, "1.2.45"): 0x0119, Reference(CT, "1.2"): 0x0131},
            ),
        ],
    )
    def test_a_result_is_written_and_read(self, syntax: str, result: CommitmentResult) -> None:
        data = storage_commitment.encode_result(result, syntax)
        assert storage_commitment.read_result(data, syntax) == result
        theirs = read_dataset(io.BytesIO(data), is_implicit_VR=syntax == IMPLICIT, is_little_endian=True)
        assert theirs.TransactionUID == "1.2.7"
        failed = {
            one.ReferencedSOPInstanceUID: one.FailureReason for one in theirs.get("FailedSOPSequence", [])
        }
        assert failed == {one.sop_instance_uid: reason for one, reason in result.failed.items()}
        assert encoded(theirs, syntax) == data

    @pytest.mark.parametrize(
        ("dataset", "refusal"),
        [
            (request(), AttributeMissing),
            (request((CT, "1.2.3"), transaction=""), AttributeMissing),
            (request((CT, "../../etc/passwd")), AttributeValueInvalid),
            (request((CT, "")), AttributeValueInvalid),
            (request(("1" * 65, "1.2.3")), AttributeValueInvalid),
            (request((CT, "1" * 300)), RequestUnreadable),
            (Dataset(), AttributeMissing),
        ],
    )
    def test_what_is_no_request_is_refused_by_name(
        self, dataset: Dataset, refusal: type[RequestRefused]
    ) -> None:
        with pytest.raises(refusal):
            storage_commitment.read_request(encoded(dataset, EXPLICIT), EXPLICIT)

    def test_forty_thousand_references_take_seconds_at_most(self) -> None:
        references = b"".join(
            struct.pack("<HHI", 0xFFFE, 0xE000, 16 + len(CT) + 1 + 10)
            + struct.pack("<HH2sH", 8, 0x1150, b"UI", len(CT) + 1) + CT.encode() + b"\0"
            + struct.pack("<HH2sH", 8, 0x1155, b"UI", 10) + f"1.2.{number:06d}".encode()
            for number in range(40_000)
        )  # fmt: skip
        data = struct.pack("<HH2sH", 8, 0x1195, b"UI", 4) + b"1.27"
        data += struct.pack("<HH2sHI", 8, 0x1199, b"SQ", 0, len(references)) + references
        began = time.process_time()
        assert len(storage_commitment.read_request(data, EXPLICIT).references) == 40_000
        assert time.process_time() - began < 10


class TestHostile:
    def read(self, data: bytes, syntax: str = IMPLICIT) -> None:
        storage_commitment.read_request(data, syntax)

    def test_deep_nesting_is_refused_without_recursion_to_the_end(self) -> None:
        for syntax, opening in (
            (IMPLICIT, struct.pack("<HHIHHI", 8, 0x1199, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)),
            (
                EXPLICIT,
                struct.pack("<HH2sHIHHI", 8, 0x1199, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF),
            ),
        ):
            with pytest.raises(RequestUnreadable, match="nest deeper"):
                self.read(opening * 5000, syntax)

    def test_a_sequence_of_endless_empty_items_is_bounded(self) -> None:
        head = struct.pack("<HHI", 8, 0x1199, 0xFFFFFFFF)
        began = time.process_time()
        with pytest.raises(RequestUnreadable, match="more than"):
            self.read(head + struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 500_000)
        assert time.process_time() - began < 10

    @pytest.mark.parametrize(
        "data",
        [
            b"\0",
            struct.pack("<HHI", 8, 0x1195, 0x7FFFFFFF),
            struct.pack("<HHI", 8, 0x1199, 0xFFFFFFFF),
            struct.pack("<HHI", 8, 0x1199, 8) + struct.pack("<HHI", 0xFFFE, 0xE000, 100),
            struct.pack("<HHI", 8, 0x1199, 8) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0),
            struct.pack("<HHI", 8, 0x1199, 12) + bytes(12),
        ],
    )
    def test_lengths_that_do_not_add_up_are_refused(self, data: bytes) -> None:
        with pytest.raises(RequestUnreadable):
            self.read(data)

    @SYNTAXES
    @settings(max_examples=500, deadline=None)
    @given(data=st.binary(max_size=300), position=st.integers(0, 200), value=st.integers(0, 255))
    def test_any_bytes_are_read_or_refused_by_name(
        self, syntax: str, data: bytes, position: int, value: int
    ) -> None:
        changed = bytearray(encoded(request((CT, "1.2.3"), (MR, "1.2.4"), undefined=True), syntax))
        changed[position % len(changed)] = value
        readers: list[Any] = [storage_commitment.read_request, storage_commitment.read_result]
        for one in (data, bytes(changed), bytes(changed) + data):
            for reader in readers:
                with contextlib.suppress(RequestRefused):
                    reader(one, syntax)
            for step_reader in (procedure_step.read_step, procedure_step.read_change):
                with contextlib.suppress(RequestRefused):
                    step_reader(one, syntax, "1.2.3")
