"""Addresses, networks and names of a peer, and the names of its certificate."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from dicom_gateway.errors import CertificateNameInvalid, HostEntryInvalid
from dicom_gateway.hosts import HostBook, canonical_entry
from dicom_gateway.peer_certificate import canonical_name


@pytest.mark.parametrize(
    ("remote", "entries", "is_allowed"),
    [
        ("192.0.2.7", ["192.0.2.7"], True),
        ("192.0.2.7", ["192.0.2.8"], False),
        ("192.0.2.7", ["10.0.0.0/8", "192.0.2.0/24"], True),
        ("192.0.3.7", ["10.0.0.0/8", "192.0.2.0/24"], False),
        ("::ffff:192.0.2.7", ["192.0.2.0/24"], True),
        ("2001:db8::5", ["2001:db8::/32"], True),
        ("2001:db9::5", ["2001:db8::/32"], False),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("192.0.2.7", ["2001:db8::/32"], False),
        ("127.0.0.1", ["localhost"], True),
        ("127.0.0.2", ["localhost"], False),
        ("127.0.0.1", ["no-such-host.invalid", "localhost"], True),
        ("127.0.0.1", ["no-such-host.invalid"], False),
    ],
)
def test_an_address_is_compared_with_each_entry(remote: str, entries: list[str], is_allowed: bool) -> None:
    assert HostBook().is_one_of(remote, entries) is is_allowed


def test_a_name_is_asked_for_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(name: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    book = HostBook()
    assert [book.is_one_of("192.0.2.7", ["pacs.example"]) for _ in range(5)] == [True] * 5
    assert not book.is_one_of("192.0.2.8", ["pacs.example"])
    assert asked == ["pacs.example"]


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        (" 192.0.2.7 ", "192.0.2.7"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("PACS_1.Hospital.example", "pacs_1.hospital.example"),
    ],
)
def test_an_entry_has_one_form(text: str, stored: str) -> None:
    assert canonical_entry(text) == stored


@pytest.mark.parametrize(
    "text", ["", "192.0.2", "192.0.2.0/33", "300.0.0.1", "a b", "-x", "a/b", "x" * 254, "pacs;", "é"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(HostEntryInvalid):
        canonical_entry(text)


FINGERPRINT = "ab" * 32


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        (FINGERPRINT, f"sha256:{FINGERPRINT}"),
        (":".join(["AB"] * 32), f"sha256:{FINGERPRINT}"),
        (f" SHA256:{FINGERPRINT}", f"sha256:{FINGERPRINT}"),
        ("CN: CT1", "cn:ct1"),
        ("dns:CT1.Example", "dns:ct1.example"),
        ("ip:2001:DB8:0::1", "ip:2001:db8::1"),
        ("subject:O=Clinic,CN=CT1", "subject:O=Clinic,CN=CT1"),
    ],
)
def test_a_certificate_name_has_one_form(text: str, stored: str) -> None:
    assert canonical_name(text) == stored


@pytest.mark.parametrize("text", ["", "ct1", "cn:", "sha256:abc", "ip:ct1", "cn:a\nb", "md5:" + "ab" * 16])
def test_what_names_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(CertificateNameInvalid):
        canonical_name(text)
