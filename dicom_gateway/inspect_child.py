"""Read headers in the child of `inspect`: one JSON line per file, written as soon as it is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from dicom_gateway import frame_headers as tags
from dicom_gateway import header_values as values
from dicom_gateway.frame_headers import HEADER_TAGS, frame_count, read_frames
from dicom_gateway.part10 import FileUnreadable, read_header
from study.errors import InvalidUID
from study.identifiers import validate_uid

_MEDIA_STORAGE_SOP_CLASS_UID = 0x00020002
_MEDIA_STORAGE_SOP_INSTANCE_UID = 0x00020003


def run(arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: paths (list), records_path; answer: count of files read. Lines stand in the paths' order."""
    with Path(arguments["records_path"]).open("a", encoding="utf-8") as records:
        for path in arguments["paths"]:
            json.dump(_record(Path(path)), records, allow_nan=False)
            records.write("\n")
            # The parent names the next file as the culprit when this process dies.
            records.flush()
    return {"count": len(arguments["paths"])}


def _record(path: Path) -> dict[str, Any]:
    try:
        header = read_header(path, HEADER_TAGS)
        meta = {"transfer_syntax_uid": header.transfer_syntax_uid}
        return _describe(header.dataset) | meta | _check_meta(header.meta, header.dataset)
    except FileUnreadable as error:
        return {"unreadable": str(error)}
    except MemoryError:
        return {"unreadable": "reading its header needs too much memory"}


def _check_meta(meta: Dataset, dataset: Dataset) -> dict[str, bool]:
    """The file meta information should speak of the object that follows (PS3.10 table 7.1-1).

    Another class is a mislabelled object and refused; another instance is common after de-identification
    and told.
    """
    announced, found = values.uid(meta, _MEDIA_STORAGE_SOP_CLASS_UID), values.uid(dataset, tags.SOP_CLASS_UID)
    if announced and found and announced != found:
        raise FileUnreadable("its file meta information names another SOP Class than its data set")
    instance = values.uid(meta, _MEDIA_STORAGE_SOP_INSTANCE_UID)
    return {"meta_differs": instance not in ("", values.uid(dataset, tags.SOP_INSTANCE_UID))}


def _describe(dataset: Dataset) -> dict[str, Any]:
    frames = read_frames(dataset, frames_max=1)
    first = frames[0] if frames else None
    return {
        "study": {
            "study_instance_uid": _valid_uid(dataset, tags.STUDY_INSTANCE_UID, "Study Instance UID"),
            **_texts(
                dataset,
                study_date=tags.STUDY_DATE,
                study_time=tags.STUDY_TIME,
                accession_number=tags.ACCESSION_NUMBER,
                description=tags.STUDY_DESCRIPTION,
                referring_physician=tags.REFERRING_PHYSICIAN,
                institution=tags.INSTITUTION_NAME,
            ),
            **_request(dataset),
        },
        "patient": _texts(
            dataset,
            patient_id=tags.PATIENT_ID,
            name=tags.PATIENT_NAME,
            birth_date=tags.PATIENT_BIRTH_DATE,
            sex=tags.PATIENT_SEX,
            age=tags.PATIENT_AGE,
        ),
        "series": {
            "series_instance_uid": _valid_uid(dataset, tags.SERIES_INSTANCE_UID, "Series Instance UID"),
            "series_number": values.integer(dataset, tags.SERIES_NUMBER),
            "body_part_examined": first.body_part if first else "",
            "convolution_kernel": first.convolution_kernel if first else "",
            **_texts(
                dataset,
                modality=tags.MODALITY,
                description=tags.SERIES_DESCRIPTION,
                protocol_name=tags.PROTOCOL_NAME,
                manufacturer=tags.MANUFACTURER,
                manufacturer_model_name=tags.MANUFACTURER_MODEL_NAME,
                station_name=tags.STATION_NAME,
                contrast_bolus_agent=tags.CONTRAST_BOLUS_AGENT,
                frame_of_reference_uid=tags.FRAME_OF_REFERENCE_UID,
            ),
        },
        "instance": {
            "sop_instance_uid": _valid_uid(dataset, tags.SOP_INSTANCE_UID, "SOP Instance UID"),
            "sop_class_uid": _valid_uid(dataset, tags.SOP_CLASS_UID, "SOP Class UID"),
            "image_type": values.texts(dataset, tags.IMAGE_TYPE),
            "instance_number": values.integer(dataset, tags.INSTANCE_NUMBER),
            "rows": values.integer(dataset, tags.ROWS) or 0,
            "columns": values.integer(dataset, tags.COLUMNS) or 0,
            "number_of_frames": frame_count(dataset),
            "image_position_mm": first and first.position_mm,
            "image_orientation": first and first.orientation,
            "pixel_spacing_mm": first and first.spacing_mm,
            "slice_thickness_mm": first and first.slice_thickness_mm,
            "acquisition_number": values.integer(dataset, tags.ACQUISITION_NUMBER),
            "view_position": values.text(dataset, tags.VIEW_POSITION),
            "presentation_intent": values.text(dataset, tags.PRESENTATION_INTENT_TYPE),
        },
    }


def _request(dataset: Dataset) -> dict[str, str]:
    """What was asked for: of the image itself, else of its first request (PS3.3 table 10-9)."""
    asked = values.first_item(dataset, tags.REQUEST_ATTRIBUTES_SEQUENCE) or Dataset()
    wanted = {
        "requested_procedure_description": tags.REQUESTED_PROCEDURE_DESCRIPTION,
        "requested_procedure_priority": tags.REQUESTED_PROCEDURE_PRIORITY,
    }
    return {name: values.text(dataset, tag) or values.text(asked, tag) for name, tag in wanted.items()}


def _valid_uid(dataset: Dataset, tag: int, name: str) -> str:
    found = values.uid(dataset, tag)
    try:
        return validate_uid(found)
    except InvalidUID as error:
        raise FileUnreadable(f"it has no {name}" if not found else f"its {name} is not a UID") from error


def _texts(dataset: Dataset, **wanted: int) -> dict[str, str]:
    return {name: values.text(dataset, tag) for name, tag in wanted.items()}
