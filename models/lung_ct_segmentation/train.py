"""Trains the segmenter on phantoms within a budget of wall time. Needs the extra `train`.

python -m models.lung_ct_segmentation.train --data DIR --minutes 25 --seed 0 --out FILE.pt
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
from torch import Tensor, nn
from torch.nn import functional

from models.lung_ct_segmentation.network import LobeNet
from models.lung_ct_segmentation.scenes import draw

log = logging.getLogger(__name__)

LEARNING_RATE = 2e-3
WARM_UP_STEPS = 60
EMA_DECAY = 0.995
SAVE_EVERY_S = 120.0


def losses(logits: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy with the shares of each label, and one minus the mean soft Dice of the lobes that are there.

    Both (N, label, D, H, W). Shares teach where in a voxel a border runs, so that interpolated logits find it.
    """
    entropy = functional.cross_entropy(logits, shares)
    probability, truth = logits.softmax(dim=1)[:, 1:].flatten(2), shares[:, 1:].flatten(2)
    common = (probability * truth).sum(dim=2)
    both = (probability**2).sum(dim=2) + (truth**2).sum(dim=2)
    there = truth.sum(dim=2) > 0
    dice = (2 * common + 1) / (both + 1)
    return entropy, 1 - dice[there].mean() if there.any() else entropy * 0


def train(
    data: Path,
    out: Path,
    *,
    minutes: float,
    seed: int = 0,
    threads: int = 2,
    start_from: Path | None = None,
    learning_rate: float = LEARNING_RATE,
) -> int:
    """Train for `minutes` of wall time and write the averaged weights to `out`.

    One whole chest a step. The cosine schedule runs over elapsed time, so that the run ends on time on any
    machine; two runs with one seed are alike, not identical. Returns the number of steps.
    """
    began = time.monotonic()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = LobeNet().to(device)
    if start_from is not None:
        network.load_state_dict(torch.load(start_from, weights_only=True)["weights"])
    loop = _Loop(network, device, learning_rate)
    saved = time.monotonic()
    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(draw, rng, data)
        while (share := (time.monotonic() - began) / (60 * minutes)) < 1:
            hounsfield, shares = following.result()
            following = ahead.submit(draw, rng, data)
            loop.step(torch.from_numpy(hounsfield)[None], torch.from_numpy(shares)[None], share)
            if time.monotonic() - saved > SAVE_EVERY_S:
                save(out, loop.average, loop.steps, seed)
                saved = time.monotonic()
    save(out, loop.average, loop.steps, seed)
    log.info("%d steps in %.1f min", loop.steps, (time.monotonic() - began) / 60)
    return loop.steps


class _Loop:
    """The network, its optimiser and the moving average of its weights."""

    def __init__(self, network: LobeNet, device: torch.device, learning_rate: float) -> None:
        self.network = network.train()
        self.device = device
        self.learning_rate = learning_rate
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-3)
        self.average = {name: value.clone() for name, value in network.state_dict().items()}
        self.steps = 0
        self.recent: list[tuple[float, float]] = []

    def step(self, hounsfield: Tensor, shares: Tensor, share_done: float) -> None:
        """One optimiser step; the rate follows a cosine over the share of the budget that is spent."""
        rate = self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share_done, 1.0))))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * min(1.0, (self.steps + 1) / WARM_UP_STEPS)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.network.coarse(hounsfield.to(self.device))
        entropy, dice = losses(logits.float(), shares.to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        (entropy + dice).backward()
        self.steps += 1
        length = nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        if not torch.isfinite(length):  # bf16 overflowed on a small part of a chest
            return
        self.optimizer.step()
        self._average()
        self.recent.append((entropy.item(), dice.item()))
        if self.steps % 100 == 0:
            mean = np.mean(self.recent[-100:], axis=0)
            log.info("step %d, %.0f %%: entropy %.3f, dice loss %.3f", self.steps, 100 * share_done, *mean)

    def _average(self) -> None:
        decay = min(EMA_DECAY, self.steps / (self.steps + 20))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.dtype.is_floating_point:
                    self.average[name].lerp_(value, 1 - decay)
                else:
                    self.average[name].copy_(value)


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
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start-from", type=Path, help="continue from this checkpoint")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(
        options.data, options.out, minutes=options.minutes, seed=options.seed, threads=options.threads,
        start_from=options.start_from, learning_rate=options.learning_rate,
    )  # fmt: skip


if __name__ == "__main__":
    main()
