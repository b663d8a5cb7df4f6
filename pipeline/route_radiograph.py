"""Which image of a series of radiographs a model reads, and why none."""

from __future__ import annotations

from dataclasses import dataclass

from models.manifest import InputRequirements
from pipeline.unfit import Unfit
from study.sentences import say
from study.study import Instance, Series

# View Position as old CR readers and DX write it (PS3.3 C.8.7.1.1.8, CID 4010 by its short names).
_LATERAL = frozenset({"LL", "RL", "LLD", "RLD", "LATERAL", "LAT", "LEFT LATERAL", "RIGHT LATERAL"})
_OBLIQUE = ("LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "OBLIQUE")
_FOR_PROCESSING = "FOR PROCESSING"


@dataclass(frozen=True)
class Pick:
    """The image to be read and what a person should know of the choice."""

    image: Instance
    explanation: str


def check_radiographs(images: list[Instance], needs: InputRequirements) -> Unfit | None:
    """None when one of the images can be read."""
    if _readable(images, needs):
        return None
    views = sorted({image.view_position.upper() for image in images if image.view_position})
    if any(image.number_of_frames > 1 for image in images):
        return Unfit("SEVERAL_FRAMES", say("SEVERAL_FRAMES"))
    shown = ", ".join(_named(view) for view in views)
    return Unfit("WRONG_VIEW", say("WRONG_VIEW", given=shown, wanted=" or ".join(needs.view_positions)))


def _named(view: str) -> str:
    if view in _LATERAL:
        return f"lateral ({view})"
    return f"oblique ({view})" if view in _OBLIQUE else view


def _readable(images: list[Instance], needs: InputRequirements) -> list[Instance]:
    """Single images whose view fits; a view that the header does not tell is judged by the model itself."""
    return [
        image
        for image in images
        if image.number_of_frames == 1
        and (not image.view_position or not needs.view_positions or _fits(image, needs))
    ]


def _fits(image: Instance, needs: InputRequirements) -> bool:
    return image.view_position.upper() in needs.view_positions


def pick(series: Series, needs: InputRequirements) -> Pick:
    """The best image of a series that fits: made to be shown, of the first view in the manifest, the last taken.

    The last, because an exposure is repeated when the one before it was not good enough.
    """
    candidates = _readable([one for one in series.instances if one.number_of_frames > 0], needs)
    best = min(candidates, key=lambda image: _preference(image, needs))
    view = best.view_position.upper() or "view not stated"
    text = f"1 {series.modality} image ({view}"
    text += f", image {best.instance_number})" if best.instance_number is not None else ")"
    left_out = len(series.instances) - 1
    if left_out:
        text += f", the best of {len(candidates)} that fit among {left_out + 1} of its series"
    return Pick(best, text)


def _preference(image: Instance, needs: InputRequirements) -> tuple[bool, int, int, str]:
    view = image.view_position.upper()
    views = list(needs.view_positions)
    rank = views.index(view) if view in views else len(views)
    is_raw = image.presentation_intent.upper() == _FOR_PROCESSING
    return is_raw, rank, -(image.instance_number or 0), image.sop_instance_uid
