"""Command sets, PS3.7; pydicom is the independent reader."""

from __future__ import annotations

import contextlib
import io

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.filereader import read_dataset

from dicom_gateway.command_set import C_ECHO_RQ, C_STORE_RQ, encode_response, parse_command
from dicom_gateway.errors import InvalidMessage
from tests.dicom_peers import RawPeer


def as_pydicom(command_set: bytes) -> pydicom.Dataset:
    return read_dataset(io.BytesIO(command_set), is_implicit_VR=True, is_little_endian=True)


def test_a_store_request_is_read() -> None:
    command = parse_command(RawPeer.command(C_STORE_RQ, RawPeer.CT, "1.2.345"))
    assert (command.command_field, command.message_id, command.has_data_set) == (C_STORE_RQ, 7, True)
    assert (command.sop_class_uid, command.sop_instance_uid) == (RawPeer.CT, "1.2.345")


def test_an_echo_request_has_no_data_set() -> None:
    command = parse_command(RawPeer.command(C_ECHO_RQ, RawPeer.VERIFICATION, has_data_set=False))
    assert not command.has_data_set
    assert command.sop_instance_uid == ""


def test_a_response_reads_back_with_all_its_attributes() -> None:
    command = parse_command(RawPeer.command(C_STORE_RQ, RawPeer.CT, "1.2.345"))
    response = as_pydicom(encode_response(command, 0xA900, "SOP instance of command and data set differ"))
    assert response.CommandField == 0x8001
    assert response.MessageIDBeingRespondedTo == 7
    assert response.Status == 0xA900
    assert response.AffectedSOPInstanceUID == "1.2.345"
    assert response.CommandDataSetType == 0x0101
    assert response.ErrorComment == "SOP instance of command and data set differ"
    encoded = encode_response(command, 0)
    assert as_pydicom(encoded).CommandGroupLength == len(encoded) - 12


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0",
        RawPeer.command(1, RawPeer.CT)[:-1],
        RawPeer.command(1, RawPeer.CT) + RawPeer.command(1, RawPeer.CT),
        b"\x08\0\x16\0\x02\0\0\x001.",
    ],
)
def test_what_is_not_a_command_set_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        parse_command(data)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=100), st.integers(0, 80), st.integers(0, 255))
def test_any_bytes_are_read_or_refused_by_name(tail: bytes, position: int, value: int) -> None:
    changed = bytearray(RawPeer.command(1, RawPeer.CT, "1.2.3") + tail)
    changed[position] = value
    for data in (tail, bytes(changed)):
        with contextlib.suppress(InvalidMessage):
            encode_response(parse_command(data), 0)
