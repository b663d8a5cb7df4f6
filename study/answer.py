"""Answer: everything that a model says about one image."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.codes import Code
from study.errors import InvalidClassification, InvalidFinding
from study.findings import Finding, Segment
from study.nodule import PriorRead
from study.radiograph import Radiograph
from study.volume import Volume

Image = Volume | Radiograph


@dataclass(frozen=True)
class Classification:
    """One statement about a whole image: present or not, with its probability.

    probability: calibrated, in [0, 1]. threshold: the operating point on the same scale.
    saliency: float32 (row, column) in [0, 1] over the image's extent, coarser or not; None where there is none.
    site: where such a finding lies, None where it is not one place.
    region_px: (column_min, row_min, column_max, row_max) on the image, where the saliency is greatest.
    """

    label: str
    code: Code
    probability: float
    threshold: float
    tracking_uid: str
    saliency: NDArray[np.float32] | None = None
    region_px: tuple[float, float, float, float] | None = None
    site: Code | None = None

    @property
    def title(self) -> str:
        return self.label.replace("_", " ")

    def __post_init__(self) -> None:
        if not (0.0 <= self.probability <= 1.0 and 0.0 <= self.threshold <= 1.0):
            raise InvalidClassification(f"{self.label}: probability or threshold is outside [0, 1]")
        if self.saliency is not None and (
            self.saliency.ndim != 2
            or self.saliency.dtype != np.float32
            or not np.isfinite(self.saliency).all()
        ):
            raise InvalidClassification(f"{self.label}: the saliency is no finite float32 (row, column) map")

    @property
    def is_positive(self) -> bool:
        return self.probability >= self.threshold

    def as_json(self) -> dict[str, Any]:
        """Plain values, without the saliency."""
        record = asdict(self)
        del record["saliency"]
        return record | {"is_positive": self.is_positive}

    @classmethod
    def from_json(cls, record: dict[str, Any], saliency: NDArray[np.float32] | None = None) -> Classification:
        """The inverse of `as_json`."""
        values = {key: value for key, value in record.items() if key != "is_positive"}
        values["code"] = Code(**values["code"])
        values["site"] = Code(**values["site"]) if values.get("site") else None
        region = values["region_px"]
        values["region_px"] = tuple(region) if region is not None else None
        return cls(**values, saliency=saliency)


@dataclass(frozen=True)
class Structure:
    """One named part of the body. volume_ml and mean_hu are measured on its segment.

    low_attenuation_share: of its voxels below -950 HU, in [0, 1] (emphysema on CT); None where it has no meaning.
    """

    label: str
    code: Code
    segment: Segment
    volume_ml: float
    mean_hu: float
    tracking_uid: str
    low_attenuation_share: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.volume_ml) and math.isfinite(self.mean_hu)):
            raise InvalidFinding(f"{self.label}: a number is not finite")
        if self.low_attenuation_share is not None and not 0.0 <= self.low_attenuation_share <= 1.0:
            raise InvalidFinding(f"{self.label}: a share is outside [0, 1]")

    def as_json(self) -> dict[str, Any]:
        """Plain values, without the segment."""
        return {
            "label": self.label,
            "code": asdict(self.code),
            "volume_ml": self.volume_ml,
            "mean_hu": self.mean_hu,
            "tracking_uid": self.tracking_uid,
            "low_attenuation_share": self.low_attenuation_share,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any], segment: Segment) -> Structure:
        """The inverse of `as_json`."""
        return cls(**(record | {"code": Code(**record["code"])}), segment=segment)


@dataclass(frozen=True)
class Answer:
    """What a model says about one image; empty parts are things that this kind of model does not speak about.

    findings: highest score first. notes: what the model noticed about its input or could not do, one sentence each.
    prior: the earlier study that the findings were compared with, if any.
    """

    findings: tuple[Finding, ...] = ()
    classifications: tuple[Classification, ...] = ()
    structures: tuple[Structure, ...] = ()
    notes: tuple[str, ...] = ()
    prior: PriorRead | None = None

    def as_json(self) -> dict[str, Any]:
        """All but the findings, which stand by themselves, as plain values without pixels."""
        return {
            "classifications": [one.as_json() for one in self.classifications],
            "structures": [one.as_json() for one in self.structures],
            "notes": list(self.notes),
            "prior": asdict(self.prior) if self.prior is not None else None,
        }
