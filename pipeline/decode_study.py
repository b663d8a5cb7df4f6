"""Decode: the chosen series become volumes, the chosen radiographs pictures, in the work folder."""

from __future__ import annotations

from dicom_gateway.decode import decode_image
from dicom_gateway.decode_errors import DecodeError, DecoderCrashed, DecodeTimedOut, StorageFull
from pipeline import store
from pipeline.database import Connection
from pipeline.errors import StudyFailed
from pipeline.limit_gate import hold_back
from pipeline.refused_choices import Reason, refuse_choices, require_one_left
from pipeline.same_pixels import note_same_pixels, pixel_digest
from pipeline.scrub import require_whole
from pipeline.services import Outcome, Services
from pipeline.store import StudyRecord
from pipeline.study_file import load_study
from study.volume import Volume


def decode_study(services: Services, record: StudyRecord) -> Outcome:
    """Decode everything that the route names. A series that cannot be read refuses the models that wanted it, with
    the reason; the study is refused when none is left.

    A study that a limit of the contract holds back is not decoded yet: what waits takes no space.
    """
    held = hold_back(services.database, record, now=services.database.now())
    if held is not None:
        return held
    study = load_study(services.folders.work_of(record))
    notes: list[str] = []
    digests: dict[str, str] = {}
    slice_count = 0
    refused: dict[str, Reason] = {}
    by_folder = {services.folders.image_of(record, choice): choice for choice in record.to_run}
    with services.database.transaction(record.tenant) as conn:
        rows = store.instances(conn, record.tenant, record.id)
    for folder, read in sorted(by_folder.items()):
        uid = read["series_instance_uid"]
        wanted = [row for row in rows if row["series_instance_uid"] == uid]
        require_whole(services, record, wanted)
        try:
            with services.folders.instances_at_hand(record.tenant, wanted):
                image = decode_image(
                    study.series_of(uid),
                    services.folders.instances,
                    folder,
                    sop_instance_uid=read.get("sop_instance_uid", ""),
                )
        except StorageFull as error:
            raise OSError(str(error)) from error  # passes by itself once there is room
        except (DecodeTimedOut, DecoderCrashed) as error:
            raise StudyFailed(error.code, str(error)) from error
        except DecodeError as error:
            refused |= {
                choice["product"]: (error.code, str(error))
                for choice in record.to_run
                if services.folders.image_of(record, choice) == folder
            }
            continue
        notes.extend(image.notes)
        slice_count += image.voxels.shape[0] if isinstance(image, Volume) else 0
        digests[uid] = pixel_digest(image)
    require_one_left(record, refused)

    def save(conn: Connection, study: StudyRecord) -> None:
        refuse_choices(conn, study, refused)
        note_same_pixels(conn, study, digests)

    return Outcome(
        save=save,
        detail={"slices": slice_count, "images": len(by_folder), "notes": notes},
    )
