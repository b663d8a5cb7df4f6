"""The conformance statement says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydicom.charset import python_encoding

from dicom_gateway import commitment_scu, errors, query_dimse
from dicom_gateway.acceptor_settings import KIB, MIB, AcceptorSettings
from dicom_gateway.archive_match import RETURN_KEYS
from dicom_gateway.commitment_scu import failure_of
from dicom_gateway.errors import AssociationRefused
from dicom_gateway.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_gateway.multipart_related import HEAD_BYTES_MAX
from dicom_gateway.presentation_contexts import (
    ABSTRACT_SYNTAXES,
    OTHER_SOP_CLASSES,
    STORAGE_SOP_CLASSES,
    TRANSFER_SYNTAXES,
)
from dicom_gateway.query_dimse import PENDING, STUDY_ROOT_FIND, meaning_of
from dicom_gateway.receive_stow import INSTANCES_MAX
from dicom_gateway.retrieve_dimse import IMAGE_SOP_CLASSES, STUDY_ROOT_GET, STUDY_ROOT_MOVE
from dicom_gateway.scu_association import Destination
from dicom_gateway.status import CLASS_INSTANCE_CONFLICT, STATUS_OF
from dicom_gateway.storage_commitment import CommitmentResult, Reference
from dicom_gateway.stow_response import failure_reason
from dicom_gateway.tls import TLSFiles, server_context
from portal.intake import REQUESTS_MAX
from portal.streamed_body import BodyLimits
from server.settings import Settings
from tests.tls_files import Authority

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "conformance_statement.md").read_text(
    encoding="utf-8"
)
RECEIVE = TEXT[TEXT.index("## 3 RECEIVE") : TEXT.index("## 4 DELIVER")]
QUERY = TEXT[TEXT.index("## 5 QUERY") : TEXT.index("## 6 DICOMweb")]


def rows(text: str) -> list[list[str]]:
    """The cells of every table row."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("uid", STORAGE_SOP_CLASSES)
def test_every_storage_sop_class_stands_in_it(uid: str) -> None:
    assert [STORAGE_SOP_CLASSES[uid], uid] in rows(RECEIVE)


@pytest.mark.parametrize("uid", TRANSFER_SYNTAXES)
def test_every_transfer_syntax_stands_in_it(uid: str) -> None:
    assert [TRANSFER_SYNTAXES[uid], uid] in rows(RECEIVE)


def test_it_promises_no_class_and_no_syntax_that_is_not_spoken() -> None:
    promised = {row[1] for row in rows(RECEIVE) if len(row) == 2 and re.fullmatch(r"[0-9.]+", row[1])}
    assert promised == set(ABSTRACT_SYNTAXES) | set(TRANSFER_SYNTAXES)


@pytest.mark.parametrize("uid", OTHER_SOP_CLASSES)
def test_every_other_sop_class_stands_in_it(uid: str) -> None:
    assert [OTHER_SOP_CLASSES[uid], uid] in rows(RECEIVE)


def test_every_status_stands_in_it_and_no_other() -> None:
    events = {int(number, 16) for number in re.findall(r"answered with ([0-9A-F]{4})H", RECEIVE)}
    stated = {
        int(number, 16)
        for row in rows(RECEIVE)
        if re.fullmatch(r"[0-9A-F]{4}H(, [0-9A-F]{4}H)*", row[0])
        for number in re.findall(r"([0-9A-F]{4})H", row[0])
    }
    assert stated | events == {0, CLASS_INSTANCE_CONFLICT, *STATUS_OF.values()}


def test_every_reason_to_reject_stands_in_it() -> None:
    refusals = [
        kind()
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, AssociationRefused) and kind is not AssociationRefused
    ]
    stated = {
        tuple(int(cell.split()[0]) for cell in row[1:])
        for row in rows(RECEIVE)
        if len(row) == 4 and row[1][:1].isdigit()
    }
    assert stated == {(refusal.result, refusal.source, refusal.reason) for refusal in refusals}


def test_its_limits_are_the_defaults() -> None:
    acceptor, settings = AcceptorSettings(storage_root=Path("/")), Settings()
    limits = {row[0]: row[1] for row in rows(RECEIVE)}
    assert limits["P-DATA-TF PDU that is received"] == f"{acceptor.pdu_length_max // KIB} KiB (announced)"
    assert limits["A-ASSOCIATE-RQ PDU"] == f"{acceptor.association_request_bytes_max // KIB} KiB"
    assert limits["data set"].endswith(f", {settings.instance_bytes_max >> 30} GiB")
    assert limits["time from connection to A-ASSOCIATE-RQ"] == f"{acceptor.acse_timeout_s:g} s"
    assert limits["time from the first to the last byte of a PDU"] == f"{acceptor.pdu_deadline_s:g} s"
    assert (
        limits["time from the first byte of a message to its last"]
        == f"{acceptor.message_deadline_s / 3600:g} h"
    )
    assert limits["silence between messages"] == f"{acceptor.idle_timeout_s:g} s"
    assert limits["associations"].endswith(f", {settings.associations_max}")
    assert limits["associations from one address"].endswith(f", {settings.associations_per_host_max}")
    assert limits["free space on the disk"] == f"{acceptor.free_bytes_min // MIB} MiB"
    assert limits["free space for a new association"] == f"{acceptor.free_bytes_for_associations // MIB} MiB"


def test_its_timeouts_of_delivery_are_the_defaults() -> None:
    destination = Destination("host", 104, "A", "B")
    stated = {row[0]: row[1] for row in rows(TEXT[TEXT.index("## 4 DELIVER") :])}
    assert stated["TCP connection"] == f"{destination.connect_timeout_s:g} s"
    assert stated["association negotiation"] == f"{destination.acse_timeout_s:g} s"
    assert stated["response to each request"] == f"{destination.dimse_timeout_s:g} s"


def test_our_names_stand_in_it() -> None:
    assert IMPLEMENTATION_CLASS_UID in TEXT
    assert IMPLEMENTATION_VERSION_NAME in TEXT


def test_the_classes_that_we_query_and_fetch_stand_in_it_and_no_other() -> None:
    stated = {row[1]: row[0] for row in rows(QUERY) if re.fullmatch(r"[0-9.]+", row[1])}
    queried = {STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET}
    assert set(stated) == queried | set(IMAGE_SOP_CLASSES)
    assert all(STORAGE_SOP_CLASSES[uid] == stated[uid] for uid in IMAGE_SOP_CLASSES)


def test_each_status_of_a_query_has_its_words() -> None:
    stated = {
        int(row[0][:4], 16): row[1] for row in rows(QUERY) if re.fullmatch(r"[0-9A-F]{4}H", row[0]) and row[1]
    }
    worded = {number: words for number, words in stated.items() if number not in (0, 0xB000)}
    assert {number: f"the peer says: {words} ({number:04X}H)" for number, words in worded.items()} == {
        number: meaning_of(number) for number in worded
    }
    assert set(worded) == set(query_dimse._MEANINGS)
    others = dict(row for row in rows(QUERY) if len(row) == 2)
    assert others["Cxxx"] in meaning_of(0xC123)
    assert others["any other"] in meaning_of(0x0110)
    assert {f"{number:04X}H" for number in PENDING} == set(re.findall(r"FF0\dH", QUERY))


def test_each_reason_of_a_commitment_that_is_not_given_has_its_words() -> None:
    commitment = TEXT[TEXT.index("### 4.4 ") : TEXT.index("## 5 QUERY")]
    reference = Reference("1.2.3", "1.2.4")
    stated = {
        int(row[0][:4], 16): row[1]
        for row in rows(commitment)
        if re.fullmatch(r"[0-9A-F]{4}H", row[0]) and row[1].startswith("the ")
    }
    assert set(stated) == set(commitment_scu._FAILURE_REASONS)
    for number, words in stated.items():
        assert failure_of(reference, CommitmentResult("1.2.5", (), {reference: number})) == words


def test_the_character_sets_that_are_decoded_stand_in_it_and_no_other() -> None:
    section = TEXT[TEXT.index("## 8 ") : TEXT.index("## 9 ")]
    stated = [term.strip() for row in rows(section)[2:] for term in row[1].split(",")]
    assert sorted(stated) == sorted({*python_encoding, "none"} - {""})


def test_the_keys_that_are_asked_back_stand_in_it() -> None:
    stated = {row[0]: tuple(row[1].split(", ")) for row in rows(QUERY) if row[0] in RETURN_KEYS}
    assert stated == RETURN_KEYS


def test_its_sections_are_those_of_the_template_and_every_reference_leads_to_one() -> None:
    numbers = re.findall(r"(?m)^###? ([0-9.]+) ", TEXT)
    assert [number for number in numbers if "." not in number] == [str(number) for number in range(1, 11)]
    assert len(numbers) == len(set(numbers))
    overview = TEXT[TEXT.index("## 1 Overview") : TEXT.index("## 2 ")]
    referred = {
        one
        for row in rows(overview)
        for one in re.findall(r"^[0-9., ]+$", row[-1])
        for one in one.split(", ")
    }
    referred |= set(re.findall(r"section ([0-9.]+[0-9]|[0-9])", TEXT))
    assert referred <= set(numbers)
    assert len(referred) > 5


def test_its_tls_suites_are_those_that_the_acceptor_takes(tmp_path: Path) -> None:
    identity = Authority(tmp_path).sign("localhost")
    for profile, versions in (("bcp195", ("1.3", "1.2")), ("bcp195-extended", ("1.3", "1.2", "extended"))):
        files = TLSFiles(identity.certificate, identity.key, client_certificate="none", profile=profile)
        taken = [_registered_name(cipher["name"]) for cipher in server_context(files).get_ciphers()]
        stated = [
            suite
            for version, suites in (row for row in rows(TEXT) if len(row) == 2 and "TLS_" in row[1])
            if any(version.rstrip("`").endswith(one) for one in versions)
            for suite in re.findall(r"TLS_\w+", suites)
        ]
        assert taken == stated


def _registered_name(openssl_name: str) -> str:
    """ECDHE-RSA-AES128-GCM-SHA256 as IANA registers it; the names of TLS 1.3 are the same."""
    if openssl_name.startswith("TLS_"):
        return openssl_name
    return "TLS_" + re.sub(r"AES(\d+)", r"WITH_AES_\1", openssl_name).replace("-", "_")


STOW = TEXT[TEXT.index("### 6.1 ") : TEXT.index("### 6.2 ")]


def test_every_failure_reason_and_limit_of_stow_stands_in_it() -> None:
    reasons = {int(row[0][:4], 16) for row in rows(STOW) if re.fullmatch(r"[0-9A-F]{4}H", row[0])}
    broken_off = {
        kind.failure_reason
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.BodyNotTaken) and kind is not errors.ClientGone
    }
    refusals = {
        failure_reason(kind())
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.InstanceRefused)
    }
    assert reasons >= broken_off
    assert reasons | {0x0117, 0xB000} >= refusals
    limits = dict(row for row in rows(STOW) if len(row) == 2)
    assert limits["instances in one request"] == str(INSTANCES_MAX)
    assert limits["head of a part"] == f"{HEAD_BYTES_MAX // KIB} KiB"
    assert limits["requests at a time"] == str(REQUESTS_MAX)
    pace = BodyLimits()
    assert limits["pace"] == f"{pace.window_bytes_min // KIB} KiB in each {pace.window_s:g} s"
    assert limits["whole request"].startswith(f"{pace.deadline_s / 3600:g} h")
