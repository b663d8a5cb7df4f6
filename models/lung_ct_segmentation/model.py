"""The served model: the five lobes of the lungs on chest CT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.lung_ct_segmentation.postprocess import postprocess
from models.lung_ct_segmentation.preprocess import LungBox, preprocess
from models.manifest import Manifest
from models.model import Arrays, ModelInput, as_volume
from study.answer import Answer, Image


@dataclass(frozen=True)
class LungCTSegmentation:
    """One pass over the box of both lungs at 3 mm, then their surfaces and borders on the scanner's grid."""

    manifest: Manifest

    def preprocess(self, image: Image) -> ModelInput:
        """The lungs' box as the graph reads it; raises `LungsNotFound`."""
        return preprocess(as_volume(image), self.manifest.spacing_mm)

    def postprocess(
        self, outputs: Arrays, context: object, image: Image, support: Mapping[str, Answer]
    ) -> Answer:
        """The lobes that are there."""
        assert isinstance(context, LungBox)
        return postprocess(outputs["labels"][0], context, as_volume(image))
