"""The served model: lung nodules on chest CT."""

from __future__ import annotations

from dataclasses import dataclass

from models.lung_nodule_ct.postprocess import postprocess
from models.lung_nodule_ct.preprocess import LungBox, preprocess
from models.manifest import Manifest
from models.model import Arrays, ModelInput
from study.findings import Finding
from study.volume import Volume


@dataclass(frozen=True)
class LungNoduleCT:
    """One pass of the detector over the lungs' box at 1 mm, then measurement at full resolution."""

    manifest: Manifest

    def preprocess(self, volume: Volume) -> ModelInput:
        """The lungs' box as the graph reads it; raises `LungsNotFound`."""
        return preprocess(volume, self.manifest.spacing_mm)

    def postprocess(self, outputs: Arrays, context: object, volume: Volume) -> tuple[Finding, ...]:
        """Findings at or above the operating threshold."""
        assert isinstance(context, LungBox)
        return postprocess(outputs, context, volume, self.manifest.operating_threshold)
