"""Which image of a series is meant by a number, as a reader names it; read from the headers of the images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from pipeline import store
from pipeline.database import Connection
from pipeline.review_errors import PlaceUnknown
from pipeline.reviews import ReviewedResult
from pipeline.services import Folders
from study.review import Place

IMAGES_MAX = 20_000
_TAGS = ["InstanceNumber", "NumberOfFrames", "Rows", "Columns", "SOPInstanceUID"]


@dataclass(frozen=True)
class SeriesImage:
    """number: Instance Number, or of a frame of a multi-frame image. frame_number: None of a single image."""

    number: int
    sop_instance_uid: str
    rows: int
    columns: int
    frame_number: int | None = None

    def place(self, column: float, row: float) -> Place:
        """Raises `PlaceUnknown` for what lies outside."""
        if not (0 <= column <= self.columns and 0 <= row <= self.rows):
            raise PlaceUnknown(PlaceUnknown.__doc__)
        return self.sop_instance_uid, column, row


def series_images(conn: Connection, result: ReviewedResult, folders: Folders) -> tuple[SeriesImage, ...]:
    """The images of the series that the model read, by number."""
    rows = [
        row
        for row in store.instances(conn, result.key.tenant, result.key.study_id)
        if row["series_instance_uid"] == result.series_instance_uid
    ][:IMAGES_MAX]
    with folders.instances_at_hand(result.key.tenant, rows):
        return _read(tuple(str(folders.instances / row["location"]) for row in rows))


@lru_cache(maxsize=16)
def _read(paths: tuple[str, ...]) -> tuple[SeriesImage, ...]:
    images: list[SeriesImage] = []
    for path in paths:
        try:
            header = dcmread(path, specific_tags=_TAGS, stop_before_pixels=True)
            uid, rows, columns = str(header.SOPInstanceUID), int(header.Rows), int(header.Columns)
            frames, number = int(header.get("NumberOfFrames") or 1), header.get("InstanceNumber")
        except (InvalidDicomError, OSError, ValueError, TypeError, AttributeError):
            continue  # what cannot be read was not read by the model either
        if frames > 1:
            images += [
                SeriesImage(frame, uid, rows, columns, frame)
                for frame in range(1, min(frames, IMAGES_MAX) + 1)
            ]
        elif number is not None:
            images.append(SeriesImage(int(number), uid, rows, columns))
    return tuple(sorted(images, key=lambda image: image.number))


def find_image(images: tuple[SeriesImage, ...], number: int) -> SeriesImage:
    """Raises `PlaceUnknown`."""
    found = next((image for image in images if image.number == number), None)
    if found is None:
        raise PlaceUnknown(PlaceUnknown.__doc__)
    return found
