"""What a scanner makes of a patch, drawn anew for each: kernel, slices, motion, noise. Needs the extra `train`.

All of it is one product in the frequency domain, on the device where the patches lie; the families of curves are
wide, so that no one kernel or noise is learnt.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SLICE_MM = (0.6, 0.75, 1.0, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
THICK_MM = (3.75, 5.0, 8.0)
THICK_SHARE = {False: 0.1, True: 0.35}
NOISE_HU = {False: (4.0, 70.0), True: (1.0, 18.0)}


def scan(
    rng: np.random.Generator, hounsfield: Tensor, scanned: Tensor, voxel_mm: float, coarse: bool
) -> Tensor:
    """Patches (n, d, h, w) in HU as scans would show them. scanned: (n) those that are scans already: little is added.

    coarse: for masses, which thick slices show too.
    """
    count, shape, device = len(hounsfield), hounsfield.shape[1:], hounsfield.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (count, 1, 1, 1)).astype(np.float32)).to(device)

    def some(share: float) -> Tensor:
        return torch.from_numpy((rng.random((count, 1, 1, 1)) < share).astype(np.float32)).to(device)

    thick = rng.random(count) < THICK_SHARE[coarse]
    slice_mm = np.where(thick, rng.choice(THICK_MM, count), rng.choice(SLICE_MM, count)).astype(np.float32)
    slices = torch.from_numpy(slice_mm).to(device).view(-1, 1, 1, 1)
    fz = torch.fft.fftfreq(shape[0], voxel_mm, device=device).view(1, -1, 1, 1)
    fy = torch.fft.fftfreq(shape[1], voxel_mm, device=device).view(1, 1, -1, 1)
    fx = torch.fft.rfftfreq(shape[2], voxel_mm, device=device).view(1, 1, 1, -1)
    across = (fy**2 + fx**2).sqrt()
    blur = (-2 * (np.pi * uniform(0.25, 1.0) * across) ** 2).exp()
    blur = blur * (1 + uniform(0, 1.3) * some(0.5) * (1 - (-((across / uniform(0.08, 0.3)) ** 2)).exp()))
    box = torch.sinc(slices * fz)
    bell = (-2 * (np.pi * uniform(0.3, 0.45) * slices * fz) ** 2).exp()
    rectangular = some(0.5)
    blur = blur * (rectangular * box + (1 - rectangular) * bell)
    # A second position of everything, as motion during one rotation shows it.
    turns = -2 * np.pi * sum(f * uniform(-2.5, 2.5) for f in (fz, fy, fx))
    ghost = uniform(0, 0.45) * some(0.15)
    motion = torch.complex(1 - ghost + ghost * turns.cos(), ghost * turns.sin())
    real = scanned.view(-1, 1, 1, 1)
    blur = torch.where(real, torch.ones_like(blur), blur)
    spectrum = torch.fft.rfftn(hounsfield, dim=(1, 2, 3)) * blur * motion
    image = torch.fft.irfftn(spectrum, s=shape, dim=(1, 2, 3))
    # Noise: rises from low frequencies, falls at high ones, with some white in it; streaks where it is drawn out.
    stretched = (fy**2 + (fx * (1 + some(0.08) * uniform(3, 20))) ** 2).sqrt()
    rise, fall = uniform(0, 1.0), uniform(1, 4)
    curve = (stretched + 0.01) ** rise * (-((stretched / uniform(0.12, 0.7)) ** fall)).exp()
    curve = curve / curve.amax((1, 2, 3), keepdim=True) + uniform(0, 0.3) * some(0.5)
    curve = curve * (-2 * (np.pi * uniform(0, 0.6) * fz) ** 2).exp()
    curve = curve / (curve**2).mean((1, 2, 3), keepdim=True).sqrt()
    noise = torch.fft.irfftn(
        torch.fft.rfftn(torch.randn_like(image), dim=(1, 2, 3)) * curve, s=shape, dim=(1, 2, 3)
    )
    low, high = NOISE_HU[coarse]
    level = uniform(np.log(low), np.log(high)).exp() * torch.where(real, 0.15, 1.0)
    across_patch = torch.linspace(-1, 1, shape[1], device=device).view(1, 1, -1, 1)
    image = image + noise * level * (1 + uniform(-0.4, 0.4) * across_patch)
    image = image * uniform(0.96, 1.04) + uniform(-30, 30)
    step = slice_mm * rng.choice([0.6, 0.8, 1.0], count) / voxel_mm
    step[scanned.cpu().numpy()] = 1.0
    return _as_slices(
        image, torch.from_numpy(step).to(device), torch.from_numpy(rng.random(count)).to(device)
    )


def _as_slices(image: Tensor, step: Tensor, phase: Tensor) -> Tensor:
    """Each patch sampled at slices `step` voxels apart and brought back by linear interpolation."""
    slices = image.shape[1]
    grid = torch.arange(slices, device=image.device, dtype=torch.float64)
    # Slices closer than half a voxel show every voxel as it is.
    phase = (phase.double() * step.double() * (step >= 0.5))[:, None]
    step = step.double()[:, None].clamp(min=0.5)
    number = ((grid - phase) / step).floor()
    share = ((grid - phase) / step - number)[:, :, None]
    below = ((number * step + phase).clamp(0, slices - 1))[:, :, None]
    above = (((number + 1) * step + phase).clamp(0, slices - 1))[:, :, None]
    matrix = (1 - share) * (1 - (grid - below).abs()).clamp(min=0) + share * (1 - (grid - above).abs()).clamp(
        min=0
    )
    return torch.bmm(matrix.float(), image.flatten(2)).view_as(image)
