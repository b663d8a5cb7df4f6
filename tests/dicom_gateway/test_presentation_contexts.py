"""What we agree to speak."""

from __future__ import annotations

import pytest
from pydicom import uid
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID
from pynetdicom import sop_class

from dicom_gateway.pixels import SUPPORTED_SYNTAXES
from dicom_gateway.presentation_contexts import answer, choose_transfer_syntax
from dicom_gateway.storage_sop_classes import CURRENT, RETIRED_BUT_SENT, STORAGE_SOP_CLASSES
from dicom_gateway.transfer_syntaxes import TRANSFER_SYNTAXES
from dicom_gateway.upper_layer import ProposedContext

IMPLICIT, EXPLICIT, JPEG_LS = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.80"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
CT = "1.2.840.10008.5.1.4.1.1.2"

NEVER_STORED = {
    uid.DeflatedExplicitVRLittleEndian,
    "1.2.840.10008.1.2.8.1",  # Deflated Image Frame Compression
    "1.2.840.10008.1.2.4.94",  # JPIP Referenced: the pixels are elsewhere
    "1.2.840.10008.1.2.4.95",
    "1.2.840.10008.1.2.4.204",
    "1.2.840.10008.1.2.4.205",
    "1.2.840.10008.1.2.7.1",  # SMPTE ST 2110: a stream
    "1.2.840.10008.1.2.7.2",
    "1.2.840.10008.1.2.7.3",
    "1.2.840.10008.1.2.6.1",  # MIME, XML, Papyrus 3: retired, no data set
    "1.2.840.10008.1.2.6.2",
    "1.2.840.10008.1.20",
}


class TestTables:
    """Compared with the dictionaries of pydicom and pynetdicom: a new edition of the standard fails here."""

    def test_the_current_classes_are_those_of_the_storage_service(self) -> None:
        assert set(CURRENT) == set(sop_class._STORAGE_CLASSES.values())

    def test_every_class_called_storage_is_there_or_left_out_for_its_reason(self) -> None:
        named = {
            number: (name, info, retired)
            for number, (name, kind, info, retired, _) in UID_dictionary.items()
            if kind == "SOP Class" and "Storage" in name and number not in STORAGE_SOP_CLASSES
        }
        other_standards = {number for number, (_, info, _) in named.items() if info}
        retired = {number for number, (_, _, retired) in named.items() if retired}
        non_patient = set(sop_class._NON_PATIENT_OBJECT_CLASSES.values())
        not_instances = {sop_class.StorageCommitmentPushModel, sop_class.MediaStorageDirectoryStorage}
        assert set(named) - other_standards - retired - non_patient == not_instances

    def test_the_retired_ones_are_retired(self) -> None:
        assert {UID_dictionary[number][3] for number in RETIRED_BUT_SENT} == {"Retired"}
        assert not set(CURRENT) & set(RETIRED_BUT_SENT)

    def test_the_names_are_those_of_the_standard(self) -> None:
        newer_than_pydicom = set(STORAGE_SOP_CLASSES) - set(UID_dictionary)
        assert len(newer_than_pydicom) == 4
        for number in set(STORAGE_SOP_CLASSES) - newer_than_pydicom:
            assert UID(number).name == STORAGE_SOP_CLASSES[number]
        assert {number: UID(number).name for number in TRANSFER_SYNTAXES} == TRANSFER_SYNTAXES

    def test_every_transfer_syntax_is_stored_or_refused_for_its_reason(self) -> None:
        every = {number for number, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
        assert set(TRANSFER_SYNTAXES) == every - NEVER_STORED
        assert every >= NEVER_STORED

    def test_what_is_decoded_is_stored_and_not_the_other_way_round(self) -> None:
        assert SUPPORTED_SYNTAXES - {DEFLATED} < set(TRANSFER_SYNTAXES)


class TestChoice:
    def test_deflated_syntaxes_are_never_accepted(self) -> None:
        assert choose_transfer_syntax(sorted(NEVER_STORED)) is None

    def test_the_requestors_first_syntax_wins_but_implicit_and_big_endian_come_last(self) -> None:
        assert choose_transfer_syntax((JPEG_LS, EXPLICIT)) == JPEG_LS
        assert choose_transfer_syntax((EXPLICIT, JPEG_LS)) == EXPLICIT
        assert choose_transfer_syntax((BIG_ENDIAN, IMPLICIT, DEFLATED, EXPLICIT)) == EXPLICIT
        assert choose_transfer_syntax((BIG_ENDIAN, IMPLICIT)) == IMPLICIT
        assert choose_transfer_syntax((IMPLICIT,)) == IMPLICIT
        assert choose_transfer_syntax((BIG_ENDIAN,)) == BIG_ENDIAN

    @pytest.mark.parametrize(
        ("abstract_syntax", "transfer_syntax", "result"),
        [(CT, EXPLICIT, 0), ("1.2.3", EXPLICIT, 3), (CT, DEFLATED, 4)],
    )
    def test_what_is_not_supported_is_named_in_the_answer(
        self, abstract_syntax: str, transfer_syntax: str, result: int
    ) -> None:
        assert answer(ProposedContext(1, abstract_syntax, (transfer_syntax,))).result == result
        assert answer(ProposedContext(1, abstract_syntax, ())).result == (result or 4)
