"""The same pixels under new UIDs: noticed when a series is decoded, and said on the study's timeline.

A PACS that rewrites UIDs, or a second PACS that sends what the first one sent, makes a study that is new by every
identifier. It is processed as any other; that it may be the same examination is for a person to judge.
"""

from __future__ import annotations

from collections.abc import Mapping

import blake3
import numpy as np

from pipeline import store
from pipeline.database import Connection
from pipeline.store import StudyRecord
from study.answer import Image
from study.volume import Volume

_SHOWN_MAX = 5


def pixel_digest(image: Image) -> str:
    """BLAKE3 of an image's shape and pixels: 0.1 s for 300 slices."""
    pixels = image.voxels if isinstance(image, Volume) else image.pixels
    digest = blake3.blake3(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data.cast("B"))
    return digest.hexdigest()


def note_same_pixels(conn: Connection, study: StudyRecord, digests: Mapping[str, str]) -> None:
    """Keep the digest of each series, and note which other studies of the tenant have one of them.

    digests: Series Instance UID → `pixel_digest`.
    """
    for series_instance_uid, digest in digests.items():
        conn.execute(
            """INSERT INTO decoded_series (tenant, study_id, revision, series_instance_uid, pixel_digest)
               VALUES (%s, %s, %s, %s, %s)
               ON CONFLICT (study_id, revision, series_instance_uid) DO UPDATE
                 SET pixel_digest = excluded.pixel_digest""",
            (study.tenant, study.id, study.revision, series_instance_uid, digest),
        )
    others = conn.execute(
        """SELECT study_id FROM decoded_series
           WHERE tenant = %s AND pixel_digest = ANY(%s) AND study_id <> %s
           GROUP BY study_id ORDER BY study_id LIMIT %s""",
        (study.tenant, list(digests.values()), study.id, _SHOWN_MAX),
    ).fetchall()
    for other in others:
        store.note(conn, study, "same_pixels_found", detail={"study": str(other["study_id"])})
