"""Annotated scans in LUNA16's layout: annotations.csv beside one .mhd file for each series, in any folder below.

annotations.csv: seriesuid,coordX,coordY,coordZ,diameter_mm, centres in patient LPS mm; a column `kind` may say of which
kind a nodule is. annotations_excluded.csv of the same columns, if there, names places where a mark counts as nothing;
facts.csv, if there, tells of each seriesuid what subgroups are made of (sex, age_years, vendor, kernel,
slice_thickness_mm). A scan without a row in annotations.csv is a scan without nodules.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.errors import InvalidAnnotations
from models.evaluation.froc import Real
from models.evaluation.sample import Nodules, Sample
from models.evaluation.subgroups import Facts
from study.volume import Volume

ROWS_MAX = 1_000_000
DIAMETER_MM_MAX = 500.0
VOXELS_MAX = 1 << 30
# LUNA16 pads what the scanner did not see with -2000 and less; Hounsfield units begin at -1024.
LOWEST_HU, HIGHEST_HU = -1024, 3071
NUMBERS = frozenset({"age_years", "slice_thickness_mm"})
FACTS = NUMBERS | {"sex", "vendor", "kernel"}


@dataclass(frozen=True)
class Annotations:
    """What is known of each series by its UID."""

    lesions: dict[str, tuple[Real, ...]]
    ignored: dict[str, tuple[Real, ...]]
    facts: dict[str, dict[str, str | float]]

    def truth_of(self, series: str) -> Nodules:
        """Its nodules; none where nobody wrote any."""
        return Nodules(self.lesions.get(series, ()), self.ignored.get(series, ()))


def annotated(folder: Path) -> Path | None:
    """The folder whose tables tell of these scans: itself, or the one above a subset."""
    places = (folder, folder.absolute().parent)
    return next((place for place in places if (place / "annotations.csv").is_file()), None)


def read_annotations(folder: Path) -> Annotations:
    """The three tables; raises `InvalidAnnotations` with file and line."""
    beside = annotated(folder)
    if beside is None:
        raise InvalidAnnotations(
            folder, "annotations.csv is missing; LUNA16's lies beside the scans or their folder"
        )
    path, excluded, facts = (
        beside / name for name in ("annotations.csv", "annotations_excluded.csv", "facts.csv")
    )
    return Annotations(
        _read_places(path),
        _read_places(excluded) if excluded.is_file() else {},
        _read_facts(facts) if facts.is_file() else {},
    )


def samples(folder: Path) -> Iterator[Sample]:
    """Every .mhd below the folder with its nodules, one at a time, in the order of their names."""
    annotations = read_annotations(folder)
    for path in scans(folder):
        volume = read_mhd(path)
        yield Sample(
            volume, annotations.truth_of(path.stem), "data", facts_of(volume, annotations, path.stem)
        )


def scans(folder: Path) -> list[Path]:
    """The .mhd files; raises `InvalidAnnotations` when there are none."""
    found = sorted(folder.rglob("*.mhd"))
    if not found:
        raise InvalidAnnotations(folder, "there is no .mhd file in it or below it")
    return found


def facts_of(volume: Volume, annotations: Annotations, series: str) -> Facts:
    """The facts of a scan: the distance of its slices, and what facts.csv says."""
    return {"slice_spacing_mm": round(volume.spacing_mm[0], 2), **annotations.facts.get(series, {})}


def read_mhd(path: Path) -> Volume:
    """A MetaImage as a volume: columns to the left, rows to the back, slices upwards.

    Raises `InvalidAnnotations` when it is no CT that can be read.
    """
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("MetaImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size = reader.GetSize()
        if len(size) != 3 or reader.GetNumberOfComponents() != 1 or math.prod(size) > VOXELS_MAX:
            raise InvalidAnnotations(path, f"{size} voxels are no CT of at most {VOXELS_MAX} voxels")
        image = SimpleITK.DICOMOrient(reader.Execute(), "LPS")
    except RuntimeError as error:
        raise InvalidAnnotations(path, f"it cannot be read: {str(error).strip()[-200:]}") from error
    voxels = np.clip(SimpleITK.GetArrayViewFromImage(image), LOWEST_HU, HIGHEST_HU).astype(np.int16)
    spacing, directions = np.array(image.GetSpacing()), np.array(image.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = (directions * spacing)[:, ::-1]  # ITK counts (column, row, slice)
    affine[:3, 3] = image.GetOrigin()
    count = len(voxels)
    return Volume(voxels, affine, ("2.25.1",) * count, tuple(range(1, count + 1)), "2.25.2", "2.25.3")


def _rows(path: Path, wanted: frozenset[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and values of each row of a table that has the columns."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        missing = wanted - set(table.fieldnames or ())
        if missing:
            raise InvalidAnnotations(path, f"the columns {', '.join(sorted(missing))} are missing in line 1")
        for number, row in enumerate(table, 2):
            if number > ROWS_MAX:
                raise InvalidAnnotations(path, f"it has more than {ROWS_MAX} lines")
            yield number, {str(key): (value or "").strip() for key, value in row.items() if key}


def _read_places(path: Path) -> dict[str, tuple[Real, ...]]:
    found: dict[str, list[Real]] = defaultdict(list)
    columns = ("coordX", "coordY", "coordZ", "diameter_mm")
    for number, row in _rows(path, frozenset({"seriesuid", *columns})):
        try:
            x, y, z, diameter = (_finite(row[name]) for name in columns)
        except ValueError:
            raise InvalidAnnotations(path, f"line {number}: {', '.join(columns)} must be numbers") from None
        # The excluded places of LUNA16 carry -1 where nobody measured; the smallest nodule it counts stands for them.
        diameter = 3.0 if diameter == -1 else diameter
        if not 0 < diameter <= DIAMETER_MM_MAX:
            raise InvalidAnnotations(
                path, f"line {number}: a diameter is over 0 and at most {DIAMETER_MM_MAX:g} mm"
            )
        found[row["seriesuid"]].append(Real((x, y, z), diameter, row.get("kind", "")))
    return {series: tuple(places) for series, places in found.items()}


def _read_facts(path: Path) -> dict[str, dict[str, str | float]]:
    found: dict[str, dict[str, str | float]] = {}
    for number, row in _rows(path, frozenset({"seriesuid"})):
        known = {name: value[:64] for name, value in row.items() if name in FACTS and value}
        try:
            found[row["seriesuid"]] = {
                name: _finite(value) if name in NUMBERS else value for name, value in known.items()
            }
        except ValueError:
            raise InvalidAnnotations(
                path, f"line {number}: {', '.join(sorted(NUMBERS))} are numbers"
            ) from None
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
