"""The graph's outputs -> calibrated statements with the place of each, or a refusal."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.chest_radiograph.errors import REFUSALS, NotAChestRadiograph
from models.chest_radiograph.preprocess import Box
from models.model import Arrays
from study.answer import Answer, Classification
from study.codes import (
    CARDIOMEGALY,
    COIN_LESION,
    CONSOLIDATION,
    HEART,
    INTERSTITIAL_PATTERN,
    LUNG,
    PLEURA,
    PLEURAL_EFFUSION,
    PNEUMOTHORAX,
    Code,
)
from study.radiograph import Radiograph

# In the order of the graph's outputs.
FINDINGS = (
    "nodule_or_mass", "consolidation", "pleural_effusion", "pneumothorax", "cardiomegaly", "interstitial_pattern",
)  # fmt: skip
# What a picture may show, in that order too. Only the first is judged.
KINDS = ("frontal", "lateral", "inverted", "turned", "cropped", "other")
_CODES: dict[str, tuple[Code, Code]] = {
    "nodule_or_mass": (COIN_LESION, LUNG), "consolidation": (CONSOLIDATION, LUNG),
    "pleural_effusion": (PLEURAL_EFFUSION, PLEURA), "pneumothorax": (PNEUMOTHORAX, PLEURA),
    "cardiomegaly": (CARDIOMEGALY, HEART), "interstitial_pattern": (INTERSTITIAL_PATTERN, LUNG),
}  # fmt: skip
# The region is where a map has at least this share of its greatest value, around the place of that value.
_REGION_SHARE = 0.6


def check_kind(kinds: NDArray[np.float32], frontal_min: float) -> None:
    """Raises the refusal of the likeliest other kind when the picture is not surely a frontal chest.

    kinds: probabilities in the order of KINDS.
    """
    if kinds[0] >= frontal_min:
        return
    likeliest = KINDS[1 + int(np.argmax(kinds[1:]))]
    raise REFUSALS.get(likeliest, NotAChestRadiograph)()


def answer_of(
    outputs: Arrays, image: Radiograph, box: Box, settings: Mapping[str, Any], operating_threshold: float
) -> Answer:
    """Statements in the order of FINDINGS.

    settings: `slopes` and `intercepts` of the calibration and `thresholds`, one of each for each finding.
    operating_threshold: scales all thresholds: 0.5 leaves them as they are, lower calls more positive.
    """
    statements = []
    for index, label in enumerate(FINDINGS):
        raw = settings["slopes"][index] * float(outputs["logits"][0, index]) + settings["intercepts"][index]
        saliency = _on_image(outputs["saliency"][0, index], box, image.pixels.shape)
        code, site = _CODES[label]
        statements.append(
            Classification(
                label=label,
                code=code,
                probability=float(1 / (1 + np.exp(-np.clip(raw, -30, 30)))),
                threshold=_shifted(settings["thresholds"][index], operating_threshold),
                tracking_uid=_tracking_uid(image, label),
                saliency=saliency,
                region_px=_region(saliency, image.pixels.shape),
                site=site,
            )
        )
    return Answer(classifications=tuple(statements))


def _shifted(threshold: float, operating_threshold: float) -> float:
    """The finding's threshold, moved on the logit scale by as much as the operating threshold lies from 0.5."""
    if operating_threshold in (0.0, 1.0):
        return operating_threshold
    odds = threshold / (1 - threshold) * operating_threshold / (1 - operating_threshold)
    return odds / (1 + odds)


def _on_image(saliency: NDArray[np.float32], box: Box, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The map over the whole image's extent, as coarse as it was; zero outside the box that the model saw."""
    top, left, bottom, right = box
    cells = np.array(saliency.shape)
    rows = np.round(cells[0] * shape[0] / (bottom - top)).astype(int)
    columns = np.round(cells[1] * shape[1] / (right - left)).astype(int)
    row = ((np.arange(rows) + 0.5) * shape[0] / rows - top) / (bottom - top) * cells[0]
    column = ((np.arange(columns) + 0.5) * shape[1] / columns - left) / (right - left) * cells[1]
    inside = ((row >= 0) & (row < cells[0]))[:, None] & ((column >= 0) & (column < cells[1]))[None, :]
    chosen = saliency[
        np.clip(row.astype(int), 0, cells[0] - 1)[:, None], np.clip(column.astype(int), 0, cells[1] - 1)[None]
    ]
    return np.where(inside, np.clip(chosen, 0, 1), 0).astype(np.float32)


def _region(saliency: NDArray[np.float32], shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """(column_min, row_min, column_max, row_max) in px of the connected place around the map's greatest value."""
    parts, _ = ndimage.label(saliency >= _REGION_SHARE * float(saliency.max()))
    peak = np.unravel_index(int(np.argmax(saliency)), saliency.shape)
    rows, columns = np.nonzero(parts == parts[peak])
    tall, wide = shape[0] / saliency.shape[0], shape[1] / saliency.shape[1]
    return (
        float(columns.min() * wide), float(rows.min() * tall),
        float((columns.max() + 1) * wide), float((rows.max() + 1) * tall),
    )  # fmt: skip


def _tracking_uid(image: Radiograph, label: str) -> str:
    """The same image and finding give the same UID."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{image.sop_instance_uid} {label}').int}"
