"""PDUs read and written, PS3.8 section 9.3."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_gateway.errors import InvalidPDU
from dicom_gateway.upper_layer import (
    AnsweredContext,
    encode_abort,
    encode_associate_accept,
    encode_associate_reject,
    encode_command,
    encode_release_reply,
    parse_associate_request,
    parse_header,
    presentation_data_values,
)
from tests.dicom_peers import RawPeer

CT, EXPLICIT = RawPeer.CT, RawPeer.EXPLICIT


def body_of_request(*contexts: tuple[str, str]) -> bytes:
    return RawPeer.request(*contexts)[6:]


class TestAssociateRequest:
    def test_its_titles_contexts_and_maximum_length_are_read(self) -> None:
        request = parse_associate_request(memoryview(body_of_request((CT, EXPLICIT), (CT, "1.2.3"))))
        assert (request.called_ae_title, request.calling_ae_title) == ("RADMETER", "CT01")
        assert request.application_context == "1.2.840.10008.3.1.1.1"
        assert [context.context_id for context in request.contexts] == [1, 3]
        assert request.contexts[1].transfer_syntaxes == ("1.2.3",)
        assert request.user_information.pdu_length_max == 16384

    @pytest.mark.parametrize("length", [0, 1, 67])
    def test_one_that_is_cut_off_is_refused(self, length: int) -> None:
        with pytest.raises(InvalidPDU):
            parse_associate_request(memoryview(body_of_request()[:length]))

    def test_an_item_longer_than_the_pdu_is_refused(self) -> None:
        body = body_of_request() + struct.pack(">BxH", 0x20, 500)
        with pytest.raises(InvalidPDU):
            parse_associate_request(memoryview(body))

    def test_a_context_identifier_used_twice_is_refused(self) -> None:
        item = RawPeer.item(0x20, bytes((1, 0, 0, 0)))
        with pytest.raises(InvalidPDU):
            parse_associate_request(memoryview(body_of_request() + item))

    def test_thousands_of_transfer_syntaxes_in_a_context_are_refused(self) -> None:
        syntaxes = RawPeer.item(0x40, b"1") * 5000
        item = RawPeer.item(0x20, bytes((3, 0, 0, 0)) + syntaxes)
        with pytest.raises(InvalidPDU):
            parse_associate_request(memoryview(body_of_request() + item))

    @settings(max_examples=500, deadline=None)
    @given(st.binary(max_size=400))
    def test_any_bytes_are_read_or_refused_by_name(self, tail: bytes) -> None:
        for body in (tail, body_of_request()[:68] + tail, body_of_request() + tail):
            with contextlib.suppress(InvalidPDU):
                parse_associate_request(memoryview(body))

    @settings(max_examples=500, deadline=None)
    @given(st.integers(0, len(body_of_request()) - 1), st.integers(0, 255))
    def test_any_changed_byte_is_read_or_refused_by_name(self, position: int, value: int) -> None:
        body = bytearray(body_of_request())
        body[position] = value
        with contextlib.suppress(InvalidPDU):
            parse_associate_request(memoryview(body))


class TestPresentationDataValues:
    def test_several_values_share_a_pdu(self) -> None:
        body = RawPeer.fragment(3, b"abc")[6:] + RawPeer.fragment(2, b"", context_id=5)[6:]
        values = [
            (number, control, bytes(data))
            for number, control, data in presentation_data_values(memoryview(body))
        ]
        assert values == [(1, 3, b"abc"), (5, 2, b"")]

    @pytest.mark.parametrize(
        "body", [b"", b"\0", b"\0\0\0\1\1\0", b"\0\0\0\x09\1\3ab", b"\xff\xff\xff\xff\1\3"]
    )
    def test_lengths_that_do_not_add_up_are_refused(self, body: bytes) -> None:
        with pytest.raises(InvalidPDU):
            list(presentation_data_values(memoryview(body)))

    @settings(max_examples=500, deadline=None)
    @given(st.binary(max_size=100))
    def test_any_bytes_are_read_or_refused_by_name(self, body: bytes) -> None:
        with contextlib.suppress(InvalidPDU):
            assert sum(len(data) + 6 for _, _, data in presentation_data_values(memoryview(body))) == len(
                body
            )


class TestWrittenPdus:
    @pytest.mark.parametrize(
        "pdu",
        [
            encode_associate_reject(2, 3, 2),
            encode_release_reply(),
            encode_abort(2, 6),
            encode_associate_accept(
                parse_associate_request(memoryview(body_of_request())),
                (AnsweredContext(1, 0, EXPLICIT),),
                65536,
                "1.2.3",
                "TEST",
            ),
        ],
    )
    def test_their_length_field_is_their_length(self, pdu: bytes) -> None:
        assert parse_header(pdu)[1] == len(pdu) - 6

    @given(st.binary(min_size=1, max_size=600), st.sampled_from([0, 7, 16, 100, 16384]))
    def test_a_command_is_cut_to_what_the_peer_reads(self, command: bytes, pdu_length_max: int) -> None:
        data, collected = encode_command(3, command, pdu_length_max), b""
        while data:
            _, length = parse_header(data)
            assert not pdu_length_max or length <= pdu_length_max
            ((context_id, control, fragment),) = presentation_data_values(memoryview(data[6 : 6 + length]))
            collected += bytes(fragment)
            data = data[6 + length :]
            assert (context_id, control) == (3, 1 if data else 3)
        assert collected == command
