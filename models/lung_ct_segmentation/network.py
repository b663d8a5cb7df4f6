"""The segmenter: a small 3D encoder-decoder over the box of both lungs. Needs the extra `train`."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 64, 96)
BLOCKS = (1, 2, 2, 3)
CLASSES = 6
# Two windows: the whole chest, and lung tissue, in which fissures stand out.
WINDOWS_HU = ((-1000.0, 400.0), (-960.0, -560.0))
# Offsets from the middle of the box are given to the network in units of this many voxels.
COORDINATE_SCALE = 40.0
# A channel that is nearly constant over a chest is not blown up; smaller values overflow in bf16.
EPSILON = 1e-3


def _convolution(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.InstanceNorm3d(outputs, eps=EPSILON, affine=True),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Two convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = nn.Sequential(
            nn.Conv3d(channels, channels, 3, 1, 1, bias=False),
            nn.InstanceNorm3d(channels, eps=EPSILON, affine=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(features + self.second(self.first(features)))


class LobeNet(nn.Module):  # type: ignore[misc]
    """HU (N, D, H, W), float, sides multiples of 16, to logits (N, 6, D, H, W).

    Works at half the resolution of its input; the logits are interpolated, since lobes are smooth. Each
    chest is normalised by itself (instance norm), so that real scans need not have a phantom's statistics.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, blocks: tuple[int, ...] = BLOCKS) -> None:
        super().__init__()
        self.stem = _convolution(len(WINDOWS_HU) + 3, widths[0], 2)
        self.levels = nn.ModuleList(
            nn.Sequential(*(Residual(width) for _ in range(count)))
            for width, count in zip(widths, blocks, strict=True)
        )
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(_convolution(fine, coarse, 2) for fine, coarse in pairs)
        self.lateral = nn.ModuleList(_convolution(coarse, fine, 1, 1) for fine, coarse in pairs)
        self.merge = nn.ModuleList(_convolution(fine, fine) for fine, _ in pairs)
        self.head = nn.Conv3d(widths[0], CLASSES, 1)

    def forward(self, hounsfield: Tensor) -> Tensor:
        coarse = self.coarse(hounsfield)
        return functional.interpolate(coarse, scale_factor=2.0, mode="trilinear", align_corners=False)

    def coarse(self, hounsfield: Tensor) -> Tensor:
        """The logits at half the resolution, (N, 6, D/2, H/2, W/2)."""
        features = [self.levels[0](self.stem(channels(hounsfield)))]
        for down, level in zip(self.down, list(self.levels)[1:], strict=True):
            features.append(level(down(features[-1])))
        merged = features[-1]
        for index in reversed(range(len(self.merge))):
            coarse = functional.interpolate(self.lateral[index](merged), scale_factor=2.0, mode="nearest")
            merged = self.merge[index](features[index] + coarse)
        return torch.as_tensor(self.head(merged))


def channels(hounsfield: Tensor) -> Tensor:
    """The windows, and the place of each voxel in the box (up, to the back, to the left)."""
    windows = [((hounsfield - low) / (high - low)).clamp(0, 1) for low, high in WINDOWS_HU]
    places = []
    for axis in (1, 2, 3):
        count = hounsfield.shape[axis]
        place = torch.arange(count, dtype=torch.float32, device=hounsfield.device) - (count - 1) / 2
        shape = [1, 1, 1, 1]
        shape[axis] = count
        places.append((place / COORDINATE_SCALE).reshape(shape).expand_as(hounsfield))
    return torch.stack([*windows, *places], dim=1)


class Segmenter(nn.Module):  # type: ignore[misc]
    """The graph that is served: int16 HU (N, D, H, W) to uint8 labels of the same shape."""

    def __init__(self, network: LobeNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, hounsfield: Tensor) -> Tensor:
        logits = self.network(hounsfield.to(torch.float32))
        return logits.argmax(dim=1).to(torch.uint8)
