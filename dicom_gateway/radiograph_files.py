"""A decoded radiograph on disk: `pixels.npy` (uint16) and `radiograph.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from study.radiograph import Radiograph

PIXELS_NAME = "pixels.npy"
DESCRIPTION_NAME = "radiograph.json"


class RadiographNotDecoded(FileNotFoundError):
    """The folder holds no whole decoded radiograph, or a damaged one."""


@dataclass(frozen=True)
class RadiographDescription:
    """All of a `Radiograph` but its pixels, as plain JSON values."""

    bits: int
    spacing_mm: list[float] | None
    sop_instance_uid: str
    series_instance_uid: str
    view_position: str
    window: tuple[float, float] | None
    notes: list[str]

    def write(self, folder: Path) -> None:
        """Written last: its presence means that the pixels are whole."""
        partial = folder / f"{DESCRIPTION_NAME}.partial"
        partial.write_text(json.dumps(self.__dict__, allow_nan=False, ensure_ascii=False), encoding="utf-8")
        partial.replace(folder / DESCRIPTION_NAME)


def load_radiograph(folder: Path) -> Radiograph:
    """Re-open what a former decode wrote."""
    try:
        record: dict[str, Any] = json.loads((folder / DESCRIPTION_NAME).read_text(encoding="utf-8"))
        pixels = np.load(folder / PIXELS_NAME, allow_pickle=False)
    except (FileNotFoundError, ValueError) as error:
        raise RadiographNotDecoded(f"no decoded radiograph in {folder.name}") from error
    spacing, window = record.pop("spacing_mm"), record.pop("window")
    notes = tuple(record.pop("notes"))
    return Radiograph(
        **record,
        pixels=pixels,
        spacing_mm=(spacing[0], spacing[1]) if spacing is not None else None,
        window=(window[0], window[1]) if window is not None else None,
        notes=notes,
    )
