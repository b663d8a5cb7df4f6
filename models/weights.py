"""Weights are pinned: a model whose file changed by one byte does not run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from models.errors import NoQuantisedWeights, WeightsDigestMismatch, WeightsMissing
from models.manifest import Manifest, Precision, WeightsFile


def verified_weights(manifest: Manifest, precision: Precision | None = None) -> Path:
    """The path of the weights after their SHA-256 was compared with the manifest's.

    precision: of `manifest.precisions`, which must have it; None is the fp32 graph that every model brings.
    """
    return verified(manifest, weights_for(manifest, precision or "fp32"))


def weights_for(manifest: Manifest, precision: str) -> WeightsFile:
    """The file to open for computing in a precision, not verified yet.

    It is the one of that precision where the model brings one; all but int8 can be computed from the fp32 weights.
    """
    for brought, file in manifest.precisions.items():
        if brought == precision:
            return file
    if precision == "int8":
        raise NoQuantisedWeights(manifest.name)
    return WeightsFile(manifest.weights_file, manifest.weights_sha256)


def verified(manifest: Manifest, weights: WeightsFile) -> Path:
    """The path of one of the model's weights files after its SHA-256 was compared with the manifest's."""
    path = manifest.folder / weights.file
    if not path.is_file():
        raise WeightsMissing(path)
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != weights.sha256:
        raise WeightsDigestMismatch(path, weights.sha256, actual)
    return path
