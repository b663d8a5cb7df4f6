"""The served model: lung nodules on chest CT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.lung_nodule_ct.postprocess import postprocess
from models.lung_nodule_ct.preprocess import LungBox, preprocess
from models.manifest import Manifest
from models.model import Arrays, ModelInput, as_volume
from study.answer import Answer, Image


@dataclass(frozen=True)
class LungNoduleCT:
    """One pass of the detector over the lungs' box at 1 mm, then measurement at full resolution."""

    manifest: Manifest

    def preprocess(self, image: Image) -> ModelInput:
        """The lungs' box as the graph reads it; raises `LungsNotFound`."""
        return preprocess(as_volume(image), self.manifest.spacing_mm)

    def postprocess(
        self, outputs: Arrays, context: object, image: Image, support: Mapping[str, Answer]
    ) -> Answer:
        """Findings at or above the operating threshold."""
        assert isinstance(context, LungBox)
        return Answer(postprocess(outputs, context, as_volume(image), self.manifest.operating_threshold))
