"""What we agree to speak."""

from __future__ import annotations

from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import sop_class

from dicom_gateway.presentation_contexts import (
    STORAGE_SOP_CLASSES,
    TRANSFER_SYNTAXES,
    answer,
    choose_transfer_syntax,
)
from dicom_gateway.upper_layer import ProposedContext

IMPLICIT, EXPLICIT, JPEG_LS = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.80"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
CT = "1.2.840.10008.5.1.4.1.1.2"


def test_the_names_are_those_of_the_standard() -> None:
    assert {uid: UID(uid).name for uid in STORAGE_SOP_CLASSES} == STORAGE_SOP_CLASSES
    assert set(TRANSFER_SYNTAXES) <= set(AllTransferSyntaxes)
    assert {uid: UID(uid).name for uid in TRANSFER_SYNTAXES} == TRANSFER_SYNTAXES


def test_every_class_that_the_product_promises_is_there() -> None:
    promised = [
        "CTImageStorage",
        "EnhancedCTImageStorage",
        "ComputedRadiographyImageStorage",
        "MRImageStorage",
    ]
    promised += ["DigitalXRayImageStorageForPresentation", "DigitalXRayImageStorageForProcessing"]
    promised += ["EnhancedMRImageStorage", "Comprehensive3DSRStorage", "ComprehensiveSRStorage"]
    promised += ["SegmentationStorage", "SecondaryCaptureImageStorage", "EncapsulatedPDFStorage"]
    assert [name for name in promised if getattr(sop_class, name) not in STORAGE_SOP_CLASSES] == []


def test_the_deflated_syntax_and_big_endian_are_never_accepted() -> None:
    assert choose_transfer_syntax((DEFLATED, BIG_ENDIAN)) is None


def test_the_requestors_first_syntax_wins_but_implicit_comes_last() -> None:
    assert choose_transfer_syntax((JPEG_LS, EXPLICIT)) == JPEG_LS
    assert choose_transfer_syntax((EXPLICIT, JPEG_LS)) == EXPLICIT
    assert choose_transfer_syntax((IMPLICIT, DEFLATED, EXPLICIT)) == EXPLICIT
    assert choose_transfer_syntax((IMPLICIT,)) == IMPLICIT


def test_what_is_not_supported_is_named_in_the_answer() -> None:
    assert answer(ProposedContext(1, CT, (EXPLICIT,))).result == 0
    assert answer(ProposedContext(1, "1.2.3", (EXPLICIT,))).result == 3
    assert answer(ProposedContext(1, CT, (DEFLATED,))).result == 4
    assert answer(ProposedContext(1, CT, ())).result == 4
