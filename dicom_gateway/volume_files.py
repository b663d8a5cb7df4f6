"""A decoded volume on disk: `voxels.npy` (int16, mapped into memory on reading) and `volume.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from study.volume import Volume

VOXELS_NAME = "voxels.npy"
DESCRIPTION_NAME = "volume.json"


class VolumeNotDecoded(FileNotFoundError):
    """The folder holds no whole decoded volume, or a damaged one."""


@dataclass(frozen=True)
class VolumeDescription:
    """All of a `Volume` but its voxels, as plain JSON values."""

    affine_mm: list[list[float]]
    slice_sop_instance_uids: list[str]
    slice_frame_numbers: list[int]
    series_instance_uid: str
    frame_of_reference_uid: str
    slice_thickness_mm: float | None
    notes: list[str]

    def write(self, folder: Path) -> None:
        """Written last: its presence means that the voxels are whole."""
        partial = folder / f"{DESCRIPTION_NAME}.partial"
        partial.write_text(json.dumps(self.__dict__, allow_nan=False, ensure_ascii=False), encoding="utf-8")
        partial.replace(folder / DESCRIPTION_NAME)


def load_volume(folder: Path) -> Volume:
    """Re-open what a former decode wrote; the voxels are a read-only memory map."""
    try:
        record: dict[str, Any] = json.loads((folder / DESCRIPTION_NAME).read_text(encoding="utf-8"))
        voxels = np.load(folder / VOXELS_NAME, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError) as error:
        raise VolumeNotDecoded(f"no decoded volume in {folder.name}") from error
    return Volume(
        voxels=voxels,
        affine_mm=np.array(record["affine_mm"], dtype=np.float64),
        slice_sop_instance_uids=tuple(record["slice_sop_instance_uids"]),
        slice_frame_numbers=tuple(record["slice_frame_numbers"]),
        series_instance_uid=record["series_instance_uid"],
        frame_of_reference_uid=record["frame_of_reference_uid"],
        slice_thickness_mm=record["slice_thickness_mm"],
        notes=tuple(record["notes"]),
    )
