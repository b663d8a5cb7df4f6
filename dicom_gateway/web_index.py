"""Metadata and frame tables of stored instances, read once by children and kept beside the instances.

What is kept can be thrown away at any time: it is made anew from the instances when it is next asked for.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_gateway.child_process import ChildError, ChildLimits, in_parts, run_child
from dicom_gateway.frame_table import FrameTable, table_from_json
from dicom_gateway.web_decode import turn
from storage.objects import LOCAL_OBJECTS, Objects

# Counts with what is written, so that a new release does not serve what an old one has kept.
_FORMAT = 1
_LIMITS = ChildLimits(memory_bytes=1 << 30, cpu_s=120, wall_clock_s=180.0, file_bytes=256 << 20)
_FILES_OF_CHILD_MIN = 50
_IDENTITIES_MAX = 100_000
_IDENTITY_TAGS = ("0020000E", "00080016", "00080060")


@dataclass(frozen=True)
class IndexedFile:
    """One instance to read.

    digest: of its content or place, the same for the same bytes. facts: attributes that are known of it whatever
    the file says, in the DICOM JSON model. tenant: whose it is.
    """

    path: Path
    digest: str
    facts: dict[str, Any]
    tenant: str = ""


@dataclass(frozen=True)
class Identity:
    """What an instance says of itself; empty where it does not."""

    series_instance_uid: str
    sop_class_uid: str
    modality: str


def first_text(model: dict[str, Any], tag: str) -> str:
    """The first value of an attribute as text, empty where there is none."""
    values = model.get(tag, {}).get("Value") or [""]
    return str(values[0])


class WebIndex:
    """The kept files below one folder."""

    def __init__(self, root: Path, objects: Objects = LOCAL_OBJECTS) -> None:
        self._root = root
        self._objects = objects
        self._reading = threading.Lock()
        self._identities: dict[str, Identity] = {}

    def metadata(self, files: Sequence[IndexedFile]) -> list[bytes]:
        """Of each instance the DICOM JSON model; its addresses begin with `json_model.INSTANCE_MARK`."""
        self._read_missing(files)
        return [self._paths(file)[0].read_bytes() for file in files]

    def models(self, files: Sequence[IndexedFile]) -> list[dict[str, Any]]:
        """`metadata`, parsed."""
        return [json.loads(text) for text in self.metadata(files)]

    def identities(self, files: Sequence[IndexedFile]) -> list[Identity]:
        """Series, class and modality of each, remembered."""
        unknown = [file for file in files if file.digest not in self._identities]
        if len(self._identities) + len(unknown) > _IDENTITIES_MAX:
            self._identities.clear()
            unknown = list(files)
        for file, model in zip(unknown, self.models(unknown), strict=True):
            self._identities[file.digest] = Identity(*(first_text(model, tag) for tag in _IDENTITY_TAGS))
        return [self._identities[file.digest] for file in files]

    def frames(self, file: IndexedFile) -> FrameTable:
        self._read_missing([file])
        return table_from_json(json.loads(self._paths(file)[1].read_bytes()))

    def _paths(self, file: IndexedFile) -> tuple[Path, Path]:
        name = hashlib.sha256(f"{_FORMAT} {file.path.name} {file.digest}".encode()).hexdigest()
        folder = self._root / name[:2]
        return folder / f"{name}.metadata.json", folder / f"{name}.frames.json"

    def _read_missing(self, files: Sequence[IndexedFile]) -> None:
        if all(self._paths(file)[0].is_file() for file in files):
            return
        # A viewer asks for much of one study at a time: the first reads it for all.
        with turn(), self._reading:
            missing = [file for file in files if not self._paths(file)[0].is_file()]
            with self._objects.at_hand(missing[0].tenant if missing else "", [one.path for one in missing]):
                self._read_all(missing)

    def _read_all(self, missing: Sequence[IndexedFile]) -> None:
        for file in missing:
            self._paths(file)[0].parent.mkdir(parents=True, exist_ok=True)
        parts = in_parts(missing, _FILES_OF_CHILD_MIN) if missing else []
        with ThreadPoolExecutor(max(1, len(parts))) as pool:
            list(pool.map(self._read_part, parts))

    def _read_part(self, files: Sequence[IndexedFile]) -> None:
        """A file that a child does not survive is listed with what is known of it, the others are read without it."""
        try:
            run_child("web_index", {"files": [self._request(file) for file in files]}, _LIMITS)
        except ChildError:
            if len(files) > 1:
                for file in files:
                    if not self._paths(file)[0].is_file():
                        self._read_part([file])
                return
            metadata, frames = self._paths(files[0])
            problem = FrameTable("", problem="the file cannot be read within the limits")
            frames.write_text(json.dumps(problem.as_json()), "utf-8")
            metadata.write_text(json.dumps(files[0].facts), "utf-8")

    def _request(self, file: IndexedFile) -> dict[str, Any]:
        metadata, frames = self._paths(file)
        return {
            "path": str(file.path.absolute()),
            "metadata_path": str(metadata.absolute()),
            "frames_path": str(frames.absolute()),
            "facts": file.facts,
        }
