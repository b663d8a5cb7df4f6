"""Decode frames to uncompressed little endian in the child of `web_decode`, or an instance as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_gateway import frame_headers as tags
from dicom_gateway.decode_errors import DecodeError, PixelFormatNotSupported
from dicom_gateway.frame_table import FrameTable, frame_table_of
from dicom_gateway.part10 import FileUnreadable, Header, read_header
from dicom_gateway.pixels import LOSSY_SYNTAXES
from dicom_gateway.web_pixels import image_pixels, stored_samples


def run(arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: files, each with path, out_path and frames, the numbers to write one after the other; without
    `frames` the whole instance is written. Answer: {} or {"problem": reason}."""
    config.settings.reading_validation_mode = config.IGNORE
    config.settings.writing_validation_mode = config.IGNORE
    try:
        for file in arguments["files"]:
            path, out = Path(file["path"]), Path(file["out_path"])
            if "frames" in file:
                _write_frames(path, out, file["frames"])
            else:
                _write_instance(path, out)
    except (DecodeError, FileUnreadable) as error:
        return {"problem": str(error)}
    return {}


def _write_frames(path: Path, out: Path, numbers: list[int]) -> None:
    header = read_header(path)
    table = frame_table_of(path, header)
    with out.open("wb") as written:
        for frame in _frames(path, header, table, numbers):
            written.write(frame)


def _frames(path: Path, header: Header, table: FrameTable, numbers: list[int]) -> Any:
    image = image_pixels(header, table)
    if table.encapsulated is not None and not image.is_grey:
        # Decoders give other colours than the header names.
        raise PixelFormatNotSupported("compressed colour is given as it is stored")
    with path.open("rb") as file:
        for number in numbers:
            samples = stored_samples(table.read(file, number), image, table, number)
            if image.bits == 1:
                samples = np.packbits(samples, axis=None, bitorder="little")
            yield samples.tobytes()


def _write_instance(path: Path, out: Path) -> None:
    """The same instance in Explicit VR Little Endian; nothing else of it changes."""
    header = read_header(path)
    dataset = dcmread(path)
    table = frame_table_of(path, header)
    if header.pixels is not None and table.encapsulated is not None:
        if header.transfer_syntax_uid in LOSSY_SYNTAXES:
            raise PixelFormatNotSupported("what was compressed with loss is given as it is stored")
        numbers = list(range(1, table.frame_count + 1))
        data = b"".join(_frames(path, header, table, numbers))
        dataset.PixelData = data + b"\0" * (len(data) % 2)
        dataset["PixelData"].VR = "OB" if dataset.get(tags.BITS_ALLOCATED).value <= 8 else "OW"
        dataset["PixelData"].is_undefined_length = False
        for offsets in (0x7FE00001, 0x7FE00002):
            dataset.pop(offsets, None)
    _save(dataset, out)


def _save(dataset: Dataset, out: Path) -> None:
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    try:
        dataset.save_as(out, implicit_vr=False, little_endian=True, enforce_file_format=True)
    except MemoryError:
        raise
    except Exception as error:  # a hostile value cannot be written in any of many ways
        raise PixelFormatNotSupported("the instance cannot be written in another transfer syntax") from error
