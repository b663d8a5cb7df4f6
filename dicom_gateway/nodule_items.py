"""What an SR says of a nodule beyond its size: lobe, composition, distance to the pleura, change since a prior."""

from __future__ import annotations

from highdicom.sr import FindingSite, Measurement, QualitativeEvaluation
from pydicom.sr.coding import Code

from dicom_gateway import result_codes
from study.findings import Finding
from study.nodule import NoduleKind, Trend

LOBES = {
    "right upper lobe": result_codes.RIGHT_UPPER_LOBE,
    "right middle lobe": result_codes.RIGHT_MIDDLE_LOBE,
    "right lower lobe": result_codes.RIGHT_LOWER_LOBE,
    "left upper lobe": result_codes.LEFT_UPPER_LOBE,
    "left lower lobe": result_codes.LEFT_LOWER_LOBE,
}
_COMPOSITION = {
    NoduleKind.SOLID: result_codes.COMPOSITION_SOLID,
    NoduleKind.PART_SOLID: result_codes.COMPOSITION_PART_SOLID,
    NoduleKind.GROUND_GLASS: result_codes.COMPOSITION_GROUND_GLASS,
    NoduleKind.CALCIFIED: result_codes.COMPOSITION_CALCIFICATION,
}
CHANGE_OF = {
    Trend.GROWN: result_codes.INCREASE_IN_SIZE,
    Trend.SHRUNK: result_codes.DECREASE_IN_SIZE,
    Trend.UNCHANGED: result_codes.NO_SIGNIFICANT_CHANGE,
}


def finding_site(finding: Finding) -> FindingSite:
    """The lobe where it is known, else the lung."""
    lobe = finding.nodule.lobe if finding.nodule is not None else None
    return FindingSite(LOBES.get(lobe or "", result_codes.LUNG))


def composition(kind: NoduleKind) -> Code:
    """The type of a nodule as a code."""
    return _COMPOSITION[kind]


def evaluations(finding: Finding) -> list[QualitativeEvaluation]:
    """Composition and change since the prior study, as far as they are known."""
    found = []
    kind = finding.nodule.kind if finding.nodule is not None else None
    if kind is not None:
        found.append(QualitativeEvaluation(result_codes.COMPOSITION, _COMPOSITION[kind]))
    then = finding.comparison
    if then is not None and then.state == "new":
        found.append(QualitativeEvaluation(result_codes.CHANGE_FROM_PRIORS, result_codes.NEW))
    elif then is not None and then.growth is not None:
        found.append(QualitativeEvaluation(result_codes.CHANGE_FROM_PRIORS, CHANGE_OF[then.growth.trend]))
    return found


def planar_measurements(finding: Finding) -> list[Measurement]:
    """What is measured on a slice: the solid part of a part-solid nodule."""
    solid = finding.nodule.solid_part_mm if finding.nodule is not None else None
    if solid is None:
        return []
    return [
        _measured(
            result_codes.SOLID_COMPONENT_SIZE, solid, result_codes.MILLIMETRE, derivation=result_codes.MEAN
        )
    ]


def volumetric_measurements(finding: Finding) -> list[Measurement]:
    """What is measured on the voxels: distance to the pleura, and the volume then and its change."""
    found = []
    distance = finding.nodule.pleura_distance_mm if finding.nodule is not None else None
    if distance is not None:
        found.append(
            Measurement(
                name=result_codes.DISTANCE,
                value=round(distance, 1),
                unit=result_codes.MILLIMETRE,
                finding_sites=[FindingSite(result_codes.PLEURA)],
            )
        )
    then = finding.comparison
    if then is None or then.growth is None or then.volume_mm3 is None:
        return found
    growth = then.growth
    found.append(_measured(result_codes.PRIOR_VOLUME, then.volume_mm3, result_codes.CUBIC_MILLIMETRE))
    percents = (growth.change_percent, growth.change_percent_interval)
    found += _with_interval(result_codes.VOLUME_CHANGE, result_codes.PERCENT, *percents)
    if growth.doubling_days is not None and growth.trend is Trend.GROWN and growth.doubling_days_interval:
        days = (growth.doubling_days, growth.doubling_days_interval)
        found += _with_interval(result_codes.VOLUME_DOUBLING_TIME, result_codes.DAY, *days)
    return found


def _with_interval(
    name: Code, unit: Code, value: float, interval: tuple[float, float | None]
) -> list[Measurement]:
    """A value and the ends of its 95 % interval; validators know no uncertainties after TID 310 in TID 1419."""
    low, high = interval
    found = [_measured(name, value, unit), _measured(name, low, unit, derivation=result_codes.INTERVAL_LOW)]
    return (
        found
        if high is None
        else [*found, _measured(name, high, unit, derivation=result_codes.INTERVAL_HIGH)]
    )


def _measured(name: Code, value: float, unit: Code, *, derivation: Code | None = None) -> Measurement:
    return Measurement(name=name, value=round(value, 1), unit=unit, derivation=derivation)
