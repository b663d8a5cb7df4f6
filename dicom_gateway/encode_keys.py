"""The key images of a result and the objects about them as a Key Object Selection (TID 2010, "Of Interest")."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import ObserverContext
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from dicom_gateway import result_codes
from dicom_gateway.encode_common import bare_reference, device_observer, source_images, stamp
from dicom_gateway.key_slices import key_slices
from dicom_gateway.result_context import ResultContext


def encode_keys(context: ResultContext, others: Sequence[Dataset]) -> Dataset | None:
    """The key images and `others` (SR, SEG, PM of the same result); None where no image stands out.

    A key image of a multi-frame source is its instance: TID 2010 as highdicom writes it names no frames.
    """
    wanted = {str(one.header.SOPInstanceUID) for one in key_slices(context)}
    if not wanted:
        return None
    images = [one for one in source_images(context) if str(one.SOPInstanceUID) in wanted]
    referenced = [*images, *map(bare_reference, others)]
    selection = KeyObjectSelectionDocument(
        evidence=referenced,
        content=KeyObjectSelection(
            document_title=result_codes.OF_INTEREST,
            referenced_objects=referenced,
            observer_device_context=ObserverContext(codes.DCM.Device, device_observer(context)),
            description=context.words.key_images(len(images)),
        ),
        series_instance_uid=context.uid("KEYS series"),
        series_number=context.series_number("KEYS"),
        sop_instance_uid=context.uid("KEYS instance"),
        instance_number=1,
        manufacturer=context.publisher[:64],
    )
    stamp(selection, context, "KEYS")
    return selection
