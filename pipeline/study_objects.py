"""The stored instances of studies and our result objects of them, as the web reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pipeline.database import Connection

# What is no DICOM object has no place among the instances of a study.
_DICOM_KINDS = ["SR", "SEG", "PM", "PDF", "SC", "KEYS", "KOS", "GSPS", "SR2D", "TEXT"]
_RESULT_MODALITIES = ["SR", "SEG", "OT", "DOC", "KO", "PR"]


@dataclass(frozen=True)
class StoredObject:
    """One instance, received or made.

    location: relative to the folder of instances, or of results where `is_result`. digest: of its content.
    series_instance_uid, sop_class_uid, modality: empty for results, whose files tell. is_current: no later revision
    has taken its place.
    """

    sop_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    modality: str
    transfer_syntax_uid: str
    location: str
    digest: str
    is_result: bool
    is_current: bool


_OBJECTS = """
    SELECT sop_instance_uid, series_instance_uid, sop_class_uid, modality, transfer_syntax_uid, location,
           blake3 AS digest, false AS is_result, true AS is_current
    FROM instance
    WHERE tenant = %(tenant)s AND study_id = %(study)s AND (%(sop)s::text IS NULL OR sop_instance_uid = %(sop)s)
      AND (%(series)s::text IS NULL OR series_instance_uid = %(series)s)
    UNION ALL
    SELECT sop_instance_uid, '', '', kind, '', location, sha256, true,
           kind <> 'KOS' AND revision = max(revision) OVER (PARTITION BY product)
    FROM result_object
    WHERE tenant = %(tenant)s AND study_id = %(study)s AND kind = ANY(%(kinds)s)
"""


def objects_of_study(
    conn: Connection, tenant: str, study_id: UUID, *, series: str | None = None, sop: str | None = None
) -> list[StoredObject]:
    """Received instances of the study, or of one series or one SOP Instance UID of it, and all results of the study.

    A rejection note is never current: it speaks of other objects.
    """
    values = {"tenant": tenant, "study": study_id, "series": series, "sop": sop, "kinds": _DICOM_KINDS}
    rows = conn.execute(_OBJECTS + " ORDER BY is_result, sop_instance_uid", values).fetchall()
    return [StoredObject(**row) for row in rows if sop is None or row["sop_instance_uid"] == sop]


def study_of_uid(conn: Connection, tenant: str, study_instance_uid: str) -> UUID | None:
    row = conn.execute(
        "SELECT id FROM study WHERE tenant = %s AND study_instance_uid = %s", (tenant, study_instance_uid)
    ).fetchone()
    return None if row is None else row["id"]


@dataclass(frozen=True)
class StudyFilter:
    """What the database knows of a study; it leaves out what cannot match, and may leave in what does not.

    Texts are patterns of LIKE; None where nothing is asked. modalities: of its series.
    """

    study_instance_uids: list[str] | None = None
    patient_id: str | None = None
    patient_name: str | None = None
    accession_number: str | None = None
    date_from: str | None = None
    date_to: str | None = None
    modality: str | None = None


_STUDIES = """
    SELECT id, study_instance_uid FROM study s
    WHERE tenant = %(tenant)s
      AND EXISTS (SELECT 1 FROM instance i WHERE i.tenant = s.tenant AND i.study_id = s.id)
      AND (%(study_instance_uids)s::text[] IS NULL OR study_instance_uid = ANY(%(study_instance_uids)s))
      AND (%(patient_id)s::text IS NULL OR header = '{}' OR header->>'patient_id' LIKE %(patient_id)s)
      AND (%(patient_name)s::text IS NULL OR header = '{}' OR header->>'patient_name' ILIKE %(patient_name)s)
      AND (%(accession_number)s::text IS NULL OR header = '{}'
           OR header->>'accession_number' LIKE %(accession_number)s)
      AND (%(date_from)s::text IS NULL OR header = '{}' OR header->>'study_date' >= %(date_from)s)
      AND (%(date_to)s::text IS NULL OR header = '{}' OR header->>'study_date' <= %(date_to)s)
      AND (%(modality)s::text IS NULL OR %(modality)s = ANY(%(result_modalities)s)
           OR EXISTS (SELECT 1 FROM instance i WHERE i.tenant = s.tenant AND i.study_id = s.id
                      AND i.modality LIKE %(modality)s))
    ORDER BY created_at DESC, id LIMIT %(limit)s OFFSET %(offset)s
"""


def find_studies(
    conn: Connection, tenant: str, wanted: StudyFilter, *, limit: int, offset: int
) -> list[tuple[UUID, str]]:
    """(our id, Study Instance UID) of studies that may match, newest first."""
    values: dict[str, Any] = vars(wanted) | {"tenant": tenant, "limit": limit, "offset": offset}
    values["result_modalities"] = _RESULT_MODALITIES
    rows = conn.execute(_STUDIES, values).fetchall()
    return [(row["id"], row["study_instance_uid"]) for row in rows]
