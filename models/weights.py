"""Weights are pinned: a model whose file changed by one byte does not run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from models.errors import WeightsDigestMismatch, WeightsMissing
from models.manifest import Manifest


def verified_weights(manifest: Manifest) -> Path:
    """The path of the weights after their SHA-256 was compared with the manifest's."""
    path = manifest.weights_path
    if not path.is_file():
        raise WeightsMissing(path)
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != manifest.weights_sha256:
        raise WeightsDigestMismatch(path, manifest.weights_sha256, actual)
    return path
