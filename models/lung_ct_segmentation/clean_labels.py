"""Tidying the graph's labels: one piece for each lobe, no holes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.lung_ct_segmentation.lobes import NAMES

# Pieces of a lobe smaller than this share of its largest piece are given to their surroundings.
PIECE_SHARE_MIN = 0.2


def clean_labels(
    labels: NDArray[np.uint8], aired: NDArray[np.bool_], tissue: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Labels (slice, row, column) whose stray pieces are dropped or join the lobe around them.

    aired: where the lungs' mask is, which dense lung is not in; what does not touch it, such as air outside the
    body, is no lung. tissue: what is lung by its density alone; it belongs to the nearest lobe.
    """
    lungs = ndimage.binary_fill_holes(labels > 0)
    lungs &= _touching(lungs, lungs & aired)
    labels = labels * lungs
    kept = np.zeros_like(labels)
    for label, box in zip(NAMES, ndimage.find_objects(labels, max(NAMES)), strict=True):
        if box is not None:
            kept[box][_large_pieces(labels[box] == label)] = label
    lungs |= tissue
    lungs &= _touching(lungs, kept > 0)
    stray = lungs & (kept == 0)
    if stray.any():
        nearest = ndimage.distance_transform_edt(kept == 0, return_distances=False, return_indices=True)
        kept[stray] = kept[tuple(axis[stray] for axis in nearest)]
    return kept


def widen(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The labels with one more voxel around the lungs."""
    return np.where(labels > 0, labels, ndimage.maximum_filter(labels, 3, mode="constant"))


def _large_pieces(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    pieces, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= PIECE_SHARE_MIN * sizes.max())[pieces] & mask, np.bool_)


def _touching(mask: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected parts of `mask` that hold a seed."""
    parts, count = ndimage.label(mask)
    holds = np.zeros(count + 1, np.bool_)
    holds[np.unique(parts[seeds])] = True
    holds[0] = False
    return np.asarray(holds[parts], np.bool_)
