"""The sealed form of objects: what was not sealed so, and there, does not open."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.protection import sealed_stream
from pipeline.protection.errors import DataKeyUnknown, SealBroken
from pipeline.protection.sealed_stream import (
    CHUNK_BYTES,
    HEADER_BYTES,
    TAG_BYTES,
    DataKey,
    is_sealed,
    key_id_of,
    seal,
    sealed_size,
    unseal,
)

KEY = DataKey(UUID(int=7), bytes(range(32)))
OTHER = DataKey(UUID(int=8), bytes(range(1, 33)))
PLACE = "instances/ab/abcdef/1.dcm"


def find_key(key_id: UUID) -> bytes:
    for one in (KEY, OTHER):
        if one.id == key_id:
            return one.key
    raise DataKeyUnknown(key_id)


def sealed(content: bytes, place: str = PLACE, key: DataKey = KEY) -> bytes:
    return b"".join(seal([content], key, place))


def opened(content: bytes, place: str = PLACE) -> bytes:
    return b"".join(unseal([content], find_key, place))


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 16 bytes, so that an object of many chunks is small."""
    monkeypatch.setattr(sealed_stream, "CHUNK_BYTES", 16)
    monkeypatch.setattr(sealed_stream, "_SEALED_CHUNK_BYTES", 16 + TAG_BYTES)


sizes = st.one_of(
    st.integers(0, 100),
    st.sampled_from([one + by for one in (CHUNK_BYTES, 2 * CHUNK_BYTES) for by in (-1, 0, 1)]),
)


class TestRoundTrip:
    @settings(max_examples=40, deadline=None)
    @given(size=sizes, given_by=st.integers(1, CHUNK_BYTES * 2), taken_by=st.integers(1, CHUNK_BYTES * 2))
    def test_what_goes_in_comes_out_however_it_is_cut(self, size: int, given_by: int, taken_by: int) -> None:
        content = os.urandom(size)
        if size > 200:
            given_by, taken_by = max(given_by, 1000), max(taken_by, 1000)
        whole = b"".join(seal(pieces(content, given_by), KEY, PLACE))
        assert len(whole) == sealed_size(size)
        assert b"".join(unseal(pieces(whole, taken_by), find_key, PLACE)) == content
        assert is_sealed(whole)
        assert key_id_of(whole) == KEY.id

    def test_the_same_content_is_never_sealed_to_the_same_bytes(self) -> None:
        one, other = sealed(b"x" * 1000), sealed(b"x" * 1000)
        assert one[HEADER_BYTES:] != other[HEADER_BYTES:]

    def test_nothing_of_the_content_is_in_the_sealed_bytes(self) -> None:
        assert b"MUSTERMANN" not in sealed(b"PatientName MUSTERMANN^ERIKA" * 500)

    def test_memory_is_bounded_whatever_the_size(self) -> None:
        block = os.urandom(CHUNK_BYTES)
        tracemalloc.start()
        try:
            stream = unseal(seal((block for _ in range(200)), KEY, PLACE), find_key, PLACE)
            assert sum(map(len, stream)) == 200 * CHUNK_BYTES
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 12 * CHUNK_BYTES


@pytest.mark.usefixtures("small_chunks")
class TestTampering:
    @settings(max_examples=150, deadline=None)
    @given(content=st.binary(max_size=90), data=st.data())
    def test_no_changed_bit_goes_unnoticed(self, content: bytes, data: st.DataObject) -> None:
        whole = bytearray(sealed(content))
        place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
        whole[place] ^= 1 << bit
        with pytest.raises((SealBroken, DataKeyUnknown)):
            opened(bytes(whole))

    @settings(max_examples=100, deadline=None)
    @given(content=st.binary(max_size=90), data=st.data())
    def test_no_cut_goes_unnoticed(self, content: bytes, data: st.DataObject) -> None:
        whole = sealed(content)
        with pytest.raises(SealBroken):
            opened(whole[: data.draw(st.integers(0, len(whole) - 1))])

    @settings(max_examples=60, deadline=None)
    @given(content=st.binary(max_size=90), more=st.binary(min_size=1, max_size=60))
    def test_nothing_can_be_appended(self, content: bytes, more: bytes) -> None:
        with pytest.raises(SealBroken):
            opened(sealed(content) + more)

    @settings(max_examples=100, deadline=None)
    @given(content=st.binary(min_size=33, max_size=120), data=st.data())
    def test_chunks_can_neither_change_places_nor_be_repeated_nor_left_out(
        self, content: bytes, data: st.DataObject
    ) -> None:
        whole = sealed(content)
        chunks = list(pieces(whole[HEADER_BYTES:], 16 + TAG_BYTES))
        order = data.draw(
            st.lists(st.integers(0, len(chunks) - 1), max_size=len(chunks) + 2).filter(
                lambda order: order != list(range(len(chunks)))
            )
        )
        with pytest.raises(SealBroken):
            opened(whole[:HEADER_BYTES] + b"".join(chunks[one] for one in order))

    def test_chunks_of_another_sealing_of_the_same_content_do_not_fit(self) -> None:
        one, other = sealed(b"a" * 40), sealed(b"a" * 40)
        mixed = one[: HEADER_BYTES + 32] + other[HEADER_BYTES + 32 :]
        with pytest.raises(SealBroken):
            opened(mixed)

    def test_an_object_in_the_place_of_another_does_not_open(self) -> None:
        with pytest.raises(SealBroken):
            opened(sealed(b"of one patient"), "instances/ab/abcdef/2.dcm")

    def test_an_object_that_names_another_key_does_not_open(self) -> None:
        whole = sealed(b"content")
        with pytest.raises(SealBroken):
            opened(whole[:8] + OTHER.id.bytes + whole[24:])
        with pytest.raises(DataKeyUnknown):
            opened(whole[:8] + uuid4().bytes + whole[24:])

    @given(st.binary(max_size=200))
    def test_what_is_not_sealed_is_refused(self, content: bytes) -> None:
        with pytest.raises(SealBroken):
            opened(content)
