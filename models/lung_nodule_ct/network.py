"""The detector: a small 3D encoder-decoder that predicts nodule centres. Needs the extra `train`.

CenterNet (Zhou et al. 2019, arXiv:1904.07850) in three dimensions: for every second voxel a centre
score, the centre's offset and the logarithm of the diameter in mm.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 48, 64)
BLOCKS = (1, 2, 2, 2)
# Masses are sought on voxels that are the mean of COARSE³ others.
COARSE = 4
MASS_WIDTHS = (24, 64)
MASS_BLOCKS = (2, 3)
MASS_CANDIDATES = 32
WINDOW_HU = (-1000.0, 600.0)
STRIDE = 2
# Scores start near 0.01 so that the many empty voxels do not swamp the first steps.
SCORE_BIAS = -4.6


def _convolution(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Two convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = nn.Sequential(
            nn.Conv3d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm3d(channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(features + self.second(self.first(features)))


class NoduleNet(nn.Module):  # type: ignore[misc]
    """Windowed image (N, 1, D, H, W), sides multiples of 16, to (N, 5, D/2, H/2, W/2).

    Channels: centre logit; offset of the centre along (slice, row, column) in output voxels;
    log of the diameter in input voxels.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, blocks: tuple[int, ...] = BLOCKS) -> None:
        super().__init__()
        self.stem = _convolution(1, widths[0], 2)
        self.levels = nn.ModuleList(
            nn.Sequential(*(Residual(width) for _ in range(count)))
            for width, count in zip(widths, blocks, strict=True)
        )
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(_convolution(fine, coarse, 2) for fine, coarse in pairs)
        self.lateral = nn.ModuleList(_convolution(coarse, fine, 1, 1) for fine, coarse in pairs)
        self.merge = nn.ModuleList(_convolution(fine, fine) for fine, _ in pairs)
        self.head = nn.Conv3d(widths[0], 5, 1)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            assert self.head.bias is not None
            self.head.bias.copy_(torch.tensor([SCORE_BIAS, 0.0, 0.0, 0.0, 2.0]))

    def forward(self, image: Tensor) -> Tensor:
        features = [self.levels[0](self.stem(image))]
        for down, level in zip(self.down, list(self.levels)[1:], strict=True):
            features.append(level(down(features[-1])))
        merged = features[-1]
        for index in reversed(range(len(self.merge))):
            coarse = functional.interpolate(self.lateral[index](merged), scale_factor=2.0, mode="nearest")
            merged = self.merge[index](features[index] + coarse)
        return torch.as_tensor(self.head(merged))


def window(hounsfield: Tensor) -> Tensor:
    """HU to [0, 1] over `WINDOW_HU`."""
    low, high = WINDOW_HU
    return ((hounsfield - low) / (high - low)).clamp(0, 1)


def mass_net() -> NoduleNet:
    """The network that looks for masses on a 4 mm grid: fewer levels, for the grid is coarser already."""
    return NoduleNet(MASS_WIDTHS, MASS_BLOCKS)


class Detector(nn.Module):  # type: ignore[misc]
    """The graph that is served: int16 HU (N, D, H, W) at 1 mm to `candidates` peaks per image.

    Two networks look at the same image: one for nodules at 1 mm, one for masses on the means of 4 x 4 x 4 voxels.
    Returns scores (N, K) in [0, 1], descending; centres (N, K, 3) as (slice, row, column) in input
    voxels; diameters (N, K) in mm. A peak is the highest score among its 26 neighbours.
    mass_bias: is added to the masses' logits, so that one threshold fits both.
    """

    def __init__(
        self, nodules: NoduleNet, masses: NoduleNet, mass_bias: float = 0.0, candidates: int = 256
    ) -> None:
        super().__init__()
        self.nodules, self.masses = nodules, masses
        self.mass_bias, self.candidates = mass_bias, candidates

    def forward(self, hounsfield: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        image = window(hounsfield.to(torch.float32)).unsqueeze(1)
        fine = peaks(self.nodules(image), self.candidates)
        output = self.masses(functional.avg_pool3d(image, COARSE))
        shift = torch.tensor([self.mass_bias, 0.0, 0.0, 0.0, 0.0]).reshape(1, 5, 1, 1, 1)
        scores, centers, diameters = peaks(output + shift, MASS_CANDIDATES)
        # Coarse voxel i is the mean of voxels 4i to 4i + 3: its centre is at 4i + 1.5.
        coarse = (scores, centers * COARSE + (COARSE - 1) / 2, diameters * COARSE)
        scores, centers, diameters = (torch.cat(pair, dim=1) for pair in zip(fine, coarse, strict=True))
        scores, order = scores.topk(self.candidates, dim=1)
        centers = centers.gather(1, order.unsqueeze(2).expand(-1, -1, 3))
        return scores, centers, diameters.gather(1, order)


def peaks(output: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` best peaks of a network's output: scores, centres and diameters in voxels of its input."""
    score = output[:, 0:1].sigmoid()
    highest = functional.max_pool3d(score, 3, 1, 1)
    best = torch.where(score == highest, score, torch.zeros_like(score)).flatten(1)
    scores, position = best.topk(count, dim=1)
    grid = [torch.arange(size, dtype=torch.float32, device=output.device) for size in output.shape[2:]]
    z, y, x = grid[0][:, None, None], grid[1][None, :, None], grid[2][None, None, :]
    located = [output[:, 1] + z, output[:, 2] + y, output[:, 3] + x, output[:, 4]]
    values = torch.stack([field.flatten(1).gather(1, position) for field in located], dim=2)
    # Output voxel i covers input voxels 2i and 2i + 1: its centre is at 2i + 0.5.
    return scores, values[:, :, :3] * STRIDE + (STRIDE - 1) / 2, values[:, :, 3].clamp(0.0, 4.5).exp()
