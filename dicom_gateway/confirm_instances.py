"""Confirm by asking back: an archive that lists an instance has it (C-FIND or QIDO-RS at instance level)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dicom_gateway.archive_match import Level, QueryAnswer, QueryLimits
from dicom_gateway.data_set_head import read_head
from dicom_gateway.errors import DataSetHeadUnreadable, NotAPart10File
from dicom_gateway.file_meta import FILE_META_BYTES_MAX, scan_file_meta
from dicom_gateway.storage_commitment import Reference

Search = Callable[[Level, Mapping[str, str], QueryLimits], QueryAnswer]

_LIMITS = QueryLimits(matches_max=10, time_s=10.0)


@dataclass(frozen=True)
class DeliveredInstance:
    """Where an instance stands in the hierarchy, read from the file that was sent."""

    study_instance_uid: str
    series_instance_uid: str
    reference: Reference


def read_delivered(path: Path) -> DeliveredInstance:
    """From the head of one of our own result files; raises `NotAPart10File` where that is none."""
    with path.open("rb") as file:
        scanned = scan_file_meta(file.read(FILE_META_BYTES_MAX))
        if scanned is None:
            raise NotAPart10File("ends before its data set begins")
        meta, offset = scanned

        def read_at(position: int, count: int) -> bytes:
            file.seek(offset + position)
            return file.read(count)

        try:
            head = read_head(read_at, path.stat().st_size - offset, meta.transfer_syntax_uid)
        except DataSetHeadUnreadable as error:
            raise NotAPart10File(str(error)) from None
    return DeliveredInstance(
        head.study_instance_uid,
        head.series_instance_uid,
        Reference(meta.sop_class_uid, meta.sop_instance_uid),
    )


def confirm_instances(search: Search, instances: Iterable[DeliveredInstance]) -> dict[str, str | None]:
    """SOP Instance UID → None where the archive lists it, else why it is not confirmed.

    After a question without an answer the rest is not asked: it has the same reason.
    """
    confirmed: dict[str, str | None] = {}
    error: str | None = None
    for one in instances:
        uid = one.reference.sop_instance_uid
        if error is None:
            keys = {
                "StudyInstanceUID": one.study_instance_uid,
                "SeriesInstanceUID": one.series_instance_uid,
                "SOPInstanceUID": uid,
            }
            answer = search("IMAGE", keys, _LIMITS)
            if any(match.uid == uid for match in answer.matches):
                confirmed[uid] = None
                continue
            error = answer.error
        confirmed[uid] = error or "the archive does not list it"
    return confirmed
