"""Route: which series each model reads, and why; or why none."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.manifest import InputRequirements, Manifest
from pipeline.patient_age import age_years
from pipeline.route_radiograph import check_radiographs, pick
from pipeline.unfit import Unfit
from study.sentences import say
from study.study import Instance, Series, Study

# Cosine of the largest angle between the slice normal and the body axis: about 25°, more than any gantry tilt in
# chest protocols, far less than a coronal or sagittal reformat.
_AXIAL_COSINE_MIN = 0.9


@dataclass(frozen=True)
class Route:
    """One model reads one series, or one image of it where `sop_instance_uid` names it."""

    product: str
    model: str
    model_version: str
    series_instance_uid: str
    explanation: str
    publisher: str
    modality: str
    sop_instance_uid: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


# From “the study holds nothing for this model” to “almost”: the refusal names the nearest miss.
_NEARNESS = (
    "NO_IMAGES", "WRONG_MODALITY", "LOCALIZER", "DERIVED_IMAGES", "WRONG_BODY_PART", "GEOMETRY_MISSING", "NOT_AXIAL",
    "SEVERAL_FRAMES", "WRONG_VIEW", "TOO_FEW_SLICES", "TOO_MANY_SLICES", "SLICES_TOO_THICK",
)  # fmt: skip


def choose(study: Study, manifest: Manifest) -> Route | Unfit:
    """The series that `manifest`'s model reads best, or the reason why it reads none of them."""
    fitting: list[Series] = []
    refused: list[Unfit] = []
    for series in study.series:
        unfit = check_series(series, manifest.input)
        if unfit is None:
            fitting.append(series)
        else:
            refused.append(unfit)
    if not fitting:
        return _nearest_miss(study, manifest, refused)
    wrong_age = _check_age(study, manifest)
    if wrong_age is not None:
        return wrong_age
    best = min(fitting, key=_preference)
    picked = pick(best, manifest.input) if manifest.input.kind == "radiograph" else None
    return Route(
        product=manifest.product_code,
        model=manifest.name,
        model_version=manifest.version,
        series_instance_uid=best.series_instance_uid,
        explanation=_explain(
            picked.explanation if picked else _slices(best), bool(picked), len(fitting), refused
        ),
        publisher=manifest.publisher,
        modality=best.modality,
        sop_instance_uid=picked.image.sop_instance_uid if picked else "",
    )


def _check_age(study: Study, manifest: Manifest) -> Unfit | None:
    youngest, age = manifest.input.patient_age_years_min, age_years(study)
    if age is None and youngest > 0 and manifest.input.patient_age_unknown == "refused":
        text = say("PATIENT_AGE_UNKNOWN", model=manifest.title, youngest=f"{youngest:g}")
        return Unfit("PATIENT_AGE_UNKNOWN", text)
    if age is None or age >= youngest:
        return None
    return Unfit(
        "PATIENT_TOO_YOUNG",
        say("PATIENT_TOO_YOUNG", age=f"{age:.0f}", model=manifest.title, youngest=f"{youngest:g}"),
    )


def check_series(series: Series, needs: InputRequirements) -> Unfit | None:
    """None when the model can read the series."""
    images = [instance for instance in series.instances if instance.number_of_frames > 0]
    if not images:
        return Unfit("NO_IMAGES", say("NO_IMAGES", modality=series.modality or "nameless"))
    if series.modality not in needs.modalities:
        wanted = " or ".join(needs.modalities)
        return Unfit(
            "WRONG_MODALITY", say("WRONG_MODALITY", given=series.modality or "not given", wanted=wanted)
        )
    kinds = Counter(kind.upper() for image in images for kind in image.image_type)
    for excluded in needs.excluded_image_types:
        if kinds[excluded] * 2 > len(images):
            code = "LOCALIZER" if excluded == "LOCALIZER" else "DERIVED_IMAGES"
            return Unfit(code, say("WRONG_IMAGE_TYPE", kind=excluded.lower()))
    body_part = series.body_part_examined.strip().upper()
    if body_part and needs.body_parts and not any(part in body_part for part in needs.body_parts):
        return Unfit(
            "WRONG_BODY_PART",
            say("WRONG_BODY_PART", given=body_part.lower(), wanted=needs.body_parts[0].lower()),
        )
    return check_radiographs(images, needs) if needs.kind == "radiograph" else _check_geometry(images, needs)


def _check_geometry(images: list[Instance], needs: InputRequirements) -> Unfit | None:
    oriented = [image for image in images if image.image_orientation is not None]
    if not oriented and max(image.number_of_frames for image in images) == 1:
        return Unfit("GEOMETRY_MISSING", say("GEOMETRY_MISSING"))
    if oriented and _axial_cosine(oriented) < _AXIAL_COSINE_MIN:
        return Unfit("NOT_AXIAL", say("NOT_AXIAL"))
    slice_count = sum(image.number_of_frames for image in images)
    if slice_count < needs.slice_count_min:
        sentence = "ONE_SLICE" if slice_count == 1 else "TOO_FEW_SLICES"
        return Unfit("TOO_FEW_SLICES", say(sentence, n=slice_count, needed=needs.slice_count_min))
    if slice_count > needs.slice_count_max:
        return Unfit("TOO_MANY_SLICES", say("TOO_MANY_SLICES", n=slice_count, most=needs.slice_count_max))
    thickness = _thickness_mm(images)
    if thickness is not None and thickness > needs.slice_thickness_mm_max:
        limit = needs.slice_thickness_mm_max
        return Unfit("SLICES_TOO_THICK", say("SLICES_TOO_THICK", mm=f"{thickness:g}", limit=f"{limit:g}"))
    return None


def _axial_cosine(images: list[Instance]) -> float:
    """Median |cosine| between slice normal and the head-foot axis."""
    directions = np.array([image.image_orientation for image in images], dtype=float).reshape(-1, 2, 3)
    normals = np.cross(directions[:, 0], directions[:, 1])
    return float(np.median(np.abs(normals[:, 2])))


def _thickness_mm(images: list[Instance]) -> float | None:
    stated = [image.slice_thickness_mm for image in images if image.slice_thickness_mm]
    return float(np.median(stated)) if stated else None


def _preference(series: Series) -> tuple[float, int, str]:
    """Thin before thick, long before short, and a stable order for the rest."""
    thickness = _thickness_mm(list(series.instances)) or 99.0
    return (round(max(thickness, 1.0), 1), -len(series.instances), series.series_instance_uid)


def _slices(series: Series) -> str:
    slice_count = sum(instance.number_of_frames for instance in series.instances)
    thickness = _thickness_mm(list(series.instances))
    return f"{slice_count} axial {series.modality} slices" + (f" of {thickness:g} mm" if thickness else "")


def _explain(text: str, is_image: bool, fitting_count: int, refused: list[Unfit]) -> str:
    text += (
        f", the {'first' if is_image else 'thinnest'} of {fitting_count} series that fit"
        if fitting_count > 1
        else ", the one series that fits"
    )
    if refused:
        reasons = "; ".join(
            f"{count} × {why}" for why, count in Counter(one.text for one in refused).most_common(4)
        )
        text += f" (not used: {reasons})"
    return text + "."


def _nearest_miss(study: Study, manifest: Manifest, refused: list[Unfit]) -> Unfit:
    if not refused:
        return Unfit("NO_IMAGES", say("NO_SERIES"))
    nearest = max(refused, key=lambda unfit: _NEARNESS.index(unfit.code))
    count = len(study.series)
    model = manifest.title or manifest.name
    text = (
        say("DOES_NOT_FIT", model=model, why=nearest.text)
        if count == 1
        else say("NONE_FITS", n=count, model=model, why=nearest.text)
    )
    return Unfit(nearest.code, text)
