"""A bundle's network, built by its name and exported to the served graph. Needs the extra `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import InvalidBundle

OPSET = 18
_TEXT_LENGTH_MAX = 300


class Labels(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Image (N, 1, …) to the number of the greatest channel, uint8 (N, …)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).argmax(dim=1).to(torch.uint8)


class Probabilities(nn.Module):  # type: ignore[misc]
    """Image (N, 1, …) to probabilities (N, classes); a network that wants several channels gets the same in each."""

    def __init__(self, network: nn.Module, channels: int, is_exclusive: bool) -> None:
        super().__init__()
        self.network = network
        self.channels = channels
        self.is_exclusive = is_exclusive

    def forward(self, image: Tensor) -> Tensor:
        logits = self.network(image.repeat(1, self.channels, 1, 1))
        return logits.softmax(dim=1) if self.is_exclusive else logits.sigmoid()


def build_network(name: str, arguments: dict[str, Any], checkpoint: Path) -> nn.Module:
    """The network of this name in `monai.networks.nets` with the checkpoint's weights.

    Only tensors are read from the checkpoint, never code. Raises `InvalidBundle`.
    """
    from monai.networks import nets
    from monai.utils import OptionalImportError

    # Bundles of older releases still give it; the network's weights never depended on it.
    known = {key: value for key, value in arguments.items() if (name, key) != ("SwinUNETR", "img_size")}
    try:
        network: nn.Module = getattr(nets, name)(**known)
    except OptionalImportError as error:
        raise InvalidBundle(
            f"the network {name} is one of torchvision's, which must be installed beside torch, as its version wants it"
        ) from error
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InvalidBundle(f"the network {name} cannot be built: {str(error)[:_TEXT_LENGTH_MAX]}") from error
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    for key in ("model", "state_dict"):
        if isinstance(stored, dict) and isinstance(stored.get(key), dict):
            stored = stored[key]
    network.load_state_dict(stored)
    return network.eval()


def export(graph: nn.Module, shape: tuple[int, ...], output: str, out: Path) -> tuple[int, ...]:
    """Write the graph for images of this shape, input `image`; returns the shape of its output."""
    example = torch.zeros(shape)
    with torch.no_grad():
        given = tuple(int(side) for side in graph(example).shape)
    torch.onnx.export(
        graph.eval(), (example,), str(out), input_names=["image"], output_names=[output],
        opset_version=OPSET, dynamo=True, external_data=False, verbose=False,
    )  # fmt: skip
    return given
