"""Takes a network out of a finished ONNX graph, to go on from it where no checkpoint was kept.

python -m models.lung_nodule_ct.released --model model.onnx [--part masses --member 1] --out FILE.pt

Needs the extra `train`.

Export folds the batch normalisation into the convolutions; here it comes back as an identity with their bias.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from models.lung_nodule_ct.network import Detector, Mean, NoduleNet, mass_net
from models.lung_nodule_ct.patches import Part
from models.lung_nodule_ct.train import save

# How the graph names its networks.
PREFIXES: dict[Part, str] = {"nodules": "nodules.", "masses": "masses.{}."}


def detector_of(model: Path) -> Detector:
    """The whole graph again, in torch."""
    values = {one.name: numpy_helper.to_array(one) for one in onnx.load(model).graph.initializer}
    masses = Mean(
        mass_net() for name in values if name.startswith("masses.") and name.endswith(".head.weight")
    )
    for member, network in enumerate(masses):
        network.load_state_dict(network_of(model, "masses", member))
    nodules = NoduleNet()
    nodules.load_state_dict(network_of(model, "nodules"))
    # The masses' logits are shifted by the one constant that leaves offsets and diameters as they are.
    shift = next(v for v in values.values() if v.shape == (1, 5, 1, 1, 1) and not v.flat[1:].any())
    detector = Detector(nodules, masses, float(shift.flat[0]))
    detector.eval()
    return detector


def network_of(model: Path, part: Part, member: int = 0) -> dict[str, Tensor]:
    """The state of a network that computes the same as the one in the graph. member: which of several of its part."""
    graph = onnx.load(model).graph
    values = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    prefix = PREFIXES[part].format(member)
    network = mass_net() if part == "masses" else NoduleNet()
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = values[f"{prefix}{name}.weight"]
            if module.bias is not None:
                module.bias.data = values[f"{prefix}{name}.bias"]
        elif isinstance(module, nn.BatchNorm3d):
            before = f"{name.rpartition('.')[0]}.0"
            module.running_var.fill_(1 - module.eps)
            module.bias.data = values[f"{prefix}{before}.bias"]
    return dict(network.state_dict())


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--part", choices=sorted(PREFIXES), default="nodules")
    parser.add_argument("--member", type=int, default=0, help="which of several networks of the part")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    weights = network_of(options.model, options.part, options.member)
    save(options.out, weights, steps=0, seed=0, part=options.part)


if __name__ == "__main__":
    main()
