"""Writes the served ONNX graph from a checkpoint and pins it in the manifest. Needs the extra `train`.

python -m models.lung_ct_segmentation.export --checkpoint FILE.pt --out model.onnx
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from models.graph_file import finished
from models.lung_ct_segmentation.network import LobeNet, Segmenter
from models.lung_nodule_ct.export import OPSET, SIDE_MULTIPLE, pin


def load_network(checkpoint: Path) -> LobeNet:
    """The network of a checkpoint, ready to evaluate."""
    network = LobeNet()
    network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["weights"])
    network.eval()
    return network


def export(checkpoint: Path, out: Path) -> str:
    """Write `out` and return its SHA-256. The weights lie inside the file."""
    segmenter = Segmenter(load_network(checkpoint)).eval()
    sides = {
        axis + 1: SIDE_MULTIPLE * torch.export.Dim(name, min=2, max=64) for axis, name in enumerate("dhw")
    }
    torch.onnx.export(
        segmenter,
        (torch.zeros(1, 64, 80, 96, dtype=torch.int16),),
        str(out),
        input_names=["hounsfield"],
        output_names=["labels"],
        dynamic_shapes=(sides,),
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
