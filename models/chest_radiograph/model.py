"""The served model: triage of frontal chest radiographs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.chest_radiograph.errors import RadiographTooSmall, RadiographWithoutContrast
from models.chest_radiograph.postprocess import answer_of, check_kind
from models.chest_radiograph.preprocess import Box, prepare
from models.manifest import Manifest
from models.model import Arrays, ModelInput, as_radiograph
from study.answer import Answer, Image

# Of the darkest to the brightest hundredth, in the stored depth.
_CONTRAST_MIN = 8


@dataclass(frozen=True)
class ChestRadiograph:
    """One picture of a fixed size through the graph; kinds first, then findings."""

    manifest: Manifest

    def preprocess(self, image: Image) -> ModelInput:
        """The picture as the graph reads it; raises `RadiographTooSmall` or `RadiographWithoutContrast`."""
        radiograph = as_radiograph(image)
        rows, columns = radiograph.pixels.shape
        smallest = int(self.manifest.settings["side_px_min"])
        if min(rows, columns) < smallest:
            raise RadiographTooSmall(rows, columns, smallest)
        low, high = np.quantile(radiograph.pixels[::4, ::4], (0.01, 0.99))
        if high - low < _CONTRAST_MIN:
            raise RadiographWithoutContrast
        picture, box = prepare(radiograph.pixels)
        return ModelInput(({"picture": picture[None, None]},), box)

    def postprocess(
        self, outputs: Arrays, context: object, image: Image, support: Mapping[str, Answer]
    ) -> Answer:
        """Calibrated statements; raises a refusal when the picture is no frontal chest radiograph."""
        assert isinstance(context, tuple)
        settings = self.manifest.settings
        check_kind(outputs["kinds"][0], float(settings["frontal_min"]))
        box: Box = context
        return answer_of(outputs, as_radiograph(image), box, settings, self.manifest.operating_threshold)
