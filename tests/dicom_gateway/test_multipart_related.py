"""The multipart parser: any piece size gives the same parts; whatever is wrong is one error."""

from __future__ import annotations

import email
import email.policy
import itertools
import os
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_gateway.errors import MultipartMalformed
from dicom_gateway.multipart_related import (
    HEAD_BYTES_MAX,
    IGNORED_BYTES_MAX,
    MultipartParser,
    PartBegins,
    PartEnds,
    parse_header_value,
)

Part = tuple[dict[str, str], bytes]


def body_of(parts: list[Part], boundary: str, preamble: bytes = b"", epilogue: bytes = b"") -> bytes:
    out = [preamble + b"\r\n" if preamble else b""]
    for headers, content in parts:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        out.append(f"--{boundary}\r\n{head}\r\n".encode() + content + b"\r\n")
    return b"".join(out) + f"--{boundary}--".encode() + epilogue


def parse(body: bytes, boundary: str, cuts: list[int] | None = None) -> list[Part]:
    """The parts of a body fed in pieces that end at `cuts`."""
    parser, parts = MultipartParser(boundary), []
    edges = [0, *sorted(cut for cut in cuts or [] if cut < len(body)), len(body)]
    for start, end in itertools.pairwise(edges):
        for event in parser.feed(body[start:end]):
            if isinstance(event, PartBegins):
                parts.append([dict(event.headers), b"", False])
            elif isinstance(event, PartEnds):
                parts[-1][2] = True
            else:
                assert not parts[-1][2]
                parts[-1][1] += bytes(event)
    parser.finish()
    assert all(is_whole for _, _, is_whole in parts)
    return [(headers, content) for headers, content, _ in parts]


BOUNDARIES = st.text(st.sampled_from("abAB09'()+_,-./:=?"), min_size=1, max_size=70)
# Content that looks like boundaries: dashes, line breaks and the letters that boundaries are made of.
CONTENTS = st.binary(max_size=40) | st.text(st.sampled_from("\r\n-ab"), max_size=40).map(str.encode)


@given(boundary=BOUNDARIES, contents=st.lists(CONTENTS, max_size=4), cuts=st.lists(st.integers(0, 400)))
@settings(max_examples=300, deadline=None)
def test_the_parts_are_the_same_however_the_body_is_cut(
    boundary: str, contents: list[bytes], cuts: list[int]
) -> None:
    if any(f"\r\n--{boundary}".encode() in b"\r\n" + content + b"\r\n" for content in contents):
        return  # the sender chose a boundary that its content contains
    parts = [({"content-type": "application/dicom"}, content) for content in contents]
    body = body_of(parts, boundary)
    assert parse(body, boundary, cuts) == parts
    assert parse(body, boundary, list(range(len(body)))) == parts


@given(body=st.text(st.sampled_from("\r\n-b: x"), max_size=60), cuts=st.lists(st.integers(0, 60)))
@settings(max_examples=500, deadline=None)
def test_any_bytes_give_parts_or_one_error_the_same_in_every_cut(body: str, cuts: list[int]) -> None:
    def outcome(cuts: list[int]) -> object:
        try:
            return parse(body.encode(), "b", cuts)
        except MultipartMalformed:
            return "malformed"

    assert outcome(cuts) == outcome([])


@given(contents=st.lists(st.binary(max_size=30), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_the_standard_librarys_parser_finds_the_same_parts(contents: list[bytes]) -> None:
    boundary = "=_" + os.urandom(8).hex()
    parts = [({"content-transfer-encoding": "binary", "content-type": "application/x"}, c) for c in contents]
    body = body_of(parts, boundary)
    head = f'Content-Type: multipart/related; boundary="{boundary}"\r\n\r\n'.encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    # It knows text: line ends are normalized before the comparison.
    normal = [c.replace(b"\r\n", b"\n").replace(b"\r", b"\n") for c in contents]
    theirs = [
        part.get_payload(decode=True).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        for part in message.get_payload()
    ]
    assert [content for _, content in parse(body, boundary)] == contents
    assert theirs == normal


class TestForms:
    def test_preamble_and_epilogue_are_ignored(self) -> None:
        body = body_of([({}, b"x")], "b", preamble=b"hello", epilogue=b"\r\nbye --b")
        assert parse(body, "b") == [({}, b"x")]

    def test_a_part_may_have_neither_headers_nor_content(self) -> None:
        assert parse(b"--b\r\n\r\n\r\n--b--", "b") == [({}, b"")]
        assert parse(b"--b\r\na: 1\r\n\r\n--b--", "b") == [({"a": "1"}, b"")]

    def test_a_body_may_have_no_part(self) -> None:
        assert parse(b"--b--", "b") == []

    def test_spaces_may_follow_a_boundary_and_headers_may_be_folded(self) -> None:
        body = b'--b \t\r\nContent-Type: application/dicom;\r\n transfer-syntax="1.2"\r\n\r\nx\r\n--b--\r\n'
        assert parse(body, "b") == [({"content-type": 'application/dicom; transfer-syntax="1.2"'}, b"x")]

    def test_header_values_have_quoted_and_plain_parameters(self) -> None:
        text = (
            'Multipart/Related; type="application/dicom"; boundary="a;\\"b" ;x=1;X=2; TYPE2=application/dicom'
        )
        value, parameters = parse_header_value(text)
        assert value == "multipart/related"
        assert parameters == {
            "type": "application/dicom", "boundary": 'a;"b', "x": "1", "type2": "application/dicom",
        }  # fmt: skip


class TestMalformed:
    @pytest.mark.parametrize("boundary", ["", "a" * 71, "a ", "a\r\nb", "grün"])
    def test_a_boundary_outside_of_the_rules_is_refused(self, boundary: str) -> None:
        with pytest.raises(MultipartMalformed):
            MultipartParser(boundary)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"--b",
            b"--b\r\n\r\nx",
            b"--b\r\n\r\nx\r\n--b",
            b"--b\r\n\r\nx\r\n--b-",
            b"no boundary at all",
            b"--bx\r\n\r\nx\r\n--b--",
            b"--b\r\nno colon\r\n\r\nx\r\n--b--",
            b"--b\r\n: empty\r\n\r\nx\r\n--b--",
            b"--b\r\na: 1\r\na: 2\r\n\r\nx\r\n--b--",
            b"--b\r\n" + b"a: 1\r\n" * HEAD_BYTES_MAX,
            b"--b\r\na: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\nx\r\n--b--",
            b"x" * (IGNORED_BYTES_MAX + 1) + b"\r\n--b--",
            b"--b--" + b"x" * (IGNORED_BYTES_MAX + 1),
        ],
    )
    def test_what_is_not_a_multipart_body_is_one_error(self, body: bytes) -> None:
        with pytest.raises(MultipartMalformed):
            parse(body, "b")
        with pytest.raises(MultipartMalformed):
            parse(body, "b", list(range(0, len(body), 7)))


def test_memory_does_not_grow_with_the_part() -> None:
    parser, piece = MultipartParser("b"), os.urandom(64 * 1024)
    list(parser.feed(b"--b\r\n\r\n"))
    tracemalloc.start()
    for _ in range(400):  # 25 MiB
        for _event in parser.feed(piece):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(piece)
