"""A reviewed set before the gate: measured by the images that the model read and by the objects of its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_gateway.check_basis import Content, Known, ReviewRules
from dicom_gateway.encode_review import REVIEWED, ReviewContext
from dicom_gateway.source_headers import read_headers
from pipeline.check_results import CheckVerdict, check_result_set
from pipeline.result_set import RESULT_KINDS, ResultObject
from pipeline.reviews import ReviewedResult
from pipeline.services import Services
from pipeline.store import Row


def check_reviewed_set(
    services: Services,
    result: ReviewedResult,
    context: ReviewContext,
    own: Sequence[Row],
    model: Dataset,
    objects: Sequence[ResultObject],
) -> CheckVerdict:
    """own: rows of what was made of the result before. model: the document of the model that the set is made from.

    Raises `SourceHeaderUnreadable` or a `ChildError` where the images cannot be read any more.
    """
    rows = _images(services, result, model)
    with services.folders.instances_at_hand(result.key.tenant, rows):
        headers = read_headers([services.folders.instances / row["location"] for row in rows])
    return check_result_set(
        objects,
        headers,
        model_name=result.row["model_name"],
        model_version=result.row["model_version"],
        predecessors=context.predecessors,
        others=_known(services.folders.results, own),
        notice=REVIEWED,
        review=ReviewRules(context.reader_name, context.is_verified),
    )


def _images(services: Services, result: ReviewedResult, model: Dataset) -> list[Row]:
    """Rows of the study's own files among all that the model's document refers to, in its order; it has passed."""
    named = [
        str(item.ReferencedSOPInstanceUID)
        for _, item in Content.of(model).items
        if "ReferencedSOPInstanceUID" in item
    ]
    with services.database.transaction(result.key.tenant) as conn:
        rows = conn.execute(
            """SELECT sop_instance_uid, location, blake3 FROM instance
               WHERE tenant = %s AND study_id = %s AND sop_instance_uid = ANY(%s)""",
            (result.key.tenant, result.key.study_id, named),
        ).fetchall()
    row_of = {row["sop_instance_uid"]: row for row in rows}
    return [row_of[uid] for uid in dict.fromkeys(named) if uid in row_of]


def _known(root: Path, own: Sequence[Row]) -> Mapping[str, Known]:
    """The DICOM objects of the result and of its earlier reviews that are still here."""
    paths = [root / row["location"] for row in own if row["kind"] in RESULT_KINDS]
    headers = (dcmread(path, stop_before_pixels=True) for path in paths if path.is_file())
    return {str(header.SOPInstanceUID): Known.of(header) for header in headers}
