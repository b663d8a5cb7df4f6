"""RetinaNet weights of a MONAI bundle to the served ONNX graph. Needs the extra `train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

OPSET = 18


def _prepare_torchvision() -> None:
    """Let MONAI's detection modules import beside a torch that torchvision was not built for.

    `import torchvision` fails there because its compiled operators are not registered; MONAI needs
    only that it imports, and suppresses boxes by itself. Declaring the operators is enough.
    """
    try:
        import torchvision  # type: ignore[import-not-found]  # noqa: F401
    except (ImportError, RuntimeError):
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _prepare_torchvision.library = library  # type: ignore[attr-defined]  # kept alive with the function


class _Graph(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """int16 HU (1, X, Y, Z) to logits (1, anchors, 1) and codes (1, anchors, 6), level after level."""

    def __init__(self, network: nn.Module, anchors_per_place: int, window_hu: tuple[float, float]) -> None:
        super().__init__()
        self.network = network
        self.anchors_per_place = anchors_per_place
        self.window_hu = window_hu

    def forward(self, hounsfield: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self.window_hu
        image = ((hounsfield.to(torch.float32) - low) / (high - low)).clamp(0, 1).unsqueeze(1)
        output = self.network(image)
        return self._flat(output["classification"]), self._flat(output["box_regression"])

    def _flat(self, maps: Sequence[Tensor]) -> Tensor:
        flat = []
        for level in maps:
            batch, channels, *sides = level.shape
            split = level.reshape(batch, self.anchors_per_place, channels // self.anchors_per_place, *sides)
            flat.append(
                split.permute(0, 3, 4, 5, 1, 2).reshape(batch, -1, channels // self.anchors_per_place)
            )
        return torch.cat(flat, dim=1)


def build_network(
    depth: int, backbone: dict[str, Any], returned_layers: list[int], anchors: int
) -> nn.Module:
    """The network that the bundle's configuration describes, with random weights."""
    _prepare_torchvision()
    from monai.apps.detection.networks.retinanet_network import RetinaNet, resnet_fpn_feature_extractor
    from monai.networks.nets import resnet

    body = getattr(resnet, f"resnet{depth}")(**backbone)
    features = resnet_fpn_feature_extractor(body, 3, False, returned_layers, None)
    stride = backbone["conv1_t_stride"]
    divisible = [2 * side * 2 ** max(returned_layers) for side in stride]
    network: nn.Module = RetinaNet(
        spatial_dims=3,
        num_classes=1,
        num_anchors=anchors,
        feature_extractor=features,
        size_divisible=divisible,
    )
    return network


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill the network from a checkpoint; only tensors are read from it, never code."""
    stored = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(stored, dict) and isinstance(stored.get("model"), dict):
        stored = stored["model"]
    network.load_state_dict(stored)


def export(
    network: nn.Module, anchors: int, window: tuple[int, int, int], window_hu: tuple[float, float], out: Path
) -> list[tuple[int, ...]]:
    """Write the graph; return the shape of each level of the feature pyramid for this window."""
    graph = _Graph(network, anchors, window_hu).eval()
    example = torch.zeros(1, *window, dtype=torch.int16)
    with torch.no_grad():
        image = torch.zeros(1, 1, *window)
        shapes = [tuple(int(n) for n in level.shape[2:]) for level in graph.network(image)["classification"]]
    torch.onnx.export(
        graph, (example,), str(out), input_names=["hounsfield"], output_names=["logits", "codes"],
        opset_version=OPSET, dynamo=True, external_data=False, verbose=False,
    )  # fmt: skip
    return shapes
