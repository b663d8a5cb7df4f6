"""What a model is evaluated on: images with their truth, and what the model said of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.evaluation.froc import Real
from models.evaluation.subgroups import Facts
from study.answer import Answer, Image


@dataclass(frozen=True)
class Nodules:
    """Every lesion of a scan, centres in patient LPS mm. ignored: places where a mark counts as nothing."""

    lesions: tuple[Real, ...]
    ignored: tuple[Real, ...] = ()


@dataclass(frozen=True)
class Labels:
    """Which statements about a whole image are true, by the label of `Classification`; unknown ones are absent."""

    present: Mapping[str, bool]


@dataclass(frozen=True)
class LabelMap:
    """Structures drawn by hand or by code. voxels: uint8 on the image's grid; names: label of `Structure` → value."""

    voxels: NDArray[np.uint8]
    names: Mapping[str, int]


Truth = Nodules | Labels | LabelMap


@dataclass(frozen=True)
class Sample:
    """One image with its truth. split: which part of the data it belongs to; facts: what subgroups are made of."""

    image: Image
    truth: Truth
    split: str = "test"
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """The model would not judge the image: the code of its `UnfitInput`."""

    code: str


Said = Answer | Refusal


class Samples(Protocol):
    """The one function that `evaluate.py` of a model's folder must have."""

    def __call__(self, data: Path) -> Iterator[Sample]:
        """Every sample below a folder, one at a time; raises FileNotFoundError that says how to make some."""
        ...
