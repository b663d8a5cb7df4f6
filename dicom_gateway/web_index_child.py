"""Read headers in the child of `web_index`: metadata in the DICOM JSON model and the table of frames."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydicom import config

from dicom_gateway.frame_table import FrameTable, frame_table_of
from dicom_gateway.json_model import INSTANCE_MARK, json_model
from dicom_gateway.part10 import PIXEL_DATA, FileUnreadable, Header, read_header
from dicom_gateway.pixels import LOSSY_SYNTAXES, SUPPORTED_SYNTAXES
from dicom_gateway.web_pixels import image_pixels

_PIXEL_VRS = {0x7FE00008: "OF", 0x7FE00009: "OD", PIXEL_DATA: "OW"}


def run(arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: files, each with path, metadata_path, frames_path and facts that are known of it. Answer: {}."""
    config.settings.reading_validation_mode = config.IGNORE
    for file in arguments["files"]:
        model, table = _read(Path(file["path"]), file["facts"])
        # The metadata comes last: where it is, the table is.
        _write(Path(file["frames_path"]), table.as_json())
        _write(Path(file["metadata_path"]), model)
    return {}


def _read(path: Path, facts: dict[str, Any]) -> tuple[dict[str, Any], FrameTable]:
    try:
        header = read_header(path)
    except FileUnreadable as error:
        return facts, FrameTable("", problem=f"the file cannot be read: {error}")
    model = json_model(header.dataset) | facts
    model["00083002"] = {"vr": "UI", "Value": [header.transfer_syntax_uid]}
    if header.pixels is not None:
        uri = f"{INSTANCE_MARK}/bulkdata/{header.pixels.tag:08X}"
        model[f"{header.pixels.tag:08X}"] = {"vr": _PIXEL_VRS[header.pixels.tag], "BulkDataURI": uri}
    table = frame_table_of(path, header)
    return dict(sorted(model.items())), replace(
        table,
        is_decodable=_is_decodable(header, table),
        is_lossy=header.transfer_syntax_uid in LOSSY_SYNTAXES,
    )


def _is_decodable(header: Header, table: FrameTable) -> bool:
    if table.problem or table.encapsulated is None:
        return not table.problem
    image = image_pixels(header, table)
    return image.is_grey and image.bits in (8, 16) and image.transfer_syntax_uid in SUPPORTED_SYNTAXES


def _write(path: Path, record: dict[str, Any]) -> None:
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(
        json.dumps(record, separators=(",", ":"), ensure_ascii=False, allow_nan=False), "utf-8"
    )
    partial.replace(path)
