"""The served model: lung nodules on chest CT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.lung_nodule_ct.postprocess import postprocess
from models.lung_nodule_ct.preprocess import LungBox, preprocess
from models.manifest import Manifest
from models.model import Arrays, ModelInput, as_volume
from models.ops.lungs_cut import lungs_cut
from study.answer import Answer, Image
from study.sentences import say

LOBE_MODEL = "lung_ct_segmentation"
NO_LOBES = say("NO_LOBES")


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
        """Findings at or above the operating threshold, each in its lobe where the lobe model has drawn them."""
        assert isinstance(context, LungBox)
        lobes = support[LOBE_MODEL].structures if LOBE_MODEL in support else ()
        threshold = self.manifest.operating_threshold
        volume = as_volume(image)
        findings = postprocess(outputs, context, volume, threshold, lobes)
        notes = lungs_cut(context.lungs, volume) + ((NO_LOBES,) if findings and not lobes else ())
        return Answer(findings, notes=notes)
