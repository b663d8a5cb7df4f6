"""A classification bundle on one radiograph."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.manifest import Manifest
from models.model import Arrays, ModelInput, as_radiograph
from models.monai_intensity import apply_steps
from models.monai_segmentation.labels import code_of
from study.answer import Answer, Classification, Image
from study.sentences import say

NOT_CALIBRATED = say("NOT_CALIBRATED")
_TRACKING = uuid.UUID("c2f1a1f4-9d0f-4c8b-8c35-0e3f6b1f2a77")


@dataclass(frozen=True)
class MonaiClassification:
    """Serves the graph that `models.monai_bundle` makes of a bundle."""

    manifest: Manifest

    def preprocess(self, image: Image) -> ModelInput:
        """The picture in the size of the network, (column, row) as MONAI's readers give it."""
        settings = self.manifest.settings
        picture = as_radiograph(image).pixels.T.astype(np.float32)
        columns, rows = (int(side) for side in settings["size"])
        # Whether values or size change first is of no matter: the steps are linear, but for the extremes of a stretch.
        picture = apply_steps(picture, settings["intensity"])
        resized = (
            _mean_over_areas(picture, (columns, rows))
            if settings["mode"] == "area"
            else _bilinear(picture, (columns, rows))
        )
        return ModelInput(({"image": resized[None, None]},), None)

    def postprocess(
        self, outputs: Arrays, context: object, image: Image, support: Mapping[str, Answer]
    ) -> Answer:
        """One statement for each class, in the bundle's order."""
        source = as_radiograph(image)
        values = np.clip(outputs["probabilities"][0].astype(np.float64), 0, 1)
        statements = tuple(
            Classification(
                label=str(name),
                code=code_of(str(name), number),
                probability=float(value),
                threshold=self.manifest.operating_threshold,
                tracking_uid=f"2.25.{uuid.uuid5(_TRACKING, f'{source.sop_instance_uid}:{name}').int}",
            )
            for number, (name, value) in enumerate(
                zip(self.manifest.settings["classes"], values, strict=True)
            )
        )
        return Answer(classifications=statements, notes=(NOT_CALIBRATED,))


def _mean_over_areas(picture: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Each new pixel is the mean of the whole old ones that it touches, as torch's mode `area`."""
    for axis, wanted in enumerate(size):
        length = picture.shape[axis]
        first = np.arange(wanted) * length // wanted
        last = -(-(np.arange(wanted) + 1) * length // wanted)
        sums = np.cumsum(np.insert(picture, 0, 0, axis=axis), axis=axis, dtype=np.float64)
        count = np.expand_dims(last - first, 1 - axis)
        picture = ((sums.take(last, axis) - sums.take(first, axis)) / count).astype(np.float32)
    return picture


def _bilinear(picture: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """As torch's mode `bilinear` without aligned corners: between the centres of the four nearest pixels."""
    places = [
        (np.arange(wanted) + 0.5) * length / wanted - 0.5
        for wanted, length in zip(size, picture.shape, strict=True)
    ]
    grid = np.stack(np.meshgrid(*places, indexing="ij"))
    return np.asarray(ndimage.map_coordinates(picture, grid, order=1, mode="nearest"), np.float32)
