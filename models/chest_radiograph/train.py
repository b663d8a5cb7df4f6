"""Trains the network on synthetic radiographs within a budget of wall time. Needs the extra `train`.

python -m models.chest_radiograph.train --data DIR --minutes 24 --seed 0 --out FILE.pt
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from models.chest_radiograph.dataset import Batch, read
from models.chest_radiograph.network import STRIDE, RadiographNet
from models.chest_radiograph.preprocess import INPUT_PX, by_rank

log = logging.getLogger(__name__)

LEARNING_RATE = 3e-3
WARM_UP_STEPS = 80
EMA_DECAY = 0.995
SAVE_EVERY_S = 120.0
# Small pictures first: most of what there is to learn costs a third there.
SMALL_PX, SMALL_SHARE = 128, 0.6
# A cell belongs to a finding that covers this share of it.
_CELL_SHARE = 0.25
MAP_WEIGHT, KIND_WEIGHT = 2.0, 0.5
# Nodules cover few cells: without weight the maps would learn that there are none.
_CELL_WEIGHT = (8.0, 3.0, 2.0, 2.0, 2.0, 1.5)


class Sampler:
    """Pictures of the training set, each time a little different."""

    def __init__(self, batch: Batch, rng: np.random.Generator) -> None:
        self._batch = batch
        self._rng = rng
        self._order: list[int] = []

    def draw(
        self, count: int, size: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
        """pictures (count, 1, size, size), labels (count, 6), targets of the maps, kinds (count,)."""
        while len(self._order) < count:
            self._order += list(self._rng.permutation(len(self._batch.kinds)))
        chosen, self._order = self._order[:count], self._order[count:]
        pairs = [self._one(int(index), size) for index in chosen]
        targets = np.stack([target for _, target in pairs])
        labels = self._batch.labels[chosen].astype(np.float32)
        # What the crop lost is no finding of this picture.
        labels *= targets.any(axis=(2, 3))
        return (
            np.stack([picture for picture, _ in pairs])[:, None],
            labels,
            targets,
            self._batch.kinds[chosen],
        )

    def _one(self, index: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rng = self._rng
        pixels = np.asarray(self._batch.pixels[index], np.float32)
        masks = self._batch.masks[index]
        small, cells = masks.shape[1], size // STRIDE
        angle, shift = rng.normal(0, 0.05), rng.normal(0, 0.02, 2)
        step = rng.uniform(0.86, 1.06) * rng.uniform(0.96, 1.04, 2)
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag(step)

        def moved(field: NDArray[np.float32], out: int, sigma: float) -> NDArray[np.float32]:
            matrix = turn * (field.shape[0] / out)
            middle = (field.shape[0] - 1) / 2 + shift * field.shape[0]
            offset = middle - matrix @ np.full(2, (out - 1) / 2)
            field = ndimage.gaussian_filter(field, sigma) if sigma else field
            return np.asarray(
                ndimage.affine_transform(field, matrix, offset, (out, out), order=1, mode="nearest"),
                np.float32,
            )

        target = np.zeros((len(masks), cells, cells), np.float32)
        for number, mask in enumerate(masks):
            if mask.any():
                share = moved(mask.astype(np.float32), cells, 0.4 * small / cells)
                target[number] = share > min(_CELL_SHARE, 0.6 * float(share.max()))
        picture = moved(pixels, size, 0.4 * pixels.shape[0] / size - 0.4)
        if rng.random() < 0.4:
            picture = picture + np.float32(rng.normal(0, 0.4)) * _ramp(rng, size) * picture.std()
        if rng.random() < 0.4:
            picture = ndimage.gaussian_filter(picture, rng.uniform(0.3, 1.2))
        elif rng.random() < 0.3:
            picture = picture + rng.uniform(0.3, 1.2) * (
                picture - ndimage.gaussian_filter(picture, rng.uniform(1.5, 6))
            )
        if rng.random() < 0.3:
            picture += rng.normal(0, rng.uniform(0, 0.03), picture.shape).astype(np.float32)
        return by_rank(picture), target


def _ramp(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """A plane over the picture in a random direction, -1 to 1."""
    angle = rng.uniform(0, 2 * np.pi)
    line = np.linspace(-1, 1, size, dtype=np.float32)
    return np.asarray(line[:, None] * np.sin(angle) + line[None, :] * np.cos(angle), np.float32)


def loss_of(
    output: tuple[Tensor, Tensor, Tensor], labels: Tensor, targets: Tensor, kinds: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Findings, their maps and the kind. Findings count on frontal pictures only."""
    maps, logits, kind_logits = output
    frontal = (kinds == 0).float()[:, None]
    weight = torch.tensor(_CELL_WEIGHT, device=maps.device)[None, :, None, None]
    cells = functional.binary_cross_entropy_with_logits(maps, targets, pos_weight=weight, reduction="none")
    findings = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    count = frontal.sum().clamp(min=1) * labels.shape[1]
    return (
        (findings * frontal).sum() / count,
        (cells.mean(dim=(2, 3)) * frontal).sum() / count,
        functional.cross_entropy(kind_logits, kinds, label_smoothing=0.02),
    )


def train(
    data: Path, out: Path, *, minutes: float, seed: int = 0, batch_size: int = 24, threads: int = 1,
    start_from: Path | None = None, learning_rate: float = LEARNING_RATE, small_share: float = SMALL_SHARE,
) -> int:  # fmt: skip
    """Train for `minutes` of wall time, loading included; write averaged weights to `out`; return the steps.

    The cosine schedule runs over elapsed time, so that the run ends on time on any machine. small_share: of the time,
    at first, on small pictures.
    """
    began = time.monotonic()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    batch = read(data, "train")
    sampler = Sampler(batch, rng)
    log.info("%d pictures loaded in %.0f s", len(batch.kinds), time.monotonic() - began)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = RadiographNet().to(device, memory_format=torch.channels_last).train()
    if start_from is not None:
        network.load_state_dict(torch.load(start_from, weights_only=True)["weights"])
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-2)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    steps, saved = 0, time.monotonic()
    recent: list[tuple[float, ...]] = []
    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(sampler.draw, batch_size, SMALL_PX if small_share else INPUT_PX)
        while (share := (time.monotonic() - began) / (60 * minutes)) < 1:
            drawn = following.result()
            size = SMALL_PX if share < small_share else INPUT_PX
            following = ahead.submit(sampler.draw, batch_size, size)
            rate = learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, (steps + 1) / WARM_UP_STEPS)
            pictures, labels, targets, kinds = (torch.from_numpy(array).to(device) for array in drawn)
            with torch.autocast(device.type, torch.bfloat16):
                output = network(pictures.contiguous(memory_format=torch.channels_last))
            findings, cells, kind = loss_of(output, labels, targets, kinds)
            optimizer.zero_grad(set_to_none=True)
            (findings + MAP_WEIGHT * cells + KIND_WEIGHT * kind).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            steps += 1
            _update(average, network, min(EMA_DECAY, steps / (steps + 20)))
            recent.append((findings.item(), cells.item(), kind.item()))
            if steps % 50 == 0:
                mean = np.mean(recent[-50:], axis=0)
                log.info("step %d, %.0f %%: findings %.3f, maps %.3f, kind %.3f", steps, 100 * share, *mean)
            if time.monotonic() - saved > SAVE_EVERY_S:
                save(out, average, steps, seed)
                saved = time.monotonic()
    save(out, average, steps, seed)
    return steps


def _update(average: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                average[name].lerp_(value, 1 - decay)
            else:
                average[name].copy_(value)


def save(out: Path, weights: dict[str, Tensor], steps: int, seed: int) -> None:
    """Write a checkpoint; readers see the old one or the new one, whole."""
    temporary = out.with_suffix(".part")
    torch.save({"weights": weights, "steps": steps, "seed": seed}, temporary)
    temporary.replace(out)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start-from", type=Path, help="continue from this checkpoint")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument(
        "--small-share", type=float, default=SMALL_SHARE, help="share of the time on small pictures"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(
        options.data, options.out, minutes=options.minutes, seed=options.seed, threads=options.threads,
        start_from=options.start_from, learning_rate=options.learning_rate, batch_size=options.batch_size,
        small_share=options.small_share,
    )  # fmt: skip


if __name__ == "__main__":
    main()
