"""The file of an exported graph: what it must not carry, and its digest. Needs `train`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx


def finished(path: Path) -> str:
    """Take out where the exporter's source lay on its machine, node by node, and return the SHA-256 of what is left."""
    model = onnx.load(path)
    for holder in (model, model.graph, *model.functions):
        del holder.metadata_props[:]
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    for named in (*nodes, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del named.metadata_props[:]
        named.doc_string = ""
    content = model.SerializeToString()
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()
