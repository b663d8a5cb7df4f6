"""What a result says, item by item with its codes: the one list that FHIR and HL7 v2 put into their forms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydicom.sr.coding import Code

from dicom_gateway import nodule_items, result_codes
from pipeline.report_view import FindingRow, ReportView, StatementRow, StructureRow
from pipeline.ways_out.told import Told
from study.nodule import NoduleKind, Trend

FINDING = Code("404684003", "SCT", "Clinical finding")
GUIDELINE_CATEGORY = Code("GUIDELINE_CATEGORY", "99RADMETER", "Guideline category")


@dataclass(frozen=True)
class Item:
    """One finding, statement or structure.

    number: from 1, as in the report. code: what it is. answer: whether it is there; None of a structure.
    measured: name, value, UCUM unit. coded: question and answer. texts: question and answer in words.
    is_rejected: the person who reviewed the result does not share it.
    """

    number: int
    code: Code
    answer: Code | None
    site: Code | None = None
    measured: tuple[tuple[Code, float, Code], ...] = ()
    coded: tuple[tuple[Code, Code], ...] = ()
    texts: tuple[tuple[Code, str], ...] = ()
    is_rejected: bool = False


def items_of(told: Told) -> list[Item]:
    """What the result says, in the order of the report; one item also of a search that found nothing."""
    view = told.report
    if view is None:
        return []
    found = [*_findings(told, view), *_statements(told, view), *_structures(told, view)]
    found += _missed(told, len(found))
    return found or [Item(1, result_codes.PULMONARY_NODULE, result_codes.NOT_DETECTED, result_codes.LUNG)]


def _findings(told: Told, view: ReportView) -> Iterator[Item]:
    for row in view.findings:
        size_mm, kind = told.edits.get(str(row.id), (None, None))
        row = replace(row, kind=kind or row.kind)
        coded = [(result_codes.COMPOSITION, code) for code in _composition(row)]
        coded += [(result_codes.CHANGE_FROM_PRIORS, code) for code in _change(row)]
        title = view.guideline.title if view.guideline else ""
        yield Item(
            row.id,
            result_codes.finding_type(row.label),
            result_codes.DETECTED,
            nodule_items.LOBES.get(row.lobe or "", result_codes.LUNG),
            # What a person measured stands alone: axes and volume of the model belong to another outline.
            tuple(_measured(row)) if size_mm is None else _diameter(size_mm),
            tuple(coded),
            ((GUIDELINE_CATEGORY, f"{title} {row.category}".strip()),) if row.category else (),
            is_rejected=row.id in told.rejected,
        )


def _missed(told: Told, count: int) -> Iterator[Item]:
    """What the person who reviewed the result has added, numbered on."""
    for number, (label, size_mm, kind) in enumerate(told.missed, start=count + 1):
        known = told.codes.get(label)
        yield Item(
            number,
            Code(*known) if known else result_codes.finding_type(label or "nodule"),
            result_codes.DETECTED,
            measured=_diameter(size_mm) if size_mm is not None else (),
            coded=((result_codes.COMPOSITION, nodule_items.composition(NoduleKind(kind))),) if kind else (),
        )


def _diameter(size_mm: float) -> tuple[tuple[Code, float, Code], ...]:
    return ((result_codes.DIAMETER, round(size_mm, 1), result_codes.MILLIMETRE),)


def _measured(row: FindingRow) -> Iterator[tuple[Code, float, Code]]:
    mm = result_codes.MILLIMETRE
    yield result_codes.DIAMETER, round(row.mean_diameter_mm, 1), mm
    yield result_codes.LONG_AXIS, round(row.long_axis_mm, 1), mm
    yield result_codes.SHORT_AXIS, round(row.short_axis_mm, 1), mm
    yield result_codes.VOLUME, round(row.volume_mm3, 1), result_codes.CUBIC_MILLIMETRE
    if row.solid_part_mm is not None:
        yield result_codes.SOLID_COMPONENT_SIZE, round(row.solid_part_mm, 1), mm
    yield result_codes.CERTAINTY_OF_FINDING, round(100 * row.score, 1), result_codes.PERCENT
    if row.prior is not None and row.prior.change_percent is not None:
        yield result_codes.VOLUME_CHANGE, round(row.prior.change_percent, 1), result_codes.PERCENT
    if row.prior is not None and row.prior.doubling_days is not None:
        yield result_codes.VOLUME_DOUBLING_TIME, round(row.prior.doubling_days), result_codes.DAY


def _composition(row: FindingRow) -> Iterator[Code]:
    if row.kind is not None:
        yield nodule_items.composition(NoduleKind(row.kind))


def _change(row: FindingRow) -> Iterator[Code]:
    if row.prior is not None and row.prior.state == "new":
        yield result_codes.NEW
    elif row.prior is not None and row.prior.trend is not None:
        yield nodule_items.CHANGE_OF[Trend(row.prior.trend)]


def _statements(told: Told, view: ReportView) -> Iterator[Item]:
    for row in view.statements:
        yield Item(
            row.number,
            _code(told, row),
            result_codes.DETECTED if row.is_positive else result_codes.NOT_DETECTED,
            measured=(
                (result_codes.CERTAINTY_OF_FINDING, round(100 * row.probability, 1), result_codes.PERCENT),
            ),
            is_rejected=row.number in told.rejected,
        )


def _structures(told: Told, view: ReportView) -> Iterator[Item]:
    for row in view.structures:
        yield Item(
            row.number,
            _code(told, row),
            None,
            measured=(
                (result_codes.VOLUME, round(row.volume_ml, 1), result_codes.CUBIC_CENTIMETRE),
                (result_codes.ATTENUATION, round(row.mean_hu, 1), result_codes.HOUNSFIELD_UNIT),
            ),
        )


def _code(told: Told, row: StatementRow | StructureRow) -> Code:
    """The model's own code; what has none is a finding under the model's word."""
    known = told.codes.get(row.label)
    return Code(*known) if known else Code(FINDING.value, FINDING.scheme_designator, row.label)
