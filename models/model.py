"""The shape of a model: preprocess and postprocess around one ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from models.errors import WrongKindOfImage
from models.manifest import Manifest
from study.answer import Answer, Image
from study.radiograph import Radiograph
from study.volume import Volume

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class ModelInput:
    """What the graph is run on.

    batches: the graph's inputs by name, one mapping for each run; runs may differ in shape.
    context: whatever `postprocess` needs to find its way back to the volume.
    """

    batches: tuple[Arrays, ...]
    context: object


class Model(Protocol):
    """A model that can be served. Both methods are pure: arrays in, arrays or an answer out."""

    @property
    def manifest(self) -> Manifest:
        """The model's description."""
        ...

    def preprocess(self, image: Image) -> ModelInput:
        """The graph's inputs for an image; raises `UnfitInput` when the image cannot be judged."""
        ...

    def postprocess(
        self, outputs: Arrays, context: object, image: Image, support: Mapping[str, Answer]
    ) -> Answer:
        """What the model says about the image.

        outputs: the graph's outputs, those of all batches concatenated along the first axis.
        support: what the models that the manifest `uses` said about the same image; one that could not judge it is
        missing, and the answer's notes say what follows from that.
        """
        ...


def as_volume(image: Image) -> Volume:
    """The image of a model that reads volumes; raises `WrongKindOfImage`."""
    if not isinstance(image, Volume):
        raise WrongKindOfImage("a volume", "a radiograph")
    return image


def as_radiograph(image: Image) -> Radiograph:
    """The image of a model that reads radiographs; raises `WrongKindOfImage`."""
    if not isinstance(image, Radiograph):
        raise WrongKindOfImage("a radiograph", "a volume")
    return image
