"""The intensity steps of MONAI's transforms, read from a bundle and done as MONAI does them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.monai_config import Bundle

Step = dict[str, Any]
_STEPS = ("ScaleIntensityRange", "NormalizeIntensity", "ScaleIntensity")
# Steps of a chain that change no value of a picture that we give them.
_WITHOUT_EFFECT = frozenset(
    {
        "LoadImage", "EnsureChannelFirst", "AsChannelFirst", "AddChannel", "EnsureType", "CastToType", "ToTensor",
        "ToDevice", "Orientation", "Spacing", "Resize", "Lambda",
    }
)  # fmt: skip


def read_steps(bundle: Bundle) -> list[Step]:
    """The steps in order. Raises `ValueError` for a transform that is not understood."""
    steps = []
    for one in bundle.transforms():
        name = one["_target_"]
        if name not in _STEPS:
            if name not in _WITHOUT_EFFECT - {"Lambda"}:
                raise ValueError(f"the transform {name} is not understood")
            continue
        values = {key: bundle.value(value) for key, value in one.items() if key not in ("_target_", "keys")}
        if name == "ScaleIntensityRange":
            low, high = float(values["a_min"]), float(values["a_max"])
            if low >= high:
                raise ValueError("a_min must be below a_max")
            step: Step = {"from": [low, high], "to": [float(values["b_min"]), float(values["b_max"])]}
            steps.append(step | {"clip": bool(values.get("clip", False))})
        elif name == "NormalizeIntensity":
            if values.get("subtrahend") is not None or values.get("divisor") is not None:
                raise ValueError("NormalizeIntensity with values of its own is not understood")
            steps.append({"standardise": True, "nonzero": bool(values.get("nonzero", False))})
        else:
            low, high = values.get("minv", 0.0), values.get("maxv", 1.0)
            if low is None or high is None:
                raise ValueError("ScaleIntensity without minv and maxv is not understood")
            steps.append({"stretch": [float(low), float(high)]})
    return steps


def apply_steps(image: NDArray[np.float32], steps: list[Step]) -> NDArray[np.float32]:
    """The values of a picture or volume after all steps; statistics are of the whole of it."""
    for step in steps:
        if "from" in step:
            (low, high), (least, most) = step["from"], step["to"]
            image = (image - np.float32(low)) / np.float32(high - low) * np.float32(
                most - least
            ) + np.float32(least)
            image = image.clip(least, most) if step["clip"] else image
        elif "stretch" in step:
            least, most = step["stretch"]
            low, high = float(image.min()), float(image.max())
            share = (
                (image - np.float32(low)) / np.float32(high - low)
                if high > low
                else image * np.float32(least)
            )
            image = share * np.float32(most - least) + np.float32(least) if high > low else share
        else:
            seen = image != 0 if step["nonzero"] else np.ones(image.shape, np.bool_)
            if seen.any():
                values = image[seen].astype(np.float64)
                deviation = float(values.std()) or 1.0
                image = np.where(seen, (image - np.float32(values.mean())) / np.float32(deviation), image)
    return image.astype(np.float32, copy=False)
