"""Manifest: everything the server needs to know about a model, from its manifest.toml."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InvalidManifest

_TEXTS = (
    "name", "version", "title", "publisher", "family", "intended_use", "clearance_status", "product_code",
    "weights_file", "weights_sha256",
)  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9_]{1,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class InputRequirements:
    """Which series a model reads.

    body_parts: values of Body Part Examined that fit, upper case; an absent value is not a misfit.
    excluded_image_types: a series with one of these values in Image Type is not read.
    """

    modality: str
    body_parts: tuple[str, ...]
    orientation: str
    slice_thickness_mm_max: float
    slice_spacing_mm_min: float
    slice_spacing_mm_max: float
    slice_count_min: int
    slice_count_max: int
    excluded_image_types: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """The description of one model in one version.

    family: which code pre- and postprocesses for it. spacing_mm: (slice, row, column) spacing that
    the graph works at. outputs: shape of each output of the graph, -1 where it varies.
    settings: what only the family understands. folder: where the manifest was read.
    """

    name: str
    version: str
    title: str
    publisher: str
    family: str
    intended_use: str
    clearance_status: str
    product_code: str
    spacing_mm: tuple[float, float, float]
    operating_threshold: float
    weights_file: str
    weights_sha256: str
    evaluation_file: str
    input: InputRequirements
    outputs: dict[str, tuple[int, ...]]
    settings: dict[str, Any]
    folder: Path

    @property
    def weights_path(self) -> Path:
        """Where the weights lie; `verified_weights` also checks them."""
        return self.folder / self.weights_file

    # Short names for what routing asks most.
    @property
    def modality(self) -> str:
        """DICOM modality that the model reads."""
        return self.input.modality

    @property
    def body_parts(self) -> tuple[str, ...]:
        """Values of Body Part Examined that fit."""
        return self.input.body_parts


def load_manifest(folder: Path) -> Manifest:
    """Read `folder`/manifest.toml."""
    path = folder / "manifest.toml"
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidManifest(path, str(error)) from error
    try:
        manifest = _parse(values, folder)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidManifest(path, f"{type(error).__name__}: {error}") from error
    _check(manifest, path)
    return manifest


def _parse(values: dict[str, Any], folder: Path) -> Manifest:
    needs = values["input"]
    z, y, x = (float(step) for step in values["spacing_mm"])
    return Manifest(
        **{key: str(values[key]) for key in _TEXTS},
        evaluation_file=str(values.get("evaluation_file", "")),
        spacing_mm=(z, y, x),
        operating_threshold=float(values["operating_threshold"]),
        input=InputRequirements(
            modality=str(needs["modality"]),
            body_parts=tuple(str(part).upper() for part in needs["body_parts"]),
            orientation=str(needs["orientation"]),
            slice_thickness_mm_max=float(needs["slice_thickness_mm_max"]),
            slice_spacing_mm_min=float(needs["slice_spacing_mm_min"]),
            slice_spacing_mm_max=float(needs["slice_spacing_mm_max"]),
            slice_count_min=int(needs["slice_count_min"]),
            slice_count_max=int(needs["slice_count_max"]),
            excluded_image_types=tuple(str(kind).upper() for kind in needs["excluded_image_types"]),
        ),
        outputs={str(name): tuple(int(size) for size in shape) for name, shape in values["outputs"].items()},
        settings=dict(values.get("settings", {})),
        folder=folder,
    )


def _check(manifest: Manifest, path: Path) -> None:
    if _NAME.fullmatch(manifest.name) is None:
        raise InvalidManifest(path, "name must be lower-case letters, digits and underscores")
    if _SHA256.fullmatch(manifest.weights_sha256) is None:
        raise InvalidManifest(path, "weights_sha256 must be 64 lower-case hexadecimal digits")
    for name in (manifest.weights_file, manifest.evaluation_file):
        if name != Path(name).name and name:
            raise InvalidManifest(path, f"{name!r} must be a file name in the model's own folder")
    if not 0 <= manifest.operating_threshold <= 1:
        raise InvalidManifest(path, "operating_threshold must lie in [0, 1]")
    if min(manifest.spacing_mm) <= 0 or not manifest.outputs:
        raise InvalidManifest(path, "spacing_mm must be positive and outputs must not be empty")
