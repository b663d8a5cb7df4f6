"""Trains the detector within a budget of wall time, on a CUDA device where there is one. Needs the extra `train`.

python -m models.lung_nodule_ct.train --data DIR --minutes 55 --seed 0 --out FILE.pt      phantoms of `dataset`
python -m models.lung_nodule_ct.train --luna16 DIR --minutes 600 --out FILE.pt            real scans, see `luna16`
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.lung_nodule_ct.luna16 import prepare
from models.lung_nodule_ct.network import NoduleNet, mass_net
from models.lung_nodule_ct.patches import RECIPES, Batch, Held, Part, PatchSampler, hold
from models.lung_nodule_ct.scenes import read

log = logging.getLogger(__name__)

LEARNING_RATE = 3e-3
WARM_UP_STEPS = 100
REGRESSION_WEIGHT = 0.3
EMA_DECAY = 0.999
STATISTICS_BATCHES = 16
SAVE_EVERY_S = 120.0
MISTAKE_ABOVE = 0.25
# Training begins with so many scenes; the others come while it runs.
SCENES_AT_FIRST = 16
PAUSE_S = 1.0
PATCH: dict[Part, int] = {"nodules": 64, "masses": 40}


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
    patch: int | None = None,
    batch_size: int = 8,
    threads: int = 2,
    start_from: Path | None = None,
    learning_rate: float = LEARNING_RATE,
) -> int:
    """Train for `minutes` of wall time, loading included, and write the averaged weights to `out`.

    part: what the network is to find. patch: side of what it is shown, in its voxels. The weights are written
    every two minutes too, and scenes that have appeared in the folder are taken in as they come. Returns the number
    of steps. The cosine schedule runs over elapsed time, so that the run ends on time on any machine; for the same
    reason two runs with one seed are alike but not identical.
    """
    began = time.monotonic()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sampler = PatchSampler(RECIPES[part], patch or PATCH[part], rng, device)
    folder = _Folder(data, sampler, np.random.default_rng([seed, 1]))
    for _ in range(min(SCENES_AT_FIRST, len(folder.new_paths()))):
        sampler.scenes += folder.next_scene()
    if not sampler.scenes:
        raise FileNotFoundError(f"no train_*.npz in {data}: make them with models.lung_nodule_ct.dataset")
    network = mass_net() if part == "masses" else NoduleNet()
    if start_from is not None:
        network.load_state_dict(torch.load(start_from, map_location="cpu", weights_only=True)["weights"])
    network = network.to(device, memory_format=torch.channels_last_3d)
    if start_from is not None:
        measure_statistics(network, [sampler.batch(batch_size).image for _ in range(STATISTICS_BATCHES)])
    loop = _Loop(network, sampler, learning_rate)
    loading_share = (time.monotonic() - began) / (60 * minutes)
    saved = time.monotonic()
    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(folder.next_scene)
        while (share := (time.monotonic() - began) / (60 * minutes)) < 1:
            loop.step(sampler.batch(batch_size), (share - loading_share) / (1 - loading_share))
            if following.done():
                sampler.scenes += following.result()
                following = ahead.submit(folder.next_scene)
            if time.monotonic() - saved > SAVE_EVERY_S:
                save(out, loop.average, loop.steps, seed, part)
                saved = time.monotonic()
    save(out, loop.average, loop.steps, seed, part)
    log.info("%d steps in %.1f min", loop.steps, (time.monotonic() - began) / 60)
    return loop.steps


def measure_statistics(network: NoduleNet, images: Sequence[Tensor]) -> None:
    """Measure anew what each batch normalisation of a network meets on these images; the network computes as before.

    Export folds them into the convolutions before, and `released` gives them back as identities: trained on so, with
    the statistics of a batch in the place of none, a network would have to learn its scales anew.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    moments = {
        norm: [torch.zeros_like(norm.running_mean), torch.zeros_like(norm.running_var)] for norm in norms
    }

    def add(norm: nn.BatchNorm3d, inputs: tuple[Tensor]) -> None:
        for moment, power in zip(moments[norm], (1, 2), strict=True):
            moment += inputs[0].pow(power).mean((0, 2, 3, 4)) / len(images)

    hooks = [norm.register_forward_pre_hook(add) for norm in norms]
    network.eval()
    with torch.no_grad():
        for image in images:
            network(image)
        for norm in norms:
            mean, square = moments[norm]
            variance = (square - mean**2).clamp(min=0)
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            norm.bias += (mean - norm.running_mean) * scale
            norm.weight.copy_(scale * (variance + norm.eps).sqrt())
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
    for hook in hooks:
        hook.remove()


class _Folder:
    """The scenes on disk, handed out one by one."""

    def __init__(self, data: Path, sampler: PatchSampler, rng: np.random.Generator) -> None:
        self.data, self.sampler, self.rng = data, sampler, rng
        self.seen: set[Path] = set()

    def new_paths(self) -> list[Path]:
        """What is there now and was not handed out."""
        present = {path for path in self.data.glob("train_[0-9]*.npz") if ".part" not in path.name}
        return sorted(present - self.seen)

    def next_scene(self) -> list[Held]:
        """One scene on the training device; none, after a pause, when all were handed out."""
        paths = self.new_paths()
        if not paths:
            time.sleep(PAUSE_S)
            return []
        self.seen.add(paths[0])
        return [hold(read(paths[0]), self.sampler.recipe, self.sampler.device, self.rng)]


class _Loop:
    """The network, its optimiser and the moving average of its weights."""

    def __init__(self, network: NoduleNet, sampler: PatchSampler, learning_rate: float) -> None:
        self.network, self.sampler, self.learning_rate = network.train(), sampler, learning_rate
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-3)
        self.average = {name: value.clone() for name, value in network.state_dict().items()}
        self.steps = 0
        self.recent: list[tuple[Tensor, Tensor]] = []
        self.warm_up = WARM_UP_STEPS

    def step(self, batch: Batch, share_done: float) -> None:
        """One optimiser step; the rate follows a cosine over the share of the budget that is spent."""
        rate = self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(share_done, 1.0))))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * min(1.0, (self.steps + 1) / self.warm_up)
        image = batch.image.contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(self.sampler.device.type, torch.bfloat16):
            output = self.network(image)
        output = output.float()
        focal, regression = losses(output, batch.heat, batch.regression, batch.weight)
        self.optimizer.zero_grad(set_to_none=True)
        (focal + REGRESSION_WEIGHT * regression).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.steps += 1
        self._average()
        self._report_mistakes(batch, output)
        self.recent.append((focal.detach(), regression.detach()))
        if self.steps % 100 == 0:
            mean = [float(torch.stack(column).mean()) for column in zip(*self.recent, strict=True)]
            self.recent.clear()
            log.info(
                "step %d, %.0f %%: focal %.3f, regression %.3f, %d scenes, %d mistakes kept",
                self.steps, 100 * share_done, mean[0], mean[1], len(self.sampler.scenes), len(self.sampler.mistakes),
            )  # fmt: skip

    def _average(self) -> None:
        decay = min(EMA_DECAY, self.steps / (self.steps + 20))
        present = self.network.state_dict()
        with torch.no_grad():
            floating = [name for name, value in present.items() if value.dtype.is_floating_point]
            torch._foreach_lerp_(
                [self.average[name] for name in floating], [present[name] for name in floating], 1 - decay
            )
            for name in present.keys() - set(floating):
                self.average[name].copy_(present[name])

    def _report_mistakes(self, batch: Batch, output: Tensor) -> None:
        """The highest score of each patch that is neither at nor beside a nodule."""
        with torch.no_grad():
            score = torch.where(batch.heat > 0.02, 0.0, output[:, 0].sigmoid())
            highest, position = score.flatten(1).max(1)
        side = score.shape[-1]
        for origin, value, index in zip(batch.origins, highest.tolist(), position.tolist(), strict=True):
            if value > MISTAKE_ABOVE:
                self.sampler.report_mistakes(origin, (index // side**2, index // side % side, index % side))


def save(out: Path, weights: dict[str, Tensor], steps: int, seed: int, part: Part) -> None:
    """Write a checkpoint; readers see the old one or the new one, whole."""
    temporary = out.with_suffix(".part")
    weights = {name: value.cpu() for name, value in weights.items()}
    torch.save({"weights": weights, "steps": steps, "seed": seed, "part": part}, temporary)
    temporary.replace(out)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder of scenes")
    source.add_argument("--luna16", type=Path, help="folder of annotated scans in LUNA16's layout")
    parser.add_argument(
        "--hold-out", nargs="*", default=[], help="folders of --luna16 that are not trained on"
    )
    parser.add_argument("--scans-max", type=int, help="of --luna16; each takes about 50 MB of memory")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--part", choices=sorted(RECIPES), default="nodules", help="what the network is to find"
    )
    parser.add_argument("--minutes", type=float, default=55)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start-from", type=Path, help="continue from this checkpoint")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--patch", type=int, help="side of a patch in the network's voxels, a multiple of 16 or 8"
    )
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
