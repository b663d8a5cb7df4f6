"""RetinaNet weights of a MONAI bundle to the served ONNX graph. Needs the extra `train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

OPSET = 18


class _Layers(nn.ModuleDict):  # type: ignore[misc]  # torch is untyped here
    """The first layers of a ResNet, up to the last one whose output is wanted.

    Names and order are those of the ResNet, so that a bundle's weights fit.
    """

    def __init__(self, backbone: nn.Module, returned: list[str]) -> None:
        super().__init__()
        self.returned = returned
        for name, layer in backbone.named_children():
            self[name] = layer
            if name == returned[-1]:
                break

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        outputs = {}
        features = image
        for name, layer in self.items():
            features = layer(features)
            if name in self.returned:
                outputs[name] = features
        return outputs


class _Pyramid(nn.Module):  # type: ignore[misc]
    """ResNet with a feature pyramid, built without torchvision, which MONAI's own helper needs."""

    out_channels = 256

    def __init__(self, backbone: nn.Module, returned_layers: list[int]) -> None:
        super().__init__()
        from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

        self.body = _Layers(backbone, [f"layer{number}" for number in sorted(returned_layers)])
        width = backbone.in_planes // 8
        channels = [width * 2 ** (number - 1) for number in sorted(returned_layers)]
        self.fpn = FeaturePyramidNetwork(3, channels, self.out_channels, LastLevelMaxPool(3))

    def forward(self, image: Tensor) -> list[Tensor]:
        return list(self.fpn(self.body(image)).values())


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
    from monai.apps.detection.networks.retinanet_network import RetinaNet
    from monai.networks.nets import resnet

    body = getattr(resnet, f"resnet{depth}")(**backbone)
    features = _Pyramid(body, returned_layers)
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
