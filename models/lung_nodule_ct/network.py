"""The detector: a small 3D encoder-decoder that predicts nodule centres. Needs the extra `train`.

CenterNet (Zhou et al. 2019, arXiv:1904.07850) in three dimensions: for every second voxel a centre
score, the centre's offset and the logarithm of the diameter in mm.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

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
# Peaks that are looked at again, and the side of the cube around each.
LOOKS = 24
LOOK_SIDE = 48
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


class Mean(nn.ModuleList):  # type: ignore[misc]
    """What several networks answer on average, logits before they become scores."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.stack([network(image) for network in self]).mean(0)


class Detector(nn.Module):  # type: ignore[misc]
    """The graph that is served: int16 HU (1, D, H, W) at 1 mm to peaks, sides multiples of 16 from `LOOK_SIDE` on.

    Two networks look at the same image: one for nodules at 1 mm, one for masses on the means of 4 x 4 x 4 voxels.
    Returns scores (1, K) in [0, 1], descending; centres (1, K, 3) as (slice, row, column) in input
    voxels; diameters (1, K) in mm, for the K = `LOOKS` + `MASS_CANDIDATES` best peaks. A peak is the highest score
    among its 26 neighbours; those of nodules are looked at again (`look_again`).
    mass_bias: is added to the masses' logits, so that one threshold fits both.
    """

    def __init__(self, nodules: nn.Module, masses: nn.Module, mass_bias: float = 0.0) -> None:
        super().__init__()
        self.nodules, self.masses, self.mass_bias = nodules, masses, mass_bias

    def forward(self, hounsfield: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        image = window(hounsfield.to(torch.float32)).unsqueeze(1)
        fine = look_again(self.nodules, image, self.nodules(image))
        output = self.masses(functional.avg_pool3d(image, COARSE))
        shift = torch.tensor([self.mass_bias, 0.0, 0.0, 0.0, 0.0]).reshape(1, 5, 1, 1, 1)
        return joined(fine, output + shift)


def joined(fine: tuple[Tensor, Tensor, Tensor], masses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The peaks of nodules and, out of the output of the networks for masses, those of masses: highest score first."""
    scores, centers, diameters = peaks(masses, MASS_CANDIDATES)
    # Coarse voxel i is the mean of voxels 4i to 4i + 3: its centre is at 4i + 1.5.
    coarse = (scores, centers * COARSE + (COARSE - 1) / 2, diameters * COARSE)
    scores, centers, diameters = (torch.cat(pair, dim=1) for pair in zip(fine, coarse, strict=True))
    scores, order = scores.sort(dim=1, descending=True)
    centers = centers.gather(1, order.unsqueeze(2).expand(-1, -1, 3))
    return scores, centers, diameters.gather(1, order)


def look_again(network: nn.Module, image: Tensor, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The `LOOKS` best peaks of a network's output, each scored, placed and measured anew.

    The network sees the cube of `LOOK_SIDE` voxels around each peak once more, as it lies and mirrored in all three
    directions. Where the mean of these two answers is highest, at most one output voxel from the peak, is the centre.
    image: (1, 1, D, H, W), of which `output` is what the network answered.
    """
    _, position = highest(output, LOOKS)
    sides, half = output.shape[2:], LOOK_SIDE // STRIDE
    peak = unravelled(position[0], sides)
    first = torch.stack(
        [(p - half // 2).clamp(0, n - half) for p, n in zip(peak.unbind(1), sides, strict=True)], 1
    )
    z, y, x = (
        first[:, axis, None] * STRIDE + torch.arange(LOOK_SIDE, device=image.device) for axis in range(3)
    )
    index = (z[:, :, None, None] * image.shape[3] + y[:, None, :, None]) * image.shape[4] + x[
        :, None, None, :
    ]
    cubes = image.flatten()[index].unsqueeze(1)
    looked = network(torch.cat([cubes, cubes.flip(2, 3, 4)]))
    # In a mirror the centre lies on the other side of its voxel.
    sign = torch.tensor([1.0, -1.0, -1.0, -1.0, 1.0], device=image.device).reshape(1, 5, 1, 1, 1)
    mean = ((looked[:LOOKS] + looked[LOOKS:].flip(2, 3, 4) * sign) / 2).flatten(2)
    steps = torch.arange(-1, 2, device=image.device)
    near = torch.cartesian_prod(steps, steps, steps)
    places = (peak - first).unsqueeze(1) + near
    places = places.clamp(0, half - 1)
    index = (places[..., 0] * half + places[..., 1]) * half + places[..., 2]
    best = mean[:, 0].gather(1, index).argmax(1, keepdim=True)
    values = mean.gather(2, index.gather(1, best).unsqueeze(1).expand(-1, 5, -1))[:, :, 0]
    place = first + places.gather(1, best.unsqueeze(2).expand(-1, -1, 3))[:, 0]
    return values[None, :, 0].sigmoid(), *decoded(place[None], values[None])


def peaks(output: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` best peaks of a network's output: scores, centres and diameters in voxels of its input."""
    scores, position = highest(output, count)
    values = (
        output.flatten(2).gather(2, position.unsqueeze(1).expand(-1, output.shape[1], -1)).transpose(1, 2)
    )
    return scores, *decoded(unravelled(position, output.shape[2:]), values)


def highest(output: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Scores (N, count) of the best peaks, descending, and their places in the flat output."""
    score = output[:, 0:1].sigmoid()
    ceiling = functional.max_pool3d(score, 3, 1, 1)
    return tuple(torch.where(score == ceiling, score, torch.zeros_like(score)).flatten(1).topk(count, dim=1))


def unravelled(position: Tensor, shape: Sequence[int]) -> Tensor:
    """Flat places in an output of this shape as (..., 3): slice, row, column."""
    row = position // shape[2]
    slice_ = row // shape[1]
    # Not by remainders: export knows none of a side that is open.
    return torch.stack([slice_, row - slice_ * shape[1], position - row * shape[2]], -1)


def decoded(place: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (N, K, 3) and diameters (N, K) in input voxels, of what the output says (N, K, 5) at places (N, K, 3)."""
    # Output voxel i covers input voxels 2i and 2i + 1: its centre is at 2i + 0.5.
    center = (place.to(values.dtype) + values[..., 1:4]) * STRIDE + (STRIDE - 1) / 2
    return center, values[..., 4].clamp(0.0, 4.5).exp()
