"""Writes the served ONNX graph from checkpoints of its networks and pins it in the manifest. Needs the extra `train`.

python -m models.lung_nodule_ct.export --nodules FILE.pt --masses FILE.pt [FILE.pt ...] --out model.onnx
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.graph_file import finished
from models.lung_nodule_ct.network import LOOK_SIDE, Detector, Mean, NoduleNet, mass_net

OPSET = 18
SIDE_MULTIPLE = 16


def load_network(checkpoint: Path) -> NoduleNet:
    """The network of a checkpoint, ready to evaluate."""
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network = mass_net() if stored["part"] == "masses" else NoduleNet()
    network.load_state_dict(stored["weights"])
    network.eval()
    return network


def folded(network: NoduleNet) -> NoduleNet:
    """The network with each batch normalisation folded into the convolution before it, whose place it leaves empty.

    The exporter does that only for a network that the graph holds once, and the one for nodules looks twice.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential) and len(module) > 1 and isinstance(module[1], nn.BatchNorm3d):
            module[0], module[1] = fuse_conv_bn_eval(module[0], module[1]), nn.Identity()
    return network


def export(nodules: Path, masses: Sequence[Path], out: Path, mass_bias: float = 0.0) -> str:
    """Write `out` from checkpoints and return its SHA-256. The weights lie inside the file.

    masses: of the networks that look for masses together.
    """
    networks = [folded(load_network(one)) for one in (nodules, *masses)]
    detector = Detector(networks[0], Mean(networks[1:]), mass_bias).eval()
    least = LOOK_SIDE // SIDE_MULTIPLE
    sides = {
        axis + 1: SIDE_MULTIPLE * torch.export.Dim(name, min=least, max=64) for axis, name in enumerate("dhw")
    }
    torch.onnx.export(
        detector,
        (torch.zeros(1, 64, 80, 96, dtype=torch.int16),),
        str(out),
        input_names=["hounsfield"],
        output_names=["scores", "centers", "diameters"],
        dynamic_shapes=(sides,),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    return finished(out)


def pin(manifest: Path, digest: str, version: str | None = None) -> None:
    """Put the digest, and the version if given, into a manifest."""
    text = re.sub(r'(?m)^weights_sha256 = ".*"$', f'weights_sha256 = "{digest}"', manifest.read_text("utf-8"))
    if version is not None:
        text = re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', text)
    manifest.write_text(text, "utf-8")


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodules", type=Path, required=True, help="checkpoint of the network for nodules")
    parser.add_argument(
        "--masses", type=Path, required=True, nargs="+", help="checkpoints of the networks for masses"
    )
    parser.add_argument("--mass-bias", type=float, default=0.0, help="added to the masses' logits")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, help="pin the digest in this manifest.toml")
    parser.add_argument("--version", help="and set this version there")
    options = parser.parse_args()
    digest = export(options.nodules, options.masses, options.out, options.mass_bias)
    if options.manifest:
        pin(options.manifest, digest, options.version)
    parser.exit(message=f"{options.out}: sha256 {digest}\n")


if __name__ == "__main__":
    main()
