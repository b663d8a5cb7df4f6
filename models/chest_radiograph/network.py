"""The network: a small residual one whose findings are maps, so that every probability has its place.

Needs the extra `train`. A finding's logit is the soft maximum of its map (a class activation map of a 1 x 1
head), so the map shown to a reader is what the number was made of.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

FINDING_COUNT = 6
KIND_COUNT = 6
WIDTHS = (16, 32, 64, 96)
BLOCKS = (1, 2, 2)
FUSED = 64
# Pixels for each cell of a map. A pixel is compared with the mean and deviation of the 5 x 5 cells around it.
STRIDE = 8
# Between the mean (0) and the maximum (infinite) of a map.
SHARPNESS = 4.0


def _convolution(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Two convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(features + self.second(self.first(features)))


class RadiographNet(nn.Module):  # type: ignore[misc]
    """Pictures (N, 1, 224, 224) in [0, 1] to finding maps (N, 6, 28, 28), finding and kind logits (N, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolution(4, WIDTHS[0], 2)
        self.levels = nn.ModuleList(
            nn.Sequential(
                _convolution(WIDTHS[level], WIDTHS[level + 1], 2),
                *(Residual(WIDTHS[level + 1]) for _ in range(BLOCKS[level])),
            )
            for level in range(3)
        )
        self.lateral = _convolution(WIDTHS[2], FUSED, 1, 1)
        self.deep = _convolution(WIDTHS[3], FUSED, 1, 1)
        self.context = nn.Linear(WIDTHS[3], FUSED)
        self.fuse = nn.Sequential(_convolution(FUSED, FUSED), nn.Dropout2d(0.1))
        self.head = nn.Conv2d(FUSED, FINDING_COUNT, 1)
        nn.init.constant_(self.head.bias, -3.0)
        self.scale = nn.Parameter(torch.ones(FINDING_COUNT))
        self.shift = nn.Parameter(torch.full((FINDING_COUNT,), 1.0))
        self.kind = nn.Sequential(nn.Linear(WIDTHS[3], 64), nn.ReLU(inplace=True), nn.Linear(64, KIND_COUNT))

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine = self.levels[1](self.levels[0](self.stem(_channels(picture))))
        coarse = self.levels[2](fine)
        whole = coarse.mean(dim=(2, 3))
        up = functional.interpolate(self.deep(coarse), scale_factor=2.0, mode="bilinear")
        fused = self.fuse(functional.relu(self.lateral(fine) + up + self.context(whole)[:, :, None, None]))
        maps = self.head(fused).float()
        return maps, self.pool(maps), self.kind(whole).float()

    def pool(self, maps: Tensor) -> Tensor:
        """The soft maximum of each map, on a scale of its own."""
        flat = maps.flatten(2) * SHARPNESS
        soft = (torch.logsumexp(flat, dim=2) - torch.log(torch.tensor(float(flat.shape[2])))) / SHARPNESS
        return soft * self.scale + self.shift


def _channels(picture: Tensor) -> Tensor:
    """The picture, the same against its surroundings, and where each pixel lies."""
    mean, square = _surroundings(picture), _surroundings(picture * picture)
    deviation = (square - mean * mean).clamp(min=0).sqrt()
    local = (picture - mean) / (deviation + 0.03)
    line = torch.linspace(-1, 1, picture.shape[-1], dtype=picture.dtype, device=picture.device)
    row = line[None, None, :, None].expand_as(picture)
    column = line[None, None, None, :].expand_as(picture)
    return torch.cat([picture * 2 - 1, local.clamp(-3, 3) * 0.6, row, column], dim=1)


def _surroundings(picture: Tensor) -> Tensor:
    coarse = functional.avg_pool2d(picture, STRIDE)
    coarse = functional.avg_pool2d(coarse, 5, 1, 2, count_include_pad=False)
    return functional.interpolate(coarse, scale_factor=float(STRIDE), mode="bilinear")


class Served(nn.Module):  # type: ignore[misc]
    """What the exported graph computes: logits of findings, maps in [0, 1], probabilities of kinds."""

    def __init__(self, network: RadiographNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps, logits, kinds = self.network(picture)
        return logits, maps.sigmoid(), kinds.softmax(dim=1)
