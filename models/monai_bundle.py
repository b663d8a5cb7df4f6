"""Installs a MONAI bundle of the public lung_nodule_ct_detection layout as a model.

Read from the zip: configs/metadata.json, configs/inference.json and models/model.pt. Nothing in it is
executed: of the configuration's expressions only calls with literal arguments are understood.
"""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InvalidBundle, ModelExists, TrainExtraMissing
from models.manifest import Manifest, load_manifest
from models.registry import installed_models, list_models

CONFIG_BYTES_MAX = 1 << 20
WEIGHTS_BYTES_MAX = 1 << 30
MEMBERS_MAX = 10_000
NAME = "monai_lung_nodule_ct_detection"
# A window this large takes about 0.6 GB in ONNX Runtime; bundles ask for what a large GPU holds.
WINDOW_MAX = (192, 192, 80)
DEPTHS = (10, 18, 34, 50, 101, 152, 200)


@dataclass(frozen=True)
class BundleConfig:
    """What the configuration says about the network and its input; triples are (right, front, top)."""

    version: str
    title: str
    authors: str
    intended_use: str
    depth: int
    backbone: dict[str, Any]
    returned_layers: list[int]
    anchor_scales: list[float]
    anchor_shapes: list[list[float]]
    window: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    window_hu: tuple[float, float]
    nms_overlap_max: float


def add_bundle(
    zip_path: Path, data_directory: Path, *, name: str = NAME, operating_threshold: float = 0.5
) -> Manifest:
    """Install the bundle under `data_directory`/models/`name` and return its manifest.

    Raises `InvalidBundle`, `ModelExists` or `TrainExtraMissing`. The folder appears whole or not at all.
    """
    target = installed_models(data_directory) / name
    if target.exists() or any(manifest.name == name for manifest in list_models(data_directory)):
        raise ModelExists(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent.parent, prefix="bundle-") as scratch:
        folder = Path(scratch) / name
        folder.mkdir()
        checkpoint = Path(scratch) / "model.pt"
        config = read_config(zip_path, checkpoint)
        level_shapes = _export(config, checkpoint, folder / "model.onnx")
        digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
        text = manifest_text(config, name, digest, level_shapes, operating_threshold)
        (folder / "manifest.toml").write_text(text, "utf-8")
        load_manifest(folder)
        shutil.move(folder, target)
    return load_manifest(target)


def _export(config: BundleConfig, checkpoint: Path, out: Path) -> list[tuple[int, ...]]:
    try:
        from models.monai_retinanet import export
    except ImportError as error:
        raise TrainExtraMissing("turning a MONAI bundle into a served model") from error
    count = len(config.anchor_shapes)
    try:
        network = export.build_network(config.depth, config.backbone, config.returned_layers, count)
        export.load_weights(network, checkpoint)
    except ImportError as error:
        raise TrainExtraMissing("turning a MONAI bundle into a served model") from error
    except Exception as error:  # torch reports a bad checkpoint by many unrelated classes
        raise InvalidBundle(f"models/model.pt does not fit the configuration: {str(error)[:500]}") from error
    return export.export(network, count, config.window, config.window_hu, out)


def read_config(zip_path: Path, checkpoint: Path) -> BundleConfig:
    """Parse the configuration and copy models/model.pt to `checkpoint`."""
    try:
        with zipfile.ZipFile(zip_path) as bundle:
            members = bundle.infolist()
            if len(members) > MEMBERS_MAX:
                raise InvalidBundle(f"the zip has {len(members)} members, at most {MEMBERS_MAX} are read")
            metadata = json.loads(_read(bundle, "configs/metadata.json", CONFIG_BYTES_MAX))
            inference = json.loads(_read(bundle, "configs/inference.json", CONFIG_BYTES_MAX))
            _copy(bundle, _member(bundle, "models/model.pt"), checkpoint)
    except (OSError, zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError) as error:
        raise InvalidBundle(f"the bundle cannot be read: {error}") from error
    try:
        return _config(metadata, inference)
    except (KeyError, TypeError, ValueError, AttributeError, SyntaxError, IndexError, StopIteration) as error:
        raise InvalidBundle(f"the bundle's configuration is not understood: {error!r}") from error


def _member(bundle: zipfile.ZipFile, path: str) -> zipfile.ZipInfo:
    """The member at `path`, directly or below the one folder that zips of a bundle often have."""
    found = [m for m in bundle.infolist() if m.filename == path or m.filename.split("/", 1)[-1] == path]
    if len(found) != 1:
        raise InvalidBundle(f"the zip holds {len(found)} files {path}, one is needed")
    return found[0]


def _read(bundle: zipfile.ZipFile, path: str, limit: int) -> bytes:
    with bundle.open(_member(bundle, path)) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise InvalidBundle(f"{path} is larger than {limit} bytes")
    return content


def _copy(bundle: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Copy one member to a path of ours; its own name is never used as a path."""
    written = 0
    with bundle.open(member) as source, target.open("wb") as out:
        while chunk := source.read(1 << 20):
            written += len(chunk)
            if written > WEIGHTS_BYTES_MAX:
                raise InvalidBundle(f"{member.filename} is larger than {WEIGHTS_BYTES_MAX} bytes")
            out.write(chunk)


def _config(metadata: dict[str, Any], inference: dict[str, Any]) -> BundleConfig:
    backbone_name, _, backbone = _call(inference["backbone"])
    depth = int(backbone_name.removeprefix("resnet"))
    if depth not in DEPTHS:
        raise ValueError(f"unknown backbone {backbone_name}")
    if {"spatial_dims", "n_input_channels"} - backbone.keys() or backbone["spatial_dims"] != 3:
        raise ValueError("the backbone must be three-dimensional")
    _, features, _ = _call(inference["feature_extractor"])
    transforms = inference["preprocessing"]["transforms"]
    spacing = next(t for t in transforms if t["_target_"].startswith("Spacing"))["pixdim"]
    scale = next(t for t in transforms if t["_target_"].startswith("ScaleIntensityRange"))
    selector = next(op for op in inference["detector_ops"] if "set_box_selector_parameters" in op)
    _, _, selection = _call(selector)
    wanted = [min(int(n), most) for n, most in zip(inference["infer_patch_size"], WINDOW_MAX, strict=True)]
    divisible = [int(n) for n in inference["network_def"]["size_divisible"]]
    x, y, z = (side // step * step for side, step in zip(wanted, divisible, strict=True))
    right, front, top = (float(step) for step in spacing)
    if min(x, y, z) <= 0 or min(right, front, top) <= 0:
        raise ValueError("window and spacing must be positive")
    return BundleConfig(
        version=str(metadata["version"]),
        title=str(metadata.get("task", "CT lung nodule detection")),
        authors=str(metadata.get("authors", "")),
        intended_use=str(metadata.get("intended_use", "")),
        depth=depth,
        backbone=backbone,
        returned_layers=[int(layer) for layer in features[3]],
        anchor_scales=[float(s) for s in inference["anchor_generator"]["feature_map_scales"]],
        anchor_shapes=[
            [float(n) for n in shape] for shape in inference["anchor_generator"]["base_anchor_shapes"]
        ],
        window=(x, y, z),
        spacing_mm=(right, front, top),
        window_hu=(float(scale["a_min"]), float(scale["a_max"])),
        nms_overlap_max=float(selection["nms_thresh"]),
    )


def _call(expression: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Name, positional and keyword arguments of "$a.b.name(…)"; references (@x) count as None."""
    tree = ast.parse(expression.removeprefix("$").replace("@", ""), mode="eval").body
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Attribute):
        raise ValueError(f"not a call: {expression[:200]}")
    positional = [None if isinstance(node, ast.Name) else ast.literal_eval(node) for node in tree.args]
    named = {str(item.arg): ast.literal_eval(item.value) for item in tree.keywords if item.arg != "device"}
    return tree.func.attr, positional, named


def manifest_text(
    config: BundleConfig,
    name: str,
    digest: str,
    level_shapes: list[tuple[int, ...]],
    operating_threshold: float,
) -> str:
    """The generated manifest.toml. JSON strings and numbers are valid TOML ones."""
    anchors = len(config.anchor_shapes) * sum(x * y * z for x, y, z in level_shapes)
    right, front, top = config.spacing_mm
    clearance = "Not cleared for clinical use: installed by the user from a MONAI bundle."
    values: dict[str, Any] = {
        "name": name, "version": config.version, "title": config.title,
        "publisher": config.authors or "MONAI bundle", "family": "monai_retinanet",
        "product_code": "lung_nodule_ct",
        "intended_use": config.intended_use or "Not stated by the bundle.", "clearance_status": clearance,
        "spacing_mm": [top, front, right], "operating_threshold": operating_threshold,
        "weights_file": "model.onnx", "weights_sha256": digest,
    }  # fmt: skip
    needs: dict[str, Any] = {
        "modality": "CT", "body_parts": ["CHEST", "THORAX", "LUNG"], "orientation": "axial",
        "slice_thickness_mm_max": 3.0, "slice_spacing_mm_min": 0.3, "slice_spacing_mm_max": 3.0,
        "slice_count_min": 40, "slice_count_max": 2000,
        "excluded_image_types": ["LOCALIZER", "SECONDARY", "DERIVED", "MIP", "MINIP", "PROJECTION IMAGE"],
    }  # fmt: skip
    settings: dict[str, Any] = {
        "window": list(config.window), "level_shapes": [list(shape) for shape in level_shapes],
        "anchor_scales": config.anchor_scales, "anchor_shapes": config.anchor_shapes,
        "nms_overlap_max": config.nms_overlap_max,
    }  # fmt: skip
    outputs = {"logits": [1, anchors, 1], "codes": [1, anchors, 6]}
    tables = [("", values), ("[input]\n", needs), ("[outputs]\n", outputs), ("[settings]\n", settings)]
    return "\n".join(
        head + "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items())
        for head, table in tables
    )
