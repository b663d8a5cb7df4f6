"""A bundle of the public lung_nodule_ct_detection layout: its configuration read, its network exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InvalidBundle
from models.monai_config import MISUNDERSTOOD, Bundle, read_call

NAME = "monai_lung_nodule_ct_detection"
# A window this large takes about 0.6 GB in ONNX Runtime; bundles ask for what a large GPU holds.
WINDOW_MAX = (192, 192, 80)
DEPTHS = (10, 18, 34, 50, 101, 152, 200)


@dataclass(frozen=True)
class RetinaNetConfig:
    """What the configuration says about the network and its input; triples are (right, front, top)."""

    depth: int
    backbone: dict[str, Any]
    returned_layers: list[int]
    anchor_scales: list[float]
    anchor_shapes: list[list[float]]
    window: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    window_hu: tuple[float, float]
    nms_overlap_max: float


def is_detection(bundle: Bundle) -> bool:
    """Whether the configuration is of this layout."""
    return "anchor_generator" in bundle.inference or "detector_ops" in bundle.inference


def read_detection(bundle: Bundle) -> RetinaNetConfig:
    """Raises `InvalidBundle`."""
    try:
        return _read(bundle)
    except MISUNDERSTOOD as error:
        raise InvalidBundle(f"the bundle's configuration is not understood: {error!r}") from error


def _read(bundle: Bundle) -> RetinaNetConfig:
    inference = bundle.inference
    backbone_name, _, backbone = read_call(inference["backbone"])
    depth = int(backbone_name.removeprefix("resnet"))
    if depth not in DEPTHS:
        raise ValueError(f"unknown backbone {backbone_name}")
    if {"spatial_dims", "n_input_channels"} - backbone.keys() or backbone["spatial_dims"] != 3:
        raise ValueError("the backbone must be three-dimensional")
    _, features, _ = read_call(inference["feature_extractor"])
    # Switched off by default in newer versions of the bundle, whose test data have this spacing already; a patient's
    # images do not.
    transforms = bundle.transforms(with_disabled=True)
    spacing = bundle.value(next(t for t in transforms if t["_target_"] == "Spacing")["pixdim"])
    scale = next(t for t in transforms if t["_target_"] == "ScaleIntensityRange")
    selector = next(op for op in inference["detector_ops"] if "set_box_selector_parameters" in op)
    _, _, selection = read_call(selector)
    patch = bundle.value(inference["infer_patch_size"])
    wanted = [min(int(n), most) for n, most in zip(patch, WINDOW_MAX, strict=True)]
    divisible = [int(n) for n in bundle.value(inference["network_def"]["size_divisible"])]
    x, y, z = (side // step * step for side, step in zip(wanted, divisible, strict=True))
    right, front, top = (float(step) for step in spacing)
    if min(x, y, z) <= 0 or min(right, front, top) <= 0:
        raise ValueError("window and spacing must be positive")
    generator = bundle.value(inference["anchor_generator"])
    return RetinaNetConfig(
        depth=depth,
        backbone=backbone,
        returned_layers=[int(layer) for layer in features[3]],
        anchor_scales=[float(s) for s in generator["feature_map_scales"]],
        anchor_shapes=[[float(n) for n in shape] for shape in generator["base_anchor_shapes"]],
        window=(x, y, z),
        spacing_mm=(right, front, top),
        window_hu=(float(scale["a_min"]), float(scale["a_max"])),
        nms_overlap_max=float(selection["nms_thresh"]),
    )


def convert_detection(config: RetinaNetConfig, checkpoint: Path, out: Path) -> dict[str, dict[str, Any]]:
    """Export the network to `out`; the tables of the manifest that describe it. Needs the extra `train`."""
    from models.monai_retinanet import export

    count = len(config.anchor_shapes)
    network = export.build_network(config.depth, config.backbone, config.returned_layers, count)
    export.load_weights(network, checkpoint)
    level_shapes = export.export(network, count, config.window, config.window_hu, out)
    anchors = count * sum(x * y * z for x, y, z in level_shapes)
    right, front, top = config.spacing_mm
    return {
        "": {
            "family": "monai_retinanet",
            "product_code": "lung_nodule_ct",
            "spacing_mm": [top, front, right],
            "window_hu": list(config.window_hu),
        },
        "input": {
            "modality": "CT", "body_parts": ["CHEST", "THORAX", "LUNG"], "orientation": "axial",
            "slice_thickness_mm_max": 3.0, "slice_spacing_mm_min": 0.3, "slice_spacing_mm_max": 3.0,
            "slice_count_min": 40, "slice_count_max": 2000,
            "excluded_image_types": ["LOCALIZER", "SECONDARY", "DERIVED", "MIP", "MINIP", "PROJECTION IMAGE"],
        },
        "inputs": {"hounsfield": [1, *config.window]},
        "outputs": {"logits": [1, anchors, 1], "codes": [1, anchors, 6]},
        "settings": {
            "window": list(config.window), "level_shapes": [list(shape) for shape in level_shapes],
            "anchor_scales": config.anchor_scales, "anchor_shapes": config.anchor_shapes,
            "nms_overlap_max": config.nms_overlap_max,
        },
    }  # fmt: skip
