"""A bundle of the segmentation layout (spleen_ct_segmentation, wholeBody_ct_segmentation, …): read and exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InvalidBundle
from models.monai_config import MISUNDERSTOOD, Bundle
from models.monai_intensity import Step, read_steps

NETWORKS = frozenset(
    {
        "UNet", "SegResNet", "BasicUNet", "DynUNet", "AttentionUnet", "VNet", "UNETR", "SwinUNETR", "FlexibleUNet",
    }
)  # fmt: skip
WINDOW_SIDE_MAX = 160
LABELS_MAX = 255


@dataclass(frozen=True)
class SegmentationConfig:
    """What the configuration says; triples are (right, front, top). labels: number of a channel → its name."""

    network: str
    arguments: dict[str, Any]
    window: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    steps: list[Step]
    labels: dict[int, str]


def is_segmentation(bundle: Bundle) -> bool:
    """Whether the metadata tells of label maps."""
    outputs = bundle.metadata.get("network_data_format", {}).get("outputs", {})
    return bool(outputs.get("pred", {}).get("format") == "segmentation")


def read_segmentation(bundle: Bundle) -> SegmentationConfig:
    """Raises `InvalidBundle`."""
    try:
        return _read(bundle)
    except MISUNDERSTOOD as error:
        raise InvalidBundle(f"the bundle's configuration is not understood: {error!r}") from error


def _read(bundle: Bundle) -> SegmentationConfig:
    network, arguments = read_network(bundle, NETWORKS)
    if arguments.get("spatial_dims", 3) != 3 or arguments.get("in_channels") != 1:
        raise ValueError("the network must read one channel of a volume")
    formats = bundle.metadata["network_data_format"]
    if str(formats["inputs"]["image"].get("modality", "CT")).upper() != "CT":
        raise ValueError("only CT is read as a volume")
    transforms = {one["_target_"]: one for one in bundle.transforms()}
    if bundle.value(transforms["Orientation"]["axcodes"]) != "RAS":
        raise ValueError("the orientation must be RAS")
    for step in bundle.transforms("postprocessing"):
        if step["_target_"] == "Activations" and bundle.value(step.get("sigmoid", False)):
            raise ValueError("channels that overlap (sigmoid) are not read")
    spacing = [float(side) for side in bundle.value(transforms["Spacing"]["pixdim"])]
    window = [int(side) for side in bundle.value(bundle.inference["inferer"]["roi_size"])]
    named = formats["outputs"]["pred"]["channel_def"]
    labels = {int(number): str(name)[:64] for number, name in named.items() if int(number) > 0}
    if len(spacing) != 3 or min(spacing) <= 0 or len(window) != 3 or not min(window) > 0:
        raise ValueError("window and spacing must be three positive numbers")
    if max(window) > WINDOW_SIDE_MAX:
        raise ValueError(f"a window's side is at most {WINDOW_SIDE_MAX}")
    if not labels or max(labels) > LABELS_MAX or min(labels) < 1:
        raise ValueError(f"1 to {LABELS_MAX} labels must be named in channel_def")
    return SegmentationConfig(
        network,
        arguments,
        (window[0], window[1], window[2]),
        (spacing[0], spacing[1], spacing[2]),
        read_steps(bundle),
        labels,
    )


def read_network(bundle: Bundle, allowed: frozenset[str]) -> tuple[str, dict[str, Any]]:
    """Name and literal arguments of `network_def`; raises `ValueError` for one that is not allowed."""
    definition = bundle.value(bundle.inference["network_def"])
    name = str(definition.pop("_target_")).removeprefix("monai.networks.nets.").rsplit(".", 1)[-1]
    if name not in allowed:
        raise ValueError(f"the network {name} is none of {', '.join(sorted(allowed))}")
    return name, {str(key): value for key, value in definition.items() if not str(key).startswith("_")}


def convert_segmentation(
    config: SegmentationConfig, checkpoint: Path, out: Path
) -> dict[str, dict[str, Any]]:
    """Export the network to `out`; the tables of the manifest that describe it. Needs the extra `train`."""
    from models import monai_export

    network = monai_export.build_network(config.network, config.arguments, checkpoint)
    shape = (1, 1, *config.window)
    given = monai_export.export(monai_export.Labels(network), shape, "labels", out)
    if given != (1, *config.window):
        raise InvalidBundle(f"the network gives labels of shape {given} for a window of {config.window}")
    right, front, top = config.spacing_mm
    return {
        "": {"family": "monai_segmentation", "spacing_mm": [top, front, right]},
        "input": {
            "modality": "CT", "body_parts": [], "orientation": "axial", "slice_thickness_mm_max": 6.0,
            "slice_spacing_mm_min": 0.3, "slice_spacing_mm_max": 6.0, "slice_count_min": 16,
            "slice_count_max": 2000,
            "excluded_image_types": ["LOCALIZER", "SECONDARY", "DERIVED", "MIP", "MINIP", "PROJECTION IMAGE"],
        },
        "inputs": {"image": list(shape)},
        "outputs": {"labels": [1, *config.window]},
        "settings": {
            "window": list(config.window),
            "intensity": config.steps,
            "labels": [{"number": number, "name": name} for number, name in sorted(config.labels.items())],
        },
    }  # fmt: skip
