"""Trains the detector within a budget of wall time, on a CUDA device where there is one. Needs the extra `train`.

python -m models.lung_nodule_ct.train --data DIR --minutes 55 --seed 0 --out FILE.pt      phantoms of `dataset`
python -m models.lung_nodule_ct.train --luna16 DIR --minutes 600 --out FILE.pt            real scans, see `luna16`
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.lung_nodule_ct.luna16 import prepare
from models.lung_nodule_ct.network import COARSE, NoduleNet, mass_net
from models.lung_nodule_ct.patches import Batch, PatchSampler, Scene, coarse_scene, load_scene

log = logging.getLogger(__name__)

LEARNING_RATE = 3e-3
WARM_UP_STEPS = 100
REGRESSION_WEIGHT = 0.3
EMA_DECAY = 0.998
SAVE_EVERY_S = 120.0
MISTAKE_ABOVE = 0.25
NOISE = 0.012

Part = Literal["nodules", "masses"]
PARTS: tuple[Part, ...] = ("nodules", "masses")
SPLITS = ("train", "mass_train")


def losses(output: Tensor, heat: Tensor, regression: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """CornerNet's focal loss (Law and Deng 2018, arXiv:1808.01244) and the mean absolute regression error."""
    probability = output[:, 0].sigmoid().clamp(1e-4, 1 - 1e-4)
    positive = (heat == 1).float()
    hit = torch.log(probability) * (1 - probability) ** 2 * positive
    miss = torch.log(1 - probability) * probability**2 * (1 - heat) ** 4 * (1 - positive)
    focal = -(hit.sum() + miss.sum()) / positive.sum().clamp(min=1)
    error = (output[:, 1:] - regression).abs() * weight[:, None]
    return focal, error.sum() / weight.sum().clamp(min=1)


def train(
    data: Path,
    out: Path,
    *,
    minutes: float,
    part: Part = "nodules",
    seed: int = 0,
    patch: int = 64,
    batch_size: int = 8,
    threads: int = 2,
    start_from: Path | None = None,
    learning_rate: float = LEARNING_RATE,
) -> int:
    """Train for `minutes` of wall time, loading included, and write the averaged weights to `out`.

    part: which of the graph's two networks. The weights are written every two minutes too, and phantoms that have
    appeared in the folder are taken in. Returns the number of steps. The cosine schedule runs over elapsed time, so
    that the run ends on time on any machine; for the same reason two runs with one seed are alike but not identical.
    """
    began = time.monotonic()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    folder = _Folder(data, part, rng)
    sampler = PatchSampler(folder.new_scenes(), patch, rng, COARSE if part == "masses" else 0)
    if not sampler.scenes:
        raise FileNotFoundError(
            f"no {SPLITS[0]}_*.npz in {data}: make them with models.lung_nodule_ct.dataset"
        )
    log.info("%d scenes loaded in %.0f s", len(sampler.scenes), time.monotonic() - began)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = mass_net() if part == "masses" else NoduleNet()
    if start_from is not None:
        network.load_state_dict(torch.load(start_from, weights_only=True)["weights"])
    network = network.to(device, memory_format=torch.channels_last_3d)
    loop = _Loop(network, sampler, device, learning_rate, resumed=start_from is not None)
    loading_share = (time.monotonic() - began) / (60 * minutes)
    saved = time.monotonic()
    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(sampler.batch, batch_size)
        while (share := (time.monotonic() - began) / (60 * minutes)) < 1:
            batch = following.result()
            following = ahead.submit(sampler.batch, batch_size)
            loop.step(batch, (share - loading_share) / (1 - loading_share))
            if time.monotonic() - saved > SAVE_EVERY_S:
                save(out, loop.average, loop.steps, seed, part)
                saved = time.monotonic()
                sampler.scenes.extend(folder.new_scenes())
    save(out, loop.average, loop.steps, seed, part)
    log.info("%d steps in %.1f min", loop.steps, (time.monotonic() - began) / 60)
    return loop.steps


class _Folder:
    """The phantoms to train on; where masses are sought each gives a copy with thick slices too."""

    def __init__(self, data: Path, part: Part, rng: np.random.Generator) -> None:
        self.data, self.part, self.rng = data, part, rng
        self.seen: set[Path] = set()

    def new_scenes(self) -> list[Scene]:
        """What is there now and was not at the last call."""
        present = {
            p for split in SPLITS for p in self.data.glob(f"{split}_[0-9]*.npz") if ".part" not in p.name
        }
        paths = sorted(present - self.seen)
        self.seen.update(paths)
        scenes = []
        for path in paths:
            scene = load_scene(path, self.rng)
            if self.part == "masses":
                thick = int(self.rng.integers(4, 9))
                scenes += [coarse_scene(scene, COARSE), coarse_scene(scene, COARSE, slice_mm=thick)]
            else:
                scenes.append(scene)
        return scenes


class _Loop:
    """The network, its optimiser and the moving average of its weights."""

    def __init__(
        self,
        network: NoduleNet,
        sampler: PatchSampler,
        device: torch.device,
        learning_rate: float,
        resumed: bool,
    ) -> None:
        self.network = network.train()
        self.sampler = sampler
        self.device = device
        self.learning_rate = learning_rate
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-3)
        self.average = {name: value.clone() for name, value in network.state_dict().items()}
        self.steps = 0
        self.recent: list[tuple[float, float]] = []
        self.warm_up = WARM_UP_STEPS
        if resumed:
            self._freeze_statistics()

    def _freeze_statistics(self) -> None:
        """A network that goes on keeps its batch statistics: those of a released graph are folded into its weights."""
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eval()

    def step(self, batch: Batch, share_done: float) -> None:
        """One optimiser step; the rate follows a cosine over the share of the budget that is spent."""
        rate = self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(share_done, 1.0))))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * min(1.0, (self.steps + 1) / self.warm_up)
        image = (
            torch.from_numpy(batch.image)[:, None]
            .to(self.device)
            .contiguous(memory_format=torch.channels_last_3d)
        )
        image = image + torch.randn_like(image) * NOISE
        with torch.autocast(self.device.type, torch.bfloat16):
            output = self.network(image)
        output = output.float()
        maps = (
            torch.from_numpy(field).to(self.device) for field in (batch.heat, batch.regression, batch.weight)
        )
        focal, regression = losses(output, *maps)
        self.optimizer.zero_grad(set_to_none=True)
        (focal + REGRESSION_WEIGHT * regression).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.steps += 1
        self._average()
        self._report_mistakes(batch, output)
        self.recent.append((focal.item(), regression.item()))
        if self.steps % 100 == 0:
            mean = np.mean(self.recent[-100:], axis=0)
            log.info(
                "step %d, %.0f %%: focal %.3f, regression %.3f, %d mistakes kept",
                self.steps, 100 * share_done, mean[0], mean[1], len(self.sampler.mistakes),
            )  # fmt: skip

    def _average(self) -> None:
        decay = min(EMA_DECAY, self.steps / (self.steps + 20))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.dtype.is_floating_point:
                    self.average[name].lerp_(value, 1 - decay)
                else:
                    self.average[name].copy_(value)

    def _report_mistakes(self, batch: Batch, output: Tensor) -> None:
        """The highest score of each patch that is neither at nor beside a nodule."""
        with torch.no_grad():
            score = output[:, 0].sigmoid().cpu().numpy()
        score[batch.heat > 0.02] = 0
        for item, map_ in enumerate(score):
            if map_.max() > MISTAKE_ABOVE:
                self.sampler.report_mistakes(
                    batch, item, np.array(np.unravel_index(map_.argmax(), map_.shape))
                )


def save(out: Path, weights: dict[str, Tensor], steps: int, seed: int, part: Part) -> None:
    """Write a checkpoint; readers see the old one or the new one, whole."""
    temporary = out.with_suffix(".part")
    torch.save({"weights": weights, "steps": steps, "seed": seed, "part": part}, temporary)
    temporary.replace(out)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder of phantoms")
    source.add_argument("--luna16", type=Path, help="folder of annotated scans in LUNA16's layout")
    parser.add_argument(
        "--hold-out", nargs="*", default=[], help="folders of --luna16 that are not trained on"
    )
    parser.add_argument("--scans-max", type=int, help="of --luna16; each takes about 50 MB of memory")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", choices=PARTS, default="nodules", help="which of the two networks")
    parser.add_argument("--minutes", type=float, default=55)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start-from", type=Path, help="continue from this checkpoint")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--patch", type=int, default=64, help="side of a patch in voxels, a multiple of 16")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.luna16:
        options.data = options.out.with_suffix(".scans")
        prepare(options.luna16, options.data, hold_out=options.hold_out, scans_max=options.scans_max)
    train(
        options.data, options.out, minutes=options.minutes, part=options.part, seed=options.seed,
        threads=options.threads, start_from=options.start_from, learning_rate=options.learning_rate,
        patch=options.patch, batch_size=options.batch_size,
    )  # fmt: skip


if __name__ == "__main__":
    main()
