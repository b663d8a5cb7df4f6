"""Senders that look at nothing, and what they send: files as they are, series with one spoilt slice."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
from blake3 import blake3

from tests.dicom_peers import RawPeer
from tests.server_process import RunningServer

CT, EXPLICIT = RawPeer.CT, RawPeer.EXPLICIT


class Sent:
    """Everything that went out, and what the server said to it."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, str] = {}
        self.answers: Counter[str] = Counter()
        self.markers: set[str] = set()

    def note(self, sop_instance_uid: str, data_set: bytes, answer: int | str) -> None:
        self.answers[f"{answer:04X}H" if isinstance(answer, int) else answer] += 1
        if answer == 0:
            # The first is kept, whatever comes later under its UID.
            self.acknowledged.setdefault(sop_instance_uid, blake3(data_set).hexdigest())

    def mark(self, path: Path) -> None:
        """Remember what may never appear in a log."""
        try:
            data_set = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            values = [str(data_set.get("PatientName", "")), str(data_set.get("PatientID", ""))]
        except Exception:  # whatever a broken file raises in pydicom: then it has no name to leak
            return
        self.markers |= {text for value in values if len(text := value.strip()) >= 5}


def split(content: bytes) -> tuple[dict[int, str], bytes]:
    """(UIDs of group 0002, data set) of a Part 10 file, however odd its meta information; (…, all) of any other."""
    if content[128:132] != b"DICM":
        return {}, content
    position, uids = 132, {}
    while content[position : position + 2] == b"\x02\x00":
        number, vr, length = struct.unpack_from("<H2sH", content, position + 2)
        start = position + 8
        if vr in (b"OB", b"UN"):
            (length,) = struct.unpack_from("<I", content, position + 8)
            start = position + 12
        uids[number] = content[start : start + length].rstrip(b"\0 ").decode("latin-1")
        position = start + length
    return uids, content[position:]


def store_raw(
    server: RunningServer, data_set: bytes, sop_class: str, syntax: str, sop_instance: str
) -> int | str:
    """A C-STORE by a sender that looks at nothing: the status, or in words how else the server ended it."""
    try:
        with RawPeer(server.dicom_port) as peer:
            answer = peer.associate((sop_class, syntax), calling="PACS")
            if answer[68:].split(b"\x21\x00", 1)[1][4] != 0:
                return "context refused"
            if data_set:
                return peer.store(data_set, sop_instance, sop_class)
            peer.store_request(sop_instance, sop_class)
            peer.send(peer.fragment(2, b""))
            return peer.read_status()
    except ConnectionError:
        return "aborted"
    except AssertionError as error:
        if "PDU 7" in str(error) or "PDU 0" in str(error):
            return "aborted"
        raise


def send_raw(server: RunningServer, path: Path, sent: Sent) -> None:
    """As the file says; if that is not negotiated, once more as if it were a plain CT image."""
    sent.mark(path)
    uids, data_set = split(path.read_bytes())
    instance = uids.get(0x0003) or "1.2.3.4.5"
    answer = store_raw(server, data_set, uids.get(0x0002) or CT, uids.get(0x0010) or EXPLICIT, instance)
    if answer == "context refused":
        sent.answers["context refused"] += 1
        answer = store_raw(server, data_set, CT, EXPLICIT, instance)
    sent.note(instance, data_set, answer)


def _set(**values: Any) -> Callable[[pydicom.Dataset], None]:
    def edit(data_set: pydicom.Dataset) -> None:
        for name, value in values.items():
            setattr(data_set, name, value)

    return edit


def _bomb(data_set: pydicom.Dataset) -> None:
    data_set.Rows = data_set.Columns = 65535


def _short(data_set: pydicom.Dataset) -> None:
    data_set.PixelData = data_set.PixelData[:1000]


def _garbage(data_set: pydicom.Dataset) -> None:
    """JPEG-LS by name, noise by nature."""
    data_set.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.80"
    noise = hashlib.sha512(b"noise").digest() * 20
    data_set.PixelData = pydicom.encaps.encapsulate([noise])
    data_set["PixelData"].is_undefined_length = True


def _no_pixels(data_set: pydicom.Dataset) -> None:
    del data_set.PixelData


POISONS: dict[str, Callable[[pydicom.Dataset], None]] = {
    "rows and columns of 65535": _bomb,
    "pixels too short": _short,
    "noise as JPEG-LS": _garbage,
    "no pixels": _no_pixels,
    "two billion frames": _set(NumberOfFrames=2**31 - 1),
    "no rows": _set(Rows=0),
    "36 bits stored": _set(BitsStored=36),
    "slope of 1e300": _set(RescaleSlope="1e300"),
    "parallel axes": _set(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
    "colour": _set(PhotometricInterpretation="RGB", SamplesPerPixel=3),
}


def poison_uid(number: int, kind: str) -> str:
    return f"2.25.{int.from_bytes(hashlib.sha256(f'poison {number} {kind}'.encode()).digest()[:15])}"


def poisoned(
    source: Path, folder: Path, number: int, poison: Callable[[pydicom.Dataset], None]
) -> list[Path]:
    """The plain series as a study of its own, its 15th slice spoilt."""
    folder.mkdir()
    paths = []
    for index, path in enumerate(sorted(source.iterdir())):
        data_set = pydicom.dcmread(path)
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID = (
            poison_uid(number, "study"),
            poison_uid(number, "series"),
        )
        uid = poison_uid(number, f"instance {index}")
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = uid
        if index == 14:
            poison(data_set)
        paths.append(folder / path.name)
        data_set.save_as(paths[-1])
    return paths
