"""One evaluation of any model: what it says of samples whose truth is known, as figures and plots.

The model is run as it is served; where lesions are looked for, its operating threshold is lowered, so that marks below
it can be counted too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from matplotlib.figure import Figure

from models.evaluation import classification, detection, segmentation
from models.evaluation.classification import ClassificationCase
from models.evaluation.detection import DetectionCase
from models.evaluation.sample import LabelMap, Labels, Refusal, Said, Sample
from models.evaluation.segmentation import SegmentationCase
from models.manifest import Manifest
from study.volume import Volume

LOWEST_SCORE = 0.01


@dataclass
class Split:
    """What was found in one part of the data. refusals: how often each code came."""

    images: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    detections: list[DetectionCase] = field(default_factory=list)
    classifications: list[ClassificationCase] = field(default_factory=list)
    segmentations: list[SegmentationCase] = field(default_factory=list)

    def add(self, sample: Sample, said: Said) -> None:
        """Judge one sample by the kind of its truth."""
        self.images += 1
        truth, facts = sample.truth, sample.facts
        if isinstance(said, Refusal):
            self.refusals[said.code] += 1
        elif isinstance(truth, Labels):
            self.classifications.append(classification.case_of(said, truth, facts))
        elif isinstance(truth, LabelMap):
            assert isinstance(sample.image, Volume)
            self.segmentations.append(segmentation.case_of(said, truth, sample.image, facts))
        else:
            self.detections.append(detection.case_of(said, truth, facts))

    def record(self, threshold: float) -> dict[str, Any]:
        """The figures as plain values."""
        found: dict[str, Any] = {"images": self.images, "refused": dict(self.refusals.most_common())}
        if self.detections:
            found["detection"] = detection.record(self.detections, threshold)
        if self.classifications:
            found["classification"] = classification.record(self.classifications)
        if self.segmentations:
            found["segmentation"] = segmentation.record(self.segmentations)
        return found


Splits = Mapping[str, Split]


def lowered(manifest: Manifest) -> Manifest:
    """The manifest with which a model shows its marks below the operating point.

    Statements about a whole image are all made, whatever the point: there it stays.
    """
    if manifest.input.kind == "radiograph":
        return manifest
    return replace(manifest, operating_threshold=min(LOWEST_SCORE, manifest.operating_threshold))


def collect(
    samples: Iterable[Sample], ask: Callable[[Sample], Said], *, report: Callable[[str], None] | None = None
) -> Splits:
    """Ask the model about every sample, one at a time.

    ask: the served model, with a `lowered` manifest where the truth is lesions: FROC needs the marks below the
    operating point, whereas statements carry probability and threshold as they are served. An image that the model
    refuses counts as refused and is in no figure: `refused` must be read with them.
    """
    splits: dict[str, Split] = defaultdict(Split)
    for sample in samples:
        split = splits[sample.split]
        split.add(sample, ask(sample))
        if report is not None:
            report(f"{sample.split} {split.images}")
    return dict(splits)


def record_of(splits: Splits, manifest: Manifest, *, what: str, on_patients: bool) -> dict[str, Any]:
    """What goes into the evaluation file.

    what: one sentence on where the data came from. on_patients: whether they are scans of people; only then do
    reports tell a share as if it said something about the next patient.
    """
    return {
        "what": what,
        "on_patients": on_patients,
        "model": {
            "name": manifest.name,
            "version": manifest.version,
            "weights_sha256": manifest.weights_sha256,
        },
        "command": f"radmeter models evaluate {manifest.name} --data DIR --out FILE",
        **{name: split.record(manifest.operating_threshold) for name, split in splits.items()},
    }


def figures_of(splits: Splits, manifest: Manifest) -> dict[str, Figure]:
    """The plots by the name of their file, without its ending."""
    figures: dict[str, Figure] = {}
    if found := {name: one.detections for name, one in splits.items() if one.detections}:
        figures |= detection.draw(found, manifest.operating_threshold, manifest.name)
    if labels := {name: one.classifications for name, one in splits.items() if one.classifications}:
        figures |= classification.draw(labels, manifest.name)
    if drawn := {name: one.segmentations for name, one in splits.items() if one.segmentations}:
        figures |= segmentation.draw(drawn, manifest.name)
    return figures
