"""A rejection note (IHE RAD Imaging Object Change Management): earlier results that a later revision replaces.

A Key Object Selection after TID 2010 with the title (113001, DCM, "Rejected for Quality Reasons"): the earlier objects
were made from a study that was not whole. The other titles of CID 7011 would say something false: nobody was in danger
(113037), the patient and the order are right (113038), and no retention period is over (113039).
"""

from __future__ import annotations

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import ObserverContext
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from dicom_gateway import result_codes
from dicom_gateway.encode_common import bare_reference, device_observer, stamp
from dicom_gateway.result_context import ResultContext


def encode_rejection_note(context: ResultContext) -> Dataset | None:
    """The note about `context.predecessors`, in the series of key objects of this revision; None without any."""
    if not context.predecessors:
        return None
    rejected = [bare_reference(one) for one in context.predecessors]
    content = KeyObjectSelection(
        document_title=result_codes.REJECTED_FOR_QUALITY_REASONS,
        referenced_objects=rejected,
        observer_device_context=ObserverContext(codes.DCM.Device, device_observer(context)),
        description=f"Replaced by revision {context.revision}: more images of the study came.",
    )
    note = KeyObjectSelectionDocument(
        evidence=rejected,
        content=content,
        series_instance_uid=context.uid("KOS series"),
        series_number=context.series_number("KOS"),
        sop_instance_uid=context.uid("KOS instance"),
        instance_number=1,
        manufacturer=context.publisher[:64],
    )
    stamp(note, context, "KOS")
    return note
