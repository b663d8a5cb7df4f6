"""Models as somebody might bring them: folders and zips, small and whole unless told otherwise."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from models.monai_bundle import manifest_text
from tests.onnx_builder import mean_graph

CARD = "# Means\n\nNot cleared for clinical use. It gives the mean of a volume.\n"


def manifest_tables(graph: bytes, **changes: Any) -> dict[str, dict[str, Any]]:
    """A valid manifest by tables; `changes` are of its top level, None takes a key away."""
    top: dict[str, Any] = {
        "name": "means", "version": "1.0.0", "title": "Means of volumes", "publisher": "Test works",
        "family": "lung_nodule_ct", "product_code": "lung_nodule_ct", "intended_use": "Tests.",
        "clearance_status": "Not cleared for clinical use.", "spacing_mm": [1.0, 1.0, 1.0],
        "operating_threshold": 0.5, "weights_file": "model.onnx",
        "weights_sha256": hashlib.sha256(graph).hexdigest(), "evaluation_file": "evaluation.json",
        "licence": "CC-BY-4.0", "licence_file": "LICENSE.txt",
    }  # fmt: skip
    top = {key: value for key, value in (top | changes).items() if value is not None}
    needs = {
        "modality": "CT", "body_parts": ["CHEST"], "orientation": "axial", "slice_thickness_mm_max": 5.0,
        "slice_spacing_mm_min": 0.3, "slice_spacing_mm_max": 5.0, "slice_count_min": 25, "slice_count_max": 2000,
        "excluded_image_types": ["LOCALIZER"],
    }  # fmt: skip
    return {"": top, "input": needs, "outputs": {"mean": [-1, 1, 1, 1]}}


def package_files(
    graph: bytes | None = None, tables: dict[str, dict[str, Any]] | None = None, **changes: Any
) -> dict[str, bytes]:
    """The files of a package by name. tables: further ones of the manifest, or other ones."""
    graph = mean_graph() if graph is None else graph
    manifest = manifest_text(manifest_tables(graph, **changes) | (tables or {}))
    return {
        "manifest.toml": manifest.encode(),
        "model.onnx": graph,
        "MODEL_CARD.md": CARD.encode(),
        "evaluation.json": json.dumps({"auc": 0.5}).encode(),
        "LICENSE.txt": b"Do what you like.\n",
    }


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path, files: dict[str, bytes], top: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{top}{name}", content)
    return path
