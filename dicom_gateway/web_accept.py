"""Which media type and transfer syntax answers a request for instances or frames (PS3.18 section 8.7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dicom_gateway.multipart_related import parse_header_value
from dicom_gateway.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

DICOM, OCTETS, ANY = "application/dicom", "application/octet-stream", "*/*"
MULTIPART = "multipart/related"
ACCEPT_CHARACTERS_MAX = 4096
_RANGES_MAX = 32
# PS3.18 table 8.7.3-2 and following: the media type of a frame as it is compressed.
_IMAGE_TYPES = (
    ("1.2.840.10008.1.2.4.5", "image/jpeg"),
    ("1.2.840.10008.1.2.4.6", "image/jpeg"),
    ("1.2.840.10008.1.2.4.70", "image/jpeg"),
    ("1.2.840.10008.1.2.4.8", "image/jls"),
    ("1.2.840.10008.1.2.4.90", "image/jp2"),
    ("1.2.840.10008.1.2.4.91", "image/jp2"),
    ("1.2.840.10008.1.2.4.92", "image/jpx"),
    ("1.2.840.10008.1.2.4.93", "image/jpx"),
    ("1.2.840.10008.1.2.4.11", "image/jxl"),
    ("1.2.840.10008.1.2.4.20", "image/jphc"),
    ("1.2.840.10008.1.2.5", "image/dicom-rle"),
)
_OTHER_NAMES = {"image/x-jls": "image/jls", "image/x-dicom-rle": "image/dicom-rle"}


@dataclass(frozen=True)
class MediaRange:
    """One of the ranges of an Accept header. transfer_syntax: None where it is not named, * for any."""

    media_type: str
    is_multipart: bool
    transfer_syntax: str | None
    quality: float

    def takes(self, offer: Offer) -> bool:
        if self.media_type != ANY or self.is_multipart:
            if self.is_multipart != offer.is_multipart:
                return False
            if self.media_type not in (ANY, f"{offer.media_type.partition('/')[0]}/*", offer.media_type):
                return False
        if self.transfer_syntax is None:
            return offer.is_default or (self.media_type != ANY and offer.media_type not in (OCTETS, DICOM))
        return self.transfer_syntax in ("*", offer.transfer_syntax)


@dataclass(frozen=True)
class Offer:
    """A form in which something can be given. is_default: also to whom names no transfer syntax."""

    media_type: str
    transfer_syntax: str
    is_multipart: bool = True
    is_default: bool = False
    is_stored: bool = False

    @property
    def content_type(self) -> str:
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax}"


def accepted_ranges(accept: str) -> list[MediaRange]:
    """The ranges of an Accept header, best first; what is too long or not understood takes nothing."""
    if not accept.strip():
        return [MediaRange(ANY, False, None, 1.0)]
    if len(accept) > ACCEPT_CHARACTERS_MAX:
        return []
    ranges = [_range(part) for part in _split(accept)[:_RANGES_MAX]]
    wanted = [one for one in ranges if one.quality > 0]
    return sorted(wanted, key=lambda one: -one.quality)


def choose(ranges: Iterable[MediaRange], offers: Sequence[Offer]) -> Offer | None:
    """The first offer that the best range takes; who takes any transfer syntax gets what is stored."""
    for one in ranges:
        ordered = (
            sorted(offers, key=lambda offer: not offer.is_stored) if one.transfer_syntax == "*" else offers
        )
        for offer in ordered:
            if one.takes(offer):
                return offer
    return None


def choose_plain(accept: str, media_types: Sequence[str]) -> str | None:
    """The media type of a body that has no transfer syntax; None where none is taken."""
    offers = [Offer(media_type, "", is_multipart=False, is_default=True) for media_type in media_types]
    ranges = [
        MediaRange(one.media_type, one.is_multipart, None, one.quality) for one in accepted_ranges(accept)
    ]
    found = choose(ranges, offers)
    return found.media_type if found else None


def instance_offers(stored: str, *, is_transcodable: bool) -> list[Offer]:
    """Of a whole instance: as it is stored, and uncompressed where that loses nothing."""
    is_plain = stored == EXPLICIT_VR_LITTLE_ENDIAN
    offers = []
    for is_multipart in (True, False):
        if is_transcodable and not is_plain:
            offers.append(Offer(DICOM, EXPLICIT_VR_LITTLE_ENDIAN, is_multipart, is_default=True))
        offers.append(Offer(DICOM, stored, is_multipart, is_plain or not is_transcodable, is_stored=True))
    return offers


def frame_offers(stored: str, *, is_compressed: bool, is_decodable: bool, count: int) -> list[Offer]:
    """Of `count` frames: uncompressed, compressed in their own type, and as bytes in the stored syntax."""
    offers = []
    for is_multipart in (True, False) if count == 1 else (True,):
        if not is_compressed:
            as_stored = stored != EXPLICIT_VR_BIG_ENDIAN
            offers.append(Offer(OCTETS, EXPLICIT_VR_LITTLE_ENDIAN, is_multipart, True, as_stored))
            if stored == IMPLICIT_VR_LITTLE_ENDIAN:
                offers.append(Offer(OCTETS, stored, is_multipart, is_stored=True))
            continue
        if is_decodable:
            offers.append(Offer(OCTETS, EXPLICIT_VR_LITTLE_ENDIAN, is_multipart, is_default=True))
        image_type = media_type_of(stored)
        offers.append(Offer(image_type, stored, is_multipart, not is_decodable, is_stored=True))
        offers.append(Offer(OCTETS, stored, is_multipart, is_stored=True))
    return offers


def media_type_of(transfer_syntax_uid: str) -> str:
    """Of a compressed frame."""
    return next((kind for uid, kind in _IMAGE_TYPES if transfer_syntax_uid.startswith(uid)), OCTETS)


def _range(part: str) -> MediaRange:
    media_type, parameters = parse_header_value(part)
    is_multipart = media_type in (MULTIPART, "multipart/*")
    if is_multipart:
        media_type = parameters.get("type", ANY).lower()
    try:
        quality = float(parameters.get("q", "1"))
    except ValueError:
        quality = 0.0
    media_type = _OTHER_NAMES.get(media_type, media_type)
    return MediaRange(
        media_type, is_multipart, parameters.get("transfer-syntax"), min(max(quality, 0.0), 1.0)
    )


def _split(accept: str) -> list[str]:
    """At the commas outside of quotation marks."""
    parts, is_quoted = [""], False
    for character in accept:
        is_quoted ^= character == '"'
        if character == "," and not is_quoted:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part.strip()]
