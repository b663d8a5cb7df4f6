"""Writes the served ONNX graph from a checkpoint. Needs the extra `train`.

python -m models.chest_radiograph.export --checkpoint FILE.pt --out model.onnx --manifest manifest.toml
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from models.chest_radiograph.network import RadiographNet, Served
from models.chest_radiograph.preprocess import INPUT_PX
from models.graph_file import finished
from models.lung_nodule_ct.export import OPSET, pin

BATCH_MAX = 16


def load_network(checkpoint: Path) -> RadiographNet:
    """The network of a checkpoint, ready to evaluate."""
    network = RadiographNet()
    network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["weights"])
    network.eval()
    return network


def export(checkpoint: Path, out: Path) -> str:
    """Write `out` and return its SHA-256. The weights lie inside the file."""
    torch.onnx.export(
        Served(load_network(checkpoint)).eval(),
        (torch.zeros(2, 1, INPUT_PX, INPUT_PX),),
        str(out),
        input_names=["picture"],
        output_names=["logits", "saliency", "kinds"],
        dynamic_shapes=({0: torch.export.Dim("n", min=1, max=BATCH_MAX)},),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    return finished(out)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, help="pin the digest in this manifest.toml")
    parser.add_argument("--version", help="and set this version there")
    options = parser.parse_args()
    digest = export(options.checkpoint, options.out)
    if options.manifest:
        pin(options.manifest, digest, options.version)
    parser.exit(message=f"{options.out}: sha256 {digest}\n")


if __name__ == "__main__":
    main()
