"""What a requestor proposes beside presentation contexts, and what we make of it (PS3.7 annex D.3.3)."""

from __future__ import annotations

import contextlib
import logging
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom import AE
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.presentation import build_context

from dicom_gateway.errors import InvalidPDU
from dicom_gateway.negotiation import accepted_contexts, answer_contexts, answer_roles
from dicom_gateway.upper_layer import encode_associate_accept, parse_associate_request
from dicom_gateway.user_information import RoleSelection, parse_user_information
from tests.dicom_harm import assert_unharmed, rss_bytes
from tests.dicom_peers import RawPeer, RunningAcceptor

COMMITMENT, PROCEDURE_STEP = "1.2.840.10008.1.20.1", "1.2.840.10008.3.1.2.3.3"
SECRET = "correct-horse-battery"


def item(item_type: int, value: bytes) -> bytes:
    return RawPeer.item(item_type, value)


def role(uid: str, scu: int, scp: int) -> bytes:
    return item(0x54, struct.pack(">H", len(uid)) + uid.encode() + bytes((scu, scp)))


def identity(kind: int, primary: bytes, secondary: bytes = b"", wants_response: int = 1) -> bytes:
    fields = b"".join(struct.pack(">H", len(one)) + one for one in (primary, secondary))
    return item(0x58, bytes((kind, wants_response)) + fields)


def request_with(sub_items: bytes, *contexts: tuple[str, str]) -> bytes:
    """An A-ASSOCIATE-RQ with more user information."""
    plain = RawPeer.request(*contexts)[6:]
    start = plain.rindex(b"\x51\x00\x00\x04") - 4
    user = plain[start + 4 :] + sub_items
    return RawPeer.pdu(1, plain[:start] + item(0x50, user))


def walk(data: bytes) -> list[tuple[int, bytes]]:
    """(type, value) of each item."""
    found, position = [], 0
    while position < len(data):
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        found.append((data[position], data[position + 4 : position + 4 + length]))
        position += 4 + length
    return found


def sub_items_of(answer: bytes) -> dict[int, list[bytes]]:
    """The user information sub-items of an A-ASSOCIATE-AC body."""
    (user,) = [value for kind, value in walk(answer[68:]) if kind == 0x50]
    sub_items: dict[int, list[bytes]] = {}
    for kind, value in walk(user):
        sub_items.setdefault(kind, []).append(value)
    return sub_items


class TestUserInformation:
    def test_who_wrote_the_requestor_is_kept(self, acceptor: RunningAcceptor) -> None:
        with RawPeer(acceptor.port) as peer:
            peer.send(request_with(item(0x55, b"DCM4CHE_5.33 \0")))
            assert peer.read_pdu()[0] == 2
            peer.release()
        (requestor,) = acceptor.sink.requestors
        assert requestor.implementation_class_uid == "1.2.3"
        assert requestor.implementation_version_name == "DCM4CHE_5.33"
        assert requestor.pdu_length_max == 16384

    @pytest.mark.parametrize("name", [b"\0" * 16, b"\xff\x1b[31mRED", b"x" * 60_000])
    def test_a_hostile_version_name_becomes_plain_text(self, name: bytes) -> None:
        found = parse_user_information(memoryview(item(0x55, name))).implementation_version_name
        assert found.isprintable()
        assert len(found) <= 16

    def test_the_operations_window_is_declined_and_extended_negotiation_is_not_answered(
        self, acceptor: RunningAcceptor
    ) -> None:
        proposed = item(0x53, struct.pack(">HH", 0, 0))
        proposed += item(0x56, struct.pack(">H", len(RawPeer.CT)) + RawPeer.CT.encode() + b"\2\0\1\1\0\0")
        proposed += item(0x57, b"\0" * 40) + item(0x7F, b"unknown")
        with RawPeer(acceptor.port) as peer:
            peer.send(request_with(proposed))
            pdu_type, answer = peer.read_pdu()
            peer.release()
        assert pdu_type == 2
        sub_items = sub_items_of(answer)
        assert sub_items[0x53] == [struct.pack(">HH", 1, 1)]
        assert set(sub_items) == {0x51, 0x52, 0x53, 0x55}

    def test_no_window_is_answered_where_none_is_proposed(self, acceptor: RunningAcceptor) -> None:
        with RawPeer(acceptor.port) as peer:
            assert set(sub_items_of(peer.associate())) == {0x51, 0x52, 0x55}
            peer.release()

    def test_a_requestor_that_proposes_everything_is_served(self, acceptor: RunningAcceptor) -> None:
        """pynetdicom reads our answer: it would not associate with one that breaks the rules."""
        window = AsynchronousOperationsWindowNegotiation()
        window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 8
        extended = SOPClassExtendedNegotiation()
        extended.sop_class_uid, extended.service_class_application_information = RawPeer.CT, b"\2\0\1\1\0\0"
        common = SOPClassCommonExtendedNegotiation()
        common.sop_class_uid, common.service_class_uid = RawPeer.CT, "1.2.840.10008.4.2"
        user = UserIdentityNegotiation()
        user.user_identity_type, user.primary_field, user.secondary_field = 2, b"somebody", SECRET.encode()
        roles = SCP_SCU_RoleSelectionNegotiation()
        roles.sop_class_uid, roles.scu_role, roles.scp_role = RawPeer.CT, True, True
        proposals: list[Any] = [window, extended, common, user, roles]
        link = AE(ae_title="CT01").associate(
            "127.0.0.1",
            acceptor.port,
            contexts=[build_context(RawPeer.CT)],
            ae_title="RADMETER",
            ext_neg=proposals,
        )
        assert link.is_established
        assert (link.accepted_contexts[0].as_scu, link.accepted_contexts[0].as_scp) == (True, False)
        link.release()


class TestUserIdentity:
    @pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 200])
    def test_it_is_neither_answered_nor_logged_nor_kept(
        self, acceptor: RunningAcceptor, caplog: pytest.LogCaptureFixture, kind: int
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with RawPeer(acceptor.port) as peer:
            peer.send(request_with(identity(kind, b"somebody", SECRET.encode())))
            pdu_type, answer = peer.read_pdu()
            peer.release()
        assert pdu_type == 2
        assert 0x59 not in sub_items_of(answer)
        assert SECRET not in caplog.text
        assert SECRET not in repr(acceptor.sink.requestors)

    @pytest.mark.parametrize(
        "value", [b"", b"\2\1", b"\2\1\0\5abc", b"\2\1\0\1a", b"\2\1\0\1a\0\1", b"\2\1\0\0\0\0more"]
    )
    def test_lengths_that_do_not_add_up_are_refused(self, value: bytes) -> None:
        with pytest.raises(InvalidPDU):
            parse_user_information(memoryview(item(0x58, value)))


class TestRoles:
    def answered(self, sub_items: bytes, *contexts: tuple[str, str]) -> dict[str, tuple[bool, bool]]:
        request = parse_associate_request(memoryview(request_with(sub_items, *contexts)[6:]))
        roles = answer_roles(request, answer_contexts(request, has_desk=True))
        return {one.sop_class_uid: (one.is_scu, one.is_scp) for one in roles}

    def test_a_requestor_is_scp_of_storage_commitment_only(self) -> None:
        proposed = role(RawPeer.CT, 1, 1) + role(COMMITMENT, 0, 1) + role(PROCEDURE_STEP, 1, 1)
        contexts = [(uid, RawPeer.EXPLICIT) for uid in (RawPeer.CT, COMMITMENT, PROCEDURE_STEP)]
        assert self.answered(proposed, *contexts) == {
            RawPeer.CT: (True, False),
            COMMITMENT: (False, True),
            PROCEDURE_STEP: (True, False),
        }

    def test_what_is_not_accepted_or_not_proposed_gets_no_role(self) -> None:
        proposed = role("1.2.3", 1, 1) + role(COMMITMENT, 1, 1) + role("", 1, 1)
        assert self.answered(proposed, ("1.2.3", RawPeer.EXPLICIT), (RawPeer.CT, RawPeer.EXPLICIT)) == {}

    def test_the_role_reaches_the_context(self) -> None:
        body = request_with(
            role(COMMITMENT, 1, 1), (COMMITMENT, RawPeer.EXPLICIT), (RawPeer.CT, RawPeer.EXPLICIT)
        )
        request = parse_associate_request(memoryview(body[6:]))
        answers = answer_contexts(request, has_desk=True)
        contexts = accepted_contexts(request, answers, answer_roles(request, answers))
        assert [context.requestor_is_scp for context in contexts.values()] == [True, False]

    def test_without_books_commitment_and_procedure_steps_are_unknown(self) -> None:
        contexts = [(uid, RawPeer.EXPLICIT) for uid in (RawPeer.CT, COMMITMENT, PROCEDURE_STEP)]
        request = parse_associate_request(memoryview(RawPeer.request(*contexts)[6:]))
        assert [one.result for one in answer_contexts(request, has_desk=False)] == [0, 3, 3]
        assert [one.result for one in answer_contexts(request, has_desk=True)] == [0, 0, 0]

    @pytest.mark.parametrize("value", [b"", b"\0\5a\1\1", b"\xff\xff1\1\1"])
    def test_lengths_that_do_not_add_up_are_refused(self, value: bytes) -> None:
        with pytest.raises(InvalidPDU):
            parse_user_information(memoryview(item(0x54, value)))


class TestSize:
    def test_128_contexts_with_128_syntaxes_cost_little_memory(self, acceptor: RunningAcceptor) -> None:
        """Another stack kept 1,024 MiB of a request of 66 KiB."""
        syntaxes = item(0x30, RawPeer.CT.encode()) + item(0x40, b"1.2") * 127
        contexts = b"".join(item(0x20, bytes((number, 0, 0, 0)) + syntaxes) for number in range(3, 257, 2))
        body = RawPeer.request()[6:] + contexts
        assert len(body) < 256 * 1024
        before = rss_bytes()
        for _ in range(5):
            with RawPeer(acceptor.port) as peer:
                peer.send(RawPeer.pdu(1, body))
                pdu_type, answer = peer.read_pdu()
                assert pdu_type == 2
                assert sum(kind == 0x21 for kind, _ in walk(answer[68:])) == 128
                peer.release()
        assert rss_bytes() - before < 8 * 2**20
        assert_unharmed(acceptor)

    def test_thousands_of_roles_cost_nothing(self) -> None:
        data = b"".join(role(f"1.2.{number}", 1, 1) for number in range(4000))
        assert len(parse_user_information(memoryview(data)).roles) == 128

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=300), st.integers(0x50, 0x5A))
    def test_any_bytes_are_read_or_refused_by_name(self, value: bytes, kind: int) -> None:
        for data in (value, item(kind, value)):
            with contextlib.suppress(InvalidPDU):
                information = parse_user_information(memoryview(data))
                assert all(isinstance(one, RoleSelection) for one in information.roles)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=200))
    def test_every_request_that_is_read_can_be_answered(self, tail: bytes) -> None:
        body = request_with(role(RawPeer.CT, 1, 1) + tail)[6:]
        with contextlib.suppress(InvalidPDU):
            request = parse_associate_request(memoryview(body))
            answers = answer_contexts(request, has_desk=True)
            accept = encode_associate_accept(
                request, answers, 16384, "1.2.3", "T", answer_roles(request, answers)
            )
            assert len(accept) == 6 + int.from_bytes(accept[2:6], "big")
