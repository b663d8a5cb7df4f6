"""Weights are pinned: a model whose file changed by one byte does not run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from models.errors import NoQuantisedWeights, WeightsDigestMismatch, WeightsMissing
from models.manifest import Manifest, Precision


def verified_weights(manifest: Manifest, precision: Precision | None = None) -> Path:
    """The path of the weights after their SHA-256 was compared with the manifest's.

    precision: of `manifest.precisions`, which must have it; None is the fp32 graph that every model brings.
    """
    further = manifest.precisions[precision] if precision is not None else None
    path = manifest.folder / (further.file if further else manifest.weights_file)
    expected = further.sha256 if further else manifest.weights_sha256
    if not path.is_file():
        raise WeightsMissing(path)
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise WeightsDigestMismatch(path, expected, actual)
    return path


def weights_for(manifest: Manifest, precision: str) -> Path:
    """The verified file that is opened to compute in a precision.

    It is the one of that precision where the model brings one; all but int8 can be computed from the fp32 weights.
    """
    for brought in manifest.precisions:
        if brought == precision:
            return verified_weights(manifest, brought)
    if precision == "int8":
        raise NoQuantisedWeights(manifest.name)
    return verified_weights(manifest)
