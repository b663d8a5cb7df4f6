"""A bundle of the classification layout (breast_density_classification, …) on projection images: read and exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InvalidBundle
from models.monai_config import MISUNDERSTOOD, Bundle
from models.monai_intensity import Step, read_steps
from models.monai_segmentation.bundle import read_network

NETWORKS = frozenset(
    {
        "DenseNet121", "DenseNet169", "DenseNet201", "DenseNet264", "SEResNet50", "SEResNet101", "SEResNet152",
        "SEResNext50", "SEResNext101", "EfficientNetBN", "TorchVisionFCModel",
    }
)  # fmt: skip
SIDE_MAX, CLASSES_MAX = 2048, 100
# What bundles call the modality, and what DICOM calls it.
_MODALITIES = {
    "MAMMOGRAM": ["MG"], "MAMMOGRAPHY": ["MG"], "MG": ["MG"],
    "X-RAY": ["CR", "DX"], "XRAY": ["CR", "DX"], "XR": ["CR", "DX"], "CXR": ["CR", "DX"], "CR": ["CR"], "DX": ["DX"],
}  # fmt: skip


@dataclass(frozen=True)
class ClassificationConfig:
    """What the configuration says. size: (columns, rows), as MONAI's readers order a picture's axes.

    is_exclusive: exactly one class holds (softmax); else each by itself (sigmoid).
    """

    network: str
    arguments: dict[str, Any]
    channels: int
    size: tuple[int, int]
    mode: str
    steps: list[Step]
    classes: list[str]
    modalities: list[str]
    is_exclusive: bool


def is_classification(bundle: Bundle) -> bool:
    """Whether the metadata tells of classes or labels of a whole image."""
    outputs = bundle.metadata.get("network_data_format", {}).get("outputs", {})
    return outputs.get("pred", {}).get("format") in ("labels", "classes", "classification")


def read_classification(bundle: Bundle) -> ClassificationConfig:
    """Raises `InvalidBundle`."""
    try:
        return _read(bundle)
    except MISUNDERSTOOD as error:
        raise InvalidBundle(f"the bundle's configuration is not understood: {error!r}") from error


def _read(bundle: Bundle) -> ClassificationConfig:
    network, arguments = read_network(bundle, NETWORKS)
    if network != "TorchVisionFCModel" and arguments.get("spatial_dims") != 2:
        raise ValueError("the network must read a picture of two dimensions")
    formats = bundle.metadata["network_data_format"]
    image = formats["inputs"]["image"]
    modality = str(image.get("modality", "")).upper()
    if modality not in _MODALITIES:
        raise ValueError(
            f"pictures of the modality {modality[:40]!r} are not read: only radiographs in shades of grey"
        )
    channels = int(image["num_channels"])
    transforms = {one["_target_"]: one for one in bundle.transforms()}
    resize = transforms["Resize"]
    columns, rows = (int(side) for side in bundle.value(resize["spatial_size"]))
    mode = str(bundle.value(resize.get("mode", "area")))
    if mode not in ("area", "bilinear"):
        raise ValueError(f"a picture resized by {mode!r} is not understood")
    if not (0 < min(columns, rows) <= max(columns, rows) <= SIDE_MAX) or channels not in (1, 3):
        raise ValueError(f"a picture has 1 or 3 channels and sides of at most {SIDE_MAX}")
    named = formats["outputs"]["pred"]["channel_def"]
    classes = [str(named[str(number)])[:64] for number in range(len(named))]
    if not 1 <= len(classes) <= CLASSES_MAX:
        raise ValueError(f"1 to {CLASSES_MAX} classes must be named in channel_def")
    is_sigmoid = any(
        one["_target_"] == "Activations" and bundle.value(one.get("sigmoid", False))
        for one in bundle.transforms("postprocessing")
    )
    return ClassificationConfig(
        network, arguments, channels, (columns, rows), mode, read_steps(bundle), classes, _MODALITIES[modality],
        not is_sigmoid,
    )  # fmt: skip


def convert_classification(
    config: ClassificationConfig, checkpoint: Path, out: Path
) -> dict[str, dict[str, Any]]:
    """Export the network to `out`; the tables of the manifest that describe it. Needs the extra `train`."""
    from models import monai_export

    arguments = dict(config.arguments)
    if config.network == "TorchVisionFCModel":
        arguments["pretrained"] = False  # nothing is downloaded: the checkpoint has the weights
    network = monai_export.build_network(config.network, arguments, checkpoint)
    graph = monai_export.Probabilities(network, config.channels, config.is_exclusive)
    shape = (1, 1, *config.size)
    given = monai_export.export(graph, shape, "probabilities", out)
    if given != (1, len(config.classes)):
        raise InvalidBundle(f"the network gives {given[1:]} values for {len(config.classes)} classes")
    return {
        "": {"family": "monai_classification"},
        "input": {
            "kind": "radiograph", "modality": config.modalities, "body_parts": [],
            "excluded_image_types": ["LOCALIZER", "SECONDARY", "DERIVED"],
        },
        "inputs": {"image": list(shape)},
        "outputs": {"probabilities": list(given)},
        "settings": {
            "size": list(config.size), "mode": config.mode, "intensity": config.steps, "classes": config.classes,
            "is_exclusive": config.is_exclusive,
        },
    }  # fmt: skip
