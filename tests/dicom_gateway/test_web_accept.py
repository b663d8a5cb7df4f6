"""Which form of an instance or of frames an Accept header gets (PS3.18 section 8.7)."""

from __future__ import annotations

import pytest

from dicom_gateway.web_accept import (
    accepted_ranges,
    choose,
    choose_plain,
    frame_offers,
    instance_offers,
    media_type_of,
)

EXPLICIT, JLS, J2K, MPEG = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.102",
)
OCTETS = "application/octet-stream"


def frames(accept: str, stored: str = JLS, *, is_decodable: bool = True, count: int = 1) -> str:
    offers = frame_offers(stored, is_compressed=True, is_decodable=is_decodable, count=count)
    found = choose(accepted_ranges(accept), offers)
    return "" if found is None else f"{'m ' if found.is_multipart else ''}{found.content_type}"


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ("", f"m {OCTETS}; transfer-syntax={EXPLICIT}"),
        ("*/*", f"m {OCTETS}; transfer-syntax={EXPLICIT}"),
        (f'multipart/related; type="{OCTETS}"', f"m {OCTETS}; transfer-syntax={EXPLICIT}"),
        (f'multipart/related; type="{OCTETS}"; transfer-syntax=*', f"m {OCTETS}; transfer-syntax={JLS}"),
        ("multipart/related; transfer-syntax=*", f"m image/jls; transfer-syntax={JLS}"),
        ('multipart/related; type="image/jls"', f"m image/jls; transfer-syntax={JLS}"),
        ('multipart/related; type="image/x-jls"', f"m image/jls; transfer-syntax={JLS}"),
        ('multipart/related; type="image/*"', f"m image/jls; transfer-syntax={JLS}"),
        (f'multipart/related; type=image/jls;transfer-syntax="{JLS}"', f"m image/jls; transfer-syntax={JLS}"),
        (OCTETS, f"{OCTETS}; transfer-syntax={EXPLICIT}"),
        ("image/jls", f"image/jls; transfer-syntax={JLS}"),
        (f"{OCTETS}; transfer-syntax={J2K}", ""),
        ("image/jp2", ""),
        ("image/png", ""),
        ("image/jls; q=0", ""),
        (f"{OCTETS}; q=0.1, image/jls; q=0.9", f"image/jls; transfer-syntax={JLS}"),
        ('multipart/related; type="image/jls, image/png"', ""),
        ("x" * 5000, ""),
        (";;;,,,", ""),
        ('"', ""),
    ],
)
def test_frames_come_as_they_are_asked_for(accept: str, given: str) -> None:
    assert frames(accept) == given


def test_what_cannot_be_decoded_comes_as_it_is_stored() -> None:
    assert frames("*/*", MPEG, is_decodable=False) == f"m {OCTETS}; transfer-syntax={MPEG}"
    assert frames("*/*", J2K, is_decodable=False) == f"m image/jp2; transfer-syntax={J2K}"


def test_several_frames_come_in_parts_only() -> None:
    assert frames(OCTETS, count=2) == ""


@pytest.mark.parametrize(
    ("accept", "syntax"),
    [
        ("", EXPLICIT),
        ('multipart/related; type="application/dicom"', EXPLICIT),
        ('multipart/related; type="application/dicom"; transfer-syntax=*', JLS),
        (f"application/dicom; transfer-syntax={JLS}", JLS),
        (f"application/dicom; transfer-syntax={J2K}", ""),
        ("application/json", ""),
    ],
)
def test_instances_come_as_stored_or_uncompressed(accept: str, syntax: str) -> None:
    found = choose(accepted_ranges(accept), instance_offers(JLS, is_transcodable=True))
    assert (found.transfer_syntax if found else "") == syntax
    stored = choose(accepted_ranges("*/*"), instance_offers(JLS, is_transcodable=False))
    assert stored is not None
    assert stored.transfer_syntax == JLS


def test_a_plain_body_is_the_first_that_is_taken() -> None:
    kinds = ["image/jpeg", "image/png"]
    assert choose_plain("image/*", kinds) == "image/jpeg"
    assert choose_plain("image/png, image/jpeg; q=0.5", kinds) == "image/png"
    assert choose_plain("text/html", kinds) is None


def test_media_types_of_compressed_frames() -> None:
    found = [
        media_type_of(f"1.2.840.10008.1.2.{end}") for end in ("4.50", "4.70", "4.81", "4.91", "4.201", "5")
    ]
    assert found == ["image/jpeg", "image/jpeg", "image/jls", "image/jp2", "image/jphc", "image/dicom-rle"]
